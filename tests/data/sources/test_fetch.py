"""The official sets from a server of the tests': their zips, what is wrong with zips, and what lies in the folder then."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import shutil
import stat
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from tests.data.sources.data_set import NewConfig, jpeg, visible
from tests.data.sources.faulty_server import Fault, Server
from tests.data.sources.killed_runs import KilledRuns
from tests.strange_files import STRANGE, flipped, make_strange, watched
from tests.trained import skinlesion

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


class Challenge:
    """ISIC 2019 as it lies on the challenge's server, with few images, and a folder that it is fetched into."""

    def __init__(self, server: Server, folder: Path, config: NewConfig) -> None:
        self.server, self.folder, self.config = server, folder, config
        self.images = {f"ISIC_{number:07}.jpg": jpeg(number) for number in range(1, 9)}
        truth = "".join(f"{name[:-4]},0,1,0,0,0,0,0,0,0\n" for name in self.images)
        metadata = "".join(f"{name[:-4]},50,,,male\n" for name in self.images)
        self.server.put(f"/2019/{TABLE}", f"image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\n{truth}".encode())
        self.server.put(
            "/2019/ISIC_2019_Training_Metadata.csv",
            f"image,age_approx,anatom_site_general,lesion_id,sex\n{metadata}".encode(),
        )
        self.publish(training_zip(self.images))

    @property
    def zip(self) -> bytes:
        return self.server.answer_at(f"/2019/{ZIP}").body

    def publish(self, content: bytes) -> None:
        self.server.put(f"/2019/{ZIP}", content)

    def fetch(self, name: str = "isic-2019", *, keep_zips: bool = False) -> FetchReport:
        addresses = {"challenge_address": self.server.address, "dataverse_address": self.server.address + "/"}
        return fetch(name, self.folder, self.config(**addresses), keep_zips=keep_zips)

    def arrived(self) -> dict[str, bytes]:
        """Return the images in the folder."""
        found = visible(layout.images(self.folder))
        return {name: content for name, content in found.items() if name.endswith(".jpg")}


@pytest.fixture
def challenge(server: Server, tmp_path: Path, config: NewConfig) -> Challenge:
    return Challenge(server, tmp_path / "isic", config)


def test_a_fetched_set_is_a_data_set_with_its_terms_and_a_second_fetch_does_nothing(challenge: Challenge) -> None:
    report = challenge.fetch()
    assert (report.placed.arrived, report.placed.failed) == (10, {})
    assert challenge.arrived() == challenge.images
    assert sorted(visible(layout.labels(challenge.folder))) == [TABLE, "ISIC_2019_Training_Metadata.csv"]
    licence = (challenge.folder / "images" / "LICENSE.isic-2019.txt").read_text()
    attribution = (challenge.folder / "images" / "ATTRIBUTION.isic-2019.txt").read_text()
    assert "CC BY-NC 4.0" in licence
    assert all(name in attribution for name in ("Hospital Clínic de Barcelona", "ViDIR Group", "MSK Dataset"))
    assert list((challenge.folder / "downloads").iterdir()) == [], "the zip goes when it is unpacked"
    before = visible(challenge.folder)
    challenge.server.requests.clear()
    report = challenge.fetch()
    assert set(report.files.values()) == {"there already"}
    assert (report.placed.arrived, report.placed.already_there) == (0, 10)
    assert challenge.server.requests == []
    assert visible(challenge.folder) == before


def test_a_lost_image_is_fetched_again_and_the_others_are_left(challenge: Challenge) -> None:
    challenge.fetch(keep_zips=True)
    kept = challenge.folder / "images" / "ISIC_0000002.jpg"
    before = kept.stat().st_mtime_ns
    (challenge.folder / "images" / "ISIC_0000001.jpg").unlink()
    challenge.server.requests.clear()
    report = challenge.fetch()
    assert challenge.server.requests == [], "the zip was kept"
    assert (report.placed.arrived, report.placed.already_there) == (1, 2 + 7)
    assert challenge.arrived() == challenge.images
    assert kept.stat().st_mtime_ns == before


def test_ham10000_comes_from_dataverse_with_its_checksums(
    challenge: Challenge, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = list(challenge.images.items())
    bodies = {
        "4338392": b"lesion_id,image_id,dx,dx_type,age,sex,localization\n",
        "3172585": zipped(*pictures[:4]),
        "3172584": zipped(*pictures[4:]),
    }
    for number, body in bodies.items():
        challenge.server.put(f"/api/access/datafile/{number}", body)
    with pytest.raises(DataError, match="Expected md5 8f85fb1aa29d80a2797247e434deb79d"):
        challenge.fetch("ham10000")
    ham = official_sets.SETS["ham10000"]
    small = tuple(
        file._replace(checksum=Checksum("md5", hashlib.md5(body).hexdigest(), "of the test"))
        for file, body in zip(ham.files, bodies.values(), strict=True)
    )
    monkeypatch.setitem(official_sets.SETS, "ham10000", replace(ham, files=small))
    challenge.fetch("ham10000")
    assert challenge.arrived() == challenge.images
    assert "CC BY-NC-SA 4.0" in (challenge.folder / "images" / "LICENSE.ham10000.txt").read_text()
    assert any(path.endswith("4338392?format=original") for path, _ in challenge.server.requests)


def test_isic_2018s_labels_come_out_of_their_zip(challenge: Challenge) -> None:
    truth = b"image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\n"
    name = "ISIC2018_Task3_Training_GroundTruth"
    challenge.server.put(f"/2018/{name}.zip", zipped((f"{name}/{name}.csv", truth), (f"{name}/LICENSE.txt", b"terms")))
    challenge.server.put(
        "/2018/ISIC2018_Task3_Training_LesionGroupings.csv", b"image,lesion_id,diagnosis_confirm_type\n"
    )
    challenge.server.put("/2018/ISIC2018_Task3_Training_Input.zip", zipped(*challenge.images.items()))
    challenge.fetch("isic-2018")
    assert challenge.arrived() == challenge.images
    assert visible(layout.labels(challenge.folder))[f"{name}.csv"] == truth


def test_an_unknown_set_is_one_clear_error(challenge: Challenge) -> None:
    with pytest.raises(DataError, match="no set 'isic-2020' to fetch; expected one of isic-2019, isic-2018, ham10000"):
        challenge.fetch("isic-2020")
    assert not challenge.folder.exists()


def test_when_the_line_stays_dead_what_arrived_is_kept_for_the_next_call(challenge: Challenge) -> None:
    challenge.server.faulty = ZIP
    challenge.server.faults = [Fault(cut=5000), *[Fault(status=503)] * 3]
    with pytest.raises(Unavailable, match=rf"{ZIP}: 5000 of \d+ bytes arrived"):
        challenge.fetch()
    assert challenge.arrived() == {}
    challenge.server.requests.clear()
    challenge.fetch()
    assert challenge.server.requests[0][1]["Range"] == "bytes=5000-"
    assert challenge.arrived() == challenge.images


# --- A bad zip ------------------------------------------------------------------------------------------------------


def test_a_member_corrupted_on_the_way_is_found_and_the_zip_fetched_again(challenge: Challenge) -> None:
    body = challenge.zip
    challenge.server.faulty = ZIP
    challenge.server.faults = [Fault(flip=body.index(challenge.images["ISIC_0000003.jpg"]) + 100)]
    report = challenge.fetch()
    assert challenge.arrived() == challenge.images
    assert report.placed.arrived == 10


def test_a_member_that_is_corrupt_at_its_source_is_named_and_the_others_arrive(challenge: Challenge) -> None:
    good = challenge.images.pop("ISIC_0000003.jpg")
    challenge.publish(challenge.zip.replace(good, flipped(good)))
    with pytest.raises(DataError) as error:
        challenge.fetch()
    assert "ISIC_0000003.jpg cannot be unpacked (Bad CRC-32" in str(error.value)
    assert "in each of 2 downloads" in str(error.value)
    assert challenge.arrived() == challenge.images


@pytest.mark.parametrize("damage", ["cut off", "no zip", "empty"])
def test_what_is_no_whole_zip_is_one_clear_error(challenge: Challenge, damage: str) -> None:
    body = challenge.zip
    challenge.publish({"cut off": body[: len(body) // 2], "no zip": b"<html>", "empty": b""}[damage])
    with pytest.raises(DataError, match=rf"{ZIP} is no whole zip file"):
        challenge.fetch()
    assert challenge.arrived() == {}


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
def test_a_zip_that_leads_out_of_the_folder_is_refused_whole(challenge: Challenge, tmp_path: Path, kind: str) -> None:
    before = set(tmp_path.rglob("*"))
    challenge.publish(zipped(("ISIC/a.jpg", jpeg(1)), (OUTSIDE[kind], b"/etc/passwd")))
    with pytest.raises(DataError, match=rf"{ZIP}: the member .* Nothing of the archive is unpacked"):
        challenge.fetch()
    assert challenge.arrived() == {}
    new = set(tmp_path.rglob("*")) - before
    assert all(challenge.folder in (path, *path.parents) for path in new)


def test_a_zip_bomb_is_refused_by_its_list(challenge: Challenge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_archive, "SMALL", 100_000)
    challenge.publish(zipped(("a.jpg", bytes(2_000_000)), compression=zipfile.ZIP_DEFLATED))
    with pytest.raises(DataError, match=rf"{ZIP} would unpack to 2,000,000 bytes from .*; expected at most 10 times"):
        challenge.fetch()
    assert challenge.arrived() == {}


def test_a_bomb_that_lies_about_its_size_writes_no_more_than_it_says(challenge: Challenge) -> None:
    body = bytearray(zipped(("a.jpg", bytes(2_000_000)), compression=zipfile.ZIP_DEFLATED))
    entry = body.rindex(b"PK\x01\x02")
    struct.pack_into("<L", body, entry + 24, 1000)
    challenge.publish(bytes(body))
    with pytest.raises(DataError, match=r"a\.jpg cannot be unpacked \(Bad CRC-32"):
        challenge.fetch()
    assert challenge.arrived() == {}


def test_too_large_and_too_many_members_are_refused(challenge: Challenge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_archive, "LARGEST_MEMBER", 100)
    with pytest.raises(DataError, match=r"bytes; expected at most 100\. Nothing"):
        challenge.fetch()
    monkeypatch.setattr(zip_archive, "MOST_MEMBERS", 3)
    with pytest.raises(DataError, match="files; expected at most 3"):
        challenge.fetch()


def test_an_image_of_another_content_is_kept_and_told(challenge: Challenge) -> None:
    own = challenge.folder / "images" / "mine" / "ISIC_0000001.png"
    own.parent.mkdir(parents=True)
    own.write_bytes(jpeg(77))
    report = challenge.fetch()
    assert "the name is taken by ISIC_0000001.png" in report.placed.failed["ISIC_0000001.jpg"]
    del challenge.images["ISIC_0000001.jpg"]
    assert challenge.arrived() == challenge.images
    assert own.read_bytes() == jpeg(77)
    challenge.server.requests.clear()
    own.unlink()
    assert challenge.fetch().placed.arrived == 1
    assert challenge.server.requests == [], "the zip was kept for it"


def test_a_table_that_somebody_changed_is_kept_and_told(challenge: Challenge) -> None:
    (challenge.folder / "labels").mkdir(parents=True)
    (challenge.folder / "labels" / TABLE).write_text("image,dx\n")
    assert TABLE in challenge.fetch().placed.failed
    assert (challenge.folder / "labels" / TABLE).read_text() == "image,dx\n"


def test_killed_before_any_step_the_next_call_completes_it(
    challenge: Challenge, killed_runs: KilledRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = dict(list(challenge.images.items())[:3])
    challenge.publish(training_zip(few))
    isic = official_sets.SETS["isic-2019"]
    monkeypatch.setitem(official_sets.SETS, "isic-2019", replace(isic, files=(isic.files[0], isic.files[2])))
    for was_killed in killed_runs(challenge.fetch, at_least=2 * len(few)):
        assert challenge.arrived().items() <= few.items(), "whole images under their own names"
        if was_killed:
            challenge.fetch()
        assert challenge.arrived() == few
        assert list(visible(layout.labels(challenge.folder))) == [TABLE]
        shutil.rmtree(challenge.folder)


# --- The command ----------------------------------------------------------------------------------------------------

NO_SERVER = ("--set", "challenge_address=http://127.0.0.1:9", "--set", "network_attempts=1")


def test_the_command_reports_and_ingest_takes_the_folder(
    challenge: Challenge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, config: NewConfig
) -> None:
    monkeypatch.setenv("SKINLESION_CHALLENGE_ADDRESS", challenge.server.address)
    done = skinlesion("fetch", "isic-2019", challenge.folder, "--json", tmp_path / "r.json")
    assert done.returncode == 0
    assert f"{ZIP}: 8 arrived" in done.stdout
    assert "No commercial use" in done.stdout
    assert json.loads((tmp_path / "r.json").read_text())["arrived"] == 10
    pd.DataFrame({"image": [name[:-4] for name in challenge.images], "dx": "nv"}).to_csv(
        challenge.folder / "diagnoses.csv", index=False
    )
    report = ingest(config(dataset=challenge.folder))
    assert (report.details["accepted"], report.refused, report.details["other_files"]) == (8, 0, 2)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["isic-2020", "here"], 2, "There is no set 'isic-2020'"),
        (["isic-2019", "here", "--set", "challenge_address=ftp://x"], 2, "Setting `challenge_address`"),
        (["isic-2019", "here", *NO_SERVER], 3, "127.0.0.1:9"),
    ],
)
def test_the_command_ends_in_one_message(
    arguments: list[str], status: int, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    done = skinlesion("fetch", *arguments)
    assert done.returncode == status
    assert said in done.stderr.replace("\n", "")
    assert "Traceback" not in done.stderr


def test_only_one_fetch_works_in_a_folder(challenge: Challenge) -> None:
    challenge.folder.mkdir()
    with locked(challenge.folder, "fetch", wait=0), pytest.raises(OSError, match="another fetch works"):
        challenge.fetch()


@pytest.mark.parametrize("place", [TABLE, ZIP])
@pytest.mark.parametrize("kind", STRANGE)
def test_what_is_no_file_among_the_downloads_is_one_clear_error(
    challenge: Challenge, tmp_path: Path, kind: str, place: str
) -> None:
    (challenge.folder / "downloads").mkdir(parents=True)
    make_strange(kind, challenge.folder / "downloads" / place)
    if (kind, place) == ("a file without end", ZIP):  # of a size that a zip may have; it holds none, and is downloaded
        challenge.fetch()
        return
    with watched(tmp_path), pytest.raises(DataError, match=rf"{place}: .*\. Remove it"):
        challenge.fetch()


def test_a_full_disk_is_not_downloaded_again(challenge: Challenge, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space left"):
        challenge.fetch()
    assert len(challenge.server.requests) == 3, "one for each file of the set"
