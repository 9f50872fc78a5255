"""Run stages with each file taking a moment to reach its place, so that a kill can land between two of them.

python slow_stage.py STAGE[,STAGE...] SECONDS '{"setting": value, ...}'
"""

import json
import logging
import os
import sys
import time

import skinlesion.stages.embed
from skinlesion.stages.pipeline import run_stage
from skinlesion.stages.settings import PipelineConfig

if __name__ == "__main__":
    stages, seconds, settings = sys.argv[1].split(","), float(sys.argv[2]), json.loads(sys.argv[3])
    logging.basicConfig(level=logging.INFO, stream=sys.stdout)
    replace, link = os.replace, os.link

    def slow_replace(source: str, target: str) -> None:
        time.sleep(seconds)
        replace(source, target)

    def slow_link(source: str, target: str) -> None:
        time.sleep(seconds)
        link(source, target)

    os.replace, os.link = slow_replace, slow_link
    # A part of a few rows: a small data set has several, as a large one has.
    skinlesion.stages.embed.rows_in_a_part = lambda shape: 8
    for stage in stages:
        print(run_stage(stage, PipelineConfig.of(settings)), flush=True)  # noqa: T201
