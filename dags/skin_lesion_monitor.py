"""Compare what the model in use says with its held-out images, every morning and by hand."""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import CronTriggerTimetable, dag, get_current_context, task

from skin_lesion_dag_settings import DAG_DEFAULTS, Report, deadline, report_task, trigger_form
from skin_lesion_notices import in_use
from skin_lesion_parameters import known_parameters
from skinlesion.evaluation.in_use.record import Alarm, by_remedy
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
    alarm is sent as a notice once, when it begins, and is no failure. It takes no model out of service, and it starts
    `skin_lesion_retrain` only where the change plan says `retrain_on_alarm: true`. *Research and education only: not a medical device.*

    **When a task fails.** Its log ends with one sentence that says what was expected, what was found and what to do.
    - `DataError`: no log is named, or a file of it is damaged; it is not retried. Correct it, then clear the task.
    - Anything else (disk full) was retried with growing delays. When the cause is gone, clear the task.

    Without `SKINLESION_PREDICTION_LOG` or `SKINLESION_SERVE_LOG` in the installation's settings there is nothing to watch: leave the DAG paused.

    **Owner.** skin-lesion-team. **Safe to clear** any number of times.
    """

    @report_task(doc_md="Read the log, compare it with the held-out images, send notices of new alarms.")
    def watch() -> Report:
        from skinlesion.stages.monitor import run_monitor

        def give_notice(alarms: Sequence[Alarm]) -> None:
            for remedy, together in by_remedy(alarms).items():
                sentences = " ".join(alarm.sentence for alarm in together)
                in_use(sentences, remedy, "The page In use in Airflow shows the weeks.")

        found, new = run_monitor(PipelineConfig.of(known_parameters(get_current_context())), give_notice)
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

    @task.short_circuit(doc_md="Go on where an alarm has begun and the change plan lets it start a training.")
    def is_training_wanted(report: Report) -> bool:
        from skinlesion.promotion.change_plan.plan import PlanInForce

        if not report["new"]:
            return False
        found = PlanInForce.of(PipelineConfig.of(known_parameters(get_current_context())))
        is_wanted = found.plan is not None and found.plan.retrain_on_alarm
        log.info("%s It lets an alarm start %s training", found.sentence, "a" if is_wanted else "no")
        return is_wanted

    retrain = TriggerDagRunOperator(
        task_id="retrain",
        trigger_dag_id="skin_lesion_retrain",
        trigger_run_id="alarm__{{ run_id }}",
        conf={"warm_start": False},
        skip_when_already_exists=True,
        note="An alarm of the model in use started this run, since the change plan says `retrain_on_alarm: true`.",
        doc_md="Start a training from the built model on all images that there are now.",
    )
    is_training_wanted(watch()) >> retrain  # type: ignore[arg-type]  # when the task runs it is the report


skin_lesion_monitor()
