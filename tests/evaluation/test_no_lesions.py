"""The pictures without a lesion: what they are made from, and that they are the same in every run."""

from __future__ import annotations

import numpy as np
import pytest

from skinlesion.data.sources.drawn.picture import draw_lesion, draw_view
from skinlesion.evaluation.no_lesions import ALTERED, DRAWN, smoke_set


@pytest.fixture(scope="module")
def lesions() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [draw_view(draw_lesion(dx, rng, 160), rng, (224, 224)) for dx in ("nv", "mel", "bkl")]


def test_every_kind_is_drawn_as_often_as_asked_and_no_picture_twice(lesions: list[np.ndarray]) -> None:
    pictures = smoke_set(lesions, each=3)
    kinds = [kind for kind, _ in pictures]
    assert {kind: kinds.count(kind) for kind in kinds} == dict.fromkeys([*DRAWN, *ALTERED], 3)
    for kind, picture in pictures:
        assert picture.dtype == np.uint8, kind
        assert picture.shape == (224, 224, 3), kind
    seen = {kind: {picture.tobytes() for other, picture in pictures if other == kind} for kind in kinds}
    assert [kind for kind, contents in seen.items() if len(contents) < 3] == []


def test_the_pictures_are_the_same_in_every_run_and_do_not_depend_on_their_number(lesions: list[np.ndarray]) -> None:
    few, more = smoke_set(lesions, each=2), smoke_set(lesions, each=3)
    for kind in [*DRAWN, *ALTERED]:
        first, again = ([picture for other, picture in pictures if other == kind] for pictures in (few, more))
        assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=False))


def test_colours_are_inverted_and_channels_swapped(lesions: list[np.ndarray]) -> None:
    of_kind = dict(smoke_set(lesions[:1], each=1))
    assert np.array_equal(of_kind["inverted colours"].astype(int) + lesions[0], np.full((224, 224, 3), 255))
    assert np.array_equal(of_kind["swapped channels"][..., 0], lesions[0][..., 2])


def test_without_lesions_only_what_is_drawn_from_nothing_is_there() -> None:
    assert {kind for kind, _ in smoke_set([], each=1)} == set(DRAWN)
