"""Model files that are damaged, or made to harm: each ends in an error that names the file, soon and in little memory."""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from tests.fuzz.campaign import DAMAGES, bounded
from tests.made_once import MakeOnce

from skinlesion.foundation.errors import DataError
from skinlesion.network import quiet_tensorflow
from skinlesion.network.backbone import BackboneWeights, build_backbone, find_weights
from skinlesion.network.classifier import load_classifier, save_model
from skinlesion.network.model_file_process import LONGEST_CONFIG, MOST_OBJECTS
from skinlesion.network.settings import ModelSettings

SECONDS = 120
MEGABYTES = 700
"""Bounds of time and of further memory for one file, with room for a busy machine."""


@pytest.fixture(scope="module")
def small(make_once: MakeOnce) -> Path:
    """Return a folder with a classifier of one layer, in both formats."""

    def write(folder: Path) -> None:
        quiet_tensorflow.load()
        import keras

        image = keras.Input((224, 224, 3), name="image")
        pooled = keras.layers.GlobalAveragePooling2D(name="pooled")(image)
        model = keras.Model(image, keras.layers.Dense(3, activation="softmax", name="probabilities")(pooled), name="m")
        for suffix in (".h5", ".keras"):
            save_model(model, folder / f"model{suffix}")

    return make_once("small_classifier", write)


@pytest.fixture
def h5(small: Path, tmp_path: Path) -> Path:
    return Path(_copy(small / "model.h5", tmp_path / "model.h5"))


def _copy(source: Path, target: Path) -> Path:
    target.write_bytes(source.read_bytes())
    return target


def _refused(path: Path, load: Callable[[Path], object] = load_classifier) -> str:
    """Return the message of the refusal, which took little time and memory."""
    with bounded(SECONDS, MEGABYTES), pytest.raises(DataError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path} ")
    assert len(message) < 1000
    return message


Config = dict[str, Any]


def _layer(config: Config, name: str) -> Config:
    found: Config = next(one for one in config["config"]["layers"] if one["config"]["name"] == name)
    return found


def _deep(config: Config) -> None:
    value: Any = 1
    for _ in range(200):
        value = {"config": [value]}
    _layer(config, "probabilities")["config"]["bias_constraint"] = value


def _as(class_name: str, **settings: object) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        layer = _layer(config, "pooled")
        layer["class_name"] = class_name
        layer["config"] = {"name": "pooled", **settings}

    return change


def _from(module: str, class_name: str) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        _layer(config, "probabilities")["config"]["kernel_initializer"] = {
            "module": module, "class_name": class_name, "config": {"command": "touch /tmp/harmed"}, "registered_name": None,
        }  # fmt: skip

    return change


CONFIGS: dict[str, Callable[[Config], None]] = {
    "a layer of two thousand million units": lambda config: _layer(config, "probabilities")["config"].update(
        units=2_000_000_000
    ),
    "a layer that makes the image endless": _as("ZeroPadding2D", padding=[[100_000, 100_000], [100_000, 100_000]]),
    "ten thousand times the layers": lambda config: config["config"].update(layers=config["config"]["layers"] * 10_000),
    "nested": _deep,
    "a Lambda layer": _as("Lambda", function=["4wEAAAA=", None, None]),
    "a layer that runs a SavedModel": _as("TFSMLayer", filepath="/etc"),
    "a layer that reads a file": _as("StringLookup", vocabulary="/etc/passwd"),
    "an unknown layer": _as("Attention3000"),
    "a class of another module": _from("subprocess", "Popen"),
    "a function of Keras that downloads": _from("keras.utils", "get_file"),
    "no layers": lambda config: config["config"].update(layers=[]),
    "layers that are no list": lambda config: config["config"].update(layers=7),
    "a class that is no name": lambda config: config.update(class_name=["Functional"]),
}


def _change_h5(path: Path, change: Callable[[Config], None]) -> None:
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change(config)
        # As Keras stores it: in the file's heap, where it may be long.
        del file.attrs["model_config"]
        file.attrs["model_config"] = json.dumps(config)


def _change_keras(path: Path, change: Callable[[Config], None]) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    change(config)
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("what", CONFIGS)
def test_a_configuration_that_asks_for_too_much_or_for_code_is_refused(
    small: Path, tmp_path: Path, what: str, suffix: str
) -> None:
    # Lost before: the process, to a want of memory or to an error of TensorFlow's; `skinlesion predict` ended in a traceback.
    path = _copy(small / f"model{suffix}", tmp_path / f"model{suffix}")
    (_change_h5 if suffix == ".h5" else _change_keras)(path, CONFIGS[what])
    _refused(path)
    assert load_classifier(small / f"model{suffix}").output_shape == (None, 3), "what was refused leaves no trace"


def _virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
    file.create_virtual_dataset("virtual", layout)


def _many_groups(file: h5py.File) -> None:
    for number in range(MOST_OBJECTS + 1):
        file.create_group(f"g{number}")


def _deep_groups(file: h5py.File) -> None:
    group: h5py.Group = file
    for _ in range(MOST_OBJECTS + 1):
        group = group.create_group("g")


def _config_of(value: object) -> Callable[[h5py.File], None]:
    return lambda file: file.attrs.update(model_config=value)


def _put(file: h5py.File, name: str, value: object) -> None:
    if name in file:
        del file[name]
    file[name] = value


KERNEL = "model_weights/probabilities/probabilities/kernel"

HARMS: dict[str, Callable[[h5py.File], object]] = {
    "a link to another file": lambda file: _put(
        file, "model_weights/probabilities", h5py.ExternalLink("other.h5", "/")
    ),
    "a link by name": lambda file: _put(file, "model_weights/again", h5py.SoftLink("/model_weights")),
    "a group within itself": lambda file: _put(file, "model_weights/again", file["model_weights"]),
    "values of another file": lambda file: file.create_dataset(
        "stolen", (100,), "u1", external=[("/etc/passwd", 0, 100)]
    ),
    "a view of another file": _virtual,
    "an array without end": lambda file: file.create_dataset(
        "endless", (10**9, 10**6), "f4", chunks=(1000, 1000), compression="gzip"
    ),
    "too many groups": _many_groups,
    "deep groups": _deep_groups,
    "no configuration": lambda file: file.attrs.pop("model_config"),
    "a configuration that is a number": _config_of(7),
    "a configuration that is no JSON": _config_of("{"),
    "a configuration of brackets": _config_of("[" * 200_000),
    "an endless configuration": _config_of(" " * (LONGEST_CONFIG + 1)),
    "weights of another shape": lambda file: _put(file, KERNEL, np.zeros((3, 4), np.float32)),
}


@pytest.mark.parametrize("what", HARMS)
def test_an_hdf5_file_that_leads_elsewhere_or_has_no_end_is_refused(h5: Path, what: str) -> None:
    with h5py.File(h5, "r+") as file:
        HARMS[what](file)
    _refused(h5)


WEIGHTS = {name: harm for name, harm in HARMS.items() if "configuration" not in name}


@pytest.mark.parametrize("what", WEIGHTS)
def test_weights_that_lead_elsewhere_or_have_no_end_are_refused(h5: Path, what: str) -> None:
    with h5py.File(h5, "r+") as file:
        WEIGHTS[what](file)
    _refused(h5, lambda path: build_backbone(BackboneWeights(path, "hostile")))


def test_a_file_of_a_terabyte_is_not_read(tmp_path: Path) -> None:
    # Lost before: hours, in which the file was hashed.
    path = tmp_path / "large.h5"
    with path.open("wb") as file:
        file.truncate(2**40)
    _refused(path)
    _refused(path, lambda path: find_weights(ModelSettings.of({"weights": str(path)})))


def test_an_archive_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("config.json", "w") as member:
            for _ in range(300):
                member.write(bytes(2**20))
        archive.writestr("model.weights.h5", b"")
    _refused(path)


@pytest.mark.slow
def test_a_file_in_which_hdf5_never_ends_is_refused(h5: Path) -> None:
    # Lost before: the process, which no signal of Python's could interrupt, with more memory every second.
    content = bytearray(h5.read_bytes())
    for at, value in ((2733, 29), (3853, 255), (9120, 24), (9405, 255), (9948, 233), (10530, 255), (14037, 50)):
        content[at] = value
    h5.write_bytes(content)
    _refused(h5)


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("files", [8, pytest.param(120, marks=pytest.mark.slow)])
def test_damaged_files_are_refused_or_loaded(small: Path, tmp_path: Path, suffix: str, files: int) -> None:
    """A number in the weights may change unseen, nothing else may happen."""
    chance, whole = np.random.default_rng(20), (small / f"model{suffix}").read_bytes()
    path, damages, refused = tmp_path / f"damaged{suffix}", list(DAMAGES.values()), 0
    for number in range(files):
        path.write_bytes(damages[number % len(damages)](whole, chance))
        start = time.monotonic()
        try:
            load_classifier(path)
        except DataError as error:
            assert str(error).startswith(f"{path} ")
            refused += 1
        assert time.monotonic() - start < SECONDS
    assert refused > files / 3
