"""One image file, what is seen in its pixels, and which files show the same picture."""
