from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.stages.data_set import DataSet, snapshot

from skinlesion.foundation import layout
from skinlesion.network.backbone import activations_folder
from skinlesion.network.built_model import require_built_model
from skinlesion.network.settings import POOLED
from skinlesion.stages.build import build


def frozen(embedded: DataSet, cut: str = POOLED) -> Path:
    weights_key = require_built_model(embedded.config().models).weights_key
    return activations_folder(embedded.folder, weights_key, cut, 8) / "frozen_part.tflite"


def test_a_second_build_does_nothing(embedded: DataSet, tmp_path: Path) -> None:
    before = snapshot(tmp_path)
    assert build(embedded.config()).done == 0
    assert snapshot(tmp_path) == before


def test_a_damaged_model_is_built_again_the_same(embedded_with_mobilenetv2: DataSet) -> None:
    settings = embedded_with_mobilenetv2.config()
    path = layout.built_model(settings.models)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert build(settings).done == 1
    assert path.read_bytes() == whole


@pytest.mark.parametrize("content", [None, b"", b"garbage"])
def test_a_lost_or_damaged_frozen_part_is_converted_again_and_the_model_stays(
    embedded: DataSet, content: bytes | None
) -> None:
    settings = embedded.config()
    model = layout.built_model(settings.models).stat().st_mtime_ns
    frozen(embedded).unlink()
    if content is not None:
        frozen(embedded).write_bytes(content)
    assert build(settings).done == 1
    assert frozen(embedded).stat().st_size > 1_000
    assert layout.built_model(settings.models).stat().st_mtime_ns == model


def test_another_cut_gets_a_frozen_part_of_its_own(embedded: DataSet) -> None:
    assert build(embedded.config(fine_tune="tail", cut="block_12_add")).done == 1
    assert frozen(embedded, "block_12_add").is_file()
    assert frozen(embedded).is_file()


def test_training_on_the_images_needs_no_frozen_part(embedded: DataSet) -> None:
    shutil.rmtree(layout.features(embedded.folder))
    assert build(embedded.config(loader="image-data-generator")).done == 0
    assert not layout.features(embedded.folder).exists()


EMBED = """
import sys
from skinlesion.stages.embed import embed
from skinlesion.stages.settings import PipelineConfig

places = {"dataset": sys.argv[1], "models": sys.argv[2]}
report = embed(PipelineConfig.of({**places, "weights": "random", "fine_tune": "none", "force": True}))
print(report.done, "tensorflow" in sys.modules)
"""


def test_embed_after_build_never_imports_tensorflow(embedded: DataSet) -> None:
    places = [str(embedded.folder), str(embedded.config().models)]
    said = subprocess.run([sys.executable, "-c", EMBED, *places], capture_output=True, text=True, check=True).stdout
    done, has_tensorflow = said.split()[-2:]
    assert int(done) > 0
    assert has_tensorflow == "False"
