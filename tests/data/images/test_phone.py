"""A photograph as a phone stores it: HEIC (7 kB, written once with pillow-heif, whose encoders the project does not have)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tests.data.images.pictures import drawn
from tests.data.images.profiles import P3, by_formula

from skinlesion.data.images.file import check_decodes, decode, decode_checked, read_header

PHONE = Path(__file__).with_name("phone.heic").read_bytes()


def test_a_phones_heic_is_read_with_its_colours() -> None:
    header = read_header(PHONE)
    assert (header.format, header.width, header.height) == ("HEIC, converted from Display P3", 120, 90)
    check_decodes(PHONE, header)
    pixels = decode(PHONE, header)
    expected = by_formula(drawn(5), P3, None)
    assert np.abs(pixels - expected).mean() < 4
    assert np.abs(pixels - expected).mean() < np.abs(drawn(5) - expected).mean()
    assert (decode_checked(PHONE, header) == pixels).all()
