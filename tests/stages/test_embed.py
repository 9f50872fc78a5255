from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.stages.data_set import DataSet, jpeg, run_data_side, snapshot
from tests.strange_files import flipped

from skinlesion.data.images.orientation import ORIENTATIONS, oriented
from skinlesion.data.manifest import read_manifest
from skinlesion.data.split import HELD_OUT, TRAIN
from skinlesion.data.training_view import view_files
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.shard import Shard
from skinlesion.network.backbone import activations_folder
from skinlesion.network.built_model import require_built_model
from skinlesion.network.feature_store import Activations, FeatureStore
from skinlesion.network.settings import POOLED
from skinlesion.stages.embed import embed


def trained_on(dataset: DataSet) -> pd.DataFrame:
    manifest = read_manifest(dataset.folder)
    return manifest[manifest["split"] == TRAIN]


def store_of(dataset: DataSet) -> FeatureStore:
    weights_key = require_built_model(dataset.config().models).weights_key
    return FeatureStore(activations_folder(dataset.folder, weights_key, POOLED, ORIENTATIONS))


def activations(dataset: DataSet) -> dict[str, Activations]:
    """Return file of the view -> its stored activations."""
    manifest = trained_on(dataset)
    stored = store_of(dataset).open(list(manifest["sha256"]))
    every = np.arange(len(stored))
    rows = np.stack([stored.take(every, np.full(len(every), at)) for at in range(stored.orientations)], axis=1)
    return dict(zip(manifest["file"], rows, strict=True))


def same(one: dict[str, Activations], other: dict[str, Activations]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[file], other[file]) for file in one)


def forget(dataset: DataSet) -> None:
    for path in store_of(dataset).folder.glob("part-*"):
        path.unlink()


def test_without_a_built_model_embed_asks_for_build(embedded: DataSet, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"skin_lesion_classifier\.h5 is missing.*Run build first"):
        embed(embedded.config(models=tmp_path / "none"))


def test_stored_activations_are_those_of_keras_frozen_part(embedded_with_mobilenetv2: DataSet) -> None:
    from skinlesion.network.classifier import frozen_part, load_classifier

    embedded = embedded_with_mobilenetv2
    manifest = trained_on(embedded).head(2)
    pictures = [file.read() for file in view_files(embedded.folder, manifest)]
    images = np.stack([oriented(pixels, way) for pixels in pictures for way in range(ORIENTATIONS)]).astype(np.float32)
    frozen = frozen_part(load_classifier(layout.built_model(embedded.config().models)), POOLED)
    expected = np.asarray(frozen(images, training=False)).reshape(2, ORIENTATIONS, 1280)
    found = np.stack([activations(embedded)[file] for file in manifest["file"]])
    assert found.dtype == np.float16
    assert found.shape == (2, ORIENTATIONS, 1280)
    assert expected[:, 0].std(axis=0).max() > 0, "every image looks the same"
    assert np.abs(found - expected).max() <= 1e-2 * np.abs(expected).max()


def test_a_second_run_changes_no_file(embedded: DataSet) -> None:
    before = snapshot(embedded.folder)
    report = embed(embedded.config())
    assert (report.done, report.skipped) == (0, len(trained_on(embedded)))
    assert snapshot(embedded.folder) == before


def test_one_new_image_is_the_only_one_embedded_and_leaves_with_its_part(embedded: DataSet) -> None:
    folder = store_of(embedded).folder
    before, old = snapshot(folder), activations(embedded)
    known = embedded.images_of(TRAIN)[0]
    embedded.add("new", jpeg(1), lesion_id=embedded.column("lesion_id")[known])
    run_data_side(embedded.config())
    assert embed(embedded.config()).done == 2  # and its copy
    assert before.items() <= snapshot(folder).items()
    assert len(snapshot(folder)) == len(before) + 2
    assert same({file: row for file, row in activations(embedded).items() if "/new" not in file}, old)
    embedded.original("new.jpg").unlink()
    run_data_side(embedded.config())
    assert embed(embedded.config()).details["parts_removed"] == 1
    assert snapshot(folder) == before


@pytest.mark.parametrize("loader", ["stored-activations", "image-data-generator"])
def test_what_other_weights_have_left_goes_after_a_month(embedded: DataSet, loader: str) -> None:
    used = store_of(embedded).folder
    left = {name: FeatureStore(used.parent / name).folder for name in ("recent", "abandoned")}
    for folder, days in ((left["recent"], 29), (left["abandoned"], 31), (used, 29)):
        (folder / "frozen_part.tflite").touch()
        os.utime(folder, (time.time() - days * 24 * 3600,) * 2)
    before = snapshot(used)
    assert embed(embedded.config(loader=loader)).details["stores_removed"] == 1
    assert sorted(used.parent.iterdir()) == sorted([used, left["recent"]])
    assert snapshot(used) == before


def test_a_store_that_rested_for_months_is_used_again(embedded: DataSet) -> None:
    os.utime(store_of(embedded).folder, (0, 0))
    report = embed(embedded.config())
    assert (report.done, report.details["stores_removed"]) == (0, 0)


def test_held_out_files_get_no_activations(embedded: DataSet) -> None:
    manifest = read_manifest(embedded.folder)
    held_out = set(manifest.loc[manifest["split"] == HELD_OUT, "sha256"])
    assert held_out
    assert held_out.isdisjoint(store_of(embedded).index()["sha256"])


@pytest.mark.parametrize("left", [0, -1000])
def test_a_damaged_converted_model_is_converted_again(embedded: DataSet, left: int) -> None:
    before = activations(embedded)
    converted = store_of(embedded).folder / "frozen_part.tflite"
    converted.write_bytes(converted.read_bytes()[:left])
    forget(embedded)
    embed(embedded.config())
    assert same(activations(embedded), before)


def test_a_changed_label_costs_no_embedding(embedded: DataSet) -> None:
    image = embedded.images_of(TRAIN)[0]
    embedded.relabel({image}, dx="unk")
    run_data_side(embedded.config())
    assert embed(embedded.config()).done == 0
    assert f"unknown/{image}.jpg" in activations(embedded)


@pytest.mark.parametrize("workers", [1, 3])
def test_force_embeds_again_and_any_number_of_workers_gives_the_same(embedded: DataSet, workers: int) -> None:
    before = activations(embedded)
    assert embed(embedded.config(workers=workers, force=True)).done == len(before)
    assert same(activations(embedded), before)


def test_shards_give_the_same_activations_as_one_run_also_when_their_number_changes(embedded: DataSet) -> None:
    before = activations(embedded)
    forget(embedded)
    assert sum(embed(embedded.config(), shard).done for shard in Shard.every(3)) == len(before)
    assert same(activations(embedded), before)
    assert [embed(embedded.config(), shard).done for shard in Shard.every(2)] == [0, 0]


def test_a_harmed_part_is_noticed_and_computed_again(embedded: DataSet) -> None:
    before = activations(embedded)
    (part,) = store_of(embedded).folder.glob("part-*.npy")
    files = set(snapshot(embedded.folder))
    part.write_bytes(flipped(part.read_bytes()))
    assert embed(embedded.config()).done == len(before)
    assert same(activations(embedded), before)
    assert set(snapshot(embedded.folder)) == files


def test_a_file_of_the_view_that_is_not_the_listed_one_is_an_error_worth_a_retry(embedded: DataSet) -> None:
    forget(embedded)
    path = layout.output(embedded.folder) / trained_on(embedded)["file"].iloc[0]
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(OSError, match="has changed since organize listed it"):
        embed(embedded.config())
    assert list(store_of(embedded).folder.glob("part-*")) == []


def test_training_on_images_needs_no_activations(embedded: DataSet) -> None:
    before = snapshot(embedded.folder)
    report = embed(embedded.config(loader="image-data-generator"))
    assert (report.seen, report.done) == (0, 0)
    assert snapshot(embedded.folder) == before
