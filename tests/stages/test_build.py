from __future__ import annotations

import subprocess
import sys

import pytest

from skinlesion.foundation import layout
from skinlesion.network.built_model import require_built_model
from skinlesion.network.frozen_part import frozen_part_path
from skinlesion.network.settings import POOLED
from skinlesion.stages.build import build


@pytest.fixture
def frozen(tmp_path):
    def path(cut=POOLED):
        return frozen_part_path(tmp_path / "dataset", require_built_model(tmp_path / "models").weights_key, cut, 8)

    return path


@pytest.fixture
def head_only(config):
    return lambda **more: config(fine_tune="none", **more)


def test_a_second_build_does_nothing(head_only, tmp_path, snapshot):
    assert build(head_only()).done == 1
    before = snapshot(tmp_path)
    assert build(head_only()).done == 0
    assert snapshot(tmp_path) == before


def test_a_damaged_model_is_built_again_the_same(head_only, tmp_path):
    build(head_only())
    path = layout.built_model(tmp_path / "models")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert build(head_only()).done == 1
    assert path.read_bytes() == whole


@pytest.mark.parametrize("content", [None, b"", b"garbage"])
def test_a_lost_or_damaged_frozen_part_is_converted_again_and_the_model_stays(head_only, tmp_path, frozen, content):
    build(head_only())
    model = layout.built_model(tmp_path / "models").stat().st_mtime_ns
    if content is None:
        frozen().unlink()
    else:
        frozen().write_bytes(content)
    assert build(head_only()).done == 1
    assert frozen().stat().st_size > 1_000_000
    assert layout.built_model(tmp_path / "models").stat().st_mtime_ns == model


def test_another_cut_gets_a_frozen_part_of_its_own(config, frozen):
    build(config(fine_tune="none"))
    assert build(config(fine_tune="tail", cut="block_15_add")).done == 1
    assert frozen("block_15_add").is_file()
    assert frozen(POOLED).is_file()


def test_training_on_the_images_needs_no_frozen_part(config, tmp_path):
    build(config(loader="image-data-generator"))
    assert not layout.features(tmp_path / "dataset").exists()


def test_embed_after_build_never_imports_tensorflow(processed, head_only, frozen):
    settings = head_only()
    build(settings)
    code = (
        "import sys; from pathlib import Path; from skinlesion.stages.settings import PipelineConfig; "
        "from skinlesion.stages.embed import embed; "
        f"config = PipelineConfig.of({{'dataset': Path({str(settings.dataset)!r}), "
        f"'models': Path({str(settings.models)!r}), 'weights': 'random', 'fine_tune': 'none'}}); "
        "print(embed(config).done, 'tensorflow' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    done, has_tensorflow = said.split()[-2:]
    assert int(done) > 0
    assert has_tensorflow == "False"
