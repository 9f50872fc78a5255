"""Many seeds, on two processes; what came of them as a table, JSON and text; a failure with what replays it."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from tests.campaign.nights import Lived, Result
from tests.campaign.shrink import shrink
from tests.campaign.story import Night, story
from tests.campaign.workers import PROJECT, Workers

MEMORY: Final = Path("/dev/shm")

_workers: dict[str, Workers] = {}
"""The workers of this process, which live as long as it does."""


def _say(words: str) -> None:
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


def live(nights: list[Night], workers: Workers, *, with_twin: bool = True, ignored: tuple[str, ...] = ()) -> Result:
    """Live through a history in a folder of its own and return what came of it."""
    where = str(MEMORY) if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="campaign-", dir=where) as folder:
        return Lived(Path(folder), workers, with_twin=with_twin, ignored=ignored).live(nights)


def has_twin(seed: int) -> bool:
    """Return whether a seed has an undisturbed twin: every third one, since a twin doubles the time."""
    return seed % 3 == 0


def _seed(seed: int, nights: int, ignored: tuple[str, ...], plant: str = "") -> dict[str, Any]:
    if plant not in _workers:
        _workers[plant] = Workers(plant)
    workers = _workers[plant]
    began, started = time.monotonic(), workers.started
    result = live(story(seed, nights), workers, with_twin=has_twin(seed), ignored=ignored)
    return {
        "seed": seed,
        "nights": result.nights,
        "seconds": round(time.monotonic() - began, 1),
        "cpu": round(result.cpu, 1),
        "counts": dict(result.counts),
        "reader_checks": result.checks,
        "reader_changes": result.changes,
        "workers_started": workers.started - started,
        "night": result.night,
        "violations": [list(one) for one in result.violations],
        "trace": result.trace,
        "log": result.log[-12:] if result.violations else [],
    }


def _close() -> None:
    for workers in _workers.values():
        workers.end()


def commit() -> str:
    """Return the commit of the checkout, with a plus if something is not committed."""
    git = ["git", "-C", str(PROJECT)]
    head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True).stdout.strip()
    changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True).stdout.strip()
    return f"{head or 'unknown'}{'+' if changed else ''}"


def campaign(
    seeds: list[int], nights: int, processes: int, until: float, log: Path | None, ignored: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return the table of what came of these seeds; stop beginning new ones at the time `until`."""
    rows: list[dict[str, Any]] = []
    began = time.time()
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        waiting = iter(seeds)
        running = {
            pool.submit(_seed, seed, nights, ignored) for _, seed in zip(range(processes), waiting, strict=False)
        }
        while running:
            done = next(as_completed(running))
            running.remove(done)
            row = done.result()
            rows.append(row)
            _show(row, nights)
            if log is not None:
                with log.open("a") as file:
                    file.write(json.dumps(row) + "\n")
            if time.time() < until and (seed := next(waiting, None)) is not None:
                running.add(pool.submit(_seed, seed, nights, ignored))
        for _ in range(processes):
            pool.submit(_close)
    return table(rows, time.time() - began)


def table(rows: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """Return the figures of a campaign."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update(row["counts"])
    total = sum(row["nights"] for row in rows)
    return {
        "commit": commit(),
        "seeds": len(rows),
        "nights": total,
        "seconds": round(seconds),
        "cpu_seconds_a_night": round(sum(row["cpu"] for row in rows) / max(1, total), 2),
        "kills": sum(counts[f"fault {kind}"] for kind in ("kill", "term", "freeze", "power")),
        "faults": {
            name.removeprefix("fault "): count for name, count in sorted(counts.items()) if name[:6] == "fault "
        },
        "damages": {
            name.removeprefix("damage "): count for name, count in sorted(counts.items()) if name[:7] == "damage "
        },
        "runs": {
            name: count
            for name, count in sorted(counts.items())
            if name[:4] in ("run ", "roll", "prom", "appr", "decl")
        },
        "two_writers": counts["two writers"],
        "mlflow_away": counts["MLflow away"],
        "audits": counts["audits"],
        "readers_checks": sum(row["reader_checks"] for row in rows),
        "changes_that_readers_saw": sum(row["reader_changes"] for row in rows),
        "seeds_with_violations": sorted(row["seed"] for row in rows if row["violations"]),
        "violations": dict(Counter(check for row in rows for check in {one[0] for one in row["violations"]})),
    }


def _show(row: dict[str, Any], nights: int) -> None:
    if not row["violations"]:
        _say(f"seed {row['seed']}: {row['nights']} nights, {row['seconds']:.0f} s, nothing to report")
        return
    _say(f"seed {row['seed']}, night {row['night']}, commit {commit()}:")
    for check, words in row["violations"][:6]:
        _say(f"  {check}: {words}")
    _say(f"  again: make campaign SEED={row['seed']} NIGHTS={row['night'] + 1}")


def _shrink_one(seed: int, nights: int, seconds: float, ignored: tuple[str, ...]) -> int:
    workers = Workers()
    try:

        def fails(history: list[Night]) -> str:
            result = live(history, workers, with_twin=has_twin(seed), ignored=ignored)
            return result.violations[0].check if result.violations else ""

        history = story(seed, nights)
        first = live(history, workers, with_twin=has_twin(seed), ignored=ignored)
        if not first.violations:
            _say(f"seed {seed}: nothing fails in {nights} nights")
            return 0
        wanted = first.violations[0].check
        shortest = shrink(
            history[: (first.night or 0) + 1], lambda one: fails(one) == wanted, time.monotonic() + seconds
        )
        last = live(shortest, workers, with_twin=has_twin(seed), ignored=ignored)
        _say(json.dumps({"seed": seed, "commit": commit(), "violations": last.violations, "history": shortest,
                          "log": last.log, "trace": last.trace}, indent=1))  # fmt: skip
        return 1
    finally:
        workers.end()


def main() -> int:
    """Run the campaign that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--seeds", default="1-8", help="1-8, or 7, or 3,5,9")
    parser.add_argument("--nights", type=int, default=30)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=600, help="no seed begins after so many minutes")
    parser.add_argument(
        "--shrink", action="store_true", help="reduce the history of one seed to the shortest that fails"
    )
    parser.add_argument("--ignore", default="", help="checks that do not count, by commas; damage: no damage is done")
    parser.add_argument("--out", type=Path, help="folder for campaign.json, campaign.txt and seeds.jsonl")
    parser.add_argument(
        "--history", type=Path, help="a JSON file whose field `history` is lived through, as --shrink prints it"
    )
    asked = parser.parse_args()
    ignored = tuple(asked.ignore.split(","))
    seeds = [number for part in asked.seeds.split(",") for number in _range(part)]
    if asked.history is not None:
        return _replay(json.loads(asked.history.read_text()))
    if asked.shrink:
        return _shrink_one(seeds[0], asked.nights, asked.minutes * 60, ignored)
    log = None
    if asked.out is not None:
        asked.out.mkdir(parents=True, exist_ok=True)
        log = asked.out / "seeds.jsonl"
    found = campaign(seeds, asked.nights, asked.processes, time.time() + asked.minutes * 60, log, ignored)
    text = "\n".join(f"{name}: {value}" for name, value in found.items())
    _say(text)
    if asked.out is not None:
        (asked.out / "campaign.json").write_text(json.dumps(found, indent=1) + "\n")
        (asked.out / "campaign.txt").write_text(text + "\n")
    return 1 if found["violations"] else 0


def _replay(told: dict[str, Any]) -> int:
    workers = Workers()
    try:
        result = live(told["history"], workers, with_twin=has_twin(told["seed"]), ignored=())
    finally:
        workers.end()
    for line in (*result.log, *(f"{check}: {words}" for check, words in result.violations), result.trace):
        _say(line)
    return 1 if result.violations else 0


def _range(part: str) -> range:
    first, _, last = part.partition("-")
    return range(int(first), int(last or first) + 1)


if __name__ == "__main__":
    sys.exit(main())
