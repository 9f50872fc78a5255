"""The ISIC Archive: a server of the tests' that answers as the archive's API does."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

import pytest
from tests.data.sources.data_set import Collected, NewConfig, jpeg, visible
from tests.data.sources.faulty_server import Answer, Fault, Handler, Server
from tests.data.sources.killed_runs import KilledRuns
from tests.strange_files import flipped

from skinlesion.data.sources import intake, isic_api, isic_archive
from skinlesion.data.sources.source_report import SourceSummary
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError

API = "/api/v2"


class Archive:
    """Two pages of images, three licences, one collection."""

    def __init__(self, server: Server, dataset: Path, collected: Collected) -> None:
        self.server, self.dataset, self.collected = server, dataset, collected
        self.settings = {"isic_query": "age_approx:50", "isic_collections": "7", "isic_address": server.address}
        self.images = {f"ISIC_{number:07}": jpeg(number) for number in range(1, 6)}
        self.licences = dict(zip(self.images, ["CC-0", "CC-BY", "CC-BY-NC", "CC-0", "CC-BY"], strict=True))
        self.sizes: dict[str, int] = {}
        self.counted: int | None = None
        server.content[f"{API}/images/search/"] = self.search
        server.content[f"{API}/images/search/size/"] = lambda handler: self.say({"size": 10**18})
        server.content[f"{API}/collections/7/"] = lambda handler: self.say({"id": 7, "name": "seven", "locked": False})
        for licence in set(self.licences.values()):
            server.content[f"{API}/zip-download/license-file/{licence}/"] = f"text of {licence}".encode()
        for image, body in self.images.items():
            server.content[f"/files/{image}.jpg"] = body
        server.faulty = "/files/"

    def say(self, data: object, status: int = 200) -> Answer:
        return Answer(json.dumps(data).encode(), {"Content-Type": "application/json"}, status)

    def search(self, handler: Handler) -> Answer:
        asked = parse_qs(urlparse(handler.path).query)
        if asked.get("query") in (["nonsense:("], ["diagnosis:melanoma"]):
            return self.say({"message": "Couldn't parse search query."}, 400)
        images = [] if asked.get("query") == ["age_approx:200"] else list(self.images)
        page = int(asked.get("page", ["0"])[0])
        more = f"{self.server.address}{API}/images/search/?page={page + 1}"
        return self.say(
            {
                "count": len(images) if self.counted is None else self.counted,
                "next": more if page == 0 and len(images) > 3 else None,
                "previous": None,
                "results": [self.describe(image) for image in images[3 * page : 3 * page + 3]],
            }
        )

    def describe(self, image: str) -> dict[str, Any]:
        size = self.sizes.get(image, len(self.images[image]))
        return {
            "isic_id": image,
            "copyright_license": self.licences[image],
            "attribution": f"Clinic of {image}",
            "files": {"full": {"url": f"{self.server.address}/files/{image}.jpg?signed=1", "size": size}},
            "metadata": {
                "acquisition": {"image_type": "dermoscopic"},
                "clinical": {"diagnosis_1": "Benign", "sex": "male"},
            },
        }

    def downloads(self) -> list[str]:
        return [path for path, _ in self.server.requests if path.startswith("/files/")]

    def take(self, **changes: str) -> SourceSummary:
        return self.collected(**self.settings | changes)

    def arrived(self) -> dict[str, bytes]:
        """Return the images of the data set."""
        found = visible(layout.images(self.dataset))
        return {name[:-4]: content for name, content in found.items() if name.endswith(".jpg")}

    def rows(self) -> list[dict[str, str]]:
        """Return what the table of labels says of the images."""
        return rows_in(self.dataset / "labels" / "isic_archive.csv")


@pytest.fixture
def archive(server: Server, dataset: Path, collected: Collected) -> Archive:
    return Archive(server, dataset, collected)


def rows_in(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_images_metadata_and_terms_arrive_once(archive: Archive) -> None:
    report = archive.take()
    assert (report.arrived, report.already_there, report.failed) == (5, 0, 0)
    assert archive.arrived() == archive.images
    rows = archive.rows()
    assert [row["isic_id"] for row in rows] == list(archive.images)
    assert {"attribution", "copyright_license", "diagnosis_1", "sex"} <= set(rows[0])
    terms = rows_in(archive.dataset / "images" / "ATTRIBUTION.isic_archive.csv")
    assert {row["isic_id"]: row["copyright_license"] for row in terms} == archive.licences
    assert terms[0]["attribution"] == "Clinic of ISIC_0000001"
    assert (archive.dataset / "images" / "LICENSE.isic_archive.CC-BY-NC.txt").read_text() == "text of CC-BY-NC"
    searched = [path for path, _ in archive.server.requests if "images/search/?" in path]
    assert any("query=age_approx:50&collections=7" in unquote(path) for path in searched)

    archive.server.requests.clear()
    before = {path: path.stat().st_mtime_ns for path in archive.dataset.rglob("*.jpg")}
    report = archive.take()
    assert (report.arrived, report.already_there) == (0, 5)
    assert archive.downloads() == []
    assert {path: path.stat().st_mtime_ns for path in archive.dataset.rglob("*.jpg")} == before


def test_a_new_image_is_the_only_one_to_be_downloaded_and_a_withdrawn_one_loses_its_row(archive: Archive) -> None:
    archive.take()
    archive.images["ISIC_0000009"] = archive.server.content["/files/ISIC_0000009.jpg"] = jpeg(9)
    archive.licences["ISIC_0000009"] = "CC-0"
    withdrawn = archive.images.pop("ISIC_0000001")
    archive.server.requests.clear()
    assert archive.take().arrived == 1
    assert archive.downloads() == ["/files/ISIC_0000009.jpg?signed=1"]
    assert archive.arrived() == archive.images | {"ISIC_0000001": withdrawn}
    assert [row["isic_id"] for row in archive.rows()] == list(archive.images)


def test_answers_gone_wrong_are_asked_for_again(archive: Archive) -> None:
    archive.server.faults = [Fault(cut=700), Fault(status=503), Fault(flip=2), Fault(stall=700)]
    report = archive.take()
    assert archive.server.faults == []
    assert (report.arrived, report.failed) == (5, 0)
    assert archive.arrived() == archive.images


def test_what_fails_to_arrive_is_counted_and_has_no_row(archive: Archive) -> None:
    files = archive.server.content
    del files["/files/ISIC_0000001.jpg"]
    archive.sizes["ISIC_0000002"] = 12345
    files["/files/ISIC_0000003.jpg"] = flipped(archive.images["ISIC_0000003"], 2)
    body = archive.images["ISIC_0000004"]  # it decodes, to another picture: only what S3 tells of it shows that
    headers = {"ETag": f'"{hashlib.md5(body).hexdigest()}"', "x-amz-request-id": "1"}
    files["/files/ISIC_0000004.jpg"] = Answer(flipped(body, 900), headers)
    report = archive.take()
    assert (report.arrived, report.failed) == (1, 4)
    reasons = [
        r"the server answers 404 Not Found",
        r"expected 12345 bytes, as the archive lists, found \d+",
        r"not a readable image .*, though it has the size that the archive lists",
        r"expected MD5 [0-9a-f]{32}, as its server says, found [0-9a-f]{32}",
    ]
    for number, reason in enumerate(reasons, start=1):
        assert re.search(reason, report.failed_because[f"ISIC_000000{number}.jpg"])
    assert archive.arrived() == {"ISIC_0000005": archive.images["ISIC_0000005"]}
    assert [row["isic_id"] for row in archive.rows()] == ["ISIC_0000005"]


def test_when_nothing_at_all_arrives_it_is_tried_again_later_and_no_table_is_left(archive: Archive) -> None:
    for image in archive.images:
        del archive.server.content[f"/files/{image}.jpg"]
    with pytest.raises(OSError, match=r"None of the 5 images of the ISIC Archive arrived; ISIC_0000001.jpg: .*404"):
        archive.take()
    assert not (archive.dataset / "labels" / "isic_archive.csv").exists()


def test_an_image_of_another_content_is_kept_and_told(archive: Archive) -> None:
    (archive.dataset / "images" / "ISIC_0000001.jpg").write_bytes(jpeg(99))
    report = archive.take()
    assert (report.arrived, report.failed) == (4, 1)
    assert archive.arrived() == archive.images | {"ISIC_0000001": jpeg(99)}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"isic_query": "nonsense:("}, "does not take the query 'nonsense:\\('"),
        ({"isic_collections": "8"}, "Collection 8 does not exist"),
        ({"isic_query": "diagnosis:melanoma"}, "no longer supported"),
        ({"isic_query": "age_approx:200"}, "has no image for the query 'age_approx:200'"),
    ],
)
def test_a_wrong_question_is_one_clear_error(archive: Archive, changes: dict[str, str], said: str) -> None:
    with pytest.raises(DataError, match=said):
        archive.take(**changes)


def lead_out_of_the_folder(archive: Archive) -> None:
    name = "../../../outside"
    archive.images[name] = archive.images.pop("ISIC_0000001")
    archive.licences[name] = "CC-0"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda archive: setattr(archive, "counted", 6), "counts 6 images but lists 5"),
        (lead_out_of_the_folder, "expected a plain name of an image or a licence"),
        (lambda archive: archive.server.put(f"{API}/images/search/", b"<html>"), "does not answer as expected"),
    ],
)
def test_an_archive_that_answers_wrongly_is_an_error(
    archive: Archive, tmp_path: Path, spoil: Callable[[Archive], object], said: str
) -> None:
    spoil(archive)
    with pytest.raises(OSError, match=said):
        archive.take()
    assert archive.arrived() == {}
    assert {path.name for path in tmp_path.iterdir()} == {"dataset"}


def test_no_archive_is_an_error_that_a_retry_may_cure(archive: Archive) -> None:
    with pytest.raises(OSError, match=r"does not answer as expected .*127\.0\.0\.1"):
        archive.take(isic_address="http://127.0.0.1:9")


def test_killed_before_any_step_the_next_run_completes_it(
    archive: Archive, config: NewConfig, killed_runs: KilledRuns
) -> None:
    made = config(**archive.settings)

    def take() -> None:
        isic_archive.take_archived(made, intake.Intake(archive.dataset))

    def empty() -> None:
        for path in (*layout.images(archive.dataset).iterdir(), *layout.labels(archive.dataset).iterdir()):
            path.unlink()

    for _ in killed_runs(take, empty, at_least=3 * len(archive.images)):
        assert archive.arrived().items() <= archive.images.items()
        take()
        assert archive.arrived() == archive.images


def test_links_that_expired_while_others_were_downloaded_are_asked_for_again(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive's links are signed for a while; a download of hours needs fresh ones."""
    fresh = archive.describe
    searches: list[str] = []

    def describe(image: str) -> dict[str, Any]:
        described = fresh(image)
        searches.append(image)
        if searches.count(image) == 1:
            described["files"]["full"]["url"] = f"{archive.server.address}/expired/{image}.jpg?signed=0"
        return described

    monkeypatch.setattr(archive, "describe", describe)
    assert archive.take().arrived == 5
    assert archive.arrived() == archive.images


PRINTS_A_TOKEN = """#!/bin/sh
test "$*" = "--no-version-check user print-token" && echo '{"access_token": "secret", "token_type": "Bearer"}'
"""


@pytest.mark.parametrize("is_official", [True, False], ids=["the official archive", "another server"])
def test_the_login_of_isic_cli_goes_to_the_official_archive_alone(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_official: bool
) -> None:
    program = tmp_path / "bin" / "isic"
    program.parent.mkdir()
    program.write_text(PRINTS_A_TOKEN)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    if is_official:
        monkeypatch.setattr(isic_api, "_OFFICIAL", archive.server.address)
    assert archive.take().arrived == 5
    sent = {path: headers.get("Authorization") for path, headers in archive.server.requests}
    assert {token for path, token in sent.items() if path.startswith(API)} == {"Bearer secret" if is_official else None}
    assert {token for path, token in sent.items() if path.startswith("/files/")} == {None}
