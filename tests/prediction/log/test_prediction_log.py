"""The prediction log of a real server: what is in it, what never is, and that it loses nothing."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.prediction.real_server import Models, Served, drawn, problem, served, wait_until

from skinlesion.data.images.statistics import image_statistics
from skinlesion.data.labels.classes import LABELS
from skinlesion.foundation.errors import DataError
from skinlesion.prediction.classifier import pixels_for_model
from skinlesion.prediction.log import diagnoses, writer
from skinlesion.prediction.log.entries import COLUMNS, LogKey
from skinlesion.prediction.log.gaps import read_gaps
from skinlesion.prediction.log.journal import Journal, journals, parts, store_closed
from skinlesion.prediction.log.reading import forget, read_log, remove_older

CASE = "Station-7/0815"


def test_each_answer_is_noted_with_what_it_said_and_nothing_of_the_picture_but_measures(
    models: Models, tmp_path: Path
) -> None:
    folder, before = tmp_path / "log", time.time()
    with served(models.folder, log=str(folder)) as server:
        said = server.predictions(drawn(1), b"no image", drawn(2), case=CASE)
        during = read_log(folder)
        assert "skinlesion_log_entries 2.0" in server.metrics()
        assert "skinlesion_log_missing 0.0" in server.metrics()
    after = read_log(folder)
    assert list(journals(folder).iterdir()) == [], "closed journals are stored as tables"
    assert during.equals(after)
    assert list(after.columns) == list(COLUMNS)
    key, answered = LogKey.of(folder), [said[0], said[2]]
    assert after["decision"].tolist() == [one["decision"] for one in answered]
    assert after["reason"].tolist() == [one["reason"] for one in answered]
    assert after["picture"].tolist() == [one["logged"] for one in answered]
    np.testing.assert_allclose(
        after[list(LABELS)], [[one["probabilities"][label] for label in LABELS] for one in answered], atol=1e-6
    )
    assert set(after["version"]) == {"run-a"} and set(after["number"]) == {1}
    assert set(after["case"]) == {key.of_case(CASE)}
    assert after["at"].between(before * 1e6, time.time() * 1e6).all()
    assert (after["width"][0], after["height"][0], after["format"][0]) == (300, 225, "JPEG")
    pixels = pixels_for_model(drawn(1), max_pixels=10**8, min_side=32)
    assert after["brightness"][0] == pytest.approx(image_statistics(pixels)["brightness"], abs=1e-3)
    assert after["picture"][0] == key.of_picture(pixels)


def test_without_the_setting_nothing_is_noted_and_a_case_is_taken_and_forgotten(shared: Served) -> None:
    assert shared.predictions(drawn(1), case=CASE)[0].get("logged") is None
    found = problem(shared.client.post("/v1/diagnoses", json={"diagnoses": [{"case": CASE, "dx": "mel"}]}), 404)
    assert "keeps no prediction log" in found["detail"]


@pytest.mark.parametrize("case", ["", " ", "x" * 101, "a\x00b", "a\nb"])
def test_what_is_no_id_of_a_case_is_refused_and_not_repeated(shared: Served, case: str) -> None:
    files = {"images": ("a.jpg", drawn(1), "image/jpeg")}
    found = problem(shared.client.post("/v1/predict", files=files, data={"case": case}), 422)
    assert "id of a case" in found["detail"]
    assert case.strip() not in found["detail"] or not case.strip()


def test_a_picture_and_a_case_have_the_same_names_again_under_one_key_and_others_under_another(tmp_path: Path) -> None:
    one, again, other = (LogKey.drawn(tmp_path / name) for name in ("a", "a", "b"))
    picture = pixels_for_model(drawn(1), max_pixels=10**8, min_side=32)
    assert one.of_picture(picture) == again.of_picture(picture) != other.of_picture(picture)
    assert one.of_case(f" {CASE} ") == again.of_case(CASE) != other.of_case(CASE)
    assert (tmp_path / "a" / "log.key").stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_written_to_is_named_at_the_start(models: Models, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(DataError, match=r"cannot be kept in .*file/log.*SKINLESION_SERVE_LOG"),
        served(models.folder, log=str(tmp_path / "file" / "log")),
    ):
        pass


# --- What is lost, and what is not -----------------------------------------------------------------------------------


def test_a_full_disk_costs_no_answer_and_the_gap_is_counted_for_good(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, is_full, write = tmp_path / "log", False, os.write

    def half_a_write(descriptor: int, content: bytes) -> int:
        if is_full and Path(f"/proc/self/fd/{descriptor}").readlink().is_relative_to(folder):
            if len(content) > 200:
                return write(descriptor, content[:100])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, content)

    monkeypatch.setattr(os, "write", half_a_write)
    with served(models.folder, log=str(folder)) as server:
        server.predictions(drawn(1))
        is_full = True
        assert [one.get("logged") for one in server.predictions(drawn(2), drawn(3))] == [None, None]
        assert "skinlesion_log_missing 2.0" in server.metrics()
        assert sum(gap.answers for gap in read_gaps(folder)) == 2, "as it stands should the process be killed now"
        is_full = False
        server.predictions(drawn(4))
        assert len(read_log(folder)) == 2
    assert len(read_log(folder)) == 2
    assert sum(gap.answers for gap in read_gaps(folder)) == 2


def test_a_disk_that_hangs_does_not_keep_an_answer_and_what_it_writes_later_is_no_gap(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, append = tmp_path / "log", Journal.append

    def slow(self: Journal, lines: bytes, entries: int) -> None:
        time.sleep(1)
        append(self, lines, entries)

    monkeypatch.setattr(Journal, "append", slow)
    with served(models.folder, log=str(folder)) as server:
        start = time.perf_counter()
        assert server.predictions(drawn(1))[0].get("logged") is None
        assert time.perf_counter() - start < 0.9
        assert "skinlesion_log_missing 1.0" in server.metrics()
        wait_until(lambda: "skinlesion_log_missing 0.0" in server.metrics())
    assert len(read_log(folder)) == 1
    assert read_gaps(folder) == []


def test_behind_a_disk_that_hangs_for_long_a_bounded_number_waits_and_the_others_are_a_gap(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, append, goes_on = tmp_path / "log", Journal.append, threading.Event()

    def hanging(self: Journal, lines: bytes, entries: int) -> None:
        goes_on.wait(60)
        append(self, lines, entries)

    monkeypatch.setattr(Journal, "append", hanging)
    monkeypatch.setattr(writer, "MOST_WAITING", 1)
    with served(models.folder, log=str(folder)) as server:
        for number in (1, 2, 3):  # one is being written, one waits
            assert server.predictions(drawn(number))[0].get("logged") is None
        goes_on.set()
        wait_until(lambda: "skinlesion_log_missing 1.0" in server.metrics())
    assert len(read_log(folder)) == 2
    assert sum(gap.answers for gap in read_gaps(folder)) == 1


def journal_of(folder: Path, *cases: str) -> Path:
    """Write a journal, of a process that has ended, with one entry a case; return its path."""
    key, found = LogKey.drawn(folder), Journal(folder)
    for number, case in enumerate(cases):
        found.append(line(key, number, case), 1)
    found.close()
    return found.path


def line(key: LogKey, number: int, case: str = "", at: float | None = None) -> bytes:
    entry = {name: "" if dtype == "str" else 1 for name, dtype in COLUMNS.items()}
    changed = {
        "id": (1 << 63) + number,
        "at": int((at or time.time()) * 1e6),
        "case": key.of_case(case),
        "distance": None,
        "beside": 0,
    }
    return (json.dumps(entry | changed) + "\n").encode()


def test_what_a_killed_process_left_is_read_and_stored_without_its_torn_line(tmp_path: Path) -> None:
    path = journal_of(tmp_path, "a", "b")
    with path.open("ab") as file:
        file.write(line(LogKey.of(tmp_path), 9)[:200])
    before = read_log(tmp_path)
    assert len(before) == 2
    store_closed(tmp_path)
    assert not path.exists()
    assert read_log(tmp_path).equals(before)


def test_killed_between_storing_and_removing_a_journal_each_entry_counts_once(tmp_path: Path) -> None:
    path = journal_of(tmp_path, "a", "b")
    content = path.read_bytes()
    store_closed(tmp_path)
    path.write_bytes(content)
    assert len(read_log(tmp_path)) == 2
    store_closed(tmp_path)
    assert len(read_log(tmp_path)) == 2


def test_a_damaged_line_costs_only_itself(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = journal_of(tmp_path, "a", "b", "c")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{" * 50 + b"\n" + lines[2])
    assert len(read_log(tmp_path)) == 2
    assert "1 of 3 lines are damaged" in caplog.text


def test_a_journal_that_is_being_written_is_left_to_its_process(tmp_path: Path) -> None:
    key, alive = LogKey.drawn(tmp_path), Journal(tmp_path)
    alive.append(line(key, 1), 1)
    store_closed(tmp_path)
    assert alive.path.exists()
    alive.close()


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    journal_of(tmp_path, "a")
    store_closed(tmp_path)
    (part,) = parts(tmp_path).iterdir()
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(DataError, match=re.escape(str(part))):
        read_log(tmp_path)


def test_a_journal_becomes_a_table_when_it_is_large(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "LARGEST_JOURNAL", 2)
    with served(models.folder, log=str(tmp_path / "log")) as server:
        server.predictions(drawn(1), drawn(2), drawn(3))
        wait_until(lambda: list(parts(tmp_path / "log").glob("*.parquet")))
        server.predictions(drawn(4))
        assert len(read_log(tmp_path / "log")) == 4


# --- What is removed -------------------------------------------------------------------------------------------------


def test_a_case_is_forgotten_in_tables_in_a_journal_in_use_and_in_diagnoses(models: Models, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with served(models.folder, log=str(folder)) as server:
        server.predictions(drawn(1), drawn(2), case=CASE)
        server.predictions(drawn(1), case="other")
    with served(models.folder, log=str(folder)) as server:
        server.predictions(drawn(3), case=CASE)
        for case in (CASE, "other"):
            server.client.post("/v1/diagnoses", json={"diagnoses": [{"case": case, "dx": "mel"}]}).raise_for_status()
        hashed = LogKey.of(folder).of_case(CASE)
        assert forget(folder, CASE) == 3
        assert forget(folder, CASE) == 0
        assert [path for path in folder.rglob("*") if path.is_file() and hashed.encode() in path.read_bytes()] == []
        server.predictions(drawn(5), case="third")
    assert set(read_log(folder)["case"]) == {LogKey.of(folder).of_case(case) for case in ("other", "third")}
    assert len(diagnoses.read(folder)) == 1


def test_what_is_too_old_is_removed_and_nothing_else(tmp_path: Path) -> None:
    key = LogKey.drawn(tmp_path)
    for number, age in enumerate((400, 300, 0)):
        found = Journal(tmp_path)
        found.append(line(key, number, at=time.time() - age * 86_400), 1)
        found.close()
    store_closed(tmp_path)
    remove_older(tmp_path, 365)
    assert sorted(read_log(tmp_path)["id"] - (1 << 63)) == [1, 2]


def test_after_a_jump_of_the_clock_answers_are_noted_and_nothing_is_removed_for_its_age(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, clock, years = tmp_path / "log", time.time, 0.0
    monkeypatch.setattr(writer, "LARGEST_JOURNAL", 1)
    monkeypatch.setattr(time, "time", lambda: clock() + years * 365 * 86_400)
    with served(models.folder, log=str(folder)) as server:
        server.predictions(drawn(1))
        years = 3
        server.predictions(drawn(2))
        years = -3
        server.predictions(drawn(3))
        wait_until(lambda: len(list(parts(folder).glob("*.parquet"))) == 3)
    years = 0
    assert len(read_log(folder)) == 3


# --- Diagnoses -------------------------------------------------------------------------------------------------------


def test_diagnoses_come_by_case_and_by_picture_and_the_last_one_counts(models: Models, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with served(models.folder, log=str(folder), token="0123456789abcdef0123") as server:
        first = server.predictions(drawn(1), drawn(2), case=CASE)
        server.predictions(drawn(3))
        late = [{"case": CASE, "dx": "nevus", "date": "2026-11-01"}, {"picture": first[1]["logged"], "dx": "BCC"}]
        assert server.client.post("/v1/diagnoses", json={"diagnoses": late}).json() == {"noted": 2}
        table = tmp_path / "late.csv"
        table.write_text(f"case;dx\n{CASE};Melanoma Invasive\n")
        diagnoses.add(folder, diagnoses.of_table(LogKey.of(folder), table))
        del server.client.headers["Authorization"]
        problem(server.client.post("/v1/diagnoses", json={"diagnoses": late}), 401)
    assert diagnoses.joined(read_log(folder), diagnoses.read(folder)).tolist() == ["mel", "bcc", ""]


@pytest.mark.parametrize(
    ("late", "said"),
    [
        ({"case": CASE, "dx": "melonoma"}, "'melonoma' is no diagnosis"),
        ({"case": CASE, "dx": ""}, "'' is no diagnosis"),
        ({"dx": "mel"}, "found none"),
        ({"case": CASE, "picture": "0" * 32, "dx": "mel"}, "found both"),
        ({"picture": "ISIC_0024306", "dx": "mel"}, "32 hexadecimal digits"),
        ({"case": CASE, "dx": "mel", "date": "1.2.2026"}, "'1.2.2026' is no date"),
        ({"case": CASE, "dx": "mel", "name": "Jane"}, "diagnoses.0.name"),
        ({"case": CASE}, "diagnoses.0.dx"),
    ],
)
def test_a_diagnosis_that_does_not_fit_is_named_and_none_is_noted(
    logging_server: Served, late: dict[str, str], said: str
) -> None:
    body = {"diagnoses": [{"case": "fine", "dx": "mel"}, late]} if "diagnoses.0" not in said else {"diagnoses": [late]}
    found = problem(logging_server.client.post("/v1/diagnoses", json=body), 422)
    assert said in found["detail"]
    assert CASE not in found["detail"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        *((body, 422) for body in (b"", b"[]", b"{", b'{"diagnoses": []}', b"\xff\xfe")),
        pytest.param(b" " * 1_100_000, 413, id="too long"),
    ],
)
def test_what_is_no_list_of_diagnoses_or_too_long_is_refused(logging_server: Served, body: bytes, status: int) -> None:
    problem(logging_server.client.post("/v1/diagnoses", content=body), status)


@pytest.fixture(scope="module")
def logging_server(two_classifiers: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("logging")
    (folder / "models").mkdir()
    Models(folder / "models", two_classifiers).switch_to("a")
    with served(folder / "models", log=str(folder / "log")) as server:
        yield server
    assert diagnoses.read(folder / "log") == []


def test_a_table_is_refused_by_row_and_all_of_it(tmp_path: Path) -> None:
    key, table = LogKey.drawn(tmp_path), tmp_path / "late.csv"
    table.write_text("case,dx\na,mel\nb,melonoma\n")
    with pytest.raises(DataError, match=r"late\.csv, row 3: 'melonoma'"):
        diagnoses.of_table(key, table)
    table.write_text("lesion,dx\na,mel\n")
    with pytest.raises(DataError, match="expected the columns case or picture, dx"):
        diagnoses.of_table(key, table)


@pytest.mark.parametrize("trials", [4, pytest.param(200, marks=pytest.mark.slow)])
def test_killed_under_load_no_answer_is_missing_that_is_not_counted(waiting: Path, tmp_path: Path, trials: int) -> None:
    command = [sys.executable, "-m", "tests.prediction.log.killed", str(waiting), str(tmp_path), str(trials)]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["answered"] > 4 * trials
    assert found["entries"] + found["missing"] >= found["answered"]
    assert found["lost"] == 0
    assert found["strays"] == 0
