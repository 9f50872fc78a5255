"""What is damaged is never taken for what is absent: whoever decides stops with the file's name, and there is a way back."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.measured import known
from tests.registry.test_switch import models, put, served
from tests.registry.trained import trained

from skinlesion.foundation import atomic, layout
from skinlesion.foundation.errors import DataError
from skinlesion.prediction.classifier import model_file
from skinlesion.prediction.prediction_run import PredictionRun
from skinlesion.promotion.decide import judge_once, newest
from skinlesion.registry import history, in_service
from skinlesion.registry.in_service import candidate_in_service
from skinlesion.registry.model_files import H5, RECORD, RULE_FILE, TFLITE
from skinlesion.registry.register import register
from skinlesion.registry.snapshot import Registry
from skinlesion.registry.switch import rollback
from skinlesion.stages.settings import PipelineConfig

__all__ = ["models"]

Harm = Callable[[Path], object]


@pytest.fixture
def two(models: Path) -> Path:
    """Return the folder with version 2 in service and version 1 there before."""
    put(models, 1)
    put(models, 2)
    return models


def release(models: Path) -> Path:
    return layout.releases(models) / "000002"


def write(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def half(path: Path) -> None:
    write(path, path.read_bytes()[: path.stat().st_size // 2])


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def with_other(**changes: object) -> Harm:
    def harm(models: Path) -> None:
        path = release(models) / RECORD
        write(path, json.dumps(json.loads(path.read_bytes()) | changes).encode())

    return harm


def link_to(target: str) -> Harm:
    def harm(models: Path) -> None:
        layout.release_in_service(models).unlink()
        layout.release_in_service(models).symlink_to(target)

    return harm


def link_outside(models: Path) -> None:
    shutil.copytree(release(models), models.parent / "elsewhere" / "000002")
    link_to("../elsewhere/000002")(models)


def a_folder_for_the_link(models: Path) -> None:
    layout.release_in_service(models).unlink()
    shutil.copytree(release(models), layout.release_in_service(models))


IN_SERVICE: dict[str, Harm] = {
    "half a record": lambda models: half(release(models) / RECORD),
    "an empty record": lambda models: write(release(models) / RECORD, b""),
    "{}": lambda models: write(release(models) / RECORD, b"{}"),
    "null": lambda models: write(release(models) / RECORD, b"null"),
    "a list": lambda models: write(release(models) / RECORD, b"[1]"),
    "no text": lambda models: write(release(models) / RECORD, b"\xff\xfe\x00"),
    "a record that is a folder": lambda models: as_folder(release(models) / RECORD),
    "no record": lambda models: (release(models) / RECORD).unlink(),
    "no checksum": with_other(sha256={}),
    "the checksum of one file": with_other(sha256={TFLITE: "0" * 64}),
    "no decision rule": with_other(decision_rule=None),
    "a link to itself": link_to("in_service"),
    "a link to nothing": link_to("releases/000009"),
    "a link to a file": link_to("registry/history.jsonl"),
    "a link outside": link_outside,
    "a folder for the link": a_folder_for_the_link,
    "another model's record": lambda models: write(
        release(models) / RECORD, (layout.releases(models) / "000001" / RECORD).read_bytes()
    ),
    "no release": lambda models: shutil.rmtree(release(models)),
}
"""What makes it unknown what is in service."""

FILES: dict[str, Harm] = {
    "another decision rule in the record": with_other(decision_rule={"malignant_threshold": 0.9}),
    "no .h5": lambda models: (release(models) / H5).unlink(),
    "another .h5": lambda models: write(release(models) / H5, b"other"),
    "no .tflite": lambda models: (release(models) / TFLITE).unlink(),
    "no decision rule's file": lambda models: (release(models) / RULE_FILE).unlink(),
    "half a decision rule's file": lambda models: half(release(models) / RULE_FILE),
}
"""What makes the files in service others than those that were put there."""

BOTH = IN_SERVICE | FILES


def each(harms: dict[str, Harm]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("harm", harms.values(), ids=harms)


@each(BOTH)
def test_nothing_answers_with_a_model_whose_record_or_files_are_damaged(two: Path, harm: Harm) -> None:
    """A user got answers without the decision rule, and with files that nobody had compared with their checksums."""
    harm(two)
    with pytest.raises(DataError, match=r"in_service|releases|elsewhere"):
        model_file(two)
    assert Registry.read(two).in_service is not None or Registry.read(two).in_service_damage


@each(IN_SERVICE)
def test_who_decides_stops_where_it_is_unknown_what_is_in_service_and_who_shows_goes_on(two: Path, harm: Harm) -> None:
    """A damaged champion counted as none, so the next candidate was judged beside nothing and put in service."""
    harm(two)
    config = PipelineConfig.of({"models": two})
    decisions: list[Callable[[], object]] = [
        lambda: put(two, 3),
        lambda: judge_once(config, 3, actor="ann"),
        lambda: newest(Registry.read(two)),
        lambda: candidate_in_service(two),
        lambda: register(two, trained(two, "four")) if not layout.candidate(two, "four").exists() else put(two, 3),
    ]
    for decide in decisions:
        with pytest.raises(DataError, match=r"in_service|releases|elsewhere"):
            decide()
    registry = Registry.read(two)
    assert [version.number for version in registry.versions] == [3, 2, 1]
    assert registry.in_service is None
    assert registry.in_service_damage in registry.damage


@each(FILES)
def test_a_model_whose_files_are_altered_is_not_gone_on_from(two: Path, harm: Harm) -> None:
    harm(two)
    assert candidate_in_service(two) is None


@each(BOTH)
def test_a_rollback_works_whatever_is_damaged_of_what_is_in_service(two: Path, harm: Harm) -> None:
    """The way back was closed where it was needed: rollback stopped at the damage that it was to undo."""
    harm(two)
    rollback(two, actor="ann", reason="it is damaged")
    assert served(two) == "one"
    assert Registry.read(two).damage == ()
    put(two, 3)
    assert served(two) == "three"
    assert [(entry.what, entry.previous, entry.version) for entry in history.lines(two).all()] == [
        ("promoted", None, 1), ("promoted", 1, 2), ("rolled back", 2, 1), ("promoted", 1, 3),
    ]  # fmt: skip


@each(IN_SERVICE)
def test_the_version_that_was_in_service_can_be_put_there_anew(two: Path, harm: Harm) -> None:
    harm(two)
    rollback(two, actor="ann", reason="it is damaged", to=2)
    assert served(two) == "two"


def test_where_only_one_version_was_ever_in_service_a_rollback_puts_it_there_anew(models: Path) -> None:
    put(models, 1)
    write(layout.releases(models) / "000001" / RECORD, b"{}")
    assert rollback(models, actor="ann", reason="it is damaged").version == 1
    assert served(models) == "one"


def test_where_no_version_is_left_the_message_says_how_to_begin_again(models: Path) -> None:
    put(models, 1)
    shutil.rmtree(layout.releases(models))
    shutil.rmtree(layout.candidate(models, "one"))
    with pytest.raises(DataError, match="cannot be put in service"):
        rollback(models, actor="ann", reason="it is damaged")
    with pytest.raises(DataError, match="remove the link models/in_service"):
        put(models, 2)
    layout.release_in_service(models).unlink()
    put(models, 2)
    assert served(models) == "two"


def test_predict_with_a_file_of_a_release_is_refused_where_its_record_is_damaged(two: Path, tmp_path: Path) -> None:
    (tmp_path / "image.jpg").write_bytes(b"")
    config = PipelineConfig.of({"models": two})
    for name, harm in BOTH.items():
        if "link" in name or name == "no release":
            continue
        trial = Path(shutil.copytree(two, tmp_path / name, symlinks=True))
        harm(trial)
        with pytest.raises(DataError, match="releases"):
            PredictionRun.start(config, [tmp_path / "image.jpg"], tmp_path / "t.csv", release(trial) / TFLITE)


def test_a_version_without_a_decision_rule_does_not_come_into_service(models: Path) -> None:
    candidate = trained(models, "bare")
    candidate.decision_rule.unlink()
    candidate.training.unlink()
    from tests.training_record import write_training_record

    write_training_record(candidate)
    number = register(models, candidate).number
    with pytest.raises(DataError, match=r"registered without decision_rule\.json.*Nothing has changed"):
        put(models, number)


def test_a_rollback_on_a_full_disk_takes_the_files_of_the_former_release(
    two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way back needed 20 MB, on a disk that had been filled."""
    write_bytes = atomic.write_bytes

    def full(path: Path, content: bytes) -> None:
        if path.name in (H5, TFLITE):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write_bytes(path, content)

    with monkeypatch.context() as patched:
        patched.setattr(atomic, "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            put(two, 3)
        assert served(two) == "two"
        assert sorted(path.name for path in layout.releases(two).iterdir()) == ["000001", "000002"]
        rollback(two, actor="ann", reason="it is worse")
    assert served(two) == "one"
    put(two, 3)
    assert served(two) == "three"


def test_the_names_do_not_matter_to_a_rollback(two: Path) -> None:
    (two / RECORD).unlink()
    (two / RECORD).write_bytes(b"{")
    write(release(two) / RECORD, b"")
    rollback(two, actor="ann", reason="damaged")
    now = known(in_service.read(two))
    assert now.run == "one"
    assert (two / RECORD).read_bytes() == b"{"
    assert os.path.realpath(two / H5) == str(now.h5)
