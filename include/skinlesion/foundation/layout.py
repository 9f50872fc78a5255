"""The paths of everything under dataset/ and models/."""

from __future__ import annotations

from pathlib import Path
from typing import Final


def images(dataset: Path) -> Path:
    """Return the folder of original images, which only the sources of ingest write."""
    return dataset / "images"


def diagnoses(dataset: Path) -> Path:
    """Return the path of the user's table of labels."""
    return dataset / "diagnoses.csv"


def labels(dataset: Path) -> Path:
    """Return the folder of further tables of labels, *.csv of any layout: the user's, and those that sources bring."""
    return dataset / "labels"


def tables(dataset: Path, stage: str) -> Path:
    """Return the folder of what a stage stores between runs."""
    return dataset / "tables" / stage


def processed(dataset: Path) -> Path:
    """Return the folder with one 224x224 image for each accepted original."""
    return dataset / "processed_images"


def augmented(dataset: Path) -> Path:
    """Return the folder of Augmentor's copies of training images."""
    return processed(dataset) / "augmented"


def output(dataset: Path) -> Path:
    """Return the training view: a folder with one folder a class."""
    return processed(dataset) / "output"


def catalog(dataset: Path) -> Path:
    """Return the path of the catalog: one row an image."""
    return dataset / "catalog.parquet"


def split(dataset: Path) -> Path:
    """Return the path of the table of decided sides of the split."""
    return dataset / "split.parquet"


def split_history(dataset: Path) -> Path:
    """Return the path of the history of splits that a person accepted."""
    return dataset / "split_history.jsonl"


REVIEW_STORE: Final = "-review"
"""End of the name of the store of activations by which labels are judged; training does not read it."""


def review_history(dataset: Path) -> Path:
    """Return the path of the history of what people said of images when they looked at them."""
    return dataset / "review_history.jsonl"


def review_table(dataset: Path) -> Path:
    """Return the path of the table of labels that follows from the history of reviews."""
    return labels(dataset) / "review.csv"


def review_queue(dataset: Path) -> Path:
    """Return the folder of the queue of images that people should look at, with its thumbnails."""
    return dataset / "tables" / "review"


def subject_key(dataset: Path) -> Path:
    """Return the path of the key by which ids of patients in DICOM files get their names."""
    return dataset / "subject.key"


def own_folders(dataset: Path) -> list[Path]:
    """Return the folders that the stages fill: no link in images/ is followed into them."""
    return [dataset / name for name in ("processed_images", "tables", "features", "labels", "predictions")]


def manifest(dataset: Path) -> Path:
    """Return the path of the manifest: one row a file of the training view."""
    return dataset / "manifest.parquet"


def data_report(dataset: Path) -> Path:
    """Return the path of the report on the catalog in force; data_report.json beside it has its figures."""
    return dataset / "data_report.html"


def failed_data_report(dataset: Path) -> Path:
    """Return the path of the report on a catalog that did not pass its checks; a .json and a .csv are beside it."""
    return dataset / "data_report_failed.html"


def predictions(dataset: Path) -> Path:
    """Return the folder of the tables that the prediction DAG writes."""
    return dataset / "predictions"


TABLE_OF_PREDICTIONS: Final = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\.(csv|parquet)$"
"""A plain file name: whoever may start a run chooses the name of the table, never the folder."""


FOLDER_OF_IMAGES: Final = r"^(?!(.*/)?\.\.(/|$))[^\x00-\x1f]+$"
"""A path that does not lead upwards: a run may name it only within the folders of the installation."""


def features(dataset: Path) -> Path:
    """Return the folder of stored activations of the frozen part, with one folder a kind."""
    return dataset / "features"


TRAINED_MODEL: Final = "skin_lesion_classifier_trained"
"""Name of the trained model's files, without suffix; registry.model_files has all names of a model's files."""


def built_model(models: Path) -> Path:
    """Return the path of the model before training."""
    return models / "skin_lesion_classifier.h5"


def model_in_service(models: Path) -> Path:
    """The trained model that predictions use."""
    return models / f"{TRAINED_MODEL}.h5"


def candidates(models: Path) -> Path:
    """Return the folder with one folder a trained candidate."""
    return models / "candidates"


def candidate(models: Path, run: str) -> Path:
    """Return the folder of one trained candidate."""
    return candidates(models) / run


def releases(models: Path) -> Path:
    """Return the folder with one folder a switch: the files that it put in service, never changed afterwards."""
    return models / "releases"


def release_in_service(models: Path) -> Path:
    """Return the path of the symbolic link to the release in service."""
    return models / "in_service"


def monitored(models: Path) -> Path:
    """Return the path of what the monitor found last in the prediction log."""
    return models / "monitor.json"


def shadowed(models: Path) -> Path:
    """Return the path of what candidates in the shadow said beside the answers, as it was compared last."""
    return models / "shadow.json"


def registry(models: Path) -> Path:
    """Return the folder of the versions and their history."""
    return models / "registry"
