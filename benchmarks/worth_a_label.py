"""Which images to label next: labels of a data set are hidden and revealed in rounds.

    python -m benchmarks.worth_a_label --dataset DIR --models DIR [--seeds 3]

The data set must have been organized and the model built. A linear model on the backbone's pooled activations learns the labels
that are revealed, `ROUND` images at a time, and is measured on the held-out lesions: the area under the ROC curve of malignant
against the rest, and the balanced accuracy of the three classes. The rules that choose the images know no hidden label:

- random: images by chance, which is what any rule has to beat;
- margin: those whose two likeliest diagnoses are the least apart, one of a lesion a round;
- malignant: those whose probability of malignant is the nearest to one half, one of a lesion a round;
- mixed: half of them by `malignant`, half by chance;
- spread: of three times as many by margin, those that cover the activations best (greedy k-centre), one of a lesion a round.
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
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from skinlesion.command_line.options import config_of
from skinlesion.data.labels.classes import LABELS, MALIGNANT
from skinlesion.data.split import HELD_OUT
from skinlesion.stages.review import labelled

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

ROUND: Final = 500
REPORTED: Final = (500, 1000, 1500, 2000, 2500, 3000, 4000)
RULES: Final = ("random", "margin", "malignant", "mixed", "spread")
MALIGNANT_DX: Final = ("mel", "bcc", "scc")


def fitted(pooled: npt.NDArray[np.float32], dx: npt.NDArray[np.object_]) -> LogisticRegression:
    """Return the linear model of these labels, with the weight of data that `review list` has."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged, as in the list
        return LogisticRegression(C=max(0.003, 24 / len(dx)), max_iter=60).fit(pooled, dx)


def measured(model: LogisticRegression, pooled: npt.NDArray[np.float32], rows: pd.DataFrame) -> tuple[float, float]:
    """Return malignant AUROC and balanced accuracy."""
    label_of = dict(zip(rows["dx"], rows["label"], strict=True))
    shares = pd.DataFrame(model.predict_proba(pooled)).T.groupby([label_of[dx] for dx in model.classes_]).sum().T
    shares = shares.reindex(columns=list(LABELS), fill_value=0.0)
    truth = rows["label"].to_numpy()
    said = np.array(LABELS)[shares.to_numpy().argmax(axis=1)]
    recalls = [float((said[truth == label] == label).mean()) for label in LABELS if (truth == label).any()]
    return float(roc_auc_score(truth == MALIGNANT, shares[MALIGNANT])), float(np.mean(recalls))


def chosen(rule: str, model: LogisticRegression, pooled: npt.NDArray[np.float32], groups: Places, small: Floats,
           known: Places, draws: np.random.Generator) -> Places:  # fmt: skip
    """Return the next `ROUND` images that a rule wants labelled."""
    hidden = draws.permutation(np.setdiff1d(np.arange(len(groups)), known))
    if rule == "random":
        return hidden[:ROUND]
    shares = model.predict_proba(pooled[hidden])
    likely = np.sort(shares, axis=1)
    malignant = shares[:, np.isin(model.classes_, MALIGNANT_DX)].sum(axis=1)
    is_clear = abs(malignant - 0.5) if rule in ("malignant", "mixed") else likely[:, -1] - likely[:, -2]
    in_order = hidden[np.argsort(is_clear, kind="stable")]
    _, first = np.unique(groups[in_order], return_index=True)
    one_each = in_order[np.sort(first)]
    wanted = one_each if len(one_each) >= ROUND else in_order
    if rule == "mixed":
        half = wanted[: ROUND // 2]
        return np.concatenate([half, draws.permutation(np.setdiff1d(hidden, half))[: ROUND - len(half)]])
    return covering(small, wanted[: 3 * ROUND], known) if rule == "spread" else wanted[:ROUND]


def covering(small: Floats, wanted: Places, known: Places) -> Places:
    """Return `ROUND` of the wanted images, each the farthest from what is known or chosen before it."""
    far = np.full(len(wanted), np.inf)
    for start in range(0, len(known), 500):
        part = small[known[start : start + 500]]
        far = np.minimum(far, ((small[wanted][:, None] - part[None]) ** 2).sum(axis=2).min(axis=1))
    picked: list[int] = []
    for _ in range(min(ROUND, len(wanted))):
        at = int(far.argmax())
        picked.append(at)
        far = np.minimum(far, ((small[wanted] - small[wanted[at]]) ** 2).sum(axis=1))
        far[at] = -1
    return wanted[picked]


def main() -> None:
    """Print a table of means and ranges over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rules", nargs="*", choices=RULES, default=RULES)
    given = parser.parse_args()
    rows, pooled, _ = labelled(config_of(given.dataset, given.models, None))
    is_held_out = (rows["split"] == HELD_OUT).to_numpy()
    scaler = StandardScaler().fit(pooled[~is_held_out])  # needs no label
    train, test = scaler.transform(pooled[~is_held_out]), scaler.transform(pooled[is_held_out])
    small = PCA(32, random_state=0).fit_transform(train).astype(np.float64)
    dx = rows.loc[~is_held_out, "dx"].to_numpy(dtype=object)
    groups, _ = pd.factorize(rows.loc[~is_held_out, "group"])
    found: list[dict[str, object]] = []
    for seed in range(given.seeds):
        for rule in given.rules:
            draws, began = np.random.default_rng(seed), time.monotonic()
            known = draws.permutation(len(dx))[:ROUND]
            while True:
                model = fitted(train[known], dx[known])
                if len(known) in REPORTED:
                    auroc, balanced = measured(model, test, rows[is_held_out])
                    found.append({"rule": rule, "labels": len(known), "auroc": auroc, "balanced": balanced})
                if len(known) >= max(REPORTED):
                    break
                known = np.concatenate([known, chosen(rule, model, train, groups, small, known, draws)])
            print(f"seed {seed}, {rule}: {time.monotonic() - began:.0f} s", flush=True)
    table = pd.DataFrame(found).groupby(["rule", "labels"]).agg(["mean", "min", "max"]).round(3)
    print(table.to_string())
    model = fitted(train, dx)
    print("all", len(dx), [round(one, 3) for one in measured(model, test, rows[is_held_out])])


if __name__ == "__main__":
    main()
