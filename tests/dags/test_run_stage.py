"""What a task makes of the run it belongs to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import JsonValue

from skinlesion.foundation.stage_report import StageReport
from skinlesion.stages import pipeline
from skinlesion.stages.settings import PipelineConfig


@pytest.fixture
def settings_of(retrain: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the settings under which train works in a run of this type."""

    def settings(run_type: str, **params: Any) -> PipelineConfig:
        body: Any = retrain.task_dict["train"].python_callable
        seen = []

        def noted(stage: str, config: PipelineConfig, shard: Any = None, **options: bool) -> StageReport:
            seen.append(config)
            details: dict[str, JsonValue] = {"run": "one", "epochs": 1, "warm_start": None}
            return StageReport(stage=stage, seen=0, done=0, skipped=0, refused=0, seconds=0.0, details=details)

        context = {"params": params, "dag": retrain, "dag_run": SimpleNamespace(run_type=run_type, conf=params)}
        monkeypatch.setitem(body.__globals__, "get_current_context", lambda: context)
        monkeypatch.setattr(pipeline, "run_stage", noted)
        body()
        return seen[0]

    return settings


def test_a_scheduled_night_starts_warm(settings_of: Any) -> None:
    assert settings_of("scheduled").warm_start


@pytest.mark.parametrize("run_type", ["manual", "asset_triggered", "backfill"])
@pytest.mark.parametrize("chosen", [True, False])
def test_other_runs_start_as_their_parameters_say(settings_of: Any, run_type: str, chosen: bool) -> None:
    assert settings_of(run_type, warm_start=chosen).warm_start == chosen


@pytest.mark.parametrize(("chosen", "expected"), [("false", False), ("true", True)])
def test_the_environment_can_switch_it_off_for_the_nights(
    settings_of: Any, monkeypatch: pytest.MonkeyPatch, chosen: str, expected: bool
) -> None:
    monkeypatch.setenv("SKINLESION_WARM_START", chosen)
    assert settings_of("scheduled").warm_start == expected
