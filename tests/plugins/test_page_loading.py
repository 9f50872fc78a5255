"""Airflow loads plugins in the parents of all task processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"


def test_the_plugin_brings_nothing_with_it() -> None:
    script = (
        "import json, sys; import airflow.plugins_manager; before = set(sys.modules); import skin_lesion_models; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=PLUGINS)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == ["skin_lesion_models"]
