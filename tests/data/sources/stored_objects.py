"""Objects below a prefix of a store, and what becomes of them in a data set."""

from __future__ import annotations

from pathlib import Path

from tests.data.sources.data_set import jpeg, visible

OBJECTS = {"a.jpg": jpeg(1), "clinic/b.jpg": jpeg(2), "clinic/c.png": jpeg(3), "clinic/labels.csv": b"image,dx\na,nv\n"}
KEPT = {
    "images/a.jpg": jpeg(1),
    "images/clinic/b.jpg": jpeg(2),
    "images/clinic/c.png": jpeg(3),
    "labels/clinic__labels.csv": b"image,dx\na,nv\n",
}


def data(dataset: Path) -> dict[str, bytes]:
    return {name: content for name, content in visible(dataset).items() if not name.startswith("tables/")}
