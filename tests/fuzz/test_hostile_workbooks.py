"""Hostile workbooks of labels: none takes the memory, hangs or ends in a traceback."""

from __future__ import annotations

import io
import resource
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from openpyxl import Workbook

from skinlesion.data.labels.join import join_tables
from skinlesion.foundation.errors import DataError

SECONDS = 5.0
GROWTH = 400 * 1024  # KiB of peak memory
SHEET = "xl/worksheets/sheet1.xml"
NAMESPACE = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def plain() -> bytes:
    book = Workbook()
    for row in [["image", "dx", "lesion_id"], *([f"I{number}", "nv", f"L{number}"] for number in range(30))]:
        book.worksheets[0].append(row)
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def with_part(name: str, content: bytes) -> bytes:
    """Return the plain workbook with another content of one part, compressed."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(plain())) as old, zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.namelist():
            if part != name:
                new.writestr(part, old.read(part))
        new.writestr(name, content)
    return changed.getvalue()


def sheet(rows: bytes) -> bytes:
    head = f'<worksheet xmlns="{NAMESPACE}"><dimension ref="A1:XFD1048576"/><sheetData>'.encode()
    return head + rows + b"</sheetData></worksheet>"


def text(cell: bytes, value: bytes) -> bytes:
    return b'<c r="' + cell + b'" t="inlineStr"><is><t>' + value + b"</t></is></c>"


HEADER = b'<row r="1">' + text(b"A1", b"image") + text(b"B1", b"dx") + b"</row>"
ONE = b'<row r="2">' + text(b"A2", b"A") + text(b"B2", b"nv") + b"</row>"


def lying(content: bytes, size: int) -> bytes:
    """Return an archive whose directory says of the sheet that it has so few bytes."""
    changed = bytearray(content)
    at = changed.rfind(b"PK\x01\x02", 0, changed.rfind(SHEET.encode()))
    changed[at + 24 : at + 28] = size.to_bytes(4, "little")
    return bytes(changed)


LAUGHS = b'<!DOCTYPE a [<!ENTITY l0 "ha">' + b"".join(
    f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">'.encode() for n in range(1, 12)
) + b"]>"  # fmt: skip

HOSTILE = {
    "zeros": lambda: with_part(SHEET, b"0" * (1 << 28)),
    "blanks": lambda: with_part(SHEET, sheet(b" " * (1 << 28))),
    "lying size": lambda: lying(with_part(SHEET, sheet(HEADER + ONE * 200_000)), 100),
    "empty rows": lambda: with_part(SHEET, sheet(HEADER + b"<row/>" * 3_000_000)),
    "far row": lambda: with_part(SHEET, sheet(HEADER + ONE.replace(b'r="2"', b'r="900000000"'))),
    "far column": lambda: with_part(SHEET, sheet(HEADER + text(b"XFD2", b"x").join([b'<row r="2">', b"</row>"]))),
    "many columns": lambda: with_part(
        SHEET, sheet(b'<row r="1">' + b"".join(text(b"", b"c%d" % n) for n in range(30_000)) + b"</row>")
    ),
    "laughs": lambda: with_part(SHEET, LAUGHS + sheet(HEADER + ONE.replace(b"nv", b"&l11;"))),
    "strings": lambda: with_part(
        "xl/sharedStrings.xml", f'<sst xmlns="{NAMESPACE}">'.encode() + b"<si><t/></si>" * 2_000_000 + b"</sst>"
    ),
    "outer entity": lambda: with_part(
        SHEET, b'<!DOCTYPE a [<!ENTITY p SYSTEM "file:///etc/passwd">]>' + sheet(HEADER + ONE.replace(b"nv", b"&p;"))
    ),
    "deep": lambda: with_part(SHEET, sheet(HEADER + b"<is>" * 200_000)),
    "no workbook": lambda: with_part("xl/workbook.xml", b"<a/>"),
    "no sheets": lambda: with_part(
        "xl/workbook.xml", f'<workbook xmlns="{NAMESPACE}"><sheets></sheets></workbook>'.encode()
    ),
    "old": lambda: b"\xd0\xcf\x11\xe0" + bytes(600),
    "protected": lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(5000),
    "another zip": lambda: with_part("xl/workbook.xml", b"")[:200],
}


def outcome(path: Path) -> str:
    """Return `read`, or what the error says."""
    try:
        join_tables([path])
    except DataError as error:
        return str(error)
    return "read"


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_workbook_is_one_clear_error_in_time_and_memory(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "table.xlsx"
    path.write_bytes(HOSTILE[kind]())
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    said = outcome(path)
    assert time.process_time() - start < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GROWTH
    assert str(path) in said or (said, kind) == ("read", "strings")
    assert "root:" not in said


def test_damaged_workbooks_are_read_or_one_clear_error(tmp_path: Path) -> None:
    random, content = np.random.default_rng(23), plain()
    path = tmp_path / "table.xlsx"
    ends = set()
    for _ in range(150):
        changed = bytearray(content)
        for at in random.integers(len(changed), size=int(random.integers(1, 6))):
            changed[at] = int(random.integers(256))
        cut = len(changed) if random.random() < 0.8 else int(random.integers(4, len(changed)))
        path.write_bytes(bytes(changed[:cut]))
        said = outcome(path)
        assert said == "read" or str(path) in said
        ends.add(said == "read")
    assert ends == {True, False}
