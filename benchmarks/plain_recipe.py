"""The plain recipe that this project replaces, as its users write it: what the benchmark measures against.

Resize with cv2, one image at a time; Augmentor's `sample`; sort into class folders; MobileNetV2 + Dense + Dropout +
softmax(3); ImageDataGenerator with validation_split=0.2; a .h5 file. It augments before it splits, as the recipe does,
so the validation accuracy that it prints is worth little; `--held-out` leaves images out altogether and scores the
trained model on them. The last line printed is one JSON object.
"""

import argparse
import contextlib
import io
import json
import os
import shutil
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
CLASSES = ("malignant", "benign", "unknown")
MALIGNANT, BENIGN = {"mel", "bcc", "scc"}, {"nv", "bkl", "df", "vasc"}

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("dataset", type=Path, help="images/ and diagnoses.csv; only read")
parser.add_argument("work", type=Path, help="is created")
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--weights", default="imagenet", help="`imagenet`, `none` or a .h5 file")
parser.add_argument("--copies", type=int, default=1)
parser.add_argument("--held-out", type=Path, help="JSON: {image: label}; not trained on, scored at the end")
arguments = parser.parse_args()

processed = arguments.work / "processed_images"
output = processed / "output"
processed.mkdir(parents=True)
held_out = json.loads(arguments.held_out.read_text()) if arguments.held_out else {}
seconds: dict[str, float] = {}


def stage(name: str, since: float) -> None:
    """Note how long a stage took."""
    seconds[name] = round(time.perf_counter() - since, 2)
    print(name, seconds[name], flush=True)


start = time.perf_counter()
import cv2

sources = [path for path in sorted((arguments.dataset / "images").glob("*.jpg")) if path.stem not in held_out]
for path in sources:
    cv2.imwrite(str(processed / path.name), cv2.resize(cv2.imread(str(path)), (224, 224)))
stage("resize", start)

start = time.perf_counter()
import Augmentor

with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    pipeline = Augmentor.Pipeline(str(processed))
    pipeline.rotate(probability=0.7, max_left_rotation=10, max_right_rotation=10)
    pipeline.flip_left_right(0.5)
    pipeline.flip_top_bottom(0.5)
    pipeline.zoom_random(probability=0.5, percentage_area=0.8)
    pipeline.random_brightness(probability=0.5, min_factor=0.7, max_factor=1.3)
    pipeline.sample(len(sources) * arguments.copies)
stage("augment", start)

start = time.perf_counter()
import pandas as pd

diagnoses = pd.read_csv(arguments.dataset / "diagnoses.csv").set_index("image")["dx"].str.lower()
for name in CLASSES:
    (output / name).mkdir(exist_ok=True)
for path in [*processed.glob("*.jpg"), *output.glob("*.jpg")]:
    # Augmentor names a copy "<folder>_original_<image>.jpg_<uuid>.jpg"
    image = path.name.split("_original_")[-1].split(".jpg")[0]
    diagnosis = diagnoses.get(image, "unk")
    name = "malignant" if diagnosis in MALIGNANT else "benign" if diagnosis in BENIGN else "unknown"
    shutil.move(path, output / name)
stage("organize", start)

start = time.perf_counter()
import tensorflow as tf

tf.keras.utils.set_random_seed(0)
weights = None if arguments.weights == "none" else arguments.weights
base = tf.keras.applications.MobileNetV2(weights=weights, include_top=False, input_shape=(224, 224, 3))
base.trainable = False
model = tf.keras.Sequential(
    [
        base,
        tf.keras.layers.GlobalAveragePooling2D(),
        tf.keras.layers.Dense(128, activation="relu"),
        tf.keras.layers.Dropout(0.5),
        tf.keras.layers.Dense(3, activation="softmax"),
    ]
)
model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
(arguments.work / "models").mkdir()
model.save(arguments.work / "models" / "skin_lesion_classifier.h5")
stage("build", start)

start = time.perf_counter()
generator = tf.keras.preprocessing.image.ImageDataGenerator(rescale=1 / 255, validation_split=0.2)
train, validation = (
    generator.flow_from_directory(
        str(output),
        subset=subset,
        target_size=(224, 224),
        batch_size=32,
        class_mode="categorical",
        classes=list(CLASSES),
    )
    for subset in ("training", "validation")
)


class EpochTimes(tf.keras.callbacks.Callback):
    """How long each epoch took, its validation included."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        """Start the clock."""
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        """Stop the clock."""
        self.seconds.append(round(time.perf_counter() - self._start, 2))


times = EpochTimes()
history = model.fit(train, validation_data=validation, epochs=arguments.epochs, verbose=2, callbacks=[times])
model.save(arguments.work / "models" / "skin_lesion_classifier_trained.h5")
stage("train", start)

result = {
    "seconds": seconds,
    "total": round(sum(seconds.values()), 2),
    "images": len(sources),
    "files": train.n + validation.n,
    "epochs": arguments.epochs,
    "epoch_seconds": times.seconds,
    "val_accuracy": round(history.history["val_accuracy"][-1], 4),
}
if held_out:
    import numpy as np
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score

    pixels = np.stack(
        [
            cv2.cvtColor(
                cv2.resize(cv2.imread(str(arguments.dataset / "images" / f"{image}.jpg")), (224, 224)),
                cv2.COLOR_BGR2RGB,
            )
            for image in held_out
        ]
    )
    probabilities = np.concatenate(
        [model.predict(part / 255.0, verbose=0) for part in np.array_split(pixels, len(pixels) // 256 + 1)]
    )
    labels = np.array(list(held_out.values()))
    predicted = np.array(CLASSES)[probabilities.argmax(axis=1)]
    result["held_out"] = {
        "images": len(labels),
        "balanced_accuracy": round(float(balanced_accuracy_score(labels, predicted)), 4),
        "malignant_auroc": round(float(roc_auc_score(labels == "malignant", probabilities[:, 0])), 4),
    }
print(json.dumps(result))
