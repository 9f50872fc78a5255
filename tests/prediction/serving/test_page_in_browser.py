"""The page as a person meets it: in a real browser, by mouse, by keyboard, on a phone, in the dark."""

from __future__ import annotations

import csv
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it has no types
from playwright.sync_api import Browser, FilePayload, Locator, Page, ViewportSize, expect, sync_playwright
from tests.prediction.real_server import UNSURE, Models, Served, drawn, probabilities, served
from tests.prediction.serving.overlays import the_image_itself

from skinlesion.prediction.serving import model_watch, served_model
from skinlesion.prediction.serving.grad_cam_process import Overlay

pytestmark = pytest.mark.browser

PHONE = ViewportSize(width=390, height=844)
DESK = ViewportSize(width=1100, height=900)

expect.set_options(timeout=30_000)


@pytest.fixture(scope="module")
def overlay() -> Overlay:
    """Return a Grad-CAM without TensorFlow; test_grad_cam.py asks for the real one."""
    return the_image_itself


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("There is no browser. Debian's package is chromium.")
        pytest.skip("There is no chromium on this machine.")
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        opened = playwright.chromium.launch(executable_path=program, args=options)
        yield opened
        opened.close()


class Visit:
    """A page that is open, every request that it made, and what it complained of."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)
        page.goto(address, wait_until="networkidle")

    def send(self, *files: tuple[str, bytes]) -> None:
        sent = [FilePayload(name=name, mimeType="image/jpeg", buffer=content) for name, content in files]
        self.page.set_input_files("#choose", sent)

    def ignore(self, part: str) -> None:
        """Forget what the browser itself complains of."""
        self.complaints = [text for text in self.complaints if part not in text]

    def answer(self, name: str) -> Locator:
        return self.page.locator("article", has=self.page.locator("h3", has_text=name))


Visits = Callable[..., Visit]
"""Opens a server's page, in a context of its own."""


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visits]:
    opened: list[Visit] = []

    def visit(
        server: Served,
        *,
        scheme: Literal["light", "dark"] = "light",
        viewport: ViewportSize = DESK,
        permissions: list[str] | None = None,
    ) -> Visit:
        context = browser.new_context(color_scheme=scheme, viewport=viewport, permissions=permissions)
        opened.append(Visit(context.new_page(), server.address))
        return opened[-1]

    yield visit
    here = ("http://127.0.0.1:", "blob:http://127.0.0.1:", "data:")
    for one in opened:
        assert [url for url in one.requests if not url.startswith(here)] == []
        assert one.complaints == []
        one.page.context.close()


def serious_violations(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found if one["impact"] in ("serious", "critical")]


@pytest.mark.parametrize(
    ("scheme", "viewport"),
    [
        ("light", DESK),
        ("dark", PHONE),
        pytest.param("dark", DESK, marks=pytest.mark.slow),
        pytest.param("light", PHONE, marks=pytest.mark.slow),
    ],
)
def test_an_image_is_answered_with_decision_reason_threshold_and_heat_map_and_nobody_is_kept_out(
    visit: Visits, shared: Served, scheme: Literal["light", "dark"], viewport: ViewportSize
) -> None:
    page = (one := visit(shared, scheme=scheme, viewport=viewport)).page
    assert serious_violations(page) == []
    expect(page.get_by_role("note").first).to_contain_text("Not a medical device")
    one.send(("mole.jpg", drawn(1)))
    answer = one.answer("mole.jpg")
    said = shared.prediction(drawn(1))
    expect(answer.locator(".decision")).to_have_text(said["title"])
    expect(answer.locator(".reason")).to_have_text(said["reason"])
    expect(answer.locator(".version")).to_contain_text("version 1, run run-a")
    expect(answer.locator(".threshold")).to_contain_text("0.200")
    bar, mark = answer.locator(".bar.malignant").bounding_box(), answer.locator(".mark").bounding_box()
    assert bar and mark
    assert (mark["x"] + mark["width"] / 2 - bar["x"]) / bar["width"] == pytest.approx(0.2, abs=0.02)
    expect(page.locator("#status")).to_contain_text(f"mole.jpg: {said['title']}")
    answer.get_by_role("button", name="Show Grad-CAM").click()
    heat_map = answer.locator(".looked img")
    expect(heat_map).to_be_visible(timeout=60_000)
    assert "what spoke for malignant" in (heat_map.get_attribute("alt") or "")
    assert heat_map.evaluate("image => image.naturalWidth") == 224
    assert serious_violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is cut off to the right"
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")


def test_an_abstaining_model_and_a_wrong_file_are_told_with_their_reasons(visit: Visits, empty_models: Models) -> None:
    empty_models.switch_to("a", UNSURE)
    with served(empty_models.folder) as server:
        one = visit(server)
        one.send(("mole.jpg", drawn(1)), ("letter.jpg", b"Dear doctor"))
        expect(one.answer("mole.jpg").locator(".decision")).to_have_text("No answer")
        expect(one.answer("mole.jpg").locator(".reason")).to_contain_text("Not sure enough to answer")
        expect(one.answer("letter.jpg").locator(".decision")).to_have_text("Refused")
        expect(one.answer("letter.jpg").locator(".reason")).to_contain_text("not a readable image")
        assert serious_violations(one.page) == []
        one.ignore("422")


def test_a_picture_waits_while_the_model_is_being_loaded(
    visit: Visits, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_load, load = threading.Event(), served_model.load
    monkeypatch.setattr(model_watch, "load", lambda *given: may_load.wait(60) and load(*given))
    with served(models.folder, is_ready=False) as server:
        one = visit(server)
        one.send(("mole.jpg", drawn(1)))
        decision = one.answer("mole.jpg").locator(".decision")
        expect(one.page.locator("#status")).to_contain_text("The model is being loaded")
        expect(decision).to_have_text("Waiting …")
        may_load.set()
        expect(decision).to_have_text(re.compile("Benign|Malignant|No answer|Unknown"))
        expect(one.page.locator("#model-facts")).to_contain_text("Version")
        one.ignore("503")


@pytest.mark.parametrize("count", [8, pytest.param(50, marks=pytest.mark.slow)])
def test_the_page_gives_the_probabilities_of_the_model(
    visit: Visits, shared: Served, two_classifiers: Path, count: int
) -> None:
    images = [drawn(number) for number in range(count)]
    one = visit(shared)
    one.send(*((f"image{number:02d}.jpg", image) for number, image in enumerate(images)))
    expect(one.page.locator("article tbody tr")).to_have_count(3 * count)
    for number, expected in enumerate(probabilities(two_classifiers / "a", images)):
        name = f"image{number:02d}.jpg"
        shown = one.answer(name).locator("tbody td:nth-child(2)").all_inner_texts()
        assert np.abs(np.array(shown, dtype=float) - expected).max() < 6e-4, "three decimals are shown"


def test_images_come_by_drag_and_paste_and_example_and_camera(visit: Visits, shared: Served) -> None:
    page = (one := visit(shared, permissions=["camera"])).page
    handing = """([kind, name, bytes]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], name, {type: 'image/jpeg'}));
        const event = kind === 'drop' ? new DragEvent('drop', {dataTransfer: data, bubbles: true})
                                      : new ClipboardEvent('paste', {clipboardData: data, bubbles: true});
        document.querySelector('main').dispatchEvent(event);
    }"""
    for kind in ("drop", "paste"):
        page.evaluate(handing, [kind, f"{kind}.jpg", list(drawn(1, (96, 72)))])
        expect(one.answer(f"{kind}.jpg").locator("tbody tr")).to_have_count(3)
    for example in page.locator("[data-example]").all():
        example.click()
        expect(one.answer(example.get_attribute("data-example") or "").locator("tbody tr")).to_have_count(3)
    page.get_by_role("button", name="Take a photo").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(page.locator("video")).not_to_have_js_property("videoWidth", 0)
    assert serious_violations(page) == []
    page.get_by_role("button", name="Take it").click()
    expect(one.answer("photo.jpg").locator("tbody tr")).to_have_count(3)
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("article")).to_have_count(0)


def test_everything_can_be_done_by_keyboard(visit: Visits, shared: Served) -> None:
    page = (one := visit(shared)).page
    reached = []
    for _ in range(7):  # one more than wanted: the link that skips to the choice
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("(e => e.id || e.dataset.example || e.textContent.trim())(document.activeElement)")
        )
    wanted = ["choose", "take-photo", "naevus.jpg", "melanoma.jpg", "keratosis.jpg", "no_lesion.jpg"]
    assert [name for name in reached if name in wanted] == wanted
    page.locator("[data-example='naevus.jpg']").focus()
    page.keyboard.press("Enter")
    answer = one.answer("naevus.jpg")
    expect(answer.locator("tbody tr")).to_have_count(3)
    answer.get_by_role("button", name="Show Grad-CAM").focus()
    page.keyboard.press("Space")
    expect(answer.locator(".looked img")).to_be_visible(timeout=60_000)


def test_a_switch_of_the_model_is_shown_with_the_next_answer(visit: Visits, models: Models) -> None:
    with served(models.folder) as server:
        one = visit(server)
        one.send(("first.jpg", drawn(1)))
        expect(one.answer("first.jpg").locator(".version")).to_contain_text("run-a")
        models.switch_to("b")
        server.wait_for("run-b")
        one.send(("second.jpg", drawn(1)))
        expect(one.answer("second.jpg").locator(".version")).to_contain_text("run-b")
        expect(one.page.locator("#model-facts")).to_contain_text("run-b")


def test_with_a_token_the_page_asks_for_it_and_goes_on(visit: Visits, models: Models) -> None:
    with served(models.folder, token="0123456789abcdef0123") as server:
        one = visit(server)
        expect(one.page.get_by_label("Token")).to_be_focused()
        one.page.get_by_label("Token").fill("not the right one")
        one.page.keyboard.press("Enter")
        one.send(("mole.jpg", drawn(1)))
        expect(one.page.locator("#token-problem")).to_contain_text("not the server's token")
        assert serious_violations(one.page) == []
        one.page.get_by_label("Token").fill("0123456789abcdef0123")
        one.page.keyboard.press("Enter")
        expect(one.answer("mole.jpg").locator("tbody tr")).to_have_count(3)
        expect(one.page.locator("#model-facts")).to_contain_text("run-a")
        one.ignore("401")


def test_the_whole_page_is_small(visit: Visits, shared: Served) -> None:
    paths = ("/", "/static/page.css", "/static/page.js", "/static/icon.svg")
    assert sum(len(shared.client.get(path).content) for path in paths) < 50_000
    assert len(visit(shared).requests) < 12


def test_many_images_are_answered_in_the_order_given_and_come_as_a_table(visit: Visits, shared: Served) -> None:
    page = (one := visit(shared)).page
    names = [f"{name}.jpg" for name in ("zeta", "=alpha", "mid")]
    one.send(*((name, drawn(seed)) for seed, name in enumerate(names)))
    expect(page.locator("#summary")).to_contain_text("3 pictures.")
    expect(page.locator("#summary")).not_to_contain_text("Waiting")
    assert page.locator("article h3").all_text_contents() == names
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as a table").click()
    rows = list(csv.DictReader(download.value.path().read_text().splitlines()))
    assert [row["file"] for row in rows] == ["zeta.jpg", "'=alpha.jpg", "mid.jpg"], "no spreadsheet computes a name"
    assert all(row["decision"] and float(row["malignant"]) >= 0 for row in rows)
    expect(page.locator("#model-warnings")).to_contain_text("This model was not evaluated")
    assert f"curl -F images=@picture.jpg {shared.address}" in (page.locator("#curl").text_content() or "")


def test_each_address_of_the_api_can_be_tried(visit: Visits, shared: Served) -> None:
    page = (one := visit(shared)).page
    page.goto(f"{shared.address.rstrip('/')}/api", wait_until="networkidle")
    assert serious_violations(page) == []
    predict = page.locator("section", has=page.get_by_role("heading", name="POST /v1/predict"))
    predict.locator("input[type=file]").set_input_files(
        [FilePayload(name="mole.jpg", mimeType="image/jpeg", buffer=drawn(1))]
    )
    predict.get_by_text("Try it").click()
    expect(predict.locator("pre")).to_contain_text('"file": "mole.jpg"')
    health = page.locator("section", has=page.get_by_role("heading", name="GET /healthz"))
    health.get_by_text("Try it").click()
    expect(health.locator("pre")).to_contain_text('"status": "alive"')
    assert one.complaints == []
