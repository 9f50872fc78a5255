"""What the pipeline costs beside the plain recipe, in time, memory and quality; `make bench DATASET=...` runs it."""
