"""From images and tables of diagnoses to the catalog, the split and the training view."""
