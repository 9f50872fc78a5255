"""Tables of diagnoses: read in any known layout and joined into one row an image, with the reason for each unusable row."""

from skinlesion.data.labels.joined import Conflict, Labels, join_tables

__all__ = ["Conflict", "Labels", "join_tables"]
