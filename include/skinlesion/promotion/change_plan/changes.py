"""What a version changes against the model in service, kind by kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd
from pydantic import JsonValue

from skinlesion.data.catalog import read_catalog
from skinlesion.data.labels.image_name import full_size_name
from skinlesion.data.labels.readings import diagnosed
from skinlesion.data.labels.review_log import read_reviews
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.wording import counted
from skinlesion.prediction.measurable import read_learnt
from skinlesion.promotion.change_plan.plan import KINDS, ChangePlan, kind_of_setting, shapes_the_model, shown
from skinlesion.promotion.change_plan.record import ChangedValue, CountOfImages, DataChange, Finding, Relabelled
from skinlesion.promotion.settings import PromotionSettings
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.training_record import TrainingRecord

_BUILT_BY: Final = frozenset({"dense_units", "dropout", "seed", "weights"})
"""Settings that change the model before training, and are named as such."""


@dataclass(frozen=True)
class Change:
    """What is different, without any judgement of it."""

    data: DataChange
    settings: tuple[ChangedValue, ...]
    code: tuple[ChangedValue, ...]
    weights: tuple[ChangedValue, ...]
    network: bool
    classes: tuple[ChangedValue, ...]


def change_between(config: PromotionSettings, before: Candidate, now: Candidate) -> Change:
    """Return what is different between the model in service and a candidate. Raises DataError if that cannot be told."""
    one, other = _training(before), _training(now)
    settings = tuple(_settings(config, one.settings, other.settings))
    weights = _differing(
        {"weights of the backbone (hash)": one.weights_key}, {"weights of the backbone (hash)": other.weights_key}
    )
    is_named = bool(weights) or any(each.name in _BUILT_BY for each in settings)
    return Change(
        data=_data(config.dataset, read_learnt(before), read_learnt(now)),
        settings=settings,
        code=_differing(_code(one), _code(other)),
        weights=(*weights, *_differing({"went on from candidate": None}, {"went on from candidate": _origin(other)})),
        network=one.origin.built != other.origin.built and not is_named,
        classes=_differing({"classes": [*one.classes]}, {"classes": [*other.classes]}),
    )


def findings(change: Change, plan: ChangePlan | None) -> Iterator[Finding]:
    """Yield each kind of change, inside the plan or outside. plan: None for a damaged one, outside which everything is."""
    data = change.data
    for kind, sentence in (
        ("new_data", _changed(data.added, "training image is new", "training images are new")),
        (
            "images_removed",
            _changed(data.removed, "image is a training image no more", "images are training images no more"),
        ),
        ("labels_corrected", _corrected(data)),
        ("taxonomy", _taxonomy(change)),
        ("architecture", "The network before training is another one, by no setting." if change.network else ""),
        ("weights", _values([one for one in change.weights if one.before is not None])),
        ("training_code", _values([one for one in change.code if one.name == TRAINING_CODE])),
        ("code", _values([one for one in change.code if one.name != TRAINING_CODE])),
    ):
        if sentence:
            yield _finding(plan, kind, sentence)
    for one in change.settings:
        kind = kind_of_setting(one.name)
        sentence = f"{one.name} is {shown(one.now)}; the model in service has {shown(one.before)}."
        yield _finding(plan, kind, sentence, one.name, one.now)


TRAINING_CODE: Final = "training code (number)"


def _finding(plan: ChangePlan | None, kind: str, sentence: str, name: str = "", value: JsonValue = None) -> Finding:
    inside = plan is not None and plan.allows(kind, name, value)
    if plan is not None and not inside:
        why = f"the plan lets no change of the kind `{kind}` into service by itself"
        if kind in plan.by_itself:
            allowed = plan.settings.get(name)
            why = f"the plan allows {allowed}" if allowed is not None else f"the plan does not name {name}"
        sentence = f"{sentence.removesuffix('.')}: {why}."
    return Finding(kind=kind, title=KINDS[kind], inside=inside, sentence=sentence)


def _training(candidate: Candidate) -> TrainingRecord:
    try:
        return TrainingRecord.read(candidate.training)
    except FileNotFoundError:
        raise DataError(f"{candidate.training} is missing: expected the record that train writes.") from None


def _settings(
    config: PromotionSettings, before: Mapping[str, JsonValue], now: Mapping[str, JsonValue]
) -> Iterator[ChangedValue]:
    """Yield the settings that shape the model and differ. One that a record lacks had its default: it came later."""
    for name in dict.fromkeys([*before, *now]):
        field = type(config).model_fields.get(name)
        if field is None or not shapes_the_model(name):
            continue
        one, other = before.get(name, field.default), now.get(name, field.default)
        if one != other:
            yield ChangedValue(name=name, before=one, now=other)


def _code(training: TrainingRecord) -> dict[str, JsonValue]:
    return {TRAINING_CODE: training.origin.training_version, "git revision": training.git_revision, **training.packages}


def _origin(training: TrainingRecord) -> str | None:
    return training.warm_start.champion if training.warm_start is not None else None


def _differing(before: Mapping[str, JsonValue], now: Mapping[str, JsonValue]) -> tuple[ChangedValue, ...]:
    return tuple(
        ChangedValue(name=name, before=before.get(name), now=now.get(name))
        for name in dict.fromkeys([*before, *now])
        if before.get(name) != now.get(name)
    )


def _data(dataset: Path, before: pd.DataFrame, now: pd.DataFrame) -> DataChange:
    source = read_catalog(dataset).set_index("image")["source"]
    source = source[~source.index.duplicated()]
    # After a warm start the table has a relabelled image twice: as it is today, which comes first, and as it was before.
    one, other = (
        table.assign(name=full_size_name(table["image"])).drop_duplicates("name").set_index("name")
        for table in (before, now)
    )
    columns = ["image", "dx", "label"]
    both = pd.concat([one[columns].add_suffix("_before"), other[columns].add_suffix("_now")], axis=1)
    was, there = both["dx_before"].notna(), both["dx_now"].notna()
    relabelled = was & there & ((both["dx_before"] != both["dx_now"]) | (both["label_before"] != both["label_now"]))
    both["source"] = both["image_now"].fillna(both["image_before"]).map(source).fillna("")
    moved = was & there & (both["dx_before"] != both["dx_now"])
    counted = {
        "before": (was, "dx_before"),
        "added": (there & ~was, "dx_now"),
        "removed": (was & ~there, "dx_before"),
        "gained": (moved, "dx_now"),
        "lost": (moved, "dx_before"),
        "now": (there, "dx_now"),
    }
    table = pd.DataFrame(
        {
            name: both[chosen].groupby([both.loc[chosen, column].rename(index="diagnosis"), "source"]).size()
            for name, (chosen, column) in counted.items()
        }
    )
    table = (
        table.fillna(0)
        .astype(int)
        .reset_index()
        .sort_values(["now", "diagnosis", "source"], ascending=[False, True, True])
    )
    columns = ["dx_before", "label_before", "dx_now", "label_now"]
    reviewed = diagnosed(read_reviews(dataset).of_image)
    people = pd.Series(
        [
            reviewed[image].by if image in reviewed and reviewed[image].dx == dx else ""
            for image, dx in zip(both["image_now"], both["dx_now"], strict=True)
        ],
        index=both.index,
        name="by",
    )
    by = both[relabelled].groupby([*columns, people[relabelled]]).size()
    sizes = both[relabelled].groupby(columns).size().sort_values(ascending=False, kind="stable")
    pairs = sizes.rename(index="images").reset_index()
    return DataChange(
        before=int(was.sum()),
        added=int((there & ~was).sum()),
        removed=int((was & ~there).sum()),
        relabelled=int(relabelled.sum()),
        now=int(there.sum()),
        counts=tuple(CountOfImages.model_validate(row) for row in table.to_dict("records")),
        relabellings=tuple(
            Relabelled(
                diagnosis_before=row["dx_before"],
                class_before=row["label_before"],
                diagnosis=row["dx_now"],
                class_now=row["label_now"],
                images=int(row["images"]),
                by={name: int(count) for name, count in by.loc[tuple(row[name] for name in columns)].items() if name},
            )
            for row in pairs.to_dict("records")
        ),
    )


def _corrected(data: DataChange) -> str:
    other = [one for one in data.relabellings if one.diagnosis_before != one.diagnosis]
    said = Counter[str]()
    for one in other:
        said.update(one.by)
    by = ", ".join(f"{name} {count:,}" for name, count in said.most_common())
    sentence = _changed(
        sum(one.images for one in other),
        "training image has another diagnosis",
        "training images have another diagnosis",
    )
    return f"{sentence.removesuffix('.')} (in reviews: {by})." if by else sentence


def _taxonomy(change: Change) -> str:
    """Return what is different in which class a diagnosis belongs to, as sentences; empty if nothing is."""
    moved = [
        f"{counted(one.images, f'image of {dx} counts', f'images of {dx} count')} as {one.class_now}, before as {one.class_before}."
        for one in change.data.relabellings
        for dx in [one.diagnosis or "(no diagnosis)"]
        if one.diagnosis_before == one.diagnosis
    ]
    return " ".join([*moved, *([_values(list(change.classes))] if change.classes else [])])


def _values(changed: list[ChangedValue]) -> str:
    named = [f"{one.name} {_short(one.before)} became {_short(one.now)}" for one in changed]
    sentence = "; ".join(named)
    return f"{sentence[:1].upper()}{sentence[1:]}." if named else ""


def _short(value: JsonValue) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else shown(value)[:12]


def _changed(images: int, one: str, more: str) -> str:
    return f"{counted(images, one, more)}." if images else ""
