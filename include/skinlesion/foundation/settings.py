"""What every setting has in common, and the settings of a run as a whole.

Each room has its section of settings, a frozen class, beside the code that reads it; `skinlesion.stages.settings` joins
them in `PipelineConfig`, from which the environment, the command line and Airflow's trigger form are made. A function takes
the section that it reads: a `PipelineConfig` is one of each.

A setting is taken, in this order, from the caller (`--set key=value`, the trigger form), from the environment variable
`SKINLESION_<NAME>`, else from its default.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, WithJsonSchema
from pydantic_settings import BaseSettings, SettingsConfigDict

from skinlesion.foundation.cores import cores_allowed
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.redaction import without_secrets
from skinlesion.foundation.suggestion import did_you_mean

PROJECT_ROOT: Final = Path(__file__).resolve().parents[3]
"""The checkout, since the package is installed editable from include/; paths in settings are relative to it."""

MAKES_STALE: Final = "makes_stale"
"""Key in a field's `json_schema_extra`: the stages whose files depend on the setting."""

ADDED_LATER: Final = "added_later"
"""Key in a field's `json_schema_extra`: whether the setting came after files had been made without it."""

IN_FORM: Final = "in_form"
"""Key in a field's `json_schema_extra`: whether the trigger form asks for the setting."""

ProjectPath = Annotated[Path, AfterValidator(lambda path: PROJECT_ROOT / path)]
"""A path; one that is not absolute begins at the project."""

OptionalText = Annotated[
    str,
    BeforeValidator(lambda value: "" if value is None else value),
    WithJsonSchema({"type": ["string", "null"]}),
]
"""Text that may be left out. Airflow's form gives an emptied field as null, and asks for one that may not be null."""


def setting(
    default: Any,
    title: str,
    description: str | None = None,
    *,
    makes_stale: Iterable[str] = (),
    added_later: bool = False,
    in_form: bool = True,
    **bounds: Any,
) -> Any:
    """Return the field of a setting.

    Args:
        default: its value where nobody sets it.
        title: what the trigger form calls it.
        description: one or two sentences for the trigger form, `skinlesion settings` and the reference.
        makes_stale: the stages whose files depend on the value. What only decides which files there are (`copies`), what
            is decided once for ever (`held_out_fraction`), and what each run reads anew (`actinic_keratosis`) makes no
            file stale.
        added_later: whether files were made before the setting came. Its default must then do what was done without it, and
            makes none of those files stale.
        in_form: whether the trigger form asks for it. A place (a folder, an address, a server) is the installation's, and so is
            what no run may open: it is set in the environment, or on the command line by the user of the machine, and never by a run of a DAG.
        bounds: pydantic's (`ge`, `le`, `pattern`, ...). A `pattern` is part of the form too.
    """
    extra: dict[str, Any] = {MAKES_STALE: sorted(makes_stale), ADDED_LATER: added_later, IN_FORM: in_form}
    if "pattern" in bounds:
        extra["pattern"] = bounds["pattern"]
    return Field(default=default, title=title, description=description, json_schema_extra=extra, **bounds)


class Settings(BaseSettings):
    """A section of the settings. Frozen and validated; an unknown name is refused."""

    model_config = SettingsConfigDict(env_prefix="SKINLESION_", frozen=True, extra="forbid", validate_default=True)

    section: ClassVar[str] = ""
    """Heading under which the trigger form and `skinlesion settings` show the fields that this class declares."""

    where_listed: ClassVar[str] = "`skinlesion settings --search WORD` finds settings."
    """Where people find the names of these settings."""

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """Return the section with these settings over the environment's and the defaults.

        Values may be strings (`--set epochs=3`). Raises `DataError` that names every setting that is wrong.
        """
        try:
            return cls(**settings)
        except ValidationError as error:
            raise DataError(cls._in_words(error)) from None

    @classmethod
    def own_fields(cls) -> tuple[str, ...]:
        """Return the names of the settings that this class declares itself, in their order."""
        return tuple(name for name in cls.__annotations__ if name in cls.model_fields)

    @classmethod
    def _in_words(cls, error: ValidationError) -> str:
        """Return one sentence for each problem: the setting, what was expected, what was found."""
        lines = []
        for problem in error.errors(include_url=False):
            name = ".".join(str(part) for part in problem["loc"]) or "settings"
            if problem["type"] == "extra_forbidden":
                sentences = (f"There is no setting `{name}`.", did_you_mean(name, cls.model_fields), cls.where_listed)
                lines.append(" ".join(filter(None, sentences)))
            else:
                lines.append(without_secrets(f"Setting `{name}`: {problem['msg']}; found {problem['input']!r}."))
        return "\n".join(lines)

    def fingerprint(self, stage: str, version: int = 1) -> str:
        """Return 16 hex digits that change with the settings that the stage's files depend on.

        Ask it of the stage's own section or of a `PipelineConfig`, which both have all of those settings.

        Args:
            stage: the stage that makes the files.
            version: counts up, from 1, when what the stage makes changes for a reason that no setting shows.
        """
        values = {
            name: getattr(self, name)
            for name, field in type(self).model_fields.items()
            if isinstance(extra := field.json_schema_extra, dict)
            and stage in extra[MAKES_STALE]  # type: ignore[operator]
            and not (extra[ADDED_LATER] and getattr(self, name) == field.default)
        }
        return fingerprint({"version": version, **values})


class Folders(Settings):
    """Where the data set and the models lie."""

    section = "Data"

    dataset: ProjectPath = setting(
        Path("dataset"),
        "Image source",
        "Folder with images/ and diagnoses.csv. Everything derived from them is written beside them.",
        in_form=False,
    )
    models: ProjectPath = setting(
        Path("models"),
        "Models folder",
        "Folder of the built model, the candidates and the model in service.",
        in_form=False,
    )
    prediction_folders: OptionalText = setting(
        "",
        "Folders to predict",
        "Folders of images, separated by colons, that a run of skin_lesion_predict may name besides those in the data set's "
        "folder.",
        in_form=False,
    )

    def folders_to_predict(self) -> list[Path]:
        """Return the folders within which a run of the prediction DAG may name images."""
        return [self.dataset, *(PROJECT_ROOT / folder for folder in self.prediction_folders.split(":") if folder)]


class RunSettings(Folders):
    """How a run works. Every section that a stage reads has these too."""

    section = "Running"

    shards: int = setting(
        1,
        "Shards",
        "Number of mapped tasks over which examine, resize, augment, embed and the prediction of a folder spread.",
        ge=1,
        le=64,
    )
    workers: int = setting(
        0,
        "Workers",
        "Number of threads or processes that a stage uses. 0 uses every core that its process may use.",
        ge=0,
        le=256,
    )
    force: bool = setting(False, "Force", "Do everything again, also what is up to date.")
    seed: int = setting(
        0,
        "Seed",
        "Seed of augmentation, initial weights, dropout and shuffling. The split does not depend on it.",
        makes_stale=("augment", "build", "train"),
        ge=0,
        le=2**31 - 1,
    )

    def workers_used(self) -> int:
        """Return the number of threads or processes that a stage may use on this machine."""
        return self.workers or cores_allowed()


def value_text(value: Any) -> str:
    """Return the value of a setting as text for people."""
    if value == "" or value is None:
        return "(empty)"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def fingerprint(values: Any) -> str:
    """Return 16 hex digits of the SHA-256 of a JSON-able value, independent of key order."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]
