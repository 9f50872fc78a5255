"""Note in the history that the truth by which models are measured has changed: held-out images were relabelled, or have left the data."""

from __future__ import annotations

from collections import Counter
from typing import Final

import pandas as pd

from skinlesion.data.labels.readings import diagnosed
from skinlesion.data.labels.review_log import read_reviews
from skinlesion.data.manifest import version
from skinlesion.foundation import layout
from skinlesion.foundation.membership import is_in
from skinlesion.prediction.held_out_scores import stored_table
from skinlesion.registry import history
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.history import HistoryEntry, Relabelled
from skinlesion.registry.snapshot import Registry
from skinlesion.registry.switch import writing
from skinlesion.stages.settings import PipelineConfig

TABLES: Final = "the tables"
DATA: Final = "the data"

_NAMED: Final = 5
"""Reviewers and kinds of changes in a sentence; the others are counted."""


def note_relabelled(config: PipelineConfig, rows: pd.DataFrame, held_out: pd.DataFrame) -> None:
    """Add an entry to the history if held-out images have another class than when a version was measured last, or have left.

    Call it before anything is measured by the new labels, which replaces the stored ones. A second call adds nothing.

    rows: those of the manifest that are measured on. held_out: all that are held out. An image that is there under another name has not left.
    """
    known = Registry.read(config.models).known
    if not known.measured:
        return
    number = known.measured[-1].number
    before = stored_table(Candidate(layout.candidate(config.models, known.registered[number].run)))
    if before is None:
        return
    both = rows[["image", "label"]].merge(before[["image", "label"]], on="image", suffixes=("", "_was"))
    changed = both[both["label"] != both["label_was"]]
    left = before[~is_in(before["image"], held_out["image"]) & ~is_in(before["sha256"], held_out["sha256"])]
    if changed.empty and left.empty:
        return
    said = diagnosed(read_reviews(config.dataset).of_image) if config.review_labels != "ignore" else {}
    by = Counter(said[image].by if image in said else TABLES for image in changed["image"])
    found = Relabelled(images=len(changed), left=len(left), by=dict(by.most_common()), held_out_version=version(rows))
    with writing(config.models) as registry:
        last = next((entry for entry in registry.history if entry.relabelled is not None), None)
        if last is not None and (last.version, last.relabelled) == (number, found):
            return
        kinds = Counter(f"{was} became {now}" for was, now in zip(changed["label_was"], changed["label"], strict=True))
        happened = []
        if found.images:
            happened.append(
                f"held-out images got another class ({found.images:,}): {_listed(kinds)}. Said by {_listed(by)}"
            )
        if found.left:
            classes = Counter(left["label"])
            happened.append(f"held-out images have left the data ({found.left:,}): {_listed(classes)}")
        entry = HistoryEntry(
            at=history.now(),
            what="measured by other labels" if found.images else "measured without images that left",
            actor=", ".join(list(found.by)[:_NAMED]) or DATA,
            version=number,
            reason=f"Since version {number} was measured, {'; '.join(happened)}. Figures of before and after do not compare",
            relabelled=found,
        )
        history.append(config.models, entry)


def _listed(counts: Counter[str]) -> str:
    more = f" and {len(counts) - _NAMED} others" if len(counts) > _NAMED else ""
    return ", ".join(f"{name} {count:,}" for name, count in counts.most_common(_NAMED)) + more
