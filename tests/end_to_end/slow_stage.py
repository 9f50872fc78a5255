"""Run stages with each file taking a moment to reach its place, so that a kill can land between two of them.

python slow_stage.py STAGE[,STAGE...] SECONDS '{"setting": value, ...}'
"""

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from skinlesion.stages import embed
from skinlesion.stages.pipeline import run_stage
from skinlesion.stages.settings import PipelineConfig

if __name__ == "__main__":
    stages, seconds, settings = sys.argv[1].split(","), float(sys.argv[2]), json.loads(sys.argv[3])
    logging.basicConfig(level=logging.INFO, stream=sys.stdout)

    def slow(function: Callable[..., None]) -> Callable[..., None]:
        def wait_and_call(*arguments: Any, **options: Any) -> None:
            time.sleep(seconds)
            function(*arguments, **options)

        return wait_and_call

    for name in ("replace", "link"):
        setattr(os, name, slow(getattr(os, name)))
    # A part of a few rows: a small data set has several, as a large one has.
    setattr(embed, "rows_in_a_part", lambda shape: 8)  # noqa: B010
    for stage in stages:
        print(run_stage(stage, PipelineConfig.of(settings)), flush=True)  # noqa: T201
