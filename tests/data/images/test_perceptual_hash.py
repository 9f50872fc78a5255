from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skinlesion.data.images.perceptual_hash import BITS, ORIENTATIONS, distances, look_of, orientations, parse_looks
from skinlesion.data.sources.drawn.picture import draw_lesion, draw_view


def drawn(seed, size=(120, 90)):
    rng = np.random.default_rng(seed)
    return draw_view(draw_lesion(str(rng.choice(["nv", "mel", "bcc", "bkl"])), rng, size[1]), rng, size)


def turned(picture):
    """Give the picture's orientations as `orientations` orders them."""
    return [
        np.ascontiguousarray(one[:: -1 if upside_down else 1, :: -1 if mirrored else 1])
        for one in (picture, picture.transpose(1, 0, 2))
        for mirrored in (False, True)
        for upside_down in (False, True)
    ]


def signs_of(*pictures):
    return parse_looks([look_of(picture) for picture in pictures]).signs


def bits_between(one, other):
    return int(np.bitwise_count(one ^ other).sum())


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), width=st.integers(64, 140), height=st.integers(64, 140))
def test_the_hash_of_each_orientation_follows_from_the_hash_of_one(seed, width, height):
    picture = drawn(seed, (width, height))
    expected = orientations(signs_of(picture))[0]
    found = signs_of(*turned(picture))
    assert max(bits_between(one, other) for one, other in zip(expected, found, strict=True)) <= 6


@settings(max_examples=25, deadline=None)
@given(words=st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=2), which=st.integers(0, ORIENTATIONS - 1))
def test_the_eight_orientations_are_a_closed_set_whichever_one_starts_from(words, which):
    signs = np.array([words], dtype=np.uint64)
    once = orientations(signs)[0]
    again = orientations(once[which : which + 1])[0]
    assert sorted(map(tuple, once.tolist())) == sorted(map(tuple, again.tolist()))
    assert once[0].tolist() == words


def test_distances_are_to_the_nearest_orientation():
    pictures = [drawn(seed) for seed in range(6)]
    known = signs_of(*pictures)
    rng = np.random.default_rng(0)
    for number, picture in enumerate(pictures):
        copy = turned(picture)[rng.integers(ORIENTATIONS)]
        bits = distances(known, orientations(signs_of(copy))[0])
        assert bits[number] <= 6
        assert np.delete(bits, number).min() > 12


def test_distances_count_bits():
    turns = np.tile(np.array([0, 0b1011], dtype=np.uint64), (ORIENTATIONS, 1))
    known = np.array([[0, 0b1011], [0, 0], [2**64 - 1, 2**64 - 1]], dtype=np.uint64)
    assert distances(known, turns).tolist() == [0, 3, BITS - 3]


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_picture_without_contrast_has_no_look(grey):
    flat = np.full((64, 80, 3), grey, dtype=np.uint8)
    assert look_of(flat) == ""
    flat[:, :40] = np.clip(grey + 60, 0, 195)
    assert len(look_of(flat)) == 38


def test_a_look_holds_the_mean_colour():
    picture = drawn(1)
    colour = parse_looks([look_of(picture)]).colour[0]
    assert colour.tolist() == np.rint(picture.reshape(-1, 3).mean(0)).astype(int).tolist()


def test_compression_and_half_the_size_change_few_bits():
    picture = drawn(3, (300, 225))
    encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 50])[1]
    halved = cv2.resize(picture, (150, 112), interpolation=cv2.INTER_AREA)
    original, *copies = signs_of(picture, cv2.imdecode(encoded, cv2.IMREAD_COLOR), halved)
    assert max(bits_between(original, copy) for copy in copies) <= 10


def test_what_is_no_look_is_refused():
    with pytest.raises(ValueError, match="38 hex digits for each of 2 looks, got 40"):
        parse_looks(["0" * 38, "00"])


def test_no_looks_are_an_empty_table():
    assert len(parse_looks([])) == 0
