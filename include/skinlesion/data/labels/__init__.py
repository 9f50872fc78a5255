"""Tables of diagnoses: read in any known layout and joined into one row an image, with the reason for each unusable row."""
