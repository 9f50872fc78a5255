"""Make a night take a second: a network of a few thousand weights, a quick fit and plots that are not drawn.

Everything around them is the product's own: what is read, judged, written, renamed and registered, and in which order. The
files of a training that can be resumed are written as always, and equal inputs lead to equal weights.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
from tests.small_backbone import small_backbone

BATCHES_AN_EPOCH: Final = 2
MODELS_KEPT: Final = 8
_DOT: Final = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


def install() -> None:
    """Put the stand-ins in the place of the product's slow parts, in this process."""
    import keras
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
        (keras.Model, "fit", quick_fit),
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
    """Return what loads a model of the same bytes once, for all who only look at it. Training, which changes it, loads anew."""
    known: dict[str, Any] = {}

    def loaded(path: Path) -> Any:
        if sys._getframe(1).f_code.co_name == "train_tails" or not path.is_file():
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


def quick_fit(self: Any, x: Any, *, initial_epoch: int, epochs: int, callbacks: Any, **_: Any) -> None:
    """Train a few batches an epoch by plain gradient steps, with the callbacks that Keras would call."""
    import tensorflow as tf

    variables = self.trainable_variables
    if not self.optimizer.built:
        self.optimizer.build(variables)
    for callback in callbacks:
        callback.set_model(self)
    self.stop_training = False
    for callback in callbacks:
        callback.on_train_begin({})
    averages = self.optimizer._model_variables_moving_average
    for epoch in range(initial_epoch, epochs):
        for callback in callbacks:
            callback.on_epoch_begin(epoch, {})
        loss = tf.zeros(())
        for number in range(min(BATCHES_AN_EPOCH, len(x))):
            inputs, targets, _weights = x[number]
            with tf.GradientTape() as tape:
                found = self(inputs, training=False)
                pairs = zip(found, targets, strict=True) if isinstance(targets, tuple) else [(found, targets)]
                terms = [-tf.reduce_mean(tf.reduce_sum(wanted * tf.math.log(p + 1e-6), axis=1)) for p, wanted in pairs]
                loss = tf.add_n(terms)
            for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
                if gradient is not None:
                    variable.assign(variable - 0.05 * gradient)
        for variable, average in zip(variables, averages, strict=True):
            average.assign((variable + average) / 2)
        for callback in callbacks:
            callback.on_epoch_end(epoch, {"loss": float(loss)})
        if self.stop_training:
            break
