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
    if "resize" in results:
        lines += ["", "### Resize", "", *_resize(results["resize"])]
    if "embed" in results:
        lines += ["", "### Embed", "", *_embed(results["embed"])]
    if "memory" in results:
        lines += ["", "### Peak memory, MB", "", *_memory(results["memory"])]
    if "growth" in results:
        lines += ["", "### A night as the catalog grows", "", *_growth(results["growth"])]
        _plot_growth(results["growth"], folder / "growth.png")
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


def _resize(figures: dict[str, Any]) -> list[str]:
    cells = [
        [
            f"{size['side']}x{size['side']}" if size["side"] else "as in the data set",
            f"{size['images']:,}",
            *(f"{size['seconds'][way]:.1f}" for way in ("plain_loop", "resize", "decode_alone")),
            f"{size['times_plain_loop']}x",
            f"{size['times_decode_alone']}x",
        ]
        for size in figures.values()
    ]
    return _table(
        [
            "JPEGs",
            "Images",
            "Plain cv2 loop, s",
            "Resize, s",
            "Decoding alone, s",
            "Faster than the loop",
            "Cost over decoding",
        ],
        cells,
    )


def _embed(figures: dict[str, Any]) -> list[str]:
    rates = figures["images_per_second"]
    cells = [
        ["LiteRT on images in memory", f"{rates['in_memory']:.0f}", "100 %"],
        ["Embed, reading, decoding, storing", f"{rates['stage']:.0f}", f"{figures['share_of_litert']:.0%}"],
        ["Embed, with the start of its process", f"{rates['process']:.0f}", f"{figures['share_with_start']:.0%}"],
    ]
    return _table([f"{figures['files']:,} files", "Images/s", "Share"], cells)


def _memory(figures: dict[str, Any]) -> list[str]:
    ways = [(count, copies) for copies in ("one_copy", "three_copies") for count in figures]
    head = ["Stage", *(f"{int(count):,} images, {copies.replace('_', ' ')}" for count, copies in ways)]
    cells = [[stage, *(f"{peak:,}" if (peak := figures[c][k].get(stage)) else "" for c, k in ways)] for stage in STAGES]
    return _table(head, cells)


def _growth(figures: dict[str, Any]) -> list[str]:
    sizes = list(figures.values())
    cells = [
        [
            f"{size['rows']:,}",
            f"{size['nothing_new']['seconds']:.1f}",
            f"{_peak(size['nothing_new']):,}",
            f"{size['new_images']['seconds']:.1f}",
            f"{size['more_images']['seconds']:.1f}",
            f"{1000 * size['more_images']['seconds_an_image']:.0f}",
        ]
        for size in sizes
    ]
    head = [
        "Rows",
        "Nothing new, s",
        "Peak MB",
        f"{sizes[0]['new_images']['images']} new, ingest to embed, s",
        f"{sizes[0]['more_images']['images']:,} new, s",
        "ms one more image",
    ]
    by_stage = [
        [stage, *(f"{size['nothing_new']['stages'][stage]['seconds']:.1f}" for size in sizes)] for stage in STAGES
    ]
    return [*_table(head, cells), "", *_table(["Nothing new, s", *(f"{size['rows']:,}" for size in sizes)], by_stage)]


def _plot_growth(figures: dict[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    sizes = sorted(figures.values(), key=lambda size: int(size["rows"]))
    rows = [size["rows"] for size in sizes]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(rows, [size["nothing_new"]["seconds"] for size in sizes], "o-", label="nothing new, all stages")
    axes.plot(rows, [size["new_images"]["seconds"] for size in sizes], "s--", label="100 new images, ingest to embed")
    axes.set(xscale="log", yscale="log", xlabel="images in the catalog", ylabel="seconds a night")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.plot(rows, [size["more_images"]["seconds"] for size in sizes], "^:", label="1,000 new images, ingest to embed")
    axes.legend()
    figure.savefig(path, dpi=120)


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
