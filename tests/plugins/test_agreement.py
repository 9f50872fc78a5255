"""Report, card, API, models page, version page, question to approve and command line say the same, word for word."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from tests.measured import known, metrics_record
from tests.plugins.page_form import PAGE, BrowserOf
from tests.prediction.real_server import wait_until
from tests.trained import skinlesion
from tests.training_record import training_record, write_training_record
from tests.two_classifiers import RULE

from skinlesion.evaluation.html_report import ReportContext, render_report
from skinlesion.evaluation.model_card import render_model_card
from skinlesion.evaluation.model_metrics import model_metrics
from skinlesion.evaluation.scored_images import ScoredImages
from skinlesion.evaluation.slices import measure_slices
from skinlesion.foundation import layout
from skinlesion.prediction.answers import Answers
from skinlesion.prediction.decision import DecisionRule
from skinlesion.prediction.serving.app import create_app
from skinlesion.prediction.serving.settings import ServerSettings
from skinlesion.promotion.approval_text import approval_text
from skinlesion.promotion.decide import Judgement
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.figure import FEWEST_LESIONS
from skinlesion.registry.metrics_record import MetricsRecord
from skinlesion.registry.register import register
from skinlesion.registry.snapshot import Registry
from skinlesion.registry.switch import promote
from skinlesion.registry.versions import FIGURES
from skinlesion.stages.settings import PipelineConfig

if TYPE_CHECKING:
    pass

PLOTS = dict.fromkeys(("confusion_matrix", "roc", "reliability", "risk_coverage", "history"), b"")
NO_DISTANCE = "The model gives no distance: too few training images."


@dataclass(frozen=True)
class Case:
    """What is held out, and whether a model is in service already."""

    malignant: int
    unknown: int = 40
    has_champion: bool = True
    warnings: tuple[str, ...] = ()


CASES = {
    "3 malignant lesions": Case(3),
    "30 malignant lesions": Case(30, warnings=(NO_DISTANCE,)),
    "300 malignant lesions": Case(300),
    "a class is missing": Case(30, unknown=0),
    "no malignant lesion": Case(0),
    "no champion": Case(30, has_champion=False, warnings=(NO_DISTANCE,)),
}


def metrics_of(case: Case, rule: DecisionRule) -> MetricsRecord:
    random = np.random.default_rng(case.malignant)
    labels = np.repeat([0, 1, 2], [90, case.malignant, case.unknown])
    probabilities = np.eye(3)[labels] * 0.35 + random.dirichlet([1, 1, 1], size=len(labels)) * 0.65
    scored = ScoredImages.of(labels, probabilities, [str(at) for at in range(len(labels))])
    decided = rule.decide(probabilities)
    answers = Answers(
        probabilities, np.zeros(len(labels)), [one.decision for one in decided], [one.reason for one in decided]
    )
    figures = model_metrics(scored, rule, answers, [("nv", "mel", "ak")[label] for label in labels])
    sex = pd.DataFrame({"sex": ["female", "male"] * (len(labels) // 2) + ["male"] * (len(labels) % 2)})
    return metrics_record(
        **dict(figures.model_copy(update={"warnings": [*rule.warnings, *figures.warnings]})),
        slices=measure_slices(scored, sex, threshold=rule.malignant_threshold),
    )


def add(models: Path, run: str, case: Case, classifier: Path) -> tuple[int, MetricsRecord]:
    """Make a candidate with the report and the card of these records; return its version and its metrics."""
    candidate = Candidate(layout.candidate(models, run))
    candidate.folder.mkdir(parents=True)
    for path, name in zip(
        candidate.models, ("skin_lesion_classifier_trained.h5", "model.keras", "*.tflite"), strict=True
    ):
        shutil.copyfile(next(classifier.glob(name)), path)
    rule = DecisionRule.of(
        RULE | {"malignant_lesions": case.malignant, "least_confidence": 0.4, "warnings": list(case.warnings)}, run
    )
    rule.write(candidate.decision_rule)
    write_training_record(candidate)
    metrics = metrics_of(case, rule).model_copy(update={"run": run})
    metrics.write(candidate.metrics)
    created = "2026-11-29T20:00:00+00:00"
    training = training_record(run)
    candidate.report.write_text(render_report(ReportContext(created, metrics, training, PLOTS)))
    candidate.model_card.write_text(render_model_card(created, metrics, training, rule))
    return register(models, candidate, metrics).number, metrics


def said(text: str) -> str:
    """Return what a person reads: tags away, entities and Markdown's escapes resolved, blanks joined."""
    plain = html.unescape(re.sub(r"<(?:style|title)>.*?</(?:style|title)>|<[^>]+>", " ", text, flags=re.DOTALL))
    return " ".join(re.sub(r"\\(?=[^\w\s])", "", plain).split())


@dataclass(frozen=True)
class Shown:
    """What each surface says of a version, by name; `api` is also what the prediction page shows."""

    metrics: MetricsRecord
    rule: DecisionRule
    by_name: dict[str, str]
    api: dict[str, Any]


@pytest.fixture(params=CASES.values(), ids=list(CASES))
def shown(
    request: pytest.FixtureRequest,
    empty_models: Path,
    two_classifiers: Path,
    browser_of: BrowserOf,
) -> Iterator[Shown]:
    from starlette.testclient import TestClient

    case, models = request.param, empty_models
    if case.has_champion:
        before, _ = add(models, "before", Case(300), two_classifiers / "b")
        promote(models, before, actor="ann", reason="It is the first")
    number, metrics = add(models, "run", case, two_classifiers / "a")
    judgement = Judgement(
        version=number, run="run", next="nothing", judged_now=True, passed=True, against=None, sentence="It passes."
    )
    question = approval_text(Registry.read(models), judgement, "link")
    page = browser_of("vic")
    by_name = {
        "models page": page.get(f"{PAGE}/").text,
        "version page": page.get(f"{PAGE}/versions/{number}").text,
        "report": page.get(f"{PAGE}/versions/{number}/report.html").text,
        "card": page.get(f"{PAGE}/versions/{number}/model_card.md").text,
        "question": question.replace("|", " "),
    }
    for words in (("show", number), ("list",)):
        by_name[f"models {words[0]}"] = skinlesion("models", *words).stdout
    promote(models, number, actor="ann", reason="To serve it")
    config = PipelineConfig.of({"models": models})
    with TestClient(create_app(config, ServerSettings()), base_url="http://localhost") as client:
        wait_until(lambda: client.get("/v1/model").status_code != 503)
        api = client.get("/v1/model").raise_for_status().json()
    rule = DecisionRule.read(Candidate(layout.candidate(models, "run")).decision_rule)
    yield Shown(metrics, rule, {name: said(text) for name, text in by_name.items()}, api)


def test_every_surface_says_the_same_and_none_shows_a_figure_on_too_few_lesions(shown: Shown) -> None:
    _require_the_same(shown)
    _require_none_on_too_few(shown)


def _require_the_same(shown: Shown) -> None:
    metrics, by_name = shown.metrics, shown.by_name
    for name, title in FIGURES.items():
        figure = metrics.figure(name)
        assert shown.api["figures"]["headline"][name]["text"] == figure.text
        has_three = ("balanced_accuracy", "malignant_auroc", "sensitivity")
        for surface in ("card", "question", "models show", *(["models list"] if name in has_three else [])):
            assert figure.text in by_name[surface], f"{title} in {surface}"
        for surface in ("models page", "version page"):
            assert f"{figure.number} {figure.interval}".strip() in by_name[surface], f"{title} in {surface}"
        assert f"{title} {figure.number}" in by_name["report"], title
        assert figure.interval in by_name["report"]
    decisions = known(metrics.decisions)
    for text in (decisions.account.sentence, metrics.guessing):
        assert text in by_name["report"] and text in by_name["card"]
    assert shown.api["figures"]["malignant_lesions"] == decisions.account.sentence
    assert decisions.account.meaning("malignant") in by_name["card"]
    assert shown.rule.chosen in by_name["card"] and shown.rule.chosen in by_name["report"]
    assert shown.api["decision_rule"]["chosen"] == shown.rule.chosen
    assert shown.api["warnings"] == metrics.warnings
    for sentence in metrics.warnings:
        for surface in ("report", "card", "version page", "question", "models show"):
            assert sentence in by_name[surface], f"{sentence!r} in {surface}"


def _require_none_on_too_few(shown: Shown) -> None:
    metrics = shown.metrics
    few = [name for name in FIGURES if metrics.figure(name).has_too_few]
    malignant = metrics.per_class["malignant"].lesions
    assert ("sensitivity" in few) == (0 < malignant < FEWEST_LESIONS)
    headline = shown.api["figures"]["headline"]
    for name in few:
        says = f"too few lesions to judge ({metrics.lesions_behind(name)})"
        assert headline[name]["text"] == says and "value" not in headline[name]
        for surface, text in shown.by_name.items():
            assert says in text or surface == "models list", f"{name} in {surface}"
        interval = metrics.intervals.get(name)
        if interval is not None:
            hidden = f"{interval[0]:.3f}–{interval[1]:.3f}"
            for surface, text in shown.by_name.items():
                assert hidden not in text, f"{name} in {surface}"
    assert json.dumps(shown.api)
