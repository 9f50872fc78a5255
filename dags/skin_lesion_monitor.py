"""Compare what the model in use says with its held-out images, every morning and by hand."""

from __future__ import annotations

import logging
import socket

from airflow.sdk import CronTriggerTimetable, dag, get_current_context

from skin_lesion_dag_settings import DAG_DEFAULTS, Report, deadline, report_task, trigger_form
from skin_lesion_notices import in_use
from skin_lesion_parameters import known_parameters
from skinlesion.evaluation.in_use.settings import MonitorSettings
from skinlesion.stages.settings import PipelineConfig

log = logging.getLogger("skin_lesion_monitor")  # not the name that Airflow gives the module


@dag(
    schedule=CronTriggerTimetable("0 11 * * *", timezone="UTC"),  # the night has until 10:00
    params=trigger_form([*MonitorSettings.own_fields(), "actinic_keratosis"]),
    deadline=deadline(hours=2),
    **DAG_DEFAULTS,
    tags=["skin-lesion", "monitoring"],
)
def skin_lesion_monitor() -> None:
    """### Watch the skin-lesion classifier in use

    Every morning, whatever the night did, and by hand. Reads the prediction log of `skinlesion serve` and the diagnoses that have come
    in, compares each week with the held-out images of the version that answered, and writes what the page *In use* shows. An
    alarm is sent as a notice once, when it begins; it is no failure, and it changes nothing: neither is a model retrained nor
    taken out of service by it. *Research and education only: not a medical device.*

    **When a task fails.** Its log ends with one sentence that says what was expected, what was found and what to do.
    - `DataError`: no log is named, or a file of it is damaged; it is not retried. Correct it, then clear the task.
    - Anything else (disk full) was retried with growing delays. When the cause is gone, clear the task.

    Without `SKINLESION_PREDICTION_LOG` or `SKINLESION_SERVE_LOG` in the installation's settings there is nothing to watch: leave the DAG paused.

    **Owner.** skin-lesion-team. **Safe to clear** any number of times.
    """

    @report_task(doc_md="Read the log, compare it with the held-out images, send notices of new alarms.")
    def watch() -> Report:
        from skinlesion.stages.monitor import run_monitor

        found, new = run_monitor(PipelineConfig.of(known_parameters(get_current_context())))
        for alarm in new:
            in_use(alarm.sentence, alarm.remedy, "The page In use in Airflow shows the weeks.")
        log.info(
            "%d answers in %d weeks, %d diagnoses; %d alarms hold, %d of them new",
            found.entries,
            len({week.monday for week in found.weeks}),
            found.diagnoses,
            len(found.alarms),
            len(new),
        )
        return {
            "entries": found.entries,
            "missing": found.missing,
            "diagnoses": found.diagnoses,
            "alarms": [alarm.sentence for alarm in found.alarms],
            "new": len(new),
            "host": socket.gethostname(),
        }

    watch()


skin_lesion_monitor()
