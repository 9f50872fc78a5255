"""Two versions beside each other: their figures on the held-out images that both have answered, and what made them differ.

Nothing is predicted anew: the answers lie beside each version, so neither the data set nor a model is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from pydantic import JsonValue

from skinlesion.data.labels.classes import LABELS
from skinlesion.evaluation.model_metrics import model_metrics
from skinlesion.evaluation.paired import paired_differences
from skinlesion.evaluation.scored_images import ScoredImages
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.wording import counted
from skinlesion.prediction.answers import Answers
from skinlesion.prediction.decision import rule_beside
from skinlesion.prediction.held_out_scores import stored_table
from skinlesion.prediction.measurable import read_learnt, without_learnt
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.figure import Figure
from skinlesion.registry.metrics_record import LeftOut, MetricsRecord, PairedFigure
from skinlesion.registry.register import headline
from skinlesion.registry.snapshot import Registry, Version
from skinlesion.registry.training_record import TrainingRecord
from skinlesion.registry.version_comparison import ComparedFigure, ComparedFigures, Differing, VersionComparison
from skinlesion.registry.versions import FIGURES, KnownVersions, Measurement


def compare_versions(registry: Registry, first: int, second: int) -> VersionComparison:
    """Return two versions beside each other; differences are the second minus the first.

    Raises DataError, which says why, if they cannot be compared: a version that is unknown or was not evaluated, other
    classes, no common held-out image, or too few of them that neither learnt.
    """
    if first == second:
        raise DataError(f"Version {first} cannot be compared with itself; expected the numbers of two versions.")
    one, other = _Compared.of(registry, first), _Compared.of(registry, second)
    for each in (one, other):
        if each.training.classes != LABELS:
            known = ", ".join(each.training.classes)
            raise DataError(f"Version {each.number} has the classes {known}; only {', '.join(LABELS)} compare.")
    return VersionComparison(
        first=one.version,
        second=other.version,
        held_out=_held_out(one, other),
        settings=_differing(one.training.settings, other.training.settings),
        data=_differing(one.data(), other.data()),
        origin=_differing(one.origin(), other.origin()),
    )


@dataclass(frozen=True)
class _Compared:
    """A version with its records. measured, metrics: of its last evaluation."""

    version: Version
    candidate: Candidate
    training: TrainingRecord
    measured: Measurement
    metrics: MetricsRecord
    known: KnownVersions

    @classmethod
    def of(cls, registry: Registry, number: int) -> _Compared:
        version = registry.version(number)
        candidate = Candidate(layout.candidate(registry.models, version.run))
        if version.measured is None:
            raise DataError(f"Version {number} has no figures to compare: it was not evaluated. Run evaluate.")
        try:
            training, metrics = TrainingRecord.read(candidate.training), MetricsRecord.read(candidate.metrics)
        except FileNotFoundError as error:
            raise DataError(
                f"Version {number} cannot be compared without {error.filename}, which is missing."
            ) from None
        return cls(version, candidate, training, version.measured, metrics, registry.known)

    def was_measured_after(self, other: _Compared) -> bool:
        """Return whether its last evaluation came after that of the other version."""
        return self.known.measured_later(self.number, other.number) == self.number

    @property
    def number(self) -> int:
        return self.version.number

    def answers(self) -> pd.DataFrame | None:
        """Return the answers for the held-out images by the images' SHA-256; None if they are gone or another version's."""
        # A candidate whose files were removed and that was trained again is another version in the same folder.
        is_this_version = self.version.has_files and self.training.sha256 == self.version.sha256
        table = stored_table(self.candidate) if is_this_version else None
        return None if table is None else table.drop_duplicates("sha256").set_index("sha256")

    def data(self) -> dict[str, JsonValue]:
        """Return what it was trained and measured on."""
        counts = {f"{one.label}, {one.split}".replace("_", " "): one.images for one in self.metrics.data.counts}
        return {
            "training images": self.training.images,
            "training lesions": self.training.lesions,
            "held-out images": self.metrics.images,
            "held-out lesions": self.metrics.lesions,
            **counts,
            "training files (hash)": self.version.training_version,
            "held-out files (hash)": self.measured.held_out_version,
        }

    def origin(self) -> dict[str, JsonValue]:
        """Return what it was made from."""
        warm = self.training.warm_start
        return {
            "weights of the backbone (hash)": self.training.weights_key,
            "went on from candidate": None if warm is None else warm.champion,
            "code (git revision)": self.version.git_revision,
            "uv.lock (hash)": self.version.lock_sha256 or None,
            **self.training.packages,
        }


def _differing(first: Mapping[str, JsonValue], second: Mapping[str, JsonValue]) -> tuple[Differing, ...]:
    return tuple(
        Differing(name=name, first=first.get(name), second=second.get(name))
        for name in dict.fromkeys([*first, *second])
        if first.get(name) != second.get(name)
    )


def _held_out(one: _Compared, other: _Compared) -> ComparedFigures:
    """Return the figures on the common held-out images; the recorded ones if answers are gone and both have the same images."""
    of_one, of_other = one.answers(), other.answers()
    if of_one is None or of_other is None:
        return _recorded(
            one, other, gone=[each.number for each, found in ((one, of_one), (other, of_other)) if found is None]
        )
    common = of_one.index.intersection(of_other.index)
    if common.empty:
        raise DataError(
            f"Versions {one.number} and {other.number} have no held-out image in common, so no figure of theirs compares: "
            f"they were measured on {len(of_one):,} and on {counted(len(of_other), 'image')} of other data."
        )
    # An image that only one version answered may show that the other one learnt a lesion.
    images = pd.concat([of_one, of_other])[["image", "group"]]
    images = images.assign(lesion=images["group"])
    latest, before = (of_one, of_other) if one.was_measured_after(other) else (of_other, of_one)
    latest = latest.loc[common].assign(lesion=before.loc[common, "group"]).reset_index()
    measured = without_learnt(latest, [read_learnt(each.candidate) for each in (one, other)], images)
    latest = measured.rows
    of_one, of_other = of_one.loc[latest["sha256"]], of_other.loc[latest["sha256"]]
    labels = latest["label"].map(LABELS.index).to_numpy(dtype=np.int64)
    scored = ScoredImages.of(labels, Answers.of_table(of_one).probabilities, latest["group"].tolist())
    other_scored = replace(scored, probabilities=Answers.of_table(of_other).probabilities)
    rule, other_rule = rule_beside(one.candidate.h5), rule_beside(other.candidate.h5)
    first = headline(model_metrics(scored, rule, Answers.of_table(of_one)))
    second = headline(model_metrics(other_scored, other_rule, Answers.of_table(of_other)))
    thresholds = (other_rule.malignant_threshold, rule.malignant_threshold)
    paired = paired_differences(other_scored, scored, thresholds)
    return ComparedFigures(
        images=len(scored),
        lesions=scored.lesions,
        left_out=measured.left_out,
        relabelled=int((of_one["label"] != of_other["label"]).sum()),
        unpaired_because="",
        figures=_beside(first, second, paired),
    )


def _recorded(one: _Compared, other: _Compared, gone: list[int]) -> ComparedFigures:
    named = " and ".join(f"version {number}" for number in gone)
    missing = f"the answers of {named} for the held-out images are gone (`keep_versions` removes files of old versions)"
    if one.measured.held_out_version != other.measured.held_out_version:
        raise DataError(
            f"Versions {one.number} and {other.number} were measured on different held-out images, and {missing}, so no "
            "figures on common images can be computed. `skinlesion models show` has the figures of each."
        )
    return ComparedFigures(
        images=one.measured.images,
        lesions=one.measured.lesions,
        left_out=LeftOut(),
        relabelled=0,
        unpaired_because=missing[0].upper() + missing[1:] + ".",
        figures=_beside(one.measured.figures, other.measured.figures, {}),
    )


def _beside(
    first: Mapping[str, Figure], second: Mapping[str, Figure], paired: Mapping[str, PairedFigure]
) -> tuple[ComparedFigure, ...]:
    return tuple(
        ComparedFigure(
            name=name,
            title=title,
            first=first.get(name, Figure()),
            second=second.get(name, Figure()),
            paired=paired.get(name),
        )
        for name, title in FIGURES.items()
    )
