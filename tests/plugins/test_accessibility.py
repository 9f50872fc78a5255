"""Nobody is kept out of the models page, a version's page, the report and the card: axe finds nothing serious, light or dark."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it has no types
from playwright.sync_api import sync_playwright
from tests.evaluation.in_use.logs import in_use
from tests.plugins.page_form import PAGE, BrowserOf
from tests.plugins.test_agreement import NO_DISTANCE, Case, add
from tests.plugins.test_page_in_browser import CHROMIUM, pytestmark

from skinlesion.foundation import layout
from skinlesion.registry.switch import promote

__all__ = ["pytestmark"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(
    scheme: Literal["light", "dark"],
    tmp_path: Path,
    two_classifiers: Path,
    browser_of: BrowserOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    models = tmp_path / "models"
    monkeypatch.setenv("SKINLESION_MODELS", str(models))
    first, _ = add(models, "first", Case(300), two_classifiers / "b")
    promote(models, first, actor="ann", reason="It is the first")
    few, _ = add(models, "few", Case(3, warnings=(NO_DISTANCE,)), two_classifiers / "a")
    used = in_use(tmp_path / "used")
    for number in range(4):
        used.week(number, brightness=-1)
    used.monitor(now=datetime.now(UTC)).write(layout.monitored(models))
    client = browser_of("ada")
    style = f"<style>{client.get(f'{PAGE}/page.css').text}</style></head>"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(color_scheme=scheme)
        for path in (
            "/",
            "/history",
            "/in-use",
            f"/compare?first={first}&second={few}",
            *(
                f"/versions/{number}{name}"
                for number in (first, few)
                for name in ("", "/report.html", "/model_card.md")
            ),
        ):
            document = client.get(f"{PAGE}{path}").text
            # A frame would ask for its document, which only a server has.
            document = document.replace("<iframe", "<template").replace("</iframe", "</template")
            page.set_content(document if path.endswith((".html", ".md")) else document.replace("</head>", style))
            found = Axe().run(page).response["violations"]
            serious = [
                (one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")
            ]
            assert not serious, f"{path}: {serious}"
        browser.close()
