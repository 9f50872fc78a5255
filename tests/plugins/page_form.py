"""What a browser does with the page: find the form of a version, send it from this page or from another site."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from httpx import Response
    from starlette.testclient import TestClient

BrowserOf = Callable[..., "TestClient"]
"""The fixture `browser_of`."""
PAGE = "/skin-lesion-models"
FROM_THE_PAGE = {"origin": "http://testserver", "sec-fetch-site": "same-origin"}
"""What a browser adds to the request of a form on the page itself."""


def fields(html: str) -> dict[str, str]:
    """Return the hidden fields of the only form."""
    return {name: unescape(value) for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', html)}


def form_of(browser: TestClient, version: int) -> dict[str, str]:
    """Return the hidden fields of the form that puts a version in service."""
    answer = browser.get(f"{PAGE}/versions/{version}")
    assert answer.status_code == 200, answer.text
    found = fields(answer.text)
    assert set(found) == {"form_token", "instead_of"}
    return found


def send(browser: TestClient, version: int, form: dict[str, str], headers: dict[str, str] = FROM_THE_PAGE) -> Response:
    """Send the form that puts a version in service."""
    answer: Response = browser.post(f"{PAGE}/versions/{version}/in-service", data=form, headers=headers)
    return answer
