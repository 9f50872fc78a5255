"""Who may call: the token, and where the server may listen without one."""

from __future__ import annotations

import sys

import pytest
from tests.measured import known
from tests.prediction.real_server import Models, Served, answer_to, drawn, problem, served, upload_head
from tests.trained import skinlesion

from skinlesion.foundation.errors import DataError
from skinlesion.prediction.serving.settings import ServerSettings, api_token

TOKEN = "0123456789abcdef0123"


def test_with_a_token_the_api_wants_it_and_the_page_and_health_do_not(models: Models) -> None:
    with served(models.folder, token=TOKEN) as server:
        assert server.predict(drawn(1)).status_code == 200
        described = server.client.get("/openapi.json").json()
        assert described["paths"]["/v1/predict"]["post"]["security"] == [{"token": []}]
        assert "security" not in described["paths"]["/healthz"]["get"]
        del server.client.headers["Authorization"]
        for path in ("/", "/static/page.js", "/examples/naevus.jpg", "/healthz", "/readyz", "/openapi.json"):
            assert server.status_of(path) == 200, path
        for path in ("/v1/model", "/v1/model/card", "/metrics"):
            response = server.client.get(path)
            assert "Authorization: Bearer" in problem(response, 401)["detail"], path
            assert response.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("count", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_wrong_tokens_are_refused_without_reading_the_images(models: Models, count: int) -> None:
    with served(models.folder, token=TOKEN) as server:
        for number in range(count):
            wrong = (f"Bearer {TOKEN[:-1]}{number}", f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}\xe9")[number % 4]
            # The images that the head announces are never sent.
            status, _ = answer_to(server.port, upload_head(f"Authorization: {wrong}", "Content-Length: 90000"))
            assert status == 401, wrong
        assert server.predict(drawn(1)).status_code == 200


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
    token = known(api_token(ServerSettings.of({"host": host})))
    assert TOKEN not in repr(token)


@pytest.mark.parametrize("token", ["short", "with a space in the middle", "umlaut-äöü-umlaut-äöü"])
def test_a_token_that_is_no_good_is_refused_without_being_shown(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKINLESION_API_TOKEN", token)
    with pytest.raises(DataError, match="SKINLESION_API_TOKEN: expected at least 16") as refused:
        api_token(ServerSettings.of({}))
    assert token not in str(refused.value)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [("--host", "0.0.0.0", "without a token"), ("--port", "{port}", "Cannot listen on 127.0.0.1 port {port}")],
)
def test_the_command_ends_with_one_sentence_where_it_may_not_or_cannot_listen(
    shared: Served, option: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "setswitchinterval", lambda seconds: None)  # of the tests' own process
    ended = skinlesion("serve", option, value.format(port=shared.port))
    assert ended.returncode == 2
    assert said.format(port=shared.port) in ended.stderr.replace("\n", " ")
