"""How many of deliberately swapped labels stand at the top of `skinlesion review list`.

    python -m benchmarks.swapped_labels --dataset DIR --models DIR [--set weights=FILE ...]

The data set must have been organized and the model built (`skinlesion run`, or its stages up to build). 5 % of the images
get another diagnosis, in memory: at random, each image by itself; or look-alikes, melanoma with naevus or benign keratosis,
all images of a lesion alike. Beside the list stands a ranking by the loss of a model that learnt the very labels that it
judges, as a training network's own loss would be.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinlesion.command_line.options import config_of
from skinlesion.data.review.suspects import label_quality, out_of_fold, suspects
from skinlesion.stages.review import Labelled, labelled

SHARE: Final = 0.05
LOOK_ALIKES: Final = {"mel": ("nv", "bkl"), "nv": ("mel",), "bkl": ("mel",)}


def swapped(rows: pd.DataFrame, kind: str, seed: int) -> pd.Series:
    """Return the diagnoses with a share of them swapped: `random` by image, or `look-alikes` by lesion."""
    draws, dx = np.random.default_rng(seed), rows["dx"].astype(object).to_numpy(copy=True)
    codes, wanted = sorted(set(dx)), round(SHARE * len(dx))
    if kind == "random":
        for row in draws.choice(len(dx), wanted, replace=False):
            dx[row] = draws.choice([code for code in codes if code != dx[row]])
        return pd.Series(dx, dtype="str")
    members = list(rows.groupby("group").indices.values())
    done = 0
    for number in draws.permutation(len(members)):
        lesion = members[number]
        if dx[lesion[0]] in LOOK_ALIKES:
            dx[lesion] = draws.choice(LOOK_ALIKES[dx[lesion[0]]])
            done += len(lesion)
        if done >= wanted:
            break
    return pd.Series(dx, dtype="str")


def own_loss(pooled: npt.NDArray[np.float32], dx: pd.Series) -> npt.NDArray[np.int64]:
    """Return the rows by the loss of a model that was trained on these labels, the largest first."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaled = StandardScaler().fit_transform(pooled)
    position, _ = pd.factorize(dx, sort=True)
    model = LogisticRegression(C=0.003, max_iter=60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged, as in the list
        model.fit(scaled, position)
    return np.argsort(label_quality(model.predict_proba(scaled), position), kind="stable")


def row(name: str, order: npt.NDArray[np.int64], is_wrong: npt.NDArray[np.bool_], seconds: float) -> None:
    """Print the precision of the first 100 and the recall in the first 500."""
    first, recall = is_wrong[order[:100]].mean(), is_wrong[order[:500]].sum() / is_wrong.sum()
    print(f"| {name} | {is_wrong.sum()} | {first:.2f} | {recall:.2f} | {seconds:.0f} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--set", action="append", dest="settings", metavar="KEY=VALUE")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    start = time.process_time()
    data: Labelled = labelled(config_of(given.dataset, given.models, given.settings))
    print(f"{len(data.rows)} images, {time.process_time() - start:.0f} s of processor time for their activations\n")
    print("| swapped | wrong labels | precision of the first 100 | recall in the first 500 | processor s |")
    print("|---|---:|---:|---:|---:|")
    for kind in ("random", "look-alikes"):
        for seed in range(given.seeds):
            dx = swapped(data.rows, kind, seed)
            is_wrong = (dx != data.rows["dx"]).to_numpy(dtype=np.bool_)
            start = time.process_time()
            rows = data.rows.assign(dx=dx)
            found = suspects(rows, out_of_fold(data.pooled, dx, rows["group"]), data.pairs)
            order = pd.Index(rows["image"]).get_indexer(pd.Index(found["image"]))
            row(f"{kind}, seed {seed}", order, is_wrong, time.process_time() - start)
            row("the same, by a model's own loss", own_loss(data.pooled, dx), is_wrong, 0)


if __name__ == "__main__":
    main()
