"""The gate: what a version must show before it may replace the model in service, judged on the held-out lesions of now."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinlesion.data.labels.classes import LABELS, MALIGNANT
from skinlesion.data.manifest import held_out_rows, read_manifest, require_clean_split, version
from skinlesion.data.training_view import view_files
from skinlesion.evaluation.paired_bootstrap import Decided, Difference, compare
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.settings import PipelineConfig
from skinlesion.network import quiet_tensorflow
from skinlesion.network.litert import LiteRTModel
from skinlesion.prediction.held_out_scores import stored_probabilities_of
from skinlesion.registry import history
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.snapshot import Registry, Version
from skinlesion.registry.verdict import Criterion, Verdict

_IMAGES_COMPARED: Final = 8
_TIMED: Final = 21
_CALIBRATED_DRAWS: Final = 200
_BINS: Final = 15


def judge(config: PipelineConfig, registry: Registry, number: int) -> Verdict:
    """Give the verdict on a version beside what is in service. Neither is changed, and nothing is written.

    Raises DataError where there is no such version or nothing to measure it on.
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
    """What is in service, as far as the gate can ask it.

    number: of its version. candidate: None where it cannot be asked; problem then says why, or is empty where nothing is
    or ever was in service.
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
        if now.version is None:
            return cls(None, None, "The model in service was not made here, so it is not known what it learnt")
        candidate = Candidate(layout.candidate(registry.models, now.run))
        training = candidate.read_training()
        if training is None:
            return cls(
                now.version, None, f"Files of version {now.version}, which is in service, are missing or altered"
            )
        classes = training.get("classes", list(LABELS))
        if classes != list(LABELS):
            return cls(now.version, None, f"Version {now.version}, which is in service, knows the classes {classes}")
        return cls(now.version, candidate, "")


def _criteria(
    config: PipelineConfig,
    registry: Registry,
    judged: Version,
    candidate: Candidate,
    champion: _Champion,
    rows: pd.DataFrame,
) -> Iterator[Criterion]:
    """Give the lines; the rest is not measured of a version whose files or classes are not as they must be."""
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


def _whole(registry: Registry, judged: Version, training: dict[str, Any] | None) -> Criterion:
    registered = registry.known.registered[judged.number].sha256
    passed = training is not None and training["sha256"] == registered
    return Criterion(
        "files_whole",
        "The files are those that were registered",
        passed,
        None,
        None,
        "All files have the SHA-256 that was registered."
        if passed
        else f"Files of version {judged.number} are missing or altered since it was registered; train it again.",
        {"files": sorted(registered)},
    )


def _classes(training: dict[str, Any]) -> Criterion:
    found = training.get("classes", [])
    passed = found == list(LABELS)
    return Criterion(
        "classes",
        "The classes are ours",
        passed,
        None,
        None,
        f"It knows {', '.join(LABELS)}."
        if passed
        else f"It was trained on the classes {', '.join(found) or '(none)'}; expected {', '.join(LABELS)}, in this order.",
        {"classes": found},
    )


def _files_agree(config: PipelineConfig, candidate: Candidate, rows: pd.DataFrame) -> Criterion:
    bound = config.gate_max_file_difference
    title = "The files reload and agree"
    try:
        differences = _file_differences(config, candidate, rows.head(_IMAGES_COMPARED))
    except DataError as error:
        return Criterion(
            "max_file_difference", title, False, None, bound, f"A file does not reload ({error}); train it again.", {}
        )
    largest = max(differences.values())
    passed = largest <= bound
    said = f"Loaded anew, {candidate.h5.name} and .keras give probabilities within {largest:.2g} of the .tflite's"
    sentence = f"{said}." if passed else f"{said}; at most {bound:g} is allowed. Train it again."
    return Criterion("max_file_difference", title, passed, largest, bound, sentence, {"by_file": differences})


def _file_differences(config: PipelineConfig, candidate: Candidate, rows: pd.DataFrame) -> dict[str, float]:
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


def _data_checks(config: PipelineConfig, candidate: Candidate) -> Criterion:
    report = (_metrics(candidate).get("data") or {}).get("report")
    verdict = report["verdict"] if report else None
    passed = verdict in ("passed", "accepted") or not config.gate_require_data_checks
    said = {
        "passed": "The data passed its checks.",
        "accepted": "What the data checks found was accepted by a person.",
        None: "No data report belongs to this version; run ingest and evaluate again.",
    }
    sentence = said.get(verdict, "The data did not pass its checks; mend it and train again.")
    return Criterion(
        "require_data_checks", "The data passed its checks", passed, None, None, sentence, {"found": verdict}
    )


def _metrics(candidate: Candidate) -> dict[str, Any]:
    try:
        metrics: dict[str, Any] = json.loads(candidate.metrics.read_text())
    except (OSError, ValueError):
        return {}
    return metrics


def _size(config: PipelineConfig, candidate: Candidate) -> Criterion:
    found = sum(path.stat().st_size for path in (candidate.h5, candidate.tflite)) / 1e6
    return _at_most("max_size", "Size", found, config.gate_max_size, f"The model has {found:.1f} MB", "a smaller head")


def _latency(config: PipelineConfig, candidate: Candidate, rows: pd.DataFrame) -> Criterion:
    image = view_files(config.dataset, rows.head(1))[0].read()
    model = LiteRTModel(candidate.tflite)
    model(image)
    seconds = []
    for _ in range(_TIMED):
        start = time.perf_counter()
        model(image)
        seconds.append(time.perf_counter() - start)
    views = int((_rule(candidate) or {}).get("views", 1))
    found = float(np.median(seconds)) * 1000 * views
    said = f"A prediction takes {found:.0f} ms on one core"
    return _at_most("max_latency", "Latency", found, config.gate_max_latency, said, "fewer views or a faster machine")


def _floors(
    config: PipelineConfig,
    labels: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float64],
    lesions: list[str],
    decided: Decided,
) -> Iterator[Criterion]:
    from skinlesion.evaluation.metrics import measure

    figures = measure(labels, probabilities, lesions, resamples=0)
    auroc, error = figures["malignant_auroc"], figures["expected_calibration_error"]
    malignant = labels == LABELS.index(MALIGNANT)
    sensitivity = float(decided.positive[malignant].mean()) if malignant.any() else None
    yield _at_least("min_auroc", "Malignant AUROC", auroc, config.gate_min_auroc)
    yield _at_least(
        "min_sensitivity", "Sensitivity for malignant at the operating point", sensitivity, config.gate_min_sensitivity
    )
    yield _calibration(config, error, probabilities.max(axis=1))


def _calibration(config: PipelineConfig, error: float, confidence: npt.NDArray[np.float64]) -> Criterion:
    """Judge the calibration error beyond what a perfectly calibrated model would show on so many images.

    The estimate is biased upwards, the more the fewer images there are (Roelofs et al., "Mitigating bias in calibration
    error estimation", AISTATS 2022): a perfect model has some 0.2 on twenty images.
    """
    chance = _calibration_error_by_chance(confidence)
    bound, found = config.gate_max_calibration_error, max(0.0, error - chance)
    passed = found <= bound
    said = f"The calibration error is {error:.3f}; chance alone gives {chance:.3f} on so many images"
    sentence = f"{said}, and at most {bound:g} beyond that is allowed{'.' if passed else ': it takes more data.'}"
    numbers = {"calibration_error": error, "by_chance": chance}
    return Criterion("max_calibration_error", "Calibration error", passed, found, bound, sentence, numbers)


def _calibration_error_by_chance(confidence: npt.NDArray[np.float64]) -> float:
    """Give the expected calibration error, in as many bins as evaluation's, that a perfectly calibrated model shows."""
    drawn = np.random.default_rng(0).random((_CALIBRATED_DRAWS, len(confidence))) < confidence
    which = np.clip(np.ceil(confidence * _BINS).astype(int) - 1, 0, _BINS - 1)
    in_bin = np.eye(_BINS)[which]
    return float(np.abs((drawn - confidence) @ in_bin).sum(axis=1).mean() / len(confidence))


def _without_champion(config: PipelineConfig, champion: _Champion, number: int) -> Iterator[Criterion]:
    """The comparison's lines where there is nothing to compare with: held for a first model, lost for a broken one."""
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
        yield Criterion(name, title, not champion.problem, None, -margin, sentence, {})


def _not_worse(
    name: str, what: str, found: Difference, margin: float, config: PipelineConfig, champion: _Champion
) -> Criterion:
    title = f"{what[0].upper()}{what[1:]} beside the model in service"
    numbers = {
        "candidate": found.candidate,
        "champion": found.champion,
        "difference": found.difference,
        "lower": found.lower,
        "confidence": config.gate_confidence,
        "margin": margin,
    }
    if found.lower is None or found.difference is None:
        passed = margin >= 1
        sentence = f"The {what} cannot be compared: no malignant lesion is held out. Add labelled images."
        return Criterion(name, title, passed, None, -margin, sentence, numbers)
    passed = found.lower >= -margin
    said = (
        f"The {what} is {found.candidate:.3f}, version {champion.number} has {found.champion:.3f}: a difference of "
        f"{found.difference:+.3f}, {config.gate_confidence:.0%} sure above {found.lower:+.3f}"
    )
    if passed:
        sentence = f"{said}; no worse than {-margin:+.3f} is allowed."
    elif found.difference >= -margin:
        sentence = f"{said}; it must be sure above {-margin:+.3f}, and these lesions are too few to be."
    else:
        sentence = f"{said}; it must be above {-margin:+.3f}."
    return Criterion(name, title, passed, found.lower, -margin, sentence, numbers)


def _at_least(name: str, title: str, found: float | None, bound: float) -> Criterion:
    if found is None:
        sentence = f"{title} cannot be measured: malignant and other lesions must be held out. Add labelled images."
        return Criterion(name, title, bound <= 0, None, bound, sentence, {})
    passed = found >= bound
    said = f"{title} is {found:.3f}"
    sentence = f"{said}; at least {bound:g} is asked for{'.' if passed else ', of the first model too.'}"
    return Criterion(name, title, passed, found, bound, sentence, {})


def _at_most(name: str, title: str, found: float, bound: float, said: str, cure: str) -> Criterion:
    passed = found <= bound
    sentence = f"{said}; at most {bound:g} is allowed{'.' if passed else f': it takes {cure}, or another bound.'}"
    return Criterion(name, title, passed, found, bound, sentence, {})


def _rule(candidate: Candidate) -> dict[str, Any] | None:
    try:
        rule: dict[str, Any] = json.loads(candidate.decision_rule.read_text())
    except FileNotFoundError:
        return None
    return rule


def _threshold(candidate: Candidate) -> float | None:
    """Give the model's own threshold for malignant; None for a model without a decision rule."""
    rule = _rule(candidate)
    return None if rule is None else float(rule["malignant_threshold"])
