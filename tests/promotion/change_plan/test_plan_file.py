"""change_plan.yaml: what is read of it, and what a person reads of a file that does not fit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skinlesion.promotion.change_plan.plan import DEFAULT, KINDS, PlanInForce, default_plan, shapes_the_model
from skinlesion.stages.settings import PipelineConfig

TEXT = DEFAULT.read_text()


def problem_of(content: str | bytes, tmp_path: Path) -> str:
    path = tmp_path / "plan.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    found = PlanInForce.of(PipelineConfig.of({"change_plan": path}))
    assert (found.plan is None) == bool(found.problem)
    return found.problem.replace(f"{path}, ", "")


def test_the_default_plan_fits_the_settings_and_is_what_an_installation_without_a_file_has(tmp_path: Path) -> None:
    assert problem_of(TEXT, tmp_path) == ""
    found = PlanInForce.of(PipelineConfig.of({"change_plan": tmp_path / "none.yaml"}))
    assert (found.plan, found.is_default) == (default_plan(), True)
    assert f"There is no {tmp_path / 'none.yaml'}" in found.sentence


def test_with_the_default_plan_the_default_settings_are_within_their_ranges() -> None:
    plan = default_plan()
    now = PipelineConfig.of({}).model_dump(mode="json")
    assert [name for name, allowed in plan.settings.items() if not allowed.holds(now[name])] == []
    assert not any(
        shapes_the_model(name) for name in ("require_approval", "workers", "dataset", "gate_min_auroc", "monitor_cases")
    )
    assert set(plan.by_itself) < set(KINDS)


def test_a_part_that_is_not_used_leaves_the_plan_the_one_that_it_was(tmp_path: Path) -> None:
    """A plan from before there was this part is not another one now: no person need look at the next version for it."""

    def digest_of(content: str) -> str:
        path = tmp_path / "plan.yaml"
        path.write_text(content)
        return PlanInForce.of(PipelineConfig.of({"change_plan": path})).digest

    line = "retrain_on_alarm: false\n"
    assert line in TEXT
    assert digest_of(TEXT) == digest_of(TEXT.replace(line, ""))
    assert digest_of(TEXT) != digest_of(TEXT.replace(line, "retrain_on_alarm: true\n"))


@pytest.mark.parametrize(
    ("replaced", "by", "said"),
    [
        ("- new_data ", "- new-data ", "`new-data` is no kind of change. Did you mean `new_data`?"),
        ("- new_data ", "- everything ", "`everything` is no kind of change. Kinds: new_data, images_removed"),
        ("epochs: {from: 1, to: 100}", "epocs: {from: 1, to: 100}", "`epocs` is no setting that shapes the model. Did you mean"),
        ("epochs: {from: 1, to: 100}", "epochs: {from: 9, to: 3}", "whose end is no lower than its beginning; found from 9 to 3."),
        ("epochs: {from: 1, to: 100}", "epochs: {from: one, to: 3}", "`epochs`: expected a valid integer; found 'one'."),
        ("epochs: {from: 1, to: 100}", "epochs: {from: 1, to: 9999}", "`epochs`: expected less than or equal to 500; found '9999'."),
        ("epochs: {from: 1, to: 100}", "epochs: 5", "expected a list of values such as [none, inverse], or a range"),
        ("epochs: {from: 1, to: 100}", "coverage: {from: 0.9, to: 1}", "a change of the kind `thresholds` is not in by_itself."),
        ("class_weighting: [none", "class_weighting: [non", "expected 'none', 'sqrt-inverse' or 'inverse'; found 'non'."),
        ("gate: {}", "gate: {gate_min_auroc: 2}", "`gate_min_auroc`: expected less than or equal to 1; found '2'."),
        ("gate: {}", "gate: {gate_min_acuroc: 1}", "is no setting of the gate. Did you mean `gate_min_auroc`?"),
        ("gate: {}", "gate: {}\ngate: {}", "`gate` is there a second time; expected it once."),
        ("gate: {}", "gate: &a {}\nother: *a", "found the alias `*a`; write it out."),
        ("gate: {}", "gates: {}", "there is no field `gates`. Did you mean `gate`?"),
        ("gate: {}", "gate: [", "this is no YAML"),
        ("gate: {}", "gate:", "`gate`: expected names with values, or {}; found '(nothing)'."),
        ("impact_assessment: >", "impact_assessment: ''\ndescription2: >", "`impact_assessment`: expected"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_named_with_the_line_and_what_is_allowed(
    tmp_path: Path, replaced: str, by: str, said: str
) -> None:
    assert replaced in TEXT
    text = TEXT.replace(replaced, by, 1)
    problem = problem_of(text, tmp_path)
    assert said in problem
    if "[" not in by[-1:]:
        first = text[: text.index(by)].count("\n") + 1
        assert any(f"line {first + line}: " in problem for line in range(by.count("\n") + 1)), problem
    assert "`skinlesion change-plan --print-default` shows a whole one." in problem


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "the file is empty"),
        ("# nothing\n", "the file is empty"),
        ("- a\n- b\n", "expected the fields description, by_itself"),
        ("description: x\n", "the field `by_itself` is missing."),
        ("1: 2\n", "the field `description` is missing."),
        ("? [a]\n: b\n", "this is no YAML"),
        ("description: 2026-13-45\n", "this cannot be read"),
        ("a: \x07\n", "this is no YAML"),
        (b"description: \xe4\n", "line 1: the text is not UTF-8"),
        ("[" * 1000, "nested too deeply"),
        ("x" * 300_000, "bytes; expected at most"),
    ],
)
def test_what_is_no_plan_at_all_is_refused_in_a_sentence(tmp_path: Path, content: str | bytes, said: str) -> None:
    assert said in problem_of(content, tmp_path)


def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("nothing")
    for name, said in (("pipe", "FIFO"), ("link", "a link to nothing"), ("", "a folder")):
        assert said in PlanInForce.of(PipelineConfig.of({"change_plan": tmp_path / name})).problem
