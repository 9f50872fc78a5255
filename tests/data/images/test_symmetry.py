import numpy as np
import pytest

from skinlesion.data.images.symmetry import WAYS, laid

PICTURE = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)


def test_the_ways_are_all_different_and_the_first_is_the_picture_itself():
    ways = [laid(PICTURE, way) for way in range(WAYS)]
    assert np.array_equal(ways[0], PICTURE)
    assert len({way.tobytes() for way in ways}) == WAYS


def test_the_first_four_mirror_and_the_others_turn_by_a_quarter():
    assert np.array_equal(laid(PICTURE, 1), PICTURE[:, ::-1])
    assert np.array_equal(laid(PICTURE, 2), PICTURE[::-1])
    assert np.array_equal(laid(PICTURE, 3), np.rot90(PICTURE, 2))
    quarters = [np.rot90(PICTURE, turn) for turn in (1, 3)]
    assert all(any(np.array_equal(laid(PICTURE, way), quarter) for way in range(4, 8)) for quarter in quarters)


def test_each_way_keeps_every_pixel_and_gives_an_array_of_its_own():
    for way in range(WAYS):
        result = laid(PICTURE, way)
        assert result.flags["C_CONTIGUOUS"]
        assert sorted(map(tuple, result.reshape(-1, 3).tolist())) == sorted(map(tuple, PICTURE.reshape(-1, 3).tolist()))


def test_another_way_is_refused():
    with pytest.raises(ValueError, match=r"0\.\.7"):
        laid(PICTURE, 8)
