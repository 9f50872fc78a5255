"""How fast the server answers: `python -m benchmarks.serving --models DIR IMAGES_FOLDER`.

The server is a process of its own, this one sends the load over loopback with as little work as there can be: it shares
the cores. Beside it stands a bare loop, one thread a core, that does nothing but OpenCV's decoding and resizing, and LiteRT.
"""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import cv2
import httpx
import numpy as np
import psutil
import typer

from skinlesion.data.images.formats import SUFFIXES
from skinlesion.data.settings import IMAGE_SIDE
from skinlesion.foundation import layout
from skinlesion.foundation.cores import cores_allowed
from skinlesion.network.litert import LiteRTModel, OneForEachThread

CORES = cores_allowed()
BOUNDARY = b"----------a-boundary-between-images"
MEGABYTE = 1_000_000


@dataclass
class Answers:
    """What came back: the seconds that the server told, and statuses that were not 200."""

    told: list[float] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)


def request_of(images: Sequence[bytes]) -> bytes:
    """Give a whole HTTP request that asks for these images."""
    parts = [
        b'--%b\r\nContent-Disposition: form-data; name="images"; filename="%d.jpg"\r\n\r\n%b\r\n'
        % (BOUNDARY, at, image)
        for at, image in enumerate(images)
    ]
    body = b"".join(parts) + b"--%b--\r\n" % BOUNDARY
    head = (
        b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=%b\r\n" % BOUNDARY
    )
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


class Connection:
    """A connection that sends requests and notes what the answers tell."""

    def __init__(self, port: int, answers: Answers) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = self._socket.makefile("rb")
        self._answers = answers

    def ask(self, request: bytes) -> None:
        """Send a request and read its answer."""
        self._socket.sendall(request)
        status, length, told = int(self._reader.readline().split()[1]), 0, 0.0
        while (line := self._reader.readline()) != b"\r\n":
            name, _, value = line.lower().partition(b":")
            if name == b"content-length":
                length = int(value)
            elif name == b"server-timing":
                told = float(value.split(b"dur=")[1]) / 1000
        self._reader.read(length)
        if status == 200:
            self._answers.told.append(told)
        else:
            self._answers.refused.append(status)


def at_a_rate(port: int, requests: Sequence[bytes], count: int, rate: float) -> Answers:
    """Ask `count` times, `rate` times a second, one after the other."""
    answers = Answers()
    connection, started = Connection(port, answers), time.perf_counter()
    for number in range(count):
        time.sleep(max(0.0, started + number / rate - time.perf_counter()))
        connection.ask(requests[number % len(requests)])
    return answers


def at_saturation(port: int, requests: Sequence[bytes], count: int, connections: int) -> tuple[float, Answers]:
    """Ask `count` times over so many connections, each as fast as it is answered; give the seconds and the answers."""
    answers, numbers, turn = Answers(), iter(range(count)), threading.Lock()

    def work() -> None:
        connection = Connection(port, answers)
        while True:
            with turn:
                number = next(numbers, None)
            if number is None:
                return
            connection.ask(requests[number % len(requests)])

    started = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started, answers


def bare_loop(model: Path, images: Sequence[bytes], count: int) -> float:
    """Give images a second of decoding, resizing and LiteRT alone, on one thread a core."""
    models = OneForEachThread(lambda: LiteRTModel(model))

    def one(number: int) -> Any:
        bgr = cv2.imdecode(np.frombuffer(images[number % len(images)], dtype=np.uint8), cv2.IMREAD_COLOR)
        assert bgr is not None
        small = cv2.resize(bgr, (IMAGE_SIDE, IMAGE_SIDE), interpolation=cv2.INTER_AREA)
        return models.get()(cv2.cvtColor(small, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False))

    with ThreadPoolExecutor(CORES) as pool:
        list(pool.map(one, range(4 * CORES)))  # each thread loads its model
        started = time.perf_counter()
        list(pool.map(one, range(count)))
        return count / (time.perf_counter() - started)


@contextmanager
def serving(models: Path, port: int, **settings: object) -> Iterator[tuple[psutil.Process, float]]:
    """Run `skinlesion serve` with these settings; give its process and how long it took to be ready, in seconds."""
    program = Path(sys.executable).with_name("skinlesion")
    command = [str(program), "serve", "--models", str(models), "--port", str(port), "--quiet"]
    command += [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    started = time.perf_counter()
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not _is_ready(port):
            if server.poll() is not None:
                raise typer.BadParameter(f"the server ended with status {server.returncode}: is a model in service?")
            time.sleep(0.01)
        yield psutil.Process(server.pid), time.perf_counter() - started
    finally:
        server.terminate()
        server.wait(timeout=30)


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=1).status_code == 200
    except httpx.TransportError:
        return False


def measure(
    folder: Annotated[Path, typer.Argument(help="Images, 600x450 JPEGs for figures like those in docs/.")],
    models: Annotated[Path, typer.Option(help="With a model in service.")] = Path("models"),
    port: Annotated[int, typer.Option()] = 8123,
    requests: Annotated[int, typer.Option(help="Of the last section, over which memory is watched.")] = 20_000,
    log_rounds: Annotated[
        int, typer.Option(help="Compare the prediction log on and off in so many rounds, and nothing else.")
    ] = 0,
    shadow_rounds: Annotated[
        int,
        typer.Option(help="The same of a candidate in the shadow; the log is on in all rounds. A version must wait."),
    ] = 0,
) -> None:
    """Measure start, latency at 20 requests a second, throughput at saturation beside a bare loop, and memory."""
    images = [path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES][:300]
    if not images:
        raise typer.BadParameter(f"{folder} holds no images")
    single = [request_of([image]) for image in images]
    eight = [request_of(images[at : at + 8]) for at in range(0, len(images) - 7, 8)] or single
    if log_rounds or shadow_rounds:
        with_and_without("shadow" if shadow_rounds else "log", models, port, single, shadow_rounds or log_rounds)
        return
    tflite = layout.model_in_service(models).with_suffix(".tflite")
    with serving(models, port) as (server, ready):
        typer.echo(f"ready after {ready:.2f} s")
        answers = at_a_rate(port, single, 400, 20.0)
        told = sorted(1000 * seconds for seconds in answers.told)
        typer.echo(f"20 requests/s: median {statistics.median(told):.1f} ms, p99 {told[int(0.99 * len(told))]:.1f} ms")
        for _ in range(3):
            bare = bare_loop(tflite, images, 800)
            _compare("one image a request", bare, lambda: at_saturation(port, single, 800, 4), 800)
            _compare("eight images a request", bare, lambda: at_saturation(port, eight, 100, 2), 800)
        for quarter in range(5):
            if quarter:
                at_saturation(port, single, requests // 4, 4)
            typer.echo(f"after {quarter * requests // 4:,} more requests: {server.memory_info().rss / MEGABYTE:.0f} MB")


def with_and_without(what: str, models: Path, port: int, single: Sequence[bytes], rounds: int) -> None:
    """Tell latency, throughput and CPU time an image of two servers, one with the log, or the shadow, and one without.

    They take turns of some seconds, so that what else the machine does falls on both.
    """
    found: dict[str, Answers] = {"off": Answers(), "on": Answers()}
    seconds, saturated = {"off": list[float](), "on": list[float]()}, 60
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        servers = {}
        for at, name in enumerate(found):
            log = {"log": folder} if what == "shadow" or name == "on" else {}
            is_shadow = what == "shadow" and name == "on"
            server, _ = stack.enter_context(serving(models, port + at, **log, shadow=is_shadow))
            at_saturation(port + at, single, 100, 4)
            servers[name] = server, port + at, sum(server.cpu_times()[:2])
        for number in range(rounds):
            for name in ("off", "on") if number % 2 else ("on", "off"):
                time.sleep(1)  # what waits for the candidate is done
                found[name].told += at_a_rate(servers[name][1], single, 40, 20.0).told
                seconds[name].append(at_saturation(servers[name][1], single, saturated, 4)[0])
        time.sleep(1)
        figures = {}
        for name, (server, _, before) in servers.items():
            told = sorted(1000 * one for one in found[name].told)
            cpu = 1000 * (sum(server.cpu_times()[:2]) - before) / (len(told) + saturated * rounds)
            rate = saturated / statistics.median(seconds[name])
            figures[name] = [statistics.median(told), told[int(0.99 * len(told))], rate, cpu]
        shadowed = _shadowed(port + 1) if what == "shadow" else ""
    names = ("median (ms)", "p99 (ms)", "images/s at saturation", "CPU time an image (ms)")
    for name, values in figures.items():
        typer.echo(
            f"{what} {name}: " + ", ".join(f"{one} {value:.2f}" for one, value in zip(names, values, strict=True))
        )
    ratios = ", ".join(f"{one} {a / b:.2f}" for one, a, b in zip(names, figures["on"], figures["off"], strict=True))
    typer.echo(f"on to off, {rounds} rounds that take turns: {ratios}{shadowed}")


def _shadowed(port: int) -> str:
    """Return how many pictures the candidate was asked about, and how many were dropped."""
    lines = httpx.get(f"http://127.0.0.1:{port}/metrics").text.splitlines()
    return "".join(
        f", {one.removeprefix('skinlesion_')}"
        for one in lines
        if one.startswith("skinlesion_shadow_") and "_total" in one
    )


def _compare(name: str, bare: float, load: Callable[[], tuple[float, Answers]], images: int) -> None:
    seconds, answers = load()
    if answers.refused:
        raise typer.BadParameter(f"{len(answers.refused)} requests were refused, the first with {answers.refused[0]}")
    typer.echo(f"{name}: {images / seconds:.0f} images/s, {images / seconds / bare:.0%} of the bare loop's {bare:.0f}")


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(measure)
    app()
