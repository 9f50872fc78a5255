"""The sealed part of the held-out lesions: chosen for good, never scored by a night, opened by a person or every so often."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from tests.measured import known
from tests.model_house import House
from tests.promotion.test_gate import line
from tests.promotion.test_reference import no_files
from typer.testing import CliRunner

from skinlesion.command_line.models import models_app
from skinlesion.foundation.errors import DataError
from skinlesion.prediction.sealed import HeldOutParts
from skinlesion.promotion import sealed
from skinlesion.promotion.decide import judge_once, switch_to
from skinlesion.promotion.gate import judge
from skinlesion.promotion.sealed import open_sealed
from skinlesion.registry import history
from skinlesion.registry.snapshot import Registry
from skinlesion.stages.settings import PipelineConfig

if TYPE_CHECKING:
    from skinlesion.prediction.answers import Answers


__all__ = ["no_files"]


NAMES = ["benign"] * 4000 + ["malignant"] * 1000 + ["unknown"] * 500
LESIONS = [f"image:{label} {number}" for number, label in enumerate(NAMES)]
MANY = pd.DataFrame({"label": NAMES, "lesion": LESIONS, "group": LESIONS})


def test_about_a_fifth_of_each_class_is_sealed() -> None:
    parts = HeldOutParts.of(MANY, 0.2, 250)
    shares = parts.sealed.groupby("label").size() / MANY.groupby("label").size()
    assert shares.between(0.14, 0.26).all()
    assert len(parts.sealed) + len(parts.nightly) == len(MANY)
    assert not set(parts.sealed["group"]) & set(parts.nightly["group"])
    assert "of the 1000 malignant held-out lesions are sealed" in parts.sentence


def test_what_is_sealed_stays_so_whatever_comes_goes_or_turns_out_to_be_one_lesion() -> None:
    before = set(HeldOutParts.of(MANY, 0.2, 250).sealed["lesion"])
    fewer = MANY.sample(frac=0.5, random_state=0).reset_index(drop=True)
    assert set(HeldOutParts.of(fewer, 0.2, 250).sealed["lesion"]) == before & set(fewer["lesion"])
    assert before <= set(HeldOutParts.of(MANY, 0.3, 250).sealed["lesion"])
    merged = MANY.assign(group=[f"near:{number // 2}" for number in range(len(MANY))])
    after = HeldOutParts.of(merged, 0.2, 250)
    assert before <= set(after.sealed["lesion"])
    assert not set(after.sealed["group"]) & set(after.nightly["group"])


@pytest.mark.parametrize(("share", "fewest"), [(0.2, 1001), (0.0, 1)])
def test_with_few_malignant_lesions_nothing_is_sealed_and_it_is_said(share: float, fewest: int) -> None:
    parts = HeldOutParts.of(MANY, share, fewest)
    assert parts.sealed.empty and len(parts.nightly) == len(MANY)
    assert f"No lesion is sealed: that takes {fewest} malignant held-out lesions, and there are 1000." == parts.sentence


@pytest.fixture
def scored(house: House, monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """Score as the house has it, and remember which images were scored on opening."""
    asked: list[set[str]] = []

    def answers(config: PipelineConfig, candidate: object, rows: pd.DataFrame) -> Answers:
        from skinlesion.prediction.answers import Answers

        asked.append(set(rows["image"]))
        probabilities = house.scores(malignant=0.75)[house.rows["image"].isin(rows["image"])]
        decisions, reasons = ["benign"] * len(rows), ["likeliest"] * len(rows)
        return Answers(probabilities, np.full(len(rows), np.nan), decisions, reasons)

    monkeypatch.setattr(sealed, "answers_of", answers)
    return asked


def test_the_gate_does_not_score_what_is_sealed(house: House, scored: list[set[str]]) -> None:
    config = house.settings(gate_sealed_from=100)
    parts = HeldOutParts.of(house.rows, 0.2, 100)
    number = house.add("first")
    verdict = judge(config, Registry.read(house.models), number)
    assert verdict.images == len(parts.nightly) == 420 - len(parts.sealed) < 420
    assert "of the 120 malignant held-out lesions are sealed" in line(verdict, "unseen_lesions").sentence
    assert scored == []


def test_a_person_opens_it_and_the_history_has_both_figures(house: House, scored: list[set[str]]) -> None:
    config = house.settings(gate_sealed_from=100)
    number = house.add("first", house.scores(malignant=0.9))
    with pytest.raises(DataError, match="No reason"):
        open_sealed(config, number, actor="ann", reason=" ")
    with pytest.raises(DataError, match=r"nothing to open\. No lesion is sealed: that takes 250"):
        open_sealed(house.config, number, actor="ann", reason="why")
    folders = ["--models", str(house.models), "--dataset", str(house.config.dataset)]
    answer = CliRunner(env={"SKINLESION_GATE_SEALED_FROM": "100"}).invoke(
        models_app, ["open-sealed", str(number), "--reason", "The yearly look.", *folders]
    )
    assert answer.exit_code == 0, answer.output
    assert scored == [set(HeldOutParts.of(house.rows, 0.2, 100).sealed["image"])]
    entry = history.lines(house.models).all()[-1]
    assert (entry.what, entry.version, known(entry.sealed).images) == (
        "measured on the sealed lesions", number, len(scored[0]),
    )  # fmt: skip
    assert known(entry.sealed).nightly["balanced_accuracy"].value == pytest.approx(0.867, abs=0.001)
    assert entry.reason.startswith("The yearly look. On ") and ", nightly 0.867 (" in entry.reason
    assert "measured on the sealed lesions" in answer.output


def test_it_is_opened_every_so_many_promotions(house: House, scored: list[set[str]]) -> None:
    config = house.settings(gate_sealed_from=100, gate_open_sealed_every=2, gate_min_sensitivity=0.5)
    for number in range(5):
        judgement = judge_once(config, house.add(str(number)), actor="the night")
        switch_to(config, judgement, actor="the night", reason=judgement.reason)
    opened = [one for one in history.lines(house.models).all() if one.sealed is not None]
    assert [one.version for one in opened] == [2, 4]
    assert opened[0].reason.startswith("2 promotions since the last time. On ")
    assert Registry.read(house.models).require_whole().reference == 1
