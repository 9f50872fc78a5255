"""The gate: what a version must show before it may come into service, judged on today's held-out lesions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinlesion.data.labels.classes import LABELS, MALIGNANT
from skinlesion.data.manifest import held_out_rows, trusted_manifest, version
from skinlesion.data.training_view import view_files
from skinlesion.evaluation.calibration import RELIABILITY_BINS, bin_of, calibration_error
from skinlesion.evaluation.paired import Decided
from skinlesion.evaluation.shares import Share, auroc_lower
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.network import quiet_tensorflow
from skinlesion.network.litert import LiteRTModel
from skinlesion.prediction.decision import rule_beside
from skinlesion.prediction.held_out_scores import stored_answers_of
from skinlesion.prediction.measurable import Measurable
from skinlesion.prediction.sealed import HeldOutParts
from skinlesion.promotion.beside import OnLesions, beside_others, in_percent
from skinlesion.promotion.compared_models import Compared, Unmeasured, measurable_by_all
from skinlesion.promotion.sealed import held_out_parts
from skinlesion.promotion.settings import PromotionSettings
from skinlesion.registry import history
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.looks import Looks
from skinlesion.registry.metrics_record import MetricsRecord
from skinlesion.registry.snapshot import Registry, Version
from skinlesion.registry.training_record import TrainingRecord
from skinlesion.registry.verdict import Criterion, Unjudged, Verdict
from skinlesion.registry.versions import splits_known

_IMAGES_COMPARED: Final = 8
_TIMED: Final = 21
_CALIBRATED_DRAWS: Final = 200


def judge(config: PromotionSettings, registry: Registry, number: int) -> Verdict:
    """Return the verdict on a version beside what is in service and the reference. Nothing is changed or written.

    Raises DataError if there is no such version or nothing to measure it on.
    """
    manifest, _ = trusted_manifest(config.dataset, splits_known(config.models))
    parts = held_out_parts(config, held_out_rows(manifest))
    held_out = parts.nightly
    judged = registry.version(number)
    candidate = Candidate(layout.candidate(config.models, judged.run))
    champion = Compared.in_service(registry)
    reference = Compared.reference(registry, champion)
    models = [candidate, champion.candidate, reference.candidate]
    measured, problem = measurable_by_all(config, held_out, models)
    rows = measured.rows
    criteria, look = [*_required(config, registry, judged, candidate, measured, problem, parts)], None
    if criteria[-1].passed:
        on = OnLesions(
            labels=rows["label"].map(LABELS.index).to_numpy(dtype=np.int64),
            lesions=rows["group"].tolist(),
            decided=_decided(config, candidate, rows),
            answers_of=lambda other: _decided(config, other, rows),
        )
        is_first = champion.candidate is None and not champion.problem
        looks = Looks.of(reversed(registry.history), held_out.loc[held_out["label"] == MALIGNANT, "group"].nunique())
        criteria += [_data_checks(config, candidate), _size(config, candidate), _latency(config, candidate, rows)]
        criteria += _floors(config, stored_answers_of(config, candidate, rows).probabilities, on, is_first=is_first)
        beside, look = beside_others(config, number, on, champion, reference, looks)
        criteria += beside
    return Verdict(
        version=number,
        run=judged.run,
        against=champion.number,
        against_run=champion.candidate.run if champion.candidate else None,
        held_out_version=version(rows),
        images=len(rows),
        lesions=int(rows["group"].nunique()),
        left_out=measured.left_out,
        look=look,
        criteria=tuple(criteria),
        at=history.now(),
    )


def _required(
    config: PromotionSettings,
    registry: Registry,
    judged: Version,
    candidate: Candidate,
    measured: Measurable,
    problem: Unmeasured | None,
    parts: HeldOutParts,
) -> Iterator[Criterion]:
    """Yield what must hold before anything can be measured, up to the first that does not."""
    training = candidate.read_training()
    whole = _whole(judged, training)
    yield whole
    if training is None or not whole.passed:
        return
    classes = _classes(training)
    yield classes
    if not classes.passed:
        return
    yield _unseen(measured, problem, parts)
    if problem is None:
        yield _files_agree(config, candidate, measured.rows)


def _decided(config: PromotionSettings, model: Candidate, rows: pd.DataFrame) -> Decided:
    """Return a model's answers at its operating point."""
    threshold = rule_beside(model.h5).malignant_threshold
    return Decided.of(stored_answers_of(config, model, rows).probabilities, threshold)


def _whole(judged: Version, training: TrainingRecord | None) -> Criterion:
    passed = training is not None and training.sha256 == judged.sha256
    return Criterion(
        name="files_whole",
        title="The files are those that were registered",
        passed=passed,
        sentence="All files have the SHA-256 that was registered."
        if passed
        else f"Files of version {judged.number} are missing or altered since it was registered; train it again.",
        numbers={"files": [*sorted(judged.sha256)]},
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


def _unseen(measured: Measurable, problem: Unmeasured | None, parts: HeldOutParts) -> Criterion:
    learnt = measured.left_out.sentence or "No held-out lesion was learnt by a model that is measured."
    return Criterion(
        name="unseen_lesions",
        title="Enough held-out lesions that no model learnt",
        passed=problem is None,
        unjudged=problem.unjudged if problem is not None else None,
        sentence=problem.problem if problem is not None else f"{learnt} {parts.sentence}",
        numbers=measured.left_out.model_dump(),
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
    found = float(np.median(seconds)) * 1000
    measured = f"A prediction takes {found:.0f} ms on one core"
    return _at_most(
        "max_latency", "Latency", found, config.gate_max_latency, measured, "`mirrored=false` or a faster machine"
    )


def _floors(
    config: PromotionSettings, probabilities: npt.NDArray[np.float64], on: OnLesions, *, is_first: bool
) -> Iterator[Criterion]:
    from skinlesion.evaluation.metrics import malignant_auroc
    from skinlesion.evaluation.scored_images import ScoredImages

    images = ScoredImages.of(on.labels, probabilities, on.lesions)
    lesion = np.unique(on.lesions, return_inverse=True)[1].astype(np.int64)
    malignant = on.labels == LABELS.index(MALIGNANT)
    counts = [len(np.unique(lesion[which])) for which in (malignant, ~malignant)]
    sensitivity, auroc, confidence = None, malignant_auroc(images), config.gate_confidence
    if malignant.any():
        share = Share.of(on.decided.positive[malignant], lesion[malignant])
        sensitivity = share.point, share.lower(confidence)
    ranked = (auroc, auroc_lower(auroc, counts[0], counts[1], confidence)) if auroc is not None else None
    title = "Sensitivity for malignant at the operating point"
    yield _at_least("min_auroc", "Malignant AUROC", ranked, config.gate_min_auroc, confidence, counts[0], is_first)
    yield _at_least("min_sensitivity", title, sensitivity, config.gate_min_sensitivity, confidence, counts[0], is_first)
    yield _calibration(config, calibration_error(images.right, images.confidence)[0], images.confidence)


def _calibration(config: PromotionSettings, error: float, confidence: npt.NDArray[np.float64]) -> Criterion:
    """Return the criterion of the calibration error beyond what a perfectly calibrated model shows on so many images.

    The estimate is biased upwards, the more the fewer images there are (Roelofs et al., "Mitigating bias in calibration
    error estimation", AISTATS 2022): a perfect model has some 0.2 on twenty images.
    """
    chance = _calibration_error_by_chance(confidence)
    bound, found = config.gate_max_calibration_error, float(np.maximum(error - chance, 0))  # not a number stays so
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
    """Return the expected calibration error that a perfectly calibrated model shows."""
    drawn = np.random.default_rng(0).random((_CALIBRATED_DRAWS, len(confidence))) < confidence
    in_bin = np.eye(RELIABILITY_BINS)[bin_of(confidence)]
    return float(np.abs((drawn - confidence) @ in_bin).sum(axis=1).mean() / len(confidence))


def _at_least(
    name: str,
    title: str,
    found: tuple[float, float] | None,
    bound: float,
    confidence: float,
    lesions: int,
    is_first: bool,
) -> Criterion:
    """Return the line of a floor. found: the figure and its one-sided lower bound; lesions: how many malignant ones it has.

    A first version whose figure reaches the floor and whose bound does not comes into service provisionally.
    """
    if found is None:
        sentence = f"{title} cannot be measured: malignant and other lesions must be held out. Add labelled images."
        unjudged: Unjudged = "not compared" if bound <= 0 else "too few to judge"
        return Criterion(name=name, title=title, passed=bound <= 0, unjudged=unjudged, bound=bound, sentence=sentence)
    figure, lower = found
    measured = f"{title} is {figure:.3f}"
    is_open = figure >= bound > lower
    if is_open:
        provisional = (
            "As there is no model in service, it may come into service provisionally."
            if is_first
            else "Add labelled images."
        )
        sentence = (
            f"{measured}, {in_percent(confidence)} sure above {lower:.3f}; it must be sure above {bound:g}. Too few malignant lesions to "
            f"judge: {lesions} held out. {provisional}"
        )
    else:
        sentence = (
            f"{measured}; at least {bound:g} is asked for{'.' if figure >= bound else ', of the first model too.'}"
        )
    return Criterion(
        name=name,
        title=title,
        passed=is_first if is_open else figure >= bound,
        unjudged="too few to judge" if is_open else None,
        found=figure,
        bound=bound,
        sentence=sentence,
        numbers={"lower": lower, "malignant_lesions": lesions},
    )


def _at_most(name: str, title: str, found: float, bound: float, measured: str, cure: str) -> Criterion:
    passed = found <= bound
    sentence = f"{measured}; at most {bound:g} is allowed{'.' if passed else f': it takes {cure}, or another bound.'}"
    return Criterion(name=name, title=title, passed=passed, found=found, bound=bound, sentence=sentence)
