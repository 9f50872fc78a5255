"""The command line as its user types it."""

import csv
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from skinlesion.command_line import main as cli
from skinlesion.data.sources.drawn.sample import write_sample
from skinlesion.foundation import layout
from skinlesion.stages.pipeline import STAGES

NO_FLOORS = (
    "--set", "gate_min_auroc=0", "--set", "gate_min_sensitivity=0", "--set", "gate_max_calibration_error=1",
)  # fmt: skip
FAST = ("--set", "weights=random", "--set", "fine_tune=none", "--set", "epochs=2", *NO_FLOORS)


def skinlesion(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from skinlesion.command_line.main import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `skinlesion run` has run once, with dataset/, models/ and report.json."""
    folder = tmp_path_factory.mktemp("ran")
    write_sample(folder / "dataset", images=40, seed=2, size=(120, 90))
    result = skinlesion(
        "run", "--dataset", folder / "dataset", "--models", folder / "models", *FAST, "--json", folder / "report.json"
    )
    assert result.returncode == 0, result.stderr
    assert "Balanced accuracy:" in result.stdout
    assert str(layout.model_in_service(folder / "models")) in result.stdout
    assert "Version 1 passes the gate" in result.stdout
    assert "not a medical device" in result.stdout
    return folder


def test_run_writes_every_stages_report_and_the_metrics(ran: Path) -> None:
    written = json.loads((ran / "report.json").read_text())
    assert written["format_version"] == 1
    assert [stage["stage"] for stage in written["stages"]] == list(STAGES)
    assert written["stages"][-1]["details"]["run"] == written["metrics"]["run"]
    for stage in written["stages"]:
        assert stage["seen"] == stage["done"] + stage["skipped"]
        assert stage["seconds"] >= 0
    assert {"balanced_accuracy", "malignant_auroc", "confusion_matrix", "intervals"} <= written["metrics"].keys()


def test_the_models_report_links_to_that_of_its_data(ran: Path) -> None:
    (report,) = (ran / "models" / "candidates").glob("*/report.html")
    assert '<a href="data_report.html">' in report.read_text()
    assert (report.parent / "data_report.html").read_bytes() == (ran / "dataset" / "data_report.html").read_bytes()


def test_a_second_run_has_nothing_to_do(ran: Path) -> None:
    again = ran / "again.json"
    result = skinlesion(
        "run", "--dataset", ran / "dataset", "--models", ran / "models", *FAST, "--json", again, "--quiet"
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert [stage["done"] for stage in json.loads(again.read_text())["stages"]] == [0] * len(STAGES)


def test_a_run_whose_model_loses_at_the_gate_ends_well_and_says_what_to_do(ran: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    result = skinlesion("run", "--dataset", ran / "dataset", "--models", models, *FAST, "--set", "gate_min_auroc=1")
    assert result.returncode == 0, result.stderr
    assert "Malignant AUROC is 0." in result.stdout
    assert "`skinlesion models promote 1 --reason ...`" in result.stdout
    assert not layout.model_in_service(models).exists()
    promoted = skinlesion("models", "promote", "1", "--reason", "We look at it", "--models", models)
    assert promoted.returncode == 0, promoted.stderr
    assert "version 1 promoted. We look at it" in promoted.stdout
    assert layout.model_in_service(models).is_file()
    shown = skinlesion("models", "show", "1", "--models", models).stdout
    assert "LOST   Malignant AUROC" in shown
    assert "1, champion" in shown


def test_the_commands_about_models_show_what_is_there(ran: Path) -> None:
    models = ran / "models"
    (version,) = json.loads(skinlesion("models", "list", "--json", "--models", models).stdout)
    assert (version["number"], version["state"]) == (1, "champion")
    listed = skinlesion("models", "list", "--models", models).stdout
    day, minute = version["created"][:16].split("T")
    assert day in listed
    assert minute in listed
    entries = json.loads(skinlesion("models", "history", "--json", "--models", models).stdout)
    assert [entry["what"] for entry in entries] == ["promoted", "judged"]
    again = skinlesion("models", "rollback", "--reason", "It is worse", "--models", models)
    assert again.returncode == 2
    assert "There is nothing to go back to" in again.stderr


def test_predict_gives_one_row_a_usable_image_and_names_the_others(ran: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    output = tmp_path / "predictions.csv"
    result = skinlesion("predict", "--models", ran / "models", "--output", output, ran / "dataset" / "images", broken)
    assert result.returncode == 1, "some images were refused"
    assert f"refused {broken}: " in result.stderr
    rows = list(csv.DictReader(output.read_text().splitlines()))
    assert list(rows[0]) == ["image", "benign", "malignant", "unknown", "label", "decision", "reason", "file"]
    assert [row["image"] for row in rows] == sorted(path.stem for path in (ran / "dataset" / "images").iterdir())
    for row in rows:
        probabilities = {label: float(row[label]) for label in ("benign", "malignant", "unknown")}
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert row["label"] == max(probabilities, key=probabilities.__getitem__)


def test_predictions_of_a_file_that_is_called_as_a_formula_hold_none(ran: Path, tmp_path: Path) -> None:
    original = sorted((ran / "dataset" / "images").iterdir())[0]
    image = tmp_path / "=HYPERLINK(A1).jpg"
    image.write_bytes(original.read_bytes())
    result = skinlesion("predict", "--models", ran / "models", image)
    assert result.returncode == 0, result.stderr
    assert [row["image"] for row in csv.DictReader(result.stdout.splitlines())] == ["'=HYPERLINK(A1)"]


@pytest.mark.parametrize("suffix", ["h5", "keras", "tflite"])
def test_predict_takes_any_of_a_candidates_files(ran: Path, suffix: str) -> None:
    (model,) = (ran / "models" / "candidates").glob(f"*/*.{suffix}")
    image = sorted((ran / "dataset" / "images").iterdir())[0]
    in_service = skinlesion("predict", "--models", ran / "models", image)
    named = skinlesion("predict", "--model", model, image)
    assert named.returncode == 0, named.stderr
    (expected,), (found,) = (list(csv.DictReader(result.stdout.splitlines())) for result in (in_service, named))
    assert float(found["malignant"]) == pytest.approx(float(expected["malignant"]), abs=1e-4)


def test_a_stage_can_be_run_alone_and_in_shards(ran: Path) -> None:
    for shard in ("1/2", "2/2"):
        result = skinlesion("resize", "--dataset", ran / "dataset", "--shard", shard, "--json", ran / "resize.json")
        assert result.returncode == 0
        assert "done=0" in result.stdout
        written = json.loads((ran / "resize.json").read_text())
        assert [stage["stage"] for stage in written["stages"]] == ["resize"]


def test_the_version_is_that_of_the_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["skinlesion", "--version"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"skinlesion {version('skinlesion')}\n"


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
def test_an_error_is_one_message_and_status_2(
    arguments: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["skinlesion", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    shown = capsys.readouterr().err
    assert said in shown.replace("\n", " ")
    assert "Traceback" not in shown


def test_a_damaged_model_file_is_one_message_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sample(tmp_path, images=1, size=(96, 72))
    for name in ("model.tflite", "model.h5", "model.keras"):
        (tmp_path / name).write_bytes(b"no model at all")
        monkeypatch.setattr(sys, "argv", ["skinlesion", "predict", "--model", str(tmp_path / name), str(tmp_path)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 2
        assert name in capsys.readouterr().err


def test_a_full_disk_is_told_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("skinlesion.data.sources.drawn.sample.write_sample", full)
    monkeypatch.setattr(sys, "argv", ["skinlesion", "sample", str(tmp_path / "new")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 3
    assert "No space left on device" in capsys.readouterr().err


def test_without_imagenet_weights_the_fallback_is_said_in_capitals(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from skinlesion.network.backbone import WeightsUnavailable

    def unreachable(config: object) -> None:
        raise WeightsUnavailable("ImageNet weights cannot be downloaded; put the file at X")

    monkeypatch.setattr("skinlesion.network.backbone.find_weights", unreachable)
    monkeypatch.setattr(sys, "argv", ["skinlesion", "weights", "--or-random"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    shown = capsys.readouterr()
    assert shown.out.strip() == "random"
    assert "GOING ON WITH RANDOM WEIGHTS" in shown.err
    assert "put the file at X" in shown.err
