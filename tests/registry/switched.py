"""Switch what is in service and die by SIGKILL before the n-th thing that is done to the disk. Called by test_switch.py:
`python switched.py MODELS promote|rollback VERSION N`; prints how many things were done, if it lives to see the end.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from skinlesion.registry.switch import promote, rollback

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.symlink", "os.rmdir", "os.chmod", "os.truncate", "os.link"}


def switch(models: Path, what: str, version: int, deadly: int) -> int:
    """Switch; give how many changes it took."""
    done = 0

    def watch(event: str, args: tuple[Any, ...]) -> None:
        nonlocal done
        opened = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        if event in CHANGES or opened:
            done += 1
            if done == deadly:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    if what == "promote":
        promote(models, version, actor="somebody", reason="a test")
    else:
        rollback(models, to=version, actor="somebody", reason="a test")
    return done


if __name__ == "__main__":
    folder, asked, number, last = sys.argv[1:]
    sys.stdout.write(str(switch(Path(folder), asked, int(number), int(last))))
