"""Kill a server under load, again and again: `python -m tests.prediction.log.killed MODELS LOG_FOLDER TRIALS`.

Each server is forked from this process, so that it starts fast. What was answered is counted here, on the other side of the
connection, and looked for in the log: it writes a line of JSON with `answered`, `entries`, `missing` (as the log counts them),
`lost`, pictures that an answer named as logged and that are not there, `beside`, what a candidate in the shadow said, and `strays`, how
much of it is beside no answer or twice beside one.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psutil
from tests.prediction.real_server import drawn

from skinlesion.prediction.log.gaps import read_gaps
from skinlesion.prediction.log.reading import read_log
from skinlesion.prediction.serving.app import create_app
from skinlesion.prediction.serving.server import listening_socket, make_server
from skinlesion.prediction.serving.settings import ServerSettings
from skinlesion.stages.settings import PipelineConfig

CLIENTS = 4
SHADOWED = 6.0
"""Seconds in which a candidate in the shadow is loaded and has been asked a few times."""


def server_on(models: Path, folder: Path) -> tuple[int, int]:
    """Start a server; return its process and its port."""
    settings = ServerSettings.of({"port": 0, "threads": 2, "log": str(folder), "shadow": True})
    listener = listening_socket(settings)
    port = listener.getsockname()[1]
    process = os.fork()
    if not process:
        app = create_app(PipelineConfig.of({"models": models}), settings)
        make_server(app, settings).run(sockets=[listener])
        os._exit(1)
    listener.close()
    return process, port


def body_of(image: bytes) -> bytes:
    head = b'--XX\r\nContent-Disposition: form-data; name="images"; filename="a.jpg"\r\n\r\n'
    return head + image + b"\r\n--XX--\r\n"


def ask(port: int, body: bytes, logged: list[str | None], pause: float) -> None:
    """Ask until the server is gone, with a pause after each answer; note each answer that came whole."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    while True:
        try:
            connection.request("POST", "/v1/predict", body, {"Content-Type": "multipart/form-data; boundary=XX"})
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, HTTPException):
            return
        if answer.status == 200:
            logged += [one.get("logged") for one in json.loads(content)["predictions"]]
            time.sleep(pause)
        else:
            time.sleep(0.02)  # the model is being loaded


def main(models: Path, folder: Path, trials: int) -> None:
    """Kill so many servers, and count."""
    bodies, logged = [body_of(drawn(seed, (64, 48))) for seed in range(CLIENTS)], list[str | None]()
    for trial in range(trials):
        process, port = server_on(models, folder)
        before, chance = len(logged), random.Random(trial)
        # A candidate in the shadow is asked while nobody waits for an answer: every fourth server has time for it.
        pause, longest = (0.2, SHADOWED) if trial % 4 == 3 else (0.0, 0.25)
        clients = [threading.Thread(target=ask, args=(port, body, logged, pause)) for body in bodies]
        for client in clients:
            client.start()
        while len(logged) < before + CLIENTS and psutil.pid_exists(process):
            time.sleep(0.01)
        time.sleep(chance.uniform(0, longest))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        for client in clients:
            client.join()
    table, beside = read_log(folder), read_log(folder, of_shadow=True)
    found = {
        "answered": len(logged),
        "entries": len(table),
        "missing": sum(gap.answers for gap in read_gaps(folder)),
        "lost": len({one for one in logged if one} - set(table["picture"])),
        "beside": len(beside),
        "strays": len(set(beside["beside"]) - set(table["id"])) + int(beside["beside"].duplicated().sum()),
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
