"""The monitor on streams of which the truth is known.

    python -m benchmarks.in_use alarms                            how often it gives an alarm where nothing has changed (simulated)
    python -m benchmarks.in_use streams DATASET --models MODELS   weeks to the alarm, and estimate against truth, on real pictures
    python -m benchmarks.in_use size ENTRIES                      seconds and memory of the monitor on a log of so many entries

For `streams` the newest evaluated candidate's held-out lesions are halved at random for each series: one half is the reference, of the
other each week draws pictures anew. A series begins with weeks in which nothing has changed. Of each figure the truth is what the labels of the week's own pictures give.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import typer

from skinlesion.data.catalog import read_catalog
from skinlesion.data.images.file import Pixels, encode_jpeg
from skinlesion.data.labels.classes import LABELS
from skinlesion.data.manifest import held_out_rows, read_manifest
from skinlesion.data.sources.drawn.picture import draw_lesion, draw_view
from skinlesion.evaluation.in_use.estimate import figures_of
from skinlesion.evaluation.in_use.monitor import Answered, Versions, alarms_of, monitor, weeks_of
from skinlesion.evaluation.in_use.record import PERFORMANCE, SIGNALS
from skinlesion.evaluation.in_use.reference import Reference, Seen
from skinlesion.evaluation.no_lesions import smoke_set
from skinlesion.foundation import layout
from skinlesion.foundation.checksum import sha256_of
from skinlesion.foundation.tables import write_table
from skinlesion.network.litert import OneForEachThread
from skinlesion.prediction.classifier import classifier_of, pixels_of, usable_header
from skinlesion.prediction.decision import DecisionRule
from skinlesion.prediction.held_out_scores import STATISTICS_COLUMNS, write_answers
from skinlesion.prediction.log.entries import COLUMNS, LogKey, entry_of
from skinlesion.prediction.log.journal import parts
from skinlesion.registry.candidate import Candidate
from skinlesion.stages.settings import PipelineConfig

app = typer.Typer(pretty_exceptions_enable=False)

WEEK: Final = 7 * 86_400_000_000
FIRST: Final = 4 * 86_400_000_000 + 100 * WEEK  # a Monday
MALIGNANT: Final = LABELS.index("malignant")
RULE: Final = DecisionRule.of(
    {
        "version": 1, "temperature": 1.0, "malignant_threshold": 0.2, "target_sensitivity": 0.95,
        "least_confidence": 0.0, "coverage": 1.0, "most_distance": None, "class_shares": [0.7, 0.2, 0.1], "inner_fold": {},
    },
    "the simulation's rule",
)  # fmt: skip


@dataclass(frozen=True)
class Pool:
    """Pictures that a stream is drawn from: what the model said of them, and their classes."""

    seen: Seen
    labels: npt.NDArray[np.int64]

    def part(self, at: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Pool:
        """Return some of the pictures, chosen by a mask or by position."""
        return Pool(self.seen.part(at), self.labels[at])


def found_in(
    weeks: Sequence[Pool], reference: Reference, settings: PipelineConfig, *, after: int = 0
) -> tuple[list[int], list[dict[str, list[float]]], set[str]]:
    """Return the weeks (from 1) that end with an alarm, for each week and figure estimate, low, high and truth, and the signals.

    after: alarms at the end of so many weeks do not count.
    """
    counts = [len(week.labels) for week in weeks]
    every = Seen(
        np.concatenate([week.seen.probabilities for week in weeks]),
        np.concatenate([week.seen.signals for week in weeks]),
        np.arange(sum(counts)),
    )
    at = np.repeat(FIRST + WEEK * np.arange(len(weeks)), counts)
    table = pd.DataFrame({"at": at, "version": "v", "number": 1})
    answered = Answered(table, every, np.full(sum(counts), -1), np.zeros(sum(counts), dtype=np.bool_))
    versions = Versions(Path(), {"v": reference})
    judged = weeks_of(answered, versions, datetime(2030, 1, 1, tzinfo=UTC))
    alarming, signals = [], set[str]()
    for number in range(after + 1, len(weeks) + 1):
        holding, _ = alarms_of(judged[:number], versions, settings)
        if holding:
            alarming.append(number)
            signals |= {alarm.signal for alarm in holding} if len(alarming) == 1 else set()
    compared = []
    for week, one in zip(weeks, judged, strict=True):
        true = figures_of(week.labels[np.newaxis], week.seen.probabilities, reference.rule.malignant_threshold)
        compared.append(
            {
                name: [figure.value, figure.low, figure.high, float(true[name][0])]
                for name, figure in one.week.estimated.items()
                if figure.value is not None and figure.low is not None and figure.high is not None
            }
        )
    return alarming, compared, signals


# --- alarms ----------------------------------------------------------------------------------------------------------


def population(size: int, random: np.random.Generator) -> Pool:
    """Return simulated pictures: signals that hang together, skewed where those of real pictures are, and calibrated classes."""
    common, own = random.normal(size=(size, 1)), random.normal(size=(size, len(SIGNALS)))
    signals = 0.6 * common + 0.8 * own
    difficulty = random.gamma(2.0, 1.0, size=size)
    logits = np.column_stack([difficulty, random.normal(-1.0, 1.6, size), random.normal(-2.0, 1.0, size)])
    powers = np.exp(logits)
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    ends = probabilities.cumsum(axis=1)
    labels = (random.random(size)[:, np.newaxis] > ends[:, :2]).sum(axis=1)
    names = list(SIGNALS)
    signals[:, names.index("p_malignant")] = probabilities[:, MALIGNANT]
    signals[:, names.index("called_malignant")] = probabilities[:, MALIGNANT] >= RULE.malignant_threshold
    signals[:, names.index("no_answer")] = signals[:, names.index("distance")] > 1.645
    signals[:, names.index("size")] = np.where(random.random(size) < 0.1, 17.0, 18.0)
    return Pool(Seen(probabilities, signals, np.arange(size)), labels.astype(np.int64))


@app.command()
def alarms(
    series: Annotated[int, typer.Option(help="Number of series of each size.")] = 200,
    weeks: Annotated[int, typer.Option()] = 20,
    sizes: Annotated[str, typer.Option(help="Pictures a week.")] = "50,100,300,1000",
    held_out: Annotated[int, typer.Option(help="Held-out pictures.")] = 2000,
) -> None:
    """Say in how many series without any change there is an alarm, with the default settings."""
    random, settings = np.random.default_rng(0), PipelineConfig.of({})
    every = population(200_000, random)
    for size in map(int, sizes.split(",")):
        false, by = 0, dict[str, int]()
        for _ in range(series):
            reference = every.part(random.integers(len(every.labels), size=held_out))
            stream = [every.part(random.integers(len(every.labels), size=size)) for _ in range(weeks)]
            alarming, _, signals = found_in(stream, Reference(reference.seen, reference.labels, RULE), settings)
            false += bool(alarming)
            for signal in signals:
                by[signal] = by.get(signal, 0) + 1
        typer.echo(f"{size} pictures a week: an alarm in {false} of {series} series of {weeks} weeks {by or ''}")


# --- streams ---------------------------------------------------------------------------------------------------------


def asked(candidate: Candidate, contents: Sequence[bytes]) -> pd.DataFrame:
    """Return the entries of a log for image files, as the server would note them."""
    classifiers, key = OneForEachThread(classifier_of(candidate.tflite)), LogKey(b"benchmark")
    rows = []
    for content in contents:
        header = usable_header(content, max_pixels=10**8, min_side=32)
        pixels = pixels_of(content, header)
        rows.append(entry_of(key, candidate.run, 1, classifiers.get()(pixels), header, pixels, sha256_of(content)))
    return pd.DataFrame(rows).astype({"distance": "float64"})


def altered(content: bytes, alter: Callable[[Pixels], Pixels]) -> bytes:
    """Return an image file as another camera or program would have written it."""
    bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None
    return bytes(cv2.imencode(".jpg", alter(bgr.astype(np.uint8)), [cv2.IMWRITE_JPEG_QUALITY, 95])[1])


def without_lesion(count: int, sizes: tuple[int, int]) -> list[bytes]:
    """Return drawn pictures of which none shows a lesion."""
    random = np.random.default_rng(7)
    drawn = [draw_view(draw_lesion("nv", random, sizes[1]), random, sizes) for _ in range(30)]
    pictures = [picture for _, picture in smoke_set([cv2.resize(one, (224, 224)).astype(np.uint8) for one in drawn])]
    return [encode_jpeg(cv2.resize(one, sizes).astype(np.uint8), 92) for one in pictures][:count]


@app.command()
def streams(
    dataset: Annotated[Path, typer.Argument(help="A data set that a candidate was trained and evaluated on.")],
    models: Annotated[Path, typer.Option()] = Path("models"),
    series: Annotated[int, typer.Option(help="Series of each kind.")] = 20,
    weeks: Annotated[int, typer.Option()] = 20,
    size: Annotated[int, typer.Option(help="Pictures a week.")] = 100,
    before: Annotated[int, typer.Option(help="Weeks before anything changes.")] = 8,
    cache: Annotated[
        Path | None, typer.Option(help="Folder in which the answers for the altered pictures are kept.")
    ] = None,
) -> None:
    """Weeks to the alarm, and the error and coverage of the estimates, for each kind of stream."""
    candidates = [Candidate(path) for path in layout.candidates(models).iterdir()]
    candidate = max((one for one in candidates if one.metrics.is_file()), key=lambda one: one.metrics.stat().st_mtime)
    full, settings = Reference.of(candidate), PipelineConfig.of({})
    rows = held_out_rows(read_manifest(dataset))
    stored = pd.read_parquet(candidate.predictions)
    rows = rows.set_index("sha256").loc[stored["sha256"]].reset_index()
    files = read_catalog(dataset).set_index("image")["file"]
    contents = [(layout.images(dataset) / files[image]).read_bytes() for image in rows["image"]]

    def pool(name: str, make: Callable[[], list[bytes]], labels: npt.NDArray[np.int64]) -> Pool:
        path = cache / f"{candidate.run}-{name}.parquet" if cache is not None else None
        if path is not None and path.is_file():
            table = pd.read_parquet(path)
        else:
            table = asked(candidate, make())
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                table.to_parquet(path)
        groups = np.arange(len(table)) if name == "none" else full.seen.groups
        return Pool(Seen.of(table, groups), labels)

    own = pool("own", lambda: contents, full.labels)
    larger = pool(
        "larger",
        lambda: [
            altered(one, lambda bgr: cv2.resize(bgr, (600, 450), interpolation=cv2.INTER_CUBIC).astype(np.uint8))
            for one in contents
        ],
        full.labels,
    )
    darker = pool(
        "darker", lambda: [altered(one, lambda bgr: (0.8 * bgr).astype(np.uint8)) for one in contents], full.labels
    )
    none = pool("none", lambda: without_lesion(200, (200, 150)), np.full(200, LABELS.index("unknown")))
    none = none.part(np.arange(len(none.seen.signals)))
    random = np.random.default_rng(1)

    def drawn(from_pool: Pool, at: npt.NDArray[np.int64], malignant: float = 1.0, empty: float = 0.0) -> Pool:
        """malignant: factor of their share. empty: share of pictures without a lesion."""
        weight = np.where(from_pool.labels[at] == MALIGNANT, malignant, 1.0)
        week = from_pool.part(random.choice(at, size, p=weight / weight.sum()))
        count = random.binomial(size, empty)
        if not count:
            return week
        others = none.part(random.integers(len(none.seen.signals), size=count))
        seen = Seen(
            np.concatenate([week.seen.probabilities[count:], others.seen.probabilities]),
            np.concatenate([week.seen.signals[count:], others.seen.signals]),
            np.arange(size),
        )
        return Pool(seen, np.concatenate([week.labels[count:], np.full(count, LABELS.index("unknown"))]))

    kinds: dict[str, Callable[[npt.NDArray[np.int64]], Pool]] = {
        "unchanged": lambda at: drawn(own, at),
        "600x450 instead of 200x150": lambda at: drawn(larger, at),
        "brightness -20 %": lambda at: drawn(darker, at),
        "half of the malignant gone": lambda at: drawn(own, at, malignant=0.5),
        "twice as many malignant": lambda at: drawn(own, at, malignant=2.0),
        "5 % without a lesion": lambda at: drawn(own, at, empty=0.05),
    }
    lesions = full.seen.groups.max() + 1
    typer.echo(
        f"{len(full.labels)} held-out images of {lesions} lesions, {size} pictures a week, {series} series of {weeks} weeks"
    )
    for kind, week in kinds.items():
        firsts, every = [], []
        by = dict[str, int]()
        for _ in range(series):
            is_reference = (random.random(lesions) < 0.5)[full.seen.groups]
            at = np.flatnonzero(~is_reference)
            reference = Reference(full.seen.part(is_reference), full.labels[is_reference], full.rule)
            unchanged = [drawn(own, at) for _ in range(before)]
            stream = [*unchanged, *(week(at) for _ in range(weeks))]
            alarming, compared, signals = found_in(stream, reference, settings, after=before)
            firsts.append(alarming[0] - before if alarming else None)
            every += compared[before:]
            for signal in signals:
                by[signal] = by.get(signal, 0) + 1
        fired = [first for first in firsts if first is not None]
        median = f"after {np.median(fired):.0f} weeks (median; {min(fired)} to {max(fired)})" if fired else ""
        said = ", ".join(f"{name} {count}" for name, count in sorted(by.items(), key=lambda one: -one[1])[:4])
        typer.echo(f"{kind}: an alarm in {len(fired)} of {series} series {median} {said}")
        for name in PERFORMANCE:
            found = np.array([one[name] for one in every if name in one])
            found = found[np.isfinite(found).all(axis=1)]
            value, low, high, true = found.T
            typer.echo(
                f"  {name}: true {true.mean():.3f}, estimated {value.mean():.3f}; mean absolute error "
                f"{np.abs(value - true).mean():.3f}, in the interval {((low <= true) & (true <= high)).mean():.1%}, its mean width "
                f"{(high - low).mean():.3f}"
            )


# --- size ------------------------------------------------------------------------------------------------------------


def simulated_log(folder: Path, models: Path, entries: int) -> None:
    """Write a log of a year, and the candidate whose held-out images it is compared with."""
    random = np.random.default_rng(2)
    every = population(20_000, random)

    def table(at: npt.NDArray[np.int64]) -> pd.DataFrame:
        signals = dict(zip(SIGNALS, every.seen.signals[at].T, strict=True))
        found = pd.DataFrame({name: np.zeros(len(at)) for name, dtype in COLUMNS.items() if dtype != "str"})
        found = found.assign(**{name: "" for name, dtype in COLUMNS.items() if dtype == "str"}, **signals)
        found = found.assign(**dict(zip(LABELS, every.seen.probabilities[at].T, strict=True)), width=200, height=150)
        return found.assign(
            distance=np.exp(signals["distance"]), decision="benign", version="v", number=1, format="JPEG"
        )

    LogKey.drawn(folder)
    for number, begin in enumerate(range(0, entries, 50_000)):
        count = min(50_000, entries - begin)
        ids = np.arange(begin, begin + count)
        names = [f"{one:032x}" for one in ids]
        at = FIRST + ids * (52 * WEEK // entries)
        part = table(random.integers(20_000, size=count)).assign(
            id=ids, at=at, file=names, picture=names, reason="P(malignant) is 0.1"
        )
        write_table(parts(folder) / f"{number:06d}.parquet", part, COLUMNS)
    candidate = Candidate(layout.candidate(models, "v"))
    held_out = table(np.arange(2000)).assign(sha256=[f"{one:064x}" for one in range(2000)])
    rows = held_out.assign(
        image=held_out["sha256"], group=held_out["sha256"], label=[LABELS[one] for one in every.labels[:2000]]
    )

    class Stored:
        def as_columns(self) -> dict[str, object]:
            return {name: held_out[name] for name in (*LABELS, "distance", "decision", "reason")}

    candidate.folder.mkdir(parents=True)
    write_answers(candidate, rows, Stored())  # type: ignore[arg-type]
    write_table(candidate.picture_statistics, held_out, STATISTICS_COLUMNS)
    candidate.decision_rule.write_text(json.dumps(RULE.model_dump(mode="json", by_alias=True)))


@app.command()
def size(entries: Annotated[int, typer.Argument()] = 1_000_000) -> None:
    """Time the monitor on a simulated log of a year."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        script = f"from pathlib import Path; from benchmarks.in_use import simulated_log; simulated_log(Path({name!r}), Path({name!r}) / 'm', {entries})"
        subprocess.run([sys.executable, "-c", script], check=True)  # so that its memory is not counted
        cpu = time.process_time()
        before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
        settings = PipelineConfig.of({"models": folder / "m", "prediction_log": name})
        found = monitor(settings, {}, "indeterminate")
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        typer.echo(
            f"{found.entries:,} entries, {len(found.weeks)} weeks: {seconds:.1f} s ({time.process_time() - cpu:.1f} s of CPU), {peak / 1e6:.2f} GB at most ({before / 1e6:.2f} before)"
        )


if __name__ == "__main__":
    app()
