"""The number of cores that this process may use, by its affinity and the CPU limit of its container."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final

CGROUPS: Final = Path("/sys/fs/cgroup")
"""The control groups as a container sees them: its own group is the root."""


def cores_allowed(cgroups: Path = CGROUPS) -> int:
    """Return the number of cores, at least 1; a limit of 1.5 CPUs counts as 2.

    Python and TensorFlow read the affinity alone. With a thread for each of a machine's 64 cores under a limit of 4, each
    thread is idle most of the time, and each holds its memory.
    """
    cores = len(os.sched_getaffinity(0))
    limit = _limit(cgroups)
    return cores if limit is None else max(1, min(cores, math.ceil(limit)))


def _limit(cgroups: Path) -> float | None:
    """Return the limit in CPUs, None where there is none."""
    try:
        quota, period = (cgroups / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    if not (quota.isdecimal() and period.isdecimal()) or int(period) == 0:  # "max"
        return None
    return int(quota) / int(period)
