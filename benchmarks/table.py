"""Write what was measured as a table for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from skinlesion.pipeline import STAGES


def write_tables(results: dict[str, Any], folder: Path) -> None:
    """Write table.md from what is known."""
    machine = results["machine"]
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['date']}. "
        "Whole processes, start-up included."
    ]
    for count, figures in results.get("first_run", {}).items():
        lines += ["", f"### {int(count):,} images", "", *_first_run(figures), "", *_stages(figures)]
    (folder / "table.md").write_text("\n".join(lines) + "\n")


def _first_run(figures: dict[str, Any]) -> list[str]:
    recipe, night = figures["recipe"], figures["next_night"]
    rows = [
        [
            f"Plain recipe, 20 epochs ({recipe['epochs_run']} run)",
            recipe["seconds"],
            1.0,
            recipe.get("quality"),
            recipe["peak_mb"],
        ]
    ]
    for title, key in (
        ("First run, fine-tuned", "tail"),
        ("First run, `fine_tune=none`", "none"),
        (f"Next night, {night['new_images']} new images", "next_night"),
    ):
        way = figures[key]
        rows.append([title, way["seconds"], way["times_faster"], way["quality"], _peak(way)])
    nothing = figures["nothing_new"]
    rows.append(
        [
            "Night with nothing new",
            nothing["seconds"],
            round(recipe["seconds"] / nothing["seconds"], 1),
            None,
            _peak(nothing),
        ]
    )
    cells = [
        [
            title,
            f"{seconds:,.0f}",
            f"{times}x",
            _of(scores, "balanced_accuracy"),
            _of(scores, "malignant_auroc"),
            f"{peak:,}",
        ]
        for title, seconds, times, scores, peak in rows
    ]
    return _table(["", "Seconds", "Faster", "Balanced accuracy", "Malignant AUROC", "Peak MB"], cells)


def _stages(figures: dict[str, Any]) -> list[str]:
    stages, none, night = figures["tail"]["stages"], figures["none"]["stages"], figures["next_night"]["stages"]
    cells = [
        [
            stage,
            f"{stages[stage]['seconds']:.1f}",
            f"{stages[stage]['images_per_second']:,.0f}",
            f"{stages[stage]['peak_mb']:,}",
            f"{none[stage]['seconds']:.1f}",
            f"{night[stage]['seconds']:.1f}",
        ]
        for stage in STAGES
    ]
    return _table(["Stage", "Seconds", "Images/s", "Peak MB", "Seconds, `none`", "Seconds, next night"], cells)


def _peak(way: dict[str, Any]) -> int:
    return max(int(stage["peak_mb"]) for stage in way["stages"].values())


def _of(scores: dict[str, float] | None, name: str) -> str:
    return f"{scores[name]:.3f}" if scores else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(head) + " |",
        "|---" + "|---:" * (len(head) - 1) + "|",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
