"""Measure and write the table: `python -m benchmarks DATASET`."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.embed import embed
from benchmarks.first_run import first_run
from benchmarks.growth import growth
from benchmarks.memory import memory
from benchmarks.resize import resize
from benchmarks.table import write_tables
from skinlesion.foundation.cores import cores_allowed
from skinlesion.network.settings import NAMED_WEIGHTS

SECTIONS = ("first-run", "resize", "embed", "memory", "growth")


def main(
    dataset: Annotated[Path, typer.Argument(help="Folder with images/ and diagnoses.csv; only read.")],
    weights: Annotated[
        str, typer.Option(help="As the setting of that name: `imagenet`, `drawn`, `random` or a file.")
    ] = "imagenet",
    results: Annotated[Path, typer.Option(help="Where the results go.")] = Path("benchmark-results"),
    sizes: Annotated[str, typer.Option(help="Images of each first run; 0 is all of them.")] = "2000,0",
    only: Annotated[str, typer.Option(help="Measure these sections alone; the others' results stay.")] = ",".join(
        SECTIONS
    ),
    recipe_epochs: Annotated[int, typer.Option(help="Epochs that the recipe runs; the others are told from them.")] = 2,
    large: Annotated[
        Path | None, typer.Option(help="A data set of larger JPEGs for resize; DATASET if not given.")
    ] = None,
    rows: Annotated[str, typer.Option(help="Sizes of the synthetic catalogs.")] = "10000,100000,1000000",
    repeats: Annotated[int, typer.Option(help="Of resize and embed; medians are told.")] = 3,
    quality_epochs: Annotated[
        int, typer.Option(help="Of the recipe that leaves the held-out lesions out; 0: not run.")
    ] = 5,
) -> None:
    """Run the pipeline and the plain recipe side by side; write results.json, table.md, table.png and growth.png."""
    results.mkdir(parents=True, exist_ok=True)
    path = results / "results.json"
    known: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}

    def keep(section: str, figures: Any) -> None:
        known["machine"] = _machine()
        known[section] = figures
        path.write_text(json.dumps(known, indent=1))
        write_tables(known, results)

    weights = weights if weights in NAMED_WEIGHTS else str(Path(weights).absolute())
    sections = only.split(",")
    if unknown := set(sections) - set(SECTIONS):
        raise typer.BadParameter(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    if "first-run" in sections:
        for size in sizes.split(","):
            figures = first_run(dataset, weights, int(size), recipe_epochs, quality_epochs)
            keep("first_run", known.get("first_run", {}) | {str(figures["images"]): figures})
    if "resize" in sections:
        own_size = resize(large or dataset, 6000, None, repeats)
        keep("resize", {"own_size": own_size, "1024": resize(large or dataset, 6000, 1024, repeats)})
    if "embed" in sections:
        keep("embed", embed(dataset, weights, 2000, repeats))
    if "memory" in sections:
        keep("memory", memory(dataset, weights))
    if "growth" in sections:
        for count in rows.split(","):
            keep("growth", known.get("growth", {}) | {count: growth(int(count))})
    typer.echo((results / "table.md").read_text())


def _machine() -> dict[str, Any]:
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    return {
        "processor": model,
        "cores": cores_allowed(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "date": datetime.now(tz=UTC).date().isoformat(),
    }


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
