"""The monitor: each week of the log beside the held-out images of the version that answered, and the alarms."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from skinlesion.data.images.statistics import COLUMNS as STATISTICS
from skinlesion.data.labels.classes import LABELS
from skinlesion.data.labels.diagnosis import label_of
from skinlesion.evaluation.in_use.alarms import LEVEL_TOGETHER, TOGETHER, Judged, alarms_at
from skinlesion.evaluation.in_use.effects import effects, moved
from skinlesion.evaluation.in_use.estimate import Estimator, measured
from skinlesion.evaluation.in_use.record import SIGNALS, Alarm, MonitorRecord, Week
from skinlesion.evaluation.in_use.reference import Reference, Seen
from skinlesion.evaluation.in_use.settings import MonitorSettings
from skinlesion.evaluation.scored_images import Bools, Ints
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.wording import counted
from skinlesion.prediction.log import diagnoses
from skinlesion.prediction.log.entries import LogKey
from skinlesion.prediction.log.gaps import read_gaps
from skinlesion.prediction.log.reading import read_log
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.figure import Figure

MOST_WEEKS: Final = 53
"""Weeks that the record has; the log may have more."""

READ: Final = (
    "id", "at", "version", "number", *LABELS, "distance", "decision", "learnt", "width", "height",
    *(name for name in SIGNALS if name in STATISTICS), "file", "picture", "case",
)  # fmt: skip

_DAY: Final = 86_400_000_000
LEARNT: Final = ("same file", "nearly the same picture")
"""What an entry says where the model learnt from the picture."""


class Versions:
    """The references of the versions that answered, each read when it is first asked for."""

    def __init__(self, models: Path, known: Mapping[str, Reference] | None = None) -> None:
        """known: references that are not to be read."""
        self._models = models
        self._found: dict[str, tuple[Reference, Estimator] | str] = {}
        for version, reference in (known or {}).items():
            self._found[version] = reference, Estimator(reference)

    def of(self, version: str) -> tuple[Reference, Estimator] | str:
        """Return the reference of a version and what estimates its performance, or why there is none."""
        if version not in self._found:
            try:
                reference = Reference.of(Candidate(layout.candidate(self._models, version)))
                self._found[version] = reference, Estimator(reference)
            except DataError as error:
                self._found[version] = str(error)
        return self._found[version]

    def figures(self, version: str) -> dict[str, Figure]:
        """Return the figures of its held-out images, none without a reference."""
        found = self.of(version)
        return {} if isinstance(found, str) else {name: Figure(value=one) for name, one in found[1].measured.items()}


class Answered(NamedTuple):
    """The answers of a log, n of them.

    table: the log's columns at, version, number. seen: what the model saw and said. labels: (n,), the class, -1 where no diagnosis
    came. is_learnt: (n,), whether the model learnt from the picture.
    """

    table: pd.DataFrame
    seen: Seen
    labels: Ints
    is_learnt: Bools

    @classmethod
    def of(cls, table: pd.DataFrame, labels: Ints) -> Answered:
        """Return the entries of a log, `READ`, with their classes. Answers of a case, or else of a picture, are one group."""
        is_learnt = table["learnt"].isin(LEARNT).to_numpy(dtype=np.bool_)
        return cls(table[["at", "version", "number"]], Seen.of(table, groups_of(table)), labels, is_learnt)


def groups_of(table: pd.DataFrame) -> Ints:
    """Return the group of each entry, a number: that of its case or, without one, of its picture."""
    return np.asarray(pd.factorize(table["case"].where(table["case"] != "", table["picture"]))[0], dtype=np.int64)


def monitor(
    settings: MonitorSettings, known: Mapping[str, str], actinic_keratosis: str, now: datetime | None = None
) -> MonitorRecord:
    """Return what the log says.

    Args:
        settings: where the log and the models lie, and the bounds of the alarms.
        known: class of the data set's images by the SHA-256 of their files.
        actinic_keratosis: the setting of this name, by which late diagnoses become classes.
        now: the present; weeks that are over by then may give alarms.

    Raises DataError if there is no log, or a file of it is damaged.
    """
    now, folder = now or datetime.now(UTC), settings.log_folder()
    table, late, versions = read_log(folder, READ), diagnoses.read(folder), Versions(settings.models)
    answered = Answered.of(table, labels_of(folder, table, late, known, actinic_keratosis))
    entries = len(table)
    del table  # its texts take most of the memory
    judged = weeks_of(answered, versions, now)
    alarms, past = alarms_of(judged, versions, settings)
    missing = sum(gap.answers for gap in read_gaps(folder))
    names = sorted({one.week.version for one in judged})
    return MonitorRecord(
        at=now.isoformat(timespec="seconds"),
        entries=entries,
        missing=missing,
        diagnoses=len(late),
        reference={name: figures for name in names if (figures := versions.figures(name))},
        weeks=tuple(one.week for one in judged),
        alarms=tuple(alarms),
        past=tuple(past),
        warnings=tuple(_warnings(entries, missing, judged)),
    )


def labels_of(
    folder: Path,
    table: pd.DataFrame,
    late: list[diagnoses.LateDiagnosis],
    known: Mapping[str, str],
    actinic_keratosis: str,
) -> Ints:
    """Return the class of each entry, -1 where no diagnosis came: from late diagnoses, else from the data set."""
    dx = diagnoses.joined(table, late)
    found = dx.map({one: label_of(one, actinic_keratosis) for one in set(dx) - {""}})
    if known and len(table):
        key = LogKey.of(folder)
        of_file = {key.of_file(sha256): label for sha256, label in known.items()}
        found = found.where(found.notna(), table["file"].map(of_file))
    return np.asarray(found.map({label: k for k, label in enumerate(LABELS)}).fillna(-1), dtype=np.int64)


def weeks_of(answered: Answered, versions: Versions, now: datetime) -> list[Judged]:
    """Return each week of each version, oldest first."""
    days = answered.table["at"].to_numpy() // _DAY
    mondays = days - (days + 3) % 7  # 1 January 1970 was a Thursday
    codes, names = pd.factorize(answered.table["version"], sort=True)
    numbers = answered.table["number"].to_numpy()
    judged = []
    for monday in np.unique(mondays)[-MOST_WEEKS:].tolist():
        begins = date(1970, 1, 1) + timedelta(days=monday)
        in_week = np.flatnonzero(mondays == monday)
        in_weeks = np.flatnonzero((mondays > monday - 7 * TOGETHER) & (mondays <= monday))
        for code in np.unique(codes[in_week]).tolist():
            rows, together = (at[codes[at] == code] for at in (in_week, in_weeks))
            week = Week(
                monday=begins.isoformat(),
                is_over=begins + timedelta(days=7) <= now.date(),
                version=str(names[code]),
                number=int(numbers[rows[-1]]),
                images=int((~answered.is_learnt[rows]).sum()),
                cases=0,
                learnt=int(answered.is_learnt[rows].sum()),
            )
            rows, together = (at[~answered.is_learnt[at]] for at in (rows, together))
            judged.append(_judged(week, answered, rows, together, versions.of(week.version)))
    return judged


def _judged(
    week: Week, answered: Answered, rows: Ints, together: Ints, of_version: tuple[Reference, Estimator] | str
) -> Judged:
    """Return a week with its figures. rows, together: positions of its answers, and of those of the last weeks."""
    if isinstance(of_version, str):
        return Judged(week.model_copy(update={"note": of_version}), {})
    if not len(rows):
        note = "The model learnt from all pictures of this week: its answers show nothing of what it does on others."
        return Judged(week.model_copy(update={"note": note}), {})
    reference, estimator = of_version
    seen = answered.seen.part(rows)
    found = effects(seen, reference)
    distance = moved(found)
    signals = dict(zip(SIGNALS, seen.signals.mean(axis=0).tolist(), strict=True))
    has_label = together[answered.labels[together] >= 0]
    changes = {
        "cases": seen.independent,
        "no_answer": signals["no_answer"],
        "called_malignant": signals["called_malignant"],
        "effects": found,
        "moved": distance,
        "estimated": estimator(seen, distance),
        "measured": measured(
            answered.seen.part(has_label), answered.labels[has_label], reference.rule.malignant_threshold
        ),
        "diagnosed": len(has_label),
    }
    return Judged(week.model_copy(update=changes), effects(answered.seen.part(together), reference, LEVEL_TOGETHER))


def alarms_of(judged: list[Judged], versions: Versions, settings: MonitorSettings) -> tuple[list[Alarm], list[Alarm]]:
    """Return the alarms that hold at the end of the last week that is over, and those of earlier weeks that no longer do."""
    by_week: dict[str, list[Judged]] = {}
    for one in judged:
        if one.week.is_over:
            by_week.setdefault(one.week.monday, []).append(one)
    before: list[Judged] = []
    holding: dict[tuple[str, str], Alarm] = {}
    past: list[Alarm] = []
    for weeks in by_week.values():
        now: dict[tuple[str, str], Alarm] = {}
        for this in weeks:
            for alarm in alarms_at([*before, this], versions.figures(this.week.version), settings):
                now.setdefault((alarm.signal, alarm.side), alarm)
        past += [alarm for key, alarm in holding.items() if key not in now]
        holding = {
            key: alarm.model_copy(update={"since": holding[key].since}) if key in holding else alarm
            for key, alarm in now.items()
        }
        # The weeks before may be another version's, each beside its own reference; of several the fullest counts.
        before.append(max(weeks, key=lambda one: one.week.images))
    return list(holding.values()), past


def _warnings(entries: int, missing: int, judged: list[Judged]) -> list[str]:
    found = []
    if missing:
        found.append(
            f"{counted(missing, 'answer is', 'answers are')} known not to be in the log ({missing / (missing + entries):.1%}): the disk "
            "was full or too slow, or the server was overloaded. skinlesion_log_missing counts them while the server runs."
        )
    if any(one.week.diagnosed for one in judged):
        found.append(
            "Diagnoses come for some lesions only, and sooner for those that were excised: what is measured on them is not what a "
            "random sample would give."
        )
    return found


def class_of_files(catalog: pd.DataFrame) -> dict[str, str]:
    """Return the class of the data set's images with a known diagnosis, by the SHA-256 of their files."""
    known = catalog[(catalog["refused"] == "") & (catalog["dx"] != "")]
    return dict(zip(known["sha256"], known["label"], strict=True))
