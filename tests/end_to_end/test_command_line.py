"""The command line as its user types it."""

import csv
import json
import re
import shutil
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest
from tests.trained import candidate_of, options, skinlesion

from skinlesion.foundation import layout
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.model_files import REGISTERED, VERDICT
from skinlesion.stages.pipeline import STAGES


def test_run_prints_the_figures_the_gates_verdict_and_where_the_model_is(trained: Path) -> None:
    output = (trained / "output.txt").read_text()
    assert "Balanced accuracy:" in output
    assert str(layout.model_in_service(trained / "models")) in output
    assert "Version 1 passes the gate" in output
    assert "not a medical device" in output


def test_run_writes_every_stages_report_and_the_metrics(trained: Path) -> None:
    written = json.loads((trained / "report.json").read_text())
    assert written["format_version"] == 1
    assert [stage["stage"] for stage in written["stages"]] == list(STAGES)
    assert written["stages"][-1]["details"]["run"] == written["metrics"]["run"]
    for stage in written["stages"]:
        assert stage["seen"] == stage["done"] + stage["skipped"]
        assert stage["seconds"] >= 0
    assert {"balanced_accuracy", "malignant_auroc", "confusion_matrix", "intervals"} <= written["metrics"].keys()


def test_beside_the_models_report_lies_that_of_its_data(trained: Path) -> None:
    report = candidate_of(trained, 1).report
    data_report = trained / "dataset" / "data_report.html"
    assert (report.parent / "data_report.html").read_bytes() == data_report.read_bytes()


@pytest.fixture
def unjudged(copy_of_trained: Path) -> Path:
    """Return a copy of `trained` in which nothing is numbered, judged or in service."""
    models = copy_of_trained / "models"
    for candidate in map(Candidate, (models / "candidates").iterdir()):
        for name in (REGISTERED, VERDICT):
            (candidate.folder / name).unlink(missing_ok=True)
    kept = {"candidates", "skin_lesion_classifier.h5", "skin_lesion_classifier.json"}
    for path in models.iterdir():
        if path.name not in kept:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return copy_of_trained


def test_a_second_run_has_nothing_to_do(copy_of_trained: Path) -> None:
    places = ("--dataset", copy_of_trained / "dataset", "--models", copy_of_trained / "models")
    again = copy_of_trained / "again.json"
    skinlesion("ingest", *places)  # the copies' times are new
    result = skinlesion("run", *places, *options(), "--json", again, "--quiet")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert [stage["done"] for stage in json.loads(again.read_text())["stages"]] == [0] * len(STAGES)


def test_a_run_whose_model_loses_at_the_gate_ends_well_and_says_what_to_do(unjudged: Path) -> None:
    models = unjudged / "models"
    places = ("--dataset", unjudged / "dataset", "--models", models)
    result = skinlesion("run", *places, *options(gate_min_auroc=1))
    assert result.returncode == 0, result.stderr
    assert "Malignant AUROC is 0." in result.stdout
    assert "`skinlesion models promote 1 --reason ...`" in result.stdout
    assert not layout.model_in_service(models).exists()
    promoted = skinlesion("models", "promote", "1", "--reason", "We look at it", "--models", models)
    assert promoted.returncode == 0, promoted.stderr
    assert "version 1 promoted. We look at it" in promoted.stdout
    assert layout.model_in_service(models).is_file()
    shown = skinlesion("models", "show", "1", "--models", models).stdout
    assert re.search(r"LOST +Malignant AUROC", shown)
    assert "1, champion" in shown


def test_a_run_under_a_damaged_change_plan_ends_well_and_waits_for_a_person(unjudged: Path) -> None:
    models, plan = unjudged / "models", unjudged / "change_plan.yaml"
    plan.write_text("by_itself: [new-data]\n")
    places = ("--dataset", unjudged / "dataset", "--models", models)
    result = skinlesion("run", *places, *options(change_plan=plan))
    assert result.returncode == 0, result.stderr
    printed = " ".join(result.stdout.split())
    assert "line 1: `new-data` is no kind of change. Did you mean `new_data`?" in printed
    assert "It waits for approval: `skinlesion models promote 1 --reason ...` puts it in service." in printed
    assert not layout.model_in_service(models).exists()
    promoted = skinlesion("models", "promote", "1", "--reason", "We look at it", "--models", models)
    assert promoted.returncode == 0, promoted.stderr
    record = json.loads((candidate_of(unjudged, 1).folder / "change_record.json").read_text())
    assert [(one["what"], one["why"]) for one in record["decisions"]] == [("promoted", "We look at it")]


def test_the_commands_about_models_show_what_is_there(trained: Path) -> None:
    models = trained / "models"
    versions = json.loads(skinlesion("models", "list", "--json", "--models", models).stdout)
    assert [(version["number"], version["state"]) for version in versions] == [(2, "candidate"), (1, "champion")]
    listed = skinlesion("models", "list", "--models", models).stdout
    day, minute = versions[0]["created"][:16].split("T")
    assert day in listed
    assert minute in listed
    entries = json.loads(skinlesion("models", "history", "--json", "--models", models).stdout)
    assert [entry["what"] for entry in entries] == ["promoted", "judged"]


def test_a_version_is_shown_with_its_figures_and_each_line_of_its_verdict(trained: Path) -> None:
    models = trained / "models"
    version = json.loads(skinlesion("models", "show", "1", "--json", "--models", models).stdout)
    assert (version["number"], version["state"]) == (1, "champion")
    assert {"min_auroc", "sensitivity_margin"} <= {criterion["name"] for criterion in version["criteria"]}
    assert "The gate has not judged it." in skinlesion("models", "show", "2", "--models", models).stdout
    history = skinlesion("models", "history", "--models", models).stdout
    assert ["promoted" in line for line in history.splitlines()[:1]] == [True]


def test_versions_of_the_same_held_out_images_are_compared_by_the_figures_that_were_recorded(trained: Path) -> None:
    found = json.loads(skinlesion("models", "compare", "1", "2", "--json", "--models", trained / "models").stdout)
    figures = found["held_out"]["figures"]
    assert {figure["name"]: figure["first"] for figure in figures} == found["first"]["measured"]["figures"]
    assert {figure["name"]: figure["second"] for figure in figures} == found["second"]["measured"]["figures"]
    assert [(differing["name"], differing["second"]) for differing in found["settings"]] == [("seed", 7)]
    metrics = json.loads(candidate_of(trained, 2).metrics.read_text())
    paired = {figure["name"]: figure["paired"] for figure in figures if figure["paired"] is not None}
    assert paired == {name: metrics["paired"][name] for name in paired}, "as the report of version 2 has them"


def test_where_no_model_was_trained_the_commands_say_so(tmp_path: Path) -> None:
    for command, said in (("list", "Train one with `skinlesion run`"), ("history", "Nothing has happened yet")):
        assert said in skinlesion("models", command, "--models", tmp_path).stdout.replace("\n", " ")


def test_predict_gives_one_row_a_usable_image_and_names_the_others(trained: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    images, output = trained / "dataset" / "images", tmp_path / "predictions.csv"
    result = skinlesion("predict", "--models", trained / "models", "--output", output, images, broken)
    assert result.returncode == 1, "some images were refused"
    assert f"refused {broken}: " in result.stderr
    rows = list(csv.DictReader(output.read_text().splitlines()))
    assert list(rows[0]) == ["image", "benign", "malignant", "unknown", "label", "decision", "reason", "learnt", "file"]
    assert [row["image"] for row in rows] == sorted(path.stem for path in images.iterdir())
    for row in rows:
        probabilities = {label: float(row[label]) for label in ("benign", "malignant", "unknown")}
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert row["label"] == max(probabilities, key=probabilities.__getitem__)
    learnt = pd.read_parquet(candidate_of(trained, 1).trained_on)["image"]
    assert {row["image"] for row in rows if row["learnt"] == "same file"} >= set(learnt)
    assert any(row["learnt"] == "no" for row in rows), "what was held out is not known"


@pytest.fixture
def image(trained: Path) -> Path:
    return min((trained / "dataset" / "images").iterdir())


def test_predictions_of_a_file_that_is_called_as_a_formula_hold_none(
    trained: Path, image: Path, tmp_path: Path
) -> None:
    formula = tmp_path / "=HYPERLINK(A1).jpg"
    formula.write_bytes(image.read_bytes())
    result = skinlesion("predict", "--models", trained / "models", formula)
    assert result.returncode == 0, result.stderr
    assert [row["image"] for row in csv.DictReader(result.stdout.splitlines())] == ["'=HYPERLINK(A1)"]


def test_a_sample_is_drawn_with_its_counts(tmp_path: Path) -> None:
    drawn = skinlesion("sample", tmp_path / "new", "--images", "4")
    assert drawn.returncode == 0, drawn.stderr
    assert "4 images of" in drawn.stdout
    assert len(list((tmp_path / "new" / "images").iterdir())) == 4


def test_a_stage_can_be_run_alone_and_in_shards(copy_of_trained: Path) -> None:
    dataset, report = copy_of_trained / "dataset", copy_of_trained / "resize.json"
    skinlesion("ingest", "--dataset", dataset)  # the copies' times are new
    for shard in ("1/2", "2/2"):
        result = skinlesion("resize", "--dataset", dataset, "--shard", shard, "--json", report)
        assert result.returncode == 0
        assert "Nothing to do: " in result.stdout
        assert [stage["stage"] for stage in json.loads(report.read_text())["stages"]] == ["resize"]


def test_the_version_is_that_of_the_package() -> None:
    told = skinlesion("--version")
    assert (told.returncode, told.stdout) == (0, f"skinlesion {version('skinlesion')}\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "--dataset", "/nowhere/at/all"), "/nowhere/at/all is missing"),
        (("run", "--set", "epoch=3"), "There is no setting `epoch`"),
        (("run", "--set", "epochs"), "expected KEY=VALUE"),
        (("run", "--set", "epochs=0"), "greater than or equal to 1; found '0'"),
        (("resize", "--shard", "9/3"), "expected I/N"),
        (("predict", "/nowhere.jpg"), "/nowhere.jpg is missing"),
        (("predict", "--model", "/nowhere.h5", __file__), "/nowhere.h5 is missing"),
        (("metrics", "--models", "/nowhere"), "No evaluated model is in service"),
        (("weights", "--set", "weights=/nowhere.h5"), "/nowhere.h5 is missing"),
    ],
)
def test_an_error_is_one_message_and_status_2(arguments: tuple[str, ...], said: str) -> None:
    ended = skinlesion(*arguments)
    assert ended.returncode == 2
    assert said in ended.stderr.replace("\n", " ")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("name", ["model.tflite", "model.h5", "model.keras"])
def test_a_damaged_model_file_is_one_message_and_status_2(image: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no model at all")
    ended = skinlesion("predict", "--model", tmp_path / name, image)
    assert ended.returncode == 2
    assert name in ended.stderr.replace("\n", "")
    assert "Traceback" not in ended.stderr


def test_without_imagenet_weights_the_fallback_is_the_drawn_backbone_and_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from skinlesion.network.backbone import WeightsUnavailable

    def unreachable(config: object) -> None:
        raise WeightsUnavailable("ImageNet weights cannot be downloaded; put the file at X")

    monkeypatch.setattr("skinlesion.network.backbone.find_weights", unreachable)
    ended = skinlesion("weights", "--or-drawn")
    assert (ended.returncode, ended.stdout.strip()) == (0, "drawn")
    assert "Going on with `weights=drawn`" in " ".join(ended.stderr.split())
    assert "put the file at X" in ended.stderr
