"""What each stage says of one image: what it has, and what makes the next run do it again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.trained import SETTINGS, config_of, options, skinlesion

from skinlesion.data.catalog import read_catalog
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.stages.pipeline import run_stage
from skinlesion.stages.why import Step, why


def image_of(folder: Path, split: str) -> str:
    catalog = read_catalog(folder / "dataset")
    return str(catalog.loc[catalog["split"] == split, "image"].iloc[0])


def steps(folder: Path, image: str, **settings: Any) -> dict[str, Step]:
    return {step.stage: step for step in why(config_of(folder, **settings), image)}


def states(folder: Path, image: str, **settings: Any) -> dict[str, str]:
    return {stage: step.state for stage, step in steps(folder, image, **settings).items()}


DONE = {"ingest": "done", "resize": "done", "augment": "left out", "organize": "done", "embed": "done", "train": "done"}


def test_an_image_that_needs_nothing_says_what_each_stage_has(trained: Path) -> None:
    image = image_of(trained, "train")
    found = steps(trained, image)
    assert {stage: step.state for stage, step in found.items()} == DONE
    row = read_catalog(trained / "dataset").set_index("image").loc[image]
    assert f"dx {row['dx']}, so {row['label']}" in found["ingest"].because
    assert found["resize"].content == row["sha256"][:12]
    assert "Learnt by versions 2, 1 (in service)." in found["train"].because


@pytest.mark.parametrize("called", ["{}", "{}.jpg", "images/{}.jpg"])
def test_it_is_found_by_its_name_and_by_its_file(trained: Path, called: str) -> None:
    assert states(trained, called.format(image_of(trained, "train"))) == DONE


def test_a_held_out_image_is_learnt_by_nobody(trained: Path) -> None:
    found = steps(trained, image_of(trained, "held_out"))
    assert (found["augment"].state, found["embed"].state, found["train"].state) == ("left out",) * 3
    assert found["train"].because == "It is held out. No version learnt it."


@pytest.mark.parametrize(
    ("settings", "stage", "state", "said"),
    [
        ({"jpeg_quality": 60}, "resize", "stale", "was made with other settings"),
        ({"min_image_side": 20}, "ingest", "stale", "was examined with other settings"),
        ({"copies": 2}, "augment", "not yet", "There are 0 copies; the setting copies is 2."),
        ({"fine_tune": "tail"}, "embed", "not yet", "0 of its 1 file have activations of these weights"),
        ({"loader": "image-data-generator"}, "embed", "left out", "reads the images"),
    ],
)  # fmt: skip
def test_other_settings_make_stale_what_depends_on_them(
    trained: Path, settings: dict[str, Any], stage: str, state: str, said: str
) -> None:
    step = steps(trained, image_of(trained, "train"), **settings)[stage]
    assert step.state == state
    assert said in step.because


def test_a_file_that_changed_is_told_from_one_that_was_lost(copy_of_trained: Path) -> None:
    dataset, image = copy_of_trained / "dataset", image_of(copy_of_trained, "train")
    run_stage("ingest", config_of(copy_of_trained))  # the copy's files are not those that were examined
    assert states(copy_of_trained, image) == DONE
    (layout.processed(dataset) / f"{image}.jpg").unlink()
    found = steps(copy_of_trained, image)
    assert (found["ingest"].state, found["resize"].state) == ("done", "stale")
    assert found["resize"].because == f"{image}.jpg is missing."
    Image.fromarray(np.zeros((90, 120, 3), np.uint8)).save(layout.images(dataset) / f"{image}.jpg")
    assert "has changed since ingest read it" in steps(copy_of_trained, image)["ingest"].because
    (layout.images(dataset) / f"{image}.jpg").unlink()
    assert "cannot be found any more" in steps(copy_of_trained, image)["ingest"].because


def test_a_new_diagnosis_shows_where_it_has_not_come_yet(copy_of_trained: Path) -> None:
    table, image = layout.diagnoses(copy_of_trained / "dataset"), image_of(copy_of_trained, "train")
    rows = pd.read_csv(table)
    was = rows.loc[rows["image"] == image, "dx"].iloc[0]
    rows.loc[rows["image"] == image, "dx"] = "mel" if was != "mel" else "nv"
    rows.to_csv(table, index=False)
    run_stage("ingest", config_of(copy_of_trained))
    found = steps(copy_of_trained, image)
    assert (found["resize"].state, found["organize"].state) == ("done", "stale")
    assert "from before the last ingest" in found["organize"].because


def test_a_refused_image_says_why_and_nothing_more(copy_of_trained: Path) -> None:
    dataset, image = copy_of_trained / "dataset", image_of(copy_of_trained, "train")
    (layout.images(dataset) / f"{image}.jpg").write_bytes(b"no image")
    run_stage("ingest", config_of(copy_of_trained, max_refused_share=1))
    (step,) = why(config_of(copy_of_trained), image)
    assert (step.stage, step.state) == ("ingest", "refused")
    assert step.because.startswith("Not ") or "image" in step.because


def test_a_name_that_nobody_knows_gets_the_one_that_was_meant(trained: Path) -> None:
    image = image_of(trained, "train")
    with pytest.raises(DataError, match=f"Did you mean `{image}`"):
        steps(trained, f"{image[:-1]}.jpg")
    with pytest.raises(DataError, match=r"run `skinlesion ingest`"):
        steps(trained, "something else")


def test_the_command_prints_and_writes_it(trained: Path, tmp_path: Path) -> None:
    image = image_of(trained, "train")
    folders = ("--dataset", trained / "dataset", "--models", trained / "models")
    done = skinlesion("why", image, *folders, *options(), "--json", tmp_path / "why.json")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(DONE)
    written = json.loads((tmp_path / "why.json").read_text())
    assert {step["stage"]: step["state"] for step in written} == DONE
    assert SETTINGS["copies"] == 0  # so `augment` is left out
