"""What is damaged is never taken for what is absent: whoever decides stops with the file's name, and there is a way back."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.registry.test_switch import models, put, served, trained

from skinlesion.foundation import atomic, layout
from skinlesion.foundation.errors import DataError
from skinlesion.prediction.classifier import model_file
from skinlesion.prediction.prediction_run import PredictionRun
from skinlesion.promotion.decide import judge_once, newest
from skinlesion.registry import append_log, history, in_service, versions
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.in_service import candidate_in_service
from skinlesion.registry.model_files import H5, RECORD, RULE_FILE, TFLITE
from skinlesion.registry.register import register
from skinlesion.registry.restore import restore
from skinlesion.registry.snapshot import Registry
from skinlesion.registry.switch import promote, rollback
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


def another_models_record(models: Path) -> None:
    write(release(models) / RECORD, (layout.releases(models) / "000001" / RECORD).read_bytes())


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
    "another model's record": another_models_record,
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
    assert [(entry.what, entry.previous, entry.version) for entry in history.read(two)] == [
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
    for name, harm in (BOTH | {}).items():
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


# --- The files of the registry ----------------------------------------------------------------------------------------


def insert(path: Callable[[Path], Path], line: bytes, place: int) -> Harm:
    def harm(models: Path) -> None:
        lines = path(models).read_bytes().splitlines()
        path(models).write_bytes(b"".join(one + b"\n" for one in (*lines[:place], line, *lines[place:])))

    return harm


def cut(path: Callable[[Path], Path], place: int) -> Harm:
    """Tear a line that is not the last one."""

    def harm(models: Path) -> None:
        lines = path(models).read_bytes().splitlines()
        lines[place] = lines[place][: len(lines[place]) // 2]
        path(models).write_bytes(b"".join(one + b"\n" for one in lines))

    return harm


def of(path: Callable[[Path], Path], harm: Callable[[Path], object]) -> Harm:
    return lambda models: harm(path(models))


def without_first(path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))


def gone(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


FILES_OF_REGISTRY = {"history": history.path, "versions": versions.path}
LINES = {
    "foreign": b'{"what": "else"}',
    "no JSON": b"hello",
    "a number": b"7",
    "binary": b"\x00\xff\x00",
    "deep": b"[" * 9000,
}
LOGS: dict[str, Harm] = {
    **{
        f"{kind} line in {name}, at {place}": insert(path, line, place)
        for name, path in FILES_OF_REGISTRY.items()
        for kind, line in LINES.items()
        for place in (0, 1)
    },
    **{f"a torn line in {name}": cut(path, 0) for name, path in FILES_OF_REGISTRY.items()},
    **{
        f"{name} {what}": of(path, harm)
        for name, path in FILES_OF_REGISTRY.items()
        for what, harm in {
            "is a folder": as_folder,
            "is gone": gone,
            "is empty": empty,
            "lacks its first line": without_first,
            "links to itself": loop,
        }.items()
    },
    "a version with another's number": lambda models: versions.append_registered(
        models, versions.KnownVersions.read(models).registered[3].model_copy(update={"number": 1})
    ),
    "the whole folder is gone": lambda models: shutil.rmtree(layout.registry(models)),
}  # fmt: skip


@each(LOGS)
def test_what_can_be_read_is_shown_what_cannot_is_named_and_who_decides_stops(two: Path, harm: Harm) -> None:
    """One foreign line ended list, promote and rollback in a KeyError; a lost file gave its numbers to other models."""
    harm(two)
    registry = Registry.read(two)
    assert registry.damage
    assert {version.number for version in registry.versions} >= {1, 2}
    assert registry.in_service is not None
    assert registry.in_service.version == 2
    config = PipelineConfig.of({"models": two})
    decisions: list[Callable[[], object]] = [
        lambda: put(two, 3), lambda: judge_once(config, 3, actor="ann"), lambda: newest(Registry.read(two)),
        lambda: register(two, Candidate(layout.candidate(two, "three"))),
    ]  # fmt: skip
    for decide in decisions:
        with pytest.raises(DataError, match=r"history\.jsonl|versions\.jsonl"):
            decide()
    assert served(two) == "two"


@each(LOGS)
def test_a_rollback_works_whatever_is_damaged_of_the_registry(two: Path, harm: Harm) -> None:
    """Whoever wanted to go back to a model that was known to be good could not, for a line that has nothing to do with it."""
    harm(two)
    rollback(two, actor="ann", reason="it is worse")
    assert served(two) == "one"
    rollback(two, actor="ann", reason="or is it", to=2)
    assert served(two) == "two"


@each(LOGS)
def test_restore_writes_the_registry_anew_and_keeps_what_was_there(two: Path, harm: Harm) -> None:
    before = Registry.read(two)
    harm(two)
    done = restore(two)
    assert done.damage
    assert done.unknown == ()
    after = Registry.read(two)
    assert after.damage == ()
    assert [(one.number, one.run) for one in after.versions] == [(one.number, one.run) for one in before.versions]
    assert after.known.registered == before.known.registered
    assert after.history == before.history
    assert register(two, Candidate(layout.candidate(two, "three"))).number == 3
    assert register(two, trained(two, "four")).number == 4
    put(two, 4)
    assert served(two) == "four"
    assert restore(two).kept == ()


def test_a_rollback_works_when_everything_but_a_former_release_is_gone(two: Path) -> None:
    shutil.rmtree(layout.registry(two))
    shutil.rmtree(layout.candidates(two))
    layout.release_in_service(two).unlink()
    layout.release_in_service(two).symlink_to("in_service")
    for path in release(two).iterdir():
        write(path, b"")
    rollback(two, actor="ann", reason="a fire")
    assert served(two) == "one"
    now = in_service.read(two)
    assert now is not None
    assert now.is_whole()


def test_numbers_do_not_begin_again_where_only_the_candidates_are_left(models: Path) -> None:
    """Version 1 became another model, with the history of the first."""
    shutil.rmtree(layout.registry(models))
    assert "does not have the versions 1, 2, 3" in "".join(Registry.read(models).damage)
    with pytest.raises(DataError, match=r"versions 1, 2, 3, which .*candidates.*models restore"):
        register(models, trained(models, "four"))
    restore(models)
    assert register(models, Candidate(layout.candidate(models, "four"))).number == 4


def test_restore_leaves_a_whole_registry_alone(two: Path) -> None:
    before = {path: path.read_bytes() for path in layout.registry(two).iterdir()}
    assert restore(two).damage == ()
    assert {path: path.read_bytes() for path in layout.registry(two).iterdir()} == before


def test_an_older_copy_of_the_versions_does_not_give_a_number_twice(models: Path) -> None:
    content = versions.path(models).read_bytes().splitlines(keepends=True)
    versions.path(models).write_bytes(b"".join(content[:-1]))
    with pytest.raises(DataError, match=r"does not have the versions 3, which candidates have"):
        register(models, trained(models, "four"))
    restore(models)
    assert register(models, Candidate(layout.candidate(models, "four"))).number == 4


def test_a_number_of_which_nothing_is_left_stays_taken(two: Path) -> None:
    versions.path(two).unlink()
    for run in ("one", "two", "three"):
        shutil.rmtree(layout.candidate(two, run))
    shutil.rmtree(layout.releases(two) / "000001")
    done = restore(two)
    assert done.unknown == (1,)
    assert Registry.read(two).damage == ()
    with pytest.raises(DataError, match="Version 1 cannot be put in service"):
        put(two, 1)


# --- The last line ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES_OF_REGISTRY.values(), ids=FILES_OF_REGISTRY)
def test_a_last_line_cut_at_any_byte_is_as_if_it_had_never_been_begun(two: Path, path: Callable[[Path], Path]) -> None:
    """A torn line stayed in the file for good, or the next one was glued to it."""
    content = path(two).read_bytes()
    start = content.rstrip(b"\n").rfind(b"\n") + 1
    for end in range(start, len(content) - 1):
        path(two).write_bytes(content[:end])
        with_line = append_log.read(
            path(two), versions.RegisteredLine.of_line if path is versions.path else history.HistoryEntry.of_line
        )
        assert with_line.damage == ()
        assert len(with_line.records) == content[:start].count(b"\n")
    path(two).write_bytes(content[: start + 9])
    if path is history.path:
        put(two, 3)
        assert [(one.what, one.version) for one in history.read(two)] == [
            ("promoted", 1),
            ("promoted", 2),
            ("promoted", 3),
        ]
        assert content[:start] in path(two).read_bytes()


def test_a_whole_last_line_that_an_editor_left_without_a_line_break_counts(two: Path) -> None:
    path = history.path(two)
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert [entry.version for entry in history.read(two)] == [1, 2]
    put(two, 3)
    assert [entry.version for entry in history.read(two)] == [1, 2, 3]


@pytest.mark.parametrize("failing", ["write", "fsync"])
def test_a_switch_whose_line_the_disk_does_not_take_is_noted_by_the_next_one(
    two: Path, failing: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patched:

        def full(*args: object, **kept: object) -> None:
            raise OSError(28, "No space left on device")

        patched.setattr(atomic, "append", full)
        put(two, 3)
    assert "cannot be written" in caplog.text
    assert served(two) == "three"
    assert Registry.read(two).history[0].version == 3
    assert Registry.read(two).damage == ()
    put(two, 1)
    assert [entry.version for entry in history.read(two)] == [1, 2, 3, 1]


def test_another_folder_under_the_name_of_a_candidate_is_not_compared_with(two: Path) -> None:
    """A candidate that was trained again to other bytes stood in the comparison for the model in service."""
    shutil.rmtree(layout.candidate(two, "two"))
    again = trained(two, "two")
    again.h5.write_bytes(b"trained again")
    again.training.unlink()
    from tests.training_record import write_training_record

    write_training_record(again)
    assert again.read_training() is not None
    assert candidate_in_service(two) is None


def test_the_names_do_not_matter_to_a_rollback(two: Path) -> None:
    (two / RECORD).unlink()
    (two / RECORD).write_bytes(b"{")
    write(release(two) / RECORD, b"")
    rollback(two, actor="ann", reason="damaged")
    now = in_service.read(two)
    assert now is not None
    assert now.run == "one"
    assert (two / RECORD).read_bytes() == b"{"
    assert os.path.realpath(two / H5) == str(now.h5)


def test_promote_is_refused_while_a_name_is_taken(two: Path) -> None:
    (two / RECORD).unlink()
    (two / RECORD).write_bytes(b"{")
    with pytest.raises(DataError, match="is a file that somebody put there"):
        promote(two, 3, actor="ann", reason="why")
