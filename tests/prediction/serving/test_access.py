"""Who may call: the token, and where the server may listen without one."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from skinlesion.foundation.errors import DataError
from skinlesion.prediction.serving.settings import ServerSettings, api_token

TOKEN = "0123456789abcdef0123"


def test_with_a_token_the_api_wants_it_and_the_page_and_health_do_not(
    models: Any, serve: Any, drawn: Callable[..., bytes], problem: Any
) -> None:
    with serve(models.folder, token=TOKEN) as served:
        assert served.predict(drawn(1)).status_code == 200
        del served.client.headers["Authorization"]
        for path in ("/", "/static/page.js", "/examples/naevus.jpg", "/healthz", "/readyz", "/openapi.json"):
            assert served.client.get(path).status_code == 200, path
        for path in ("/v1/model", "/v1/model/card", "/metrics"):
            response = served.client.get(path)
            assert response.status_code == 401, path
            assert response.headers["www-authenticate"].startswith("Bearer")
            assert "Authorization: Bearer" in problem(response)["detail"]


def test_a_thousand_wrong_tokens_are_refused_without_reading_the_images(
    models: Any, serve: Any, drawn: Callable[..., bytes]
) -> None:
    with serve(models.folder, token=TOKEN) as served:
        image = drawn(1)
        start = time.monotonic()
        for number in range(1000):
            wrong = (f"Bearer {TOKEN[:-1]}{number}", f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}\xe9")[number % 4]
            response = served.predict(image, headers={"Authorization": wrong.encode("latin-1")})
            assert response.status_code == 401
        assert time.monotonic() - start < 60
        assert served.predict(image).status_code == 200


def test_the_description_of_the_api_names_the_token(models: Any, serve: Any) -> None:
    with serve(models.folder, token=TOKEN) as served:
        described = served.client.get("/openapi.json").json()
        assert described["paths"]["/v1/predict"]["post"]["security"] == [{"token": []}]
        assert "security" not in described["paths"]["/healthz"]["get"]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.9.1"])
def test_only_this_machine_needs_no_token(host: str) -> None:
    assert api_token(ServerSettings.of({"host": host})) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org"])
def test_a_server_that_others_can_reach_does_not_start_without_a_token(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="SKINLESION_API_TOKEN"):
        api_token(ServerSettings.of({"host": host}))
    monkeypatch.setenv("SKINLESION_API_TOKEN", TOKEN)
    token = api_token(ServerSettings.of({"host": host}))
    assert token is not None
    assert TOKEN not in repr(token)


@pytest.mark.parametrize("token", ["short", "with a space in the middle", "umlaut-äöü-umlaut-äöü"])
def test_a_token_that_is_no_good_is_refused_without_being_shown(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKINLESION_API_TOKEN", token)
    with pytest.raises(DataError, match="SKINLESION_API_TOKEN: expected at least 16") as refused:
        api_token(ServerSettings.of({}))
    assert token not in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ports": "1"}, "The server has no setting `ports`"),
        ({"port": "70000"}, "Setting `port` of the server"),
        ({"max_images": "0"}, "greater than or equal to 1"),
        ({"upload_seconds": "soon"}, "valid number"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, str], said: str) -> None:
    with pytest.raises(DataError, match=said):
        ServerSettings.of(settings)


def serving(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from skinlesion.command_line.main import main; main()", "serve", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_ends_with_one_sentence_where_it_may_not_or_cannot_listen(shared: Any) -> None:
    for arguments, said in (
        (("--host", "0.0.0.0"), "without a token"),
        (("--port", str(shared.port)), f"Cannot listen on 127.0.0.1 port {shared.port}"),
    ):
        ended = serving(*arguments)
        assert ended.returncode == 2
        assert said in ended.stderr.replace("\n", " ")
        assert "Traceback" not in ended.stderr
