"""The example dashboard asks for metrics that there are."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path

import yaml

from skinlesion.prediction.serving.metrics import Metrics

PROJECT = Path(__file__).resolve().parents[2]
DASHBOARD = json.loads((PROJECT / "deploy" / "grafana-dashboard.json").read_text())
ASKED = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
ASKED_FOR = {name for expression in ASKED for name in re.findall(r"\b(?:airflow|skinlesion)_\w+", expression)}


def test_airflows_are_in_its_list_of_metrics() -> None:
    airflow = find_spec("airflow")
    assert airflow is not None
    assert airflow.origin is not None
    listed = yaml.safe_load(
        (Path(airflow.origin).parent / "_shared" / "observability" / "metrics" / "metrics_template.yaml").read_text()
    )["metrics"]
    # As Prometheus names what comes by OpenTelemetry: Airflow's timers are histograms in milliseconds.
    endings = {"counter": "_total", "timer": "_milliseconds", "gauge": ""}
    known = {f"airflow_{metric['name'].replace('.', '_')}{endings[metric['type']]}" for metric in listed}
    asked_for = {name for name in ASKED_FOR if name.startswith("airflow_")}
    assert asked_for
    assert asked_for <= known


def test_the_predictors_are_what_it_counts() -> None:
    known = {
        f"{family.name}{suffix}" for family in Metrics().registry.collect() for suffix in ("", "_total", "_bucket")
    }
    asked_for = {name for name in ASKED_FOR if name.startswith("skinlesion_")}
    assert asked_for
    assert asked_for <= known
