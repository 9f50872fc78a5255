"""The gate: what a version must show before it may replace the model in service, judged on today's held-out lesions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import JsonValue

from skinlesion.data.labels.classes import LABELS, MALIGNANT
from skinlesion.data.manifest import held_out_rows, read_manifest, require_clean_split, version
from skinlesion.data.training_view import view_files
from skinlesion.evaluation.paired import Decided, Difference, compare
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.network import quiet_tensorflow
from skinlesion.network.litert import LiteRTModel
from skinlesion.prediction.decision import rule_beside
from skinlesion.prediction.held_out_scores import stored_probabilities_of
from skinlesion.promotion.settings import PromotionSettings
from skinlesion.registry import history
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.metrics_record import MetricsRecord
from skinlesion.registry.snapshot import Registry, Version
from skinlesion.registry.training_record import TrainingRecord
from skinlesion.registry.verdict import Criterion, Verdict

_IMAGES_COMPARED: Final = 8
_TIMED: Final = 21
_CALIBRATED_DRAWS: Final = 200
_BINS: Final = 15


def judge(config: PromotionSettings, registry: Registry, number: int) -> Verdict:
    """Return the verdict on a version beside what is in service. Neither is changed, and nothing is written.

    Raises DataError if there is no such version or nothing to measure it on.
    """
    manifest = read_manifest(config.dataset)
    require_clean_split(manifest)
    rows = held_out_rows(manifest)
    judged = registry.version(number)
    candidate = Candidate(layout.candidate(config.models, judged.run))
    champion = _Champion.of(registry)
    return Verdict(
        version=number,
        run=judged.run,
        against=champion.number,
        against_run=champion.candidate.run if champion.candidate else None,
        held_out_version=version(rows),
        images=len(rows),
        lesions=int(rows["group"].nunique()),
        criteria=tuple(_criteria(config, registry, judged, candidate, champion, rows)),
        at=history.now(),
    )


@dataclass(frozen=True)
class _Champion:
    """What is in service, as far as the gate can compare with it.

    Attributes:
        number: number of its version, None if nothing is in service.
        candidate: the model's files; None if there is nothing to compare with.
        problem: why there is nothing to compare with; empty if nothing ever was in service.
    """

    number: int | None
    candidate: Candidate | None
    problem: str

    @classmethod
    def of(cls, registry: Registry) -> _Champion:
        now = registry.in_service
        if now is None:
            was = any(entry.switch for entry in registry.history)
            return cls(None, None, "The files of the model in service are missing" if was else "")
        candidate = Candidate(layout.candidate(registry.models, now.run))
        training = candidate.read_training()
        if training is None or now.candidate(registry.models) is None:
            return cls(
                now.version, None, f"Files of version {now.version}, which is in service, are missing or altered"
            )
        if training.classes != LABELS:
            classes = ", ".join(training.classes)
            return cls(now.version, None, f"Version {now.version}, which is in service, knows the classes {classes}")
        return cls(now.version, candidate, "")


def _criteria(
    config: PromotionSettings,
    registry: Registry,
    judged: Version,
    candidate: Candidate,
    champion: _Champion,
    rows: pd.DataFrame,
) -> Iterator[Criterion]:
    """Yield the criteria; those behind the files and the classes only if both are as they must be."""
    training = candidate.read_training()
    whole = _whole(registry, judged, training)
    yield whole
    if training is None or not whole.passed:
        return
    classes = _classes(training)
    yield classes
    if not classes.passed:
        return
    agree = _files_agree(config, candidate, rows)
    yield agree
    if not agree.passed:
        return
    yield _data_checks(config, candidate)
    yield _size(config, candidate)
    yield _latency(config, candidate, rows)
    labels = rows["label"].map(LABELS.index).to_numpy(dtype=np.int64)
    lesions = rows["group"].tolist()
    probabilities = stored_probabilities_of(config, candidate, rows)
    decided = Decided.of(probabilities, _threshold(candidate))
    yield from _floors(config, labels, probabilities, lesions, decided)
    if champion.candidate is None:
        yield from _without_champion(config, champion, judged.number)
        return
    other = Decided.of(stored_probabilities_of(config, champion.candidate, rows), _threshold(champion.candidate))
    accuracy, sensitivity = compare(labels, lesions, decided, other, confidence=config.gate_confidence)
    yield _not_worse(
        "balanced_accuracy_margin",
        "balanced accuracy",
        accuracy,
        config.gate_balanced_accuracy_margin,
        config,
        champion,
    )
    yield _not_worse(
        "sensitivity_margin", "sensitivity for malignant", sensitivity, config.gate_sensitivity_margin, config, champion
    )


def _whole(registry: Registry, judged: Version, training: TrainingRecord | None) -> Criterion:
    registered = registry.known.registered[judged.number].sha256
    passed = training is not None and training.sha256 == registered
    return Criterion(
        name="files_whole",
        title="The files are those that were registered",
        passed=passed,
        sentence="All files have the SHA-256 that was registered."
        if passed
        else f"Files of version {judged.number} are missing or altered since it was registered; train it again.",
        numbers={"files": [*sorted(registered)]},
    )


def _classes(training: TrainingRecord) -> Criterion:
    found = training.classes
    passed = found == LABELS
    return Criterion(
        name="classes",
        title="The classes are ours",
        passed=passed,
        sentence=f"It knows {', '.join(LABELS)}."
        if passed
        else f"It was trained on the classes {', '.join(found) or '(none)'}; expected {', '.join(LABELS)}, in this order.",
        numbers={"classes": [*found]},
    )


def _files_agree(config: PromotionSettings, candidate: Candidate, rows: pd.DataFrame) -> Criterion:
    name, title, bound = "max_file_difference", "The files reload and agree", config.gate_max_file_difference
    try:
        differences = _file_differences(config, candidate, rows.head(_IMAGES_COMPARED))
    except DataError as error:
        sentence = f"A file does not reload ({error}); train it again."
        return Criterion(name=name, title=title, passed=False, bound=bound, sentence=sentence)
    largest = max(differences.values())
    passed = largest <= bound
    measured = f"Loaded anew, {candidate.h5.name} and .keras give probabilities within {largest:.2g} of the .tflite's"
    return Criterion(
        name=name,
        title=title,
        passed=passed,
        found=largest,
        bound=bound,
        sentence=f"{measured}." if passed else f"{measured}; at most {bound:g} is allowed. Train it again.",
        numbers={"by_file": dict(differences)},
    )


def _file_differences(config: PromotionSettings, candidate: Candidate, rows: pd.DataFrame) -> dict[str, float]:
    quiet_tensorflow.load()
    from skinlesion.network.classifier import load_classifier

    images = np.stack([file.read() for file in view_files(config.dataset, rows)])
    litert = LiteRTModel(candidate.tflite)
    expected = np.stack([litert(image) for image in images])
    differences = {}
    for path in (candidate.h5, candidate.keras):
        found = np.asarray(load_classifier(path)(images.astype(np.float32), training=False))
        difference = float(np.abs(found - expected).max())
        differences[path.name] = difference if np.isfinite(difference) else float("inf")
    return differences


def _data_checks(config: PromotionSettings, candidate: Candidate) -> Criterion:
    unreadable = None
    try:
        metrics = MetricsRecord.read_if_there(candidate.metrics)
    except DataError as error:
        metrics, unreadable = None, str(error)
    report = metrics.data.report if metrics else None
    verdict = report.verdict if report else None
    passed = verdict in ("passed", "accepted") or not config.gate_require_data_checks
    said = {
        "passed": "The data passed its checks.",
        "accepted": "What the data checks found was accepted by a person.",
        None: "No data report belongs to this version; run ingest and evaluate again.",
    }
    sentence = unreadable or said.get(verdict, "The data did not pass its checks; correct it and train again.")
    return Criterion(
        name="require_data_checks",
        title="The data passed its checks",
        passed=passed,
        sentence=sentence,
        numbers={"found": verdict},
    )


def _size(config: PromotionSettings, candidate: Candidate) -> Criterion:
    found = sum(path.stat().st_size for path in (candidate.h5, candidate.tflite)) / 1e6
    return _at_most("max_size", "Size", found, config.gate_max_size, f"The model has {found:.1f} MB", "a smaller head")


def _latency(config: PromotionSettings, candidate: Candidate, rows: pd.DataFrame) -> Criterion:
    image = view_files(config.dataset, rows.head(1))[0].read()
    model = LiteRTModel(candidate.tflite)
    model(image)
    seconds = []
    for _ in range(_TIMED):
        start = time.perf_counter()
        model(image)
        seconds.append(time.perf_counter() - start)
    found = float(np.median(seconds)) * 1000 * rule_beside(candidate.h5).views
    measured = f"A prediction takes {found:.0f} ms on one core"
    return _at_most(
        "max_latency", "Latency", found, config.gate_max_latency, measured, "fewer orientations or a faster machine"
    )


def _floors(
    config: PromotionSettings,
    labels: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float64],
    lesions: list[str],
    decided: Decided,
) -> Iterator[Criterion]:
    from skinlesion.evaluation.metrics import measure

    figures = measure(labels, probabilities, lesions, resamples=0)
    auroc, error = figures.malignant_auroc, figures.expected_calibration_error
    malignant = labels == LABELS.index(MALIGNANT)
    sensitivity = float(decided.positive[malignant].mean()) if malignant.any() else None
    yield _at_least("min_auroc", "Malignant AUROC", auroc, config.gate_min_auroc)
    yield _at_least(
        "min_sensitivity", "Sensitivity for malignant at the operating point", sensitivity, config.gate_min_sensitivity
    )
    yield _calibration(config, error, probabilities.max(axis=1))


def _calibration(config: PromotionSettings, error: float, confidence: npt.NDArray[np.float64]) -> Criterion:
    """Return the criterion of the calibration error beyond what a perfectly calibrated model shows on so many images.

    The estimate is biased upwards, the more the fewer images there are (Roelofs et al., "Mitigating bias in calibration
    error estimation", AISTATS 2022): a perfect model has some 0.2 on twenty images.
    """
    chance = _calibration_error_by_chance(confidence)
    bound, found = config.gate_max_calibration_error, max(0.0, error - chance)
    passed = found <= bound
    measured = f"The calibration error is {error:.3f}; chance alone gives {chance:.3f} on so many images"
    sentence = f"{measured}, and at most {bound:g} beyond that is allowed{'.' if passed else ': it takes more data.'}"
    return Criterion(
        name="max_calibration_error",
        title="Calibration error",
        passed=passed,
        found=found,
        bound=bound,
        sentence=sentence,
        numbers={"calibration_error": error, "by_chance": chance},
    )


def _calibration_error_by_chance(confidence: npt.NDArray[np.float64]) -> float:
    """Return the expected calibration error that a perfectly calibrated model shows, with evaluation's number of bins."""
    drawn = np.random.default_rng(0).random((_CALIBRATED_DRAWS, len(confidence))) < confidence
    which = np.clip(np.ceil(confidence * _BINS).astype(int) - 1, 0, _BINS - 1)
    in_bin = np.eye(_BINS)[which]
    return float(np.abs((drawn - confidence) @ in_bin).sum(axis=1).mean() / len(confidence))


def _without_champion(config: PromotionSettings, champion: _Champion, number: int) -> Iterator[Criterion]:
    """Yield the criteria of the comparison without a champion: they hold for a first model, not beside a broken one."""
    if champion.problem:
        sentence = (
            f"{champion.problem}: nothing can be compared. Roll back, or decide by hand: `skinlesion models promote "
            f"{number} --reason ...`."
        )
    else:
        sentence = "No model is in service yet: the floors decide."
    for name, title, margin in (
        (
            "balanced_accuracy_margin",
            "Balanced accuracy beside the model in service",
            config.gate_balanced_accuracy_margin,
        ),
        ("sensitivity_margin", "Sensitivity for malignant beside the model in service", config.gate_sensitivity_margin),
    ):
        yield Criterion(name=name, title=title, passed=not champion.problem, bound=-margin, sentence=sentence)


def _not_worse(
    name: str, what: str, found: Difference, margin: float, config: PromotionSettings, champion: _Champion
) -> Criterion:
    title = f"{what[0].upper()}{what[1:]} beside the model in service"
    numbers: dict[str, JsonValue] = {
        "candidate": found.candidate,
        "champion": found.champion,
        "difference": found.difference,
        "lower": found.lower,
        "confidence": config.gate_confidence,
        "margin": margin,
    }
    if found.lower is None or found.difference is None:
        sentence = f"The {what} cannot be compared: no malignant lesion is held out. Add labelled images."
        return Criterion(name=name, title=title, passed=margin >= 1, bound=-margin, sentence=sentence, numbers=numbers)
    passed = found.lower >= -margin
    measured = (
        f"The {what} is {found.candidate:.3f}, version {champion.number} has {found.champion:.3f}: a difference of "
        f"{found.difference:+.3f}, {config.gate_confidence:.0%} sure above {found.lower:+.3f}"
    )
    if passed:
        sentence = f"{measured}; no worse than {-margin:+.3f} is allowed."
    elif found.difference >= -margin:
        sentence = f"{measured}; it must be sure above {-margin:+.3f}, and these lesions are too few to be."
    else:
        sentence = f"{measured}; it must be above {-margin:+.3f}."
    return Criterion(
        name=name,
        title=title,
        passed=passed,
        found=found.lower,
        bound=-margin,
        sentence=sentence,
        numbers=numbers,
    )


def _at_least(name: str, title: str, found: float | None, bound: float) -> Criterion:
    if found is None:
        sentence = f"{title} cannot be measured: malignant and other lesions must be held out. Add labelled images."
        return Criterion(name=name, title=title, passed=bound <= 0, bound=bound, sentence=sentence)
    passed = found >= bound
    measured = f"{title} is {found:.3f}"
    sentence = f"{measured}; at least {bound:g} is asked for{'.' if passed else ', of the first model too.'}"
    return Criterion(name=name, title=title, passed=passed, found=found, bound=bound, sentence=sentence)


def _at_most(name: str, title: str, found: float, bound: float, measured: str, cure: str) -> Criterion:
    passed = found <= bound
    sentence = f"{measured}; at most {bound:g} is allowed{'.' if passed else f': it takes {cure}, or another bound.'}"
    return Criterion(name=name, title=title, passed=passed, found=found, bound=bound, sentence=sentence)


def _threshold(candidate: Candidate) -> float:
    """Return the operating point of a model, the threshold for malignant."""
    return rule_beside(candidate.h5).malignant_threshold
