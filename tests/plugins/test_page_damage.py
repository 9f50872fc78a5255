"""What the page shows of a registry that is damaged, and how much of the disk the models take."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tests.measured import known
from tests.plugins.page_form import PAGE, form_of, send
from tests.plugins.test_page import rows_of, text_of

from skinlesion.foundation import layout
from skinlesion.registry import history, in_service
from skinlesion.registry.model_files import RECORD
from skinlesion.registry.snapshot import Registry

if TYPE_CHECKING:
    from starlette.testclient import TestClient


def test_a_line_that_cannot_be_read_is_named_and_the_rest_is_shown(vic: TestClient, models: Path) -> None:
    """One foreign line made every address of the page an error."""
    with history.path(models).open("a") as file:
        file.write('{"what": "else"}\n')
    for address in ("/", "/history", "/versions/2"):
        assert re.search(r"history\.jsonl, line \d+: the field", text_of(vic.get(f"{PAGE}{address}").text))
    assert len(rows_of(vic.get(f"{PAGE}/").text, 'id="versions"')) == 3


def test_a_damaged_model_in_service_is_not_shown_as_none_and_the_page_leads_back(ada: TestClient, models: Path) -> None:
    """A damaged record read as "No model is in service", beside a server that went on without its decision rule."""
    record = (models / "in_service" / RECORD).resolve()
    record.unlink()
    record.write_bytes(b"{}")
    page = ada.get(f"{PAGE}/").text
    assert "What is in service cannot be read." in page
    assert "No model is in service" not in page
    assert str(record) in page
    assert "Roll back to version 1" in page
    answer = send(ada, 3, form_of(ada, 3) | {"reason": "A test"})
    assert answer.status_code == 409
    assert send(ada, 1, form_of(ada, 1) | {"reason": "It is damaged"}).status_code == 303
    assert known(in_service.read(models)).version == 1
    assert Registry.read(models).damage == ()


def test_it_says_how_much_of_the_disk_the_models_take(vic: TestClient, models: Path) -> None:
    (layout.candidate(models, "first") / "large").write_bytes(bytes(3_000_000))
    assert re.search(r"On disk: 3\.\d MB \(candidates 3\.\d, releases 0\.\d", vic.get(f"{PAGE}/").text)
