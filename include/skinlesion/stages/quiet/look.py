"""A quiet night: what each stage looks at to know that nothing is new, before it opens a table.

A stage is a function of its settings, of what others left (tables, folders, models) and of what it left itself. When it has
finished, it notes what it saw, by digest, and its report (`Noted`). The next run looks at the same things, and where none has
changed it gives that report again, with nothing done. It looks at

- the content of every table and record that the stage reads or writes (SHA-256 of all bytes, so a damaged one shows);
- the names, sizes and times of the files in the folders that it reads or fills, as they stand in its own table: a file that
  was changed while the stage worked shows too;
- the settings, the environment's variables of this project, and the program's own code.

What others leave counts as it was before the stage began, so what came meanwhile is new to the next run. Nothing is noted of
a run that wants to try something again. Where the look fails, or the note is lost, the stage does all of its work as ever.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import JsonValue

from skinlesion.foundation import atomic
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.settings import fingerprint
from skinlesion.foundation.shard import WHOLE, Shard
from skinlesion.foundation.stage_report import StageReport
from skinlesion.promotion.settings import PromotionSettings
from skinlesion.stages.quiet import of_data, of_models
from skinlesion.stages.quiet.sights import Noted, Seen, Sights, noted_path, program
from skinlesion.stages.settings import PipelineConfig

log = logging.getLogger(__name__)

VALID: Final = timedelta(days=7)
"""After this time a stage does its work as if there were no note: it then also removes what nobody used."""

PROMOTION: Final = "promotion"
"""What the DAG that follows a night notes when it found nothing to judge, to ask or to put in service."""

_NOT_SEEN: Final = {"workers", "shards", "force"}
"""Settings that change no result. The folders are seen: a report names them, and a data set may have been copied."""


class _Looked(NamedTuple):
    """How one stage looks.

    Attributes:
        theirs: what others leave and the stage reads.
        own: what the stage itself leaves, by the report of the run that noted it and what that run saw.
        noted: the same as `own` once it has finished, as its tables say that it left it; None where something is to be tried
            again. It may open tables.
        changes: details of its report that are others when nothing was done.
    """

    theirs: Callable[[Sights, Shard], Seen]
    own: Callable[[Sights, Shard, StageReport, Seen], Seen]
    noted: Callable[[Sights, Shard, StageReport, Seen], Seen | None]
    changes: dict[str, JsonValue]


_LOOKED: Final = {
    "collect": _Looked(of_data.of_labels, of_data.nothing, of_data.nothing, {}),
    "examine": _Looked(of_data.of_files, of_data.examined, of_data.examined_as_noted, {}),
    "ingest": _Looked(
        of_data.of_data_set, of_data.ingested, of_data.ingested_as_noted, {"duplicates": {"left_training": 0}}
    ),
    "resize": _Looked(
        of_data.of_catalog,
        partial(of_data.derived, "resize"),
        partial(of_data.derived_as_noted, "resize"),
        {"removed": 0},
    ),
    "augment": _Looked(
        of_data.of_resized,
        partial(of_data.derived, "augment"),
        partial(of_data.derived_as_noted, "augment"),
        {"removed": 0},
    ),
    "organize": _Looked(
        of_data.of_derived, of_data.organized, of_data.organized_as_noted, {"removed": 0, "manifest_changed": False}
    ),
    "build": _Looked(of_models.of_weights, of_models.built, of_models.built_as_noted, {}),
    "embed": _Looked(
        of_models.of_training_files,
        of_models.embedded,
        of_models.embedded_as_noted,
        {"device": "", "parts_compacted": 0, "parts_removed": 0, "stores_removed": 0},
    ),
    "train": _Looked(of_models.of_training, of_models.trained, of_models.trained_as_noted, {}),
    "evaluate": _Looked(of_models.of_training, of_models.evaluated, of_models.evaluated_as_noted, {}),
    "review": _Looked(of_models.of_labelled, of_models.queued, of_models.queued, {}),
    "promote": _Looked(of_models.of_models, of_data.nothing, of_models.settled, {}),
    PROMOTION: _Looked(of_models.of_models, of_data.nothing, of_models.settled, {}),
}


class Look:
    """One stage's look at what there is, taken before it begins."""

    def __init__(
        self, stage: str, config: PipelineConfig, shard: Shard | None = None, at: Sights | None = None
    ) -> None:
        self._stage, self._config, self._shard = stage, config, shard or WHOLE
        self._how = _LOOKED[stage]
        self._theirs: dict[str, str] | None = None
        if config.force:
            return
        self._sights = at or Sights(config)
        try:
            self._theirs = {**self._of_run(), **self._how.theirs(self._sights, self._shard)}
        except (OSError, DataError) as error:
            log.debug("%s looks at everything: %s", stage, error)

    def report(self) -> StageReport | None:
        """Return the report of a run with nothing to do; None where the stage must run."""
        if self._theirs is None:
            return None
        start = time.monotonic()
        try:
            atomic.remove_partials(self._path().parent)
            known = Noted.read_if_there(self._path())
            if known is None or not 0 <= time.time() - known.at < VALID.total_seconds():
                return None
            now = self._theirs | self._how.own(self._sights, self._shard, known.report, known.seen)
        except (OSError, DataError) as error:
            log.debug("%s looks at everything: %s", self._stage, error)
            return None
        if now != known.seen:
            others = sorted(name for name in now.keys() | known.seen.keys() if now.get(name) != known.seen.get(name))
            log.debug("%s has work: %s", self._stage, ", ".join(others))
            return None
        return known.report.model_copy(update={"seconds": round(time.monotonic() - start, 3)})

    def note(self, report: StageReport) -> None:
        """Note what the stage, which has finished, saw and left, if the next run would find nothing to do."""
        if self._theirs is None:
            return
        try:
            own = self._how.noted(Sights(self._config), self._shard, report, self._theirs)
            if own is None:
                self._path().unlink(missing_ok=True)
                return
            details = _changed(report.details, self._how.changes)
            quiet = {"done": 0, "skipped": report.done + report.skipped, "details": details}
            Noted(at=time.time(), seen=self._theirs | own, report=report.model_copy(update=quiet)).write(self._path())
        except (OSError, DataError, ValueError) as error:  # ValueError: pyarrow's, of a damaged table
            log.warning("What %s saw is not noted (%s): the next run looks at everything", self._stage, error)

    def _of_run(self) -> Seen:
        only = set(PromotionSettings.own_fields()) if self._stage == PROMOTION else None
        settings = self._config.model_dump(mode="json", include=only, exclude=_NOT_SEEN)
        ours = {name: value for name, value in os.environ.items() if name.startswith(("SKINLESION_", "MLFLOW_"))}
        return {"settings": fingerprint(settings), "environment": fingerprint(ours), "program": program()}

    def _path(self) -> Path:
        return noted_path(self._config.dataset, self._stage, self._shard)


def _changed(details: dict[str, JsonValue], changes: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the details with the changes of those that they have."""
    new = dict(details)
    for name in changes.keys() & details.keys():
        before, now = details[name], changes[name]
        new[name] = _changed(before, now) if isinstance(before, dict) and isinstance(now, dict) else now
    return new
