"""Start TensorFlow and LiteRT without the notes that their C++ parts write to the terminal.

The notes go to the file descriptor of standard error, where Python's redirection does not catch them; Airflow shows each of them
as an error of the task. TF_CPP_MIN_LOG_LEVEL does not silence those that come before it is read (oneDNN's note, "before
absl::InitializeLog()"), and LiteRT does not read it.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from skinlesion.foundation.cores import cores_allowed

_ONE_AT_A_TIME: Final = threading.Lock()
"""Standard error belongs to the whole process: a second redirection within the first would never end."""


def load() -> None:
    """Import TensorFlow unless this process has done so."""
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with notes_hidden():
        import tensorflow as tf

        if (cores := cores_allowed()) < len(os.sched_getaffinity(0)):  # else TensorFlow's own choice is right
            tf.config.threading.set_intra_op_parallelism_threads(cores)
            tf.config.threading.set_inter_op_parallelism_threads(cores)
        tf.zeros(1)  # the first operation writes the rest of the notes


@contextmanager
def notes_hidden() -> Iterator[None]:
    """Keep what is written to standard error away from the terminal, and show it if the block raises."""
    with _ONE_AT_A_TIME, tempfile.TemporaryFile() as notes:
        sys.stderr.flush()
        terminal = os.dup(2)
        os.dup2(notes.fileno(), 2)
        try:
            yield
        except BaseException:
            notes.seek(0)
            os.write(terminal, notes.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
