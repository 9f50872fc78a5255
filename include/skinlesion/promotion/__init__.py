"""Whether a version may replace the model in service: the gate, the decision, what a person is asked."""
