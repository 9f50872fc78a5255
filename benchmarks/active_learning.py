"""How many labels a ranking of unlabelled images saves: labels of a data set are hidden and revealed in rounds.

    python -m benchmarks.active_learning --dataset DIR --models DIR [--set weights=FILE ...]

The data set must have been organized and the model built (`skinlesion run`, or its stages up to build). Each rule begins with the
same 250 random images of the training part, asks for 250 more in each round up to 3,000, then for 500, and is measured on the
held-out lesions, whose labels no rule sees. The model is a logistic regression on the first 200 principal components of the
stored activations, as in `skinlesion review list`, so that a round takes seconds.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinlesion.command_line.options import config_of
from skinlesion.data.labels.classes import LABELS, MALIGNANT
from skinlesion.data.split import TRAIN
from skinlesion.stages.review import Labelled, labelled

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

FIRST: Final = 250
ROUNDS: Final = (*range(500, 3001, 250), 3500, 4000)
SHOWN: Final = (500, 1000, 2000, 2750, 4000)
COMPONENTS: Final = 200
WEIGHT_OF_DATA: Final = 24.0
"""As in review.suspects: scikit-learn's C times the number of images."""
AMONG: Final = 4
"""The clusters are made of so many times the images that are asked for, the most doubtful ones."""


@dataclass(frozen=True)
class Pool:
    """The training images, whose labels are revealed, and the held-out ones."""

    features: npt.NDArray[np.float32]
    dx: npt.NDArray[np.object_]
    lesion: Rows
    held_out: npt.NDArray[np.float32]
    truth: npt.NDArray[np.object_]
    class_of: dict[str, str]

    @classmethod
    def of(cls, data: Labelled) -> Pool:
        """Return the pool of a data set, standardised by its training part."""
        from sklearn.decomposition import PCA
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        train = (data.rows["split"] == TRAIN).to_numpy()
        made = make_pipeline(StandardScaler(), PCA(COMPONENTS, random_state=0)).fit(data.pooled[train])
        rows, others = data.rows[train], data.rows[~train]
        return cls(
            features=made.transform(data.pooled[train]).astype(np.float32),
            dx=rows["dx"].to_numpy(dtype=object),
            lesion=pd.factorize(rows["group"])[0].astype(np.int64),
            held_out=made.transform(data.pooled[~train]).astype(np.float32),
            truth=others["label"].to_numpy(dtype=object),
            class_of=dict(zip(data.rows["dx"], data.rows["label"], strict=True)),
        )

    def asked(self, known: Rows, features: npt.NDArray[np.float32]) -> tuple[Floats, Floats]:
        """Return the probabilities of the diagnoses (n, k) and of the classes (n, 3) by a model of the known labels."""
        from sklearn.linear_model import LogisticRegression

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # more iterations change little, as in review.suspects
            model = LogisticRegression(C=WEIGHT_OF_DATA / len(known), max_iter=100)
            model.fit(self.features[known], self.dx[known])
        of_dx = model.predict_proba(features)
        of_class = np.zeros((len(features), len(LABELS)))
        for column, dx in enumerate(model.classes_):
            of_class[:, LABELS.index(self.class_of[dx])] += of_dx[:, column]
        return of_dx, of_class

    def figures(self, known: Rows) -> tuple[float, float]:
        """Return malignant AUROC and balanced accuracy on the held-out images; classes count as if they were equally frequent."""
        from sklearn.metrics import balanced_accuracy_score, roc_auc_score

        _, of_class = self.asked(known, self.held_out)
        likeliest = np.array(LABELS, dtype=object)[(of_class / of_class.mean(axis=0)).argmax(axis=1)]
        auroc = roc_auc_score(self.truth == MALIGNANT, of_class[:, LABELS.index(MALIGNANT)])
        return float(auroc), float(balanced_accuracy_score(self.truth.astype(str), likeliest.astype(str)))


def margin(of_dx: Floats, of_class: Floats) -> Floats:
    """Return how close the two likeliest diagnoses are."""
    first = np.sort(of_dx, axis=1)
    doubt: Floats = first[:, -2] - first[:, -1]
    return doubt


def malignant_or_not(of_dx: Floats, of_class: Floats) -> Floats:
    """Return how close the probability of malignant is to one half."""
    doubt: Floats = -np.abs(of_class[:, LABELS.index(MALIGNANT)] - 0.5)
    return doubt


def malignant(of_dx: Floats, of_class: Floats) -> Floats:
    """Return the probability of malignant."""
    found: Floats = of_class[:, LABELS.index(MALIGNANT)]
    return found


Doubt = Callable[[Floats, Floats], Floats]
RULES: Final[dict[str, tuple[Doubt | None, str]]] = {
    "random": (None, ""),
    "two likeliest diagnoses close": (margin, ""),
    "the same, one image a lesion": (margin, "lesion"),
    "the same, one a lesion, one a cluster": (margin, "cluster"),
    "malignant or not in doubt, one a lesion": (malignant_or_not, "lesion"),
    "likeliest malignant, one a lesion": (malignant, "lesion"),
}


def chosen(pool: Pool, rule: str, known: Rows, count: int, draws: np.random.Generator) -> Rows:
    """Return the rows of which a rule asks the labels next."""
    doubt, spread = RULES[rule]
    rest = np.setdiff1d(np.arange(len(pool.dx)), known)
    if doubt is None:
        return draws.choice(rest, count, replace=False)
    found = doubt(*pool.asked(known, pool.features[rest]))
    order = rest[np.argsort(-found, kind="stable")]
    if not spread:
        return order[:count]
    is_new = ~pd.Series(pool.lesion[order]).duplicated().to_numpy() & ~np.isin(pool.lesion[order], pool.lesion[known])
    order = np.concatenate([order[is_new], order[~is_new]])
    return order[:count] if spread == "lesion" else _one_a_cluster(pool, order[: AMONG * count], count)


def _one_a_cluster(pool: Pool, order: Rows, count: int) -> Rows:
    """Return the most doubtful row of each of so many clusters, and the next ones where a cluster is empty."""
    from sklearn.cluster import MiniBatchKMeans

    cluster = MiniBatchKMeans(count, random_state=0, n_init=1, max_iter=20).fit_predict(pool.features[order])
    is_first = ~pd.Series(cluster).duplicated().to_numpy()
    return np.concatenate([order[is_first], order[~is_first]])[:count]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--set", action="append", dest="settings", metavar="KEY=VALUE")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    pool = Pool.of(labelled(config_of(given.dataset, given.models, given.settings)))
    print("Malignant AUROC / balanced accuracy, mean over the seeds and in brackets the range of the AUROC\n")
    print(f"| asked first | {' | '.join(f'{count:,} labels' for count in SHOWN)} |")
    print(f"|---|{'---|' * len(SHOWN)}")
    for rule in RULES:
        found: dict[int, list[tuple[float, float]]] = {count: [] for count in SHOWN}
        for seed in range(given.seeds):
            draws = np.random.default_rng(seed)
            known = draws.choice(len(pool.dx), FIRST, replace=False)
            for count in ROUNDS:
                known = np.concatenate([known, chosen(pool, rule, known, count - len(known), draws)])
                if count in found:
                    found[count].append(pool.figures(known))
        cells = [
            f"{np.mean([one[0] for one in each]):.3f} ({min(each)[0]:.3f} to {max(each)[0]:.3f}) / {np.mean([one[1] for one in each]):.3f}"
            for each in found.values()
        ]
        print(f"| {rule} | {' | '.join(cells)} |", flush=True)
    auroc, accuracy = pool.figures(np.arange(len(pool.dx)))
    print(f"\nAll {len(pool.dx):,} labels: {auroc:.3f} / {accuracy:.3f}")


if __name__ == "__main__":
    main()
