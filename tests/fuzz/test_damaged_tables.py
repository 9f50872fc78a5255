"""Damaged tables of diagnoses go through the gate: each is read or is one clear error."""

from __future__ import annotations

import csv
import io
import re
from typing import Any, Literal

import numpy as np
import pytest
from tests.fuzz.campaign import DAMAGES, Random, watched_ingest

from skinlesion.data.sources.drawn.sample import write_sample

SEED = 7
IMAGES = [f"ISIC_{number:07d}" for number in range(6)]
INGESTED = 5
"""One of so many tables is ingested too."""

Rows = list[list[str]]

FORMULAS = ("=1+1", '=HYPERLINK("http://x")', "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0", "\t=1")
ODD = (
    "", " ", "nan", "NULL", "a\x00b", "\x1b[31m", "é" * 40, "日本", "x" * 5000, "../../etc/passwd", 'quote"inside', "a,b",
    "line\nbreak", "-0", "1e308", "1e999", "inf", "\ufeff", "\u202egnp", "Ａ", "ISIC_1.jpg", "a__aug01",
)  # fmt: skip
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "latin-1", "cp1252", "cp1251", "shift_jis", "cp037")


def table_rows(images: list[str], random: Random) -> Rows:
    """Return a table as its user means it, with a header, of which some cells are odd."""
    header = ["image", "dx", "lesion_id", "age", "sex", "localization"]
    rows = [[image, "nv", f"L{place}", "50.0", "male", "back"] for place, image in enumerate(images)]
    for _ in range(int(random.integers(4))):
        row, column = int(random.integers(len(rows))), int(random.integers(len(header)))
        rows[row][column] = str(random.choice(np.array(FORMULAS + ODD, dtype=object)))
    return [header, *rows]


def header_changed(rows: Rows, random: Random) -> Rows:
    names = [["image", "image"], ["dx", "DX "], ["", ""], ["=image", "dx"], ["image", "dx"], ["age", "age_approx"]]
    first, second = names[int(random.integers(len(names)))]
    places = random.choice(len(rows[0]), size=2, replace=False)
    header = list(rows[0])
    header[places[0]], header[places[1]] = first, second
    return [header, *rows[1:]]


def column_doubled(rows: Rows, random: Random) -> Rows:
    place = int(random.integers(len(rows[0])))
    return [[*row, row[place]] for row in rows]


def row_doubled(rows: Rows, random: Random) -> Rows:
    place = int(random.integers(len(rows)))
    return [*rows, [*rows[place][:1], str(random.choice(["mel", "nv", ""])), *rows[place][2:]]]


def ragged(rows: Rows, random: Random) -> Rows:
    place = int(random.integers(len(rows)))
    row = rows[place][: int(random.integers(len(rows[place])))] if random.random() < 0.5 else [*rows[place], "more"]
    return [*rows[:place], row, *rows[place + 1 :]]


def huge(rows: Rows, random: Random) -> Rows:
    place, column = int(random.integers(len(rows))), int(random.integers(len(rows[0])))
    row = list(rows[place])
    row[column] = "x" * int(random.choice([131_071, 131_073, 2_000_000]))
    return [*rows[:place], row, *rows[place + 1 :]]


def shuffled(rows: Rows, random: Random) -> Rows:
    return [rows[int(place)] for place in random.permutation(len(rows))]


def as_they_are(rows: Rows, random: Random) -> Rows:
    return rows


def written(rows: Rows, random: Random, *, plainly: bool) -> bytes:
    """Return the table as some program would have written it; plainly: with commas, in UTF-8."""
    delimiter = "," if plainly else str(random.choice([",", ";", "\t", "|"]))
    quoting: Literal[0, 1] = csv.QUOTE_ALL if random.random() < 0.5 else csv.QUOTE_MINIMAL
    ends = str(random.choice(["\n", "\r\n", "\r"]))
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=ends, quoting=quoting).writerows(rows)
    encoding = "utf-8" if plainly else ENCODINGS[int(random.integers(len(ENCODINGS)))]
    return text.getvalue().encode(encoding, errors="replace")


def mixed_ends(content: bytes, random: Random) -> bytes:
    ends = [b"\n", b"\r\n", b"\r", b"\n\n", b"\x0b", b"\xe2\x80\xa8"]
    return b"".join(line + ends[int(random.integers(len(ends)))] for line in content.splitlines())


def quotes_lost(content: bytes, random: Random) -> bytes:
    place = int(random.integers(len(content) + 1))
    return content[:place] + [b'"', b'""', b"'", b'"\n', b'\\"'][int(random.integers(5))] + content[place:]


def nothing_more(content: bytes, random: Random) -> bytes:
    return content


def bytes_order_marked(content: bytes, random: Random) -> bytes:
    return [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf\xef\xbb\xbf"][int(random.integers(4))] + content


OF_ROWS = (header_changed, column_doubled, row_doubled, ragged, huge, shuffled, as_they_are)
OF_BYTES = (mixed_ends, quotes_lost, bytes_order_marked, nothing_more)
GENERAL = ("truncated", "cut_out", "bits_flipped", "zeros", "inserted")


def damaged_tables(images: list[str], number: int) -> dict[str, bytes]:
    """Return, by names that say what was done to them, tables that mean to give these images a diagnosis."""
    random = np.random.default_rng(SEED)
    of_bytes = (*OF_BYTES, *(DAMAGES[name] for name in GENERAL))
    tables = {}
    for index in range(number):
        # Mostly one thing is wrong: where all is, the first hides the others.
        wrong = set(random.choice(["rows", "writing", "bytes"], size=random.choice([1, 1, 1, 2, 3]), replace=False))
        change = OF_ROWS[int(random.integers(len(OF_ROWS)))] if "rows" in wrong else as_they_are
        damage = of_bytes[int(random.integers(len(of_bytes)))] if "bytes" in wrong else nothing_more
        content = written(change(table_rows(images, random), random), random, plainly="writing" not in wrong)
        content = damage(content, random)
        tables[f"{index:03d}_{change.__name__}_{damage.__name__}.csv"] = content
    return tables


@pytest.fixture(scope="module", params=[60, pytest.param(300, marks=pytest.mark.slow)])
def number(request: pytest.FixtureRequest) -> int:
    count: int = request.param
    return count


@pytest.fixture(scope="module")
def found(number: int, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what came of each table: an error's message, or the images that are used."""
    dataset = tmp_path_factory.mktemp("tables") / "dataset"
    write_sample(dataset, images=len(IMAGES), size=(96, 72))
    for name, file in zip(IMAGES, sorted((dataset / "images").iterdir()), strict=True):
        file.rename(file.with_name(f"{name}.jpg"))
    folders = [dataset / name for name in ("tables_to_read", "tables_to_ingest")]
    for folder in folders:
        folder.mkdir()
    for place, (name, content) in enumerate(damaged_tables(IMAGES, number).items()):
        for folder in folders[: 1 + (place % INGESTED == 0)]:
            (folder / name).write_bytes(content)
    return watched_ingest("tables", dataset)


def test_each_table_is_read_or_is_one_clear_error(found: dict[str, Any], number: int) -> None:
    assert len(found) == number + number // INGESTED
    messages = {name: message for name, message in found.items() if isinstance(message, str)}
    assert 0.1 * len(found) < len(messages) < 0.9 * len(found), "some are still readable"
    for name, message in messages.items():
        assert len(message) < 3000, name
        assert re.search(r"\.csv|No image of|The data did not pass", message), name


def test_what_a_damaged_table_names_stays_in_the_images_folder(found: dict[str, Any]) -> None:
    for name, names in found.items():
        if isinstance(names, list):
            assert [image for image in names if "/" in image or "\x00" in image or image.startswith(".")] == [], name


def test_ingest_uses_only_images_that_are_there(found: dict[str, Any]) -> None:
    used = [
        set(names) for name, names in found.items() if name.startswith("tables_to_ingest") and isinstance(names, list)
    ]
    assert any(used)
    assert all(names <= set(IMAGES) for names in used)
