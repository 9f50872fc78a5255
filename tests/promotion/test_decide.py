"""From a candidate to the model in service: judged once, and what follows from the verdict."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.promotion.decide import Judgement, judge_once, newest, note_answer, switch_to
from skinlesion.registry import history, in_service
from skinlesion.registry.register import register
from skinlesion.registry.report_files import report_file, report_files
from skinlesion.registry.retention import KEPT_ALWAYS, remove_old_files
from skinlesion.registry.snapshot import Registry
from skinlesion.registry.switch import Superseded, promote, rollback
from skinlesion.registry.verdict import VerdictSummary
from skinlesion.stages.settings import PipelineConfig

if TYPE_CHECKING:
    from tests.model_house import House

RUN = "skin_lesion_promote scheduled__2026-07-01"


@pytest.fixture
def small_model(no_model: Path) -> Path:
    """Return files that are no models: the gate, which would load them, is replaced."""
    return no_model


class Gate:
    """Stands in for the gate: passes what it is told to, and counts."""

    def __init__(self) -> None:
        self.passing = True
        self.asked: list[int] = []


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    from skinlesion.registry.verdict import Criterion, Verdict

    gate = Gate()

    def judge(config: PipelineConfig, registry: Registry, number: int) -> Verdict:
        gate.asked.append(number)
        line = Criterion(
            name="min_auroc", title="AUROC", passed=gate.passing, found=0.7, bound=0.8, sentence="AUROC is what it is."
        )
        now, run = registry.in_service, registry.version(number).run
        against = now.version if now is not None else None
        return Verdict(
            version=number,
            run=run,
            against=against,
            against_run=now.run if now else None,
            held_out_version="held out",
            images=4,
            lesions=4,
            criteria=(line,),
            at=history.now(),
        )

    monkeypatch.setattr(importlib.import_module("skinlesion.promotion.gate"), "judge", judge)
    return gate


def judged(house: House, number: int, **how: Any) -> Judgement:
    return judge_once(house.config, number, actor=how.pop("actor", "ann"), **how)


def put(house: House, judgement: Judgement) -> None:
    switch_to(house.config, judgement, actor="ann", reason="It passed the gate")


def what_happened(house: House) -> list[tuple[str, int]]:
    return [(entry.what, entry.version) for entry in history.read(house.models)]


def test_a_version_that_passes_comes_into_service_once(house: House, gate: Gate) -> None:
    number = house.add("one", house.scores())
    judgement = judged(house, number)
    assert (judgement.next, judgement.judged_now, judgement.passed) == ("switch", True, True)
    put(house, judgement)
    put(house, judgement)
    assert what_happened(house) == [("judged", number), ("promoted", number)]
    entry = Registry.read(house.models).history[0]
    assert entry.verdict == VerdictSummary(
        passed=True, against=None, lost=(), at=entry.verdict.at if entry.verdict else ""
    )


def test_the_next_night_with_nothing_new_asks_nobody(house: House, gate: Gate) -> None:
    number = house.add("one", house.scores())
    put(house, judged(house, number))
    again = judged(house, number)
    assert (again.next, again.judged_now) == ("nothing", False)
    assert "is in service since" in again.sentence
    assert gate.asked == [number]


def test_a_version_that_lost_keeps_its_verdict(house: House, gate: Gate) -> None:
    number = house.add("one", house.scores())
    gate.passing = False
    first = judged(house, number)
    assert (first.next, first.judged_now, first.passed) == ("nothing", True, False)
    assert "AUROC is what it is." in first.sentence
    gate.passing = True
    again = judged(house, number)
    assert (again.next, again.judged_now) == ("nothing", False)
    assert "did not pass the gate" in again.sentence
    assert Registry.read(house.models).version(number).state == "rejected"
    assert gate.asked == [number]


def test_a_person_can_have_it_judged_again(house: House, gate: Gate) -> None:
    number = house.add("one", house.scores())
    gate.passing = False
    judged(house, number)
    gate.passing = True
    assert judged(house, number, again=True).next == "switch"
    assert gate.asked == [number, number]


def test_a_rollback_is_not_undone_by_the_next_night(house: House, gate: Gate) -> None:
    first, second = house.add("one", house.scores()), house.add("two", house.scores())
    put(house, judged(house, first))
    put(house, judged(house, second))
    rollback(house.models, actor="bob", reason="It is worse")
    again = judged(house, second)
    assert again.next == "nothing"
    assert "only a person puts it back" in again.sentence
    assert gate.asked == [first, second]


def test_what_a_crash_left_between_verdict_and_switch_is_switched(house: House, gate: Gate) -> None:
    number = house.add("one", house.scores())
    judged(house, number)
    again = judged(house, number)
    assert (again.next, again.judged_now) == ("switch", False)
    assert gate.asked == [number]


def test_a_version_that_another_came_before_is_judged_beside_that(house: House, gate: Gate) -> None:
    first, second = house.add("one", house.scores()), house.add("two", house.scores())
    late, early = judged(house, first), judged(house, second)
    put(house, early)
    with pytest.raises(Superseded, match=f"now version {second} is"):
        put(house, late)
    again = judged(house, first)
    assert (again.next, again.judged_now, again.against) == ("switch", True, second)


def test_a_run_that_is_asked_again_gets_its_own_verdict_as_news(house: House, gate: Gate) -> None:
    number = house.add("one", house.scores())
    gate.passing = False
    for _ in range(2):
        judgement = judged(house, number, actor=RUN, is_run=True, again=True)
        assert (judgement.next, judgement.judged_now) == ("nothing", True)
    assert not judged(house, number, actor="another run", is_run=True).judged_now
    assert gate.asked == [number]


def test_a_run_that_is_cleared_after_a_rollback_does_not_undo_it(house: House, gate: Gate) -> None:
    first, second = house.add("one", house.scores()), house.add("two", house.scores())
    put(house, judged(house, first))
    put(house, judged(house, second, actor=RUN, is_run=True))
    rollback(house.models, actor="bob", reason="It is worse")
    assert judged(house, second, actor=RUN, is_run=True).next == "nothing"


def test_a_refusal_stands_and_is_written_once(house: House, gate: Gate) -> None:
    number = house.add("one", house.scores())
    judged(house, number)
    answer = {"actor": "bob", "at": "2026-07-01T08:00:00+00:00", "reason": "Asked by a run"}
    assert note_answer(house.config, number, "declined", **answer)
    assert not note_answer(house.config, number, "declined", **answer)
    again = judged(house, number)
    assert again.next == "nothing"
    assert "was declined on 2026-07-01T08:00:00+00:00: Asked by a run" in again.sentence
    assert Registry.read(house.models).version(number).state == "rejected"


def test_a_damaged_release_is_made_anew_by_the_version_that_is_in_service(house: House, gate: Gate) -> None:
    number = house.add("one", house.scores())
    put(house, judged(house, number))
    now = in_service.read(house.models)
    assert now is not None
    now.tflite.unlink()
    put(house, judged(house, number))
    again = in_service.read(house.models)
    assert again is not None
    assert again.is_whole()
    assert again.switch == 2


def test_the_newest_version_is_the_one_measured_last(house: House) -> None:
    with pytest.raises(DataError, match="No candidate was evaluated"):
        newest(Registry.read(house.models))
    house.add("one", house.scores())
    second = house.add("two", house.scores())
    assert newest(Registry.read(house.models)).number == second


# --- Registering ------------------------------------------------------------------------------------------------------


def test_a_candidate_has_one_number_however_often_it_is_registered(house: House) -> None:
    numbers = [house.add(run, house.scores()) for run in ("one", "two")]
    assert numbers == [1, 2]
    assert register(house.models, house.candidate("one")).number == 1
    registry = Registry.read(house.models)
    assert [version.run for version in registry.versions] == ["two", "one"]
    assert len(registry.trend("balanced_accuracy")) == 2
    figure = registry.version(1).figure("balanced_accuracy")
    assert (figure.low, figure.high) == (0.8, 0.9)
    assert figure.value == pytest.approx(0.85)


def test_another_model_under_the_same_name_is_another_version(house: House) -> None:
    import hashlib
    import json

    house.add("one", house.scores())
    candidate = house.candidate("one")
    candidate.keras.write_bytes(b"trained again")
    training = json.loads(candidate.training.read_text())
    training["sha256"][candidate.keras.name] = hashlib.sha256(b"trained again").hexdigest()
    candidate.training.write_text(json.dumps(training))
    assert register(house.models, candidate).number == 2


def test_a_candidate_that_is_not_whole_is_not_registered(house: House) -> None:
    house.add("one", house.scores())
    house.candidate("one").keras.unlink()
    with pytest.raises(DataError, match="holds no whole candidate"):
        register(house.models, house.candidate("one"))


# --- What keeps its files ---------------------------------------------------------------------------------------------


def test_the_last_versions_and_former_champions_keep_their_files(
    house: House, gate: Gate, settings: Callable[..., PipelineConfig]
) -> None:
    for run in ("former", "champion"):
        put(house, judged(house, house.add(run, house.scores())))
    gate.passing = False
    for run in ("lost", "late", "last"):
        judged(house, house.add(run, house.scores()))
    config = settings(keep_versions=2)
    assert remove_old_files(config.models, config.keep_versions) == [3]
    assert remove_old_files(config.models, config.keep_versions) == []
    registry = Registry.read(house.models)
    assert {version.number: version.has_files for version in registry.versions} == {
        1: True, 2: True, 3: False, 4: True, 5: True,
    }  # fmt: skip
    left = {path.name for path in layout.candidate(house.models, "lost").iterdir()}
    assert {"metrics.json", "verdict.json", "report.html"} <= left <= KEPT_ALWAYS
    assert house.candidate("former").read_training() is not None
    with pytest.raises(DataError, match="cannot be put in service"):
        promote(house.models, 3, actor="ann", reason="why")


def test_a_version_that_passed_and_waits_keeps_its_files(
    house: House, gate: Gate, settings: Callable[..., PipelineConfig]
) -> None:
    judged(house, house.add("waits", house.scores()))
    for run in ("two", "three"):
        house.add(run, house.scores())
    assert remove_old_files(settings().models, keep=2) == []


# --- What people may see ----------------------------------------------------------------------------------------------


def test_known_files_of_a_version_are_shown(house: House) -> None:
    number = house.add("one", house.scores())
    registry = Registry.read(house.models)
    assert set(report_files(registry, number)) == {"report.html", "metrics.json"}


@pytest.mark.parametrize(
    "name",
    [
        "../../registry/history.jsonl",
        "/etc/passwd",
        "training.json",
        "model.keras",
        "",
        ".",
        "report.html/..",
        "REPORT.HTML",
    ],
)
def test_no_other_file_is_shown(house: House, name: str) -> None:
    number = house.add("one", house.scores())
    assert report_file(Registry.read(house.models), number, name) is None


def test_a_link_is_not_followed(house: House) -> None:
    number = house.add("one", house.scores())
    path = house.candidate("one").report
    path.unlink()
    path.symlink_to("/etc/passwd")
    registry = Registry.read(house.models)
    assert report_file(registry, number, "report.html") is None
    assert report_file(registry, number + 1, "metrics.json") is None


def test_a_thousand_versions_are_read_in_a_moment(house: House) -> None:
    import time

    from skinlesion.registry.versions import Figure, Measurement, Registered, append_measured, append_registered

    house.models.mkdir()
    path = layout.registry(house.models) / "versions.jsonl"
    created = "2026-07-01T02:00:00+00:00"
    figures = {name: Figure(value=0.8, low=0.7, high=0.9) for name in ("balanced_accuracy", "malignant_auroc")}
    measured = Measurement(at=created, figures=figures, images=2000, lesions=1500, held_out_version="held out")
    registered = Registered(
        number=1, run="run", created=created, sha256={"a": "b" * 64}, training_version="t", git_revision="g"
    )
    append_registered(house.models, registered)
    append_measured(house.models, 1, measured)
    lines = path.read_text()
    path.write_text("".join(lines.replace('"number": 1,', f'"number": {n},') for n in range(1, 1001)))
    start = time.perf_counter()
    registry = Registry.read(house.models)
    seconds = time.perf_counter() - start
    assert len(registry.versions) == len(registry.trend("malignant_auroc")) == 1000
    assert seconds < 1


def test_the_registry_loads_nothing_heavy() -> None:
    import subprocess
    import sys

    script = (
        "import sys, skinlesion.registry.snapshot, skinlesion.registry.switch, skinlesion.registry.report_files, "
        "skinlesion.registry.verdict; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {"pandas", "numpy", "mlflow", "tensorflow"}.isdisjoint(done.stdout.split())
