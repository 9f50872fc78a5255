"""metrics.json: what evaluate measured of a candidate on the held-out images.

A figure that the data cannot give is None (null in the file). Intervals are of 95 %. The functions of
`skinlesion.evaluation` that return these types say how each figure is computed.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from skinlesion.data.finding import LinkedReport
from skinlesion.data.labels.classes import MALIGNANT, ClassCount
from skinlesion.data.split_version import SplitVersion
from skinlesion.foundation.record import Record
from skinlesion.foundation.wording import counted
from skinlesion.registry.figure import Figure, Part
from skinlesion.registry.group_decisions import Account, GroupDecisions

Interval = Annotated[list[float], Field(min_length=2, max_length=2)]
"""Low and high end."""
Intervals = dict[str, Interval | None]
"""By the name of the figure."""
Verdict = Literal["better", "worse", "no clear difference", "cannot be told"]
"""Of a difference; `cannot be told` where it has no interval."""


class LeftOut(Part):
    """Held-out images that nothing was measured on, because a model had learnt their lesions. of_images: all held-out ones."""

    images: int = 0
    lesions: int = 0
    of_images: int = 0

    @property
    def sentence(self) -> str:
        """What was left out and why; empty if nothing was."""
        if not self.images:
            return ""
        return (
            f"{self.images:,} of {counted(self.of_images, 'held-out image')}, of {counted(self.lesions, 'lesion')}, are left out: a model that is measured was "
            "trained on pictures of these lesions before they were held out."
        )


class ClassFigures(Part):
    """Figures of one class. support: number of its images; lesions: number of its lesions."""

    precision: float | None
    recall: float | None
    f1: float | None
    support: int
    lesions: int


class ReliabilityBin(Part):
    """The images whose likeliest class has a probability in (low, high], how sure the model is and how often it is right."""

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


class Roc(Part):
    """ROC curve of malignant against the rest: false and true positive rates."""

    fpr: list[float]
    tpr: list[float]


class Figures(Part):
    """Figures of a model's probabilities on a set of images, without a decision rule."""

    images: int
    lesions: int
    balanced_accuracy: float
    malignant_auroc: float | None
    accuracy: float
    macro_f1: float
    log_loss: float
    expected_calibration_error: float
    specificity_at_95_sensitivity: float | None
    intervals: Intervals
    per_class: dict[str, ClassFigures]
    confusion_matrix: list[list[int]]
    reliability: list[ReliabilityBin]
    roc: Roc
    warnings: list[str]

    def lesions_behind(self, name: str) -> int:
        """Return the number of lesions of the rarest class that a figure depends on."""
        of_class = {label: row.lesions for label, row in self.per_class.items() if row.support}
        malignant = of_class.get(MALIGNANT, 0)
        others = sum(lesions for label, lesions in of_class.items() if label != MALIGNANT)
        return {
            "balanced_accuracy": min(of_class.values()),
            "macro_f1": min(of_class.values()),
            "malignant_auroc": min(malignant, others),
            "specificity_at_95_sensitivity": min(malignant, others),
            "sensitivity": malignant,
            "specificity": others,
        }.get(name, self.lesions)

    def figure(self, name: str) -> Figure:
        """Return a figure as people read it; `sensitivity` and `specificity` are those at the threshold."""
        return Figure.of(self._value(name), self.intervals.get(name), self.lesions_behind(name))

    def beside(self, name: str, value: float | None) -> Figure:
        """Return another value of a figure, which rests on the same lesions."""
        return Figure(value=value, lesions=self.lesions_behind(name))

    def figure_of_class(self, label: str, name: str) -> Figure:
        """Return recall, precision or f1 of a class; the likeliest class counts."""
        row = self.per_class[label]
        value: float | None = getattr(row, name)
        return Figure(value=value, lesions=row.lesions)

    def _value(self, name: str) -> float | None:
        value: float | None = getattr(self, name, None)
        return value

    @property
    def guessing(self) -> str:
        """The balanced accuracy that guessing gives among the classes that are held out, a sentence."""
        classes = sum(row.support > 0 for row in self.per_class.values())
        if classes == 1:
            return "One class alone is held out: calling everything so gives 1."
        return f"Guessing gives {1 / classes:.3f} among the {classes} classes that are held out."


class OperatingPoint(Part):
    """What the model does at the threshold for malignant that training chose.

    chosen_on_lesions: number of malignant lesions of the inner fold, on which training chose it; None if nobody knows.
    """

    threshold: float
    target_sensitivity: float
    chosen_on_lesions: int | None = None
    sensitivity: float | None
    specificity: float | None
    intervals: Intervals
    called_malignant: int
    caught: int
    missed: int
    prevalence: float


class Reliability(Part):
    """The calibration error of a set of images and the bins that it is computed from."""

    expected_calibration_error: float | None
    reliability: list[ReliabilityBin]


class BeforeAndAfter(Part):
    """Calibration of a set of images before and after temperature scaling."""

    before: Reliability
    after: Reliability


class Calibration(Part):
    """Calibration on the held-out images and on the inner fold, where the temperature was chosen."""

    temperature: float
    held_out: BeforeAndAfter
    inner_fold: BeforeAndAfter


class RiskPoint(Part):
    """Error and balanced accuracy of the share `coverage` of images of which the model is surest."""

    coverage: float
    error: float
    balanced_accuracy: float | None


class AbstainingGain(Part):
    """What changes when the share `abstained` of images, the least certain, gets no answer."""

    abstained: float
    balanced_accuracy: float | None
    interval: Interval | None
    kept_balanced_accuracy: float | None
    error: float


class RiskCoverage(Part):
    """The risk-coverage curve, the area under its error, and the gain of abstaining at one point of it."""

    curve: list[RiskPoint]
    area: float
    gain: AbstainingGain


class Decisions(Part):
    """What people are told of the held-out images.

    abstained_share: share without an answer, by reason. unknown_share: share without an answer or called unknown. account: of
    the malignant lesions. diagnoses: what is said of each diagnosis, empty where diagnoses are not at hand.
    """

    images: int
    answered_share: float
    abstained_share: dict[str, float]
    unknown_share: float
    account: Account
    diagnoses: tuple[GroupDecisions, ...] = ()


class ModelFigures(Figures):
    """All figures of one model, those of its decision rule included."""

    operating_point: OperatingPoint
    calibration: Calibration
    risk_coverage: RiskCoverage
    decisions: Decisions

    def _value(self, name: str) -> float | None:
        of_rule = name in ("sensitivity", "specificity")
        return getattr(self.operating_point, name) if of_rule else super()._value(name)


class ModelInService(ModelFigures):
    """Figures of the model that was in service, on the held-out images that neither model learnt.

    run: name of its candidate. left_out: the others. candidate: the figures of the candidate on the same images; None if they
    are all that it is measured on.
    """

    run: str
    left_out: LeftOut = LeftOut()
    candidate: ModelFigures | None = None


class PairedFigure(Part):
    """The difference of one figure, the candidate minus the model in service."""

    difference: float
    interval: Interval | None
    verdict: Verdict


def compared_figure(new: Figure, old: Figure, paired: PairedFigure | None) -> tuple[Figure, str]:
    """Return the difference of two models' figures, new minus old, and what it says; nothing where too few lesions judge it."""
    if not (new.is_shown and old.is_shown):
        fewest = min((one.lesions for one in (new, old) if one.has_too_few and one.lesions is not None), default=None)
        return Figure(lesions=fewest), ""
    if paired is None:
        assert new.value is not None and old.value is not None
        return Figure(value=new.value - old.value, lesions=new.lesions), "cannot be told"
    return Figure.of(paired.difference, paired.interval, new.lesions), paired.verdict


class SmokeKind(Part):
    """The share of pictures of one kind that are decided `unknown`."""

    kind: str
    pictures: int
    unknown_share: float


class SmokeSet(Part):
    """The share of pictures without a lesion that are decided `unknown`, in all and by kind, the lowest share first."""

    pictures: int
    unknown_share: float
    by_kind: list[SmokeKind]


class Slice(Part):
    """Figures of the images with one value in one column, for example sex = female.

    n, n_lesions: number of its images and lesions. classes: those that occur. figures: balanced_accuracy, malignant_auroc,
    sensitivity and specificity.
    """

    column: str
    value: str
    n: int
    n_lesions: int
    classes: list[str]
    figures: dict[str, Figure]


class RobustnessFigures(Part):
    """Figures of a sample of the held-out images, altered or not."""

    balanced_accuracy: Figure
    malignant_auroc: Figure


class RobustnessPoint(RobustnessFigures):
    """The figures at one strength of an alteration, and what they differ by from the unaltered ones."""

    strength: float
    balanced_accuracy_change: Figure
    malignant_auroc_change: Figure


class RobustnessCurve(Part):
    """One kind of alteration. unaltered: the strength that alters nothing."""

    unit: str
    unaltered: float
    points: list[RobustnessPoint]


class Robustness(Part):
    """Figures under alterations of the images. images: size of the sample; lesions: those of the rarest class in it."""

    images: int
    lesions: int
    unaltered: RobustnessFigures
    curves: dict[str, RobustnessCurve]

    @property
    def has_too_few(self) -> bool:
        """Whether the sample has too few lesions of a class to judge a figure."""
        return Figure(lesions=self.lesions).has_too_few


class DiagnosisCount(Part):
    """Images of a diagnosis on each side of the split, and the class that the diagnosis counts as."""

    dx: str
    label: str
    train: int
    held_out: int


class RefusedImage(Part):
    """An image that could not be used, and why."""

    image: str
    reason: str


class DataSummary(Part):
    """What the model was trained and measured on, and what was refused.

    refused: the first of the refused images; refused_total counts all. recorded_share: for each column, the share of images
    for which it is known. report: None where no data report belongs to these images.
    """

    version: str
    counts: list[ClassCount]
    diagnoses: list[DiagnosisCount]
    recorded_share: dict[str, float]
    refused: list[RefusedImage]
    refused_total: int
    refused_by_reason: dict[str, int]
    notes: list[str]
    report: LinkedReport | None


class MetricsRecord(ModelFigures, Record):
    """The content of metrics.json.

    key: what the figures depend on; an evaluation with another key is stale. run: name of the candidate.
    training_version, held_out_version: of the rows that it was trained and measured on; data_version: of the catalog.
    split: the split that chose the held-out rows. left_out: held-out images whose lesions it learnt, which no figure here counts.
    warm_start: what training went on from, None where it began with the built model. robustness: None where the setting switches it
    off; model_in_service, paired: None without another model.
    not_compared: why there is none though another model is in service; empty otherwise.
    """

    remedy: ClassVar[str] = "Run evaluate again; it writes the file anew."

    key: str
    run: str
    training_version: str
    held_out_version: str
    data_version: str
    split: SplitVersion | None = None
    left_out: LeftOut = LeftOut()
    warm_start: dict[str, str | int] | None = None
    out_of_distribution: SmokeSet
    robustness: Robustness | None = None
    model_in_service: ModelInService | None = None
    paired: dict[str, PairedFigure] | None = None
    not_compared: str = ""
    slices: list[Slice]
    data: DataSummary
