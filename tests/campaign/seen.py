"""What lies on the disk, read with pyarrow, json and hashlib alone: the auditor's eyes. Nothing here is the product's."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

Row = dict[str, Any]


class Unreadable(Exception):
    """A file that must be readable at this moment is not."""


def table(path: Path) -> list[Row]:
    """Return the rows of a Parquet file; none if there is no file."""
    if not path.exists():
        return []
    try:
        rows: list[Row] = pq.read_table(path, partitioning=None).to_pylist()
    except Exception as error:
        raise Unreadable(f"{path.name} cannot be read: {error}") from None
    return rows


def record(path: Path) -> Row:
    """Return a JSON file."""
    try:
        found: Row = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise Unreadable(f"{path.name} cannot be read: {error}") from None
    return found


def lines(path: Path) -> list[Row]:
    """Return the whole lines of a file of JSON lines. A torn line may stay where it is; it says nothing."""
    if not path.exists():
        return []
    found = []
    for line in path.read_bytes().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, empty if it is not there."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def files(folder: Path) -> list[str]:
    """Return the relative name of each file and link below a folder, hidden ones too."""
    found = []
    for parent, folders, names in os.walk(folder):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        found += [os.path.relpath(os.path.join(parent, name), folder) for name in (*names, *links)]
    return sorted(found)


def groups_of(rows: list[Row]) -> dict[str, int]:
    """Return the number of the group of each image: what a lesion, a patient without lesions or an equal file joins."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.setdefault(key, key) != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for row in rows:
        own = "image " + row["image"]
        ties = ["file " + row["sha256"], "named " + str(row["group"])]
        if row["lesion_id"]:
            ties.append("lesion " + row["lesion_id"])
        elif row["patient_id"]:
            ties.append("patient " + row["patient_id"])
        for tie in ties:
            parent[root(tie)] = root(own)
    numbers: dict[str, int] = {}
    return {row["image"]: numbers.setdefault(root("image " + row["image"]), len(numbers)) for row in rows}
