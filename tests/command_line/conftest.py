"""The registry of the tests: see tests/model_house.py."""

from tests.model_house import house, model_files, no_model

__all__ = ["house", "model_files", "no_model"]
