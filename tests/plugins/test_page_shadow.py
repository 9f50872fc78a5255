"""What a candidate said in the shadow reads the same on the version's page, in the question, on the command line and in "In use"."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.plugins.models_folder import add
from tests.plugins.page_form import PAGE
from tests.plugins.test_page import text_of
from tests.plugins.test_page_in_use import made
from tests.trained import skinlesion

from skinlesion.evaluation.in_use.record import Agreement, ShadowRecord
from skinlesion.foundation import layout
from skinlesion.promotion.approval_text import approval_text
from skinlesion.promotion.decide import Judgement
from skinlesion.registry.figure import Figure
from skinlesion.registry.snapshot import Registry

if TYPE_CHECKING:
    from starlette.testclient import TestClient

FOUND = Agreement(
    number=2,
    against=1,
    first="2026-11-01",
    last="2026-11-30",
    pictures=1240,
    cases=900,
    not_asked=60,
    learnt=12,
    alike=Figure.of(0.953, [0.94, 0.964], 900),
    counts={"malignant": {"malignant": 180, "no answer": 7}, "benign": {"benign": 1002, "malignant": 51}},
    differ=58,
    diagnosed=30,
    right=Figure.of(0.7, [0.52, 0.83], 30),
    right_in_service=Figure.of(0.3, [0.17, 0.48], 14),
)
SAID = (
    "In the shadow of version 1, from 2026-11-01 to 2026-11-30, version 2 was asked about 1,240 real pictures of 900 cases. Share "
    "decided alike: 0.953 (0.940–0.964). About 60 more of that time it was not asked. 12 more, from which one of the two learnt, are "
    "left out. They differ on 58; of 30 of these a diagnosis has come in. Share of them right: version 2 0.700 (0.520–0.830), version 1 "
    "too few lesions to judge (14)."
)


@pytest.fixture
def models(empty_models: Path) -> Path:
    for run in ("one", "two"):
        add(empty_models, run)
    made(weeks=1).write(layout.monitored(empty_models))
    return empty_models


def surfaces(models: Path, client: TestClient) -> dict[str, str]:
    """Return the text of each surface about version 2."""
    judgement = Judgement(
        version=2, run="two", next="switch", judged_now=True, passed=True, against=1, sentence="It passes."
    )
    found = {
        "command line": skinlesion("models", "show", 2).stdout,
        "question": approval_text(Registry.read(models), judgement, "link"),
        "version": text_of(client.get(f"{PAGE}/versions/2").raise_for_status().text),
        "in use": text_of(client.get(f"{PAGE}/in-use").raise_for_status().text),
    }
    return {name: " ".join(text.split()) for name, text in found.items()}


def test_every_surface_says_the_same(models: Path, vic: TestClient) -> None:
    path = layout.shadowed(models)
    for name, text in surfaces(models, vic).items():
        assert "the shadow" not in text.lower(), name
    ShadowRecord(at="2026-12-01T00:00:00+00:00", agreements=(FOUND,)).write(path)
    shown = surfaces(models, vic)
    assert FOUND.sentences[0] in shown.pop("in use")
    for name, text in shown.items():
        assert SAID in text, name
    assert "| version 1 / version 2 |" in shown["question"] and "| Benign | 51 | 0 | 1,002 | 0 |" in shown["question"]
    assert "Benign 51 0 1,002 0" in shown["version"]
    assert "the shadow" not in text_of(vic.get(f"{PAGE}/versions/1").text).lower()
    path.write_text("{")
    for name, text in surfaces(models, vic).items():
        assert "shadow.json" in text and "writes it anew" in text, name
