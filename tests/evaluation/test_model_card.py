"""The card answers what the three lists ask from the run's own records, is valid Markdown, and promises nothing it lacks."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from tests.evaluation.simulated import scored
from tests.measured import known, metrics_record
from tests.training_record import training_record

from skinlesion.data.labels.classes import LABELS, ClassCount
from skinlesion.evaluation.model_card import SECTIONS, code, render_model_card, text
from skinlesion.evaluation.model_metrics import model_metrics
from skinlesion.evaluation.paired import paired_differences
from skinlesion.evaluation.robustness import robustness
from skinlesion.evaluation.scored_images import ScoredImages
from skinlesion.evaluation.slices import measure_slices
from skinlesion.prediction.answers import Answers
from skinlesion.prediction.decision import DecisionRule
from skinlesion.registry.metrics_record import DiagnosisCount, MetricsRecord, ModelInService, SmokeSet

HOSTILE = "<script>alert('x')</script> | **bold** [link](http://evil.example) `code`\n# heading"
RULE = DecisionRule(
    temperature=1.4, malignant_threshold=0.2, target_sensitivity=0.95, least_confidence=0.4, coverage=0.9,
    most_distance=7.5, class_shares=(0.5, 0.3, 0.2), inner_fold={"ece_before": 0.1, "ece_after": 0.02},
)  # fmt: skip


def metrics_of(images: ScoredImages, rule: DecisionRule, **changes: Any) -> MetricsRecord:
    n = len(images)
    distances = np.where(np.arange(n) % 10, 1.0, 9.0)
    decisions = [one.decision for one in rule.decide(images.probabilities, distances)]
    answers = Answers(images.probabilities, distances, decisions, [""] * n)
    table = pd.DataFrame({"sex": ["male", "female"] * (n // 2) + ["male"] * (n % 2), "source": HOSTILE})
    sides = [(label, split) for label in LABELS for split in ("train", "held_out")]
    data = {
        "counts": [ClassCount(label=label, split=split, images=7, lesions=5) for label, split in sides],
        "diagnoses": [
            DiagnosisCount(dx="mel", label="malignant", train=6, held_out=2),
            DiagnosisCount(dx=HOSTILE, label="unknown", train=1, held_out=0),
            DiagnosisCount(dx="", label="unknown", train=1, held_out=0),
        ],
        "recorded_share": {"age": 0.99, "lesion_id": 1.0},
        "refused_total": 3,
        "refused_by_reason": {"truncated": 2, HOSTILE: 1},
        "notes": [HOSTILE],
    }
    given = {
        **dict(model_metrics(images, rule, answers)),
        "run": "run1",
        "out_of_distribution": SmokeSet(pictures=300, unknown_share=0.97, by_kind=[]),
        "slices": measure_slices(images, table, threshold=0.2),
        "data": metrics_record().data.model_copy(update=data),
    }
    return metrics_record(**(given | changes))


TRAINING = training_record(
    "run1",
    settings={"seed": 0, "weights": HOSTILE, "actinic_keratosis": "indeterminate", "drop_folder": ""},
    weights_key="e94e",
    images=800,
    lesions=600,
    history=[{"epoch": 0}] * 16,
    inner_fold={"images": 80, "lesions": 60},
    class_weights={"benign": 0.75, "malignant": 1.67, "unknown": 3.75},
    packages={"keras": "3.15.1"},
    git_revision="abc123",
    sha256={"model.tflite": "0123abcd"},
)


def card(metrics: MetricsRecord, rule: DecisionRule = RULE) -> str:
    return render_model_card("2025-01-01T00:00:00+00:00", metrics, TRAINING, rule, {"seed", "weights"})


def parsed(markdown: str) -> str:
    """The card as HTML, of which raw HTML would be shown as such."""
    html: str = MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown)
    return html


@pytest.fixture(scope="module")
def whole() -> str:
    images = scored(120)
    sample = images.labels[:9]
    names = [str(at) for at in range(9)]
    curves = robustness(sample, names, np.tile(images.probabilities[:9], (18, 1)), images.labels)
    other = scored(120, 1).probabilities[np.argsort(scored(120, 1).labels, kind="stable")]
    paired = paired_differences(images, ScoredImages(images.labels, other, images.groups), (0.2, 0.2))
    service = ModelInService(**dict(metrics_of(images, RULE)) | {"run": "older"})
    return card(metrics_of(images, RULE, robustness=curves, paired=paired, model_in_service=service))


def test_every_section_is_there_and_maps_to_items_of_the_three_lists(whole: str) -> None:
    headings = re.findall(r"^## (.+)$", whole, flags=re.M)
    sections = [section.title for section in SECTIONS.values()]
    assert headings == ["At a glance", "How to use", *sections, "Reporting items", "Citation"]
    table = whole[whole.index("## Reporting items") :]
    for section in SECTIONS.values():
        assert f"| {section.title} | {section.clear_derm} | {section.tripod} | {section.mi_claim} |" in table
    for needed in ("not a medical device", "skin tone is not assessed", "cc by-nc", "git revision"):
        assert needed in whole.lower()


def test_each_item_of_tripod_ai_is_either_mapped_or_named_as_not_answered(whole: str) -> None:
    tail = whole[whole.index("Not answered by this card") :]
    named = ", ".join(section.tripod for section in SECTIONS.values()) + "; " + tail[tail.index("TRIPOD+AI") :]
    for item in range(1, 28):
        assert re.search(rf"\b{item}[a-g]?\b", named), item


def test_the_tables_are_tables_and_nothing_is_half_rendered(whole: str) -> None:
    html = parsed(whole)
    text_alone = re.sub(r"<[^>]+>", "", html)
    assert "|--" not in text_alone and "{{" not in whole and "{%" not in whole and "None" not in text_alone
    for row in re.findall(r"<table>.*?</table>", html, flags=re.S):
        cells = {len(re.findall(r"<t[hd]", line)) for line in re.findall(r"<tr>.*?</tr>", row, flags=re.S)}
        assert len(cells) == 1, row
    assert html.count("<table>") >= 10


def test_the_users_text_is_shown_and_never_obeyed(whole: str) -> None:
    html = parsed(whole)
    assert not {"script", "a", "img", "strike"} & set(re.findall(r"<([a-z0-9]+)", html))
    assert html.count("alert(") >= 5
    assert "<h1>heading</h1>" not in html


def test_the_figures_stand_with_their_intervals() -> None:
    metrics = metrics_of(scored(120), RULE)
    low, high = known(metrics.intervals["balanced_accuracy"])
    written = card(metrics)
    assert f"| Balanced accuracy | {metrics.balanced_accuracy:.3f} ({low:.3f}–{high:.3f}) |" in written
    assert f"| Sensitivity for malignant | {metrics.operating_point.sensitivity:.3f} (" in written
    assert "97.0% get no answer or are called unknown" in written
    assert "distance above 7.50" in written


def test_a_card_says_why_robustness_was_not_measured() -> None:
    written = card(metrics_of(scored(120), RULE, robustness=None))
    assert "`robustness_lesions` is 0" in written
    parsed(written)


@pytest.mark.parametrize(("n", "classes"), [(1, 1), (2, 2), (30, 1)])
def test_tiny_and_one_sided_sets_have_a_card(n: int, classes: int) -> None:
    written = card(metrics_of(scored(n, classes=classes), RULE))
    assert not re.search(r"\bnan\b", written)
    assert "| Malignant AUROC | not measured |" in written or classes > 1
    assert n > 2 or "| Accuracy | too few lesions to judge" in written


def test_a_set_of_which_nothing_is_recorded_has_no_groups() -> None:
    assert "Neither sex, age, site nor source is recorded" in card(metrics_of(scored(120), RULE, slices=[]))


@pytest.mark.parametrize("hostile", [HOSTILE, "a\\", "a | b", "&lt;b&gt;", "---", "1. x\n2. y", "~~x~~ ![i](j)"])
def test_escaped_text_reads_as_it_was_within_a_table(hostile: str) -> None:
    for escape in (text, code):
        html = parsed(f"| a | b |\n|---|---|\n| {escape(hostile)} | end |\n")
        assert re.findall(r"<td>(end)</td>", html) == ["end"]
        assert html.count("<td>") == 2
        assert not re.search(r"<(script|strong|em|a|img|b|s)\b", html)
