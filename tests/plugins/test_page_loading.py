"""Airflow loads plugins in the parents of all task processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"


@pytest.mark.parametrize("plugin", ["skin_lesion_models", "skin_lesion_parameters"])
def test_a_plugin_brings_nothing_with_it(plugin: str) -> None:
    script = (
        f"import json, sys; import airflow.plugins_manager; before = set(sys.modules); import {plugin}; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=PLUGINS)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [plugin]
