from __future__ import annotations

import hashlib
from pathlib import Path

from skinlesion.foundation.checksum import have_same_content, sha256_of

CONTENT = bytes(range(256)) * 20_000  # more than one block


def test_a_file_and_its_bytes_have_the_sha256_of_hashlib(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    assert sha256_of(path) == sha256_of(CONTENT) == hashlib.sha256(CONTENT).hexdigest()


def test_files_of_one_size_and_other_bytes_and_missing_ones_are_not_the_same(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"abc")
    assert not have_same_content(one, other)
    other.write_bytes(b"abd")
    assert not have_same_content(one, other)
    other.write_bytes(b"abc")
    assert have_same_content(one, other)
