"""Where things lie under dataset/ and models/."""

from __future__ import annotations

from pathlib import Path
from typing import Final


def images(dataset: Path) -> Path:
    """Originals; written by ingest's sources only."""
    return dataset / "images"


def diagnoses(dataset: Path) -> Path:
    """The user's labels."""
    return dataset / "diagnoses.csv"


def labels(dataset: Path) -> Path:
    """Further tables of labels, *.csv, of any layout: the user's, and those that sources bring."""
    return dataset / "labels"


def tables(dataset: Path, stage: str) -> Path:
    """What a stage remembers between runs."""
    return dataset / "tables" / stage


def processed(dataset: Path) -> Path:
    """One 224x224 image for each accepted original."""
    return dataset / "processed_images"


def augmented(dataset: Path) -> Path:
    """Augmentor's copies of training images."""
    return processed(dataset) / "augmented"


def output(dataset: Path) -> Path:
    """The training view: one folder a class."""
    return processed(dataset) / "output"


def manifest(dataset: Path) -> Path:
    """One row a file of the training view."""
    return dataset / "manifest.parquet"


def data_report(dataset: Path) -> Path:
    """What the catalog in force holds, for people; data_report.json beside it has the figures."""
    return dataset / "data_report.html"


def failed_data_report(dataset: Path) -> Path:
    """The same of a catalog that did not pass its checks; a .json and a .csv lie beside it."""
    return dataset / "data_report_failed.html"


def predictions(dataset: Path) -> Path:
    """Tables that the prediction DAG writes."""
    return dataset / "predictions"


TABLE_OF_PREDICTIONS: Final = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\.(csv|parquet)$"
"""A plain name: whoever may start a run chooses what the table is called, never where it is written."""


def features(dataset: Path) -> Path:
    """Activations of the frozen part, one folder a kind."""
    return dataset / "features"


TRAINED_MODEL: Final = "skin_lesion_classifier_trained"
"""Name of the trained model's files, without suffix; registry.model_files has all names of a model's files."""


def built_model(models: Path) -> Path:
    """The model before training."""
    return models / "skin_lesion_classifier.h5"


def model_in_service(models: Path) -> Path:
    """The trained model that predictions use."""
    return models / f"{TRAINED_MODEL}.h5"


def candidates(models: Path) -> Path:
    """One folder a trained candidate."""
    return models / "candidates"


def candidate(models: Path, run: str) -> Path:
    """The folder of one trained candidate."""
    return candidates(models) / run


def releases(models: Path) -> Path:
    """One folder a switch: the files that it put in service, never changed afterwards."""
    return models / "releases"


def release_in_service(models: Path) -> Path:
    """A symbolic link to the release in service."""
    return models / "in_service"


def registry(models: Path) -> Path:
    """The versions and their history."""
    return models / "registry"
