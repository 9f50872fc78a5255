"""Airflow loads plugins in the parents of all task processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"

SCRIPT = """
import json, sys
import airflow.plugins_manager

for plugin in ("skin_lesion_models", "skin_lesion_parameters", "skin_lesion_notices", "skin_lesion_failure"):
    before = set(sys.modules)
    __import__(plugin)
    print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_a_plugin_brings_nothing_with_it() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, cwd=PLUGINS)
    assert done.returncode == 0, done.stderr
    loaded = [json.loads(line) for line in done.stdout.splitlines()[-4:]]
    *alone, notices, failure = loaded
    assert alone == [["skin_lesion_models"], ["skin_lesion_parameters"]]
    heavy = {"tensorflow", "keras", "cv2", "pandas", "numpy", "skinlesion", "airflow"}
    assert heavy.isdisjoint(name.partition(".")[0] for name in notices)
    assert {name.partition(".")[0] for name in failure} <= {"skin_lesion_failure", "airflow", "pluggy"}, failure
