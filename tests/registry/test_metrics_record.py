"""metrics.json is read as it was written, and a file that does not fit is named with the field that does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError
from tests.measured import metrics_record

from skinlesion.foundation.errors import DataError
from skinlesion.registry.metrics_record import MetricsRecord


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = metrics_record(data_verdict="passed")
    record.write(tmp_path / "metrics.json")
    assert MetricsRecord.read(tmp_path / "metrics.json") == record
    assert json.loads((tmp_path / "metrics.json").read_text())["format_version"] == 1


def test_a_file_that_does_not_fit_is_named_with_its_field_and_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(metrics_record().model_dump(mode="json") | {"intervals": {"accuracy": [0.1]}}))
    with pytest.raises(DataError, match=r"metrics\.json: the field `intervals\.accuracy`.*Run evaluate again"):
        MetricsRecord.read(path)


def test_a_figure_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValidationError, match="finite"):
        metrics_record(accuracy=float("nan"))
