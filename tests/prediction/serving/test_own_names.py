"""Under which names a server may be asked, and which pages may ask it: no site that a person visits reaches it by the browser."""

from __future__ import annotations

import pytest
from tests.prediction.real_server import Models, Served, answer_to, drawn, problem, served

TOKEN = "0123456789abcdef0123"
PATHS = ("/", "/static/page.js", "/v1/model", "/v1/model/card", "/metrics", "/openapi.json", "/nothing")


def status_for_host(server: Served, host: str, path: str = "/v1/model") -> int:
    return server.client.get(path, headers={"Host": host}).status_code


def status_for_origin(server: Served, origin: dict[str, str], path: str = "/v1/predict") -> int:
    files = {"images": ("a.jpg", drawn(1), "image/jpeg")}
    return server.client.post(path, files=files, headers=origin).status_code


@pytest.mark.parametrize("path", PATHS)
def test_a_name_that_only_resolves_to_this_machine_is_refused(shared: Served, path: str) -> None:
    """Lost otherwise: a site whose name points to 127.0.0.1 (DNS rebinding) reads the model and has images predicted."""
    for host in ("evil.example", f"evil.example:{shared.port}", "localhost.evil.example", "127.0.0.1.evil.example", "",
                 "a@localhost", "localhost/", "127.0.0.2", "0.0.0.0", "[::2]", "localhost.", "xn--localhost", "169.254.169.254"):  # fmt: skip
        answer = shared.client.get(path, headers={"Host": host})
        assert answer.status_code == 421, host
        if host == "evil.example":
            assert "SKINLESION_SERVE_HOSTS" in problem(answer, 421)["detail"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:{port}"])
def test_this_machines_own_names_are_answered(shared: Served, host: str) -> None:
    assert status_for_host(shared, host.format(port=shared.port)) == 200


def test_without_a_host_nothing_is_told(shared: Served) -> None:
    assert answer_to(shared.port, b"GET /v1/model HTTP/1.0\r\n\r\n")[0] == 421
    twice = b"GET /v1/model HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    assert answer_to(shared.port, twice)[0] == 400


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_probe_asks_by_any_name(shared: Served, path: str) -> None:
    """Kubernetes asks for a pod by its address. What it gets says nothing of a person or of the model's figures."""
    assert status_for_host(shared, "10.42.0.7:8000", path) == 200


@pytest.mark.parametrize("path", ["/v1/predict", "/v1/grad-cam"])
@pytest.mark.parametrize(
    "origin",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://localhost:1"},
        {"Origin": "http://127.0.0.1.evil.example:{port}"},
        {"Origin": "http://127.0.0.1:{port}@evil.example"},
        {"Origin": "http://127.0.0.1:{port}", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_no_page_of_another_site_has_anything_computed(shared: Served, origin: dict[str, str], path: str) -> None:
    """Lost otherwise: any page that a person visits lets this machine compute for it, and fills its memory."""
    given = {name: value.format(port=shared.port) for name, value in origin.items()}
    assert status_for_origin(shared, given, path) == 403


def test_the_names_behind_a_proxy_are_a_setting(models: Models) -> None:
    with served(models.folder, hosts="lesions.example.org, other.example.org") as server:
        for host in ("lesions.example.org", "other.example.org:8443", "localhost"):
            assert status_for_host(server, host) == 200, host
        assert status_for_host(server, "evil.example") == 421
        # A proxy that asks under another name than people type
        assert status_for_origin(server, {"Origin": "https://lesions.example.org"}) == 200
        assert status_for_origin(server, {"Origin": "https://evil.example"}) == 403


def test_a_server_for_others_is_kept_by_its_token_and_by_names_where_they_are_set(models: Models) -> None:
    with served(models.folder, token=TOKEN, host="0.0.0.0") as server:
        assert status_for_host(server, "any.example.org") == 200
        assert status_for_origin(server, {"Origin": "https://evil.example"}) == 403
        del server.client.headers["Authorization"]
        assert status_for_host(server, "any.example.org") == 401
    with served(models.folder, token=TOKEN, host="0.0.0.0", hosts="lesions.example.org") as server:
        assert status_for_host(server, "lesions.example.org") == 200
        assert status_for_host(server, "127.0.0.1") == 200
        assert status_for_host(server, "any.example.org") == 421
