"""`skinlesion models` as its user types it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.model_house import House
from tests.plugins.models_folder import many
from tests.trained import skinlesion
from tests.training_record import write_training_record

from skinlesion.foundation import layout
from skinlesion.foundation.tables import read_table, write_table
from skinlesion.prediction.held_out_scores import PREDICTION_COLUMNS
from skinlesion.registry import history, versions
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.versions import FIGURES


@pytest.fixture
def two(house: House) -> House:
    """Return a registry with version 1 and version 2, which finds more of the malignant lesions and less of the benign."""
    house.add("one", house.scores(malignant=0.7))
    house.add("two", house.scores(malignant=0.95, benign=0.8))
    return house


def test_two_versions_are_shown_beside_each_other_with_the_difference(two: House) -> None:
    ended = skinlesion("models", "compare", 1, 2, "--models", two.models)
    assert ended.returncode == 0, ended.stderr
    assert "420 held-out images, of 420 lesions" in ended.stdout
    (line,) = [line for line in ended.stdout.splitlines() if line.startswith("Sensitivity for malignant")]
    assert re.search(
        r"0\.700 \(0\.\d+–0\.\d+\) +0\.950 \(0\.\d+–0\.\d+\) +\+0\.250 \(\+0\.\d+ to \+0\.\d+\) +better", line
    )


def test_json_has_the_figures_the_differences_and_what_differs(two: House) -> None:
    write_training_record(two.candidate("two"), settings={"epochs": 9, "seed": 1, "weights": "drawn"}, images=16)
    found = json.loads(skinlesion("models", "compare", 2, 1, "--json", "--models", two.models).stdout)
    assert (found["first"]["number"], found["second"]["number"]) == (2, 1)
    figures = {figure["name"]: figure for figure in found["held_out"]["figures"]}
    assert list(figures) == list(FIGURES)
    assert figures["sensitivity"]["paired"]["difference"] == pytest.approx(-0.25)
    assert figures["sensitivity"]["paired"]["verdict"] == "worse"
    assert figures["specificity"]["first"]["value"] == pytest.approx(figures["specificity"]["second"]["value"], abs=0.2)
    assert found["settings"] == [
        {"name": "epochs", "first": 9, "second": 2},
        {"name": "weights", "first": "drawn", "second": None},
    ]
    assert {"name": "training images", "first": 16, "second": 8} in found["data"]
    assert found["origin"] == []


def test_other_weights_are_said_to_differ(two: House) -> None:
    write_training_record(two.candidate("two"), weights_key="others")
    ended = skinlesion("models", "compare", 1, 2, "--models", two.models)
    assert "Settings: no difference." in ended.stdout
    assert re.search(r"weights of the backbone \(hash\) +weights +others", ended.stdout)


def test_what_one_version_learnt_counts_for_neither(two: House) -> None:
    """What became held out after a version had learnt it made that version look better than the other one."""
    two.has_learnt("one", two.rows[two.rows["label"] == "malignant"].head(36))
    shown = skinlesion("models", "compare", 1, 2, "--models", two.models).stdout
    assert "384 held-out images, of 384 lesions" in shown
    assert "36 of 420 held-out images, of 36 lesions, are left out: a model that is measured was trained on" in shown


def test_a_lesion_that_was_merged_later_is_known_by_the_answers_of_the_later_version(two: House) -> None:
    """Version 1 learnt image I400 and was measured on I0; later both turn out to show one lesion, which version 2 answers."""
    two.has_learnt("one", two.rows[two.rows["image"] == "I400"])
    keep(two.candidate("one"), slice(0, 400))
    path = two.candidate("two").predictions
    answers = read_table(path, PREDICTION_COLUMNS)
    answers.loc[answers["image"].isin(["I0", "I400"]), "group"] = "lesion:one"
    write_table(path, answers, PREDICTION_COLUMNS)
    shown = skinlesion("models", "compare", 1, 2, "--models", two.models).stdout
    assert "399 held-out images, of 399 lesions" in shown
    assert "1 of 400 held-out images, of 1 lesion, are left out" in shown


def test_the_figures_are_of_the_images_that_both_versions_were_measured_on(two: House) -> None:
    keep(two.candidate("one"), slice(0, 300))
    keep(two.candidate("two"), slice(100, 420))
    found = json.loads(skinlesion("models", "compare", 1, 2, "--json", "--models", two.models).stdout)
    assert (found["held_out"]["images"], found["held_out"]["lesions"]) == (200, 200)
    assert found["held_out"]["relabelled"] == 0


def test_a_class_that_has_changed_counts_for_both_as_it_was_last_and_is_said(two: House) -> None:
    path = two.candidate("one").predictions
    answers = read_table(path, PREDICTION_COLUMNS)
    answers.loc[:2, "label"] = "malignant"
    write_table(path, answers, PREDICTION_COLUMNS)
    shown = skinlesion("models", "compare", 1, 2, "--models", two.models).stdout
    assert "3 of these images got another class" in shown
    assert re.search(r"Sensitivity for malignant +0\.700 ", shown)


def test_where_answers_are_gone_the_recorded_figures_are_shown_without_a_difference(two: House) -> None:
    two.candidate("one").predictions.unlink()
    ended = skinlesion("models", "compare", 1, 2, "--models", two.models)
    assert ended.returncode == 0
    assert "No differences: The answers of version 1 for the held-out images are gone" in ended.stdout
    assert "better" not in ended.stdout


def no_common_image(two: House) -> None:
    keep(two.candidate("one"), slice(0, 100))
    keep(two.candidate("two"), slice(100, 420))


def other_images_and_answers_gone(two: House) -> None:
    two.candidate("one").predictions.unlink()
    two.rows = two.rows.iloc[100:]
    two.add("three", two.scores()[100:])


@pytest.mark.parametrize(
    ("prepare", "versions", "said"),
    [
        (lambda two: None, (1, 1), "Version 1 cannot be compared with itself"),
        (lambda two: None, (1, 9), "There is no version 9"),
        (no_common_image, (1, 2), "have no held-out image in common"),
        (other_images_and_answers_gone, (1, 3), "measured on different held-out images"),
        (
            lambda two: write_training_record(two.candidate("two"), classes=("benign", "malignant")),
            (1, 2),
            "Version 2 has the classes benign, malignant",
        ),
        (lambda two: two.candidate("two").training.unlink(), (1, 2), "training.json, which is missing"),
        (
            lambda two: two.has_learnt("one", two.rows),
            (1, 2),
            "What is left is too few to judge: 420 of 420 held-out images",
        ),
        (
            lambda two: two.candidate("two").trained_on.unlink(),
            (1, 2),
            "learnt is not known: trained_on.parquet cannot be read",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_reason(
    two: House, prepare: Callable[[House], None], versions: tuple[int, int], said: str
) -> None:
    prepare(two)
    ended = skinlesion("models", "compare", *versions, "--models", two.models)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_versions_are_listed_one_a_line_with_whole_headings(tmp_path: Path) -> None:
    many(tmp_path, 3)
    heading, _, *rows = skinlesion("models", "list", "--models", tmp_path).stdout.splitlines()
    for word in ("created (UTC)", "balanced accuracy", "malignant AUROC", "sensitivity", "gate"):
        assert word in heading
    assert [row.split()[0] for row in rows[:3]] == ["3", "2", "1"]
    assert "0.700 (0.650–0.850)" in rows[0]


def test_what_can_be_read_is_listed_what_cannot_is_named_and_the_status_says_so(two: House) -> None:
    """A foreign line ended `models list` in a traceback, and a damaged record read as "no model in service"."""
    with history.path(two.models).open("a") as file:
        file.write('{"what": "else"}\n')
    layout.release_in_service(two.models).symlink_to("in_service")
    for command in (["list"], ["list", "--json"], ["show", 1], ["history"]):
        ended = skinlesion("models", *command, "--models", two.models)
        assert ended.returncode == 2
        assert "history.jsonl, line 1: the field" in ended.stderr
        assert "leads back to itself" in ended.stderr
        assert "Traceback" not in ended.stderr
        assert "two" in ended.stdout or command[0] != "list" or "--json" not in command
    assert "What is in service cannot be read" in skinlesion("models", "list", "--models", two.models).stdout
    assert skinlesion("models", "promote", 2, "--reason", "why", "--models", two.models).returncode == 2


def test_restore_says_what_it_did_and_then_all_is_well(two: House) -> None:
    assert skinlesion("models", "restore", "--models", two.models).stdout == "Nothing is damaged or lost.\n"
    versions.path(two.models).unlink()
    assert skinlesion("models", "list", "--models", two.models).returncode == 2
    ended = skinlesion("models", "restore", "--models", two.models)
    assert ended.returncode == 0, ended.stderr
    assert "versions.jsonl does not have the versions 1, 2" in ended.stdout.replace("\n    ", " ")
    assert "The registry has 2 versions now" in ended.stdout
    listed = skinlesion("models", "list", "--models", two.models)
    assert listed.returncode == 0
    assert re.search(r"On disk: \d+\.\d MB \(candidates ", listed.stdout)


def keep(candidate: Candidate, chosen: slice) -> None:
    """Let a candidate have answers for these held-out images only."""
    answers = read_table(candidate.predictions, PREDICTION_COLUMNS)
    write_table(candidate.predictions, answers.iloc[chosen], PREDICTION_COLUMNS)
