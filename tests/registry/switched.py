"""Switch what is in service and die by SIGKILL at each step: `python switched.py MODELS promote|rollback VERSION TRIALS`.

TRIALS/1, TRIALS/2, ... are copies of MODELS; in the n-th the switch was killed before the n-th thing that it does to the disk.
The last one lived to see the end. Each switch runs in a fork of this process, which imports the registry once.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from skinlesion.registry.switch import promote, rollback

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.symlink", "os.rmdir", "os.chmod", "os.truncate", "os.link"}


def die_before_change(deadly: int) -> None:
    done = 0

    def watch(event: str, args: tuple[Any, ...]) -> None:
        nonlocal done
        opened = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        if event in CHANGES or opened:
            done += 1
            if done == deadly:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def switch(models: Path, what: str, version: int) -> None:
    if what == "promote":
        promote(models, version, actor="somebody", reason="a test")
    else:
        rollback(models, to=version, actor="somebody", reason="a test")


def main(models: Path, what: str, version: int, trials: Path) -> None:
    for deadly in itertools.count(1):
        trial = Path(shutil.copytree(models, trials / str(deadly), symlinks=True))
        child = os.fork()
        if child == 0:
            die_before_change(deadly)
            switch(trial, what, version)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status == 0:
            return
        if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
            sys.exit(f"The switch in {trial} failed.")


if __name__ == "__main__":
    folder, asked, number, destination = sys.argv[1:]
    main(Path(folder), asked, int(number), Path(destination))
