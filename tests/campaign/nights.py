"""Live through the nights of a history, with what breaks in them, and let the auditor look after each step."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.campaign.auditor import Auditor, Violation, equal_to_twin, models_equal_to_twin
from tests.campaign.damage import damage
from tests.campaign.data_set import DataSet
from tests.campaign.reader import Reader
from tests.campaign.story import SETTINGS, Night
from tests.campaign.workers import Workers

RETRIES = 3
OLDER = ("dataset/catalog.parquet", "dataset/split.parquet", "dataset/manifest.parquet",
         "models/registry/history.jsonl", "models/registry/versions.jsonl")  # fmt: skip


@dataclass
class Result:
    """What came of a history.

    Attributes:
        nights: number of nights that were lived through.
        night: the night of the first violation.
        violations: what the auditor said in it.
        counts: kills, errors, damages and so on by kind.
        trace: what the product said last.
    """

    nights: int = 0
    night: int | None = None
    violations: list[Violation] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    cpu: float = 0.0
    checks: int = 0
    changes: int = 0
    trace: str = ""
    log: list[str] = field(default_factory=list)


class Lived:
    """One history in a folder, with its undisturbed twin beside it."""

    def __init__(self, folder: Path, workers: Workers, *, with_twin: bool, ignored: tuple[str, ...] = ()) -> None:
        self.ignored = ignored
        self.folder, self.twin, self.workers = folder, folder / "twin", workers
        self.result = Result()
        self.auditor = Auditor(folder / "real", ignored=ignored)
        self.real = DataSet(folder / "real" / "dataset")
        self.undisturbed = DataSet(self.twin / "dataset") if with_twin else None
        self.reader = Reader(folder / "real" / "models")
        self.same_models = True

    def live(self, nights: list[Night]) -> Result:
        """Live through the nights, up to the first violation."""
        self.reader.start()
        try:
            for number, night in enumerate(nights):
                self._night(number, night)
                self.result.nights = number + 1
                if self.result.violations:
                    self.result.night = number
                    break
        finally:
            self.reader.stop()
        self.result.checks, self.result.changes = self.reader.checks, self.reader.changes
        return self.result

    def _night(self, number: int, night: Night) -> None:
        settings = SETTINGS | night["settings"]
        order = {"do": "run", "settings": settings, "clock": night.get("clock", 0)}
        self.auditor.most_kept = settings["keep_versions"] + 3
        self.real.apply(night["data"])
        outcome = self._run(order, night)
        if self.result.violations:
            return
        if self.undisturbed is not None:
            self.undisturbed.apply(night["data"])
            expected = self._twin(order)
            if expected != outcome:
                self._say("twin outcome", f"the run ended as {outcome}, that of the twin as {expected}")
            elif outcome == "done":
                self._compare()
        for after in night.get("after", ()):
            if not self.result.violations:
                self._after(after | {"settings": settings, "clock": night.get("clock", 0)})
        if not self.result.violations:
            self._keep_older()

    def _run(self, order: dict[str, Any], night: Night) -> str:
        if "damage" in night and "damage" not in self.ignored:
            with self.reader.resting():
                done = damage(self.folder / "real", self.folder / "older", night["damage"])
                came = self._run_damaged(order, night["damage"]) if done is not None else ""
                if done is not None and came == "named":
                    done.undo()
            if done is not None:
                return self._until_done(order) if came == "named" else came
        if night.get("two_writers"):
            self.result.counts["two writers"] += 1
            for outcome in self.workers.both(self._here(order), self._heard):
                self._is_civil(outcome)
            return self._until_done(order)
        if night.get("mlflow_away"):
            self.result.counts["MLflow away"] += 1
            self._give(order | {"mlflow_away": True})
            self._audit(finished=False)
            return self._until_done(order)
        fault = night.get("fault")
        outcome = self._give(order | ({"fault": fault} if fault else {}))
        if fault and outcome["happened"]:
            self._count_fault(fault, outcome)
            self._audit(finished=outcome["outcome"] == "done")
            if outcome["outcome"] == "done" or self.result.violations:
                return "done" if outcome["outcome"] == "done" else "failed"
            return self._until_done(order)
        return self._settle(order, outcome)

    def _run_damaged(self, order: dict[str, Any], wanted: dict[str, Any]) -> str:
        """Run on damaged files; return `named` if the product stopped with a message, `done` if it went on."""
        self.result.counts[f"damage {wanted['kind']}"] += 1
        outcome = self._give(order)
        if self.result.violations:
            return "failed"
        if outcome["outcome"] != "done":
            self.result.counts["damage named"] += 1
            return "named"
        self.result.counts["damage went on"] += 1
        # A damaged model is none to go on from: what is trained then is another model than the twin's.
        self.same_models = self.same_models and "in_service" not in wanted["file"]
        self._audit(finished=True)
        what = f"{wanted['file']} ({wanted['kind']}) was taken as it was"
        self.result.violations = [
            Violation(f"damage: {one.check}", f"{what}: {one.words}") for one in self.result.violations
        ]
        return "done"

    def _until_done(self, order: dict[str, Any]) -> str:
        """Run again, with nothing that breaks, as a person or the next night would."""
        return self._settle(order, self._give(order))

    def _settle(self, order: dict[str, Any], outcome: dict[str, Any]) -> str:
        """Return how a run without a fault ended. What the data checks refuse, a person accepts."""
        accepted = False
        if outcome["outcome"] == "refused" and "accept_data_changes" in outcome["message"]:
            outcome, accepted = self._give(self._accepting(order)), True
        if outcome["outcome"] not in ("done", "refused") and not self.result.violations:
            self._say(
                "goes on", f"a run with nothing that breaks ended as {outcome['outcome']}: {outcome.get('message', '')}"
            )
        self._audit(finished=outcome["outcome"] == "done")
        return f"{outcome['outcome']}{' accepted' if accepted else ''}".replace("done accepted", "done")

    @staticmethod
    def _accepting(order: dict[str, Any]) -> dict[str, Any]:
        return order | {"settings": order["settings"] | {"accept_data_changes": True}}

    def _twin(self, order: dict[str, Any]) -> str:
        here = {"dataset": str(self.twin / "dataset"), "models": str(self.twin / "models")}
        outcome = self.workers.order(order | here)
        if outcome["outcome"] == "refused" and "accept_data_changes" in outcome["message"]:
            outcome = self.workers.order(self._accepting(order) | here)
        return str(outcome["outcome"])

    def _compare(self) -> None:
        for one in equal_to_twin(self.folder / "real", self.twin):
            self._say(*one)
        if self.same_models:
            for one in models_equal_to_twin(self.folder / "real", self.twin):
                self._say(*one)

    def _after(self, order: dict[str, Any]) -> None:
        """Let a person decide something; if that was killed before it was done, they do it again."""
        fault = order.pop("fault", None)
        before = len(self.auditor.history)
        outcome = self._give(order | ({"fault": fault} if fault else {}))
        if fault and outcome["happened"]:
            self._count_fault(fault, outcome)
        self._audit(finished=False)
        if self.result.violations:
            return
        if outcome["outcome"] not in ("done", "refused"):
            record = self.auditor._record()
            entry = (record or {}).get("entry", {}).get("switch")
            known = [one.get("switch") for one in self.auditor.history[:before]]
            if entry is None or entry in known or order["do"] in ("approve", "decline"):
                outcome = self._give(order)
                self._audit(finished=False)
        if self.undisturbed is not None:
            here = {"dataset": str(self.twin / "dataset"), "models": str(self.twin / "models")}
            self.workers.order(order | here)

    def _give(self, order: dict[str, Any]) -> dict[str, Any]:
        outcome = self.workers.order(self._here(order), self._heard)
        self.result.cpu += outcome["cpu"]
        self.result.counts[f"{order['do']} {outcome['outcome']}"] += 1
        self.result.log.append(
            f"{order['do']}: {outcome['outcome']} {outcome.get('happened', '')} {outcome.get('message', '')}"
        )
        self._is_civil(outcome)
        return outcome

    def _is_civil(self, outcome: dict[str, Any]) -> None:
        """What a person sees is the result or a message, never a traceback, and the end comes."""
        if outcome["outcome"] in ("traceback", "hang"):
            self.result.trace = outcome.get("trace", "")
            self._say(outcome["outcome"], outcome["message"])

    def _heard(self, said: dict[str, Any]) -> None:
        self.auditor.acknowledge(said)

    def _here(self, order: dict[str, Any]) -> dict[str, Any]:
        return order | {
            "dataset": str(self.folder / "real" / "dataset"),
            "models": str(self.folder / "real" / "models"),
        }

    def _audit(self, *, finished: bool) -> None:
        self.result.violations += self.auditor.look(finished=finished)
        for words in self.reader.wrong:
            self._say("reader", words)
        self.reader.wrong.clear()
        self.result.counts["audits"] += 1

    def _say(self, check: str, words: str) -> None:
        if check in self.ignored:
            return
        self.result.violations.append(Violation(check, words))

    def _count_fault(self, fault: dict[str, Any], outcome: dict[str, Any]) -> None:
        self.result.counts[f"fault {fault['kind']}"] += 1

    def _keep_older(self) -> None:
        """Keep copies of the tables every few nights: what somebody restores by mistake."""
        older = self.folder / "older"
        older.mkdir(exist_ok=True)
        if self.result.nights % 3 == 0:
            for name in OLDER:
                if (path := self.folder / "real" / name).exists():
                    shutil.copyfile(path, older / path.name)
