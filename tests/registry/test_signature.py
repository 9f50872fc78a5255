"""Whoever can write models/ can put a model in service; only who has the key can put one there that is used."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.measured import known
from tests.registry.trained import trained

from skinlesion.foundation import layout
from skinlesion.foundation.checksum import sha256_of
from skinlesion.foundation.errors import DataError
from skinlesion.prediction.classifier import model_file
from skinlesion.prediction.serving.served_model import load
from skinlesion.registry import in_service
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.model_files import RECORD, TFLITE
from skinlesion.registry.register import register
from skinlesion.registry.signature import PRIVATE, PUBLIC, SIGNATURE, key_folder, make_keys
from skinlesion.registry.switch import promote, rollback


def put(models: Path, number: int) -> None:
    promote(models, number, actor="somebody", reason="a test")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return Airflow's home of this test, without keys."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def keys(home: Path) -> Path:
    make_keys(key_folder())
    return key_folder()


@pytest.fixture
def models(tmp_path: Path, keys: Path) -> Path:
    """Return a folder of the signed versions 1 and 2, of which 2 is in service."""
    for run in ("one", "two"):
        register(tmp_path / "models", trained(tmp_path / "models", run))
    put(tmp_path / "models", 2)
    return tmp_path / "models"


@pytest.fixture
def required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKINLESION_REQUIRE_SIGNATURE", "true")


def release(models: Path) -> Path:
    return layout.release_in_service(models).resolve()


def forge(models: Path) -> None:
    """Put another model in service as somebody does who may write to models/: with a record that fits it."""
    content, path = b"a model that calls everything benign", release(models) / TFLITE
    path.chmod(0o600)
    path.write_bytes(content)
    record = json.loads((release(models) / RECORD).read_text())
    record["sha256"][TFLITE] = sha256_of(content)
    (release(models) / RECORD).write_text(json.dumps(record))


def test_what_was_signed_at_registration_is_used_after_each_switch(models: Path, required: None) -> None:
    assert model_file(models).name == TFLITE
    put(models, 1)
    rollback(models, actor="somebody", reason="a test")
    assert model_file(models).parent == release(models)
    assert known(in_service.read(models)).version == 2


@pytest.mark.parametrize("use", [model_file, lambda models: load(models, 1)], ids=["predict", "serve"])
def test_a_model_that_nobody_signed_is_not_used(models: Path, use: Callable[[Path], object]) -> None:
    # Lost before: it answered, and its files had the SHA-256 of their record.
    forge(models)
    assert known(in_service.read(models)).is_whole()
    with pytest.raises(DataError, match=rf"{SIGNATURE} of version 2 does not verify .*Hash mismatch for '{TFLITE}'"):
        use(models)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"verificationMaterial": {}}', b"\xff\x00", None])
def test_a_damaged_signature_or_that_of_another_version_does_not_verify(models: Path, content: bytes | None) -> None:
    other = (layout.registry(models) / "signatures" / "1.sig").read_bytes()
    (release(models) / SIGNATURE).write_bytes(other if content is None else content)
    with pytest.raises(DataError, match="does not verify"):
        model_file(models)


def test_a_signature_with_another_key_does_not_verify(models: Path, tmp_path: Path, keys: Path) -> None:
    make_keys(tmp_path / "stranger")
    (keys / PUBLIC).write_bytes((tmp_path / "stranger" / PUBLIC).read_bytes())
    with pytest.raises(DataError, match="does not verify"):
        model_file(models)
    with pytest.raises(DataError, match="does not verify"):
        put(models, 1)
    assert known(in_service.read(models)).version == 2, "nothing has changed"


def test_without_its_signature_a_version_is_refused_where_signatures_are_required(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (release(models) / SIGNATURE).unlink()
    (layout.registry(models) / "signatures" / "1.sig").unlink()
    model_file(models)
    monkeypatch.setenv("SKINLESION_REQUIRE_SIGNATURE", "true")
    with pytest.raises(DataError, match=r"is not signed .*requires signatures"):
        model_file(models)
    with pytest.raises(DataError, match=r"is not signed .*requires signatures"):
        put(models, 1)


def test_a_version_that_lost_its_signature_is_signed_when_it_is_registered_again(models: Path, required: None) -> None:
    (layout.registry(models) / "signatures" / "1.sig").unlink()
    assert register(models, Candidate(layout.candidate(models, "one"))).number == 1
    put(models, 1)


def test_without_keys_everything_works_unsigned_and_requiring_signatures_fails_closed(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "models"
    register(models, trained(models, "one"))
    put(models, 1)
    assert model_file(models).name == TFLITE
    assert not (layout.registry(models) / "signatures").exists()
    monkeypatch.setenv("SKINLESION_REQUIRE_SIGNATURE", "true")
    with pytest.raises(DataError, match="there is no public key"):
        model_file(models)


@pytest.mark.parametrize("name", ["SKINLESION_SIGNING_KEY", "SKINLESION_VERIFYING_KEY"])
def test_a_key_that_is_named_and_missing_is_not_the_same_as_none(
    tmp_path: Path, keys: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, str(tmp_path / "nowhere.pem"))
    with pytest.raises(DataError, match=r"nowhere\.pem is missing"):
        register(tmp_path / "models", trained(tmp_path / "models", "one"))


def test_a_key_that_everybody_can_read_is_not_used(tmp_path: Path, keys: Path) -> None:
    (keys / PRIVATE).chmod(0o644)
    with pytest.raises(DataError, match="can be read by everybody"):
        register(tmp_path / "models", trained(tmp_path / "models", "one"))


def test_keys_are_made_once_and_the_private_one_is_the_owners(keys: Path) -> None:
    assert (keys / PRIVATE).stat().st_mode & 0o777 == 0o600
    before = {path.name: path.read_bytes() for path in keys.iterdir()}
    make_keys(keys)
    assert {path.name: path.read_bytes() for path in keys.iterdir()} == before
    assert before.keys() == {PRIVATE, PUBLIC}


def test_another_program_of_the_format_verifies_a_release(models: Path, keys: Path) -> None:
    command = [
        sys.executable, "-m", "model_signing", "verify", "key", str(release(models)), "--ignore_unsigned_files",
        "--signature", str(release(models) / SIGNATURE), "--public_key", str(keys / PUBLIC),
    ]  # fmt: skip
    assert subprocess.run(command, capture_output=True).returncode == 0
    forge(models)
    assert subprocess.run(command, capture_output=True).returncode != 0
