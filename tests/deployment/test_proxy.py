"""The proxy for real: Caddy runs deploy/Caddyfile before three applications that say what has reached them."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

PROJECT = Path(__file__).resolve().parents[2]
CADDYFILE = (PROJECT / "deploy" / "Caddyfile").read_text()
CADDY = Path(sys.executable).with_name("caddy")

HEAD_SECONDS, BODY_SECONDS = 1, 2
"""Smaller than in the file, so that the tests need not wait."""


class Application(BaseHTTPRequestHandler):
    """Answers with what has reached it."""

    protocol_version = "HTTP/1.1"
    server: Server
    has_read = threading.Event()
    """Set after each body, whether or not all of it came."""

    def answer(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline() or b"0", 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        else:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.has_read.set()
        headers = {key.lower(): value for key, value in self.headers.items()}
        body = json.dumps({"application": self.server.name, "path": self.path, "headers": headers}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer  # noqa: N815 (names that http.server asks for)

    def log_message(self, *arguments: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """An application that listens, with its name."""

    daemon_threads = True

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), Application)
        self.name = name

    def handle_error(self, *arguments: object) -> None:
        """Say nothing: the proxy hangs up."""


@contextmanager
def application(name: str) -> Iterator[str]:
    with Server(name) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def caddy(*arguments: str, **variables: str) -> str:
    """Run a command on the file as it is; return its output, or fail with what it complains of."""
    command = [str(CADDY), *arguments, "--adapter", "caddyfile", "--config", str(PROJECT / "deploy" / "Caddyfile")]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Proxy(NamedTuple):
    """Caddy, with the ports on which it listens."""

    client: httpx.Client
    https: int
    http: int
    health: int
    trust: ssl.SSLContext

    def connect(self, name: str = "localhost") -> ssl.SSLSocket:
        connection = socket.create_connection(("127.0.0.1", self.https), timeout=15)
        return self.trust.wrap_socket(connection, server_hostname=name)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("proxy")
    https, http, health = free_port(), free_port(), free_port()
    with ExitStack() as stack:
        replaced = {
            "http_port 8080": f"http_port {http}",
            "https_port 8443": f"https_port {https}",
            "127.0.0.1:2018": f"127.0.0.1:{health}",
            "predictor:8000": stack.enter_context(application("predictor")),
            "mlflow:5000": stack.enter_context(application("mlflow")),
            "api-server:8080": f"127.0.0.1:{free_port()}",  # nothing listens
            "read_header 10s": f"read_header {HEAD_SECONDS}s",
            "read_body 120s": f"read_body {BODY_SECONDS}s",
        }
        text = CADDYFILE
        for found, other in replaced.items():
            assert found in text, found
            text = text.replace(found, other)
        (folder / "Caddyfile").write_text(text)
        log = stack.enter_context((folder / "log").open("w"))
        command = [str(CADDY), "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
        variables = {
            "SITE_URL": f"https://localhost:{https}",
            "XDG_DATA_HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder),
        }
        process = subprocess.Popen(command, env={**os.environ, **variables}, stdout=log, stderr=log)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        authority = folder / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        wait_for(authority.exists, process, folder / "log")
        trust = ssl.create_default_context(cafile=authority)
        with httpx.Client(base_url=f"https://localhost:{https}", verify=trust, timeout=15) as client:
            wait_for(lambda: answers(client, "/predictor/"), process, folder / "log")  # it has a certificate now
            yield Proxy(client, https, http, health, trust)


def wait_for(is_so: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(200):
        if is_so():
            return
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def answers(client: httpx.Client, address: str) -> bool:
    try:
        return client.get(address).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"DOMAIN": "lesions.example.org", "CERTIFICATES": ""},
        {"DOMAIN": "server.lan", "CERTIFICATES": "local_certs"},
    ],
)
def test_caddy_accepts_the_file_with_and_without_a_domain(variables: dict[str, str], tmp_path: Path) -> None:
    caddy("validate", XDG_DATA_HOME=str(tmp_path), **variables)


def test_caddy_would_not_format_the_file_otherwise() -> None:
    done = subprocess.run([CADDY, "fmt", "--diff", PROJECT / "deploy" / "Caddyfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_a_public_domain_gets_a_public_certificate_and_localhost_one_of_its_own_authority() -> None:
    public = caddy("adapt", DOMAIN="lesions.example.org")
    assert '"host":["lesions.example.org"]' in public
    assert '"module":"internal"' not in public
    assert '"module":"internal"' in caddy("adapt", DOMAIN="server.lan", CERTIFICATES="local_certs")


@pytest.mark.parametrize(
    ("asked", "application", "path"),
    [
        ("/predictor/v1/model?x=1", "predictor", "/v1/model?x=1"),
        ("/predictor/", "predictor", "/"),
        ("/mlflow/api/2.0/mlflow/runs/get", "mlflow", "/api/2.0/mlflow/runs/get"),
        ("/mlflow/", "mlflow", "/"),
    ],
)
def test_each_application_has_its_path(proxy: Proxy, asked: str, application: str, path: str) -> None:
    found = proxy.client.get(asked).json()
    assert (found["application"], found["path"]) == (application, path)


def test_everything_else_is_airflows(proxy: Proxy) -> None:
    assert re.search(r"handle \{[^}]*\}\s+reverse_proxy api-server:8080", CADDYFILE)
    assert proxy.client.get("/dags").status_code == 502  # nothing listens there in these tests


@pytest.mark.parametrize("path", ["/mlflow", "/predictor"])
def test_a_path_without_its_slash_is_redirected(proxy: Proxy, path: str) -> None:
    assert proxy.client.get(path).headers["location"] == f"{path}/"


def test_http_is_redirected_to_https(proxy: Proxy) -> None:
    response = httpx.get(f"http://127.0.0.1:{proxy.http}/dags?x=1", timeout=15)
    assert (response.status_code, response.headers["location"]) == (308, f"https://localhost:{proxy.https}/dags?x=1")


def test_an_application_learns_the_address_that_was_asked_and_no_made_up_one(proxy: Proxy) -> None:
    made_up = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Host": "elsewhere", "X-Forwarded-Proto": "http"}
    headers = proxy.client.get("/mlflow/", headers=made_up).json()["headers"]
    assert headers["x-forwarded-proto"] == "https"
    assert headers["x-forwarded-host"] == headers["host"] == f"localhost:{proxy.https}"
    assert headers["x-forwarded-for"] == "127.0.0.1"


@pytest.mark.parametrize("application", ["mlflow", "predictor"])
def test_airflows_session_does_not_reach_the_others_and_their_own_logins_do(proxy: Proxy, application: str) -> None:
    sent = {"Cookie": "_token=secret", "Authorization": "Bearer abc"}
    headers = proxy.client.get(f"/{application}/", headers=sent).json()["headers"]
    assert "cookie" not in headers
    assert headers["authorization"] == "Bearer abc"


def test_another_name_gets_no_certificate(proxy: Proxy) -> None:
    with pytest.raises(ssl.SSLError):
        proxy.connect("elsewhere.example.org")


@pytest.mark.parametrize("has_length", [True, False])
def test_a_body_that_is_too_large_is_refused_with_a_problem_document(proxy: Proxy, has_length: bool) -> None:
    block = bytes(2**20)
    response = proxy.client.post("/predictor/v1/predict", content=block * 41 if has_length else iter([block] * 41))
    assert response.status_code == 413
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == 413
    assert proxy.client.post("/predictor/v1/predict", content=block * 39).status_code == 200


def test_headers_that_are_too_large_are_refused(proxy: Proxy) -> None:
    assert proxy.client.get("/predictor/", headers={"X-Long": "x" * 40_000}).status_code == 431


@pytest.mark.parametrize("sent", [b"", b"GET /predictor/ HTTP/1.1\r\nHost: localhost\r\n"])
def test_headers_that_do_not_come_are_given_up(proxy: Proxy, sent: bytes) -> None:
    with proxy.connect() as connection:
        connection.sendall(sent)
        while connection.recv(65536):  # a TimeoutError if it is not closed
            pass


@pytest.mark.parametrize("goes_on", [False, True])
def test_an_application_does_not_wait_for_a_body_that_does_not_come(proxy: Proxy, goes_on: bool) -> None:
    Application.has_read.clear()
    with proxy.connect() as connection:
        connection.sendall(b"POST /predictor/v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000\r\n\r\nx")
        for _ in range(75):
            if Application.has_read.wait(0.2):
                break
            if goes_on:
                with suppress(OSError):  # the proxy has closed the connection
                    connection.sendall(b"x")
    assert Application.has_read.is_set()
    assert proxy.client.get("/predictor/").status_code == 200


def test_the_health_check_is_for_the_container_alone(proxy: Proxy) -> None:
    assert httpx.get(f"http://127.0.0.1:{proxy.health}/", timeout=5).text == "alive"
    assert "bind 127.0.0.1" in CADDYFILE
