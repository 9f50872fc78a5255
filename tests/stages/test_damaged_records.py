"""Whatever a stage left for the next one, damaged: no traceback, nothing silently missing, and the same results or a remedy.

What there is to damage is found on the disk, so that a new table is covered by itself.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import pandas as pd
import pytest
from tests.stages.data_set import DataSet, copy_tree, digests, results, run_data_side
from tests.strange_files import watched
from tests.trained import config_of, copy_trained

from skinlesion.foundation.errors import DataError
from skinlesion.stages.pipeline import run_stage
from skinlesion.stages.settings import PipelineConfig

DATA_SIDE = ("ingest", "resize", "augment", "organize", "build", "embed")
RECORDS = ("catalog.parquet", "split.parquet")
"""What cannot be made anew: the split that was decided, and what the next catalog is compared with."""


def _other_columns(path: Path) -> None:
    pd.DataFrame({"other": [1, 2, 3]}).to_parquet(path)


def _other_types(path: Path) -> None:
    try:
        table = pd.read_parquet(path)
    except Exception:  # no table
        return _other_columns(path)
    return pd.DataFrame({name: [None, "text"] for name in table.columns}).to_parquet(path)


def _folder(path: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("somebody's")


FILES_OF_A_KIND = 5
"""Of all files, how many are damaged in one way, drawn by its name: each of them in each way takes hours."""

DAMAGES: dict[str, Callable[[Path, bytes], object]] = {
    "truncated": lambda path, content: path.write_bytes(content[: len(content) // 2]),
    "empty": lambda path, content: path.touch(),
    "text": lambda path, content: path.write_text("this is no table\n"),
    "other columns": lambda path, content: _other_columns(path),
    "other types": lambda path, content: _other_types(path),
    "a folder": lambda path, content: _folder(path),
    "a FIFO": lambda path, content: os.mkfifo(path),
    "removed": lambda path, content: None,
}


def damage(path: Path, kind: str) -> None:
    content = path.read_bytes()
    path.unlink()
    DAMAGES[kind](path, content)


def kinds_of_files(folder: Path) -> Iterator[Path]:
    """Yield one file of each kind that stages wrote, images left out: those of one folder with one form of name are a kind."""
    seen = set()
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        is_input = {"images", "processed_images", "diagnoses.csv"} & set(path.relative_to(folder).parts)
        if is_input or path.is_symlink() or not path.is_file() or path.name.startswith("."):
            continue
        kind = re.sub(r"[0-9a-f]{6,}|\d\d", "#", name)
        if kind not in seen:
            seen.add(kind)
            yield path


def went_well(errors: list[str], what: str, config: PipelineConfig, stages: Sequence[str], name: str) -> bool:
    """Run the stages. Note an error that is none for people, or names neither the file nor the candidate that it is of.

    Return whether they succeeded.
    """
    try:
        for stage in stages:
            run_stage(stage, config)
    except DataError as error:
        if Path(name).stem not in str(error) and "holds no trained candidate" not in str(error):
            errors.append(f"{what}: {error} does not name {name}")
        return False
    except Exception as error:
        errors.append(f"{what}: {type(error).__name__}: {error}")
        return False
    return True


QUICK = [
    *[("catalog.parquet", stage) for stage in DATA_SIDE[:4]],
    ("manifest.parquet", "organize"),
    ("manifest.parquet", "embed"),
    ("tables/ingest/*.parquet", "ingest"),
    ("tables/resize/*.parquet", "resize"),
    ("tables/resize/*.parquet", "augment"),
    ("tables/resize/*.parquet", "organize"),
    ("tables/augment/*.parquet", "organize"),
    ("tables/duplicates/*/pairs.parquet", "ingest"),
]
MADE_ANEW = (
    ("manifest.parquet", "organize"),
    ("tables/ingest", "ingest"),
    ("tables/resize", "resize"),
    ("tables/dup", "ingest"),
)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[] if kind in ("truncated", "a FIFO") else pytest.mark.slow)
        for kind in DAMAGES
        if kind != "removed"
    ],
)
@pytest.mark.parametrize(("place", "stage"), QUICK)
def test_a_stage_that_finds_a_damaged_table_makes_it_anew_or_stops_with_a_remedy(
    processed: DataSet, place: str, stage: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A truncated catalog or manifest was a traceback in resize and embed; without a word, ingest compared new data with
    nothing, and augment and organize went on without the images of a damaged table of resize.
    """
    path = min(processed.folder.glob(place))
    damage(path, kind)
    errors: list[str] = []
    with watched(processed.folder):
        is_done = went_well(errors, stage, processed.config(), [stage], path.name)
    assert not errors
    assert is_done == any(place.startswith(start) and stage == one for start, one in MADE_ANEW)
    if is_done:
        assert str(path) in caplog.text


def test_a_damaged_catalog_that_is_removed_is_written_anew(processed: DataSet) -> None:
    before = results(processed.folder)
    path = processed.folder / "catalog.parquet"
    damage(path, "truncated")
    with pytest.raises(DataError, match="Or remove it and run ingest"):
        run_stage("ingest", processed.config())
    path.unlink()
    run_data_side(processed.config())
    assert results(processed.folder) == before


@pytest.mark.slow
@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_record_of_the_data_is_made_anew_or_stops_with_a_remedy(
    embedded: DataSet, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert went_well([], "whole", embedded.config(), DATA_SIDE, "")
    whole = tmp_path / "whole"
    whole.mkdir()
    for name in ("dataset", "models"):
        copy_tree(tmp_path / name, whole / name)
    before = digests_of(tmp_path)
    errors: list[str] = []
    files = [path.relative_to(whole) for path in kinds_of_files(whole)]
    assert {path.suffix for path in files} == {".parquet", ".json", ".html", ".npy", ".tflite", ".sha256", ".h5"}
    for file in Random(kind).sample(files, FILES_OF_A_KIND):
        for stages in (*((stage,) for stage in DATA_SIDE), DATA_SIDE):
            put_back(whole, tmp_path)
            damage(tmp_path / file, kind)
            caplog.clear()
            what = f"{' '.join(stages)} with {file} {kind}"
            with watched(tmp_path / "dataset", tmp_path / "models"):
                is_done = went_well(errors, what, embedded.config(), stages, file.name)
            if len(stages) == 1 or kind == "removed":
                continue
            if is_done == (file.name in RECORDS):
                errors.append(f"{what}: {'went on' if is_done else 'stopped'}")
            if is_done and kind == "a folder" and not somebodys(tmp_path):
                errors.append(f"{what}: what lay in the folder is lost")
            if is_done and digests_of(tmp_path) != before:
                errors.append(f"{what}: other results")
            if is_done and file.suffix not in (".html", ".json", ".h5") and file.stem not in caplog.text:
                errors.append(f"{what}: no word of it")
    assert not errors, "\n".join(errors)


def somebodys(folder: Path) -> list[Path]:
    return [path for name in ("dataset", "models") for path in (folder / name).rglob("notes.txt")]


def digests_of(folder: Path) -> dict[str, str]:
    """Return what stages leave for others. Tables hold times of files, and a report that is written again compares anew."""
    return {
        f"{name}/{path}": digest
        for name in ("dataset", "models")
        for path, digest in digests(folder / name).items()
        if not path.startswith(("tables/", "images/", "features/", "data_report")) and "set-aside" not in path
    }


def put_back(whole: Path, folder: Path) -> None:
    for name in ("dataset", "models"):
        shutil.rmtree(folder / name)
        copy_tree(whole / name, folder / name)


LEARNING = ("train", "evaluate")


@pytest.mark.slow
@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_record_beside_a_model_never_ends_in_a_traceback(trained: Path, tmp_path: Path, kind: str) -> None:
    errors: list[str] = []
    copy = tmp_path / "copy"
    names = [
        path.relative_to(trained)
        for folder in (trained / "dataset", trained / "models" / "candidates")
        for path in kinds_of_files(folder)
    ]
    for name, stage in Random(kind).sample([(name, stage) for name in names for stage in LEARNING], FILES_OF_A_KIND):
        shutil.rmtree(copy, ignore_errors=True)
        copy_trained(trained, copy)
        damage(copy / name, kind)
        with watched(copy, memory=16 * 1024**3):  # TensorFlow reserves much
            went_well(errors, f"{stage} with {name} {kind}", config_of(copy), [stage], name.name)
    assert not errors, "\n".join(errors)
