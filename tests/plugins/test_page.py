"""What the page shows, and what its form does."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.measured import known
from tests.plugins import models_folder
from tests.plugins.page_form import FROM_THE_PAGE, PAGE, BrowserOf, fields, form_of, send

from skin_lesion_failure import Failure
from skinlesion.foundation import layout
from skinlesion.registry import history, in_service
from skinlesion.registry.snapshot import Registry
from skinlesion.registry.switch import rollback

if TYPE_CHECKING:
    from starlette.testclient import TestClient

HOSTILE = "<script>alert('1')</script><img src=x onerror=\"alert(2)\"> {{ 7*7 }} &amp;"


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def rows_of(html: str, heading: str) -> list[str]:
    """Return the rows of the table under a heading."""
    table = html[html.index(heading) :].partition("<tbody>")[2].partition("</tbody>")[0]
    return table.split("<tr>")[1:]


# --- What it shows --------------------------------------------------------------------------------------------------


def test_it_says_what_is_in_service_since_when_by_whom_and_why(vic: TestClient, models: Path) -> None:
    now = known(in_service.read(models))
    text = text_of(vic.get(f"{PAGE}/").text)
    since = now.entry.at[:16].replace("T", " ")
    assert f"Version 2 since {since} UTC , by grace." in text
    assert "Why: It is second." in text
    assert "Balanced accuracy 0.800 0.760–0.840" in text


def test_it_lists_the_versions_with_states_figures_and_verdicts(vic: TestClient, models: Path) -> None:
    third, second, first = map(text_of, rows_of(vic.get(f"{PAGE}/").text, 'id="versions"'))
    assert "third rejected" in third
    assert "1 lost The sensitivity for malignant is as it is." in third
    assert "second in service" in second
    assert "first former champion" in first
    assert "passed" in first
    assert "0.900" in first
    assert "not measured" in first  # the specificity


def test_a_version_has_each_criterion_with_its_numbers(vic: TestClient, models: Path) -> None:
    page = vic.get(f"{PAGE}/versions/3").text
    assert "not passed" in page
    auroc, sensitivity = map(text_of, rows_of(page, "Criterion"))
    assert "Malignant AUROC yes 0.9 0.8" in auroc
    assert "no -0.1234 -0.08 The sensitivity for malignant is as it is." in sensitivity
    assert "candidate 0.8711, champion 0.8822, difference -0.0111, confidence 0.9" in sensitivity
    assert "beside version 2" in text_of(page)


def test_a_version_that_was_not_judged_or_whose_verdict_is_gone_says_so(vic: TestClient, models: Path) -> None:
    models_folder.add(models, "fourth")
    assert "The gate has not judged it" in vic.get(f"{PAGE}/versions/4").text
    (layout.candidate(models, "third") / "verdict.json").unlink()
    assert "Version 3 does not pass the gate" in vic.get(f"{PAGE}/versions/3").text


def test_beside_the_figures_it_says_where_held_out_images_were_relabelled(vic: TestClient, models: Path) -> None:
    heading = "Where labels of held-out images changed, or images left"
    assert heading not in vic.get(f"{PAGE}/").text
    moved = history.Relabelled(images=2, by={HOSTILE: 2}, held_out_version="h3ld")
    entry = history.HistoryEntry(
        at="2026-07-02T03:00:00+00:00", what="measured by other labels", actor=HOSTILE, version=3,
        reason=f"Since version 3 was measured, two changed. Said by {HOSTILE} 2", relabelled=moved,
    )  # fmt: skip
    history.append(models, entry)
    page = vic.get(f"{PAGE}/").text
    assert HOSTILE not in page
    assert "2026-07-02 03:00 UTC : Since version 3 was measured, two changed." in text_of(page[page.index(heading) :])
    assert "measured by other labels" in vic.get(f"{PAGE}/history").text


def test_every_figure_is_drawn_over_the_nights_with_its_interval(vic: TestClient, models: Path) -> None:
    page = vic.get(f"{PAGE}/").text
    charts = re.findall(r"<figure>.*?</figure>", page, re.S)
    titles = [" ".join(text_of(chart).split()[:2]) for chart in charts]
    # And not the specificity, which nobody measured
    assert titles == ["Balanced accuracy", "Malignant AUROC", "Sensitivity for", "Calibration error"]
    assert charts[0].count("<circle") == 3
    assert charts[0].count('class="dot champion"') == 1
    assert charts[0].count('class="band"') == 1
    assert "Version 2, " in charts[0]
    assert "0.800 (0.760–0.840)" in charts[0]


@pytest.mark.parametrize("what", ["nothing", "versions"])
def test_an_empty_registry_is_a_page_too(ada: TestClient, empty_models: Path, what: str) -> None:
    if what == "versions":
        models_folder.add(empty_models, "first")
    page = ada.get(f"{PAGE}/")
    assert page.status_code == 200
    assert "No model is in service" in page.text
    assert "Nothing has happened yet" in page.text
    assert "<form" not in page.text


# --- A thousand versions --------------------------------------------------------------------------------------------


def test_a_thousand_versions_come_in_pages(vic: TestClient, empty_models: Path) -> None:
    models_folder.many(empty_models, 1000)

    def numbers(page: str) -> list[int]:
        rows = rows_of(vic.get(f"{PAGE}/{page}").text, 'id="versions"')
        return [int(re.findall(r"versions/(\d+)", row)[0]) for row in rows]

    assert numbers("") == list(range(1000, 975, -1))
    assert numbers("?page=2") == list(range(975, 950, -1))
    assert numbers("?page=40") == list(range(25, 0, -1))
    assert numbers("?page=999") == list(range(25, 0, -1))
    first = vic.get(f"{PAGE}/").text
    assert "1,000 versions, page 1 of 40" in first
    assert 'rel="next" href="?page=2"' in first
    assert 'rel="prev"' not in first
    assert len(first) < 250_000
    (balanced_accuracy, *_) = re.findall(r"<figure>.*?</figure>", first, re.S)
    assert balanced_accuracy.count("<circle") == 90
    assert balanced_accuracy.count('class="break"') == 1  # other images are held out since a month
    assert len(rows_of(vic.get(f"{PAGE}/history?page=20").text, "History")) == 50
    assert "page 20 of 20" in vic.get(f"{PAGE}/history?page=20").text


@pytest.mark.parametrize("page", ["0", "-1", "x", "1.5", "99999999999", "<script>"])
def test_a_page_that_is_none_is_refused(vic: TestClient, models: Path, page: str) -> None:
    for path in ("/", "/history"):
        answer = vic.get(f"{PAGE}{path}", params={"page": page})
        assert answer.status_code == 422
        assert "<script>" not in answer.text


# --- Everything is escaped ------------------------------------------------------------------------------------------


def test_html_in_names_and_reasons_is_text(ada: TestClient, models: Path) -> None:
    models_folder.judge(models, 3, passed=False)
    rollback(models, actor=f"grace {HOSTILE}", reason=HOSTILE, to=1)
    models_folder.renamed(models, 3, HOSTILE)
    verdict = layout.candidate(models, "first") / "verdict.json"
    verdict.write_text(verdict.read_text().replace("The sensitivity for malignant is as it is.", "<b onload=x>is</b>"))
    asked = {"dag_id": "skin_lesion_retrain", "run_id": HOSTILE}
    pages = [ada.get(PAGE + path).text for path in ("/", "/history", "/versions/1", "/versions/3")]
    pages += [ada.get(f"{PAGE}/run", params=asked).text, ada.get(f"{PAGE}/run", params={"dag_id": HOSTILE}).text]
    for page in pages:
        assert "onerror=" not in re.sub(r"&lt;.*?&gt;", "", page)
        assert "<script>" not in page
        assert "<b onload" not in page
        assert "{{ 7*7 }}" in page or "&lt;b onload" in page
    assert "&lt;script&gt;" in pages[0]


# --- Rollback and promotion -----------------------------------------------------------------------------------------


def test_the_first_page_rolls_back_to_the_version_before(ada: TestClient, models: Path) -> None:
    page = ada.get(f"{PAGE}/").text
    (action,) = re.findall(r'<form method="post" action="([^"]+)"', page)
    assert action == f"{PAGE}/versions/1/in-service"
    answer = ada.post(action, data=fields(page) | {"reason": "It misses more"}, headers=FROM_THE_PAGE)
    assert answer.status_code == 303
    entry = history.lines(models).all()[-1]
    assert (entry.what, entry.version, entry.previous) == ("rolled back", 1, 2)
    assert (entry.actor, entry.reason) == ("ada", "It misses more")
    after = text_of(ada.get(answer.headers["location"]).text)
    assert "Why: It misses more." in after
    assert "ada Version 1 rolled back instead of 2 It misses more" in after
    assert send(ada, 2, form_of(ada, 2) | {"reason": "It was right"}).status_code == 303  # and there again
    assert Registry.read(models).version(2).state == "champion"


def test_a_rejected_version_is_put_in_service_by_who_says_why(ada: TestClient, models: Path) -> None:
    assert "did not pass the gate" in ada.get(f"{PAGE}/versions/3").text
    assert send(ada, 3, form_of(ada, 3) | {"reason": "A test"}).status_code == 303
    assert Registry.read(models).version(3).state == "champion"
    assert history.lines(models).all()[-1].what == "promoted"


@pytest.mark.parametrize(
    ("version", "change", "status", "said"),
    [
        (1, {"reason": ""}, 409, "No reason is given"),
        (1, {"reason": "  \n "}, 409, "No reason is given"),
        (1, {"reason": "x" * 501}, 422, ""),
        (1, {"instead_of": "two"}, 422, ""),
        (1, {"instead_of": ""}, 409, ""),
        (9, {}, 404, ""),
    ],
    ids=["no reason", "blanks", "too long a reason", "no number", "nothing was in service", "no such version"],
)
def test_a_form_that_cannot_be_followed_changes_nothing(
    ada: TestClient, models: Path, version: int, change: dict[str, str], status: int, said: str
) -> None:
    before = history.lines(models).all()
    answer = send(ada, version, form_of(ada, 1) | {"reason": "A test"} | change)
    assert answer.status_code == status
    assert said in answer.text
    assert history.lines(models).all() == before


def test_who_saw_another_version_in_service_must_look_again(ada: TestClient, models: Path) -> None:
    form = form_of(ada, 3) | {"reason": "A test"}
    rollback(models, actor="grace", reason="I was quicker")
    answer = send(ada, 3, form)
    assert answer.status_code == 409
    assert "I was quicker" in answer.text
    assert Registry.read(models).version(1).state == "champion"


def test_a_full_disk_is_told_and_changes_nothing(
    ada: TestClient, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = form_of(ada, 1) | {"reason": "A test"}

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("skin_lesion_page.application.rollback", full)
    answer = send(ada, 1, form)
    assert answer.status_code == 503
    assert "No space left on device" in answer.text


def test_a_version_in_service_or_without_files_has_no_form(ada: TestClient, models: Path) -> None:
    entry = history.HistoryEntry(at=history.now(), what="removed", actor="retention", version=3, reason="Old")
    history.append(models, entry)
    assert "<form" not in ada.get(f"{PAGE}/versions/2").text
    page = ada.get(f"{PAGE}/versions/3").text
    assert "<form" not in page
    assert "files were removed" in page


# --- Where it stands in Airflow -------------------------------------------------------------------------------------


def test_behind_a_prefix_every_address_has_it(browser_of: BrowserOf, models: Path, pause: Callable[..., None]) -> None:
    # As Airflow's application has it for [api] base_url; a proxy in front of Airflow keeps the prefix.
    prefix = "/team/airflow"
    admin, where = browser_of("ada", root_path=prefix), prefix + PAGE
    pause("skin_lesion_retrain")  # which adds a link to Airflow's own page of it
    for path in ("/", "/versions/1", "/history", "/run?dag_id=x", "/nothing"):
        page = admin.get(where + path).text
        addresses = re.findall(r'(?:href|src|action)="([^"?#][^"]*)"', page)
        assert addresses
        for address in addresses:
            assert address.startswith((f"{prefix}{PAGE}/", f"{prefix}/dags/")), address
    form = fields(admin.get(f"{where}/versions/1").text) | {"reason": "because"}
    answer = admin.post(f"{where}/versions/1/in-service", data=form, headers=FROM_THE_PAGE)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{prefix}{PAGE}/")


def test_it_stands_in_the_navigation_and_on_each_run(
    vic: TestClient, nobody: TestClient, token_of: Callable[[str], str], models: Path
) -> None:
    headers = {"authorization": f"Bearer {token_of('ada')}"}
    plugins = nobody.get("/api/v2/plugins", headers=headers, params={"limit": 100}).json()["plugins"]
    plugin = next(one for one in plugins if one["name"] == "skin_lesion_models")
    assert nobody.get("/api/v2/plugins/importErrors", headers=headers).json()["import_errors"] == []
    assert [view["destination"] for view in plugin["external_views"]] == ["nav", "nav", "dag_run"]
    for view in plugin["external_views"]:
        assert len(view["name"]) <= 8 or view["destination"] != "nav"  # else the navigation cuts it
        assert not view["href"].startswith("/")  # the prefix comes before it
        filled = view["href"].replace("{DAG_ID}", "skin_lesion_retrain").replace("{RUN_ID}", "manual__1")
        assert vic.get(f"/{filled}").status_code == 200


def test_the_tab_says_when_a_run_has_no_version(vic: TestClient, models: Path) -> None:
    for dag_id, said in (
        ("skin_lesion_retrain", "has not measured a version"),
        ("skin_lesion_promote", "has not judged a version"),
        ("another", "makes no skin-lesion model"),
        ("", "makes no skin-lesion model"),
    ):
        page = vic.get(f"{PAGE}/run", params={"dag_id": dag_id, "run_id": "manual__1"})
        assert page.status_code == 200
        assert said in text_of(page.text)


# --- A DAG that is paused -------------------------------------------------------------------------------------------


@pytest.fixture
def pause() -> Callable[..., None]:
    """Return a function that pauses DAGs as their switch does."""
    from airflow.models.dag import DagModel
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    def switch_off(*dag_ids: str) -> None:
        with create_session() as session:
            session.merge(DagBundleModel(name="dags-folder"))
            session.flush()
            for dag_id in ("skin_lesion_retrain", "skin_lesion_promote"):
                row: Any = {"dag_id": dag_id, "bundle_name": "dags-folder", "is_paused": dag_id in dag_ids}
                session.merge(DagModel(**row))  # type: ignore[no-untyped-call]  # Airflow's

    return switch_off


def test_a_candidate_that_waits_for_a_paused_promotion_says_so(
    vic: TestClient, models: Path, pause: Callable[..., None]
) -> None:
    assert "paused" not in vic.get(f"{PAGE}/").text
    pause("skin_lesion_promote")
    said = text_of(vic.get(f"{PAGE}/").text)
    assert "No new version will be judged, because skin_lesion_promote is paused. Switch it on." in said
    models_folder.add(models, "fourth")
    for path in ("/", "/versions/4"):
        page = vic.get(PAGE + path).text
        assert "Version 4 waits for the gate, because skin_lesion_promote is paused. Switch it on" in text_of(page)
        assert 'href="/dags/skin_lesion_promote"' in page
    assert "paused" not in vic.get(f"{PAGE}/versions/3").text  # it was judged


def test_a_paused_retraining_says_so(vic: TestClient, models: Path, pause: Callable[..., None]) -> None:
    pause("skin_lesion_retrain")
    said = text_of(vic.get(f"{PAGE}/").text)
    assert "No new version is trained at night, because skin_lesion_retrain is paused." in said
    assert "skin_lesion_promote is paused" not in said


# --- A run that failed ----------------------------------------------------------------------------------------------


def write_checks(report: Path, found: str) -> None:
    """Write what checks found, as it lies beside the report."""
    rest = {"check": "max_lost_share", "title": "Lost images", "figure": 0.2, "bound": 0.1, "rows": 0, "first_rows": []}
    checks = [rest | {"verdict": "passed", "found": "All is well."}, rest | {"verdict": "failed", "found": found}]
    report.with_suffix(".json").write_text(json.dumps({"checks": checks}))


FAILED = {"dag_id": "skin_lesion_retrain", "run_id": "manual__failed"}


@pytest.fixture
def failed_ingest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data report of data that did not pass, of which `ingest` of a run said where it lies."""
    dataset = tmp_path / "dataset"
    dataset.mkdir()
    monkeypatch.setenv("SKINLESION_DATASET", str(dataset))
    report = layout.failed_data_report(dataset)
    report.write_text("<!DOCTYPE html><h1>The failed data report</h1>")
    write_checks(report, "36 of 175 <b>images</b>.")
    failure = Failure("ingest", f"36 of 175 <b>images</b>.\nWith images: {report}.", "Correct it.", datetime.now(UTC))
    monkeypatch.setattr(
        "skin_lesion_page.application.failure_of", lambda *run: {tuple(FAILED.values()): failure}.get(run)
    )
    return report


def test_the_tab_of_a_failed_run_says_why_and_shows_the_data_that_did_not_pass(
    vic: TestClient, models: Path, failed_ingest: Path
) -> None:
    page = vic.get(f"{PAGE}/run", params=FAILED).text
    assert "<h1>ingest failed</h1>" in page
    assert "<p>36 of 175 &lt;b&gt;images&lt;/b&gt;.</p>" in page
    assert "<p>Correct it.</p>" in page
    assert page.count(f'="{PAGE}/data_report_failed.html"') == 2  # in a frame, and as a page of its own
    answer = vic.get(f"{PAGE}/data_report_failed.html")
    assert "The failed data report" in answer.text
    assert "sandbox" in answer.headers["content-security-policy"]


def test_the_tab_shows_no_data_report_of_a_later_run(vic: TestClient, models: Path, failed_ingest: Path) -> None:
    """Which run a report is of does not depend on the clocks of two machines."""
    os.utime(failed_ingest, (time.time() + 3600,) * 2)
    assert "<iframe" in vic.get(f"{PAGE}/run", params=FAILED).text
    write_checks(failed_ingest, "9 of 175 images.")
    page = vic.get(f"{PAGE}/run", params=FAILED).text
    assert "ingest failed" in page
    assert "<iframe" not in page
    failed_ingest.unlink()
    assert "<iframe" not in vic.get(f"{PAGE}/run", params=FAILED).text
    assert vic.get(f"{PAGE}/data_report_failed.html").status_code == 404


def test_it_says_which_version_is_the_reference_and_how_often_the_held_out_lesions_have_judged(
    vic: TestClient, models: Path
) -> None:
    look = {"reference": 1, "lesions": 120, "confidence": 0.97, "p_worse": 0.2, "is_draw": True, "is_better": False}
    verdict = {"passed": False, "is_too_few": True, "against": 2, "lost": ["Few"], "look": look, "at": "2026-07-04"}
    entry = {"at": "2026-07-04", "what": "judged", "actor": "ann", "version": 3, "reason": "It is", "verdict": verdict}
    with history.path(models).open("a") as file:
        file.write(json.dumps(entry) + "\n")
    page = vic.get(f"{PAGE}/").text
    assert "Version 1 is the reference, which every candidate must be no worse than." in text_of(page)
    said = "The 120 malignant lesions that are held out have judged once, with 1 draw on the error budget; 39% of it is left."
    assert said in text_of(page)
    assert "too few to judge" in text_of(rows_of(page, 'id="versions"')[0])
    assert said in text_of(vic.get(f"{PAGE}/versions/3").text)
    assert "the reference" in text_of(vic.get(f"{PAGE}/versions/1").text)


def test_a_line_that_is_neither_yes_nor_no_says_why(vic: TestClient, models: Path) -> None:
    path = layout.candidate(models, "third") / "verdict.json"
    verdict = json.loads(path.read_text())
    for criterion, why in zip(verdict["criteria"], ("too few to judge", "not compared"), strict=True):
        criterion |= {"unjudged": why, "passed": True}
    path.write_text(json.dumps(verdict))
    page = vic.get(f"{PAGE}/versions/3").text
    assert "passed provisionally" in text_of(page)
    few, not_compared = map(text_of, rows_of(page, "Criterion"))
    assert "Malignant AUROC too few to judge 0.9" in few
    assert "not compared" in not_compared and "yes" not in not_compared
