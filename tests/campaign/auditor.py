"""The auditor: after each step it looks at everything on the disk and says what must not be.

It shares no code with the product. What it remembers from step to step is what a user would hold the product to: what was
acknowledged, which side an image was given, what the history said before.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.campaign.audit_data import DataAudit
from tests.campaign.seen import Row, Unreadable, digest, files, lines, record, table

NOT_COMPARED: Final[frozenset[str]] = frozenset()
"""Files that may differ between equal runs: none."""

RELEASES: Final = 6
"""The releases that there may be: that in service, three that readers may still have open, one of a switch that was killed before
it was in force, and one that another, killed when it was, had not removed yet. The next switch that ends removes both."""

TRAINED: Final = "skin_lesion_classifier_trained"


class Violation(NamedTuple):
    """What must not be."""

    check: str
    words: str


@dataclass
class Auditor:
    """Looks at dataset/ and models/ of a folder."""

    folder: Path
    data: DataAudit = field(default_factory=DataAudit)
    history: list[Row] = field(default_factory=list)
    versions: list[Row] = field(default_factory=list)
    acknowledged: list[Row] = field(default_factory=list)
    weights: dict[tuple[str, str], str] = field(default_factory=dict)
    found: list[Violation] = field(default_factory=list)
    ignored: tuple[str, ...] = ()

    @property
    def models(self) -> Path:
        return self.folder / "models"

    def say(self, check: str, words: str) -> None:
        if check not in self.ignored:
            self.found.append(Violation(check, words))

    def acknowledge(self, said: Row) -> None:
        """Remember what the product reported as done."""
        self.acknowledged.append(said)

    def look(self, *, finished: bool) -> list[Violation]:
        """Return what must not be. finished: a run has ended as it should, so that nothing is half done."""
        self.found = []
        try:
            self.data.look(self.folder / "dataset", self.say, finished=finished)
            self._registry(finished)
            self._service(finished)
            self._candidates()
            self._measured()
            if finished:
                self._orphans()
        except Unreadable as error:
            self.say("readable", str(error))
        except (KeyError, TypeError, ValueError) as error:
            self.say("readable", f"a file does not hold what it must: {error!r}")
        self.acknowledged = []
        return self.found

    def _registry(self, finished: bool) -> None:
        now = lines(self.models / "registry" / "history.jsonl")
        if now[: len(self.history)] != self.history:
            self.say("history grows", f"the history lost or changed lines: {len(self.history)} before, {len(now)} now")
        self.history = now
        switches = [one for one in now if one.get("switch") is not None]
        if [one["switch"] for one in switches] != list(range(1, len(switches) + 1)):
            self.say("switch numbers", f"switches are numbered {[one['switch'] for one in switches]}")
        for before, after in itertools.pairwise(switches):
            if after["previous"] != before["version"]:
                self.say("history gaps", f"switch {after['switch']} came after version {after['previous']}, not "
                         f"{before['version']}")  # fmt: skip
        registered = lines(self.models / "registry" / "versions.jsonl")
        if registered[: len(self.versions)] != self.versions:
            self.say("versions grow", f"lines were lost or changed: {len(self.versions)} before, {len(registered)} now")
        self.versions = registered
        numbers = [one["registered"]["number"] for one in registered if "registered" in one]
        if numbers != list(range(1, len(numbers) + 1)):
            self.say("version numbers", f"versions are numbered {numbers}")
        for one in now:
            if one["version"] not in numbers:
                self.say("version numbers", f"the history names version {one['version']}, which nobody registered")
        for one in switches:
            self._was_judged(one, now)
        for said in self.acknowledged:
            self._is_kept(said, finished)

    def _was_judged(self, switch: Row, history: list[Row]) -> None:
        """What came into service by the gate alone passed it, beside what was in service then."""
        if switch["what"] != "promoted" or not switch["reason"].startswith("It passed the gate"):
            return
        at = history.index(switch)
        verdicts = [
            one["verdict"] for one in history[:at] if one["what"] == "judged" and one["version"] == switch["version"]
        ]
        if not verdicts or not verdicts[-1]["passed"] or verdicts[-1]["against"] != switch["previous"]:
            self.say("gate first", f"version {switch['version']} came into service without a verdict that says so")

    def _is_kept(self, said: Row, finished: bool) -> None:
        entry = said.get("switched")
        if entry is not None and not any(_is_entry(one, entry) for one in self._history_and_pending()):
            self.say("acknowledged", f"switch {entry.get('switch')} was reported as done and is not in the history")
        details = said.get("details") or {}
        stage = said.get("finished")
        if stage == "evaluate" and not any(
            one["registered"]["number"] == details["version"] and one["registered"]["run"] == details["run"]
            for one in self.versions
            if "registered" in one
        ):
            self.say("acknowledged", f"version {details['version']} was reported as registered and is not there")
        if stage == "evaluate" and not (self.models / "candidates" / details["run"] / "metrics.json").is_file():
            self.say("acknowledged", f"candidate {details['run']} was reported as evaluated and has no metrics.json")
        if stage == "train" and not (self.models / "candidates" / details["run"] / "training.json").is_file():
            self.say("acknowledged", f"candidate {details['run']} was reported as trained and is not there")
        if (
            stage == "promote"
            and details.get("promoted")
            and not any(
                one["version"] == details["version"] and one.get("switch") for one in self._history_and_pending()
            )
        ):
            self.say("acknowledged", f"version {details['version']} was reported as put in service")

    def _history_and_pending(self) -> list[Row]:
        """Return the history with the switch that a killed process did not write down: the record has it."""
        now = self._record()
        return self.history + ([now["entry"]] if now is not None else [])

    def _record(self) -> Row | None:
        link = self.models / "in_service"
        return record(link.resolve() / f"{TRAINED}.json") if link.is_symlink() else None

    def _service(self, finished: bool) -> None:
        switches = [one for one in self.history if one.get("switch") is not None]
        now = self._record()
        if now is None:
            if switches:
                self.say("in service", "nothing is in service any more")
            return
        release = (self.models / "in_service").resolve()
        found = {name: digest(release / name) for name in now["sha256"]}
        if found != now["sha256"]:
            self.say(
                "in service whole",
                f"files of {release.name} are not those of its record: {_different(found, now['sha256'])}",
            )
        entry = now["entry"]
        if (
            switches
            and not _is_entry(switches[-1], entry)
            and (finished or entry["switch"] != switches[-1]["switch"] + 1)
        ):
            self.say(
                "in service", f"switch {entry['switch']} is in service, the history ends with {switches[-1]['switch']}"
            )
        if not switches and finished:
            self.say("in service", "the history does not say how it came into service")
        known = [one["registered"] for one in self.versions if "registered" in one]
        version = next((one for one in known if one["number"] == entry["version"]), None)
        if version is None or version["run"] != now["run"]:
            self.say(
                "in service registered", f"version {entry['version']} with candidate {now['run']} was never registered"
            )
            return
        served = {
            ("model.tflite" if name == f"{TRAINED}.tflite" else name): value for name, value in now["sha256"].items()
        }
        missing = {name: value for name, value in version["sha256"].items() if name != "model.keras"}
        if served != missing:
            self.say(
                "in service registered", f"not the files of version {entry['version']}: {_different(served, missing)}"
            )
        rule = release / "decision_rule.json"
        if ("decision_rule.json" in missing) != rule.is_file() or (
            rule.is_file() and record(rule) != now["decision_rule"]
        ):
            self.say("in service rule", "the release has not the decision rule that belongs to it")
        for name in (f"{TRAINED}.h5", f"{TRAINED}.tflite", f"{TRAINED}.json"):
            if finished and (self.models / name).resolve() != release / name:
                self.say("in service names", f"{name} does not lead to the release in service")
        if len(list((self.models / "releases").iterdir())) > RELEASES:
            self.say("disk", f"{len(list((self.models / 'releases').iterdir()))} releases are kept")

    def _candidates(self) -> None:
        """Every finished candidate has the files of its record, and equal runs have equal weights."""
        removed = {one["version"] for one in self.history if one["what"] == "removed"}
        registered = [one["registered"] for one in self.versions if "registered" in one]
        runs_removed = {one["run"] for one in registered if one["number"] in removed}
        self.runs_with_files = set()
        for folder in sorted((self.models / "candidates").glob("*")):
            training = folder / "training.json"
            if not training.is_file():
                continue
            made = record(training)
            if folder.name in runs_removed and not (folder / f"{TRAINED}.h5").is_file():
                continue
            self.runs_with_files.add(folder.name)
            known = digest(training)
            if self.weights.get((folder.name, "training.json")) != known:  # reading all of them each time takes long
                found = {name: digest(folder / name) for name in made["sha256"]}
                if found != made["sha256"]:
                    self.say("candidate whole", f"{folder.name}: {_different(found, made['sha256'])}")
                self.weights[folder.name, "training.json"] = known
            for name, value in made["sha256"].items():
                if name in NOT_COMPARED:
                    continue
                if self.weights.setdefault((folder.name, name), value) != value:
                    self.say("equal bytes", f"{folder.name} was trained twice, and {name} differs")

    def learnt(self, run: str) -> set[str]:
        """Return the digests of the pictures that a candidate or a model that it went on from was trained on."""
        found: set[str] = set()
        at: str | None = run
        for _ in range(1000):
            if at is None:
                break
            folder = self.models / "candidates" / at
            own = self.data.trained.get(at) or {row["sha256"] for row in table(folder / "trained_on.parquet")}
            self.data.trained[at] = own
            found |= own
            start = record(folder / "training.json").get("warm_start")
            at = start["from"] if start else None
        return found

    def _measured(self) -> None:
        """Nothing that was measured in this step was learnt by who was measured."""
        for said in self.acknowledged:
            details = said.get("details") or {}
            if said.get("finished") == "train":
                self._trained(details["run"])
            if said.get("finished") == "evaluate":
                self._evaluated(details["run"])
            if said.get("finished") == "promote":
                self._judged(details["run"])

    def _trained(self, run: str) -> None:
        """What the candidate says it was trained on is what the manifest gave it, and none of what is held out."""
        learnt = self.learnt(run)
        told = {row["sha256"] for row in table(self.models / "candidates" / run / "trained_on.parquet")}
        wanted = {row["sha256"] for row in self.data.manifest if row["split"] == "train" and not row["copy"]}
        if told != wanted:
            self.say("trained on", f"{run} names {len(told)} pictures; the manifest had {len(wanted)} for it")
        if both := self.data.held_out_and_learnt(learnt):
            self.say("learnt", f"{run} was trained on {len(both)} pictures that are held out: {both[:3]}")

    def _evaluated(self, run: str) -> None:
        learnt = self.learnt(run)
        measured = {row["sha256"] for row in table(self.models / "candidates" / run / "predictions.parquet")}
        both = set(self.data.held_out_and_learnt(learnt)) & {self.data.image_of.get(one, "") for one in measured}
        metrics = record(self.models / "candidates" / run / "metrics.json")
        held_out = {row["sha256"] for row in self.data.manifest if row["split"] == "held_out"}
        if measured - held_out:
            self.say("measured now", f"{run} has answers for {len(measured - held_out)} pictures that are not held out")
        told = metrics["images"] + metrics["left_out"]["images"]
        if told != sum(1 for row in self.data.manifest if row["split"] == "held_out"):
            self.say(
                "measured now",
                f"{run} was measured on {told} pictures, left out ones included; others are held out now",
            )
        if both and metrics["images"] > self.data.clean(learnt):
            self.say("learnt", f"{run} was measured on {len(both)} pictures that it was trained on")
        other = metrics.get("model_in_service")
        if other and (self.models / "candidates" / other["run"] / "training.json").is_file():
            most = self.data.clean(learnt | self.learnt(other["run"]))
            if other["images"] > most:
                self.say("learnt", f"{run} beside {other['run']}: measured on {other['images']} pictures, {most} of which "
                         "neither learnt")  # fmt: skip

    def _judged(self, run: str) -> None:
        path = self.models / "candidates" / run / "verdict.json"
        if not path.is_file():
            return
        verdict = record(path)
        if verdict["at"] == self.weights.get((run, "verdict")):
            return
        self.weights[run, "verdict"] = verdict["at"]
        learnt = self.learnt(run)
        if verdict["against_run"]:
            learnt = learnt | self.learnt(verdict["against_run"])
        if verdict["images"] > self.data.clean(learnt):
            self.say("learnt", f"the gate measured {run} beside {verdict['against_run']} on {verdict['images']} pictures, "
                     f"{self.data.clean(learnt)} of which neither learnt")  # fmt: skip

    def _orphans(self) -> None:
        for name in files(self.folder):
            if ".partial" in name or ".scratch" in name:
                self.say("orphans", f"{name} is left")
        registered = {one["registered"]["run"] for one in self.versions if "registered" in one}
        now = self._record()
        if now is not None and now["run"] not in self.runs_with_files:
            self.say("candidate whole", f"the candidate in service, {now['run']}, has lost its files")
        reference = self._reference()
        if reference is not None and reference not in self.runs_with_files:
            self.say("reference whole", f"the candidate of the reference, {reference}, has lost its files")
        for folder in (self.models / "candidates").glob("*"):
            if (folder / "backup").exists() and folder.name in registered:
                self.say("orphans", f"{folder.name}/backup is left after its training")
        switched = {one["version"] for one in self.history if one.get("switch")}
        last = {one["version"]: one for one in self.history if one["what"] in ("judged", "declined")}
        waiting = {number for number, one in last.items() if one["what"] == "judged" and one["verdict"]["passed"]}
        known = [one["registered"] for one in self.versions if "registered" in one]
        may_go = {one["run"] for one in known if one["number"] not in switched | waiting} & self.runs_with_files
        if len(may_go) > self.most_kept:
            self.say("disk", f"{len(may_go)} candidates that neither served nor wait for a person keep their files")

    def _reference(self) -> str | None:
        """Return the candidate of the version that candidates must be no worse than, as the history has it."""
        number = None
        for one in self.history:
            look = (one.get("verdict") or {}).get("look")
            is_better = look is not None and look["is_better"] and look["reference"] == number
            if one["what"] == "made the reference" or (one["what"] == "promoted" and (number is None or is_better)):
                number = one["version"]
        known = [one["registered"] for one in self.versions if "registered" in one]
        return next((str(one["run"]) for one in known if one["number"] == number), None)

    most_kept: int = 10_000
    runs_with_files: set[str] = field(default_factory=set)


def _is_entry(one: Row, entry: Row) -> bool:
    names = ("switch", "version", "previous", "what", "at", "actor", "reason")
    return all(one.get(name) == entry.get(name) for name in names)


def _different(found: Row, wanted: Row) -> str:
    return ", ".join(sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name)))


def equal_to_twin(folder: Path, twin: Path) -> list[Violation]:
    """Return in what a data set differs from its twin, on which nothing ever failed."""
    found = []
    for name in ("catalog.parquet", "split.parquet", "manifest.parquet"):
        if digest(folder / "dataset" / name) != digest(twin / "dataset" / name):
            found.append(Violation("twin data", f"{name} is not that of the undisturbed twin"))
    return found


def models_equal_to_twin(folder: Path, twin: Path) -> list[Violation]:
    """Return in what the models differ: the weights of candidates that both trained, and which one is in service."""
    found = []
    for path in sorted((twin / "models" / "candidates").glob("*/training.json")):
        other = folder / "models" / "candidates" / path.parent.name / "training.json"
        if not other.is_file():
            found.append(Violation("twin models", f"the twin trained {path.parent.name}, this one did not"))
            continue
        left, right = record(other)["sha256"], record(path)["sha256"]
        names = [name for name in {*left, *right} - NOT_COMPARED if left.get(name) != right.get(name)]
        if names:
            found.append(
                Violation("twin models", f"{path.parent.name}: {', '.join(sorted(names))} differ from the twin's")
            )
    left_run, right_run = (_run_in_service(one) for one in (folder, twin))
    if left_run != right_run:
        found.append(Violation("twin models", f"{left_run} is in service, the twin has {right_run}"))
    return found


def _run_in_service(folder: Path) -> Any:
    path = (folder / "models" / "in_service").resolve() / f"{TRAINED}.json"
    return record(path)["run"] if path.is_file() else None
