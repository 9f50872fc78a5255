"""From a seed to a history of nights: what people do to their data and settings, what breaks, what they decide."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Final

Night = dict[str, Any]
Step = dict[str, Any]

SETTINGS: Final[dict[str, Any]] = {
    "weights": "drawn",
    "fine_tune": "none",
    "copies": 0,
    "epochs": 2,
    "dense_units": 4,
    "stored_ways": 1,
    "mirrored": False,
    "robustness_lesions": 0,
    "workers": 1,
    "warm_start": True,
    "warm_epochs": 1,
    "warm_start_share": 0.4,
    "patience": 2,
    "gate_min_auroc": 0.0,
    "gate_min_sensitivity": 0.0,
    "gate_max_calibration_error": 1.0,
    "gate_balanced_accuracy_margin": 1.0,
    "gate_sensitivity_margin": 1.0,
    "gate_max_latency": 60_000,
    "keep_versions": 4,
    "ingest_wait": 5,
    "change_plan": str(Path(__file__).resolve().parents[1] / "change_plan.yaml"),
}
"""Of every night, where it has no others."""

DIAGNOSES: Final = ("nv", "nv", "nv", "bkl", "mel", "mel", "bcc", "unknown", "ak")

CHANGES: Final[dict[str, tuple[Any, ...]]] = {
    "copies": (0, 1),
    "seed": (0, 1, 2),
    "warm_start": (True, False),
    "held_out_fraction": (0.2, 0.35, 0.1),
    "near_duplicates": (True, False),
    "actinic_keratosis": ("indeterminate", "malignant"),
    "gate_min_auroc": (0.0, 0.0, 0.7),
    "gate_balanced_accuracy_margin": (1.0, 1.0, 0.1),
    "keep_versions": (2, 4),
    "require_approval": (False, False, True),
    "stored_ways": (1, 2),
    "epochs": (1, 2),
    "force": (False, False, True),
}
FAULTS: Final = (
    *("freeze",) * 5, *("power",) * 5, "kill", "term", *("enospc",) * 3, "eio", "edquot", "erofs", *("torn",) * 3,
)  # fmt: skip
NAMED: Final = (
    "catalog.parquet", "split.parquet", "manifest.parquet", "history.jsonl", "versions.jsonl", "in_service", "releases",
    "training.json", "trained_on.parquet", "metrics.json", "predictions.parquet", "verdict.json", "decision_rule.json",
    "os.fsync", "os.rename", "os.link", "os.remove", "os.symlink", "tables/", "features/", "output/", "backup/",
)  # fmt: skip
DAMAGES: Final = ("cut", "lost", "empty", "noise", "older", "line")
DAMAGED: Final = (
    "dataset/catalog.parquet", "dataset/split.parquet", "dataset/manifest.parquet", "models/registry/history.jsonl",
    "models/registry/versions.jsonl", "models/in_service/skin_lesion_classifier_trained.json",
    "models/in_service/skin_lesion_classifier_trained.h5", "models/in_service/decision_rule.json", "models/in_service",
)  # fmt: skip


def story(seed: int, nights: int) -> list[Night]:
    """Return the nights of a seed. The same seed has the same first nights, however many are asked for."""
    teller = _Teller(random.Random(f"night {seed}"))
    return [teller.night(number) for number in range(nights)]


class _Teller:
    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.names: list[str] = []
        self.lesions: list[str] = []
        self.settings: dict[str, Any] = {}
        self.pictures = dice.randrange(1 << 20) * 100
        self.gone = False

    def night(self, number: int) -> Night:
        dice = self.dice
        night: Night = {"data": self._data(number), "settings": self._settings(number)}
        if number and dice.random() < 0.15:
            night["clock"] = dice.choice((-86_400 * 40, -3600, 7200, 86_400 * 9, 86_400 * 400))
        if dice.random() < 0.45:
            night["fault"] = self._fault()
        if number > 1 and dice.random() < 0.12:
            night["damage"] = {"kind": dice.choice(DAMAGES), "file": dice.choice(DAMAGED), "draw": dice.random()}
        if number > 1 and dice.random() < 0.3:
            does = dice.choice(("rollback", "rollback", "promote", "promote", "approve", "approve", "decline"))
            night["after"] = [{"do": does, "rank": dice.randrange(4)}]
            if dice.random() < 0.4:
                night["after"][0]["fault"] = self._fault(most=40)
        if number and dice.random() < 0.03:
            night["two_writers"] = True
        elif number and dice.random() < 0.04:
            night["mlflow_away"] = True
        return night

    def _settings(self, number: int) -> dict[str, Any]:
        self.settings.pop("force", None)
        if number and self.dice.random() < 0.3:
            name = self.dice.choice(list(CHANGES))
            self.settings[name] = self.dice.choice(CHANGES[name])
        return dict(self.settings)

    def _fault(self, most: int = 500) -> dict[str, Any]:
        dice = self.dice
        # A night takes some 400 steps: half of the faults anywhere in it, half more often in its beginning.
        at = 1 + int(most * dice.random()) if dice.random() < 0.5 else int(most ** dice.random()) + dice.randrange(8)
        fault = {"kind": dice.choice(FAULTS), "at": at}
        if dice.random() < 0.4:
            fault |= {"named": dice.choice(NAMED), "at": 1 + int(6 * dice.random() ** 2)}
        if fault["kind"] not in ("kill", "term", "freeze", "power"):
            fault["lasting"] = dice.random() < 0.5
        return fault

    def _data(self, number: int) -> list[Step]:
        if number == 0:
            return [self._add(self.dice.randrange(26, 40), every=True)]
        if self.gone:
            self.gone = False
            return [{"op": "bring_back", "images": "all"}]
        if self.dice.random() < 0.25:
            return []
        steps = [self._change() for _ in range(self.dice.choice((1, 1, 2, 3)))]
        return [step for step in steps if step]

    def _change(self) -> Step:
        dice = self.dice
        kinds = {
            "add": 8, "relabel": 3, "delete": 3, "bring_back": 2, "rename": 2, "reformat": 2, "merge": 4, "copy": 3,
            "forget_lesion": 1, "poison": 2, "vanish": 0.5,
        }  # fmt: skip
        op = dice.choices(list(kinds), list(kinds.values()))[0]
        some = dice.sample(self.names, min(len(self.names), dice.choice((1, 1, 2, 3))))
        if op == "add":
            return self._add(dice.choice((1, 2, 3, 5, 9)))
        if op == "merge":
            lesions = dice.sample(self.lesions, min(len(self.lesions), dice.choice((2, 2, 3, 5))))
            return {"op": "merge", "lesions": lesions, "into": min(lesions)}
        if op == "copy":
            name = f"c{len(self.names)}"
            self.names.append(name)
            form = dice.choice(("jpg", "small", "png"))
            # Now and then with another diagnosis: the two contradict each other.
            step = {"op": "copy", "images": some[:1], "name": name, "lesion": f"LC{name}", "form": form}
            return step | ({"dx": dice.choice(DIAGNOSES)} if dice.random() < 0.2 else {})
        if op == "poison":
            self.pictures += 10
            kinds_of = [dice.choice(("cut", "empty", "text", "tail", "unknown")) for _ in range(dice.choice((1, 2, 6)))]
            return {"op": "poison", "kinds": kinds_of, "name": f"x{self.pictures}", "picture": self.pictures}
        if op == "vanish":
            self.gone = True
            return {"op": "delete_diagnosis", "dx": dice.choice((["mel", "bcc"], ["nv", "bkl"]))}
        step = {"op": op, "images": some}
        if op == "relabel":
            step["dx"] = dice.choice(DIAGNOSES)
        if op == "reformat":
            step["form"] = dice.choice(("jpg", "small", "png", "turned"))
        if op == "forget_lesion":
            step["patient"] = f"P{dice.randrange(5)}"
        if op == "bring_back":
            step["images"] = self.names[:: dice.choice((1, 2, 3))]
        return step

    def _add(self, count: int, *, every: bool = False) -> Step:
        images = {}
        for at in range(count):
            name = f"i{len(self.names)}"
            if self.lesions and self.dice.random() < 0.15:
                lesion = self.dice.choice(self.lesions)
            else:
                lesion = f"L{name}"
                self.lesions.append(lesion)
            self.pictures += 1
            dx = DIAGNOSES[at % len(DIAGNOSES)] if every else self.dice.choice(DIAGNOSES)
            form = self.dice.choice(("jpg", "jpg", "jpg", "png", "turned"))
            images[name] = {"picture": self.pictures, "form": form, "dx": dx, "lesion": lesion}
            if self.dice.random() < 0.2:
                images[name]["patient"] = f"P{self.dice.randrange(5)}"
            self.names.append(name)
        return {"op": "add", "images": images}
