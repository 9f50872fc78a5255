"""A reader who looks at what is in service all the time, as a server or a script would, and counts what it saw."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path

NAMES = ("skin_lesion_classifier_trained.h5", "skin_lesion_classifier_trained.tflite", "decision_rule.json")
RECORD = "skin_lesion_classifier_trained.json"


@dataclass
class Reader:
    """Follows models/in_service once, reads the record and the files from the folder found, and compares their digests.

    Attributes:
        checks: number of times that it read everything.
        changes: number of times that another version was in service than at the check before.
        wrong: what it read that was not whole or not of one version.
    """

    models: Path
    seconds: float = 0.05
    checks: int = 0
    changes: int = 0
    wrong: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _rests: threading.Lock = field(default_factory=threading.Lock)
    _last: str = ""

    def start(self) -> None:
        """Read until `stop`."""
        threading.Thread(target=self._read_all_the_time, daemon=True).start()

    def stop(self) -> None:
        """Read no more."""
        self._stop.set()

    def resting(self) -> threading.Lock:
        """Return what one holds while the reader must not read: the files are damaged on purpose."""
        return self._rests

    def _read_all_the_time(self) -> None:
        while not self._stop.wait(self.seconds):
            with self._rests:
                self.check()

    def check(self) -> None:
        """Read once what is in service."""
        link = self.models / "in_service"
        try:
            release = Path(os.path.realpath(link, strict=True))
            record = json.loads((release / RECORD).read_bytes())
            found = {name: (release / name).read_bytes() for name in NAMES if name in record["sha256"]}
        except FileNotFoundError:
            if link.is_symlink() and os.path.realpath(link) == str(locals().get("release", "")):
                self.wrong.append("a file of the release in service is missing")
            return
        except ValueError as error:
            self.wrong.append(f"the record in service cannot be read: {error}")
            return
        wanted = record["sha256"]
        if any(hashlib.sha256(content).hexdigest() != wanted[name] for name, content in found.items()):
            self.wrong.append(f"files of {release.name} are not of its version {record['entry']['version']}")
        if "decision_rule.json" in found and json.loads(found["decision_rule.json"]) != record["decision_rule"]:
            self.wrong.append(f"the rule of {release.name} is of another version")
        self.checks += 1
        self.changes += release.name != self._last
        self._last = release.name
