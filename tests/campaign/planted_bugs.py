"""Deliberate bugs, planted one at a time in the product by replacing one of its functions: does the auditor find them?

`python -m tests.campaign.planted_bugs` plants each, lives through nights until something is found, and prints a table. Before
that the same nights are lived through without a bug.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

Plant = Callable[[], None]
BUGS: Final[dict[str, Plant]] = {}


def bug(function: Plant) -> Plant:
    """List a bug under the name of the function that plants it."""
    BUGS[function.__name__] = function
    return function


def plant(name: str) -> None:
    """Plant a bug in this process, for good."""
    BUGS[name]()


def _replace(place: str, make: Callable[[Any], Any]) -> None:
    """Replace `module:name` (or `module:Class.name`) under skinlesion by what `make` returns for it."""
    import importlib

    module, _, name = place.partition(":")
    owner: Any = importlib.import_module(f"skinlesion.{module}")
    *outer, last = name.split(".")
    for part in outer:
        owner = getattr(owner, part)
    setattr(owner, last, make(getattr(owner, last)))


@bug
def no_fsync() -> None:
    """A file is renamed before it is on the disk."""
    _replace("foundation.atomic:flush", lambda real: lambda path: None)


@bug
def written_in_place() -> None:
    """A file is written where it lies instead of beside it."""

    def write(path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
            file.flush()
            os.utime(path)
            with path.open("ab") as rest:
                rest.write(content[len(content) // 2 :])

    _replace("foundation.atomic:write_bytes", lambda real: write)


@bug
def no_lock() -> None:
    """Two writers work at once."""

    @contextmanager
    def unlocked(*_: Any, **__: Any) -> Any:
        yield

    for place in ("registry.switch:locked", "data.folder:locked"):
        _replace(place, lambda real: unlocked)


@bug
def split_forgotten() -> None:
    """The sides are decided anew each night."""
    from dataclasses import replace

    _replace("stages.ingest:read_split", lambda real: lambda *a: (lambda split: replace(
        split, decisions=split.decisions.iloc[:0]))(real(*a)))  # fmt: skip


@bug
def train_wins() -> None:
    """Where two lesions turn out to be one, the held-out one comes into training."""
    _replace("data.split:_side_codes", lambda real: lambda split: (split.to_numpy() == "held_out").astype("int8"))
    _replace("data.split:_BY_CODE", lambda real: tuple(reversed(real)))


@bug
def equal_files_apart() -> None:
    """Equal files and near-duplicates are not one group."""
    apart = lambda real: lambda images, duplicates=None: real(images, images["image"])  # noqa: E731
    _replace("stages.ingest:assign_groups", apart)
    for place in ("data.catalog:require_no_leak", "data.manifest:require_no_leak"):
        _replace(place, lambda real: lambda *_: None)


def _leaving_nothing_out(dataset: Path, rows: Any, models: Any) -> Any:
    from skinlesion.prediction.measurable import Measurable
    from skinlesion.registry.metrics_record import LeftOut

    return Measurable(rows, rows, LeftOut())


@bug
def measured_on_trained() -> None:
    """Evaluation measures on all images."""
    _replace("stages.evaluate:held_out_rows", lambda real: lambda manifest: manifest[manifest["copy"] == 0])
    _replace("stages.evaluate:measurable", lambda real: _leaving_nothing_out)


@bug
def judged_on_trained() -> None:
    """The gate measures the model in service also on lesions that it learnt and that are held out now."""
    _replace("promotion.compared_models:measurable", lambda real: _leaving_nothing_out)


@bug
def promoted_all_the_same() -> None:
    """What loses at the gate comes into service too."""
    _replace("promotion.decide:_of_verdict", lambda real: lambda *arguments: real(*arguments).model_copy(
        update={"next": "switch"}))  # fmt: skip


def _spoil_each_release(spoil: Callable[[Path, Path], None]) -> None:
    """Do this to a release, after the models folder, before it is in service, and let nobody look at its files there."""

    def make(real: Any) -> Any:
        def put(models: Path, release: Path) -> None:
            spoil(models, release)
            real(models, release)

        return put

    _replace("registry.switch:put_in_service", make)
    _replace("registry.switch:in_service.InService.is_whole", lambda real: lambda self: True)


@bug
def release_without_rule() -> None:
    """A release comes into service without its decision rule."""
    _spoil_each_release(lambda models, release: (release / "decision_rule.json").unlink(missing_ok=True))


@bug
def mixed_pair() -> None:
    """A release has the .tflite file of the release before."""

    def mix(models: Path, release: Path) -> None:
        last = (models / "in_service").resolve()
        name = "skin_lesion_classifier_trained.tflite"
        if last.name != release.name and (last / name).is_file():
            (release / name).unlink()
            shutil.copyfile(last / name, release / name)

    _spoil_each_release(mix)


@bug
def link_first() -> None:
    """The link leads to a release before its files are there."""

    def make(real: Any) -> Any:
        def made(folder: Path, registry: Any, *rest: Any) -> None:
            from skinlesion.registry.release import put_in_service

            folder.mkdir(parents=True, exist_ok=True)
            put_in_service(registry.models, folder)
            time.sleep(0.2)
            shutil.rmtree(folder)
            real(folder, registry, *rest)

        return made

    _replace("registry.switch:_make_release", make)


@bug
def switch_not_noted() -> None:
    """A switch does not get into the history."""
    _replace(
        "registry.history:append", lambda real: lambda models, entry: None if entry.switch else real(models, entry)
    )


@bug
def previous_forgotten() -> None:
    """The history does not say which version was in service before."""
    _replace("registry.switch:HistoryEntry", lambda real: lambda **values: real(**(values | {"previous": None})))


@bug
def number_used_again() -> None:
    """A new version gets the number of the last one."""

    def make(real: Any) -> Any:
        def registered(known: Any, *rest: Any) -> Any:
            version = real(known, *rest)
            return version.model_copy(update={"number": max(1, version.number - 1)})

        return registered

    _replace("registry.register:registered_now", make)


@bug
def registered_in_memory() -> None:
    """A version is reported as registered and is not written down."""
    _replace("registry.register:append_registered", lambda real: lambda models, version: None)


@bug
def ancestors_forgotten() -> None:
    """A warm start notes only what is new as what the model was trained on."""

    def make(real: Any) -> Any:
        def write(candidate: Any, rows: Any, inner: Any, warm: Any = None) -> Any:
            if warm is None:
                return real(candidate, rows, inner, warm)
            return real(candidate, rows[warm.new], inner[warm.new], None)

        return write

    _replace("stages.train:write_trained_on", make)


@bug
def warm_all_the_same() -> None:
    """A warm start goes on from a model that learnt what is held out now."""

    def make(real: Any) -> Any:
        def warm(config: Any, rows: Any, champion: Any, record: Any) -> Any:
            import skinlesion.training.warm_start

            warm_start: Any = skinlesion.training.warm_start
            read, wanted = warm_start.read_learnt, set(rows["sha256"])
            warm_start.read_learnt = lambda model: (lambda known: known[known["sha256"].isin(wanted)])(read(model))
            try:
                return real(config.model_copy(update={"warm_start_share": 1.0}), rows, champion, record)
            finally:
                warm_start.read_learnt = read

        return warm

    _replace("training.warm_start:_warm_start", make)


@bug
def catalog_first() -> None:
    """The catalog is written before the split."""
    kept: list[Any] = []

    def make(real: Any) -> Any:
        def write(dataset: Path, *rest: Any) -> Any:
            changed = real(dataset, *rest)
            while kept:
                kept.pop()()
            return changed

        return write

    _replace("data.split_table:SplitTable.write", lambda real: lambda *arguments: kept.append(lambda: real(*arguments)))
    _replace("stages.ingest:contract.write_catalog", make)


@bug
def partials_left() -> None:
    """Nobody removes what a killed run left half written."""
    _replace("foundation.atomic:remove_partials", lambda real: lambda *_, **__: None)


@bug
def stale_links() -> None:
    """The training view keeps the link to what a file was before."""

    def make(real: Any) -> Any:
        def needs(wanted: Any, present: Any, before: Any, force: bool) -> Any:
            return wanted[~wanted["file"].isin(present)]

        return needs

    _replace("stages.organize:_needs_link", make)


@bug
def another_seed() -> None:
    """A training depends on the time."""
    import keras

    real = keras.utils.set_random_seed
    _replace("training.fit:seed_dropout", lambda real: lambda *_: None)
    keras.utils.set_random_seed = lambda seed: real(time.time_ns() % 1000)
    _replace("stages.build:read_built_model", lambda real: lambda models: None)


@bug
def champion_removed() -> None:
    """The retention setting takes the files of every version, also of that in service."""
    _replace("registry.retention:_may_go", lambda real: lambda version: True)


@bug
def old_figures() -> None:
    """Figures are taken as they were though other lesions are held out now."""
    _replace("stages.evaluate:evaluation_key", lambda real: lambda config, training, rows: training.run)
    _replace("stages.evaluate:version", lambda real: lambda rows: "v")


def harder(history: list[Any]) -> list[Any]:
    """Return a history with power cuts in the place of its quick kills, and two writers every fifth night."""
    for number, night in enumerate(history):
        for what in (night, *night.get("after", ())):
            if what.get("fault", {}).get("kind") == "freeze":
                what["fault"]["kind"] = "power"
        if number % 5 == 4:
            night["two_writers"] = True
    return history


class Found(NamedTuple):
    """What found a bug, and after how many nights; an empty check if nothing did."""

    nights: int
    check: str
    words: str


def found_by(name: str, seeds: int, ignored: tuple[str, ...] = ()) -> Found:
    """Live through histories with a bug until the auditor says something."""
    from tests.campaign.campaign import live
    from tests.campaign.story import story
    from tests.campaign.workers import Workers

    workers, nights = Workers(name), 0
    try:
        for seed in range(1001, 1001 + seeds):
            result = live(harder(story(seed, 25)), workers, with_twin=seed % 2 == 0, ignored=ignored)
            nights += result.nights
            if result.violations:
                return Found(nights, *result.violations[0])
    finally:
        workers.end()
    return Found(nights, "", "")


def main() -> int:
    """Plant each bug that is named, or all, and print which check found it after how many nights."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign.planted_bugs", description=main.__doc__)
    parser.add_argument("names", nargs="*", help="the bugs; all if none is named")
    parser.add_argument(
        "--seeds", type=int, default=4, help="after so many histories without a finding a bug is missed"
    )
    parser.add_argument("--ignore", default="", help="checks that do not count, by commas; damage: no damage is done")
    asked = parser.parse_args()
    names, ignored = asked.names or list(BUGS), tuple(asked.ignore.split(","))
    fault = found_by("", asked.seeds, ignored)
    if fault.check:
        sys.stdout.write(
            f"{fault.nights} nights without a planted bug  {fault.check}: {fault.words}\nMend that first: it would be found in "
            "the place of planted ones.\n"
        )
        return 1
    missed = []
    for name in names:
        found = found_by(name, asked.seeds, ignored)
        missed += [] if found.check else [name]
        words = f"{found.check}: {found.words}" if found.check else "NOT FOUND"
        sys.stdout.write(f"{name:24} {found.nights:4} nights  {words}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{len(names) - len(missed)} of {len(names)} found\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
