import numpy as np
import pytest

from skinlesion.data.images.orientation import ORIENTATIONS, oriented

IMAGE = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)


def test_the_orientations_are_all_different_and_the_first_is_the_image_itself() -> None:
    all_oriented = [oriented(IMAGE, orientation) for orientation in range(ORIENTATIONS)]
    assert np.array_equal(all_oriented[0], IMAGE)
    assert len({orientation.tobytes() for orientation in all_oriented}) == ORIENTATIONS


def test_the_first_four_mirror_and_the_others_turn_by_a_quarter() -> None:
    assert np.array_equal(oriented(IMAGE, 1), IMAGE[:, ::-1])
    assert np.array_equal(oriented(IMAGE, 2), IMAGE[::-1])
    assert np.array_equal(oriented(IMAGE, 3), np.rot90(IMAGE, 2))
    quarters = [np.rot90(IMAGE, turn) for turn in (1, 3)]
    assert all(
        any(np.array_equal(oriented(IMAGE, orientation), quarter) for orientation in range(4, 8))
        for quarter in quarters
    )


def test_each_orientation_keeps_every_pixel_and_gives_an_array_of_its_own() -> None:
    for orientation in range(ORIENTATIONS):
        result = oriented(IMAGE, orientation)
        assert result.flags["C_CONTIGUOUS"]
        assert sorted(map(tuple, result.reshape(-1, 3).tolist())) == sorted(map(tuple, IMAGE.reshape(-1, 3).tolist()))


def test_another_orientation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.\.7"):
        oriented(IMAGE, 8)
