"""Accept a split that does not follow from what is known: who did it, why, and what it means for every version."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from skinlesion.data.catalog import accepted, read_catalog
from skinlesion.data.folder import held_for_ingest
from skinlesion.data.split import DECISION_COLUMNS, HELD_OUT, assign_sides, own_groups
from skinlesion.data.split_table import SplitTable, impossible, known_in, read_unchecked
from skinlesion.data.split_version import KnownSplit, SplitVersion
from skinlesion.foundation import append_log, layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.record import Record
from skinlesion.foundation.tables import empty
from skinlesion.foundation.wording import counted
from skinlesion.prediction.measurable import UnknownWhatWasLearnt, learnt_among, read_learnt
from skinlesion.registry import history
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.snapshot import Registry
from skinlesion.registry.versions import splits_known
from skinlesion.stages.settings import PipelineConfig


class SplitAcceptance(Record):
    """One line of split_history.jsonl, which only grows.

    Attributes:
        at: when, ISO 8601, UTC.
        actor: who accepted it.
        reason: why, in words.
        split: the split that was accepted, under its new name.
        instead_of: the splits that were known by then, by what knew them.
        meaning: what it means for the images and for every version that was measured before, in sentences.
    """

    remedy: ClassVar[str] = "Correct the line, or restore the file from a back-up."

    at: str
    actor: str
    reason: str
    split: SplitVersion
    instead_of: dict[str, SplitVersion]
    meaning: tuple[str, ...]


def accept_split(config: PipelineConfig, *, actor: str, reason: str) -> SplitAcceptance:
    """Take split.parquet as it is; where it is missing, begin a new one. From now on it follows from all that is known.

    The next ingest gives every image its side. Raises DataError without a reason, if nothing is to be accepted, or if the
    table is no split: a value that is no side, a key twice.
    """
    if not reason.strip():
        raise DataError("No reason is given. Say why this split is right, for those who read the history.")
    dataset = config.dataset
    with held_for_ingest(config):
        known = [*known_in(dataset), *splits_known(config.models)]
        table, problem = _found(dataset)
        if not problem and all(table.follows(one.version) for one in known):
            raise DataError(
                f"{layout.split(dataset)} follows from all that is known of it: there is nothing to accept."
            )
        now = _accepted(table, known)
        assert now.version is not None
        acceptance = SplitAcceptance(
            at=history.now(),
            actor=actor,
            reason=reason.strip(),
            split=now.version,
            instead_of={one.who: one.version for one in known},
            meaning=tuple(_meaning(config, now)),
        )
        # Killed in between, the command notes the same split once more when it is run again.
        append_log.append(layout.split_history(dataset), acceptance)
        now.write(dataset)
    return acceptance


def read_acceptances(dataset: Path) -> list[SplitAcceptance]:
    """Return who accepted which split, oldest first. Raises DataError if a line does not fit."""
    return append_log.read(layout.split_history(dataset), SplitAcceptance.of_line).all()


def _found(dataset: Path) -> tuple[SplitTable, str]:
    """Return the table as it is and why it cannot be trusted; an empty one if there is none."""
    path = layout.split(dataset)
    if not path.exists():
        return SplitTable(empty(DECISION_COLUMNS), (), None), ""
    table, problem = read_unchecked(dataset)
    if wrong := impossible(table.decisions):
        raise DataError(f"{path} cannot be accepted: {wrong}. Restore it from a backup.")
    return table, problem


def _accepted(table: SplitTable, known: list[KnownSplit]) -> SplitTable:
    """Return the table as the one that follows from itself and from all that is known."""
    versions = [one.version for one in known] + ([table.version] if table.version is not None else [])
    before = dict.fromkeys([*table.before, *(version.digest for version in versions)])
    decisions = table.decisions.sort_values("key", ignore_index=True)
    return SplitTable.made(decisions, tuple(before), 1 + max((one.generation for one in versions), default=0))


def _meaning(config: PipelineConfig, table: SplitTable) -> list[str]:
    if not layout.catalog(config.dataset).is_file():
        return ["There is no catalog, so nobody can say yet what it means. Run ingest."]
    images = accepted(read_catalog(config.dataset))
    split, _ = assign_sides(images, table.decisions, config.held_out_fraction)
    is_held, was_held = split == HELD_OUT, images["split"] == HELD_OUT
    sentences = [
        f"Of {counted(len(images), 'image')}, {counted(int((is_held & ~was_held).sum()), 'moves', 'move')} from training to the held-out "
        f"side and {(was_held & ~is_held).sum():,} from the held-out side to training."
    ]
    others = images.assign(original=images["sha256"], lesion=own_groups(images))[
        ["image", "original", "lesion", "group"]
    ]
    held = others[is_held]
    for version in reversed(Registry.read(config.models).versions):
        if version.measured is None:
            continue
        about = f"Version {version.number}, measured on {counted(version.measured.images, 'image')} of another split,"
        try:
            learnt = read_learnt(Candidate(layout.candidate(config.models, version.run)))
        except UnknownWhatWasLearnt:
            sentences.append(f"{about} cannot be measured again: what it learnt is not known.")
            continue
        count = int(learnt_among(held, learnt, others).sum())
        sentences.append(
            f"{about} learnt {count:,} of the {counted(len(held), 'image')} held out now; what it learnt is left out when it is measured "
            "or compared again. Its figures so far compare with no later ones."
        )
    return sentences
