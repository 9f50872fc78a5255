"""When training goes on from the model in service, and when it must not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.measured import known
from tests.registry.trained import trained
from tests.training_record import write_training_record

from skinlesion.data.manifest import version
from skinlesion.foundation import layout
from skinlesion.network.built_model import BuiltModel
from skinlesion.prediction.measurable import read_learnt
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.register import register
from skinlesion.registry.switch import promote
from skinlesion.stages.settings import PipelineConfig
from skinlesion.training.warm_start import (
    candidate_of,
    candidate_to_evaluate,
    candidate_to_train,
    origin,
    write_trained_on,
)

Config = Callable[..., PipelineConfig]
BUILT = BuiltModel(key="built", weights_key="weights", sha256="sha")


def rows(images: int, **changed: Any) -> pd.DataFrame:
    """Return the training rows of so many images, each with one augmented copy."""
    names = [f"I{number}" for number in range(images)]
    originals = pd.DataFrame({
        "file": [f"benign/{name}.jpg" for name in names], "image": names, "label": "benign", "split": "train",
        "copy": 0, "dx": "nv", "group": names, "lesion": names, "original": names, "sha256": [hashlib.sha256(name.encode()).hexdigest() for name in names],
    }).assign(**changed)  # fmt: skip
    copies = originals.assign(file=originals["file"] + "__aug01", copy=1, sha256=originals["sha256"] + "c")
    return pd.concat([originals, copies], ignore_index=True)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    given = {"models": tmp_path / "models", "weights": "random", "warm_start": True}
    return lambda **settings: PipelineConfig.of(given | settings)


@pytest.fixture
def champion(config: Config) -> Candidate:
    """Return the candidate in service, trained on 40 images of which the first four were its inner fold."""
    before, settings = rows(40), config()
    candidate = trained(settings.models, candidate_of(settings, before, BUILT).run)
    write_trained_on(candidate, before, before["image"].isin(["I0", "I1", "I2", "I3"]).to_numpy())
    record(candidate, settings, before)
    put_in_service(settings.models, candidate)
    return candidate


def put_in_service(models: Path, candidate: Candidate) -> None:
    promote(models, register(models, candidate).number, actor="somebody", reason="a test")


def train(candidate: Candidate, settings: PipelineConfig, training: pd.DataFrame) -> Candidate:
    """Write a candidate's files and its record as train would; return it."""
    trained(settings.models, candidate.run)
    record(candidate, settings, training)
    return candidate


def record(candidate: Candidate, settings: PipelineConfig, training: pd.DataFrame, **more: Any) -> None:
    write_training_record(candidate, origin=origin(settings, BUILT), training_version=version(training), **more)


def test_a_few_new_images_start_from_the_champion(config: Config, champion: Candidate) -> None:
    now = rows(43)
    candidate, warm = candidate_to_train(config(), now, BUILT)
    assert warm is not None
    assert warm.champion.run == champion.run
    assert set(now.loc[warm.new, "image"]) == {"I40", "I41", "I42"}
    assert set(now.loc[warm.known_inner, "image"]) == {"I0", "I1", "I2", "I3"}
    assert warm.record.model_dump() == {"from": champion.run, "new_images": 3, "nights": 1}
    assert candidate.run not in (champion.run, candidate_of(config(), now, BUILT).run)


def test_a_lesion_stays_on_its_side_of_the_inner_fold(config: Config, champion: Candidate) -> None:
    now = rows(43, group=[f"I{number}" for number in range(40)] + ["I1", "I20", "I42"])
    warm = known(candidate_to_train(config(), now, BUILT)[1])
    inner = warm.inner_fold(now, np.ones(len(now), dtype=np.bool_))
    assert set(now.loc[inner, "image"]) == {"I0", "I1", "I2", "I3", "I40", "I42"}
    inner = warm.inner_fold(now, np.zeros(len(now), dtype=np.bool_))
    assert set(now.loc[inner, "image"]) == {"I0", "I1", "I2", "I3", "I40"}


@pytest.mark.parametrize("settings", [{"warm_start": False}, {"force": True}])
def test_an_evaluation_by_hand_finds_what_a_warm_night_trained(
    config: Config, champion: Candidate, settings: dict[str, Any]
) -> None:
    now = rows(42)
    warm, _ = candidate_to_train(config(), now, BUILT)
    put_in_service(config().models, train(warm, config(), now))
    assert candidate_to_evaluate(config(**settings), now, BUILT).run == warm.run
    later = rows(43)
    assert candidate_to_evaluate(config(**settings), later, BUILT).read_training() is None


def test_with_nothing_new_the_champion_is_the_candidate(config: Config, champion: Candidate) -> None:
    candidate, warm = candidate_to_train(config(), rows(40), BUILT)
    assert (candidate.run, warm) == (champion.run, None)


@pytest.mark.parametrize(
    "now",
    [
        rows(42).drop(index=[7, 49]),  # withdrawn, or held out since a group joined
        rows(42, label=["malignant", *["benign"] * 41]),
        rows(42, dx=["bkl", *["nv"] * 41]),
        rows(42, sha256=["other", *rows(42)["sha256"].iloc[1:42]]),
        rows(50),  # a fifth of them are new
    ],
    ids=["withdrawn", "relabelled", "another diagnosis", "another picture", "many new"],
)
def test_what_cannot_be_unlearnt_or_is_too_much_starts_from_the_built_model(
    config: Config, champion: Candidate, now: pd.DataFrame
) -> None:
    candidate, warm = candidate_to_train(config(), now, BUILT)
    assert warm is None
    assert candidate.run == candidate_of(config(), now, BUILT).run


@pytest.mark.parametrize(
    "settings",
    [
        {"warm_start": False}, {"force": True}, {"learning_rate": 1e-3}, {"fine_tune": "none"},
        {"loader": "image-data-generator"}, {"warm_start_share": 0.01},
    ],
)  # fmt: skip
def test_settings_that_ask_for_another_training_start_from_the_built_model(
    config: Config, champion: Candidate, settings: dict[str, Any]
) -> None:
    assert candidate_to_train(config(**settings), rows(42), BUILT)[1] is None


def test_another_backbone_starts_from_the_built_model(config: Config, champion: Candidate) -> None:
    other = BuiltModel(key="other", weights_key="weights", sha256="sha")
    assert candidate_to_train(config(), rows(42), other)[1] is None


def test_many_nights_of_few_images_end_in_a_start_from_the_built_model(config: Config, champion: Candidate) -> None:
    before = {"from": "x", "new_images": 3, "nights": 2}
    record(champion, config(), rows(40), warm_start=before)
    warm = known(candidate_to_train(config(), rows(41), BUILT)[1])
    assert warm.record.model_dump() == {"from": champion.run, "new_images": 4, "nights": 3}
    assert candidate_to_train(config(), rows(42), BUILT)[1] is None  # five of 42 are more than a tenth


@pytest.mark.parametrize("harm", ["its file", "what it was trained on", "nothing in service"])
def test_a_champion_that_is_not_whole_is_not_gone_on_from(config: Config, champion: Candidate, harm: str) -> None:
    if harm == "its file":
        champion.h5.write_bytes(b"other")
    elif harm == "what it was trained on":
        champion.trained_on.write_bytes(b"not parquet")
    else:
        layout.release_in_service(config().models).unlink()
    assert candidate_to_train(config(), rows(42), BUILT)[1] is None


def test_a_trained_candidate_of_these_rows_is_taken_before_a_warm_start(config: Config, champion: Candidate) -> None:
    now, settings = rows(42), config()
    cold = train(candidate_of(settings, now, BUILT), settings, now)
    candidate, warm = candidate_to_train(settings, now, BUILT)
    assert (candidate.run, warm) == (cold.run, None)


def test_numpy_masks_are_aligned_with_the_rows(config: Config, champion: Candidate) -> None:
    now = rows(42).sample(frac=1, random_state=0).reset_index(drop=True)
    warm = known(candidate_to_train(config(), now, BUILT)[1])
    assert np.array_equal(warm.new, now["image"].isin(["I40", "I41"]).to_numpy())


def test_a_warm_start_has_learnt_what_the_champion_had(config: Config, champion: Candidate, tmp_path: Path) -> None:
    """An image that was renamed since is one that the weights know, whatever it is called now."""
    now = rows(43)
    now.loc[now["image"] == "I7", "image"] = "I7 under another name"
    warm = known(candidate_to_train(config(), now, BUILT)[1])
    candidate = trained(tmp_path, "warm")
    digest = write_trained_on(candidate, now, np.zeros(len(now), dtype=np.bool_), warm)
    write_training_record(candidate, trained_on=digest)
    learnt = read_learnt(candidate)
    assert set(learnt["image"]) == {f"I{number}" for number in range(43)} | {"I7 under another name"}
    assert set(learnt["sha256"]) == set(now.loc[now["copy"] == 0, "sha256"])
