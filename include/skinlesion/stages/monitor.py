"""Monitor: read the prediction log, compare it with the model's held-out images, and write what was found for the page."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from skinlesion.data.catalog import read_catalog
from skinlesion.evaluation.in_use.agreement import compare_shadow
from skinlesion.evaluation.in_use.monitor import class_of_files, monitor
from skinlesion.evaluation.in_use.record import Alarm, MonitorRecord
from skinlesion.evaluation.in_use.settings import SERVERS
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.stages.settings import PipelineConfig

log = logging.getLogger(__name__)


class Monitored(NamedTuple):
    """What was found, and the alarms among it of which no notice was given before."""

    found: MonitorRecord
    new: list[Alarm]


def run_monitor(config: PipelineConfig, give_notice: Callable[[Sequence[Alarm]], None] | None = None) -> Monitored:
    """Write models/shadow.json and models/monitor.json, and give notice of the alarms that have begun.

    Without give_notice they stay new for the next run that has it. What was noticed is written down afterwards: a run that is
    killed between the two gives a notice twice, never none. Raises DataError if there is no log, or a file of it is damaged.
    """
    known = _known(config)
    found = monitor(config, known, config.actinic_keratosis)
    compare_shadow(config, known, config.actinic_keratosis).write(layout.shadowed(config.models))
    path, noticed = layout.monitored(config.models), set[tuple[str, str, str]]()
    with suppress(DataError):  # a damaged one is written anew, and notice of its alarms is given again
        last = MonitorRecord.read_if_there(path)
        noticed = {alarm.key for alarm in last.alarms if alarm.is_noticed} if last is not None else noticed
    new = [alarm for alarm in found.alarms if alarm.key not in noticed]
    if give_notice is not None:
        give_notice(new)
        noticed |= {alarm.key for alarm in new}
    alarms = [alarm.model_copy(update={"is_noticed": alarm.key in noticed}) for alarm in found.alarms]
    found.model_copy(update={"alarms": tuple(alarms)}).write(path)
    return Monitored(found, new)


def refresh_agreement(config: PipelineConfig) -> None:
    """Write models/shadow.json anew where a prediction log is named. What is wrong with the log is logged: no promotion depends on it."""
    if config.prediction_log or os.environ.get(SERVERS):
        try:
            compare_shadow(config, _known(config), config.actinic_keratosis).write(layout.shadowed(config.models))
        except (DataError, OSError) as error:
            log.warning("What the candidate said in the shadow could not be brought up to date: %s", error)


def _known(config: PipelineConfig) -> dict[str, str]:
    catalog = read_catalog(config.dataset) if layout.catalog(config.dataset).is_file() else None
    return {} if catalog is None else class_of_files(catalog)
