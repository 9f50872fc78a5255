"""Run stages with each file taking a moment to reach its place, so that a kill can land between two of them.

`process` forks them from a process that has imported the stages. As a program, in a process of its own:
python slow_stage.py STAGE[,STAGE...] SECONDS '{"setting": value, ...}'
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from skinlesion.stages import embed
from skinlesion.stages.pipeline import run_stage
from skinlesion.stages.settings import PipelineConfig


def run(stages: str, seconds: float, settings: dict[str, Any], output: Path | None = None) -> None:
    """Run the stages in this process; what they say goes to a file, or to standard output."""
    if output is not None:
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
    logging.basicConfig(level=logging.INFO, stream=sys.stdout)

    replace = os.replace

    def wait_and_replace(*arguments: Any, **options: Any) -> None:
        time.sleep(seconds)
        replace(*arguments, **options)

    setattr(os, "replace", wait_and_replace)  # noqa: B010  # mypy lets nobody assign to a function of a module
    # A part of a few rows: a small data set has several, as a large one has.
    setattr(embed, "rows_in_a_part", lambda shape: 8)  # noqa: B010
    for stage in stages.split(","):
        print(run_stage(stage, PipelineConfig.of(settings)), flush=True)  # noqa: T201


def process(stages: str, seconds: float, settings: dict[str, Any], output: Path) -> BaseProcess:
    """Return a process, not yet started, that runs the stages. TensorFlow is not in it before a stage asks for it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [f"skinlesion.stages.{stage}" for stage in ("ingest", "resize", "augment", "organize")]
    )
    return context.Process(target=run, args=(stages, seconds, settings, output))


if __name__ == "__main__":
    run(sys.argv[1], float(sys.argv[2]), json.loads(sys.argv[3]))
