"""Faults of a disk and deaths of a process, at the n-th thing that the product does to its folders.

An audit hook sees each file that is opened for writing, renamed, linked or removed; the few calls that Python does not
announce (os.write, os.fsync, a whole file written at once) are wrapped. Each of them counts as one step. At the chosen
step the fault happens:

    kill, term      the process gets SIGKILL or SIGTERM
    freeze          as a kill, but the process lives on: from that step on nothing it does reaches the disk (quick)
    power           as a freeze, and what was written and not brought to the disk by fsync is cut off
    enospc, eio, edquot, erofs    the step fails with this error
    torn            half of what is written reaches the disk, then the disk is full
    lasting         whether the steps after it fail too, as on a disk that stays full
"""

from __future__ import annotations

import errno
import gc
import os
import shutil
import signal
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ERRORS: Final = {
    "enospc": errno.ENOSPC,
    "eio": errno.EIO,
    "edquot": errno.EDQUOT,
    "erofs": errno.EROFS,
    "torn": errno.ENOSPC,
}
DEATHS: Final = ("kill", "term", "freeze", "power")
_SEEN: Final = {
    "os.rename": 1,
    "os.remove": 0,
    "os.mkdir": 0,
    "os.rmdir": 0,
    "os.symlink": 1,
    "os.link": 1,
    "os.chmod": 0,
    "os.truncate": 0,
}
"""The events that count, and which of their arguments is the path that comes to be."""

DEAD: Final = 9_999_999
"""No process has this number."""


class Frozen(BaseException):
    """The process is as good as killed: nothing that it does reaches the disk any more."""


@dataclass
class Fault:
    """A fault and where it happens.

    Attributes:
        kind: see above.
        at: number of the step, from 1, among those that `named` lets count.
        named: part of the path or the event that a step must have to count; empty for every step.
        lasting: see above.
        roots: the folders in which steps count.
    """

    kind: str
    at: int
    named: str = ""
    lasting: bool = False
    roots: tuple[str, ...] = ()
    steps: int = 0
    happened: str = ""
    frozen: bool = False
    half_written: bool = False
    synced: dict[int, tuple[int, int]] = field(default_factory=dict)

    def step(self, event: str, path: str) -> bool:
        """Count a step; return whether this one must be torn. Raises or kills where the fault is due."""
        if self.frozen:
            raise Frozen
        if self.named and self.named not in f"{event}:{path}":
            return False
        self.steps += 1
        if self.half_written:  # the disk took half of it: it is full
            self.half_written = False
            self.strike(path)
        if self.steps < self.at or (self.happened and not self.lasting):
            return False
        self.happened = self.happened or f"{event}:{Path(path).name}"
        if self.kind == "torn" and event in ("os.write", "write") and self.steps == self.at:
            self.half_written = event == "os.write"
            return True
        self.strike(path)
        return False

    def strike(self, path: str) -> None:
        """Let the fault happen."""
        if self.kind in ("kill", "term"):
            os.kill(os.getpid(), signal.SIGKILL if self.kind == "kill" else signal.SIGTERM)
        if self.kind in ("freeze", "power"):
            self.frozen = True
            raise Frozen
        code = ERRORS[self.kind]
        raise OSError(code, os.strerror(code), path)

    def is_inside(self, path: str) -> bool:
        """Return whether a step on this path counts. A name without a folder is one that shutil removes inside a folder."""
        return path.startswith(self.roots) or not path.startswith("/")


_active: Fault | None = None
_real: dict[str, Callable[..., Any]] = {}


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    fault = _active
    if fault is None:
        return
    if event == "open":
        flags = arguments[2]
        if not isinstance(flags, int) or not flags & (os.O_WRONLY | os.O_RDWR):
            return
        path = arguments[0]
    elif event in _SEEN:
        path = arguments[_SEEN[event]]
    else:
        return
    if isinstance(path, int | type(None)):
        return
    name = os.fsdecode(path)
    if fault.is_inside(name) and (name.startswith("/") or event in ("os.remove", "os.rmdir")):
        fault.step(event, name)


def _of_descriptor(descriptor: int) -> str:
    try:
        return str(Path(f"/proc/self/fd/{descriptor}").readlink())
    except OSError:
        return ""


def _write(descriptor: int, content: Any) -> int:
    fault = _active
    path = _of_descriptor(descriptor) if fault is not None else ""
    if fault is not None and path.startswith(fault.roots) and fault.step("os.write", path):
        return int(_real["write"](descriptor, bytes(content)[: max(1, len(content) // 2)]))
    return int(_real["write"](descriptor, content))


def _fsync(descriptor: int) -> None:
    fault = _active
    if fault is not None and (path := _of_descriptor(descriptor)).startswith(fault.roots):
        fault.step("os.fsync", path)
        state = os.fstat(descriptor)
        fault.synced[state.st_ino] = state.st_mtime_ns, state.st_size
    # The campaign lies in memory: bringing it to a disk takes time and gives nothing.


def _sync() -> None:
    if _active is not None:
        _active.step("os.sync", _active.roots[0])
        _active.synced |= _states(_active.roots)


def _flush_all(folder: Path) -> None:
    if _active is not None:
        _active.step("os.sync", str(folder))
        _active.synced |= _states(_active.roots)


def _exchange(one: Path, other: Path) -> None:
    if _active is not None:
        _active.step("exchange", str(other))
    _real["exchange"](one, other)


def _write_bytes(self: Path, content: Any) -> int:
    fault = _active
    if fault is not None and fault.is_inside(str(self)) and fault.step("write", str(self)):
        _real["write_bytes"](self, bytes(content)[: len(content) // 2])
        fault.strike(str(self))
    return int(_real["write_bytes"](self, content))


def _copyfile(source: Any, target: Any, **options: Any) -> Any:
    fault = _active
    if fault is not None and fault.is_inside(str(target)) and fault.step("write", str(target)):
        content = Path(source).read_bytes()
        _real["write_bytes"](Path(target), content[: len(content) // 2])
        fault.strike(str(target))
    return _real["copyfile"](source, target, **options)


def install() -> None:
    """Watch this process; once."""
    _real.update(write=os.write, write_bytes=Path.write_bytes, copyfile=shutil.copyfile)
    sys.addaudithook(_hook)
    from skinlesion.foundation import atomic

    # These two go to the kernel past Python, which announces neither.
    for name, stand_in in (("flush_all", _flush_all), ("_exchange", _exchange)):
        if hasattr(atomic, name):
            _real[name.strip("_")] = getattr(atomic, name)
            setattr(atomic, name, stand_in)
    for owner, name, wrapped in (
        (os, "write", _write),
        (os, "fsync", _fsync),
        (os, "sync", _sync),
        (Path, "write_bytes", _write_bytes),
        (shutil, "copyfile", _copyfile),
    ):
        setattr(owner, name, wrapped)


def _states(roots: tuple[str, ...]) -> dict[int, tuple[int, int]]:
    """Return the time of change and the size of each file below the roots, by inode."""
    found = {}
    for root in roots:
        for folder, _, names in os.walk(root):
            for name in names:
                state = os.lstat(os.path.join(folder, name))
                found[state.st_ino] = state.st_mtime_ns, state.st_size
    return found


def begin(fault: Fault) -> None:
    """Let steps count from now on."""
    global _active  # noqa: PLW0603
    if fault.kind == "power":
        fault.synced = _states(fault.roots)
    _active = fault


def end() -> Fault | None:
    """Let no step count any more; leave the folders as a killed process would, where it was frozen."""
    global _active
    fault, _active = _active, None
    if fault is not None and fault.frozen:
        gc.collect()  # the locks of what was frozen are released with it, as the kernel does for a killed process
        _leave_to_the_dead(fault)
    return fault


def _leave_to_the_dead(fault: Fault) -> None:
    """Rename half-written files to those of a process that is gone; cut off what a power cut would have lost."""
    own = f"-{os.getpid()}-"
    for root in fault.roots:
        for folder, folders, names in os.walk(root, topdown=False):
            for name in (*names, *folders):
                path = Path(folder, name)
                state = path.lstat()
                synced, size = fault.synced.get(state.st_ino), state.st_size
                is_lost = stat.S_ISREG(state.st_mode) and synced != (state.st_mtime_ns, size)
                if fault.kind == "power" and is_lost:
                    # What was appended to a file that is on the disk is lost, not what the disk has of it already.
                    # Nothing is overwritten in place, so a file that has not shrunk begins with what was synced.
                    kept = synced[1] if synced is not None and synced[1] <= size else 0
                    path.chmod(0o644)
                    os.truncate(path, (kept + size) // 2)
                    path.chmod(stat.S_IMODE(state.st_mode))
                if own in name:
                    path.rename(path.with_name(name.replace(own, f"-{DEAD}-")))
