"""What `make run` does besides the stages: what it needs first, what it says at the end, how it ends."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.end_to_end.test_command_line import unjudged
from tests.measured import known
from tests.trained import SETTINGS
from tools import run as program

from skinlesion.data.sources.drawn.sample import write_sample
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.settings import PROJECT_ROOT
from skinlesion.network.backbone import WeightsUnavailable, keras_cache_path
from skinlesion.registry.snapshot import Registry
from skinlesion.stages.pipeline import NIGHTLY
from skinlesion.stages.settings import PipelineConfig

__all__ = ["unjudged"]

UNREACHABLE = (
    "ImageNet weights cannot be downloaded (URL fetch failure on https://x/y.h5: None -- [Errno -2] Name or service not "
    "known). Put Keras's file y.h5 at /z (or elsewhere)."
)


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_weights(config: object) -> None:
        raise WeightsUnavailable(UNREACHABLE)

    monkeypatch.setattr("skinlesion.network.backbone.find_weights", find_weights)


@pytest.mark.usefixtures("unreachable")
def test_without_imagenet_weights_the_run_goes_on_with_drawn_ones_and_says_what_that_means() -> None:
    settings, said = program.weights_for(PipelineConfig.of({}))
    assert settings == {"weights": "drawn"}
    assert "cannot be downloaded ([Errno -2] Name or service not known). Going on with `weights=drawn`" in said
    assert f"put Keras's file at {keras_cache_path()} and run `make run` again" in said


def test_weights_that_are_chosen_are_used() -> None:
    assert program.weights_for(PipelineConfig.of({"weights": "random"})) == (
        {},
        "The backbone begins with random weights.",
    )


def test_a_sample_is_drawn_only_into_the_projects_own_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "PROJECT_ROOT", tmp_path)
    own = tmp_path / "dataset"
    (own / "images").mkdir(parents=True)
    (own / "images" / ".gitkeep").touch()

    def is_drawn(dataset: Path, **settings: Any) -> bool:
        return program.is_to_be_drawn(PipelineConfig.of({"dataset": dataset} | settings))

    assert not is_drawn(own, drop_folder="/somewhere"), "a source will fill it"
    assert not is_drawn(tmp_path / "other"), "a folder that was chosen may be misspelt"
    (own / "images" / "ISIC_1.jpg").touch()
    assert not is_drawn(own)
    (own / "images" / "ISIC_1.jpg").unlink()
    assert is_drawn(own)
    (own / "diagnoses.csv").touch()
    assert not is_drawn(own)


def test_the_sample_is_drawn_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "SAMPLE_IMAGES", 3)
    assert "3 images of " in program.draw_sample(tmp_path / "dataset")
    assert len(list((tmp_path / "dataset" / "images").iterdir())) == 3


def test_it_does_not_run_beside_a_scheduler(tmp_path: Path) -> None:
    pid_file = tmp_path / "standalone.pid"
    program.refuse_beside_scheduler(pid_file)
    pid_file.write_text("99999999\n")
    program.refuse_beside_scheduler(pid_file)
    pid_file.write_text(f"{os.getpid()}\n")
    with pytest.raises(DataError, match="make down"):
        program.refuse_beside_scheduler(pid_file)


def test_what_an_error_advises_is_said_as_it_is_done_here() -> None:
    assert program.hints("Correct the column, or raise max_unmapped_share.") == [
        "To set `max_unmapped_share` for a run: SKINLESION_MAX_UNMAPPED_SHARE=... make run"
    ]
    assert len(program.hints("Run once with accept_data_changes=true, or `skinlesion labels`.")) == 2
    assert program.hints("The weights of the model are in the dataset.") == []


# Real runs -----------------------------------------------------------------------------------------------------------


class Run:
    """A run of the program on a data set of its own, in Airflow's database of this test process."""

    def __init__(self, folder: Path, database: Path, **settings: Any) -> None:
        places = {"dataset": folder / "dataset", "models": folder / "models"}
        self.database = database
        self.environment = os.environ | {
            f"SKINLESION_{name.upper()}": str(value) for name, value in (SETTINGS | places | settings).items()
        }
        self.process = subprocess.Popen(
            # A shell that starts the tests in the background lets what they start ignore Ctrl-C.
            ["env", "--default-signal=INT", sys.executable, "-m", "tools.run"],
            cwd=PROJECT_ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.output = self.process.stdout

    def lines(self) -> Iterator[str]:
        """Yield the lines of the output as they come."""
        for line in self.output:
            sys.stdout.write(line)
            yield line.rstrip("\n")

    def end(self, status: int) -> str:
        """Return what is left of the output of a run that must end with this status."""
        text = "\n".join(self.lines())
        assert self.process.wait(timeout=60) == status, text
        return text

    def states(self) -> list[tuple[str, str]]:
        """Return the DAG and the state of the runs in Airflow's database, the newest last."""
        with sqlite3.connect(self.database) as connection:
            return list(connection.execute("SELECT dag_id, state FROM dag_run ORDER BY id"))


@pytest.fixture
def started(airflow_database: Path) -> Iterator[Any]:
    runs = []

    def start(folder: Path, **settings: Any) -> Run:
        runs.append(Run(folder, airflow_database, **settings))
        return runs[-1]

    yield start
    for one in runs:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        one.output.close()
    # The keys that the program makes: with them later tests of this process would sign the models that all tests share.
    shutil.rmtree(airflow_database.parent / "signing", ignore_errors=True)


def test_wrong_data_end_it_with_the_whole_sentence_and_where_the_log_is(started: Any, tmp_path: Path) -> None:
    write_sample(tmp_path / "dataset", images=4, size=(64, 48))
    table = tmp_path / "dataset" / "diagnoses.csv"
    table.write_text(table.read_text().replace("image,dx,", "image,what,", 1))
    run = started(tmp_path)
    text = run.end(2)
    assert "make run: " in text
    assert "diagnoses.csv" in text
    assert "run.log" in text
    assert not any(word in text for word in ("Traceback", "[info", "DAG TEST", "WARNING", "loc=")), text
    assert run.states()[-1] == ("skin_lesion_retrain", "failed")


@pytest.mark.slow
def test_a_run_shows_every_stage_and_ends_with_figures_and_what_to_do(started: Any, copy_of_trained: Path) -> None:
    """Nothing is left to do for the stages, but version 2 of `trained` is not judged yet."""
    run = started(copy_of_trained)
    text = run.end(0)
    for stage in NIGHTLY[:-1]:
        assert f"\n{stage} " in text
    assert "Balanced accuracy:" in text
    assert "data_report.html" in text
    assert "Version 2 " in text
    assert "skinlesion serve" in text
    assert run.states()[-2:] == [("skin_lesion_retrain", "success"), ("skin_lesion_promote", "success")]


@pytest.mark.slow
def test_without_a_network_a_first_run_ends_with_a_model_in_service(
    started: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate asks for what it asks for by default."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # nobody listens there
    write_sample(tmp_path / "dataset", images=240)
    of_the_gate = {name: PipelineConfig.model_fields[name].default for name in SETTINGS if name.startswith("gate_")}
    text = started(tmp_path, weights="imagenet", copies=1, epochs=16, **of_the_gate).end(0)
    assert "Going on with `weights=drawn`" in text
    registry = Registry.read(tmp_path / "models")
    assert registry.in_service is not None
    auroc = known(registry.version(1).figure("malignant_auroc").value)
    assert auroc > 0.85


@pytest.mark.slow
def test_a_paused_promotion_is_left_alone_and_said(started: Any, copy_of_trained: Path, airflow_database: Path) -> None:
    (copy_of_trained / "models" / "in_service").unlink()
    started(copy_of_trained, require_approval=True).end(0)  # Airflow knows the DAGs now

    def pause(value: int) -> None:
        with sqlite3.connect(airflow_database) as connection:
            connection.execute("UPDATE dag SET is_paused = ? WHERE dag_id = 'skin_lesion_promote'", (value,))

    pause(1)
    try:
        run = started(copy_of_trained)
        text = run.end(0)
    finally:
        pause(0)
    assert "was not judged now, since skin_lesion_promote is paused" in text
    assert "models promote 1 --reason ..." in text
    assert run.states()[-1] == ("skin_lesion_retrain", "success")


@pytest.mark.slow
def test_a_version_that_waits_for_a_person_is_a_success_that_says_how_to_decide(started: Any, unjudged: Path) -> None:
    text = started(unjudged, require_approval=True).end(0)
    assert "waits for a person, since `require_approval` is set" in text
    assert "models promote 1 --reason ..." in text
    registry = Registry.read(unjudged / "models")
    assert registry.in_service is None
    assert [entry.what for entry in registry.history] == ["judged"]


@pytest.mark.slow
def test_a_stopped_training_says_how_to_go_on_and_goes_on(started: Any, copy_of_trained: Path) -> None:
    run = started(copy_of_trained, seed=11, epochs=40)
    for line in run.lines():
        if line.startswith("  epoch 3 of "):
            os.killpg(run.process.pid, signal.SIGINT)
            break
    text = run.end(130)
    assert "run `make run` again to go on" in text
    assert "Traceback" not in text
    assert run.states()[-1] == ("skin_lesion_retrain", "failed")
    text = started(copy_of_trained, seed=11, epochs=40).end(0)
    assert "Training the head, from epoch " in text


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a file system")
def test_a_full_disk_is_named_with_what_to_do(started: Any, copy_of_trained: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", small], check=True)
    try:
        text = started(copy_of_trained, models=small / "models").end(3)
    finally:
        subprocess.run(["umount", small], check=True)
    assert f"The disk that holds {small}" in text
    assert "Make room there" in text
