"""From a candidate to the model in service: judged once, and what follows from the verdict."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.measured import known
from tests.model_house import House
from tests.plugins.models_folder import many
from tests.stand_in_verdict import verdict_of

from skinlesion.foundation import atomic, layout
from skinlesion.foundation.errors import DataError
from skinlesion.promotion import gate as real_gate
from skinlesion.promotion.decide import Judgement, is_decided, judge_once, newest, note_answer, switch_to
from skinlesion.registry import history, in_service
from skinlesion.registry.model_files import CHANGE_RECORD
from skinlesion.registry.on_disk import on_disk
from skinlesion.registry.register import register
from skinlesion.registry.retention import KEPT_ALWAYS, remove_old_files
from skinlesion.registry.snapshot import Registry
from skinlesion.registry.switch import Superseded, promote, rollback
from skinlesion.registry.verdict import Criterion, Verdict, VerdictSummary
from skinlesion.stages.settings import PipelineConfig

RUN: dict[str, Any] = {"actor": "the nightly run of 2026-07-01", "dag_run": "skin_lesion_promote asset_triggered__1"}


class Gate:
    """Stands in for the gate: passes everything while `passing`, and remembers which versions it was asked about."""

    def __init__(self) -> None:
        self.passing = True
        self.asked: list[int] = []

    def judge(self, config: PipelineConfig, registry: Registry, number: int) -> Verdict:
        self.asked.append(number)
        line = Criterion(name="min_auroc", title="AUROC", passed=self.passing, sentence="AUROC is what it is.")
        return verdict_of(registry, number, line)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = Gate()
    monkeypatch.setattr(real_gate, "judge", gate.judge)
    return gate


@pytest.fixture
def one(house: House) -> int:
    """Return the number of the first version."""
    return house.add("one")


@pytest.fixture
def two(house: House, one: int) -> int:
    """Return the number of the second version."""
    return house.add("two")


def judged(house: House, number: int, *, actor: str = "ann", **how: Any) -> Judgement:
    return judge_once(house.config, number, actor=actor, **how)


def put(house: House, judgement: Judgement) -> None:
    switch_to(house.config, judgement, actor="ann", reason="It passed the gate")


def test_a_version_that_passes_comes_into_service_once(house: House, gate: Gate, one: int) -> None:
    judgement = judged(house, one)
    assert (judgement.next, judgement.judged_now, judgement.passed) == ("switch", True, True)
    put(house, judgement)
    put(house, judgement)
    assert [(entry.what, entry.version) for entry in history.lines(house.models).all()] == [
        ("judged", one),
        ("promoted", one),
    ]
    verdict = known(Registry.read(house.models).history[0].verdict)
    assert verdict == VerdictSummary(passed=True, against=None, lost=(), at=verdict.at)


def test_the_next_night_with_nothing_new_asks_nobody(house: House, gate: Gate, one: int) -> None:
    put(house, judged(house, one))
    again = judged(house, one)
    assert (again.next, again.judged_now) == ("nothing", False)
    assert "is in service since" in again.sentence
    assert gate.asked == [one]


def test_a_version_that_lost_keeps_its_verdict_until_a_person_has_it_judged_again(
    house: House, gate: Gate, one: int
) -> None:
    gate.passing = False
    first = judged(house, one)
    assert (first.next, first.judged_now, first.passed) == ("nothing", True, False)
    assert "AUROC is what it is." in first.sentence
    gate.passing = True
    again = judged(house, one)
    assert (again.next, again.judged_now) == ("nothing", False)
    assert "did not pass the gate" in again.sentence
    assert Registry.read(house.models).version(one).state == "rejected"
    assert gate.asked == [one]
    assert judged(house, one, again=True).next == "switch"
    assert gate.asked == [one, one]


def decided(house: House) -> bool:
    return is_decided(Registry.read(house.models))


def test_a_night_with_nothing_new_is_no_quiet_one_until_the_newest_version_is_decided(
    house: House, gate: Gate, one: int
) -> None:
    assert not decided(house)
    first = judged(house, one)
    assert not decided(house)  # it passed, and waits for a person or for the switch
    put(house, first)
    assert decided(house)
    gate.passing = False
    second = house.add("two")
    assert not decided(house)
    judged(house, second)
    assert decided(house)


def test_a_version_that_is_declined_is_decided_and_a_damaged_one_in_service_is_not(
    house: House, gate: Gate, one: int, two: int
) -> None:
    put(house, judged(house, one))
    judged(house, two)
    note_answer(house.config, two, "declined", actor="bob", at=history.now(), reason="Not now")
    assert decided(house)
    now = known(in_service.read(house.models))
    (now.folder / "decision_rule.json").chmod(0o644)
    (now.folder / "decision_rule.json").write_text("{}")
    assert not decided(house)


@pytest.mark.parametrize("who", [{"actor": "ann"}, RUN], ids=["the next night", "a run that is cleared"])
def test_a_rollback_is_not_undone(house: House, gate: Gate, one: int, two: int, who: dict[str, Any]) -> None:
    put(house, judged(house, one))
    put(house, judged(house, two, **who))
    rollback(house.models, actor="bob", reason="It is worse")
    again = judged(house, two, **who)
    assert again.next == "nothing"
    assert "only a person puts it back" in again.sentence
    assert gate.asked == [one, two]


def test_what_a_crash_left_between_verdict_and_switch_is_switched(house: House, gate: Gate, one: int) -> None:
    judged(house, one)
    again = judged(house, one)
    assert (again.next, again.judged_now) == ("switch", False)
    assert gate.asked == [one]


def test_a_version_that_another_came_before_is_judged_beside_that(house: House, gate: Gate, one: int, two: int) -> None:
    late, early = judged(house, one), judged(house, two)
    put(house, early)
    with pytest.raises(Superseded, match=f"now version {two} is"):
        put(house, late)
    again = judged(house, one)
    assert (again.next, again.judged_now, again.against) == ("switch", True, two)


def test_a_run_that_is_asked_again_gets_its_own_verdict_as_news(house: House, gate: Gate, one: int) -> None:
    gate.passing = False
    for _ in range(2):
        judgement = judged(house, one, **RUN, again=True)
        assert (judgement.next, judgement.judged_now) == ("nothing", True)
    assert not judged(house, one, actor=RUN["actor"], dag_run="skin_lesion_promote asset_triggered__2").judged_now
    assert gate.asked == [one]


def test_a_refusal_stands_and_is_written_once(house: House, gate: Gate, one: int) -> None:
    judged(house, one)
    answer = {"actor": "bob", "at": "2026-07-01T08:00:00+00:00", "reason": "Asked by a run"}
    assert note_answer(house.config, one, "declined", **answer)
    assert not note_answer(house.config, one, "declined", **answer)
    again = judged(house, one)
    assert again.next == "nothing"
    assert "was declined on 2026-07-01T08:00:00+00:00: Asked by a run" in again.sentence
    assert Registry.read(house.models).version(one).state == "rejected"


@pytest.mark.parametrize("asked", ["the version in service", "another"])
def test_a_damaged_release_is_made_anew_by_the_next_night(house: House, gate: Gate, one: int, asked: str) -> None:
    """While candidates lost night after night, the damaged file stayed, no server answered, and no run said so."""
    put(house, judged(house, one))
    known(in_service.read(house.models)).tflite.unlink()
    gate.passing = False
    judged(house, one if asked == "the version in service" else house.add("two"))
    again = known(in_service.read(house.models))
    assert again.is_whole()
    assert (again.version, again.entry.switch) == (one, 2)
    assert (
        again.entry.reason
        == "A file of release 000001 was missing or altered; all are there again as they were registered"
    )
    assert Registry.read(house.models).rollback_target is None


def test_where_no_copy_is_left_the_night_goes_on_and_says_so(
    house: House, gate: Gate, one: int, caplog: pytest.LogCaptureFixture
) -> None:
    put(house, judged(house, one))
    known(in_service.read(house.models)).tflite.unlink()
    house.candidate("one").tflite.unlink()
    assert judged(house, house.add("two")).judged_now
    assert f"Version {one} cannot be put in service" in caplog.text
    assert known(in_service.read(house.models)).entry.switch == 1


def test_the_newest_version_is_the_one_measured_last(house: House) -> None:
    with pytest.raises(DataError, match="No candidate was evaluated"):
        newest(Registry.read(house.models))
    house.add("one")
    second = house.add("two")
    assert newest(Registry.read(house.models)).number == second


def test_a_night_with_the_clock_ahead_does_not_stay_the_newest(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """After one night with the clock a year ahead, promotion judged that version every night for a year."""
    with monkeypatch.context() as patched:
        patched.setattr(history, "now", lambda: "2027-11-29T02:00:00+00:00")
        house.add("ahead")
    second = house.add("after")
    registry = Registry.read(house.models)
    assert newest(registry).number == second
    assert [point.number for point in registry.trend("sensitivity")] == [1, 2]
    house.measure_again("ahead", benign=0.6)
    assert newest(Registry.read(house.models)).number == 1


# --- Registering ------------------------------------------------------------------------------------------------------


def test_a_candidate_has_one_number_however_often_it_is_registered(house: House, one: int, two: int) -> None:
    assert (one, two) == (1, 2)
    assert register(house.models, house.candidate("one")).number == 1
    registry = Registry.read(house.models)
    assert [version.run for version in registry.versions] == ["two", "one"]
    assert len(registry.trend("balanced_accuracy")) == 2
    figure = registry.version(1).figure("balanced_accuracy")
    assert (figure.low, figure.high) == (0.8, 0.9)
    assert figure.value == pytest.approx(0.85)


def test_a_candidate_that_is_not_whole_is_not_registered(house: House, one: int) -> None:
    house.candidate("one").keras.unlink()
    with pytest.raises(DataError, match="holds no whole candidate"):
        register(house.models, house.candidate("one"))


# --- What keeps its files ---------------------------------------------------------------------------------------------


def test_the_last_versions_and_former_champions_keep_their_files(house: House, gate: Gate) -> None:
    for run in ("former", "champion"):
        put(house, judged(house, house.add(run)))
    gate.passing = False
    for run in ("lost", "late", "last"):
        judged(house, house.add(run, threshold=0.3))
    assert remove_old_files(house.models, 2, 5) == [3]
    assert remove_old_files(house.models, 2, 5) == []
    registry = Registry.read(house.models)
    assert {version.number: version.has_files for version in registry.versions} == {
        1: True, 2: True, 3: False, 4: True, 5: True,
    }  # fmt: skip
    left = {path.name for path in layout.candidate(house.models, "lost").iterdir()}
    assert {"metrics.json", "verdict.json", "report.html", "registered.json"} <= left <= KEPT_ALWAYS
    assert house.candidate("former").read_training() is not None
    with pytest.raises(DataError, match="cannot be put in service"):
        promote(house.models, 3, actor="ann", reason="why")


def test_of_former_champions_the_last_ones_and_the_one_to_go_back_to_keep_their_files(house: House, gate: Gate) -> None:
    """Every night that a model was replaced left its 32 MB for ever."""
    for number, run in enumerate(("first", "second", "third", "fourth", "fifth"), start=1):
        put(house, judged(house, house.add(run, threshold=number / 10)))
    rollback(house.models, actor="ann", reason="back", to=2)
    before = on_disk(house.models)
    assert remove_old_files(house.models, 2, 1) == [
        3
    ]  # 5 and 4 are the latest, 1 is what a rollback goes to, 2 is in service
    registry = Registry.read(house.models)
    assert {version.number for version in registry.versions if not version.has_files} == {3}
    assert known(registry.rollback_target).number == 1
    assert [entry.version for entry in registry.of_version(3)][:1] == [3]
    assert (house.candidate("third").folder / "metrics.json").is_file()
    assert on_disk(house.models).candidates < before.candidates
    with pytest.raises(DataError, match="cannot be put in service"):
        shutil.rmtree(layout.releases(house.models) / "000003", ignore_errors=True)
        rollback(house.models, actor="ann", reason="further", to=3)
    assert rollback(house.models, actor="ann", reason="back").version == 1
    assert in_service.read(house.models) is not None


def test_a_version_that_passed_and_waits_keeps_its_files(house: House, gate: Gate, one: int) -> None:
    judged(house, one)
    for run in ("two", "three"):
        house.add(run)
    assert remove_old_files(house.models, 2, 5) == []


def test_what_an_interrupted_training_left_goes_after_a_month(house: House, one: int) -> None:
    folders = {name: layout.candidate(house.models, name) for name in ("old", "late", "whole", "one")}
    old = time.time() - 31 * 24 * 3600
    for name in ("old", "late", "whole"):
        (folders[name] / "backup").mkdir(parents=True)
        (folders[name] / "backup" / "weights").write_bytes(b"half")
    (folders["whole"] / "training.json").write_text("{}")
    for name in ("old", "whole", "one"):
        for path in (*folders[name].rglob("*"), folders[name]):
            os.utime(path, (old, old))
    remove_old_files(house.models, 30, 5)
    assert {name for name, folder in folders.items() if folder.is_dir()} == {"late", "whole", "one"}


def test_what_a_gate_left_half_written_beside_an_older_version_goes(house: House, one: int) -> None:
    older = house.add("two")
    house.add("three")
    folder = layout.candidate(house.models, "two")
    killed, failed = folder / ".change_record.another-host-1-1.partial.json", atomic.partial_of(folder / CHANGE_RECORD)
    for left in (killed, failed):
        left.write_text("{")
    long_ago = time.time() - atomic.ABANDONED_AFTER_SECONDS - 60
    os.utime(killed, (long_ago, long_ago))
    remove_old_files(house.models, 30, 5)
    assert [path for path in (killed, failed) if path.exists()] == []
    assert Registry.read(house.models).version(older).has_files


def test_the_time_to_read_the_registry_grows_no_faster_than_its_versions(tmp_path: Path) -> None:
    def calls_to_read(versions: int) -> int:
        """Return how many Python functions are called to read a registry of so many versions."""
        models = tmp_path / str(versions)
        many(models, versions)
        calls = 0

        def count(frame: object, event: str, argument: object) -> None:
            nonlocal calls
            calls += event == "call"

        before = sys.getprofile()
        sys.setprofile(count)
        registry = Registry.read(models)
        sys.setprofile(before)
        assert len(registry.versions) == len(registry.trend("malignant_auroc")) == versions
        return calls

    calls_to_read(1)  # what is done once
    assert calls_to_read(160) < 4.5 * calls_to_read(40)
