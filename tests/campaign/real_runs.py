"""`python -m tests.campaign.real_runs --kills 200`: kill the real `skinlesion run`, as a user starts it, and audit each time.

Nothing is replaced here: the process is new each time, the backbone is the one that comes with the package, and SIGKILL or
SIGTERM comes at a random moment of the time that such a run takes. After a few kills a run may end, and the night is over.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from tests.campaign.auditor import Auditor, Violation
from tests.campaign.campaign import MEMORY, commit
from tests.campaign.data_set import DataSet
from tests.campaign.reader import Reader
from tests.campaign.story import SETTINGS, story
from tests.campaign.workers import PROJECT

KILLS_A_NIGHT: Final = 6


class Watched:
    """A folder in which nights are killed, with an auditor and a reader who look at it. found: what must not be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.auditor = Auditor(folder)
        self.reader = Reader(folder / "models")
        self.found: list[Violation] = []

    def look(self, *, finished: bool) -> None:
        """Let the auditor look, and take what the reader has seen."""
        self.found += self.auditor.look(finished=finished)
        self.found += [Violation("reader", words) for words in self.reader.wrong]


class RealRuns(Watched):
    """A data set, and `skinlesion run` on it, killed again and again."""

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder)
        self.dice = random.Random(seed)
        self.kills = self.finished = 0
        self.longest = 20.0

    def night(self, steps: list[dict[str, Any]], data: DataSet) -> None:
        """Change the data, kill some runs, let one end."""
        data.apply(steps)
        for _ in range(self.dice.randrange(2, KILLS_A_NIGHT)):
            process = self._start(self.folder / "report.json")
            try:
                process.wait(self.longest * self.dice.random())
                break
            except subprocess.TimeoutExpired:
                process.send_signal(self.dice.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)))
                process.communicate()
                self.kills += 1
                self.look(finished=False)
        began = time.monotonic()
        report = self.folder / "report.json"
        process = self._start(report)
        output, _ = process.communicate()
        if process.returncode == 2 and "accept_data_changes" in output:
            process = self._start(report, "accept_data_changes=true")
            output, _ = process.communicate()
        self.longest = max(5.0, time.monotonic() - began)
        if process.returncode not in (0, 2) or "Traceback" in output:
            self.found.append(Violation("goes on", output[-2000:]))
        if process.returncode == 0:
            self.finished += 1
            for stage in json.loads(report.read_text())["stages"]:
                self.auditor.acknowledge({"finished": stage["stage"], "details": stage["details"]})
        self.look(finished=process.returncode == 0)

    def _start(self, report: Path, *more: str) -> subprocess.Popen[str]:
        settings = {name: value for name, value in SETTINGS.items() if name != "workers"}
        words = [f"{name}={str(value).lower()}" for name, value in settings.items()]
        command = [str(Path(sys.executable).with_name("skinlesion")), "run", "--json", str(report)]
        command += ["--dataset", str(self.folder / "dataset"), "--models", str(self.folder / "models")]
        command += [word for setting in (*words, *more) for word in ("--set", setting)]
        environment = os.environ | {"PYTHONPATH": str(PROJECT / "include")}
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def asked_for(program: str, description: str | None, kills: int) -> argparse.Namespace:
    """Return what the command line asks for: seed, kills and minutes. kills: where it does not say."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.campaign.{program}", description=description)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=kills)
    parser.add_argument("--minutes", type=float, default=600)
    return parser.parse_args()


def main() -> int:
    """Kill as many runs as the command line asks for; print what was found."""
    asked = asked_for("real_runs", __doc__, kills=200)
    until, began = time.monotonic() + asked.minutes * 60, time.monotonic()
    where = str(MEMORY) if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="campaign-real-", dir=where) as folder:
        runs = RealRuns(Path(folder), asked.seed)
        data = DataSet(Path(folder) / "dataset")
        runs.reader.start()
        for night in story(asked.seed, 1000):
            if runs.kills >= asked.kills or time.monotonic() > until or runs.found:
                break
            runs.night(night["data"], data)
            sys.stdout.write(
                f"{runs.kills} kills, {runs.finished} runs that ended, {runs.reader.checks} readers' checks\n"
            )
            sys.stdout.flush()
        runs.reader.stop()
    table = {"commit": commit(), "seed": asked.seed, "kills": runs.kills, "finished_runs": runs.finished,
             "readers_checks": runs.reader.checks, "changes_that_readers_saw": runs.reader.changes,
             "seconds": round(time.monotonic() - began), "violations": runs.found}  # fmt: skip
    sys.stdout.write(json.dumps(table, indent=1) + "\n")
    return 1 if runs.found else 0


if __name__ == "__main__":
    sys.exit(main())
