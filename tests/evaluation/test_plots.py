"""Every plot is a PNG, equal for equal input, and is drawn whatever is missing."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from tests.evaluation.test_html_report import measured

from skinlesion.evaluation.plots import confusion_matrix_png, history_png, reliability_png, roc_png
from skinlesion.registry.metrics_record import ModelFigures

PLOTS: list[Callable[[ModelFigures], bytes]] = [confusion_matrix_png, roc_png, reliability_png]
HISTORY: list[dict[str, Any]] = [
    {"epoch": 0, "phase": "head", "loss": 1.0, "val_loss": 1.1, "val_balanced_accuracy": 0.4},
    {"epoch": 1, "phase": "head", "loss": 0.9},
    {"epoch": 0, "phase": "tail", "loss": 0.7, "val_loss": float("nan"), "val_balanced_accuracy": 0.5},
]


def width(png: bytes) -> int:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return int(struct.unpack(">I", png[16:20])[0])


@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize("classes", [3, 2, 1])
def test_a_plot_is_a_png_without_date_or_program_and_equal_for_equal_figures(
    plot: Callable[[ModelFigures], bytes], classes: int
) -> None:
    png = plot(measured(classes=classes))
    assert width(png) == 960
    assert png == plot(measured(classes=classes))
    assert b"tEXt" not in png and b"tIME" not in png


def test_a_different_result_gives_a_different_plot() -> None:
    metrics = measured()
    other = metrics.model_copy(update={"confusion_matrix": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]})
    assert confusion_matrix_png(metrics) != confusion_matrix_png(other)


@pytest.mark.parametrize(
    "history",
    [
        HISTORY,
        HISTORY[:1],
        [{"phase": "head", "loss": 1.0}],
        [{"phase": r"$\frac<b>$", "loss": 1.0, "val_balanced_accuracy": 0.3}],
    ],
)
def test_the_history_is_drawn_with_whatever_it_holds_and_equal_ones_give_equal_bytes(
    history: list[dict[str, Any]],
) -> None:
    assert width(history_png(history)) == 960
    assert history_png(history) == history_png(history)


def test_pyplot_and_its_global_state_are_not_imported() -> None:
    # In a process of its own: another test's library may have imported pyplot into this one.
    code = "import sys, skinlesion.evaluation.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0
