"""Write what was measured as tables for people: Markdown, and a picture of the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from skinlesion.stages.pipeline import STAGES

ROW_HEIGHT = 0.24  # inches
CHARACTER_WIDTH = 0.075  # inches, of the picture's font


class Table(NamedTuple):
    """Cells of text; the first column is left-aligned, the others are numbers."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> list[str]:
        """Give its lines."""
        return [
            *([f"### {self.title}", ""] if self.title else []),
            "| " + " | ".join(self.head) + " |",
            "|---" + "|---:" * (len(self.head) - 1) + "|",
            *("| " + " | ".join(row) + " |" for row in self.rows),
        ]

    def widths(self) -> list[float]:
        """Give the width of each column in the picture, inches."""
        columns = zip(self.head, *self.rows, strict=True)
        return [CHARACTER_WIDTH * (2 + max(map(len, column))) for column in columns]


def write_tables(results: dict[str, Any], folder: Path) -> None:
    """Write table.md and table.png from what is known, and growth.png."""
    machine = results["machine"]
    caption = (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['date']}. "
        "Whole processes, start-up included."
    )
    tables = _tables(results)
    lines = [caption]
    for table in tables:
        lines += ["", *table.markdown()]
    (folder / "table.md").write_text("\n".join(lines) + "\n")
    _draw(caption, tables, folder / "table.png")
    if "growth" in results:
        _plot_growth(results["growth"], folder / "growth.png")


def _tables(results: dict[str, Any]) -> list[Table]:
    tables = []
    for count, figures in results.get("first_run", {}).items():
        tables += [_first_run(f"{int(count):,} images", figures), _stages(figures)]
    for name, table in (("resize", _resize), ("embed", _embed), ("memory", _memory)):
        if name in results:
            tables.append(table(results[name]))
    if "growth" in results:
        tables += [_growth(results["growth"]), _growth_by_stage(results["growth"])]
    return tables


def _draw(caption: str, tables: Sequence[Table], path: Path) -> None:
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

    width = max([8.0, *(sum(table.widths()) for table in tables)])
    heights = [ROW_HEIGHT * (len(table.rows) + 1 + 2 * bool(table.title)) for table in tables]
    gap = 1.5 * ROW_HEIGHT
    height = sum(heights) + gap * (len(tables) + 1)
    figure = Figure(figsize=(width + 0.4, height))
    figure.text(0.2 / (width + 0.4), 1 - 0.7 * ROW_HEIGHT / height, caption, fontsize=9)
    top = height - gap
    for table, own_height in zip(tables, heights, strict=True):
        grid_height = ROW_HEIGHT * (len(table.rows) + 1)
        if table.title:
            figure.text(0.2 / (width + 0.4), (top - ROW_HEIGHT) / height, table.title, fontsize=11, weight="bold")
        own_width = sum(table.widths())
        box = (0.2, top - own_height, own_width, grid_height)
        axes = figure.add_axes((box[0] / (width + 0.4), box[1] / height, box[2] / (width + 0.4), box[3] / height))
        axes.axis("off")
        drawn = axes.table(
            cellText=[[cell.replace("`", "") for cell in row] for row in table.rows],
            colLabels=[cell.replace("`", "") for cell in table.head],
            colWidths=[column / own_width for column in table.widths()],
            bbox=Bbox.from_bounds(0, 0, 1, 1),
        )
        drawn.auto_set_font_size(False)
        drawn.set_fontsize(8)
        for (row, column), cell in drawn.get_celld().items():
            cell.set_text_props(ha="left" if column == 0 else "right", weight="bold" if row == 0 else "normal")
            cell.set_edgecolor("#cccccc")
            cell.PAD = 0.05
        top -= own_height + gap
    figure.savefig(path, dpi=120)


def _first_run(title: str, figures: dict[str, Any]) -> Table:
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
    for way_title, key in (
        ("First run, fine-tuned", "tail"),
        ("First run, quick: `cut=block_12_add stored_ways=1 epochs=6`", "quick"),
        ("First run, `fine_tune=none`", "none"),
        (f"Next night, {night['new_images']} new images", "next_night"),
    ):
        if key not in figures:  # results of before it was measured
            continue
        way = figures[key]
        rows.append([way_title, way["seconds"], way["times_faster"], way["quality"], _peak(way)])
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
            name,
            f"{seconds:,.0f}",
            f"{times}x",
            _of(scores, "balanced_accuracy"),
            _of(scores, "malignant_auroc"),
            f"{peak:,}",
        ]
        for name, seconds, times, scores, peak in rows
    ]
    return Table(title, ["", "Seconds", "Faster", "Balanced accuracy", "Malignant AUROC", "Peak MB"], cells)


def _stages(figures: dict[str, Any]) -> Table:
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
    return Table("", ["Stage", "Seconds", "Images/s", "Peak MB", "Seconds, `none`", "Seconds, next night"], cells)


def _resize(figures: dict[str, Any]) -> Table:
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
    return Table(
        "Resize",
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


def _embed(figures: dict[str, Any]) -> Table:
    rates = figures["images_per_second"]
    cells = [
        ["LiteRT on images in memory", f"{rates['in_memory']:.0f}", "100 %"],
        ["Embed, reading, decoding, storing", f"{rates['stage']:.0f}", f"{figures['share_of_litert']:.0%}"],
        ["Embed, with the start of its process", f"{rates['process']:.0f}", f"{figures['share_with_start']:.0%}"],
    ]
    return Table("Embed", [f"{figures['files']:,} files", "Images/s", "Share"], cells)


def _memory(figures: dict[str, Any]) -> Table:
    ways = [(count, copies) for copies in ("one_copy", "three_copies") for count in figures]
    head = ["Stage", *(f"{int(count):,} images, {copies.replace('_', ' ')}" for count, copies in ways)]
    cells = [[stage, *(f"{peak:,}" if (peak := figures[c][k].get(stage)) else "" for c, k in ways)] for stage in STAGES]
    return Table("Peak memory, MB", head, cells)


def _growth(figures: dict[str, Any]) -> Table:
    sizes = list(figures.values())
    cells = [
        [
            f"{size['rows']:,}",
            f"{size['nothing_new']['seconds']:.1f}",
            f"{_peak(size['nothing_new']):,}",
            f"{size['new_images']['seconds']:.1f}",
            f"{size['more_images']['seconds']:.1f}",
            f"{1000 * size['more_images']['seconds_an_image']:.1f}",
            f"{1000 * size['more_images']['without_embed']:.1f}",
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
        "without embed",
    ]
    return Table("A night as the catalog grows", head, cells)


def _growth_by_stage(figures: dict[str, Any]) -> Table:
    sizes = list(figures.values())
    cells = [[stage, *(f"{size['nothing_new']['stages'][stage]['seconds']:.1f}" for size in sizes)] for stage in STAGES]
    return Table("", ["Nothing new, s", *(f"{size['rows']:,}" for size in sizes)], cells)


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
