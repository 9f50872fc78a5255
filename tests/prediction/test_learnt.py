"""A model knows the pictures that it learnt from again, also turned and re-encoded, and no others."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from skinlesion.data.images.file import Pixels, encode_jpeg
from skinlesion.data.images.perceptual_hash import descriptor_of
from skinlesion.data.sources.drawn.picture import draw_lesion, draw_view
from skinlesion.foundation.checksum import sha256_of
from skinlesion.foundation.errors import DataError
from skinlesion.prediction.learnt import SENTENCES, LearntPictures


def picture(seed: int) -> Pixels:
    random = np.random.default_rng(seed)
    return draw_view(draw_lesion("nv" if seed % 2 else "mel", random, 300), random, (400, 300))


PICTURES = [picture(seed) for seed in range(12)]
FILES = [encode_jpeg(one, 95) for one in PICTURES]
LEARNT = LearntPictures.of((sha256_of(content) for content in FILES), [*(descriptor_of(one) for one in PICTURES), ""])


@pytest.mark.parametrize("at", range(len(FILES)))
def test_the_file_itself_is_known_and_a_copy_re_encoded_turned_mirrored_and_reduced(at: int) -> None:
    pixels = PICTURES[at]
    assert LEARNT.of_picture(sha256_of(FILES[at]), pixels) == "same file"
    for copy in (
        np.asarray(cv2.imdecode(np.frombuffer(encode_jpeg(pixels, 60), np.uint8), cv2.IMREAD_COLOR))[..., ::-1],
        np.ascontiguousarray(np.rot90(pixels)),
        np.ascontiguousarray(pixels[:, ::-1]),
        cv2.resize(pixels, (224, 224), interpolation=cv2.INTER_AREA),
    ):
        assert LEARNT.of_picture(sha256_of(b"another file"), np.asarray(copy, np.uint8)) == "nearly the same picture"


def test_other_pictures_are_not_known() -> None:
    for seed in range(100, 130):
        other = picture(seed)
        assert LEARNT.of_picture(sha256_of(encode_jpeg(other, 95)), other) == "no"
    assert LEARNT.of_picture(sha256_of(b""), np.full((224, 224, 3), 90, np.uint8)) == "no", (
        "without contrast there is no hash"
    )


def test_the_file_holds_no_name_and_reads_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "learnt_pictures.npz"
    LEARNT.write(path)
    read = LearntPictures.read(path.read_bytes(), path.name)
    assert [read.of_picture(sha256_of(FILES[at]), PICTURES[at]) for at in range(3)] == ["same file"] * 3
    assert (read.contents == LEARNT.contents).all() and len(read.descriptors) == len(LEARNT.descriptors)


@pytest.mark.parametrize("content", [b"", b"no arrays", b"PK\x03\x04"])
def test_a_damaged_file_is_named(content: bytes) -> None:
    with pytest.raises(DataError, match=r"learnt_pictures\.npz cannot be read"):
        LearntPictures.read(content, "learnt_pictures.npz")


def test_a_model_that_learnt_nothing_known_knows_nothing() -> None:
    assert LearntPictures.of([], []).of_picture(sha256_of(FILES[0]), PICTURES[0]) == "no"
    assert SENTENCES["no"] == SENTENCES[""] == ""
