"""Tables of diagnoses as their users have them: read in any known layout, joined, and told what cannot be used."""

from skinlesion.data.labels.joined import Conflict, Labels, join_tables, read_labels

__all__ = ["Conflict", "Labels", "join_tables", "read_labels"]
