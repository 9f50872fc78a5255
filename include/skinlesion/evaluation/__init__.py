"""What a model's probabilities on held-out lesions are worth: figures, plots and the report."""
