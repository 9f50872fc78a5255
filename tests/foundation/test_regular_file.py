"""The one door for paths from outside: a file is read, and whatever else lies there is named at once."""

from __future__ import annotations

import errno
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.strange_files import NOT_READABLE, STRANGE, make_strange, refuse_to_open, sparse, watched

from skinlesion.foundation.checksum import have_same_content, sha256_of
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.record import Record
from skinlesion.foundation.regular_file import NotAFile, open_file, read_file, reason_of, require_file, set_aside

MOST = 1_000_000


def test_a_file_and_a_link_to_one_are_read(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"content")
    (tmp_path / "link").symlink_to("one")
    assert read_file(tmp_path / "one", most=7) == read_file(tmp_path / "link", most=7) == b"content"
    with pytest.raises(NotAFile, match="a link, not a file"):
        read_file(tmp_path / "link", most=7, links=False)
    with pytest.raises(NotAFile, match="7 bytes; expected at most 6"):
        read_file(tmp_path / "one", most=6)


@pytest.mark.parametrize("kind", STRANGE)
def test_what_is_no_file_is_named_and_never_opened(tmp_path: Path, kind: str) -> None:
    expected = make_strange(kind, tmp_path / "strange")
    with watched(tmp_path):
        for take in (read_file, open_file):
            with pytest.raises(OSError) as caught:
                take(tmp_path / "strange", most=MOST)
            assert expected in reason_of(caught.value)
        with pytest.raises(OSError):
            require_file(tmp_path / "strange", most=MOST)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(NotAFile, match="a folder, not a file"):
        read_file(tmp_path, most=MOST)


def test_files_that_the_kernel_makes_up_are_empty_and_not_waited_for() -> None:
    assert read_file("/proc/kmsg", most=MOST) == b""  # its readers wait for the next message


@pytest.mark.parametrize("kind", NOT_READABLE)
def test_a_file_that_cannot_be_read_has_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    (tmp_path / "one").write_bytes(b"content")
    number, words = NOT_READABLE[kind]
    refuse_to_open(monkeypatch, tmp_path / "one", number)
    with pytest.raises(OSError) as caught:
        read_file(tmp_path / "one", most=MOST)
    assert words in reason_of(caught.value)


def test_a_user_without_permission_gets_the_reason(tmp_path: Path) -> None:
    """In a child that has given up root, and so has no need of a patched `os.open`."""
    if os.getuid() != 0:
        pytest.skip("only root can give up root")
    (tmp_path / "one").write_bytes(b"content")
    (tmp_path / "one").chmod(0)
    here = os.open(tmp_path, os.O_RDONLY)
    program = (
        "import os, sys\n"
        "from skinlesion.foundation.regular_file import read_file, reason_of\n"
        f"os.fchdir({here}); os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try:\n    read_file('one', most=9)\nexcept OSError as error:\n    print(reason_of(error))\n"
    )
    said = subprocess.run([sys.executable, "-c", program], pass_fds=[here], capture_output=True, text=True)
    os.close(here)
    assert "Permission denied" in said.stdout, said.stderr


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM])
def test_what_this_machine_lacks_is_no_fault_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Otherwise a night with too many open files would refuse good images."""
    (tmp_path / "one").write_bytes(b"content")
    refuse_to_open(monkeypatch, tmp_path / "one", number)
    with pytest.raises(OSError) as caught:
        read_file(tmp_path / "one", most=MOST)
    with pytest.raises(OSError, match=os.strerror(number)):
        reason_of(caught.value)


@pytest.mark.parametrize("change", [b"contents that are longer", b"con"])
def test_a_file_that_changes_while_it_is_read_is_not_taken_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: bytes
) -> None:
    path = tmp_path / "one"
    path.write_bytes(b"content")
    real, calls = os.fstat, itertools.count()

    def and_then_it_changes(descriptor: int) -> os.stat_result:
        state = real(descriptor)
        if next(calls):  # the first finds out what it is
            path.write_bytes(change)
        return state

    monkeypatch.setattr(os, "fstat", and_then_it_changes)
    with pytest.raises(NotAFile, match="changed while it was being read"):
        read_file(path, most=MOST)


def test_a_pipe_of_the_same_name_has_no_content_to_compare(tmp_path: Path) -> None:
    """A FIFO in images/ with the name of a file that arrives kept the object store waiting."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "one").write_bytes(b"")
    with watched(tmp_path):
        assert not have_same_content(tmp_path / "pipe", tmp_path / "one")
        with pytest.raises(NotAFile):
            sha256_of(tmp_path / "pipe")


class Note(Record):
    text: str


@pytest.mark.parametrize("kind", [kind for kind in STRANGE if kind not in ("a link to nowhere", "a link to itself")])
def test_a_record_that_is_no_file_is_one_clear_error(tmp_path: Path, kind: str) -> None:
    make_strange(kind, tmp_path / "note.json")
    with watched(tmp_path), pytest.raises(DataError, match=r"note\.json cannot be read \(.*Restore"):
        Note.read_if_there(tmp_path / "note.json")


def test_a_folder_in_the_place_of_a_file_is_set_aside_and_nothing_in_it_is_lost(tmp_path: Path) -> None:
    for text in ("one", "other"):
        (tmp_path / "table").mkdir()
        (tmp_path / "table" / "notes").write_text(text)
        set_aside(tmp_path / "table")
    assert {path.parent.name: path.read_text() for path in tmp_path.rglob("notes")} == {
        "table.set-aside-1": "one",
        "table.set-aside-2": "other",
    }
    sparse(tmp_path / "table", 1)
    assert set_aside(tmp_path / "table") is None
