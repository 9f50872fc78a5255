"""Files that mean harm, as far as the server: refused with a reason, and the next image is answered."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from tests.data.images.pictures import encoded
from tests.prediction.real_server import Models, Served, drawn, problem, served


def grey(width: int, height: int, level: int = 0) -> Image.Image:
    return Image.new("L", (width, height), level)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', "a drawing (SVG), which is not read"),
        (b"<!doctype html><script>alert(1)</script>", "a web page in the place of the image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", "a PostScript file, which is not read"),
        (encoded(grey(5000, 5001), "PNG"), "5000x5001 pixels; at most 25,000,000"),  # a bomb
        (b"GIF89a/*" + bytes(20) + b"*/=1;alert(1)", ""),  # a script too
        (encoded(grey(8, 8), "PNG"), "at least 32 on the short side"),
        (encoded(grey(64, 64), "GIF", save_all=True, append_images=[grey(64, 64, 255)]), "frames in one file"),
    ],
    ids=["svg", "html", "postscript", "bomb", "gif that is a script", "tiny", "film"],
)
def test_a_harmful_file_is_refused_with_its_reason(content: bytes, reason: str, shared: Served) -> None:
    assert reason in problem(shared.predict(content), 422)["detail"]
    assert shared.predict(drawn(1)).status_code == 200


def test_nothing_of_an_image_is_logged_or_written(
    models: Models, caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    caplog.set_level("DEBUG")
    with served(models.folder) as server:
        before = set(tmp_path.rglob("*"))
        for content, status in ((drawn(1, (600, 450)), 200), (b"no image", 422)):
            response = server.client.post("/v1/predict", files=[("images", ("patient-mueller.jpg", content))])
            assert response.status_code == status
        assert set(tmp_path.rglob("*")) == before
    logged = [one.getMessage() for one in caplog.records if one.name.startswith(("skinlesion", "uvicorn"))]
    assert logged
    assert "mueller" not in "".join(logged)
