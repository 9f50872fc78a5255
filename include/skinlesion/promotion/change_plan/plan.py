"""The change plan: its form, and change_plan.yaml, where an installation writes it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError, model_validator
from pydantic.fields import FieldInfo

from skinlesion.data.checks.settings import CheckSettings
from skinlesion.data.sources.settings import SourceSettings
from skinlesion.evaluation.in_use.settings import MonitorSettings
from skinlesion.evaluation.settings import EvaluationSettings
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.regular_file import read_file, reason_of
from skinlesion.foundation.settings import fingerprint
from skinlesion.foundation.suggestion import did_you_mean
from skinlesion.promotion.settings import PromotionSettings

Kind = Literal[
    "new_data",
    "images_removed",
    "labels_corrected",
    "settings",
    "code",
    "training_code",
    "weights",
    "architecture",
    "preprocessing",
    "taxonomy",
    "thresholds",
]

KINDS: Final[dict[str, str]] = {
    "new_data": "New training images",
    "images_removed": "Images that are training images no more",
    "labels_corrected": "Corrected labels",
    "settings": "Settings of training and augmentation",
    "code": "Revision of the code, packages",
    "training_code": "Code that trains otherwise",
    "weights": "Weights that training begins with",
    "architecture": "Architecture of the network",
    "preprocessing": "How images are accepted, prepared and split",
    "taxonomy": "Which class a diagnosis belongs to",
    "thresholds": "How a decision follows from the probabilities",
}
"""The kinds of change with their titles, in the order of a page."""

KIND_OF_SETTING: Final[dict[str, Kind]] = {
    "weights": "weights",
    "dense_units": "architecture",
    "fine_tune": "architecture",
    "cut": "architecture",
    "mirrored": "architecture",
    "loader": "architecture",
    "actinic_keratosis": "taxonomy",
    **dict.fromkeys(
        ("held_out_fraction", "max_image_pixels", "min_image_side", "near_duplicates", "jpeg_quality"), "preprocessing"
    ),
    **dict.fromkeys(("target_sensitivity", "coverage"), "thresholds"),
}
"""The kind of a change of a setting; `settings` for one that is not named."""

_NOT_SHAPING: Final = {
    *PromotionSettings.model_fields,  # with those of folders and of running
    *CheckSettings.own_fields(),
    *SourceSettings.own_fields(),
    *EvaluationSettings.own_fields(),
    *MonitorSettings.own_fields(),
    "review_queue",
    "review_readers",
} - {"seed"}

DEFAULT: Final = Path(__file__).with_name("default.yaml")
LARGEST: Final = 256_000
"""Bytes of the largest plan that is read."""

Scalar = bool | int | float | str


class Allowed(BaseModel):
    """The values between which a setting may change by itself: a range with both ends, or a list.

    Attributes:
        lowest, highest: the ends; the file calls them `from` and `to`.
        one_of: the list.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lowest: Scalar | None = Field(default=None, alias="from")
    highest: Scalar | None = Field(default=None, alias="to")
    one_of: tuple[Scalar, ...] | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_list(cls, found: object) -> object:
        if isinstance(found, list | tuple):
            return {"one_of": found}
        if not isinstance(found, Mapping) or not {"from", "to"} <= found.keys():
            raise ValueError("expected a list of values such as [none, inverse], or a range such as {from: 1, to: 9}")
        return found

    def holds(self, value: object) -> bool:
        """Return whether the value is among them."""
        if self.one_of is not None:
            return value in self.one_of
        return isinstance(value, int | float) and self.lowest <= value <= self.highest  # type: ignore[operator]

    def __str__(self) -> str:
        if self.one_of is not None:
            return "one of " + ", ".join(map(shown, self.one_of))
        return f"from {shown(self.lowest)} to {shown(self.highest)}"

    def values(self) -> Iterator[tuple[str | int, Scalar]]:
        """Yield each value that the plan states, with its place."""
        if self.one_of is not None:
            yield from enumerate(self.one_of)
        else:
            yield from (("from", self.lowest), ("to", self.highest))  # type: ignore[misc]


class ChangePlan(BaseModel):
    """Which changes may go into service by themselves.

    Attributes:
        description: what is changed, and how.
        by_itself: the kinds of change that need no person.
        settings: the settings that may change by themselves, and between which values.
        gate: the loosest bound of each of the gate's settings that is named; the installation's own setting for the others.
        impact_assessment: what a change may do, and what is done about it.
        retrain_on_alarm: whether an alarm of the model in use starts a training.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str = Field(min_length=1)
    by_itself: tuple[Kind, ...]
    settings: dict[str, Allowed] = Field(default_factory=dict)
    gate: dict[str, Scalar] = Field(default_factory=dict)
    impact_assessment: str = Field(min_length=1)
    retrain_on_alarm: bool = False

    @property
    def digest(self) -> str:
        """16 hex digits that change with the plan, and not with its comments or layout, nor with its younger parts while unused."""
        unused = set() if self.retrain_on_alarm else {"retrain_on_alarm"}
        return fingerprint(self.model_dump(mode="json", by_alias=True, exclude=unused))

    def allows(self, kind: str, name: str = "", value: JsonValue = None) -> bool:
        """Return whether a change of this kind, for a setting the one to this value, may go into service by itself."""
        if kind not in self.by_itself:
            return False
        if name in self.settings:
            return self.settings[name].holds(value)
        return not name or kind != "settings"


@dataclass(frozen=True)
class PlanInForce:
    """The plan of an installation.

    Attributes:
        plan: the plan; None if its file is damaged: then nothing goes into service by itself.
        path: where the installation's file is, or would be.
        is_default: whether there is no file.
        problem: what is wrong with the file; empty if nothing is.
    """

    plan: ChangePlan | None
    path: Path
    is_default: bool = False
    problem: str = ""

    @classmethod
    def of(cls, config: PromotionSettings) -> Self:
        """Return the plan of the installation that these are settings of; the default one if it has no file."""
        path = config.change_plan
        try:
            return cls(_read(path, type(config).model_fields), path)
        except FileNotFoundError:
            if not os.path.lexists(path):
                return cls(default_plan(), path, is_default=True)
            problem = f"{path} is a link to nothing; expected the change plan."
        except OSError as error:
            problem = f"{path} cannot be read: {_reason(error)}."
        except DataError as error:
            problem = str(error)
        return cls(None, path, problem=problem)

    @property
    def digest(self) -> str:
        """That of the plan; empty for a damaged one."""
        return self.plan.digest if self.plan is not None else ""

    @property
    def sentence(self) -> str:
        """Which plan is in force."""
        if self.problem:
            return f"The change plan is damaged, so nothing goes into service by itself. {self.problem}"
        if self.is_default:
            return f"There is no {self.path}: the program's default plan is in force."
        return f"The plan of {self.path} is in force."


def default_plan() -> ChangePlan:
    """Return the plan of an installation without a file of its own."""
    return _read(DEFAULT, None)


def kind_of_setting(name: str) -> Kind:
    """Return which kind of change another value of a setting is."""
    return KIND_OF_SETTING.get(name, "settings")


def shown(value: object) -> str:
    """Return a value as people write it in the plan."""
    if value is None:
        return "(nothing)"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _reason(error: OSError) -> str:
    try:
        return reason_of(error)
    except OSError:
        return str(error.strerror)


Place = tuple[str | int, ...]


def _read(path: Path, fields: Mapping[str, FieldInfo] | None) -> ChangePlan:
    """Return the plan in a file. Raises DataError, which names each line that does not fit, FileNotFoundError, OSError.

    fields: the settings that there are; None to take the names as they are.
    """
    node, content = _parsed(path, read_file(path, most=LARGEST))
    if not isinstance(content, dict):
        raise _wrong(path, [_line(node, (), 0), f"expected the fields {', '.join(ChangePlan.model_fields)}."])
    try:
        plan = ChangePlan.model_validate(content)
    except ValidationError as error:
        problems = [(one["loc"], _in_words(dict(one))) for one in error.errors(include_url=False)]
    else:
        problems = list(_unknown(plan, fields)) if fields is not None else []
        if not problems:
            return plan
    raise _wrong(path, *([_line(node, place, 0), sentence] for place, sentence in problems))


def _parsed(path: Path, content: bytes) -> tuple[yaml.Node, object]:
    try:
        text = content.decode("utf-8-sig")
        # An alias may stand for a thousand others, and no plan needs one.
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            if isinstance(token, yaml.AliasToken):
                raise _wrong(path, [token.start_mark.line + 1, f"found the alias `*{token.value}`; write it out."])
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            raise _wrong(path, [1, f"the file is empty; expected the fields {', '.join(ChangePlan.model_fields)}."])
        for line, name in _repeated(node):
            raise _wrong(path, [line, f"`{name}` is there a second time; expected it once."])
        return node, yaml.safe_load(text)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise _wrong(path, [line, "the text is not UTF-8; save the file as UTF-8."]) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "a character is not allowed"
        raise _wrong(path, [mark.line + 1 if mark else 1, f"this is no YAML: {problem}."]) from None
    except RecursionError:
        raise _wrong(path, [1, "this is nested too deeply to be a plan."]) from None
    except ValueError as error:  # such as a date in the thirteenth month
        raise _wrong(path, [1, f"this cannot be read: {error}."]) from None


def _repeated(node: yaml.Node) -> Iterator[tuple[int, str]]:
    """Yield line and name of each key that is there before in the same mapping."""
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value is not None and not isinstance(key.value, list) and key.value in seen:
                yield key.start_mark.line + 1, str(key.value)
            seen.add(str(key.value))
            yield from _repeated(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _repeated(value)


def _line(node: yaml.Node, place: Sequence[str | int], depth: int) -> int:
    """Return the line of what is at a place of the file, or of the last part of the place that is there."""
    if depth < len(place):
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if str(key.value) == str(place[depth]):
                    return max(int(key.start_mark.line) + 1, _line(value, place, depth + 1))
        elif isinstance(node, yaml.SequenceNode) and isinstance(place[depth], int):
            return _line(node.value[int(place[depth])], place, depth + 1)
    return int(node.start_mark.line) + 1


def _wrong(path: Path, *problems: list[Any]) -> DataError:
    sentences = [f"{path}, line {line}: {sentence}" for line, sentence in problems]
    return DataError(
        "\n".join([*sentences, "Correct the file; `skinlesion change-plan --print-default` shows a whole one."])
    )


def _in_words(problem: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in problem["loc"] if not str(part)[:1].isupper()) or "the file"
    found = problem["input"]
    if problem["type"] == "missing":
        return f"the field `{place}` is missing."
    if problem["type"] == "extra_forbidden":
        known = Allowed.model_fields if len(problem["loc"]) > 1 else ChangePlan.model_fields
        name = str(problem["loc"][-1])
        return f"there is no field `{place}`. {did_you_mean(name, known) or 'Fields: ' + ', '.join(known) + '.'}"
    if problem["type"] == "literal_error" and "by_itself" in problem["loc"]:
        meant = did_you_mean(str(found), get_args(Kind))
        return f"`{found}` is no kind of change. {meant or 'Kinds: ' + ', '.join(get_args(Kind)) + '.'}"
    said = str(problem["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    said = {"tuple_type": "a list", "dict_type": "names with values, or {}"}.get(str(problem["type"]), said)
    return f"`{place}`: expected {said.removeprefix('expected ')}; found {shown(found)[:80]!r}."


def _unknown(plan: ChangePlan, fields: Mapping[str, FieldInfo]) -> Iterator[tuple[Place, str]]:
    """Yield place and sentence for each setting of the plan that does not exist or cannot have such a value."""
    gate = [name for name in PromotionSettings.own_fields() if name.startswith("gate_")]
    shaping = [name for name in fields if shapes_the_model(name)]
    for name, allowed in plan.settings.items():
        place: Place = ("settings", name)
        if name not in shaping:
            hint = did_you_mean(name, shaping) or "`skinlesion settings` lists them."
            yield place, f"`{name}` is no setting that shapes the model. {hint}"
            continue
        wrong = list(_not_valid(place, name, fields[name], allowed.values()))
        yield from wrong
        if not wrong and allowed.one_of is None and not _is_ordered(allowed):
            yield (
                place,
                f"`{name}`: expected a range of numbers whose end is no lower than its beginning; found {allowed}.",
            )
        kind = kind_of_setting(name)
        if kind not in plan.by_itself:
            yield place, f"`{name}` would have no effect: a change of the kind `{kind}` is not in by_itself."
    for name, bound in plan.gate.items():
        if name not in gate:
            hint = did_you_mean(name, gate) or f"Settings of the gate: {', '.join(gate)}."
            yield ("gate", name), f"`{name}` is no setting of the gate. {hint}"
        else:
            yield from _not_valid(("gate",), name, PromotionSettings.model_fields[name], [(name, bound)])


def _is_ordered(allowed: Allowed) -> bool:
    ends = (allowed.lowest, allowed.highest)
    return not any(isinstance(end, bool | str) for end in ends) and allowed.lowest <= allowed.highest  # type: ignore[operator]


def _not_valid(
    place: Place, name: str, field: FieldInfo, values: Iterator[tuple[str | int, Scalar]] | list[tuple[str, Scalar]]
) -> Iterator[tuple[Place, str]]:
    checked: TypeAdapter[Any] = TypeAdapter(Annotated[field.annotation, field])  # type: ignore[arg-type]
    for where, value in values:
        try:
            checked.validate_python(value, strict=True)
        except ValidationError as error:
            said = error.errors(include_url=False)[0]["msg"].removeprefix("Input should be ")
            yield (*place, where), f"`{name}`: expected {said}; found {shown(value)[:80]!r}."


def shapes_the_model(name: str) -> bool:
    """Return whether the model that training makes depends on a setting."""
    return name not in _NOT_SHAPING
