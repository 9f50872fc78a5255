"""People review labels in a real browser: by keyboard alone, on a phone, two at once, and the next night learns from it.

Without a scheduler the page is served by Airflow's own application. With SCREENSHOTS=docs/images in the environment the
pictures of that folder are taken; all of them show drawn lesions.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.plugins import review_folder
from tests.plugins.review_folder import asked, content_of, picture
from tests.plugins.standalone_airflow import RETRAIN, Airflow
from tests.plugins.test_page_in_browser import CHROMIUM, PHONE, is_cut, log_in, pytestmark
from tests.plugins.test_page_in_browser import picture as screenshot

from skinlesion.data.catalog import read_catalog
from skinlesion.data.labels import review_log
from skinlesion.data.labels.readings import diagnosed
from skinlesion.data.manifest import read_manifest

if TYPE_CHECKING:
    from fastapi import FastAPI
    from playwright.sync_api import Browser, Page

__all__ = ["pytestmark"]


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A queue of drawn pictures."""
    import cv2

    from skinlesion.data.review import queue as stored
    from skinlesion.data.sources.drawn.picture import draw_lesion, draw_view

    folder = tmp_path / "dataset"
    folder.mkdir()
    monkeypatch.setenv("SKINLESION_DATASET", str(folder))
    near = tuple(picture(f"DRAWN_90{number}", dx) for number, dx in enumerate(("mel", "nv", "mel", "bkl")))
    queue = [
        asked(f"DRAWN_00{number}", lesion=(picture(f"DRAWN_50{number}", "mel"),) if number % 2 else (), neighbours=near)
        for number in range(1, 9)
    ]
    review_folder.write(folder, queue)
    for number, path in enumerate(sorted(stored.thumbnails(folder).glob("*.jpg"))):
        draws = np.random.default_rng(number)
        pixels = draw_view(draw_lesion("mel" if number % 3 else "nv", draws, 360), draws, (480, 360))
        assert cv2.imwrite(str(path), pixels[..., ::-1])
    return folder


@pytest.fixture
def server(airflow_app: FastAPI) -> Iterator[str]:
    """The address of Airflow's application with this project's pages."""
    import uvicorn

    config = uvicorn.Config(airflow_app, port=0, log_level="warning", lifespan="off")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.05)
    port = running.servers[0].sockets[0].getsockname()[1]
    yield f"http://localhost:{port}/skin-lesion-models/review"
    running.should_exit = True
    thread.join(10)


@pytest.fixture
def chromium() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def opened(chromium: Browser, address: str, token: str, **options: Any) -> Page:
    context = chromium.new_context(**options)
    context.add_cookies([{"name": "_token", "value": token, "url": address}])
    page = context.new_page()
    page.goto(address)
    return page


def press(page: Page, key: str) -> str:
    """Press a key that sends an answer; return the image that is shown then."""
    with page.expect_navigation():
        page.keyboard.press(key)
    return page.locator("h1").inner_text()


def test_the_keyboard_alone_is_enough(
    dataset: Path, server: str, chromium: Browser, token_of: Callable[[str], str]
) -> None:
    page = opened(chromium, server, token_of("ada"), viewport={"width": 1200, "height": 1000}, color_scheme="light")
    wrong: list[str] = []
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    assert page.locator("h1").inner_text() == "DRAWN_001"
    assert page.locator("figure.main img").evaluate("image => image.naturalWidth") == 480
    assert press(page, "2") == "DRAWN_002"
    screenshot(page, "review_page", 1100)
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "why":
            break
    page.keyboard.type("ux2 streaks")  # no key is an answer while a field is filled in
    page.keyboard.press("Escape")
    assert press(page, "c") == "DRAWN_003"
    assert press(page, "x") == "DRAWN_004"
    assert press(page, "u") == "DRAWN_003"
    assert press(page, "3") == "DRAWN_004"
    assert press(page, "w") == "DRAWN_005"
    page.locator("#keys").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("1")
    page.wait_for_timeout(500)
    assert page.locator("h1").inner_text() == "DRAWN_005"  # they are switched off
    said = [(one.what, *one.images, one.dx, one.why) for one in review_log.read(dataset)]
    assert said == [
        ("labelled", "DRAWN_001", "mel", ""),
        ("confirmed", "DRAWN_002", "nv", "ux2 streaks"),
        ("cannot tell", "DRAWN_003", "", ""),
        ("undone", "DRAWN_003", "", ""),
        ("labelled", "DRAWN_003", "bcc", ""),
        ("wrong", "DRAWN_004", "", ""),
    ]
    assert wrong == []


def test_on_a_phone_nothing_is_cut_and_a_tap_is_an_answer(
    dataset: Path, server: str, chromium: Browser, token_of: Callable[[str], str]
) -> None:
    page = opened(chromium, server, token_of("uma"), viewport=PHONE, has_touch=True, is_mobile=True)
    assert not is_cut(page)
    box = page.get_by_role("button", name="melanoma").bounding_box()
    assert box is not None
    assert box["height"] >= 44
    screenshot(page, "review_page_phone", 1100, PHONE["width"])
    page.get_by_role("button", name="melanoma").tap()
    page.get_by_role("heading", name="DRAWN_002").wait_for()
    for path in ("/queue", "/history"):
        page.goto(server + path)
        assert not is_cut(page), path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(
    dataset: Path, server: str, chromium: Browser, token_of: Callable[[str], str], scheme: Any
) -> None:
    from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it has no types

    for by, image, dx in (("ben", "DRAWN_003", "mel"), ("ben", "DRAWN_004", "mel"), ("cleo", "DRAWN_004", "bcc")):
        review_log.note(dataset, by, "labelled", {image: content_of(image)}, dx=dx, readers=2)
    page = opened(chromium, server, token_of("ada"), color_scheme=scheme, bypass_csp=True)
    press(page, "2")
    for path in ("", *(f"?image=DRAWN_00{number}" for number in range(1, 5)), "?image=none", "/queue", "/history"):
        page.goto(server + path)
        found = Axe().run(page).response["violations"]
        serious = [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]
        assert not serious, f"{path}: {serious}"


def test_two_people_review_and_the_next_night_learns_from_it(airflow: Airflow, chromium: Browser) -> None:
    """Twenty labels by keyboard, an undo, a night; the corrected images are in the manifest, who said so in the history."""
    airflow.settle()
    catalog = read_catalog(airflow.dataset)
    rows = catalog[catalog["refused"] == ""].head(24)
    queue = [
        asked(row["image"], row["dx"], content=row["sha256"], label=row["label"]) for row in rows.to_dict("records")
    ]
    review_folder.write(airflow.dataset, queue)
    contexts = [chromium.new_context() for _ in range(2)]
    one, other = (context.new_page() for context in contexts)
    for page in (one, other):
        log_in(page, airflow, "ada" if page is one else "ben")
        page.get_by_role("link", name="Review").first.click()
    frames = [page.frame_locator("iframe[title='Review']") for page in (one, other)]
    for frame in frames:
        frame.locator("h1").wait_for()
    seen: list[set[str]] = [set(), set()]
    # Both opened the first image; who answers second is told so.
    assert frames[0].locator("h1").inner_text() == frames[1].locator("h1").inner_text()
    for page, frame in zip((one, other), frames, strict=True):
        frame.locator("h1").focus()
        page.keyboard.press("x")
        airflow.wait(lambda: len(review_log.read(airflow.dataset)) == 1, 60)
    frames[1].get_by_text("after you opened this image").wait_for()
    frames[1].get_by_role("link", name="Review", exact=True).click()
    frames[0].locator("h1", has_not_text=queue[0].image).wait_for()
    frames[1].locator("h1", has_not_text=queue[0].image).wait_for()
    for _ in range(10):
        for who, page in enumerate((one, other)):
            heading = frames[who].locator("h1")
            image = heading.inner_text()
            before = len(review_log.read(airflow.dataset))
            heading.focus()
            page.keyboard.press("3")
            airflow.wait(lambda before=before: len(review_log.read(airflow.dataset)) > before, 60)  # type: ignore[misc]
            seen[who].add(image)
            frames[who].locator("h1", has_not_text=re.compile(f"^{re.escape(image)}$")).wait_for()
    frames[0].locator("h1").focus()
    one.keyboard.press("u")
    airflow.wait(lambda: review_log.read(airflow.dataset)[-1].what == "undone", 60)
    assert seen[0].isdisjoint(seen[1])
    said = diagnosed(review_log.read_reviews(airflow.dataset).of_image)
    assert len(said) == 19
    assert {entry.by for entry in said.values()} == {"ada", "ben"}
    run = airflow.trigger(RETRAIN, max_relabelled_share=1, max_class_shift=1)
    assert airflow.ended(RETRAIN, run) == "success"
    manifest = read_manifest(airflow.dataset)
    originals = manifest[manifest["copy"] == 0].set_index("image")["dx"]
    assert {image: originals[image] for image in said} == dict.fromkeys(said, "bcc")
    frames[0].get_by_role("link", name="what was said").click()
    frames[0].get_by_text("took entry").first.wait_for()
