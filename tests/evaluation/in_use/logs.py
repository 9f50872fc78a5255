"""A prediction log and the version that it is compared with, of simulated pictures."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from tests.two_classifiers import RULE

from skinlesion.data.images import statistics
from skinlesion.data.labels.classes import LABELS
from skinlesion.evaluation.in_use.monitor import monitor
from skinlesion.evaluation.in_use.record import MonitorRecord
from skinlesion.foundation import layout
from skinlesion.foundation.tables import write_table
from skinlesion.prediction.held_out_scores import PREDICTION_COLUMNS, STATISTICS_COLUMNS
from skinlesion.prediction.log import diagnoses
from skinlesion.prediction.log.entries import COLUMNS, LogKey
from skinlesion.prediction.log.journal import parts
from skinlesion.registry.candidate import Candidate
from skinlesion.stages.settings import PipelineConfig

FIRST = datetime(2026, 3, 2, tzinfo=UTC)
"""A Monday."""

NOW = datetime(2026, 12, 1, tzinfo=UTC)

DX = {"malignant": "mel", "benign": "nv", "unknown": "ak"}


@dataclass
class InUse:
    """A log, and a models folder with the candidates that answered."""

    folder: Path
    models: Path
    random: np.random.Generator
    entries: int = 1

    def settings(self, **more: Any) -> PipelineConfig:
        return PipelineConfig.of({"models": self.models, "prediction_log": str(self.folder), **more})

    def monitor(self, known: dict[str, str] | None = None, now: datetime = NOW, **settings: Any) -> MonitorRecord:
        return monitor(self.settings(**settings), known or {}, "indeterminate", now)

    def pictures(self, count: int, **shift: float) -> pd.DataFrame:
        """Return answers for so many pictures, with their true classes; shift: by how many standard deviations what differs."""
        logits = np.column_stack(
            [self.random.gamma(2, 1, count), self.random.normal(-1, 1.6, count), np.full(count, -2.0)]
        )
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        drawn = self.random.random(count)[:, np.newaxis] > probabilities.cumsum(axis=1)[:, :2]
        table = pd.DataFrame(probabilities, columns=list(LABELS))
        table["label"] = np.array(LABELS)[drawn.sum(axis=1)]
        for name in statistics.COLUMNS:
            table[name] = 120 + 20 * (self.random.normal(size=count) + shift.get(name, 0.0))
        table["distance"] = np.exp(0.3 * (self.random.normal(size=count) + shift.get("distance", 0.0)))
        table["decision"] = np.where(table["malignant"] >= 0.2, "malignant", "benign")
        return table.assign(reason="", width=200, height=150)

    def version(self, run: str, count: int = 1000) -> None:
        """Make a candidate that was evaluated on so many held-out images."""
        candidate = Candidate(layout.candidate(self.models, run))
        candidate.folder.mkdir(parents=True)
        names = [f"{number:064x}" for number in range(count)]
        table = self.pictures(count).assign(image=names, sha256=names, group=names)
        write_table(candidate.predictions, table, PREDICTION_COLUMNS)
        write_table(candidate.picture_statistics, table, STATISTICS_COLUMNS)
        candidate.decision_rule.write_text(json.dumps(RULE))

    def week(
        self,
        number: int,
        count: int = 200,
        *,
        version: str = "first",
        cases: list[str] | None = None,
        learnt: str = "no",
        files: list[str] | None = None,
        table: pd.DataFrame | None = None,
        **shift: float,
    ) -> pd.DataFrame:
        """Log a week of answers; return them with the names of the pictures and their classes."""
        found = self.pictures(count, **shift) if table is None else table
        ids = np.arange(self.entries, self.entries + len(found))
        self.entries += len(found)
        names = [f"{one:032x}" for one in ids]
        at = (
            int(FIRST.timestamp() * 1e6)
            + number * 7 * 86_400_000_000
            + self.random.integers(7 * 86_400_000_000, size=len(found))
        )
        found = found.assign(
            id=ids, at=at, version=version, number=1, learnt=learnt, format="JPEG", file=files or names, picture=names
        )
        found = found.assign(case="" if cases is None else cases, beside=0)
        write_table(parts(self.folder) / f"week-{number}-{self.entries}.parquet", found, COLUMNS)
        return found

    def diagnose(self, pictures: Iterable[str], dx: Iterable[str]) -> None:
        """Note a late diagnosis of each of these pictures."""
        key, said = LogKey.of(self.folder), zip(pictures, dx, strict=True)
        diagnoses.add(self.folder, [diagnoses.diagnosis_of(key, "test", picture=one, dx=name) for one, name in said])

    def beside(
        self,
        answers: pd.DataFrame,
        decision: str | pd.Series | npt.NDArray[np.str_],
        *,
        number: int = 2,
        version: str = "second",
        learnt: str = "no",
    ) -> None:
        """Log what a candidate in the shadow decided beside some answers, one decision for each of them."""
        ids = np.arange(self.entries, self.entries + len(answers))
        self.entries += len(answers)
        found = answers.assign(beside=answers["id"], id=ids, number=number, version=version, learnt=learnt)
        write_table(parts(self.folder) / f"beside-{self.entries}.parquet", found.assign(decision=decision), COLUMNS)


def in_use(folder: Path, seed: int = 0) -> InUse:
    """Return an empty log, and the version `first`."""
    LogKey.drawn(folder / "log")
    made = InUse(folder / "log", folder / "models", np.random.default_rng(seed))
    made.version("first")
    return made
