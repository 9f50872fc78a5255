"""Review: list the images whose labels are likely wrong, for people who can mend them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinlesion.data.catalog import read_catalog
from skinlesion.data.images.near_duplicates import DuplicateTables
from skinlesion.data.manifest import read_manifest
from skinlesion.data.training_view import view_files
from skinlesion.foundation import layout
from skinlesion.network.backbone import activations_key
from skinlesion.network.built_model import require_built_model
from skinlesion.network.feature_store import FeatureStore
from skinlesion.network.settings import POOLED
from skinlesion.review.suspects import out_of_fold, suspects
from skinlesion.stages.embed import store_activations
from skinlesion.stages.settings import PipelineConfig


class Labelled(NamedTuple):
    """The originals that have a diagnosis, and what they are judged by.

    rows: of the manifest, with `file` as in images/. pooled: float32 (n, 1280), the backbone's pooled activations. pairs: the
    contents that are near-duplicates, columns first and second.
    """

    rows: pd.DataFrame
    pooled: npt.NDArray[np.float32]
    pairs: pd.DataFrame


def likely_wrong(config: PipelineConfig) -> pd.DataFrame:
    """Return the images whose label is likely wrong, `suspects.COLUMNS`, the likeliest errors first.

    Raises DataError before organize and build have run.
    """
    rows, pooled, pairs = labelled(config)
    return suspects(rows, out_of_fold(pooled, rows["dx"], rows["group"]), pairs)


def labelled(config: PipelineConfig) -> Labelled:
    """Return the originals that have a diagnosis, held out or not, with their activations.

    The activations are those of the built model's backbone. They are kept in a store of their own, which training does not read;
    a second call computes those of new images alone.
    """
    manifest, built = read_manifest(config.dataset), require_built_model(config.models)
    originals = manifest[manifest["copy"] == 0]
    store = FeatureStore(layout.features(config.dataset) / f"{activations_key(built.weights_key, POOLED, 1)}-review")
    todo = originals[~originals["sha256"].isin(store.index()["sha256"])].drop_duplicates("sha256")
    if not todo.empty:
        store_activations(config, built, POOLED, 1, store, view_files(config.dataset, todo))
        store.compact(set(originals["sha256"]))
    file_of = read_catalog(config.dataset).set_index("image")["file"]
    rows = originals[originals["dx"] != ""]
    rows = rows.assign(file=rows["image"].map(file_of)).reset_index(drop=True)
    every = np.arange(len(rows))
    pooled = store.open(rows["sha256"].tolist()).take(every, np.zeros_like(every)).astype(np.float32)
    pairs, _ = DuplicateTables(layout.tables(config.dataset, "duplicates")).read()
    return Labelled(rows, pooled, pairs)
