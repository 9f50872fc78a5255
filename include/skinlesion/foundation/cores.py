"""How many cores this process may use: by its affinity, and by the CPU limit of the container that it runs in."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final

CGROUPS: Final = Path("/sys/fs/cgroup")
"""As a container sees them: its own group is the root."""


def cores_allowed(cgroups: Path = CGROUPS) -> int:
    """Give the number of cores, at least 1; a limit of 1.5 CPUs counts as 2.

    Python and TensorFlow look at the affinity alone. With a thread for each of a machine's 64 cores under a limit of 4, each
    thread stands still for most of its time, and each holds its memory.
    """
    cores = len(os.sched_getaffinity(0))
    limit = _limit(cgroups)
    return cores if limit is None else max(1, min(cores, math.ceil(limit)))


def _limit(cgroups: Path) -> float | None:
    """Give the limit in CPUs, None where there is none: cpu.max of cgroups 2, cpu.cfs_* of cgroups 1."""
    try:
        quota, period = (cgroups / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (cgroups / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroups / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if not (quota.isdecimal() and period.isdecimal()) or int(period) == 0:  # "max", -1
        return None
    return int(quota) / int(period)
