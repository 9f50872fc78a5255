"""A person and a browser: log in, change the form, trigger, watch it finish or fail, read the report, roll back.

Against `airflow standalone` behind a prefix, with a scheduler that really trains. With SCREENSHOTS=docs/images in the
environment the pictures of that folder are taken; NIGHTS=folder lets them show nights that went before: the dataset/ and models/ of some
`skinlesion run`, and in settings.json the settings that they had, {"EPOCHS": "12", ...}.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from tests.measured import known
from tests.plugins.standalone_airflow import MINUTES, PROMOTE, RETRAIN, TRAINED, Airflow

from skinlesion.registry import history
from skinlesion.registry.snapshot import Registry

if TYPE_CHECKING:
    from playwright.sync_api import FrameLocator, Page, ViewportSize

CHROMIUM = shutil.which("chromium")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium: apt-get install chromium"),
]

TITLE = "Models"
"""Of the page in the navigation."""
TAB = "Skin lesion model"
"""Of the page on a run."""
PHONE: ViewportSize = {"width": 390, "height": 844}
EPOCHS = "20" if "NIGHTS" in os.environ else "5"
"""What a person asks for."""


@pytest.fixture
def page() -> Iterator[Page]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        # Playwright's own light mode would overrule what the page says to its frames.
        opened = browser.new_page(viewport={"width": 1200, "height": 800}, color_scheme="null")
        opened.set_default_timeout(2 * MINUTES * 1000)
        yield opened
        browser.close()


def log_in(page: Page, airflow: Airflow, name: str) -> None:
    page.goto(f"{airflow.address}/")
    page.locator("input[name=username]").fill(name)
    page.locator("input[name=password]").fill(airflow.passwords[name])
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("link", name=TITLE).first.wait_for()


def open_form(page: Page, airflow: Airflow) -> None:
    page.goto(f"{airflow.address}/dags/skin_lesion_retrain")
    page.get_by_test_id("trigger-dag-button").click()
    page.locator("input[name=element_epochs]").wait_for()


def submit(page: Page, epochs: str) -> Any:
    """Send the form with so many epochs; give Airflow's answer."""
    if epochs == EPOCHS:
        page.get_by_role("dialog").get_by_text("Run Parameters").evaluate("heading => heading.scrollIntoView()")
        picture(page, "trigger_form", 2100)
    field = page.locator("input[name=element_epochs]")
    field.fill(epochs)
    field.blur()
    page.wait_for_timeout(1000)
    with page.expect_response(lambda answer: answer.request.method == "POST" and "/dagRuns" in answer.url) as found:
        page.get_by_test_id("trigger-dag-submit").click()
    return found.value


def picture(page: Page, name: str, height: int = 800, width: int = 1200) -> None:
    """Take a picture for docs/images/, of as few colours as are enough for it."""
    if "SCREENSHOTS" not in os.environ:
        return
    page.set_viewport_size({"width": width, "height": height})
    page.wait_for_timeout(2000)
    with Image.open(io.BytesIO(page.screenshot())) as taken:
        few = taken.convert("RGB").quantize(128, dither=Image.Dither.NONE)
    folder = Path(os.environ["SCREENSHOTS"])
    folder.mkdir(parents=True, exist_ok=True)
    few.save(folder / f"{name}.png", optimize=True)
    page.set_viewport_size({"width": 1200, "height": 800})


def frame_of(page: Page, title: str = TITLE) -> FrameLocator:
    """The page within Airflow's."""
    return page.frame_locator(f"iframe[title='{title}']")


def is_cut(page: Page) -> bool:
    """Return whether a page is wider than the screen."""
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


def test_a_person_retrains_reads_the_report_and_rolls_back(airflow: Airflow, page: Page) -> None:
    wrong: list[str] = []
    page.on(
        "console", lambda said: wrong.append(f"{said.location['url']}: {said.text}") if said.type == "error" else None
    )
    airflow.settle()
    log_in(page, airflow, "ada")
    before = known(airflow.champion())
    after = len(Registry.read(airflow.models).versions) + 1

    open_form(page, airflow)
    answer = submit(page, "2.5")
    assert answer.status == 400
    page.get_by_text("2.5 is not of type 'integer'").first.wait_for()
    field = page.locator("input[name=element_epochs]")
    field.fill("501")
    field.blur()
    page.wait_for_timeout(1000)
    assert field.input_value() == "500"

    open_form(page, airflow)
    answer = submit(page, EPOCHS)
    assert answer.status == 200
    run = answer.json()["dag_run_id"]
    page.goto(f"{airflow.address}/dags/skin_lesion_retrain/runs/{run}")
    # A task's own "Success" is seen before the run's.
    airflow.wait(lambda: len(Registry.read(airflow.models).versions) == after)
    page.get_by_text("Success").first.wait_for(timeout=TRAINED * 1000)
    page.get_by_role("link", name=TAB).click()
    frame_of(page, TAB).get_by_role("heading", name=f"Version {after}").wait_for()
    picture(page, "run_tab")
    page.goto(f"{airflow.address}/dags")
    page.get_by_role("link", name="skin_lesion_promote").first.wait_for()
    picture(page, "dags_list", 900)

    airflow.wait(lambda: airflow.is_waiting(list(airflow.runs(PROMOTE))[-1]))
    page.goto(f"{airflow.address}/required_actions")
    page.get_by_role("link", name=f"Put version {after} of the skin-lesion classifier in service?").first.click()
    page.get_by_role("button", name="Approve").wait_for()
    picture(page, "approval", 1100)
    airflow.settle()
    assert airflow.champion() == after
    page.get_by_role("link", name=TITLE).first.click()
    frame = frame_of(page)
    frame.get_by_text(f"Version {after} since").wait_for()
    picture(page, "models_page", 1300)

    frame.get_by_role("link", name=f"Version {after}").first.click()
    frame.get_by_role("heading", name=f"Version {after}").wait_for()
    assert frame.locator("tbody tr").first.inner_text().startswith("The files are those that were registered")
    picture(page, "model_version", 1200)
    report = frame.frame_locator("iframe")
    report.get_by_role("heading", level=1).wait_for()
    assert "Balanced accuracy" in report.locator("body").inner_text()
    report.get_by_role("link", name="data report").first.click()
    report.get_by_role(
        "heading", name="Training data", level=1
    ).wait_for()  # a link within the sandbox brings the login's cookie
    with page.context.expect_page() as opened:  # though Airflow's frame may open none
        frame.get_by_role("link", name="Open as a page of its own").click()
    opened.value.get_by_role("heading", level=1).wait_for()
    assert opened.value.url.endswith(f"/skin-lesion-models/versions/{after}/report.html")
    opened.value.set_viewport_size(PHONE)
    assert not is_cut(opened.value)
    opened.value.close()

    frame.get_by_role("link", name="Skin lesion models").click()
    frame.get_by_text(f"Roll back to version {before}…").click()
    frame.get_by_label("Reason").fill("It misses melanomas < 6 mm & some nevi")
    picture(page, "rollback", 600)
    frame.get_by_role("button", name="Roll back").click()
    frame.get_by_text(f"Version {before} since").wait_for()
    frame.get_by_text("Why: It misses melanomas < 6 mm & some nevi.").wait_for()
    assert airflow.champion() == before
    entry = history.lines(airflow.models).all()[-1]
    assert (entry.what, entry.actor, entry.version, entry.previous) == ("rolled back", "ada", before, after)

    page.evaluate("localStorage.setItem('theme', 'dark')")
    page.reload()
    dark = frame_of(page).locator(":root[data-mode=dark] body")
    dark.wait_for()
    assert dark.evaluate("body => getComputedStyle(body).backgroundColor") == "rgb(20, 25, 31)"
    picture(page, "models_page_dark", 1000)
    frame_of(page).get_by_role("link", name=f"Version {before}").first.click()
    frame_of(page).get_by_role("heading", name=f"Version {before}").wait_for()
    plot = frame_of(page).locator("img.plot").first
    assert plot.evaluate("plot => getComputedStyle(plot).filter").startswith("invert(0.91)")
    frame_of(page).get_by_role("heading", name="Reports").evaluate("heading => heading.scrollIntoView()")
    dark = frame_of(page).frame_locator("iframe").locator("body")
    assert dark.evaluate("body => getComputedStyle(body).backgroundColor") == "rgb(20, 25, 31)"
    picture(page, "model_report_dark", 1000)
    assert [line for line in wrong if "skin-lesion-models" in line] == []


def test_nothing_is_cut_on_a_phone(airflow: Airflow, page: Page) -> None:
    airflow.settle()
    log_in(page, airflow, "ada")
    number = airflow.champion()
    page.set_viewport_size(PHONE)
    for path in (
        "",
        "history",
        f"versions/{number}",
        f"versions/{number}/model_card.md",
        f"versions/{number}/data_report.html",
    ):
        page.goto(f"{airflow.address}/skin-lesion-models/{path}")
        assert not is_cut(page), path
    page.goto(f"{airflow.address}/skin-lesion-models/")
    picture(page, "models_page_phone", 1700, PHONE["width"])


def test_a_failed_run_says_why_in_its_log_its_note_and_its_tab(airflow: Airflow, page: Page) -> None:
    airflow.settle()
    labels = airflow.dataset / "diagnoses.csv"
    before = labels.read_text()
    head, *rows = before.splitlines()
    words = [
        f"{image},{'nevvus' if place % 3 == 0 else dx},{rest}"
        for place, (image, dx, rest) in enumerate(row.split(",", 2) for row in rows)
    ]
    assert head.startswith("image,dx,")
    labels.write_text("\n".join([head, *words]) + "\n")
    try:
        run = airflow.trigger(RETRAIN, min_images_checked=10)
        airflow.wait(lambda: airflow.runs(RETRAIN)[run] == "failed")
    finally:
        labels.write_text(before)

    log_in(page, airflow, "ada")
    look_at_failed_run(page, f"{airflow.address}/dags/{RETRAIN}/runs/{run}")


def look_at_failed_run(page: Page, where: str) -> None:
    """Look at the log, the note and the tab of a run whose data did not pass."""
    page.goto(f"{where}/tasks/ingest")
    page.get_by_text("ingest failed.").wait_for()
    log = page.locator("code, pre").filter(has_text="ingest failed.").first.inner_text()
    assert "Traceback" not in log
    assert "(nevvus)" in log[log.index("ingest failed.") :]
    assert "This was not tried again." in log
    picture(page, "failed_log")

    page.goto(where)
    page.get_by_text("Failed in ingest.").first.wait_for()
    page.get_by_role("button", name="Edit note").click()
    page.get_by_role("dialog").get_by_text("Correct it, then clear the task: what was finished is kept.").wait_for()
    picture(page, "failed_note")

    page.goto(where)
    page.get_by_role("link", name=TAB).click()
    frame = frame_of(page, TAB)
    frame.get_by_role("heading", name="ingest failed").wait_for()
    frame.get_by_text("The data did not pass").first.wait_for()
    frame.frame_locator("iframe").get_by_text("nevvus").first.wait_for(state="attached")
    picture(page, "failed_tab", 1300)
    with page.context.expect_page() as opened:
        frame.get_by_role("link", name="Open the data report as a page of its own").click()
    opened.value.get_by_role("heading", level=1).wait_for()
