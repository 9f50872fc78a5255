"""The errors that a person can correct, apart from those that a retry may cure."""

from __future__ import annotations


class DataError(Exception):
    """The user's data or settings are wrong; a retry is useless.

    The message names the file, row or value, what was expected, what was found and what to do. Everything that is not
    a `DataError` (an `OSError`, a lost worker) may pass on a retry, and Airflow retries it.
    """


class LeakError(DataError):
    """A lesion or an image is in both the training and the held-out part; the evaluation would measure nothing."""
