"""The official sets from a server of the tests': their zips, what is wrong with zips, and what lies in the folder then."""

from __future__ import annotations

import hashlib
import io
import json
import random
import shutil
import stat
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from tests.data.sources.data_set import NewConfig, jpeg, visible
from tests.data.sources.faulty_server import Fault, Server
from tests.data.sources.killed_runs import KilledRuns

from skinlesion.command_line import main as cli
from skinlesion.data.sources import official_sets, zip_archive
from skinlesion.data.sources.fetch import FetchReport, fetch
from skinlesion.data.sources.http_download import Unavailable
from skinlesion.foundation import layout
from skinlesion.foundation.checksum import Checksum
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.lock import locked
from skinlesion.stages.ingest import ingest

ZIP = "ISIC_2019_Training_Input.zip"
TABLE = "ISIC_2019_Training_GroundTruth.csv"

Fetched = Callable[..., FetchReport]


@pytest.fixture
def images() -> dict[str, bytes]:
    return {f"ISIC_{number:07}.jpg": jpeg(number) for number in range(1, 9)}


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def training_zip(images: dict[str, bytes]) -> bytes:
    folder = "ISIC_2019_Training_Input"
    notes = {f"{folder}/": b"", f"{folder}/LICENSE.txt": b"terms", "__MACOSX/._ISIC_0000001.jpg": b"mac"}
    return zipped(*notes.items(), *((f"{folder}/{name}", content) for name, content in images.items()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "isic"


@pytest.fixture
def published(server: Server, images: dict[str, bytes]) -> Server:
    """ISIC 2019 as it lies on the challenge's server, with few images."""
    rows = "".join(f"{name[:-4]},0,1,0,0,0,0,0,0,0\n" for name in images)
    server.put("/2019/" + TABLE, f"image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\n{rows}".encode())
    server.put(
        "/2019/ISIC_2019_Training_Metadata.csv",
        (
            "image,age_approx,anatom_site_general,lesion_id,sex\n" + "".join(f"{n[:-4]},50,,,male\n" for n in images)
        ).encode(),
    )
    server.put(f"/2019/{ZIP}", training_zip(images))
    return server


@pytest.fixture
def fetched(folder: Path, server: Server, config: NewConfig) -> Fetched:
    def run(name: str = "isic-2019", keep_zips: bool = False, **settings: object) -> FetchReport:
        addresses = {"challenge_address": server.address, "dataverse_address": server.address + "/"}
        return fetch(name, folder, config(**addresses | settings), keep_zips=keep_zips)

    return run


def images_in(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in visible(layout.images(folder)).items() if name.endswith(".jpg")}


def test_a_fetched_set_is_a_data_set_with_its_terms(
    published: Server, fetched: Fetched, folder: Path, images: dict[str, bytes]
) -> None:
    report = fetched()
    assert (report.placed.arrived, report.placed.failed) == (10, {})
    assert images_in(folder) == images
    assert sorted(visible(layout.labels(folder))) == [TABLE, "ISIC_2019_Training_Metadata.csv"]
    licence = (folder / "images" / "LICENSE.isic-2019.txt").read_text()
    attribution = (folder / "images" / "ATTRIBUTION.isic-2019.txt").read_text()
    assert "CC BY-NC 4.0" in licence
    assert all(name in attribution for name in ("Hospital Clínic de Barcelona", "ViDIR Group", "MSK Dataset"))
    assert list((folder / "downloads").iterdir()) == [], "the zip goes when it is unpacked"


def test_a_second_fetch_does_nothing(published: Server, fetched: Fetched, folder: Path) -> None:
    fetched()
    before = visible(folder)
    published.requests.clear()
    report = fetched()
    assert set(report.files.values()) == {"there already"}
    assert (report.placed.arrived, report.placed.already_there) == (0, 10)
    assert published.requests == []
    assert visible(folder) == before


def test_a_lost_image_is_fetched_again_and_the_others_are_left(
    published: Server, fetched: Fetched, folder: Path, images: dict[str, bytes]
) -> None:
    fetched(keep_zips=True)
    kept = folder / "images" / "ISIC_0000002.jpg"
    before = kept.stat().st_mtime_ns
    (folder / "images" / "ISIC_0000001.jpg").unlink()
    published.requests.clear()
    report = fetched()
    assert published.requests == [], "the zip was kept"
    assert (report.placed.arrived, report.placed.already_there) == (1, 2 + 7)
    assert images_in(folder) == images
    assert kept.stat().st_mtime_ns == before


def test_ham10000_comes_from_dataverse_with_its_checksums(
    server: Server, fetched: Fetched, folder: Path, images: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = list(images.items())
    bodies = {
        "4338392": b"lesion_id,image_id,dx,dx_type,age,sex,localization\n",
        "3172585": zipped(*pictures[:4]),
        "3172584": zipped(*pictures[4:]),
    }
    for number, body in bodies.items():
        server.put(f"/api/access/datafile/{number}", body)
    with pytest.raises(DataError, match="Expected md5 8f85fb1aa29d80a2797247e434deb79d"):
        fetched("ham10000")
    ham = official_sets.SETS["ham10000"]
    small = tuple(
        file._replace(checksum=Checksum("md5", hashlib.md5(body).hexdigest(), "of the test"))
        for file, body in zip(ham.files, bodies.values(), strict=True)
    )
    monkeypatch.setitem(official_sets.SETS, "ham10000", replace(ham, files=small))
    fetched("ham10000")
    assert images_in(folder) == images
    assert "CC BY-NC-SA 4.0" in (folder / "images" / "LICENSE.ham10000.txt").read_text()
    assert any(path.endswith("4338392?format=original") for path, _ in server.requests)


def test_isic_2018s_labels_come_out_of_their_zip(
    server: Server, fetched: Fetched, folder: Path, images: dict[str, bytes]
) -> None:
    truth = b"image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\n"
    name = "ISIC2018_Task3_Training_GroundTruth"
    server.put(f"/2018/{name}.zip", zipped((f"{name}/{name}.csv", truth), (f"{name}/LICENSE.txt", b"terms")))
    server.put("/2018/ISIC2018_Task3_Training_LesionGroupings.csv", b"image,lesion_id,diagnosis_confirm_type\n")
    server.put("/2018/ISIC2018_Task3_Training_Input.zip", zipped(*images.items()))
    fetched("isic-2018")
    assert images_in(folder) == images
    assert visible(layout.labels(folder))[f"{name}.csv"] == truth


def test_an_unknown_set_is_one_clear_error(fetched: Fetched, folder: Path) -> None:
    with pytest.raises(DataError, match="no set 'isic-2020' to fetch; expected one of isic-2019, isic-2018, ham10000"):
        fetched("isic-2020")
    assert not folder.exists()


# --- A bad line, a bad server ---------------------------------------------------------------------------------------


def test_a_zip_cut_fifty_times_arrives_whole(
    published: Server, fetched: Fetched, folder: Path, images: dict[str, bytes]
) -> None:
    size = len(published.answer_at(f"/2019/{ZIP}").body)
    dice = random.Random(2)
    published.faulty = ZIP
    published.faults = [Fault(cut=dice.randrange(1, size // 60)) for _ in range(50)]
    fetched()
    assert published.faults == []
    assert images_in(folder) == images


def test_when_the_line_stays_dead_what_arrived_is_kept_for_the_next_call(
    published: Server, fetched: Fetched, folder: Path, images: dict[str, bytes]
) -> None:
    published.faulty = ZIP
    published.faults = [Fault(cut=5000), *[Fault(status=503)] * 3]
    with pytest.raises(Unavailable, match=rf"{ZIP}: 5000 of \d+ bytes arrived"):
        fetched()
    assert images_in(folder) == {}
    published.requests.clear()
    fetched()
    assert published.requests[0][1]["Range"] == "bytes=5000-"
    assert images_in(folder) == images


# --- A bad zip ------------------------------------------------------------------------------------------------------


def spoil(body: bytes, content: bytes) -> bytes:
    """Change one byte of a stored member."""
    where = body.index(content) + len(content) // 2
    return body[:where] + bytes([body[where] ^ 1]) + body[where + 1 :]


def test_a_member_corrupted_on_the_way_is_found_and_the_zip_fetched_again(
    published: Server, fetched: Fetched, folder: Path, images: dict[str, bytes]
) -> None:
    body = published.answer_at(f"/2019/{ZIP}").body
    published.faulty = ZIP
    published.faults = [Fault(flip=body.index(images["ISIC_0000003.jpg"]) + 100)]
    report = fetched()
    assert images_in(folder) == images
    assert report.placed.arrived == 10


def test_a_member_that_is_corrupt_at_its_source_is_named_and_the_others_arrive(
    published: Server, fetched: Fetched, folder: Path, images: dict[str, bytes]
) -> None:
    good = images.pop("ISIC_0000003.jpg")
    bad = spoil(published.answer_at(f"/2019/{ZIP}").body, good)
    published.put(f"/2019/{ZIP}", bad)
    with pytest.raises(DataError) as error:
        fetched()
    found = zlib.crc32(spoil(good, good))
    expected = zlib.crc32(good)
    assert f"ISIC_0000003.jpg: expected CRC-32 {expected:08x}, found {found:08x}" in str(error.value)
    assert "in each of 2 downloads" in str(error.value)
    assert images_in(folder) == images


@pytest.mark.parametrize("damage", ["cut off", "no zip", "empty"])
def test_what_is_no_whole_zip_is_one_clear_error(
    published: Server, fetched: Fetched, folder: Path, images: dict[str, bytes], damage: str
) -> None:
    body = published.answer_at(f"/2019/{ZIP}").body
    published.put(f"/2019/{ZIP}", {"cut off": body[: len(body) // 2], "no zip": b"<html>", "empty": b""}[damage])
    with pytest.raises(DataError, match=rf"{ZIP} is no whole zip file"):
        fetched()
    assert images_in(folder) == {}


LINK = zipfile.ZipInfo("ISIC/link.jpg")
LINK.external_attr = (stat.S_IFLNK | 0o777) << 16
OUTSIDE: dict[str, str | zipfile.ZipInfo] = {
    "a parent's name": "../outside.jpg",
    "a parent's name within": "ISIC/../../../outside.jpg",
    "an absolute name": "/tmp/outside.jpg",
    "a drive": "C:/outside.jpg",
    "backslashes": "..\\outside.jpg",
    "a link": LINK,
    "a hidden parent": "__MACOSX/../../outside.jpg",
}


@pytest.mark.parametrize("kind", OUTSIDE)
def test_a_zip_that_leads_out_of_the_folder_is_refused_whole(
    published: Server, fetched: Fetched, folder: Path, tmp_path: Path, kind: str
) -> None:
    before = set(tmp_path.rglob("*"))
    published.put(f"/2019/{ZIP}", zipped(("ISIC/a.jpg", jpeg(1)), (OUTSIDE[kind], b"/etc/passwd")))
    with pytest.raises(DataError, match=rf"{ZIP}: the member .* Nothing of the archive is unpacked"):
        fetched()
    assert images_in(folder) == {}
    assert {path for path in set(tmp_path.rglob("*")) - before if folder not in (path, *path.parents)} == set()


def test_a_zip_bomb_is_refused_by_its_list(
    published: Server, fetched: Fetched, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zip_archive, "SMALL", 100_000)
    published.put(f"/2019/{ZIP}", zipped(("a.jpg", bytes(2_000_000)), compression=zipfile.ZIP_DEFLATED))
    with pytest.raises(DataError, match=rf"{ZIP} would unpack to 2,000,000 bytes from .*; expected at most 10 times"):
        fetched()
    assert images_in(folder) == {}


def test_a_bomb_that_lies_about_its_size_writes_no_more_than_it_says(
    published: Server, fetched: Fetched, folder: Path
) -> None:
    body = bytearray(zipped(("a.jpg", bytes(2_000_000)), compression=zipfile.ZIP_DEFLATED))
    entry = body.rindex(b"PK\x01\x02")
    struct.pack_into("<L", body, entry + 24, 1000)
    published.put(f"/2019/{ZIP}", bytes(body))
    with pytest.raises(DataError, match=r"a\.jpg: expected CRC-32 [0-9a-f]{8}, found"):
        fetched()
    assert images_in(folder) == {}


def test_too_large_and_too_many_members_are_refused(
    published: Server, fetched: Fetched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zip_archive, "LARGEST_MEMBER", 100)
    with pytest.raises(DataError, match=r"bytes; expected at most 100\. Nothing"):
        fetched()
    monkeypatch.setattr(zip_archive, "MOST_MEMBERS", 3)
    with pytest.raises(DataError, match="files; expected at most 3"):
        fetched()


def test_an_image_of_another_content_is_kept_and_told(
    published: Server, fetched: Fetched, folder: Path, images: dict[str, bytes]
) -> None:
    own = folder / "images" / "mine" / "ISIC_0000001.png"
    own.parent.mkdir(parents=True)
    own.write_bytes(jpeg(77))
    report = fetched()
    assert "the name is taken by ISIC_0000001.png" in report.placed.failed["ISIC_0000001.jpg"]
    del images["ISIC_0000001.jpg"]
    assert images_in(folder) == images
    assert own.read_bytes() == jpeg(77)
    published.requests.clear()
    own.unlink()
    assert fetched().placed.arrived == 1
    assert published.requests == [], "the zip was kept for it"


def test_a_table_that_somebody_changed_is_kept_and_told(published: Server, fetched: Fetched, folder: Path) -> None:
    (folder / "labels").mkdir(parents=True)
    (folder / "labels" / TABLE).write_text("image,dx\n")
    assert TABLE in fetched().placed.failed
    assert (folder / "labels" / TABLE).read_text() == "image,dx\n"


def test_killed_before_any_step_the_next_call_completes_it(
    published: Server,
    fetched: Fetched,
    folder: Path,
    images: dict[str, bytes],
    killed_runs: KilledRuns,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few = dict(list(images.items())[:3])
    published.put(f"/2019/{ZIP}", training_zip(few))
    isic = official_sets.SETS["isic-2019"]
    monkeypatch.setitem(official_sets.SETS, "isic-2019", replace(isic, files=(isic.files[0], isic.files[2])))
    for was_killed in killed_runs(fetched, at_least=2 * len(few)):
        assert images_in(folder).items() <= few.items(), "whole images under their own names"
        if was_killed:
            fetched()
        assert images_in(folder) == few
        assert list(visible(layout.labels(folder))) == [TABLE]
        shutil.rmtree(folder)


# --- The command ----------------------------------------------------------------------------------------------------


def test_the_command_reports_and_ingest_takes_the_folder(
    published: Server,
    folder: Path,
    images: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    config: NewConfig,
) -> None:
    monkeypatch.setenv("SKINLESION_CHALLENGE_ADDRESS", published.address)
    monkeypatch.setattr(
        sys, "argv", ["skinlesion", "fetch", "isic-2019", str(folder), "--json", str(tmp_path / "r.json")]
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert f"{ZIP}: 8 arrived" in shown
    assert "No commercial use" in shown
    assert json.loads((tmp_path / "r.json").read_text())["arrived"] == 10
    pd.DataFrame({"image": [name[:-4] for name in images], "dx": "nv"}).to_csv(folder / "diagnoses.csv", index=False)
    report = ingest(config(dataset=folder))
    assert (report.details["accepted"], report.refused, report.details["other_files"]) == (8, 0, 2)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["isic-2020", "here"], 2, "There is no set 'isic-2020'"),
        (["isic-2019", "here", "--set", "challenge_address=ftp://x"], 2, "Setting `challenge_address`"),
        (
            ["isic-2019", "here", "--set", "challenge_address=http://127.0.0.1:9", "--set", "network_attempts=1"],
            3,
            "127.0.0.1:9",
        ),
    ],
)
def test_the_command_ends_in_one_message(
    arguments: list[str],
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["skinlesion", "fetch", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == status
    shown = capsys.readouterr().err
    assert said in shown.replace("\n", "")
    assert "Traceback" not in shown


def test_only_one_fetch_works_in_a_folder(published: Server, fetched: Fetched, folder: Path) -> None:
    folder.mkdir()
    with locked(folder, "fetch", wait=0), pytest.raises(OSError, match="another fetch works"):
        fetched()
