"""Files that are an image and something else are found, and pictures as cameras write them are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from skinlesion.data.images.file import ImageRefused, encode_jpeg
from skinlesion.data.images.hidden_content import refuse_hidden_content
from skinlesion.data.sources.drawn.picture import draw_lesion, draw_view

JPEG = encode_jpeg(draw_view(draw_lesion("nv", np.random.default_rng(1), 90), np.random.default_rng(1), (120, 90)), 90)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (JPEG + b"<HTML>", "web page"),
        (JPEG + b"..<script src=x>", "script"),
        (JPEG + b"%PDF-1.4", "PDF"),
        (JPEG + b"PK\x05\x06" + bytes(18), "ZIP"),
        (JPEG + b"\x7fELF\x02", "program"),
        (JPEG + JPEG + b"<svg onload=x>", "script"),
        (b"BM" + bytes(50) + b"<svg >", "script"),
    ],
)
def test_what_is_hidden_is_named(content: bytes, kind: str) -> None:
    with pytest.raises(ImageRefused, match=kind):
        refuse_hidden_content(content)


@pytest.mark.parametrize("content", [JPEG, JPEG + b"\x00" * 100, JPEG + JPEG, JPEG[:500], b"", b"\x89PNG", b"\xff\xd8"])
def test_a_picture_alone_or_damaged_is_left_to_the_decoder(content: bytes) -> None:
    refuse_hidden_content(content)


def test_a_pattern_within_the_compressed_picture_is_chance() -> None:
    start = JPEG.find(b"\xff\xda") + 40
    refuse_hidden_content(JPEG[:start] + b"<script >" + JPEG[start:])


def test_no_picture_of_the_sample_is_refused(tmp_path: Path) -> None:
    from skinlesion.data.sources.drawn.sample import write_sample

    write_sample(tmp_path, images=20, size=(120, 90))
    for path in (tmp_path / "images").iterdir():
        refuse_hidden_content(path.read_bytes())
