"""A line or a file of the registry that is damaged or lost: what can be read is shown, and there is a way back."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.measured import known
from tests.registry.test_damage import Harm, as_folder, each, release, two, write
from tests.registry.test_switch import models, put, served
from tests.registry.trained import trained

from skinlesion.foundation import append_log, atomic, layout
from skinlesion.foundation.errors import DataError
from skinlesion.promotion.decide import judge_once, newest
from skinlesion.registry import history, in_service, versions
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.register import register
from skinlesion.registry.restore import restore
from skinlesion.registry.snapshot import Registry
from skinlesion.registry.switch import rollback
from skinlesion.stages.settings import PipelineConfig

__all__ = ["models", "two"]


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


def a_file_for_the_folder(models: Path) -> None:
    shutil.rmtree(layout.registry(models))
    layout.registry(models).write_bytes(b"")


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
            "is gone": lambda path: path.unlink(),
            "is empty": lambda path: path.write_bytes(b""),
            "lacks its first line": without_first,
            "links to itself": loop,
        }.items()
    },
    "a version with another's number": lambda models: versions.append_registered(
        models, versions.KnownVersions.read(models).registered[3].model_copy(update={"number": 1})
    ),
    "the whole folder is gone": lambda models: shutil.rmtree(layout.registry(models)),
    "a file in the place of the folder": a_file_for_the_folder,
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
    now = known(in_service.read(two))
    assert now.is_whole()


def without_last(path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


@pytest.mark.parametrize(
    ("harm", "numbers"),
    [(lambda models: shutil.rmtree(layout.registry(models)), "1, 2, 3"), (of(versions.path, without_last), "3")],
    ids=["only the candidates are left", "an older copy of the versions"],
)
def test_numbers_that_candidates_have_are_not_given_again(models: Path, harm: Harm, numbers: str) -> None:
    """Version 1 became another model, with the history of the first."""
    harm(models)
    with pytest.raises(DataError, match=rf"does not have the versions {numbers}, which .*candidates.*models restore"):
        register(models, trained(models, "four"))
    restore(models)
    assert register(models, Candidate(layout.candidate(models, "four"))).number == 4


def test_restore_leaves_a_whole_registry_alone(two: Path) -> None:
    def content() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in layout.registry(two).rglob("*") if path.is_file()}

    before = content()
    assert restore(two).damage == ()
    assert content() == before


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
        assert [(one.what, one.version) for one in history.lines(two).all()] == [("promoted", n) for n in (1, 2, 3)]
        assert content[:start] in path(two).read_bytes()


def test_a_whole_last_line_that_an_editor_left_without_a_line_break_counts(two: Path) -> None:
    path = history.path(two)
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert [entry.version for entry in history.lines(two).all()] == [1, 2]
    put(two, 3)
    assert [entry.version for entry in history.lines(two).all()] == [1, 2, 3]


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
    assert [entry.version for entry in history.lines(two).all()] == [1, 2, 3, 1]
