"""One image file, what its pixels show, and which files are near-duplicates of each other."""
