"""Measure and write the table: `python -m benchmarks DATASET`."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.first_run import first_run
from benchmarks.table import write_tables


def main(
    dataset: Annotated[Path, typer.Argument(help="Folder with images/ and diagnoses.csv; only read.")],
    weights: Annotated[
        str, typer.Option(help="As the setting of that name: `imagenet`, `random` or a file.")
    ] = "imagenet",
    results: Annotated[Path, typer.Option(help="Where the results go.")] = Path("benchmark-results"),
    sizes: Annotated[str, typer.Option(help="Images of each first run; 0 is all of them.")] = "2000,0",
    only: Annotated[str, typer.Option(help="These sections alone, the others stay: first-run.")] = "first-run",
    recipe_epochs: Annotated[int, typer.Option(help="Epochs that the recipe runs; the others are told from them.")] = 2,
    quality_epochs: Annotated[
        int, typer.Option(help="Of the recipe that leaves the held-out lesions out; 0: not run.")
    ] = 5,
) -> None:
    """Run the pipeline and the plain recipe side by side; write results.json, table.md and growth.png."""
    results.mkdir(parents=True, exist_ok=True)
    path = results / "results.json"
    known: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}

    def keep(section: str, figures: Any) -> None:
        known["machine"] = _machine()
        known[section] = figures
        path.write_text(json.dumps(known, indent=1))
        write_tables(known, results)

    weights = weights if weights in ("imagenet", "random") else str(Path(weights).absolute())
    sections = only.split(",")
    if "first-run" in sections:
        for size in sizes.split(","):
            figures = first_run(dataset, weights, int(size), recipe_epochs, quality_epochs)
            keep("first_run", known.get("first_run", {}) | {str(figures["images"]): figures})
    typer.echo((results / "table.md").read_text())


def _machine() -> dict[str, Any]:
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "date": datetime.now(tz=UTC).date().isoformat(),
    }


if __name__ == "__main__":
    typer.run(main)
