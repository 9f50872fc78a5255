"""Make a night take a second: a network of a few thousand weights, a plain optimizer and plots that are not drawn.

Everything around them is the product's own: what is read, judged, written, renamed and registered, and in which order. The
files of a training that can be resumed are written as always, and equal inputs lead to equal weights.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

import numpy as np
from tests.small_backbone import small_backbone

MODELS_KEPT: Final = 8
_DOT: Final = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


def install() -> None:
    """Put the stand-ins in the place of the product's slow parts, in this process."""
    from jinja2 import Environment

    from skinlesion.evaluation import mistakes, plots
    from skinlesion.network import classifier
    from skinlesion.stages import evaluate, promote
    from skinlesion.training import fit

    names = ("confusion_matrix", "roc", "reliability", "history", "risk_coverage", "robustness")
    changes: tuple[tuple[Any, str, Any], ...] = (
        (classifier, "build_backbone", small_backbone),
        (classifier, "load_classifier", _loaded_once(classifier.load_classifier)),
        (fit, "_compile", compile_quickly),
        (plots, "all_pngs", lambda metrics, history: dict.fromkeys(names, _DOT)),
        (evaluate, "smoke_set", lambda originals: [("blank", np.zeros_like(originals[0]))]),
        (mistakes, "worst_mistakes", lambda *_: []),
        (promote, "mirror", mirror),
        (Environment, "compile", _compiled_once(Environment.compile)),
    )
    for module, name, stand_in in changes:
        getattr(module, name)  # it must be there: a stand-in for nothing would go unnoticed
        setattr(module, name, stand_in)


class MLflow:
    """Whether MLflow answers."""

    is_away = False


def mirror(config: Any) -> list[int]:
    """Do what the mirror does where MLflow has everything already, or is away."""
    from skinlesion.promotion.mlflow_mirror import RunLogUnavailable

    if MLflow.is_away:
        raise RunLogUnavailable("MLflow does not answer")
    return []


def fewer_buckets() -> None:
    """Store the tables of a stage in few parts. Call it before anything that reads the number is imported."""
    from skinlesion.foundation import shard

    shard.BUCKETS = 4  # type: ignore[misc]


def _compiled_once(compile_template: Any) -> Any:
    known: dict[tuple[Any, ...], Any] = {}

    def compiled(self: Any, source: Any, name: Any = None, filename: Any = None, *rest: Any, **options: Any) -> Any:
        key = (str(source), name, filename, rest, tuple(options.items()))
        if key not in known:
            known[key] = compile_template(self, source, name, filename, *rest, **options)
        return known[key]

    return compiled


def _loaded_once(load: Any) -> Any:
    """Return what loads a model of the same bytes once, for all who only look at it.

    Training, which changes the model, has taken what loads it anew before this stands in for it.
    """
    known: dict[str, Any] = {}

    def loaded(path: Path) -> Any:
        if not path.is_file():
            return load(path)
        key = hashlib.sha256(path.read_bytes()).hexdigest()
        if key not in known:
            while len(known) > MODELS_KEPT:
                known.pop(next(iter(known)))
            known[key] = load(path)
        return known[key]

    return loaded


def compile_quickly(part: Any, phase: Any, config: Any) -> None:
    """Compile with an optimizer that keeps an average of the weights, as the product's does."""
    import keras

    optimizer = keras.optimizers.SGD(0.05, use_ema=True, ema_momentum=0.5)
    losses = [keras.losses.CategoricalCrossentropy() for _ in phase.loss_weights]
    part.compile(optimizer=optimizer, loss=losses if len(losses) > 1 else losses[0], run_eagerly=True)
