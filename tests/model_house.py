"""A registry with models that are small and real, and whose probabilities of the held-out images are written by hand."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from skinlesion.data.catalog import write_catalog
from skinlesion.data.finding import Verdict
from skinlesion.data.labels.classes import LABELS
from skinlesion.data.manifest import COLUMNS, version
from skinlesion.data.split import HELD_OUT
from skinlesion.data.split_table import read_split, written
from skinlesion.foundation import layout
from skinlesion.foundation.checksum import sha256_of
from skinlesion.foundation.tables import write_table
from skinlesion.prediction.held_out_scores import PREDICTION_COLUMNS
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.metrics_record import MetricsRecord
from skinlesion.registry.register import register
from skinlesion.registry.training_record import TrainingRecord
from skinlesion.stages.settings import PipelineConfig
from tests.data.catalogs import catalog_of
from tests.made_once import MakeOnce
from tests.measured import metrics_record
from tests.training_record import write_learnt, write_training_record
from tests.two_classifiers import RULE

LESIONS = {"benign": 240, "malignant": 120, "unknown": 60}
"""One image each; the first eight have files."""


def held_out() -> pd.DataFrame:
    names = [label for label, count in LESIONS.items() for _ in range(count)]
    rows = pd.DataFrame({"label": names})
    rows["image"] = [f"I{number}" for number in rows.index]
    rows["file"] = rows["label"] + "/" + rows["image"] + ".jpg"
    rows["sha256"] = [hashlib.sha256(name.encode()).hexdigest() for name in rows["image"]]
    rows = rows.assign(split=HELD_OUT, copy=0, dx="nv", group="image:" + rows["image"])
    return rows.assign(original=rows["sha256"], lesion=rows["group"]).astype(COLUMNS)


@dataclass
class House:
    """A data set with held-out images, and models."""

    config: PipelineConfig
    model_files: Path
    rows: pd.DataFrame

    @property
    def models(self) -> Path:
        return self.config.models

    def settings(self, **values: Any) -> PipelineConfig:
        """Return the settings with these values over them."""
        return PipelineConfig.of({"dataset": self.config.dataset, "models": self.models} | values)

    def scores(self, **right: float) -> npt.NDArray[np.float64]:
        """Return probabilities (n, 3) of a model that is right about this share of each class; calibrated enough."""
        given = dict.fromkeys(LABELS, 0.85) | right
        predicted: list[int] = []
        for label, count in LESIONS.items():
            true, is_right = LABELS.index(label), round(given[label] * count)
            predicted += [true] * is_right + [(true + 1) % 3] * (count - is_right)
        return np.where(np.eye(3)[predicted] == 1, 0.84, 0.08)

    def add(
        self,
        run: str,
        probabilities: npt.NDArray[np.float64] | None = None,
        *,
        classes: tuple[str, ...] = LABELS,
        threshold: float = 0.5,
        data_verdict: Verdict | None = "passed",
    ) -> int:
        """Make a candidate that was trained and evaluated, without probabilities with `scores()`; return its version."""
        scored = self.scores() if probabilities is None else probabilities
        candidate = Candidate(layout.candidate(self.models, run))
        candidate.folder.mkdir(parents=True)
        for path in candidate.models:
            shutil.copyfile(self.model_files / path.name, path)
        candidate.decision_rule.write_text(json.dumps(RULE | {"malignant_threshold": threshold}))
        write_training_record(candidate, classes=classes)
        predictions = self.rows[["image", "sha256", "label", "group"]].assign(
            **dict(zip(LABELS, scored.T, strict=True)), distance=np.nan, decision="", reason=""
        )
        write_table(candidate.predictions, predictions, PREDICTION_COLUMNS)
        metrics = metrics_of(scored, self.rows, run=run, data_verdict=data_verdict)
        metrics.write(candidate.metrics)
        candidate.report.write_text(f"<html>{run}</html>")
        return register(self.models, candidate, metrics).number

    def measure_again(self, run: str, **right: float) -> None:
        """Note another measurement of a candidate."""
        register(self.models, self.candidate(run), metrics_of(self.scores(**right), self.rows, run=run))

    def candidate(self, run: str) -> Candidate:
        return Candidate(layout.candidate(self.models, run))

    def replace_file(self, run: str, file: str, content: bytes) -> Candidate:
        """Give a candidate's file another content, and its record the checksum of that; return the candidate."""
        candidate = self.candidate(run)
        (candidate.folder / file).write_bytes(content)
        record = TrainingRecord.read(candidate.training)
        changed = record.sha256 | {file: hashlib.sha256(content).hexdigest()}
        record.model_copy(update={"sha256": changed}).write(candidate.training)
        return candidate

    def hold_out(self, rows: pd.DataFrame) -> None:
        """Hold other images out."""
        dataset = self.config.dataset
        before = read_split(dataset)
        keys = pd.DataFrame({"key": "image:" + rows["image"], "split": rows["split"]}).sort_values("key")
        split = written(dataset, before, keys.astype("str").reset_index(drop=True))
        names = ("image", "group", "split")
        images = [dict(zip(names, row, strict=True)) for row in rows[list(names)].to_numpy().tolist()]
        write_catalog(dataset, catalog_of(images), split)
        write_table(layout.manifest(dataset), rows.astype(COLUMNS), COLUMNS, split.notes())

    def has_learnt(self, run: str, rows: pd.DataFrame) -> None:
        """Let a candidate have been trained on these images."""
        write_learnt(self.candidate(run), rows)
        record = TrainingRecord.read(self.candidate(run).training)
        changed = {"trained_on": sha256_of(self.candidate(run).trained_on)}
        record.model_copy(update=changed).write(self.candidate(run).training)


def metrics_of(probabilities: npt.NDArray[np.float64], rows: pd.DataFrame, **changes: Any) -> MetricsRecord:
    labels = rows["label"].map(LABELS.index).to_numpy()
    recalls = [float((probabilities[labels == k].argmax(axis=1) == k).mean()) for k in range(3)]
    return metrics_record(
        **changes,
        malignant_recall=recalls[1],
        balanced_accuracy=float(np.mean(recalls)),
        intervals={"balanced_accuracy": [0.8, 0.9], "malignant_auroc": None},
        images=len(rows),
        lesions=int(rows["group"].nunique()),
        held_out_version=version(rows),
    )


@pytest.fixture(scope="session")
def small_model(make_once: MakeOnce) -> Path:
    """Return the folder of the three files of a model that really loads."""
    return make_once("small_model", _write_small_model)


def _write_small_model(folder: Path) -> None:
    import keras

    from skinlesion.network.classifier import save_model
    from skinlesion.network.litert import convert_to_litert

    pictures = keras.Input((224, 224, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(pictures))
    model = keras.Model(pictures, keras.layers.Dense(3, activation="softmax", name="probabilities")(pooled))
    candidate = Candidate(folder)
    save_model(model, candidate.h5)
    save_model(model, candidate.keras)
    convert_to_litert(model, candidate.tflite)


@pytest.fixture(scope="session")
def no_model(make_once: MakeOnce) -> Path:
    """Return a folder of three files with the names of a model's, for tests that load none of them."""

    def write(folder: Path) -> None:
        for path in Candidate(folder).models:
            path.write_bytes(path.name.encode())

    return make_once("no_model", write)


@pytest.fixture
def model_files(no_model: Path) -> Path:
    """Return the folder of the files that candidates copy; tests whose models are loaded override it with `small_model`."""
    return no_model


@pytest.fixture
def house(tmp_path: Path, model_files: Path) -> House:
    import simplejpeg

    rows = held_out()
    dataset = tmp_path / "dataset"
    for number, file in enumerate(rows["file"].head(8)):
        path = layout.output(dataset) / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(simplejpeg.encode_jpeg(np.full((224, 224, 3), 25 * number, dtype=np.uint8)))
        rows.loc[number, "sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    made = House(PipelineConfig.of({"dataset": dataset, "models": tmp_path / "models"}), model_files, rows)
    made.hold_out(rows)
    return made
