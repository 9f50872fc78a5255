"""A quiet night: how a stage knows that nothing is new, before it opens a table."""
