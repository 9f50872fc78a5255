"""The auditor's look at a data set: the catalog, the split, the manifest, and the files that they name."""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.campaign.seen import Row, digest, groups_of, table

Say = Callable[[str, str], None]

CLASS_OF: Final = {"nv": "benign", "bkl": "benign", "mel": "malignant", "bcc": "malignant"}
"""Of the diagnoses whose class no setting changes."""


@dataclass
class DataAudit:
    """What is known of a data set from step to step.

    Attributes:
        sides: the side of each key of the split, as it was given.
        image_of: the image that a processed picture was made from, by its digest; of every night.
        trained: the digests that each candidate learnt.
    """

    sides: dict[str, str] = field(default_factory=dict)
    catalog: list[Row] = field(default_factory=list)
    waiting: set[str] = field(default_factory=set)
    manifest: list[Row] = field(default_factory=list)
    image_of: dict[str, str] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)
    trained: dict[str, set[str]] = field(default_factory=dict)
    hashed: dict[tuple[str, int, int], str] = field(default_factory=dict)

    def look(self, dataset: Path, say: Say, *, finished: bool) -> None:
        """Say what must not be."""
        rows = [row for row in table(dataset / "catalog.parquet") if not row["refused"]]
        self.catalog = [row for row in rows if row["split"] != "pool"]
        self.waiting = {row["image"] for row in rows if row["split"] == "pool"}
        self.groups = groups_of(self.catalog)
        self._sides(say)
        self._split(dataset, say, finished)
        self.manifest = table(dataset / "manifest.parquet")
        self.image_of |= {row["sha256"]: row["image"] for row in self.manifest if not row["copy"]}
        self._manifest(dataset, say)
        if finished:
            self._finished(dataset, say)

    def _sides(self, say: Say) -> None:
        sides = defaultdict(set)
        for row in self.catalog:
            sides[self.groups[row["image"]]].add(row["split"])
        both = [row["image"] for row in self.catalog if len(sides[self.groups[row["image"]]]) > 1]
        if both:
            say("both sides", f"a lesion, a patient or an equal file is on both sides: {both[:4]}")

    def _split(self, dataset: Path, say: Say, finished: bool) -> None:
        now = {row["key"]: row["split"] for row in table(dataset / "split.parquet")}
        back = [key for key, side in self.sides.items() if side == "held_out" and now.get(key) != "held_out"]
        if back:
            say("held out for ever", f"{len(back)} keys were held out and are not any more: {sorted(back)[:3]}")
        lost = [key for key in self.sides if key not in now]
        if lost:
            say("decided for ever", f"{len(lost)} keys have no side any more: {sorted(lost)[:3]}")
        self.sides = now
        others = [(row, now.get("image:" + row["image"])) for row in self.catalog]
        others = [(row, side) for row, side in others if side != row["split"]]
        # Lesions that were merged are held out in the split first: a run that is killed then leaves the catalog behind.
        wrong = [row["image"] for row, side in others if finished or (row["split"], side) != ("train", "held_out")]
        if wrong:
            say("split first", f"{len(wrong)} images of the catalog have another side in the split: {wrong[:3]}")

    def _manifest(self, dataset: Path, say: Say) -> None:
        for key in ("group", "sha256", "image"):
            sides = defaultdict(set)
            for row in self.manifest:
                sides[row[key]].add(row["split"])
            if both := sorted(value for value, of in sides.items() if len(of) > 1):
                say("both sides", f"the manifest has the {key} {both[0]} on both sides")
        if any(row["copy"] and row["split"] == "held_out" for row in self.manifest):
            say("held out whole", "a held-out picture has an altered copy")
        output = dataset / "processed_images" / "output"
        missing = [row["file"] for row in self.manifest if not (output / row["file"]).is_file()]
        if missing:
            say("manifest files", f"{len(missing)} files of the manifest are not there: {missing[:3]}")

    def _finished(self, dataset: Path, say: Say) -> None:
        rows = {row["image"]: row for row in self.catalog}
        for row in self.manifest:
            of = rows.get(row["image"])
            if of is None or any(of[name] != row[name] for name in ("split", "label", "group", "dx")):
                say("manifest truth", f"{row['file']} of the manifest is not as the catalog has it")
                break
        held = {row["sha256"] for row in self.manifest if row["split"] == "held_out"}
        listed = {row["image"] for row in self.manifest}
        lost = [row["image"] for row in self.catalog if row["image"] not in listed and row["split"] == "held_out"]
        if lost or not held:
            say("manifest truth", f"{len(lost)} held-out images of the catalog are not in the manifest: {lost[:3]}")
        output = dataset / "processed_images" / "output"
        wrong = [row["file"] for row in self.manifest if self._digest(output / row["file"]) != row["sha256"]]
        if wrong:
            say("manifest files", f"{len(wrong)} files are not those that the manifest names: {wrong[:3]}")
        files = {row["file"] for row in self.manifest}
        there = {f"{folder.name}/{name}" for folder in output.iterdir() for name in os.listdir(folder)}
        if there != files:
            say("orphans", f"the training view has files of no row: {sorted(there - files)[:3]}")
        processed = dataset / "processed_images"
        prepared = rows.keys() | self.waiting
        strange = [path.name for path in processed.glob("*.jpg") if path.stem not in prepared]
        strange += [
            path.name for path in (processed / "augmented").glob("*") if path.name.partition("__aug")[0] not in rows
        ]
        if strange:
            say("orphans", f"{len(strange)} processed files are of no image: {sorted(strange)[:3]}")
        self._catalog(dataset, say)

    def _catalog(self, dataset: Path, say: Say) -> None:
        with (dataset / "diagnoses.csv").open(newline="") as file:
            told = {row["image"]: row for row in csv.DictReader(file)}
        for row in self.catalog:
            if self._digest(dataset / "images" / row["file"]) != row["sha256"]:
                say("catalog truth", f"{row['file']} is not the file that the catalog has")
                return
            label = CLASS_OF.get(told.get(row["image"], {}).get("dx", ""), "")
            if row["image"] not in told or (label and label != row["label"]):
                say("catalog truth", f"{row['image']} is not as the table of labels has it")
                return

    def held_out_and_learnt(self, learnt: set[str]) -> list[str]:
        """Return the held-out images of the manifest of which a picture with these digests shows the same lesion."""
        groups = {self.groups.get(self.image_of.get(one, "")) for one in learnt} - {None}
        return [
            row["image"]
            for row in self.manifest
            if row["split"] == "held_out" and (row["sha256"] in learnt or self.groups.get(row["image"]) in groups)
        ]

    def clean(self, learnt: set[str]) -> int:
        """Return the number of held-out files of which nothing was learnt."""
        return sum(1 for row in self.manifest if row["split"] == "held_out") - len(self.held_out_and_learnt(learnt))

    def _digest(self, path: Path) -> str:
        try:
            state = os.stat(path)
        except OSError:
            return ""
        key = (str(path), state.st_ino, state.st_mtime_ns)
        if key not in self.hashed:
            self.hashed[key] = digest(path)
        return self.hashed[key]
