"""Lesions that a model learnt and that turn out to be held-out ones: known again through real nights of the data side."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.registry.trained import trained
from tests.stages.data_set import DataSet, jpeg, run_data_side
from tests.training_record import write_learnt, write_training_record

from skinlesion.data.catalog import read_catalog
from skinlesion.data.manifest import held_out_rows, read_manifest
from skinlesion.data.split import HELD_OUT, TRAIN, own_groups
from skinlesion.prediction.measurable import learnt_among, read_learnt
from skinlesion.registry.candidate import Candidate


@pytest.fixture
def champion(processed: DataSet) -> Candidate:
    """Return a model that learnt the training images of the first night."""
    candidate = trained(processed.config().models, "champion")
    manifest = read_manifest(processed.folder)
    write_learnt(candidate, manifest[(manifest["split"] == TRAIN) & (manifest["copy"] == 0)])
    write_training_record(candidate)
    return candidate


def known_again(dataset: DataSet, champion: Candidate) -> set[str]:
    """Return the held-out images of which the model learnt the lesion."""
    rows, catalog = held_out_rows(read_manifest(dataset.folder)), read_catalog(dataset.folder)
    others = catalog.assign(original=catalog["sha256"], lesion=own_groups(catalog))
    learnt = learnt_among(rows, read_learnt(champion), others[["image", "original", "lesion", "group"]])
    return set(rows.loc[rows["group"].isin(rows.loc[learnt, "group"]), "image"])


def merge(dataset: DataSet) -> tuple[str, str]:
    """Give a training image the lesion of a held-out one; return both."""
    train, held = dataset.images_of(TRAIN)[0], dataset.images_of(HELD_OUT)[0]
    dataset.relabel({train}, lesion_id=dataset.column("lesion_id")[held], dx=dataset.column("dx")[held])
    return train, held


def renamed(dataset: DataSet, train: str) -> None:
    row = next(row for row in dataset.rows() if row["image"] == train)
    content = dataset.original(f"{train}.jpg").read_bytes()
    dataset.remove_row(train)
    dataset.original(f"{train}.jpg").unlink()
    dataset.write_rows([*dataset.rows(), row | {"image": "renamed"}])
    dataset.put("renamed.jpg", content)


AFTER_THE_MERGER: dict[str, Callable[[DataSet, str], object]] = {
    "nothing more": lambda dataset, train: None,
    "renamed": renamed,
    "deleted": lambda dataset, train: dataset.original(f"{train}.jpg").unlink(),
    "photographed anew": lambda dataset, train: dataset.put(f"{train}.jpg", jpeg(7)),
    "damaged": lambda dataset, train: dataset.put(f"{train}.jpg", b"no image"),
}


@pytest.mark.parametrize("then", AFTER_THE_MERGER)
@pytest.mark.parametrize("quality", [95, 60])
def test_a_lesion_that_was_merged_late_is_not_measured_on(
    processed: DataSet, champion: Candidate, then: str, quality: int
) -> None:
    """A champion was measured on lesions that it had learnt under another number."""
    assert known_again(processed, champion) == set()
    train, held = merge(processed)
    AFTER_THE_MERGER[then](processed, train)
    run_data_side(processed.config(jpeg_quality=quality))
    found = known_again(processed, champion)
    assert held in found
    catalog = processed.catalog()
    assert found == set(catalog.index[(catalog["group"] == catalog.at[held, "group"]) & (catalog["refused"] == "")])


def test_other_held_out_images_are_measured_whatever_their_files_are_made_from(
    processed: DataSet, champion: Candidate
) -> None:
    run_data_side(processed.config(jpeg_quality=60))
    assert known_again(processed, champion) == set()


def test_a_copy_that_joins_a_learnt_lesion_with_a_held_out_one_is_known(
    processed: DataSet, champion: Candidate
) -> None:
    train, held = processed.images_of(TRAIN)[0], processed.images_of(HELD_OUT)[0]
    row = next(row for row in processed.rows() if row["image"] == held)
    processed.write_rows([*processed.rows(), row | {"image": "bridge", "dx": processed.column("dx")[train]}])
    processed.put("bridge.jpg", processed.original(f"{train}.jpg").read_bytes())
    run_data_side(processed.config())
    assert held in known_again(processed, champion)
