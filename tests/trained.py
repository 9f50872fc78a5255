"""A small data set with two models that were really trained, made by `skinlesion run` and shared by the tests that read it.

Their backbone is small: see small_backbone.py.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from skinlesion.command_line import main as cli
from skinlesion.data.sources.drawn.sample import write_sample
from skinlesion.foundation import layout
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.snapshot import Registry
from skinlesion.stages.pipeline import run_stage
from skinlesion.stages.settings import PipelineConfig
from tests.small_backbone import built_small

SETTINGS = {
    "weights": "random", "fine_tune": "none", "mirrored": False, "copies": 0, "epochs": 2, "robustness_lesions": 4, "workers": 2,
    "gate_min_auroc": 0, "gate_min_sensitivity": 0, "gate_max_calibration_error": 1,
}  # fmt: skip
"""Quick ones, with a gate that lets a model pass which has learned next to nothing."""

IMAGES, OTHER_SEED = 64, 7


def config_of(folder: Path, **settings: Any) -> PipelineConfig:
    """Return `SETTINGS` for dataset/ and models/ in the folder, with these over them."""
    return PipelineConfig.of(SETTINGS | {"dataset": folder / "dataset", "models": folder / "models"} | settings)


def candidate_of(folder: Path, version: int) -> Candidate:
    """Return the candidate that is registered under a number."""
    return Candidate(layout.candidate(folder / "models", Registry.read(folder / "models").version(version).run))


def options(**more: object) -> list[str]:
    """Return the options that give a command `SETTINGS`, with these over them."""
    return [word for name, value in (SETTINGS | more).items() for word in ("--set", f"{name}={value}")]


def skinlesion(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Call the command in this process, and return its status and what it writes."""
    command = ["skinlesion", *map(str, arguments)]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        patch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            cli.main()
    return subprocess.CompletedProcess(command, int(ended.value.code or 0), out.getvalue(), err.getvalue())


def copy_trained(trained: Path, target: Path) -> Path:
    """Copy what `write_trained` wrote, and return the copy.

    MLflow's store names the place of its files: a copy would write to those of the original, so it is left out.
    """
    return Path(shutil.copytree(trained, target, symlinks=True, ignore=shutil.ignore_patterns("mlflow")))


def write_trained(folder: Path) -> None:
    """Write dataset/, models/, report.json and output.txt.

    Version 1 is in service and comes from `skinlesion run`, whose report and output are kept. Version 2, which has `OTHER_SEED`,
    was evaluated beside it and not judged.
    """
    write_sample(folder / "dataset", images=IMAGES, seed=1, size=(120, 90))
    places = ("--dataset", folder / "dataset", "--models", folder / "models")
    with built_small():
        done = skinlesion("run", "--json", folder / "report.json", *places, *options())
        assert done.returncode == 0, done.stderr
        (folder / "output.txt").write_text(done.stdout)
        for stage in ("train", "evaluate"):
            run_stage(stage, config_of(folder, seed=OTHER_SEED))
