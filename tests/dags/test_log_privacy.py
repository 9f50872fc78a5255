"""Canaries in names, metadata, case ids, diagnoses and pixels: none of them is in any file, log line, metric or XCom of the log."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageCms
from tests.dags.run_dag import RunDag
from tests.prediction.conftest import empty_models, models
from tests.prediction.real_server import Models, drawn, served

from skinlesion.prediction.classifier import pixels_for_model
from skinlesion.prediction.log import diagnoses
from skinlesion.prediction.log.entries import LogKey

__all__ = ["empty_models", "models"]

CANARY = "Kanarienvogel"
NUMBER = "4711081500329764"  # four digits alone stand in some time or figure by chance
CASE, OTHER = f"Station-{CANARY}-{NUMBER}", f"{CANARY}-as-table"


def picture() -> bytes:
    """Return a JPEG whose EXIF data, comment and colour profile speak of a person."""
    image = Image.open(io.BytesIO(drawn(3)))
    exif = image.getexif()
    exif[0x013B] = exif[0x010E] = exif[0x9C9B] = f"{CANARY} was here"
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    found = io.BytesIO()
    image.save(
        found, "JPEG", quality=92, exif=exif, icc_profile=bytes(profile) + CANARY.encode(), comment=CANARY.encode()
    )
    return found.getvalue()


def texts(folder: Path) -> dict[str, bytes]:
    """Return all that the files of a folder hold, tables unpacked."""
    found = {}
    for path in (path for path in folder.rglob("*") if path.is_file()):
        found[str(path)] = path.name.encode() + path.read_bytes()
        if path.suffix == ".parquet":
            found[str(path)] += pd.read_parquet(path).to_csv().encode()
    return found


def test_no_canary_is_found_anywhere(
    run_dag: RunDag, models: Models, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    content, folder = picture(), tmp_path / "log"
    pixels = pixels_for_model(content, max_pixels=10**8, min_side=32)
    decoded = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    with served(models.folder, log=str(folder)) as server:
        name = f"{CANARY} Erika.jpg"
        files = [("images", (name, content, "image/jpeg")), ("images", (name, CANARY.encode(), "image/jpeg"))]
        answer = server.client.post("/v1/predict", files=files, data={"case": CASE}).raise_for_status()
        assert answer.json()["predictions"][0]["logged"]
        for late in (
            {"case": CASE, "dx": "mel"},
            {"case": CASE, "dx": CANARY},
            {"case": CASE, CANARY: "mel", "dx": "mel"},
        ):
            server.client.post("/v1/diagnoses", json={"diagnoses": [late]})
        seen = texts(folder) | {"metrics while it runs": server.metrics().encode()}
    table = tmp_path / "late.csv"
    table.write_text(f"case,dx\n{OTHER},nv\n")
    diagnoses.add(folder, diagnoses.of_table(LogKey.of(folder), table))
    environment = {
        "SKINLESION_MODELS": str(models.folder),
        "SKINLESION_DATASET": str(tmp_path / "none"),
        "SKINLESION_PREDICTION_LOG": str(folder),
    }
    run = run_dag("skin_lesion_monitor", {}, None, environment)
    assert run["state"] == "success"
    seen |= texts(folder) | {"monitor.json": (models.folder / "monitor.json").read_bytes()}
    # What `httpx` logs is the client's.
    lines = [record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    seen |= {
        "the server's log": "\n".join(lines).encode(),
        "the run and its XComs": json.dumps(run, default=str).encode(),
    }
    sha256 = hashlib.sha256(content)
    unwanted = {
        "the canary": CANARY.encode(),
        "the number of the case": NUMBER.encode(),
        "the file": content[200:260],
        "the file in Base64": base64.b64encode(content[300:360]),
        "its pixels": decoded[60:61, 60:80].tobytes(),
        "the pixels that the model saw": pixels[100:101, 100:120].tobytes(),
        "an unkeyed hash of the file": sha256.hexdigest()[:16].encode(),
        "the same in bytes": sha256.digest()[:12],
        "an unkeyed hash of the pixels": hashlib.sha256(pixels.tobytes()).hexdigest()[:16].encode(),
        "an unkeyed hash of the case": hashlib.sha256(CASE.encode()).hexdigest()[:16].encode(),
    }
    assert len(seen) >= 6
    assert [(what, where) for where, text in seen.items() for what, part in unwanted.items() if part in text] == []
