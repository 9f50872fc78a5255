"""Train the backbone that the package brings along, from scratch, on pictures that this project draws."""
