from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.images.pictures import drawn

from skinlesion.data.images.file import Pixels
from skinlesion.data.images.orientation import ORIENTATIONS
from skinlesion.data.images.perceptual_hash import (
    BITS,
    Words,
    descriptor_of,
    distances,
    orientations,
    parse_descriptors,
)
from skinlesion.data.sources.drawn.diagnoses import PATTERNS


def all_oriented(image: Pixels) -> list[Pixels]:
    """Return the orientations of an image as `orientations` orders them."""
    return [
        np.ascontiguousarray(one[:: -1 if upside_down else 1, :: -1 if mirrored else 1])
        for one in (image, image.transpose(1, 0, 2))
        for mirrored in (False, True)
        for upside_down in (False, True)
    ]


def signs_of(*images: Pixels) -> Words:
    return parse_descriptors([descriptor_of(image) for image in images]).signs


def bits_between(one: Words, other: Words) -> int:
    return int(np.bitwise_count(one ^ other).sum())


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    dx=st.sampled_from(sorted(PATTERNS)),
    width=st.integers(64, 140),
    height=st.integers(64, 140),
)
def test_the_hash_of_each_orientation_follows_from_the_hash_of_one(seed: int, dx: str, width: int, height: int) -> None:
    image = drawn(seed, (width, height), dx=dx)
    expected = orientations(signs_of(image))[0]
    found = signs_of(*all_oriented(image))
    assert max(bits_between(one, other) for one, other in zip(expected, found, strict=True)) <= 6


@settings(max_examples=25, deadline=None)
@given(words=st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=2), which=st.integers(0, ORIENTATIONS - 1))
def test_the_eight_orientations_are_a_closed_set_whichever_one_starts_from(words: list[int], which: int) -> None:
    signs = np.array([words], dtype=np.uint64)
    once = orientations(signs)[0]
    again = orientations(once[which : which + 1])[0]
    assert sorted(map(tuple, once.tolist())) == sorted(map(tuple, again.tolist()))
    assert once[0].tolist() == words


def test_distances_are_to_the_nearest_orientation() -> None:
    images = [drawn(seed) for seed in range(6)]
    known = signs_of(*images)
    rng = np.random.default_rng(0)
    for number, image in enumerate(images):
        copy = all_oriented(image)[rng.integers(ORIENTATIONS)]
        bits = distances(known, orientations(signs_of(copy))[0])
        assert bits[number] <= 6
        assert np.delete(bits, number).min() > 12


def test_distances_count_bits() -> None:
    turns = np.tile(np.array([0, 0b1011], dtype=np.uint64), (ORIENTATIONS, 1))
    known = np.array([[0, 0b1011], [0, 0], [2**64 - 1, 2**64 - 1]], dtype=np.uint64)
    assert distances(known, turns).tolist() == [0, 3, BITS - 3]


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_an_image_without_contrast_has_no_descriptor(grey: int) -> None:
    flat = np.full((64, 80, 3), grey, dtype=np.uint8)
    assert descriptor_of(flat) == ""
    flat[:, :40] = np.clip(grey + 60, 0, 195)
    assert len(descriptor_of(flat)) == 38


def test_a_descriptor_holds_the_mean_colour() -> None:
    image = drawn(1)
    colour = parse_descriptors([descriptor_of(image)]).colour[0]
    assert colour.tolist() == np.rint(image.reshape(-1, 3).mean(0)).astype(int).tolist()


def test_what_is_no_descriptor_is_refused_and_no_descriptors_are_an_empty_table() -> None:
    assert len(parse_descriptors([])) == 0
    with pytest.raises(ValueError, match="38 hex digits for each of 2 descriptors, got 40"):
        parse_descriptors(["0" * 38, "00"])
