"""Import TensorFlow without the notes that its C++ part writes to the terminal while it starts."""

from __future__ import annotations

import os
import sys
import tempfile

from skinlesion.foundation.cores import cores_allowed


def load() -> None:
    """Import TensorFlow unless this process has done so. What it writes to standard error is shown if the import fails.

    TF_CPP_MIN_LOG_LEVEL does not silence these lines (oneDNN's note, "before absl::InitializeLog()"), which come before it
    is read. They go to the file descriptor, where Python's redirection does not catch them either.
    """
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    with tempfile.TemporaryFile() as notes:
        terminal = os.dup(2)
        os.dup2(notes.fileno(), 2)
        try:
            import tensorflow as tf

            if (cores := cores_allowed()) < len(os.sched_getaffinity(0)):  # else TensorFlow's own choice is right
                tf.config.threading.set_intra_op_parallelism_threads(cores)
                tf.config.threading.set_inter_op_parallelism_threads(cores)
            tf.zeros(1)  # the first operation writes the rest of the notes
        except BaseException:
            notes.seek(0)
            os.write(terminal, notes.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
