"""Break behaviours of the product one at a time, and see whether the tests that reach them notice.

python tools/mutations.py draw .coverage mutations.json [--number 40] [--seed 18]
    Draw mutations at random, as many from each room, and note for each the tests that reach its line. The file .coverage
    comes from `make coverage ARGS=--cov-context=test`.

python tools/mutations.py run mutations.json CLONE
    Make one mutation after the other in a clone of the repository, which has the environment of this one, run the tests that
    reach it until one fails, and write the outcome into the file. What has an outcome is not run again.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from coverage import CoverageData

from skinlesion.foundation.cores import cores_allowed

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGE: Final = ROOT / "include" / "skinlesion"

ELSEWHERE: Final = ("tests/end_to_end", "tests/dags")
"""Beside the tests of the room, those whose processes reach a line under no test's name, or as a module is imported, which only the
first test that imports it is known to do."""

FEW: Final = 20
"""So many tests are run first, in one process. Mostly they are enough."""

SECONDS: Final = 900
"""A mutation may make a test run for ever, which is noticed too."""


@dataclass
class Mutation:
    """A span of bytes in a file, and what is written in its place."""

    room: str
    file: str
    line: int
    kind: str
    start: int
    end: int
    before: str
    after: str
    tests: list[str]
    at_import: bool = False
    """Whether the line runs when its module is imported."""
    outcome: str = ""
    """The first test that failed, or why none did."""


def room_of(file: Path) -> str:
    """Return the room of the package, or plugins or dags."""
    parts = file.relative_to(ROOT).parts
    return parts[2] if parts[0] == "include" else parts[0]


def mutations_of(file: Path) -> Iterator[Mutation]:
    """Yield all mutations of a file: conditions inverted, calls removed (fsync apart), numbers and truth values changed."""
    source = file.read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    tree = ast.parse(source)
    in_functions = {
        id(inner)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for statement in function.body
        for inner in ast.walk(statement)
    }

    def mutation(kind: str, node: ast.expr | ast.stmt, after: str) -> Mutation:
        assert node.end_lineno is not None and node.end_col_offset is not None
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        before = source[start:end].decode()
        name, place = str(file.relative_to(ROOT)), node.lineno
        at_import = id(node) not in in_functions
        return Mutation(room_of(file), name, place, kind, start, end, before, after.format(before), [], at_import)

    for node in ast.walk(tree):
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                continue
            case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
                yield mutation("condition", test, "(not ({}))")
            case ast.comprehension(ifs=tests):
                for test in tests:
                    yield mutation("condition", test, "(not ({}))")
            case ast.Expr(value=ast.Call(func=function)):
                yield mutation("fsync" if "sync" in ast.unparse(function) else "call", node, "pass")
            case ast.Constant(value=bool(value)):
                yield mutation("constant", node, str(not value))
            case ast.Constant(value=int() | float()):
                yield mutation("constant", node, "({} + 1)")


def draw(coverage_file: Path, number: int, seed: int) -> list[Mutation]:
    """Return as many mutations of each room, and within a room of each kind while there are such."""
    coverage = CoverageData(str(coverage_file))
    coverage.read()
    files = [*PACKAGE.rglob("*.py"), *(ROOT / "plugins").rglob("*.py"), *(ROOT / "dags").rglob("*.py")]
    rooms: dict[str, dict[str, list[Mutation]]] = defaultdict(lambda: defaultdict(list))
    for file in sorted(file for file in files if file.parent != PACKAGE):
        for mutation in mutations_of(file):
            rooms[mutation.room][mutation.kind].append(mutation)
    chance = random.Random(seed)
    drawn: list[Mutation] = []
    while len(drawn) < number:
        for room in sorted(rooms):
            kinds = sorted(kind for kind, some in rooms[room].items() if some)
            kind = chance.choice(kinds)
            some = rooms[room][kind]
            drawn.append(some.pop(chance.randrange(len(some))))
    for mutation in drawn[:number]:
        contexts = coverage.contexts_by_lineno(str(ROOT / mutation.file)).get(mutation.line, [])
        named = {context.rpartition("|")[0] for context in contexts if context}
        elsewhere = list(dict.fromkeys((f"tests/{mutation.room}", *ELSEWHERE)))
        mutation.tests = [*sorted(named), *(elsewhere if contexts and (mutation.at_import or not named) else [])]
    return drawn[:number]


def run(mutation: Mutation, clone: Path) -> str:
    """Return the first test that fails with the mutation, or "survived", or "not reached"."""
    if not mutation.tests:
        return "not reached"
    path = clone / mutation.file
    source = path.read_bytes()
    assert source[mutation.start : mutation.end].decode() == mutation.before, f"{path} has changed since the drawing"
    # Those of the room are nearest to the fault.
    tests = sorted(mutation.tests, key=lambda test: not test.startswith(f"tests/{mutation.room}/"))
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:randomly", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": str(clone / "include"), "PYTHONDONTWRITEBYTECODE": "1"}
    path.write_bytes(source[: mutation.start] + mutation.after.encode() + source[mutation.end :])
    try:
        for some in filter(None, (tests[:FEW], tests[FEW:])):
            processes = (
                [] if len(some) <= FEW and "::" in some[0] else ["-n", str(cores_allowed() + 1), "--dist", "loadfile"]
            )
            done = subprocess.run(
                [*command, *processes, *some],
                cwd=clone,
                env=environment,
                capture_output=True,
                text=True,
                timeout=SECONDS,
            )
            if done.returncode not in (0, 5):  # 5: each test of them is gone or set apart
                lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
                return lines[0] if lines else f"pytest ended with {done.returncode}"
    except subprocess.TimeoutExpired:
        return f"took more than {SECONDS} s"
    finally:
        path.write_bytes(source)
    return "survived"


def main() -> None:
    """Draw or run, as the command says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    drawing = commands.add_parser("draw")
    drawing.add_argument("coverage", type=Path)
    drawing.add_argument("mutations", type=Path)
    drawing.add_argument("--number", type=int, default=40)
    drawing.add_argument("--seed", type=int, default=18)
    running = commands.add_parser("run")
    running.add_argument("mutations", type=Path)
    running.add_argument("clone", type=Path)
    chosen = parser.parse_args()
    if chosen.command == "draw":
        drawn = draw(chosen.coverage, chosen.number, chosen.seed)
        chosen.mutations.write_text(json.dumps([asdict(mutation) for mutation in drawn], indent=1))
        return
    mutations = [Mutation(**fields) for fields in json.loads(chosen.mutations.read_text())]
    for number, mutation in enumerate(mutations, 1):
        if not mutation.outcome:
            mutation.outcome = run(mutation, chosen.clone.resolve())
            chosen.mutations.write_text(json.dumps([asdict(one) for one in mutations], indent=1))
        place = f"{mutation.file}:{mutation.line}"
        print(f"{number:3} {mutation.kind:9} {place}: {mutation.before!r}: {mutation.outcome}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
