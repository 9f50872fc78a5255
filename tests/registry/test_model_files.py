"""The names of a model's files stand in registry/model_files.py and nowhere else."""

from __future__ import annotations

import ast
from pathlib import Path

from skinlesion.registry import model_files

ROOT = Path(__file__).parents[2]
NAMES = {
    value for name, value in vars(model_files).items() if name.isupper() and isinstance(value, str) and "." in value
}
ELSEWHERE = {("layout.py", "data_report.html"), ("models.py", "report.html")}
"""The data set's own report, and an argument that a person gives."""


def test_no_other_module_spells_the_name_of_a_models_file() -> None:
    assert {"skin_lesion_classifier_trained.h5", "model.keras", "decision_rule.json", "metrics.json"} <= NAMES
    found = {
        (path.name, node.value)
        for folder in ("include", "plugins", "dags")
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "model_files.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in NAMES
    }
    assert found <= ELSEWHERE
