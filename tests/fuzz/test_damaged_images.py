"""Damaged JPEG and PNG files go through the gate as they would at night: ingest, then resize."""

from __future__ import annotations

import io
import struct
import zlib
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import Image
from tests.data.images.pictures import drawn, encoded, png_of
from tests.fuzz.campaign import DAMAGES, Damage, Random, watched_ingest

SEED = 4
SIZE = (96, 72)


def whole_jpegs() -> list[bytes]:
    image = Image.fromarray(drawn(1, SIZE))
    exif = Image.Exif()
    exif[0x112] = 6
    return [
        encoded(image, "JPEG", quality=90),
        encoded(image, "JPEG", quality=75, progressive=True),
        encoded(image, "JPEG", quality=95, subsampling=0, exif=exif),
        encoded(image.convert("L"), "JPEG", quality=90),
        encoded(image.convert("CMYK"), "JPEG", quality=90),
        cv2.imencode(".jpg", np.asarray(image)[..., ::-1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 2])[1].tobytes(),
    ]


def whole_pngs() -> list[bytes]:
    image = Image.fromarray(drawn(2, SIZE))
    sixteen = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    return [
        encoded(image, "PNG"),
        encoded(image, "PNG", compress_level=0),  # a flipped bit still inflates
        encoded(image.convert("P"), "PNG"),
        encoded(image.convert("L"), "PNG"),
        encoded(image.convert("RGBA"), "PNG"),
        encoded(sixteen, "PNG"),
    ]


WHOLE = {".jpg": whole_jpegs(), ".png": whole_pngs()}


# --- Damage that knows the format ---------------------------------------------------------------------------------


def marker_injected(content: bytes, random: Random) -> bytes:
    start = int(random.integers(2, len(content)))
    marker = bytes([0xFF, random.choice([0xD8, 0xD9, 0xDA, 0xC0, 0xC2, 0xC4, 0xD0, 0xFE])])
    return content[:start] + marker + content[start:]


def jpeg_of_another_size(content: bytes, random: Random) -> bytes:
    """The header promises other sides than the data has."""
    spoiled = bytearray(content)
    place = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))
    struct.pack_into(">HH", spoiled, place + 5, *(int(side) for side in random.integers(33, 400, size=2)))
    return bytes(spoiled)


def chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    found, place = [], 8
    while place < len(png):
        (length,) = struct.unpack_from(">I", png, place)
        found.append((png[place + 4 : place + 8], png[place + 8 : place + 8 + length]))
        place += 12 + length
    return found


def chunks_shuffled(content: bytes, random: Random) -> bytes:
    """A chunk is missing, doubled or elsewhere; every checksum is right."""
    parts = chunks(content)
    place = int(random.integers(len(parts)))
    part = parts.pop(place)
    if random.random() < 0.6:
        for _ in range(2):
            parts.insert(int(random.integers(len(parts) + 1)), part)
    return png_of(parts)


def one_byte_wrong(data: bytes, random: Random) -> bytes:
    place = int(random.integers(len(data)))
    return data[:place] + bytes([data[place] ^ int(random.integers(1, 256))]) + data[place + 1 :]


def chunk_spoiled(content: bytes, random: Random) -> bytes:
    """A chunk's bytes are wrong and its checksum is right."""
    parts = chunks(content)
    place = int(random.integers(len(parts)))
    kind, data = parts[place]
    if data:
        parts[place] = (
            kind,
            data[: random.integers(len(data))] if random.random() < 0.5 else one_byte_wrong(data, random),
        )
    return png_of(parts)


OF_FORMAT: dict[str, tuple[Damage, ...]] = {
    ".jpg": (marker_injected, jpeg_of_another_size),
    ".png": (chunks_shuffled, chunk_spoiled),
}


def damaged_files(number: int) -> dict[str, bytes]:
    """Return the content of each file by its name, which says what damage was done; half of them are JPEG."""
    random = np.random.default_rng(SEED)
    files = {}
    for index in range(number):
        suffix = (".jpg", ".png")[index % 2]
        whole = WHOLE[suffix][int(random.integers(len(WHOLE[suffix])))]
        choice = [*DAMAGES.values(), *OF_FORMAT[suffix]]
        damage = choice[int(random.integers(len(choice)))]
        spoiled = damage(whole, random)
        while spoiled == whole:
            damage = choice[int(random.integers(len(choice)))]
            spoiled = damage(whole, random)
        files[f"{index:04d}_{damage.__name__}{suffix}"] = spoiled
    return files


# --- What decodes whole, by other means than the gate's -----------------------------------------------------------


def require_whole_png(content: bytes) -> None:
    """Fail unless every checksum is right and the data holds every pixel that the header promises."""
    data, place, kind = b"", 8, b""
    header: tuple[int, ...] = ()
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", content, place)
        body = content[place + 8 : place + 8 + length]
        assert struct.unpack_from(">I", content, place + 8 + length)[0] == zlib.crc32(kind + body), kind
        if kind == b"IHDR":
            said = struct.unpack(">IIBBBBB", body)
            assert header in ((), said), "two headers that differ"
            header = said
        data += body if kind == b"IDAT" else b""
        place += 12 + length
    # Without zlib's own checksum over the pixels: the chunks' checksums say the same, and no decoder looks at both.
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    pixels = inflate.decompress(data[2:]) + inflate.flush()
    assert inflate.eof
    width, height, depth, colour, _, _, interlaced = header
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    assert not interlaced
    assert len(pixels) >= height * (1 + (width * depth * channels + 7) // 8)


def require_whole_jpeg(content: bytes) -> None:
    """Fail unless it decodes at full size without one complaint. A JPEG has no checksum: more cannot be known.

    Of stray bytes between segments a decoder complains too; then the picture must be one that came to no harm.
    """
    with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
        pixels = np.asarray(image)
        mode = image.mode
    try:
        simplejpeg.decode_jpeg(content, "CMYK" if mode == "CMYK" else "RGB", strict=True)
    except ValueError as complaint:
        assert "extraneous bytes" in str(complaint)
        wholes = [np.asarray(Image.open(io.BytesIO(whole))) for whole in WHOLE[".jpg"]]
        assert any(np.array_equal(pixels, whole) for whole in wholes), complaint


# --- The night ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[120, pytest.param(1000, marks=pytest.mark.slow)])
def files(request: pytest.FixtureRequest) -> dict[str, bytes]:
    return damaged_files(request.param)


WHOLE_FILES = {
    f"whole_{suffix[1:]}_{place}{suffix}": one for suffix in WHOLE for place, one in enumerate(WHOLE[suffix])
}


@pytest.fixture(scope="module")
def reasons(files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return why each file is not used; empty for those that are."""
    dataset = tmp_path_factory.mktemp("images") / "dataset"
    (dataset / "images").mkdir(parents=True)
    everything = files | WHOLE_FILES
    for name, content in everything.items():
        (dataset / "images" / name).write_bytes(content)
    rows = [f"{Path(name).stem},nv" for name in everything]
    (dataset / "diagnoses.csv").write_text("\n".join(["image,dx", *rows]))
    found = watched_ingest("images", dataset)
    return {name: found[Path(name).stem] for name in everything}


def test_each_file_is_used_or_refused_with_a_reason_in_a_few_words(
    reasons: dict[str, str], files: dict[str, bytes]
) -> None:
    assert reasons.keys() > files.keys()
    assert all(len(reason) < 300 and "\n" not in reason for reason in reasons.values())
    assert Counter(reason == "" for reason in reasons.values())[False] > 0.8 * len(files)


def test_the_files_that_came_to_no_harm_are_used(reasons: dict[str, str]) -> None:
    assert {name: reasons[name] for name in WHOLE_FILES} == dict.fromkeys(WHOLE_FILES, "")


def test_no_file_is_used_that_does_not_decode_whole(reasons: dict[str, str], files: dict[str, bytes]) -> None:
    used = [name for name in files if not reasons[name]]
    assert {name.rpartition(".")[2] for name in used} == {"jpg", "png"}, "some damage does not matter"
    for name in used:
        (require_whole_png if name.endswith(".png") else require_whole_jpeg)(files[name])


def test_a_file_that_ends_early_is_never_used(reasons: dict[str, str], files: dict[str, bytes]) -> None:
    early = [name for name in reasons if "_truncated" in name]
    assert len(early) > len(files) / 20
    assert [name for name in early if not reasons[name]] == []
