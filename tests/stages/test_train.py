"""`force` trains beside the candidate that is there, which may be a registered version, and then takes its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.registry.test_switch import models, put, served
from tests.registry.trained import trained
from tests.stages.data_set import DataSet
from tests.training_record import write_training_record

from skinlesion.foundation import layout
from skinlesion.network.classifier import load_classifier
from skinlesion.network.litert import LiteRTModel
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.in_service import candidate_in_service
from skinlesion.registry.register import register
from skinlesion.registry.training_record import TrainingRecord
from skinlesion.stages import train as stage
from skinlesion.stages.pipeline import run_stage
from skinlesion.stages.settings import PipelineConfig

__all__ = ["models"]

Train = Callable[[str, bytes | None], None]


def without_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let train find neither a data set nor a built model, and go on."""
    for name in ("splits_known", "training_rows", "require_built_model"):
        monkeypatch.setattr(stage, name, lambda *given: pd.DataFrame({"copy": [0]}))
    monkeypatch.setattr(stage, "trusted_manifest", lambda *given: (pd.DataFrame(), None))


@pytest.fixture
def forced(models: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """Return a function that trains a candidate with `force` to files of other content; to None: training fails half-way."""
    put(models, 1)
    config = PipelineConfig.of({"models": models, "force": True})
    without_data(monkeypatch)

    def run(name: str, content: bytes | None) -> None:
        there = Candidate(layout.candidate(models, name))

        def write(*given: object) -> TrainingRecord:
            folder = given[4]
            assert isinstance(folder, Candidate)
            assert folder.run == name
            assert there.h5.is_file(), "what is registered is there while the other is trained"
            (folder.folder / "backup").mkdir()
            for path in folder.models:
                path.write_bytes(f"{name} as {path.name}".encode() if content == b"the same" else content or b"half")
            if content is None:
                raise OSError("No space left on device")
            folder.decision_rule.write_bytes(there.decision_rule.read_bytes())
            write_training_record(folder)
            return TrainingRecord.read(folder.training)

        monkeypatch.setattr(stage, "candidate_to_train", lambda *given: (there, None))
        monkeypatch.setattr(stage, "_train", write)
        stage.train(config)

    return run


def test_a_forced_training_that_fails_leaves_the_version_in_service_whole(models: Path, forced: Train) -> None:
    """`force` deleted the folder of the version in service before it trained; a full disk or a kill left nothing."""
    with pytest.raises(OSError, match="No space"):
        forced("one", None)
    candidate = candidate_in_service(models)
    assert candidate is not None
    assert candidate.run == "one"
    assert [path.name for path in layout.candidates(models).iterdir() if path.name.startswith(".")] == []


def test_the_same_model_keeps_what_was_measured_of_it(models: Path, forced: Train) -> None:
    candidate = Candidate(layout.candidate(models, "one"))
    for path in (candidate.metrics, candidate.report, candidate.predictions):
        path.write_bytes(b"measured")
    forced("one", b"the same")
    assert {path.read_bytes() for path in (candidate.metrics, candidate.report, candidate.predictions)} == {b"measured"}
    assert register(models, candidate).number == 1
    assert candidate_in_service(models) is not None


def test_another_model_is_another_version_and_what_is_in_service_stays(models: Path, forced: Train) -> None:
    candidate = Candidate(layout.candidate(models, "one"))
    candidate.predictions.write_bytes(b"of the first model")
    forced("one", b"another")
    assert served(models) == "one"
    assert not candidate.predictions.exists()
    assert register(models, candidate).number == 4
    assert register(models, trained(models, "five")).number == 5
    assert candidate_in_service(models) is None, "its folder holds another model now"


def test_a_damaged_record_does_not_keep_force_from_making_it_anew(models: Path, forced: Train) -> None:
    candidate = Candidate(layout.candidate(models, "two"))
    candidate.training.write_bytes(candidate.training.read_bytes()[:50])
    forced("two", b"other")
    assert candidate.read_training() is not None


def test_what_a_training_kept_in_case_it_is_killed_goes_also_if_it_was_killed_at_its_very_end(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between its record and the removal, it left the weights of its epochs beside the candidate for ever."""
    candidate = Candidate(layout.candidate(models, "one"))
    (candidate.backup / "phase-1").mkdir(parents=True)
    without_data(monkeypatch)
    monkeypatch.setattr(stage, "candidate_to_train", lambda *given: (candidate, None))
    stage.train(PipelineConfig.of({"models": models}))
    assert not candidate.backup.exists()
    assert candidate.read_training() is not None


def test_mobilenetv2_is_trained_and_its_three_files_give_the_same_probabilities(
    embedded_with_mobilenetv2: DataSet,
) -> None:
    """The trained models that other tests read have a small backbone."""
    config = embedded_with_mobilenetv2.config(epochs=1)
    candidate = Candidate(layout.candidate(config.models, str(run_stage("train", config).details["run"])))
    image = np.random.default_rng(0).integers(256, size=(224, 224, 3), dtype=np.uint8)
    expected = LiteRTModel(candidate.tflite)(image)
    assert expected.sum() == pytest.approx(1, abs=1e-5)
    for path in (candidate.h5, candidate.keras):
        found = np.asarray(load_classifier(path)(image[np.newaxis].astype(np.float32), training=False))[0]
        assert np.abs(found - expected).max() < 1e-4, path.name
