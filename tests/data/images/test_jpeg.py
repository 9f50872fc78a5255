"""JPEGs that only break a rule of form are read with their pixels; those that have lost some are refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from tests.data.images.pictures import drawn, encoded

from skinlesion.data.images.file import ImageRefused, check_decodes, decode, decode_checked, read_header
from skinlesion.data.images.jpeg import mended

PICTURE = Image.fromarray(drawn(5, (300, 220)))
JPEG = encoded(PICTURE, "JPEG", quality=90)
CMYK = encoded(PICTURE.convert("CMYK"), "JPEG", quality=90)
PROGRESSIVE = encoded(PICTURE, "JPEG", quality=90, progressive=True)
SCAN = JPEG.index(b"\xff\xda")
PARAMETERS = SCAN + 2 + int.from_bytes(JPEG[SCAN + 2 : SCAN + 4], "big") - 3
JFIF = JPEG.index(b"JFIF\0")
LAST_SCAN = PROGRESSIVE.rindex(b"\xff\xda")
ADOBE = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0"


def put(content: bytes, place: int, what: bytes) -> bytes:
    return content[:place] + what + content[place + len(what) :]


def inserted(content: bytes, place: int, what: bytes) -> bytes:
    return content[:place] + what + content[place:]


NO_JFIF = JPEG[:2] + JPEG[JPEG.index(b"\xff\xdb") :]

WHOLE = {
    "scan parameters 0, 0, 0": (put(JPEG, PARAMETERS, b"\0\0\0"), JPEG),
    "scan parameters of a progressive file": (put(JPEG, PARAMETERS, b"\1\5\x10"), JPEG),
    "stray bytes before the tables": (inserted(JPEG, 20, b"stray bytes \0\1\2"), JPEG),
    "stray bytes before the scan": (inserted(JPEG, SCAN, b"xyz\0\0\0"), JPEG),
    "JFIF 2": (put(JPEG, JFIF + 5, b"\2\1"), JPEG),
    "JFIF 0": (put(JPEG, JFIF + 5, b"\0\0"), JPEG),
    "no end mark": (JPEG[:-2], JPEG),
    "half an end mark": (JPEG[:-1], JPEG),
    "no end mark, zeros of a block": (JPEG[:-2] + bytes(300), JPEG),
    "zeros before the end mark": (inserted(JPEG, len(JPEG) - 2, bytes(64)), JPEG),
    "progressive without end mark": (PROGRESSIVE[:-2], PROGRESSIVE),
    "stray bytes in a progressive file": (inserted(PROGRESSIVE, 20, b"stray"), PROGRESSIVE),
    "an Adobe transform that is not known": (inserted(NO_JFIF, 2, ADOBE + b"\x09"), JPEG),
    "two start marks": (JPEG[:2] + JPEG, JPEG),
    "CMYK without end mark": (CMYK[:-2], CMYK),
    "all at once": (put(put(inserted(JPEG, SCAN, b"12"), JFIF + 5, b"\2\0"), PARAMETERS + 2, b"\0\0\0")[:-2], JPEG),
    "rubbish after the end": (JPEG + b"\xff\xda\xff\xc0 rubbish" * 5, JPEG),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_what_only_breaks_a_rule_of_form_is_read_with_all_its_pixels(kind: str) -> None:
    content, without = WHOLE[kind]
    expected = np.asarray(Image.open(io.BytesIO(without)).convert("RGB"))
    header = read_header(content)
    check_decodes(content, header)
    assert (decode(content, header) == expected).all()
    assert (decode_checked(content, header) == expected).all()


def flipped(content: bytes, seed: int) -> bytes:
    """Return the file with 200 bytes of its scan replaced, none of them a mark."""
    random, spoiled = np.random.default_rng(seed), bytearray(content)
    start = int(random.integers(content.rindex(b"\xff\xda") + 20, len(content) - 300))
    spoiled[start : start + 200] = bytes(random.integers(0, 255, size=200, dtype=np.uint8))
    return bytes(spoiled)


LOST = {
    "two thirds": JPEG[: len(JPEG) * 2 // 3],
    "two thirds with an end mark": JPEG[: len(JPEG) * 2 // 3] + b"\xff\xd9",
    "two thirds and zeros": JPEG[: len(JPEG) * 2 // 3] + bytes(len(JPEG) // 3),
    "two thirds of a progressive file": PROGRESSIVE[: len(PROGRESSIVE) * 2 // 3],
    "a progressive file without its last scan": PROGRESSIVE[:LAST_SCAN],
    "CMYK cut off": CMYK[: len(CMYK) * 9 // 10],
    "the middle cut out": JPEG[: len(JPEG) // 2 - 500] + JPEG[len(JPEG) // 2 + 500 :],
    "cut off in the header": JPEG[:30],
    "cut off after the header": JPEG[: SCAN + 14],
    "the first mark lost": put(JPEG, 2, b"\0"),
    "no scan": JPEG[:SCAN],
    "cut off, with stray bytes before the scan": inserted(JPEG, SCAN, b"stray")[: len(JPEG) // 2],
    "cut off, parameters 0, 0, 0": put(JPEG, PARAMETERS, b"\0\0\0")[: len(JPEG) // 2],
    "bytes flipped": flipped(JPEG, 4),
    "bytes flipped in another place": flipped(JPEG, 2),
    "bytes flipped, no end mark": flipped(JPEG, 2)[:-2],
    "bytes in a quantisation table": inserted(JPEG, JPEG.index(b"\xff\xdb") + 12, b"\x0c\xde\x0e"),
    "a Huffman table whose mark is lost": JPEG.replace(b"\xff\xc4", b"\x7f\xc4", 1),
    "a Huffman table whose mark is damaged": JPEG.replace(b"\xff\xc4", b"\xff\x00", 1),
}


@pytest.mark.parametrize("kind", LOST)
def test_what_has_lost_pixels_is_refused(kind: str) -> None:
    with pytest.raises(ImageRefused, match=r"does not decode whole|not a readable image"):
        check_decodes(LOST[kind], read_header(LOST[kind]))


@pytest.mark.parametrize("whole", [JPEG, PROGRESSIVE])
def test_no_file_that_is_cut_within_its_data_is_read(whole: bytes) -> None:
    header = read_header(whole)
    for end in np.linspace(SCAN + 20, len(whole) - 3, 80).astype(int):
        with pytest.raises(ImageRefused):
            check_decodes(whole[:end], header)


def test_a_copy_is_only_mended_where_something_is_wrong() -> None:
    assert mended(JPEG) == JPEG
    assert mended(PROGRESSIVE) == PROGRESSIVE
    assert mended(b"\xff\xd8") == b"\xff\xd8"
