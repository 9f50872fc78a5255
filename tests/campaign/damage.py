"""Damage between two nights: a file that is cut, lost, emptied, overwritten, or restored from an older night."""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Damage:
    """A damaged file, and what it was before: what its owner restores from a back-up."""

    path: Path
    before: bytes | None
    link: str = ""
    mode: int = 0o644

    def undo(self) -> None:
        """Restore the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)
        if self.link:
            self.path.symlink_to(self.link)
        elif self.before is not None:
            self.path.write_bytes(self.before)
            self.path.chmod(self.mode)


def damage(folder: Path, older: Path, wanted: dict[str, Any]) -> Damage | None:
    """Damage a file; return what is needed to undo it, None where there is nothing to damage.

    older: a folder with last nights' copies of some of the files, by their names.
    """
    path, kind = folder / wanted["file"], wanted["kind"]
    if path.name == "in_service":
        return _of_link(path, kind)
    if not path.exists():
        return None
    path = Path(os.path.realpath(path))
    done = Damage(path, path.read_bytes(), mode=path.stat().st_mode & 0o777)
    content = done.before or b""
    dice = random.Random(wanted["draw"])
    earlier = older / Path(wanted["file"]).name
    if kind == "older" and (not earlier.exists() or earlier.read_bytes() == content):
        return None
    if kind == "line" and path.suffix != ".jsonl":
        kind = "cut"
    path.unlink()
    if kind == "cut":
        path.write_bytes(content[: int(len(content) * wanted["draw"])])
    elif kind == "empty":
        path.write_bytes(b"{}" if path.suffix == ".json" else b"")
    elif kind == "noise":
        at = int((len(content) - 1) * wanted["draw"])
        path.write_bytes(content[:at] + dice.randbytes(min(200, len(content) - at)) + content[at + 200 :])
    elif kind == "line":
        path.write_bytes(content + b'{"what": "something else"}\n')
    elif kind == "older":
        shutil.copyfile(earlier, path)
    if path.suffix == ".jsonl" and kind != "line" and not _can_be_noticed(content, path):
        done.undo()
        return None
    return done


def _can_be_noticed(before: bytes, path: Path) -> bool:
    """Return whether other files still know of the lines that are lost: of a version, or of a switch before the last one.

    That a verdict alone is lost, with what came after it, nobody can see.
    """
    after = path.read_bytes().splitlines() if path.exists() else []
    lost = [line for line in before.splitlines() if line not in after]
    switches = [line for line in lost if b'"switch": ' in line and b'"switch": null' not in line]
    return len(switches) > 1 or any(b'"registered"' in line for line in lost)


def _of_link(path: Path, kind: str) -> Damage | None:
    if not path.is_symlink() or kind == "lost":  # without the link nothing is in service, as people may want it
        return None
    done = Damage(path, None, link=str(path.readlink()))
    path.unlink()
    if kind in ("cut", "noise"):
        path.symlink_to(path.name)  # to itself
    elif kind in ("empty", "older", "line"):
        path.symlink_to("releases/000000")
    return done
