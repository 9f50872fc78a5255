"""Kill -9 in the middle of a stage, run again: the result is that of a run that nobody disturbed."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.end_to_end import slow_stage

from skinlesion.data.manifest import read_manifest, training_rows
from skinlesion.data.sources.drawn.sample import write_sample
from skinlesion.foundation import layout
from skinlesion.network.feature_store import FeatureStore
from skinlesion.registry.candidate import Candidate

SETTINGS = {"weights": "random", "copies": 2, "epochs": 4, "head_epochs": 2, "patience": 9, "workers": 1}
pytestmark = pytest.mark.slow


def settings_of(folder: Path) -> dict[str, Any]:
    return SETTINGS | {"dataset": str(folder / "dataset"), "models": str(folder / "models")}


def run(stages: str, folder: Path) -> str:
    output = folder / "output.txt"
    process = slow_stage.process(stages, 0, settings_of(folder), output)
    process.start()
    process.join(300)
    assert process.exitcode == 0, output.read_text()
    return output.read_text()


def kill_when(reached: Callable[[], bool], stage: str, folder: Path, seconds: float) -> None:
    """Start the stage and kill it as soon as the condition holds; it must still be at work then."""
    output = folder / "output.txt"
    process = slow_stage.process(stage, seconds, settings_of(folder), output)
    process.start()
    try:
        deadline = time.monotonic() + 120
        while not reached():
            assert process.is_alive(), f"{stage} ended before it could be killed: {output.read_text()}"
            assert time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        process.kill()
        process.join()
    assert process.exitcode == -signal.SIGKILL


def files(folder: Path) -> dict[str, str]:
    """Return the content hash of every file of a run that people and later stages see."""
    found = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        # Tables of a stage hold times of files; parts of activations depend on what was missing.
        if path.is_file() and not {"tables", "features", "backup"} & set(relative.parts):
            found[str(relative)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def activations(dataset: Path) -> np.ndarray:
    (folder,) = layout.features(dataset).iterdir()
    contents = training_rows(read_manifest(dataset))["sha256"].tolist()
    stored = FeatureStore(folder).open(contents)
    every = np.arange(len(contents))
    return np.stack([stored.take(every, np.full(len(every), at)) for at in range(stored.orientations)], axis=1)


def candidate_in(models: Path) -> Candidate:
    (folder,) = (models / "candidates").iterdir()
    return Candidate(folder)


def prepared(folder: Path) -> Path:
    """Return the folder, on which the stages before embed have run."""
    write_sample(folder / "dataset", images=30, seed=3, size=(96, 72))
    run("ingest,resize,augment,organize,build", folder)
    return folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder on which all stages have run without a kill."""
    folder = prepared(tmp_path_factory.mktemp("undisturbed"))
    run("embed,train", folder)
    return folder


@pytest.fixture
def disturbed(tmp_path: Path) -> Path:
    """Return a folder on which the stages before embed have run."""
    return prepared(tmp_path)


def test_a_killed_embed_is_completed_by_the_next_run(disturbed: Path, undisturbed: Path) -> None:
    features = layout.features(disturbed / "dataset")

    def a_part_is_there() -> bool:
        return len(list(features.glob("*/part-*.parquet"))) >= 2

    kill_when(a_part_is_there, "embed", disturbed, seconds=0.2)
    stored = len(list(features.glob("*/part-*.parquet")))
    output = run("embed", disturbed)
    assert f"skipped={8 * stored} " in output, "what was stored before the kill is not computed again"
    assert np.array_equal(activations(disturbed / "dataset"), activations(undisturbed / "dataset"))


@pytest.mark.parametrize("phase", ["phase-1", "phase-2"])
def test_a_killed_training_goes_on_and_ends_with_the_same_weights(
    disturbed: Path, undisturbed: Path, phase: str
) -> None:
    run("embed", disturbed)

    def an_epoch_is_saved() -> bool:
        return any((disturbed / "models" / "candidates").glob(f"*/backup/{phase}/state.json"))

    kill_when(an_epoch_is_saved, "train", disturbed, seconds=0.1)
    assert not any((disturbed / "models" / "candidates").glob("*/training.json"))

    output = run("train", disturbed)
    assert ", from epoch " in output
    resumed, expected = candidate_in(disturbed / "models"), candidate_in(undisturbed / "models")
    assert resumed.run == expected.run
    assert not resumed.backup.exists()
    # Lost before: the same training was another version with another SHA-256, and was evaluated again.
    assert files(disturbed / "models") == files(undisturbed / "models")


USED = """
import random, runpy, sys
from skinlesion.network import quiet_tensorflow
quiet_tensorflow.load()
import keras, numpy
for _ in range(3):
    image = keras.Input((4,))
    hidden = keras.layers.Dropout(0.5)(keras.layers.Dense(3)(image))
    keras.Model(image, keras.ops.sqrt(keras.ops.mean(hidden, keepdims=True)))
    random.random(), numpy.random.rand()
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a script in a process that made models before: unnamed ones take their names from counters."""


def test_a_training_makes_the_same_bytes_in_a_process_that_did_other_things_before(
    disturbed: Path, undisturbed: Path
) -> None:
    assert files(disturbed / "models") == {
        name: content for name, content in files(undisturbed / "models").items() if "candidates" not in name
    }
    settings = settings_of(disturbed) | {"force": True}
    script = [sys.executable, "-c", USED, slow_stage.__file__]
    subprocess.run([*script, "build,embed,train", "0", json.dumps(settings)], check=True, capture_output=True)
    assert files(disturbed / "models") == files(undisturbed / "models")
    frozen = [next(layout.features(at / "dataset").glob("*/frozen_part.tflite")) for at in (disturbed, undisturbed)]
    assert frozen[0].read_bytes() == frozen[1].read_bytes()
