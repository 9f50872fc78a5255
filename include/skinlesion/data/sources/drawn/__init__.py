"""Procedurally drawn dermoscopic images, for trying things out and for tests."""
