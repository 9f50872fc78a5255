"""Nights of skin_lesion_retrain, and skin_lesion_promote after them, run for real by `dag.test()` on a small data set."""

from __future__ import annotations

import dataclasses
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.dags.run_dag import RunDag
from tests.measured import known

from skinlesion.data.sources.drawn.sample import write_sample
from skinlesion.registry.snapshot import Registry
from skinlesion.stages.pipeline import NIGHTLY, SHARDED

AT_FIRST, ALL = 40, 48
"""Images of the first night, and of the night on which more have arrived."""

FAST = {"weights": "random", "fine_tune": "none", "epochs": 2}


@dataclass(frozen=True)
class Night:
    """What came of a run, and the model that was in service before and after."""

    state: str
    tasks: dict[str, list[tuple[str, int]]]
    """State and number of tries, by task, one for each shard."""
    xcoms: dict[str, list[str]]
    reports: dict[str, list[dict[str, Any]]]
    assets: dict[str, dict[str, Any]]
    notices: list[str]
    note: str | None
    started: list[dict[str, Any]]
    log: str
    before: bytes | None
    after: bytes | None

    def count(self, stage: str, what: str) -> int:
        """Return `done`, `refused`, ... of a stage, over its shards."""
        return sum(report[what] for report in self.reports[stage])


@dataclass(frozen=True)
class House:
    """Where a run reads and writes."""

    dataset: Path
    models: Path
    run_dag: RunDag

    @property
    def in_service(self) -> bytes | None:
        """Return the model in service, or None."""
        path = self.models / "skin_lesion_classifier_trained.h5"
        return path.read_bytes() if path.exists() else None

    def arrive(self, rows: list[str], pictures: Path) -> None:
        """Add rows to diagnoses.csv, and the pictures that they name."""
        labels = self.dataset / "diagnoses.csv"
        labels.write_text("\n".join([*labels.read_text().splitlines(), *rows]) + "\n")
        for row in rows:
            shutil.copy2(pictures / f"{row.split(',')[0]}.jpg", self.dataset / "images")

    def retrain(self, fail_once: str | None = None, **settings: Any) -> Night:
        """Run the nightly DAG."""
        return self.run("skin_lesion_retrain", fail_once, **FAST | settings)

    def promote(self, fail_once: str | None = None, **settings: Any) -> Night:
        """Run the DAG that follows a night."""
        return self.run("skin_lesion_promote", fail_once, **settings)

    def run(self, dag_id: str, fail_once: str | None, **settings: Any) -> Night:
        """Run a DAG on this data set and these models."""
        before = self.in_service
        places = {"SKINLESION_DATASET": str(self.dataset), "SKINLESION_MODELS": str(self.models)}
        found = self.run_dag(dag_id, settings, fail_once, places)
        tasks: dict[str, list[tuple[str, int]]] = {}
        for task in found.pop("tasks"):
            tasks.setdefault(task["task"], []).append((task["state"], task["tries"]))
        return Night(tasks=tasks, before=before, after=self.in_service, **found)


# Each night finds what the one before has left, so they are made in this order whatever test asks first.


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder, images=ALL, size=(120, 90))
    return folder


@pytest.fixture(scope="module")
def rows(sample: Path) -> list[str]:
    return (sample / "diagnoses.csv").read_text().splitlines()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, sample: Path, rows: list[str], run_dag: RunDag) -> House:
    root = tmp_path_factory.mktemp("house")
    house = House(root / "dataset", root / "models", run_dag)
    (house.dataset / "images").mkdir(parents=True)
    (house.dataset / "diagnoses.csv").write_text(rows[0] + "\n")
    house.arrive(rows[1 : AT_FIRST + 1], sample / "images")
    return house


@pytest.fixture(scope="module")
def first_night(house: House) -> Night:
    return house.retrain()


LOW_FLOORS: dict[str, Any] = {"gate_min_auroc": 0, "gate_min_sensitivity": 0, "gate_max_calibration_error": 1}
"""Random weights on 40 images learn next to nothing."""


@pytest.fixture(scope="module")
def lost_promotion(house: House, first_night: Night) -> Night:
    return house.promote(gate_max_size=0.001)


@pytest.fixture(scope="module")
def promotion_asked_again(house: House, lost_promotion: Night) -> Night:
    return house.promote(**LOW_FLOORS)


@pytest.fixture(scope="module")
def promotion(house: House, promotion_asked_again: Night) -> Night:
    """A person asks for version 1, with floors that it reaches; and once the disk is full when it is put in service."""
    return house.promote("switch_to", **LOW_FLOORS, version=1)


@pytest.fixture(scope="module")
def quiet_night(house: House, promotion: Night) -> Night:
    """The DAG that follows a night has found nothing to decide, with the installation's own settings."""
    house.promote()
    return house.retrain()


@pytest.fixture(scope="module")
def damaged_night(house: House, quiet_night: Night) -> Night:
    """Somebody has damaged a file of the model in service; nothing else is new."""
    rule = (house.models / "in_service").resolve() / "decision_rule.json"
    rule.chmod(0o644)
    rule.write_text("{}")
    return house.retrain()


@pytest.fixture(scope="module")
def damaged_promotion(house: House, damaged_night: Night) -> Night:
    return house.promote()


@pytest.fixture(scope="module")
def night_with_a_damaged_image(
    house: House, damaged_promotion: Night, tmp_path_factory: pytest.TempPathFactory
) -> Night:
    scratch = tmp_path_factory.mktemp("damaged")
    (scratch / "ISIC_8000000.jpg").write_bytes(b"not a picture")
    house.arrive(["ISIC_8000000,nv,IL_8000000,50,female,back"], scratch)
    return house.retrain()


@pytest.fixture(scope="module")
def night_on_two_shards(house: House, night_with_a_damaged_image: Night, sample: Path, rows: list[str]) -> Night:
    """New images have arrived, and once a shard of embed meets a full disk."""
    house.arrive(rows[AT_FIRST + 1 :], sample / "images")
    return house.retrain("embed", shards=2)


@pytest.fixture(scope="module")
def wrong_labels(house: House, first_night: Night, sample: Path, tmp_path_factory: pytest.TempPathFactory) -> House:
    """Somebody has put a table without diagnoses in place; the models are those of the other nights."""
    dataset = tmp_path_factory.mktemp("wrong") / "dataset"
    shutil.copytree(sample / "images", dataset / "images")
    labels = (sample / "diagnoses.csv").read_text()
    (dataset / "diagnoses.csv").write_text(labels.replace("image,dx,", "image,what,", 1))
    return dataclasses.replace(house, dataset=dataset)


@pytest.fixture(scope="module")
def night_with_wrong_labels(wrong_labels: House) -> Night:
    return wrong_labels.retrain()


def test_the_first_night_runs_every_stage_at_the_first_try(first_night: Night) -> None:
    assert first_night.state == "success"
    assert first_night.tasks == {stage: [("success", 1)] for stage in NIGHTLY}
    assert first_night.notices == []


def test_each_report_is_one_xcom(first_night: Night) -> None:
    assert first_night.xcoms == {stage: ["return_value"] for stage in NIGHTLY} | {"collect": ["report", "return_value"]}
    for stage in NIGHTLY:
        (report,) = first_night.reports[stage]
        assert report["stage"] == stage
        assert report["refused"] == 0
        if stage not in ("collect", "ingest"):
            assert report["seen"] == report["done"] > 0
            assert report["skipped"] == 0


def test_the_first_night_leaves_a_candidate_with_a_report_and_puts_nothing_in_service(
    first_night: Night, house: House
) -> None:
    assert first_night.before is first_night.after is None
    run = first_night.reports["train"][0]["run"]
    candidate = house.models / "candidates" / run
    assert "<html" in (candidate / "report.html").read_text()
    assert (house.models / "skin_lesion_classifier.h5").is_file()


def test_the_first_night_tells_what_its_assets_hold(first_night: Night, house: House) -> None:
    (ingest,), (evaluate,) = first_night.reports["ingest"], first_night.reports["evaluate"]
    assert first_night.assets == {
        "skin_lesion_catalog": {"data_version": ingest["data_version"]},
        "skin_lesion_candidate": {
            "run": first_night.reports["train"][0]["run"],
            "version": 1,
            "report": evaluate["report"],
        },
    }
    assert Path(evaluate["report"]).is_relative_to(house.models)


def test_a_run_that_names_a_place_fails_and_touches_nothing(house: House, tmp_path: Path) -> None:
    """Lost otherwise: such a run moved files of the other place, and read what the worker's user may read there."""
    (tmp_path / "theirs.jpg").write_bytes(b"theirs")
    night = house.run("skin_lesion_retrain", None, models=str(tmp_path))
    assert night.state == "failed"
    assert night.tasks["collect"] == [("failed", 1)]
    assert [path.name for path in tmp_path.iterdir()] == ["theirs.jpg"]
    assert "`models` belongs to the installation" in (night.note or "")


def test_a_version_that_loses_at_the_gate_is_a_finished_run(lost_promotion: Night) -> None:
    assert lost_promotion.state == "success"
    assert lost_promotion.before is lost_promotion.after is None
    states = {task: tries[0][0] for task, tries in lost_promotion.tasks.items()}
    ran, skipped = ("gate", "log_candidate", "conclude", "log_outcome"), ("approval", "switch")
    assert states == dict.fromkeys(ran, "success") | dict.fromkeys(skipped, "skipped")
    (notice,) = lost_promotion.notices
    assert "at most 0.001 is allowed" in notice
    assert "skinlesion models promote 1" in notice


def test_the_same_version_is_not_judged_again_and_nobody_is_told_again(promotion_asked_again: Night) -> None:
    assert promotion_asked_again.state == "success"
    assert promotion_asked_again.after is None
    assert promotion_asked_again.notices == []


def test_a_version_that_passes_comes_into_service(promotion: Night, first_night: Night, house: House) -> None:
    assert promotion.state == "success"
    run = first_night.reports["train"][0]["run"]
    assert promotion.before is None
    assert promotion.after == (house.models / "candidates" / run / "skin_lesion_classifier_trained.h5").read_bytes()
    (notice,) = promotion.notices
    assert "It is in service now" in notice


def test_a_full_disk_at_the_switch_is_retried_and_switches_once(promotion: Night, house: House) -> None:
    assert promotion.tasks["switch"] == [("success", 2)]
    history = [(entry.what, entry.version) for entry in reversed(Registry.read(house.models).history)]
    assert history[:3] == [("judged", 1), ("judged", 1), ("promoted", 1)]


def test_a_night_without_new_images_is_one_look_and_its_note_says_so(quiet_night: Night) -> None:
    assert quiet_night.state == "success"
    assert {stage: states[0][0] for stage, states in quiet_night.tasks.items()} == {
        stage: "success" if stage == "collect" else "skipped" for stage in NIGHTLY
    }
    assert quiet_night.after == quiet_night.before
    assert quiet_night.assets == {}
    assert quiet_night.note is not None and quiet_night.note.startswith("**Skipped: nothing new.**")


def test_a_damaged_model_in_service_is_no_quiet_night_and_is_put_there_anew(
    damaged_night: Night, damaged_promotion: Night, house: House
) -> None:
    assert damaged_night.tasks["evaluate"] == [("success", 1)]
    nothing_to_do = ("examine", "ingest", "resize", "augment", "organize", "build", "embed", "train")
    assert {damaged_night.count(stage, "done") for stage in nothing_to_do} == {0}
    assert damaged_night.note is None
    assert "skin_lesion_candidate" in damaged_night.assets
    assert damaged_promotion.state == "success"
    assert known(Registry.read(house.models).in_service).is_whole()


def test_a_damaged_image_is_refused_with_its_reason_and_the_run_goes_on(night_with_a_damaged_image: Night) -> None:
    night = night_with_a_damaged_image
    assert night.state == "success"
    (ingest,) = night.reports["ingest"]
    (examine,) = night.reports["examine"]
    assert (examine["seen"], examine["done"], examine["refused"]) == (AT_FIRST + 1, 1, 1)
    assert (ingest["seen"], ingest["done"], ingest["refused"]) == (AT_FIRST + 1, 0, 1)
    ((reason, count),) = ingest["refused_because"].items()
    assert "not a readable image" in reason
    assert count == 1
    quiet = set(NIGHTLY) - {"examine", "review"}  # of what is set aside, some may be for people to look at
    assert {stage: night.count(stage, "done") for stage in quiet} == dict.fromkeys(quiet, 0)


def test_new_images_are_worked_on_in_two_shards(night_on_two_shards: Night) -> None:
    night = night_on_two_shards
    assert night.state == "success"
    assert {stage: len(tries) for stage, tries in night.tasks.items()} == {
        stage: 2 if stage in SHARDED else 1 for stage in NIGHTLY
    }
    assert night.count("examine", "done") == night.count("resize", "done") == ALL - AT_FIRST
    assert night.count("examine", "seen") == night.count("ingest", "seen")
    assert night.count("ingest", "done") == 0
    assert night.count("resize", "seen") == ALL
    assert all(report["seen"] > 0 for report in night.reports["resize"])
    assert 0 < night.count("augment", "done") <= ALL - AT_FIRST
    assert night.count("embed", "seen") == night.count("train", "seen")


def test_new_images_give_a_new_candidate(first_night: Night, night_on_two_shards: Night, house: House) -> None:
    (train,) = night_on_two_shards.reports["train"]
    assert train["done"] == train["seen"] > first_night.count("train", "seen")
    assert train["run"] != first_night.reports["train"][0]["run"]
    assert night_on_two_shards.assets["skin_lesion_candidate"]["run"] == train["run"]
    assert (house.models / "candidates" / train["run"] / "report.html").is_file()


def test_a_shard_that_meets_a_full_disk_is_retried_and_keeps_what_it_did(night_on_two_shards: Night) -> None:
    assert sorted(night_on_two_shards.tasks["embed"]) == [("success", 1), ("success", 2)]
    retried = [tries for _, tries in night_on_two_shards.tasks["embed"]].index(2)
    assert night_on_two_shards.reports["embed"][retried]["done"] == 0
    assert night_on_two_shards.reports["embed"][1 - retried]["done"] > 0
    assert night_on_two_shards.notices == []


def test_wrong_labels_fail_the_run_without_a_retry(night_with_wrong_labels: Night) -> None:
    night = night_with_wrong_labels
    assert night.state == "failed"
    assert night.tasks["collect"] == [("failed", 1)]
    assert all(night.tasks[stage] == [("upstream_failed", 0)] for stage in NIGHTLY[1:])
    (notice,) = night.notices
    assert notice.startswith("A run started by hand on ")
    assert "(skin_lesion_retrain, manual__" in notice
    assert "failed in collect" in notice


def test_the_log_ends_with_what_was_wrong_and_shows_no_traceback(night_with_wrong_labels: Night) -> None:
    log = night_with_wrong_labels.log
    assert "Traceback" not in log
    assert "Task failed with DataError" in log
    sentence = log[log.index("collect failed.") :]
    assert "diagnoses.csv" in sentence
    assert sentence.index("This was not tried again.") < sentence.index("::endgroup::")


def test_the_note_of_the_run_says_what_was_wrong(night_with_wrong_labels: Night, quiet_night: Night) -> None:
    note = known(night_with_wrong_labels.note)
    assert note.startswith("**Failed in collect.** ")
    assert "diagnoses.csv" in note
    assert note.endswith("Correct it, then clear the task: what was finished is kept.")
    assert quiet_night.note != note


def test_a_task_that_is_tried_again_says_why_under_its_traceback(promotion: Night) -> None:
    log = promotion.log
    said = log.index("switch failed.")
    assert log.index("Traceback") < said
    assert "No space left on device" in log[said:].partition("::endgroup::")[0]
    assert promotion.note is None


def test_a_healthy_night_logs_no_error_and_no_line_of_tensorflow(first_night: Night) -> None:
    for line in first_night.log.splitlines():
        assert "[error" not in line
        assert not re.search("XNNPACK|absl|oneDNN|cuda|tensorflow/", line, re.I), line


def test_wrong_labels_change_nothing(night_with_wrong_labels: Night, wrong_labels: House) -> None:
    night = night_with_wrong_labels
    assert night.after == night.before
    assert night.assets == {}
    assert {task: [sorted(report) for report in reports] for task, reports in night.reports.items()} == {
        "collect": [["remedy", "sentence"]]
    }
    assert {path.name for path in wrong_labels.dataset.iterdir()} == {"images", "diagnoses.csv"}
