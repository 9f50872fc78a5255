"""What people read of a stage's report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.trained import candidate_of, config_of
from tools.dag_runs import report_of

from skinlesion.foundation.stage_report import StageReport
from skinlesion.registry.metrics_record import MetricsRecord
from skinlesion.stages.pipeline import PREPARING, STAGES
from skinlesion.stages.sentences import duration, headline, sentence


@pytest.fixture(scope="module")
def reports(trained: Path) -> dict[str, StageReport]:
    """Return the reports of the run that made `trained`, by stage."""
    written = json.loads((trained / "report.json").read_text())["stages"]
    return {report["stage"]: StageReport.model_validate(report) for report in written}


def changed(report: StageReport, details: dict[str, Any] | None = None, **counts: int) -> StageReport:
    """Return the report with other counts and details."""
    return report.model_copy(update=counts | {"details": report.details | (details or {})})


def test_the_sentence_of_ingest_says_what_is_trained_on_and_what_is_held_out(reports: dict[str, StageReport]) -> None:
    ingest = reports["ingest"]
    said = sentence(ingest)
    assert said.startswith("64 images accepted, 0 refused: ")
    numbers = [int(word) for word in said.split() if word.isdigit()]
    assert numbers[2] + numbers[3] == 64


def test_ingest_says_why_images_were_refused_and_which_diagnoses_are_not_recognised(
    reports: dict[str, StageReport],
) -> None:
    words = dict.fromkeys(["melanocytoma", "naevoid", "lentigoid", "warty", "halooid"], 1)
    refused = {"not a readable image": 2}
    said = sentence(changed(reports["ingest"], {"unrecognised_dx": words, "refused_because": refused}, refused=2))
    assert "Refused: not a readable image (2)." in said
    assert "5 words for diagnoses not known: 5 images with them count as unknown: melanocytoma (1); naevoid (1)" in said
    assert "and 2 others" in said


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_has_a_sentence_after_work_and_after_none(reports: dict[str, StageReport], stage: str) -> None:
    report = reports[stage]
    for said in (sentence(report), sentence(changed(report, done=0, skipped=report.seen))):
        assert said[0].isupper() or said[0].isdigit()
        assert said.endswith(".")
        assert not any(mark in said for mark in ("=", "None", "{", "["))


@pytest.mark.parametrize("stage", ["resize", "augment", "embed", "build", "train", "evaluate"])
def test_a_stage_without_work_says_so(reports: dict[str, StageReport], stage: str) -> None:
    assert sentence(changed(reports[stage], done=0)).startswith(("Nothing to do: ", "No augmented copies"))


def test_collect_and_examine_count_files() -> None:
    sources: Any = {"drop_folder": {"arrived": 3, "already_there": 1, "waiting": 2, "failed": 1}}
    collect = StageReport(
        stage="collect", seen=7, done=3, skipped=3, refused=1, seconds=1, details={"sources": sources}
    )
    assert sentence(collect) == ("3 files arrived (drop folder); 1 was there already, 2 wait, 1 could not be taken.")
    assert "No source" in sentence(collect.model_copy(update={"details": {"sources": {}}}))
    examine = StageReport(stage=PREPARING[1], seen=7, done=7, skipped=0, refused=1, seconds=1)
    assert sentence(examine) == "7 image files read and checked. 1 of them cannot be used."


def test_a_report_survives_the_way_through_a_task_of_airflow(reports: dict[str, StageReport]) -> None:
    for report in reports.values():
        back = report_of(report.as_dict() | {"host": "here"})
        assert back.details.pop("host") == "here"
        assert back == report


def test_the_headline_has_the_intervals_and_where_everything_lies(trained: Path) -> None:
    candidate = candidate_of(trained, 1)
    metrics = MetricsRecord.read(candidate.metrics)
    many = {label: row.model_copy(update={"lesions": 30}) for label, row in metrics.per_class.items()}
    changes = {"balanced_accuracy": 0.5, "intervals": {"balanced_accuracy": [0.25, 0.75]}, "per_class": many}
    known = metrics.model_copy(update=changes)
    lines = headline(config_of(trained), known)
    assert lines["Balanced accuracy"] == "0.500 (95 % interval 0.250–0.750)"
    assert lines["Notes"].splitlines() == metrics.warnings
    assert lines["Model"] == str(trained / "models" / "skin_lesion_classifier_trained.h5")
    assert lines["Report"] == str(candidate.report)
    assert lines["Data report"] == str(trained / "dataset" / "data_report.html")
    other = headline(config_of(trained), MetricsRecord.read(candidate_of(trained, 2).metrics))
    assert other["Model"] == str(candidate_of(trained, 2).h5)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.04, "0.0 s"), (9.96, "10 s"), (59.7, "1:00 min"), (185, "3:05 min"), (7800, "2:10 h")]
)
def test_durations_are_short(seconds: float, said: str) -> None:
    assert duration(seconds) == said
