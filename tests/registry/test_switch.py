"""What is in service changes as one, or not at all."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.measured import known
from tests.registry.trained import trained

from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.prediction.classifier import model_file
from skinlesion.registry import history, in_service
from skinlesion.registry.in_service import candidate_in_service
from skinlesion.registry.model_files import H5, RECORD, TFLITE
from skinlesion.registry.register import register
from skinlesion.registry.release import NAMES
from skinlesion.registry.snapshot import Registry
from skinlesion.registry.switch import RELEASES_KEPT, Superseded, promote, rollback


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Return a folder of the versions 1, 2 and 3, none in service."""
    for run in ("one", "two", "three"):
        register(tmp_path / "models", trained(tmp_path / "models", run))
    return tmp_path / "models"


def put(models: Path, number: int) -> None:
    promote(models, number, actor="somebody", reason="a test")


def served(models: Path) -> str | None:
    """Return the name of the candidate whose files the names that users know lead to; all of one, or none."""
    there = [name for name in NAMES if (models / name).exists()]
    if not there:
        return None
    assert there == list(NAMES)
    record = json.loads((models / RECORD).read_text())
    run = record["run"]
    assert (models / H5).read_bytes() == f"{run} as {H5}".encode()
    assert (models / TFLITE).read_bytes() == f"{run} as model.tflite".encode()
    for name, expected in record["sha256"].items():
        assert hashlib.sha256((models / "in_service" / name).read_bytes()).hexdigest() == expected
    return str(run)


def test_a_promoted_version_is_under_the_names_that_users_know(models: Path) -> None:
    put(models, 1)
    assert served(models) == "one"
    now = known(in_service.read(models))
    assert (now.version, now.entry.actor, now.entry.reason, now.is_whole()) == (1, "somebody", "a test", True)
    assert known(candidate_in_service(models)).run == "one"
    put(models, 2)
    assert served(models) == "two"


def test_the_registry_says_who_did_what_when_and_why(models: Path) -> None:
    put(models, 1)
    promote(models, 3, actor="ann", reason=" It sees more. ")
    entry = rollback(models, actor="bob", reason="It does not")
    registry = Registry.read(models)
    said = [(one.what, one.actor, one.previous, one.version, one.reason, one.switch) for one in registry.history]
    assert said == [
        ("rolled back", "bob", 3, 1, "It does not", 3),
        ("promoted", "ann", 1, 3, "It sees more.", 2),
        ("promoted", "somebody", None, 1, "a test", 1),
    ]
    assert registry.history[0] == entry
    states = {version.number: version.state for version in registry.versions}
    assert states == {1: "champion", 2: "candidate", 3: "former champion"}
    assert served(models) == "one"


def test_each_rollback_goes_further_back_and_never_to_what_was_rolled_back_from(models: Path) -> None:
    for number in (1, 2, 3):
        put(models, number)
    assert rollback(models, actor="ann", reason="worse").version == 2
    assert rollback(models, actor="ann", reason="worse too").version == 1
    with pytest.raises(DataError, match="There is nothing to go back to"):
        rollback(models, actor="ann", reason="and again")
    put(models, 3)
    assert rollback(models, actor="ann", reason="as before").version == 1


@pytest.mark.parametrize(
    ("do", "said"),
    [
        (lambda models: promote(models, 9, actor="ann", reason="why"), "There is no version 9"),
        (lambda models: promote(models, 1, actor="ann", reason="why"), "Version 1 is in service since"),
        (lambda models: promote(models, 2, actor="ann", reason="  "), "No reason is given"),
        (lambda models: rollback(models, actor="ann", reason="why"), "There is nothing to go back to"),
        (lambda models: rollback(models, actor="ann", reason="why", to=2), "Version 2 was never in service"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(
    models: Path, do: Callable[[Path], object], said: str
) -> None:
    put(models, 1)
    before = history.lines(models).all()
    with pytest.raises(DataError, match=said):
        do(models)
    assert served(models) == "one"
    assert history.lines(models).all() == before


@pytest.mark.parametrize("file", ["skin_lesion_classifier_trained.h5", "model.tflite"])
@pytest.mark.parametrize("harm", ["missing", "altered"])
def test_a_version_whose_files_are_not_whole_does_not_come_into_service(models: Path, file: str, harm: str) -> None:
    put(models, 1)
    path = layout.candidate(models, "two") / file
    path.unlink() if harm == "missing" else path.write_bytes(b"other")
    with pytest.raises(DataError, match=r"Version 2 cannot be put in service.*Nothing has changed"):
        put(models, 2)
    assert served(models) == "one"


def test_what_is_served_does_not_depend_on_the_candidates_folder(models: Path) -> None:
    put(models, 1)
    shutil.rmtree(layout.candidates(models))
    assert served(models) == "one"
    assert model_file(models) == layout.releases(models) / "000001" / TFLITE


def test_an_altered_file_in_service_is_found_and_not_predicted_with(models: Path) -> None:
    put(models, 1)
    path = layout.model_in_service(models).resolve()
    path.chmod(0o644)
    path.write_bytes(b"other")
    assert candidate_in_service(models) is None
    with pytest.raises(DataError, match=r"version 1 was altered.*rollback"):
        model_file(models)
    promote(models, 1, actor="ann", reason="Restore what was altered")
    assert served(models) == "one"


def test_two_promotions_that_were_decided_on_the_same_model_do_not_both_win(models: Path) -> None:
    put(models, 1)
    start = threading.Barrier(2)

    def decide(number: int) -> str:
        start.wait()
        try:
            return promote(models, number, actor=f"person {number}", reason="It is better", instead_of=1).what
        except Superseded as error:
            return str(error)

    with ThreadPoolExecutor(2) as pool:
        said = dict(zip((2, 3), pool.map(decide, (2, 3)), strict=True))
    (winner,) = [number for number, what in said.items() if what == "promoted"]
    loser = 5 - winner
    assert f"version 1 was in service, and now version {winner} is" in said[loser]
    assert f"person {winner}: It is better" in said[loser]
    assert served(models) == {2: "two", 3: "three"}[winner]
    assert [entry.version for entry in history.lines(models).all()] == [1, winner]


def test_a_first_promotion_that_another_came_before_does_not_win(models: Path) -> None:
    put(models, 2)
    with pytest.raises(Superseded, match="no model was in service, and now version 2 is"):
        promote(models, 1, actor="ann", reason="the first", instead_of=None)


def test_a_reader_never_sees_a_mixed_pair(models: Path) -> None:
    put(models, 1)
    stop = threading.Event()

    reads: list[str] = []

    def read() -> None:
        while not stop.is_set():
            now = known(in_service.read(models))
            assert now.h5.read_bytes() == f"{now.run} as {H5}".encode()
            assert now.tflite.read_bytes() == f"{now.run} as model.tflite".encode()
            reads.append(now.run)

    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(read)
        numbers = itertools.cycle((2, 3, 1))
        for _ in range(9):
            put(models, next(numbers))
        while len(reads) <= 10 and not reader.done():
            put(models, next(numbers))
        stop.set()
        reader.result()


def test_few_releases_are_kept(models: Path) -> None:
    for number in (1, 2, 3, 1, 2, 3):
        put(models, number)
    kept = sorted(path.name for path in layout.releases(models).iterdir())
    assert kept == ["000003", "000004", "000005", "000006"]
    assert len(kept) == RELEASES_KEPT + 1


@pytest.mark.parametrize(
    ("before", "what"),
    [
        pytest.param([], "promote", marks=pytest.mark.slow, id="first"),
        pytest.param([1], "promote", id="next"),
        pytest.param([1, 2, 3], "rollback", marks=pytest.mark.slow, id="rollback"),
    ],
)
def test_a_switch_that_is_killed_between_any_two_steps_leaves_the_old_or_the_new(
    models: Path, tmp_path: Path, before: list[int], what: str
) -> None:
    for number in before:
        put(models, number)
    old, outcomes = served(models), []
    switched = ("promoted" if what == "promote" else "rolled back", 2)
    script, trials = Path(__file__).with_name("switched.py"), tmp_path / "killed"
    # In each copy of the models the switch to version 2 was killed one step later, in the last it was not.
    done = subprocess.run([sys.executable, script, models, what, "2", trials], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for trial in sorted(trials.iterdir(), key=lambda trial: int(trial.name)):
        outcomes.append(served(trial))
        shown = [(entry.what, entry.version) for entry in Registry.read(trial).history]
        assert switched in shown or outcomes[-1] != "two"
        if outcomes[-1] != "two":
            put(trial, 2) if what == "promote" else rollback(trial, actor="somebody", reason="a test")
            assert served(trial) == "two"
        put(trial, 1)
        happened = [(entry.what, entry.version) for entry in history.lines(trial).all()]
        assert happened[len(before) :] == [switched, ("promoted", 1)]
    assert len(outcomes) > 20
    assert outcomes == sorted(outcomes, key=lambda run: run == "two")
    assert set(outcomes) == {old, "two"}


def test_somebodys_own_file_under_a_name_of_the_release_is_not_overwritten(models: Path) -> None:
    (models / H5).write_bytes(b"somebody's own")
    with pytest.raises(DataError, match=r"skin_lesion_classifier_trained\.h5 is a file that somebody put there.*Move"):
        put(models, 1)
    assert (models / H5).read_bytes() == b"somebody's own"
    (models / H5).rename(models / "mine.h5")
    put(models, 1)
    assert served(models) == "one"
