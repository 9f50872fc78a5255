"""The folder of a data set as people fill it: images/ and diagnoses.csv, changed step by step.

A step that names an image which is not there does nothing, so that a history without some of its steps is a history too.
"""

from __future__ import annotations

import csv
import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.campaign import pictures

Step = dict[str, Any]
SUFFIX = {"jpg": ".jpg", "small": ".jpg", "png": ".png", "turned": ".jpeg"}


@dataclass
class Item:
    """An image of the data set: its row of the table and its file."""

    picture: int
    form: str
    dx: str
    lesion: str
    patient: str = ""
    raw: bytes | None = None

    def content(self) -> bytes:
        return pictures.content(self.picture, self.form) if self.raw is None else self.raw


@dataclass
class DataSet:
    """images/ and diagnoses.csv of a folder."""

    folder: Path
    items: dict[str, Item] = field(default_factory=dict)
    gone: dict[str, Item] = field(default_factory=dict)

    def apply(self, steps: list[Step]) -> None:
        """Change the data set and write what changed."""
        before = {name: (item.picture, item.form, item.raw) for name, item in self.items.items()}
        for step in steps:
            getattr(self, f"_{step['op']}")(step)
        images = self.folder / "images"
        images.mkdir(parents=True, exist_ok=True)
        for name, known in before.items():
            now = self.items.get(name)
            if now is None or (now.picture, now.form, now.raw) != known:
                (images / f"{name}{SUFFIX[known[1]]}").unlink(missing_ok=True)
        for name, item in self.items.items():
            if before.get(name) != (item.picture, item.form, item.raw):
                (images / f"{name}{SUFFIX[item.form]}").write_bytes(item.content())
        self._write_table()

    def _write_table(self) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["image", "dx", "lesion_id", "patient_id"])
        for name, item in sorted(self.items.items()):
            writer.writerow([name, item.dx, item.lesion, item.patient])
        path = self.folder / "diagnoses.csv"
        partial = path.with_suffix(".new")
        partial.write_text(text.getvalue())
        os.replace(partial, path)

    def _add(self, step: Step) -> None:
        for name, values in step["images"].items():
            self.items.setdefault(name, Item(**values))

    def _relabel(self, step: Step) -> None:
        for name in self._there(step):
            self.items[name].dx = step["dx"]

    def _delete(self, step: Step) -> None:
        for name in self._there(step):
            self.gone[name] = self.items.pop(name)

    def _delete_diagnosis(self, step: Step) -> None:
        for name in [name for name, item in self.items.items() if item.dx in step["dx"]]:
            self.gone[name] = self.items.pop(name)

    def _bring_back(self, step: Step) -> None:
        for name in list(self.gone):
            if name not in self.items and (step["images"] == "all" or name in step["images"]):
                self.items[name] = self.gone.pop(name)

    def _rename(self, step: Step) -> None:
        for name in self._there(step):
            new = f"{name}r"
            if new not in self.items:
                self.items[new] = self.items.pop(name)

    def _reformat(self, step: Step) -> None:
        for name in self._there(step):
            self.items[name].form = step["form"]

    def _merge(self, step: Step) -> None:
        """Learn that some lesions are one."""
        for item in self.items.values():
            if item.lesion in step["lesions"]:
                item.lesion = step["into"]

    def _forget_lesion(self, step: Step) -> None:
        """Know the patient and no lesion of some images."""
        for name in self._there(step):
            self.items[name].lesion, self.items[name].patient = "", step["patient"]

    def _copy(self, step: Step) -> None:
        """Bring the picture of an image again, under another name and as another lesion."""
        for name in self._there(step):
            old, new = self.items[name], step["name"]
            self.items.setdefault(new, Item(old.picture, step["form"], step.get("dx") or old.dx, step["lesion"]))

    def _poison(self, step: Step) -> None:
        """Bring files that are no images, or damaged ones, or labels that nobody knows."""
        for number, kind in enumerate(step["kinds"]):
            whole = pictures.content(step["picture"] + number, "jpg")
            raw = {
                "cut": whole[: len(whole) // 3],
                "empty": b"",
                "text": b"this is no picture",
                "tail": whole + b"x" * 99,
            }
            dx = "nonsense" if kind == "unknown" else "nv"
            name = f"{step['name']}{number}"
            self.items.setdefault(name, Item(step["picture"] + number, "jpg", dx, f"L{name}", raw=raw.get(kind)))

    def _there(self, step: Step) -> list[str]:
        return [name for name in step["images"] if name in self.items]
