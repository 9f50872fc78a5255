"""Two versions beside each other, computed in another process: what it needs (pandas, SciPy) is not loaded by the API server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from threading import BoundedSemaphore
from typing import Final

from fastapi import HTTPException

from skinlesion.foundation.errors import DataError
from skinlesion.registry.version_comparison import VersionComparison

_COMMAND: Final = (sys.executable, "-c", "from skinlesion.command_line.main import main; main()", "models", "compare")
_SECONDS: Final = 60
_AT_ONCE: Final = BoundedSemaphore(2)
"""Each comparison takes a core for some seconds, of a server that has other work."""


def compared(models: Path, first: int, second: int) -> VersionComparison:
    """Return what `skinlesion models compare FIRST SECOND` finds.

    Raises DataError with its sentence if the versions do not compare, and HTTPException (503) while others are compared or if
    it takes too long.
    """
    if not _AT_ONCE.acquire(timeout=_SECONDS / 4):
        raise HTTPException(503, "Other versions are being compared. Load this page again in a moment.")
    try:
        done = subprocess.run(
            [*_COMMAND, str(first), str(second), "--json", "--models", str(models)],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired:
        raise HTTPException(503, f"Comparing these versions takes longer than {_SECONDS} seconds.") from None
    finally:
        _AT_ONCE.release()
    if done.returncode != 0:
        raise DataError(done.stderr.strip().removeprefix("skinlesion: "))
    return VersionComparison.model_validate_json(done.stdout)
