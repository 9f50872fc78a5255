"""An installation whose gate passes everything, so that the change plan alone decides what goes into service."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.measured import known
from tests.model_house import House, house, model_files, no_model
from tests.stand_in_verdict import verdict_of

from skinlesion.promotion import gate as real_gate
from skinlesion.promotion.change_plan.plan import DEFAULT
from skinlesion.promotion.change_plan.record import ChangeRecord, read_record
from skinlesion.promotion.decide import Judgement, judge_once, switch_to
from skinlesion.registry.snapshot import Registry
from skinlesion.registry.training_record import TrainingRecord
from skinlesion.registry.verdict import Criterion, Verdict
from skinlesion.stages.settings import PipelineConfig

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["house", "model_files", "no_model"]

LEARNT = ("image", "original", "sha256", "lesion", "group", "label", "dx")


@dataclass
class Nights:
    """Nights of an installation. plan: the path of its change_plan.yaml, which is not there unless a test writes it."""

    house: House
    plan: Path
    passing: bool = True

    def config(self, **settings: Any) -> PipelineConfig:
        return self.house.settings(change_plan=self.plan, **settings)

    def write_plan(self, replaced: str = "", by: str = "") -> None:
        """Write the default plan, with a part of its text replaced."""
        text = DEFAULT.read_text()
        assert replaced in text
        self.plan.write_text(text.replace(replaced, by) if replaced else text)

    def rows(self, count: int = 6, **changed: Any) -> pd.DataFrame:
        """Return the training rows of so many images, with other values in a column where `changed` says so."""
        import pandas as pd

        rows = pd.DataFrame({name: [f"{name} {n}" for n in range(count)] for name in LEARNT})
        return rows.assign(dx="nv", label="benign").assign(**changed)

    def trained(self, run: str, rows: pd.DataFrame | None = None, **record: Any) -> int:
        """Add a version that learnt these rows, with these settings and values in its training record; return its number."""
        number = self.house.add(run)
        candidate = self.house.candidate(run)
        candidate.trained_on.unlink()
        self.house.has_learnt(run, self.rows() if rows is None else rows)
        before = TrainingRecord.read(candidate.training)
        settings = before.settings | record.pop("settings", {})
        before.model_copy(update={"settings": settings, **record}).write(candidate.training)
        return number

    def asked(self, number: int, **settings: Any) -> Judgement:
        return judge_once(self.config(**settings), number, actor="ann")

    def put(self, judgement: Judgement, **settings: Any) -> None:
        switch_to(self.config(**settings), judgement, actor="ann", reason="It passed the gate")

    def in_service(self, run: str = "one", rows: pd.DataFrame | None = None, **settings: Any) -> int:
        """Add a version and put it in service."""
        number = self.trained(run, rows)
        self.put(self.asked(number, **settings), **settings)
        return number

    def record(self, number: int) -> ChangeRecord:
        run = Registry.read(self.house.models).version(number).run
        return known(read_record(self.house.models, run, number))

    def judge(self, config: PipelineConfig, registry: Registry, number: int) -> Verdict:
        line = Criterion(
            name="min_auroc", title="AUROC", passed=self.passing, found=0.9, bound=0.8, sentence="AUROC is 0.9."
        )
        return verdict_of(registry, number, line)


@pytest.fixture
def nights(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Nights:
    found = Nights(house, tmp_path / "change_plan.yaml")
    monkeypatch.setattr(real_gate, "judge", found.judge)
    return found
