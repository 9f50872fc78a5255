"""The reference, which does not move down; the judgements that its held-out lesions make, and what they spend."""

from __future__ import annotations

import shutil

import pytest
from tests.measured import known
from tests.model_house import House
from tests.promotion.test_gate import line
from typer.testing import CliRunner

from skinlesion.command_line.models import models_app
from skinlesion.foundation.errors import DataError
from skinlesion.promotion import gate
from skinlesion.promotion.decide import Judgement, judge_once, switch_to
from skinlesion.registry import history
from skinlesion.registry.history import HistoryEntry
from skinlesion.registry.looks import Looks, is_better, is_draw, level, reference_of
from skinlesion.registry.retention import remove_old_files
from skinlesion.registry.snapshot import Registry
from skinlesion.registry.switch import promote, rollback, set_reference
from skinlesion.registry.verdict import Criterion, Look, Verdict, VerdictSummary, read_verdict

EVERYWHERE = ("benign", "malignant", "unknown")


@pytest.fixture(autouse=True)
def no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load no model: its files and its speed are not the subject."""
    line = Criterion(name="files", title="Files", passed=True, sentence="Not the subject.")
    for name in ("_files_agree", "_latency"):
        monkeypatch.setattr(gate, name, lambda *_: line)


def night(house: House, run: str, right: float) -> tuple[Judgement, Verdict]:
    """Judge a model that is right about this share of each class, and put it in service if it passes."""
    number = house.add(run, house.scores(**dict.fromkeys(EVERYWHERE, right)))
    floors = house.settings(gate_min_auroc=0.5, gate_min_sensitivity=0.5, gate_max_calibration_error=1)
    judgement = judge_once(floors, number, actor="the night")
    if judgement.next == "switch":
        switch_to(floors, judgement, actor="the night", reason=judgement.reason)
    return judgement, known(read_verdict(house.models, run, number))


def test_small_steps_down_end_at_one_margin_below_the_reference(house: House) -> None:
    """Each was compared with the last that passed: night after night the model in service sank."""
    night(house, "0", 0.9)
    in_service = []
    for step in range(1, 9):
        night(house, str(step), 0.9 - 0.02 * step)
        in_service.append(known(Registry.read(house.models).in_service).version)
    verdict = known(read_verdict(house.models, "8", 9))
    assert Registry.read(house.models).reference == 1
    assert in_service[0] == 2 and in_service[-1] == in_service[-2] <= 5
    last = line(verdict, "reference_sensitivity")
    assert last.numbers["reference"] == pytest.approx(0.9, abs=0.005)
    assert "version 1, the reference, has 0.900" in last.sentence


def test_a_version_that_is_shown_to_be_better_becomes_the_reference_when_it_comes_into_service(house: House) -> None:
    night(house, "first", 0.8)
    _, alike = night(house, "alike", 0.81)
    assert not known(alike.look).is_better
    assert Registry.read(house.models).reference == 1
    _, better = night(house, "better", 0.92)
    assert known(better.look).is_better and known(better.look).reference == 1
    assert Registry.read(house.models).reference == 3
    rollback(house.models, actor="ann", reason="a test")
    assert Registry.read(house.models).reference == 3
    promote(house.models, 1, actor="ann", reason="by hand")
    assert Registry.read(house.models).reference == 3


def test_a_person_moves_the_reference_down_with_a_reason(house: House) -> None:
    night(house, "first", 0.8)
    night(house, "better", 0.95)
    house.add("never in service")
    for number, reason, said in ((1, " ", "No reason"), (2, "why", "is the reference"), (3, "why", "never in service")):
        with pytest.raises(DataError, match=said):
            set_reference(house.models, number, actor="ann", reason=reason)
    answer = CliRunner().invoke(
        models_app, ["reference", "1", "--reason", "Its labels were wrong", "--models", str(house.models)]
    )
    assert answer.exit_code == 0
    entry = history.lines(house.models).all()[-1]
    assert (entry.what, entry.version, entry.previous) == ("made the reference", 1, 2)
    assert entry.reason == "Its labels were wrong"
    registry = Registry.read(house.models).require_whole()
    assert (registry.reference, known(registry.in_service).version) == (1, 2)
    shutil.rmtree(house.candidate("better").folder)
    with pytest.raises(DataError, match="missing or altered"):
        set_reference(house.models, 2, actor="ann", reason="back")


@pytest.mark.parametrize("harm", ["missing", "altered", "what it learnt is not known"])
def test_a_reference_that_cannot_be_compared_with_stops_the_gate_in_words(house: House, harm: str) -> None:
    night(house, "first", 0.9)
    night(house, "second", 0.9)
    first = house.candidate("first")
    if harm == "missing":
        shutil.rmtree(first.folder)
    elif harm == "altered":
        first.tflite.write_bytes(b"other")
    else:
        first.trained_on.unlink()
    judgement, verdict = night(house, "third", 0.9)
    assert not judgement.passed
    assert [one.name for one in verdict.lost] == ["reference_balanced_accuracy", "reference_sensitivity"]
    assert {one.says for one in verdict.lost} == {"not compared"}
    assert verdict.look is None
    assert "cannot be compared with the reference" in verdict.sentence
    assert "skinlesion models reference VERSION --reason" in verdict.sentence
    assert line(verdict, "sensitivity_margin").passed


def test_the_reference_keeps_its_files(house: House) -> None:
    for number in range(6):
        night(house, str(number), 0.9)
    house.add("last")
    assert Registry.read(house.models).reference == 1
    assert sorted(remove_old_files(house.models, 2, 1)) == [2, 3, 4]
    assert Registry.read(house.models).version(1).has_files


def test_what_the_reference_learnt_is_left_out(house: House) -> None:
    night(house, "first", 0.9)
    night(house, "second", 0.9)
    house.has_learnt("first", house.rows.iloc[:30])
    _, verdict = night(house, "third", 0.9)
    assert verdict.left_out.images == 30
    house.has_learnt("first", house.rows.iloc[:300])
    judgement, verdict = night(house, "fourth", 0.9)
    assert verdict.outcome == "too few to judge"
    assert "too few to judge" in judgement.sentence


def test_each_judgement_is_counted_and_asks_more_of_the_next_once_it_draws_on_the_budget(house: House) -> None:
    night(house, "first", 0.9)
    _, close = night(house, "second", 0.895)
    assert not known(close.look).is_draw
    worse = [night(house, f"worse {number}", 0.8)[1] for number in range(3)]
    assert [known(one.look).is_draw for one in worse] == [True] * 3
    confidence = [known(one.look).confidence for one in worse]
    assert confidence == sorted(confidence) and confidence[0] == pytest.approx(1 - level(0.05, 0))
    registry = Registry.read(house.models)
    assert (registry.looks.lesions, registry.looks.judged, registry.looks.draws) == (120, 4, 3)
    assert "have judged 4 times, with 3 draws on the error budget; 17% of it is left" in registry.looks.sentence
    assert registry.looks.sentence in line(worse[-1], "error_budget").sentence
    again = judge_once(house.config, registry.versions[0].number, actor="the next night")
    assert not again.judged_now
    assert Registry.read(house.models).looks == registry.looks
    shown = CliRunner().invoke(models_app, ["show", "2", "--models", str(house.models)]).output
    assert "have judged 4 times" in " ".join(shown.split())


def entry_of(what: str, version: int, **look: object) -> HistoryEntry:
    given = {"reference": 1, "lesions": 100, "confidence": 0.9, "p_worse": 0.5, "is_draw": True, "is_better": False}
    verdict = VerdictSummary(passed=True, against=None, lost=(), at="", look=Look.model_validate(given | look))
    return HistoryEntry.model_validate(
        {"at": "", "what": what, "actor": "", "version": version, "reason": "", "verdict": verdict}
    )


def test_new_malignant_lesions_refill_the_budget() -> None:
    old = [entry_of("judged", 2, lesions=100)] * 5 + [entry_of("judged", 3, lesions=150)]
    assert Looks.of(old) == Looks(150, 6, 6)
    assert Looks.of(old, 199).draws == 6
    assert Looks.of(old, 200) == Looks(200, 1, 1)
    assert Looks.of(old, 300) == Looks(300, 0, 0)
    assert Looks.of([]) == Looks(0, 0, 0)
    assert Looks.of([], 7).left == 1


def test_what_all_judgements_may_spend_is_the_budget() -> None:
    spent = sum(level(0.05, draws) for draws in range(100_000))
    assert spent == pytest.approx(0.05 * 0.99, rel=1e-4)
    assert not is_draw(0.01) and is_draw(0.0101)
    assert Looks(100, 9, 2).left == pytest.approx(1 - 6 / 3.14159265**2 * 1.25)


def test_better_is_shown_in_one_figure_and_lower_in_none() -> None:
    assert is_better([(0.001, 0.05), (0.4, 0.0)])
    assert not is_better([(0.001, 0.05), (0.6, -0.01)])
    assert not is_better([(0.02, 0.05), (0.02, 0.05)])
    assert not is_better([])


def test_the_reference_follows_from_the_history() -> None:
    better = {"is_better": True}
    first = entry_of("promoted", 1)
    assert reference_of([]) is None
    assert reference_of([entry_of("judged", 1), first, entry_of("rolled back", 2)]) == 1
    assert reference_of([first, entry_of("promoted", 2, **better)]) == 2
    assert reference_of([first, entry_of("promoted", 2, reference=7, **better)]) == 1
    assert reference_of([first, entry_of("made the reference", 3), entry_of("promoted", 2, **better)]) == 3
