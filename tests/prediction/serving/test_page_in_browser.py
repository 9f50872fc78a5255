"""The page as a person meets it: in a real browser, by mouse, by keyboard, on a phone, in the dark."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from skinlesion.prediction.classifier import classifier_of, predict
from skinlesion.registry import model_files
from skinlesion.stages.settings import PipelineConfig

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}
DESK = {"width": 1100, "height": 900}
LABELS = ("benign", "malignant", "unknown")
SECONDS = 30_000.0 / 1000
IMAGES = 50

expect.set_options(timeout=SECONDS * 1000)


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
        self.page.set_input_files(
            "#choose", [{"name": name, "mimeType": "image/jpeg", "buffer": content} for name, content in files]
        )

    def answer(self, name: str) -> Any:
        return self.page.locator("article", has=self.page.locator("h3", has_text=name))


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    contexts = []
    visits = []

    def go(served: Any, *, scheme: str = "light", viewport: dict[str, int] = DESK, **options: Any) -> Visit:
        context = browser.new_context(color_scheme=scheme, viewport=viewport, **options)
        contexts.append(context)
        visits.append(Visit(context.new_page(), served.address))
        return visits[-1]

    yield go
    for one in visits:
        elsewhere = [
            url for url in one.requests if not url.startswith(("http://127.0.0.1:", "blob:http://127.0.0.1:", "data:"))
        ]
        assert elsewhere == []
        assert one.complaints == []
    for context in contexts:
        context.close()


def serious_violations(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found if one["impact"] in ("serious", "critical")]


@pytest.mark.parametrize(("scheme", "viewport"), [("light", DESK), ("dark", DESK), ("light", PHONE), ("dark", PHONE)])
def test_an_image_is_answered_with_decision_reason_threshold_and_heat_map_and_nobody_is_kept_out(
    visit: Any, shared: Any, drawn: Callable[..., bytes], scheme: str, viewport: dict[str, int]
) -> None:
    page = (one := visit(shared, scheme=scheme, viewport=viewport)).page
    assert serious_violations(page) == []
    one.send(("mole.jpg", drawn(1)))
    answer = one.answer("mole.jpg")
    (said,) = shared.predict(drawn(1)).json()["predictions"]
    expect(answer.locator(".decision")).to_have_text(said["decision"].capitalize())
    expect(answer.locator(".reason")).to_have_text(said["reason"])
    expect(answer.locator(".version")).to_contain_text("version 1, run run-a")
    expect(answer.locator(".threshold")).to_contain_text("0.200")
    bar, mark = answer.locator(".bar.malignant").bounding_box(), answer.locator(".mark").bounding_box()
    assert (mark["x"] + mark["width"] / 2 - bar["x"]) / bar["width"] == pytest.approx(0.2, abs=0.02)
    expect(page.locator("#status")).to_contain_text(f"mole.jpg: {said['decision']}")
    answer.get_by_role("button", name="Show Grad-CAM").click()
    expect(answer.locator(".looked img")).to_be_visible(timeout=60_000)
    assert "what spoke for malignant" in answer.locator(".looked img").get_attribute("alt")
    assert serious_violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is cut off to the right"
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")


def test_the_page_says_what_it_is_not(visit: Any, shared: Any) -> None:
    expect(visit(shared).page.get_by_role("note")).to_contain_text("Not a medical device")


def test_an_abstaining_model_and_a_wrong_file_are_told_with_their_reasons(
    visit: Any, empty_models: Any, serve: Any, unsure: dict[str, Any], drawn: Callable[..., bytes]
) -> None:
    empty_models.switch_to("a", unsure)
    with serve(empty_models.folder) as served:
        one = visit(served)
        one.send(("mole.jpg", drawn(1)), ("letter.jpg", b"Dear doctor"))
        expect(one.answer("mole.jpg").locator(".decision")).to_have_text("Unknown")
        expect(one.answer("mole.jpg").locator(".reason")).to_contain_text("Not sure enough to answer")
        expect(one.answer("letter.jpg").locator(".decision")).to_have_text("Not answered")
        expect(one.answer("letter.jpg").locator(".reason")).to_contain_text("not a readable image")
        assert serious_violations(one.page) == []
        one.complaints = [text for text in one.complaints if "422" not in text]  # the browser's own note


def test_the_page_gives_the_probabilities_that_predict_gives(
    visit: Any, shared: Any, two_classifiers: Path, drawn: Callable[..., bytes], tmp_path: Path
) -> None:
    files = []
    for number in range(IMAGES):
        files.append(tmp_path / f"image{number:02d}.jpg")
        files[-1].write_bytes(drawn(number))
    expected = [
        prediction.probabilities
        for prediction in predict(
            files, classifier_of(two_classifiers / "a" / model_files.TFLITE), PipelineConfig.of({"workers": 2})
        )
    ]
    one = visit(shared)
    answers: dict[str, list[float]] = {}

    def note(response: Any) -> None:
        if response.url.endswith("/v1/predict"):
            for said in response.json()["predictions"]:
                answers[said["file"]] = [said["probabilities"][label] for label in LABELS]

    one.page.on("requestfinished", lambda request: note(request.response()))
    one.page.set_input_files("#choose", [str(file) for file in files])
    expect(one.page.locator("article tbody tr")).to_have_count(3 * IMAGES)
    for file, probabilities in zip(files, expected, strict=True):
        assert np.abs(np.array(answers[file.name]) - probabilities).max() < 1e-4
        shown = one.answer(file.name).locator("tbody td:nth-child(2)").all_inner_texts()
        assert np.abs(np.array(shown, dtype=float) - probabilities).max() < 6e-4, "three decimals are shown"


def test_images_come_by_drag_and_paste_and_example_and_camera(
    visit: Any, shared: Any, drawn: Callable[..., bytes]
) -> None:
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
        expect(one.answer(example.get_attribute("data-example")).locator("tbody tr")).to_have_count(3)
    page.get_by_role("button", name="Take a photo").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    # Not `wait_for_function`, which the page's Content-Security-Policy stops.
    for _ in range(300):
        if page.locator("video").evaluate("video => video.videoWidth > 0"):
            break
        page.wait_for_timeout(100)
    assert serious_violations(page) == []
    page.get_by_role("button", name="Take it").click()
    expect(one.answer("photo.jpg").locator("tbody tr")).to_have_count(3)
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("article")).to_have_count(0)


def test_everything_can_be_done_by_keyboard(visit: Any, shared: Any) -> None:
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


def test_a_switch_of_the_model_is_shown_with_the_next_answer(
    visit: Any, models: Any, serve: Any, wait: Any, drawn: Callable[..., bytes]
) -> None:
    with serve(models.folder) as served:
        one = visit(served)
        one.send(("first.jpg", drawn(1)))
        expect(one.answer("first.jpg").locator(".version")).to_contain_text("run-a")
        models.switch_to("b")
        wait(lambda: served.client.get("/v1/model").json()["version"] == "run-b")
        one.send(("second.jpg", drawn(1)))
        expect(one.answer("second.jpg").locator(".version")).to_contain_text("run-b")
        expect(one.page.locator("#model-facts")).to_contain_text("run-b")


def test_with_a_token_the_page_asks_for_it_and_goes_on(
    visit: Any, models: Any, serve: Any, drawn: Callable[..., bytes]
) -> None:
    with serve(models.folder, token="0123456789abcdef0123") as served:
        one = visit(served)
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
        one.complaints = [text for text in one.complaints if "401" not in text]


def test_the_whole_page_is_small(visit: Any, shared: Any) -> None:
    sizes = {
        path: len(shared.client.get(path).content)
        for path in ("/", "/static/page.css", "/static/page.js", "/static/icon.svg")
    }
    assert sum(sizes.values()) < 50_000
    assert len(visit(shared).requests) < 12
