"""The report stands alone, says what it must, and shows hostile text as text."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.evaluation.simulated import scored
from tests.html_page import HOSTILE, Page
from tests.measured import known, metrics_record, model_figures
from tests.training_record import training_record

from skinlesion.data.finding import LinkedReport
from skinlesion.data.labels.classes import ClassCount
from skinlesion.evaluation.html_report import ReportContext, compared, render_report
from skinlesion.evaluation.mistakes import Mistake
from skinlesion.evaluation.plots import all_pngs
from skinlesion.evaluation.slices import measure_slices
from skinlesion.registry.figure import Figure
from skinlesion.registry.metrics_record import (
    DataSummary,
    LeftOut,
    MetricsRecord,
    ModelFigures,
    ModelInService,
    PairedFigure,
    RefusedImage,
    Slice,
)

PLOTS = {name: name.encode() for name in ("confusion_matrix", "roc", "reliability", "risk_coverage", "history")}
"""Drawing takes a second; tests/evaluation/test_plots.py looks at what is drawn."""


@cache
def measured(seed: int = 0, classes: int = 3) -> ModelFigures:
    random = np.random.default_rng(seed)
    labels = random.integers(classes, size=150)
    return model_figures(labels, random.dirichlet([1, 1, 1], size=150), [str(at // 2) for at in range(150)])


def in_service(**changes: Any) -> ModelInService:
    return ModelInService(**(dict(measured(seed=5)) | {"run": "older"} | changes))


@cache
def sliced() -> tuple[Slice, ...]:
    table = pd.DataFrame({"age_band": ["20-39"] * 80 + ["80+"] * 10, "sex": ["male", None] * 45})
    return tuple(measure_slices(scored(90, 1, lesions=90), table, threshold=0.3))


def data(**changes: Any) -> DataSummary:
    counts = [
        ClassCount(label="benign", split="test", images=11, lesions=7),
        ClassCount(label="benign", split="train", images=1040, lesions=30),
        ClassCount(label="malignant", split="train", images=5, lesions=4),
    ]
    given = {
        "counts": counts,
        "refused": [RefusedImage(image=name, reason="truncated") for name in "ab"],
        "refused_total": 2,
        "refused_by_reason": {"truncated": 2},
        "notes": ["0 lesions on both sides of the split (checked)"],
    }
    return metrics_record().data.model_copy(update=given | changes)


def metrics(figures: ModelFigures | None = None, **changes: Any) -> MetricsRecord:
    given = {"run": "manual__2025-01-01", "slices": list(sliced()), "data": data(), "model_in_service": in_service()}
    return metrics_record(**(dict(figures or measured()) | given | changes))


def context(record: MetricsRecord | None = None, **changes: Any) -> ReportContext:
    given: dict[str, Any] = {
        "created": "2025-01-01T02:03:04+00:00",
        "training": training_record("run"),
        "mistakes": [Mistake("ISIC_1", "nv", "benign", "malignant", 0.97, b"1", "malignant", b"2")],
    }
    return ReportContext(metrics=record or metrics(), **({"plots": PLOTS} | given | changes))


def test_the_report_leads_with_both_headlines_their_intervals_and_the_notice() -> None:
    page = Page(render_report(context()))
    figures = measured()
    for name in ("balanced_accuracy", "malignant_auroc"):
        low, high = known(figures.intervals[name])
        assert f"{getattr(figures, name):.3f}" in page.text
        assert f"95% interval {low:.3f}–{high:.3f}" in page.text
    assert "images of 75 lesions" in page.text
    assert "Research and education only. Not a medical device." in page.text
    assert "ISIC Archive" in page.text
    assert page.text.index("Not a medical device") < page.text.index("Malignant AUROC")


def test_the_report_loads_nothing_and_runs_nothing() -> None:
    html = render_report(context())
    page = Page(html)
    loading = [value for name, value in page.attributes if name in {"src", "href", "srcset", "data", "action"}]
    ids = {f"#{value}" for name, value in page.attributes if name == "id"}
    within = [value for value in loading if value.startswith("#")]
    assert within and set(within) <= ids, "the contents lead to sections"
    loading = [value for value in loading if value not in (*within, "model_card.md", "metrics.json")]
    assert loading
    assert all(value.startswith("data:image/") for value in loading)
    assert not {"script", "link", "iframe", "object", "base"} & set(page.tags)
    assert not re.search(r"url\(|@import|https?:", html)


def test_the_report_links_to_that_of_its_data_and_says_what_was_accepted() -> None:
    report = LinkedReport(file="data_report.html", verdict="accepted", beyond=["35 of 70 images are gone."])
    page = Page(render_report(context(metrics(data=data(report=report)))))
    assert ("href", "data_report.html") in page.attributes
    assert "Its checks: accepted. Accepted for this run: 35 of 70 images are gone." in page.text
    assert ("href", "data_report.html") not in Page(render_report(context())).attributes


def test_hostile_text_is_shown_and_never_obeyed() -> None:
    figures: dict[str, Any] = {
        "run": HOSTILE,
        "warnings": [HOSTILE],
        "slices": [sliced()[0].model_copy(update={"column": HOSTILE, "value": HOSTILE})],
        "data": data(
            refused=[RefusedImage(image=HOSTILE, reason=HOSTILE)],
            refused_by_reason={HOSTILE: 1},
            notes=[HOSTILE],
            counts=[ClassCount(label=HOSTILE, split=HOSTILE, images=1, lesions=1)],
        ),
    }
    hostile = context(
        metrics(**figures),
        created=HOSTILE,
        training=training_record("run", settings={HOSTILE: HOSTILE}, git_revision=HOSTILE),
        mistakes=[Mistake(HOSTILE, HOSTILE, HOSTILE, "benign", 1.0, b"", HOSTILE, b"")],
    )
    page = Page(render_report(hostile))
    assert "script" not in page.tags
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert all(value.startswith("data:image/") for name, value in page.attributes if name == "src")
    # In the browser's title, then once or more for each place above.
    assert page.text.count("<script>alert(") + page.text.count("<script>Alert(") >= 19


def test_the_model_in_service_stands_beside_with_the_difference() -> None:
    old = in_service(balanced_accuracy=0.65, log_loss=0.4, malignant_auroc=0.8)
    sure = PairedFigure(difference=0.05, interval=[0.01, 0.09], verdict="better")
    paired = {"balanced_accuracy": sure}
    new = metrics(balanced_accuracy=0.70, log_loss=0.5, malignant_auroc=None, model_in_service=old, paired=paired)
    text = Page(render_report(context(new))).text
    assert re.search(r"Balanced accuracy 0\.700.* 0\.650.* \+0\.050 \+0\.010 to \+0\.090 better", text)
    # It has no interval: it said "worse", and "better" the other way round, of what may be chance.
    assert re.search(r"Log loss 0\.500 0\.400 \+0\.100 cannot be told", text)
    assert "Malignant AUROC not measured" in text


@pytest.mark.parametrize("value", [0.3, 0.5, 0.7])
def test_without_an_interval_no_row_says_which_model_is_better(value: float) -> None:
    new = metrics(log_loss=0.5, model_in_service=in_service(log_loss=value), paired={})
    rows = compared(new)
    assert all(row.difference.low is None for row in rows)
    assert {row.verdict for row in rows if row.new.is_shown and row.old.is_shown} == {"cannot be told"}


def test_the_report_and_the_card_say_what_was_left_out_of_the_comparison() -> None:
    left_out = LeftOut(images=3, lesions=2, of_images=27)
    old = in_service(images=24, lesions=20, left_out=left_out, candidate=metrics(balanced_accuracy=0.6))
    text = Page(render_report(context(metrics(balanced_accuracy=0.9, model_in_service=old)))).text
    assert "3 of 27 held-out images, of 2 lesions, are left out" in text
    assert "Both columns are of the 24 others, of 20 lesions." in text
    assert re.search(r"Balanced accuracy 0\.600", text)


def test_the_report_says_why_there_is_no_comparison() -> None:
    alone = metrics(model_in_service=None, not_compared="What is left is too few to judge.")
    text = Page(render_report(context(alone))).text
    assert "Not compared. What is left is too few to judge." in text
    assert "There is no model in service" not in text


@pytest.mark.parametrize("classes", [1, 2])
def test_missing_classes_are_reported_and_not_drawn_over(classes: int) -> None:
    page = Page(render_report(context(metrics(measured(classes=classes), model_in_service=None))))
    assert "No held-out image is of class unknown: its recall is not measured." in page.text
    assert ("not measured" in page.text) and (("ROC curve" in page.text) == (classes == 2))


def test_a_report_without_the_optional_parts_is_still_whole() -> None:
    record = metrics_record(**dict(measured()))
    training = training_record("run")
    bare = ReportContext("2025-01-01T00:00:00+00:00", record, training, all_pngs(record, training.history))
    page = Page(render_report(bare))
    assert "Balanced accuracy" in page.text
    assert "No image was refused." in page.text
    for heading in ("By group", "By diagnosis", "Worst mistakes"):
        assert heading not in page.text


def test_refused_images_are_counted_by_reason_and_the_long_list_is_cut() -> None:
    refused = [RefusedImage(image=f"i{number}", reason="truncated") for number in range(250)]
    counts = {"refused_total": 1250, "refused_by_reason": {"no dx": 50, "truncated": 1200}}
    page = Page(render_report(context(metrics(data=data(refused=refused, **counts)))))
    assert "1,250 images were refused: 1,200 × truncated 50 × no dx" in page.text
    assert "(the first 200)" in page.text
    assert "i249" not in page.text


def test_the_counts_are_totalled_with_training_first() -> None:
    text = Page(render_report(context())).text
    assert "Class train test" in text
    assert "Total 1,045 34 11 7" in text


def test_columns_of_slices_keep_their_order_and_incomparable_figures_are_marked() -> None:
    first, *others = sliced()
    shown = Figure(value=0.4321, lesions=40)
    changes = {"classes": ["benign", "unknown"], "figures": first.figures | {"balanced_accuracy": shown}}
    of_two_classes = first.model_copy(update=changes)
    text = Page(render_report(context(metrics(slices=[of_two_classes, *others])))).text
    assert text.index("Age band") < text.index("Sex")
    assert "0.432*" in text
