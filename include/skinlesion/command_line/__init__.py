"""The command line, `skinlesion`."""
