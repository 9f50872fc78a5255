"""Draw the pictures, train the backbone, and write its weights into the package.

    .venv/bin/python -m tools.drawn_backbone

It takes a night on two cores at most; docs/experiments.md says how long it took and what came of it.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from skinlesion.data.settings import IMAGE_SIDE
from skinlesion.foundation.checksum import sha256_of
from skinlesion.network import quiet_tensorflow
from skinlesion.network.backbone import DRAWN_FILE, BackboneWeights, build_backbone

if TYPE_CHECKING:
    import keras
    from tools.drawn_backbone.pictures import Pictures

    from skinlesion.data.sources.drawn.noise import Array

log = logging.getLogger("drawn_backbone")

SIDE = 96
BATCH = 64
PHASES = ((64, 256_000), (96, 38_400))
"""Side of the pictures and number of pictures seen, one phase after the other: small ones first."""

SPREAD = 0.5
"""Standard deviation of the pooled activations, as ImageNet's weights have it, which the learning rate of the head suits."""

LINE = 500
"""Steps between two lines of the log; what is trained so far is kept as often."""


def main() -> None:
    """Train as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=60_000, help="number of pictures that are drawn")
    parser.add_argument("--share", type=float, default=1.0, help="share of the training, to try it out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2, help="processes that draw")
    parser.add_argument("--output", type=Path, default=DRAWN_FILE)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")

    from tools.drawn_backbone.pictures import draw_pictures  # before TensorFlow: it starts processes

    log.info("Drawing %d pictures", options.pictures)
    pictures = draw_pictures(options.pictures, SIDE, options.seed, options.processes)
    held_out = draw_pictures(2_000, SIDE, options.seed + 1, options.processes)
    full_size = draw_pictures(256, IMAGE_SIDE, options.seed + 2, options.processes).pixels
    backbone = trained(pictures, held_out, full_size, options.seed, options.share, options.output)
    write_backbone(backbone, full_size, options.output)
    log.info("%s: %d bytes, SHA-256 %s", options.output, options.output.stat().st_size, sha256_of(options.output))


def trained(
    pictures: Pictures, held_out: Pictures, full_size: Array, seed: int, share: float, output: Path
) -> keras.Model:
    """Return the trained backbone, whose input is of any size, -1..1. What is trained so far is kept beside `output`."""
    quiet_tensorflow.load()
    import keras
    from tools.drawn_backbone.batches import ANSWERS, Batches, loss
    from tools.drawn_backbone.pictures import MEASURED

    keras.utils.set_random_seed(seed)
    backbone = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(None, None, 3))
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.97  # so that what is measured on held-out pictures keeps up with the training
    pooled = keras.layers.GlobalAveragePooling2D()(backbone.output)
    model = keras.Model(backbone.input, keras.layers.Dense(ANSWERS + MEASURED)(pooled))
    plan = [(side, round(seen * share / BATCH)) for side, seen in PHASES]
    steps = sum(count for _, count in plan)
    rate = keras.optimizers.schedules.CosineDecay(
        1e-4, steps - steps // 20, warmup_target=2e-3, warmup_steps=steps // 20, alpha=0.01
    )
    model.compile(keras.optimizers.AdamW(rate, weight_decay=0.02, clipnorm=5.0), loss=loss)
    for side, count in plan:
        batches, checks = (
            Batches(some, side, BATCH, np.random.default_rng((seed, side, part)))
            for part, some in enumerate((pictures, held_out))
        )
        for step in range(1, count + 1):
            model.train_on_batch(*batches.draw())
            if step % LINE == 0 or step == count:
                model.reset_metrics()
                measured = [model.test_on_batch(*checks.draw()) for _ in range(10)][-1]  # Keras keeps the mean
                log.info("%d pixels, step %d of %d: loss on held-out pictures %.3f", side, step, count, measured)
                write_backbone(backbone, full_size, output.with_name(f"part-{output.name}"))
    return backbone


def write_backbone(trained: keras.Model, full_size: Array, path: Path) -> None:
    """Write the weights as float16 in Keras's layout, fitted to pictures of 224 pixels.

    At 224 pixels the statistics of BatchNormalization differ from those of the small pictures of the training (Touvron et
    al., arXiv:1906.06423), so that they are measured anew, on `full_size`, drawn pictures, uint8 (256, 224, 224, 3). The
    last layer is scaled so that the pooled activations vary by `SPREAD`.
    """
    import keras

    backbone = build_backbone(BackboneWeights(None, "untrained"))
    backbone.set_weights(trained.get_weights())
    layers = [layer for layer in backbone.layers if isinstance(layer, keras.layers.BatchNormalization)]
    network = keras.Model(backbone.inputs[0], keras.layers.GlobalAveragePooling2D()(backbone.output))
    batches = np.array_split(full_size.astype(np.float32), 8)
    for number, batch in enumerate(batches):
        for layer in layers:
            layer.momentum = number / (number + 1)  # the mean of the batches so far
        network(batch, training=True)
    pooled = np.concatenate([network(batch, training=False) for batch in batches])
    for weight in (layers[-1].gamma, layers[-1].beta):
        weight.assign(weight * (SPREAD / pooled.std(0).mean()))
    full = path.with_name(f"{path.name}.float32.weights.h5")
    backbone.save_weights(full)
    with h5py.File(full) as source, h5py.File(path, "w", libver="latest") as target:
        _copy(source, target)
    full.unlink()


def _copy(source: h5py.Group, target: h5py.Group) -> None:
    """Copy all that a file of weights holds, numbers as float16."""
    for name, value in source.attrs.items():
        target.attrs[name] = value
    for name, item in source.items():
        if isinstance(item, h5py.Group):
            _copy(item, target.create_group(name))
        else:
            target.create_dataset(name, data=item[()].astype(np.float16)).attrs.update(item.attrs)


if __name__ == "__main__":
    main()
