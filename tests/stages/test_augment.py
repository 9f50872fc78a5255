from __future__ import annotations

import random
from collections.abc import Iterable

import numpy as np
import pytest
from PIL import Image
from tests.stages.data_set import DataSet, Files, contents_of, files_in, picture

from skinlesion.data.images.file import read_header
from skinlesion.data.split import HELD_OUT, TRAIN
from skinlesion.foundation import layout
from skinlesion.foundation.shard import Shard
from skinlesion.stages.augment import augment, augmented_copy


def files(dataset: DataSet) -> Files:
    return files_in(layout.augmented(dataset.folder))


def contents(dataset: DataSet) -> dict[str, bytes]:
    return contents_of(layout.augmented(dataset.folder))


def copies_of(images: Iterable[str], count: int = 1) -> set[str]:
    return {f"{image}__aug{copy:02d}.jpg" for image in images for copy in range(1, count + 1)}


def test_each_training_image_gets_its_copy_and_held_out_images_none(processed: DataSet) -> None:
    made = contents(processed)
    assert processed.images_of(HELD_OUT)
    assert set(made) == copies_of(processed.images_of(TRAIN))
    for content in made.values():
        header = read_header(content)
        assert (header.format, header.width, header.height, header.mode) == ("JPEG", 224, 224, "RGB")
    assert len(set(made.values())) == len(made)


def test_the_bytes_do_not_depend_on_the_number_of_workers(processed: DataSet) -> None:
    augment(processed.config(copies=9, workers=1))
    before = contents(processed)
    report = augment(processed.config(copies=9, workers=2, force=True))
    assert report.done == len(before) > 32, "as few as that are made in this process"
    assert contents(processed) == before


def test_augment_neither_follows_the_global_generators_nor_changes_them(processed: DataSet) -> None:
    before = contents(processed)
    random.seed(7)
    np.random.seed(7)
    assert augment(processed.config(force=True)).done == len(before)
    assert contents(processed) == before
    drawn = random.random(), np.random.random()
    random.seed(7)
    np.random.seed(7)
    assert drawn == (random.random(), np.random.random())


def test_another_seed_gives_other_copies_and_the_old_one_the_old_ones(processed: DataSet) -> None:
    before = contents(processed)
    other = processed.config(seed=1)
    assert augment(other).done == len(before)
    assert set(contents(processed)) == set(before)
    assert sum(contents(processed)[name] != before[name] for name in before) > len(before) * 0.9
    augment(processed.config())
    assert contents(processed) == before


def test_more_copies_make_only_the_new_ones_and_fewer_remove_them(processed: DataSet) -> None:
    before = files(processed)
    training = processed.images_of(TRAIN)
    assert augment(processed.config(copies=2)).done == len(training)
    after = files(processed)
    assert set(after) == copies_of(training, 2)
    assert {name: after[name] for name in before} == before
    assert all(after[name][0] != after[name.replace("02", "01")][0] for name in copies_of(training, 2) - set(before))
    report = augment(processed.config(copies=1))
    assert (report.done, report.details["removed"]) == (0, len(training))
    assert files(processed) == before


def test_shards_give_the_same_copies_as_one_run_also_when_their_number_changes(processed: DataSet) -> None:
    before = contents(processed)
    for path in layout.augmented(processed.folder).iterdir():
        path.unlink()
    assert sum(augment(processed.config(), shard).done for shard in Shard.every(3)) == len(before)
    assert contents(processed) == before
    assert [augment(processed.config(), shard).done for shard in Shard.every(2)] == [0, 0]
    assert contents(processed) == before


OPERATIONS = ("rotation_probability", "flip_probability", "zoom_probability", "brightness_probability")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_happens_at_its_probability(few: DataSet, operation: str) -> None:
    image = Image.fromarray(picture(1, (224, 224)))
    never = augmented_copy(image, "a", few.config(**dict.fromkeys(OPERATIONS, 0)))
    always = augmented_copy(image, "a", few.config(**dict.fromkeys(OPERATIONS, 0) | {operation: 1}))
    assert never.tobytes() == image.tobytes()
    assert always.tobytes() != image.tobytes()
    assert always.size == image.size
