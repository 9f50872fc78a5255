"""Neither model is measured on what one of them learnt: what the gate leaves out, what it says, and when it refuses."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest
from tests.model_house import House
from tests.promotion.test_gate import line, model_files, verdict_on

from skinlesion.data.manifest import version
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.tables import write_table
from skinlesion.prediction.measurable import LEARNT_COLUMNS
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.switch import promote

__all__ = ["model_files"]


@pytest.fixture
def champion(house: House) -> int:
    """Return a version in service that is right about everything: by heart, about what it learnt."""
    number = house.add("champion", house.scores(benign=1, malignant=1, unknown=1))
    promote(house.models, number, actor="somebody", reason="the first")
    return number


def test_what_the_champion_learnt_counts_for_neither_model(house: House, champion: int) -> None:
    """A champion was measured on 19 of 27 images that it was trained on; it looked better than it is, and nobody was told."""
    scores = house.scores(malignant=0.9)
    # The champion knows by heart what the candidate is wrong about.
    wrong = house.rows[scores.argmax(axis=1) != house.rows["label"].map(["benign", "malignant", "unknown"].index)]
    house.has_learnt("champion", wrong)
    verdict = verdict_on(house, house.add("candidate", scores))
    accuracy = line(verdict, "balanced_accuracy_margin")
    assert (accuracy.numbers["candidate"], accuracy.numbers["champion"]) == (1, 1)
    assert verdict.left_out.model_dump() == {"images": len(wrong), "lesions": len(wrong), "of_images": 420}
    assert (verdict.images, verdict.lesions) == (420 - len(wrong), 420 - len(wrong))
    rest = house.rows.drop(wrong.index).reset_index(drop=True)
    assert verdict.held_out_version == version(rest)
    said = line(verdict, "unseen_lesions")
    assert said.passed
    assert f"{len(wrong)} of 420 held-out images, of {len(wrong)} lesions, are left out: a model" in said.sentence


@pytest.mark.parametrize("inner", [False, True], ids=["training", "the inner fold"])
def test_what_the_candidate_learnt_counts_for_neither_model(house: House, champion: int, inner: bool) -> None:
    number = house.add("candidate", house.scores(malignant=0.9))
    house.has_learnt("candidate", house.rows.iloc[10:110].assign(inner=inner))
    assert verdict_on(house, number).left_out.images == 100


@pytest.mark.parametrize(
    ("learnt", "said"),
    [
        (lambda rows: rows, "Of 240 benign lesions 0 are left; at least 120 are needed"),
        (lambda rows: rows[rows["label"] == "malignant"].head(61), "Of 120 malignant lesions 59 are left; at least 60"),
        (lambda rows: rows[rows["label"] == "unknown"].head(59), "Of 60 unknown lesions 1 is left; at least 30"),
    ],
    ids=["everything", "most malignant ones", "all but one of a class"],
)
def test_too_few_lesions_that_neither_learnt_are_a_refusal_in_words(
    house: House, champion: int, learnt: Callable[[pd.DataFrame], pd.DataFrame], said: str
) -> None:
    house.has_learnt("champion", learnt(house.rows))
    verdict = verdict_on(house, house.add("candidate", house.scores(benign=1, malignant=1, unknown=1)))
    assert not verdict.passed
    assert [one.name for one in verdict.lost] == ["unseen_lesions"]
    assert "too few to judge" in verdict.sentence and said in verdict.sentence
    assert verdict.left_out.images == len(learnt(house.rows))


@pytest.mark.parametrize("harm", ["missing", "empty", "half", "rows are gone", "of another model"])
def test_a_champion_of_which_nobody_knows_what_it_learnt_cannot_be_compared_with(
    house: House, champion: int, harm: str
) -> None:
    """Without the table the gate took it that nothing was learnt."""
    damage(house.candidate("champion"), harm)
    verdict = verdict_on(house, house.add("candidate"))
    assert [one.name for one in verdict.lost] == ["balanced_accuracy_margin", "sensitivity_margin"]
    assert f"What version {champion}, which is in service, learnt is not known" in verdict.lost[0].sentence


@pytest.mark.parametrize("harm", ["missing", "half", "rows are gone"])
def test_a_candidate_of_which_nobody_knows_what_it_learnt_does_not_pass(house: House, champion: int, harm: str) -> None:
    number = house.add("candidate")
    damage(house.candidate("candidate"), harm)
    verdict = verdict_on(house, number)
    assert [one.name for one in verdict.lost] == ["unseen_lesions"]
    assert "trained_on.parquet" in verdict.lost[0].sentence and "or train again" in verdict.lost[0].sentence


def damage(candidate: Candidate, harm: str) -> None:
    path = candidate.trained_on
    content = path.read_bytes()
    path.unlink()
    if harm == "empty":
        path.touch()
    elif harm == "half":
        path.write_bytes(content[: len(content) // 2])
    elif harm != "missing":
        table = pd.DataFrame({name: [name == "inner"] for name in LEARNT_COLUMNS}).astype(LEARNT_COLUMNS)
        write_table(path, table.head(0 if harm == "rows are gone" else 1), LEARNT_COLUMNS)


def test_a_split_that_does_not_follow_stops_the_gate(house: House, champion: int) -> None:
    number = house.add("candidate")
    path = layout.split(house.config.dataset)
    last_week = path.read_bytes()
    house.hold_out(house.rows.head(300))
    path.write_bytes(last_week)
    with pytest.raises(DataError, match=r"does not follow from generation 2"):
        verdict_on(house, number)
