"""Nobody is kept out of the models page, a version's page, the report and the card: axe finds nothing serious, light or dark."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page
from tests.evaluation.in_use.logs import in_use
from tests.plugins.page_form import PAGE, BrowserOf
from tests.plugins.test_agreement import NO_DISTANCE, Case, add
from tests.plugins.test_page_in_browser import page, pytestmark
from tests.prediction.serving.test_page_in_browser import serious_violations

from skinlesion.foundation import layout
from skinlesion.registry.switch import promote

__all__ = ["page", "pytestmark"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(
    scheme: Literal["light", "dark"],
    tmp_path: Path,
    empty_models: Path,
    two_classifiers: Path,
    browser_of: BrowserOf,
    page: Page,
) -> None:
    first, _ = add(empty_models, "first", Case(300), two_classifiers / "b")
    promote(empty_models, first, actor="ann", reason="It is the first")
    few, _ = add(empty_models, "few", Case(3, warnings=(NO_DISTANCE,)), two_classifiers / "a")
    used = in_use(tmp_path / "used")
    for number in range(4):
        used.week(number, brightness=-1)
    used.monitor(now=datetime.now(UTC)).write(layout.monitored(empty_models))
    client = browser_of("ada")
    style = f"<style>{client.get(f'{PAGE}/page.css').text}</style></head>"
    files = ("", "/report.html", "/model_card.md")
    versions = [f"/versions/{number}{file}" for number in (first, few) for file in files]
    page.emulate_media(color_scheme=scheme)
    for path in ("/", "/history", "/in-use", f"/compare?first={first}&second={few}", *versions):
        document = client.get(f"{PAGE}{path}").text
        # A frame would ask for its document, which only a server has.
        document = document.replace("<iframe", "<template").replace("</iframe", "</template")
        page.set_content(document if path.endswith((".html", ".md")) else document.replace("</head>", style))
        assert serious_violations(page) == [], path
