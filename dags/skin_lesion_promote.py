"""Judge a candidate, ask a person where one must agree, put it in service."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param, TriggerRule, dag, get_current_context, task

from skin_lesion_dag_settings import CANDIDATE, DAG_DEFAULTS, Report, deadline, report_task, trigger_form
from skin_lesion_notices import gate_lost, promoted, superseded
from skin_lesion_parameters import known_parameters
from skinlesion.foundation.run_names import run_in_words
from skinlesion.promotion.settings import PromotionSettings
from skinlesion.stages.settings import PipelineConfig

log = logging.getLogger("skin_lesion_promote")  # not the name that Airflow gives the module

APPROVAL = timedelta(hours=PipelineConfig.of({}).approval_hours)


def settings() -> PipelineConfig:
    """Return the run's parameters as settings."""
    parameters = known_parameters(get_current_context())
    return PipelineConfig.of({name: value for name, value in parameters.items() if name != "version"})


def this_run() -> str:
    """Return this run in words, as the history notes it: by the run whose candidate caused it, where there is one."""
    context = get_current_context()
    causes = [event.source_run_id for event in context["triggering_asset_events"].get(CANDIDATE, ())]
    if causes and causes[-1]:
        return run_in_words(causes[-1])
    run = context["dag_run"]
    return run_in_words(run.run_id, getattr(run, "triggering_user_name", None))


class Approval(ApprovalOperator):
    """Airflow's approval, with the run's own time limit, and with the answer in an XCom.

    A refusal skips the switch by an exception, so its answer is never the task's result.
    """

    def execute(self, context: Any) -> Any:
        """Ask the question, and wait."""
        self.response_timeout = timedelta(hours=context["params"]["approval_hours"])
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        """Continue with the answer."""
        if "error" not in event:
            user = event["responded_by_user"]
            at = pendulum.instance(event["responded_at"]).in_timezone("UTC").isoformat(timespec="seconds")
            context["ti"].xcom_push("answer", {"by": (user["name"] or user["id"]) if user else "", "at": at})
        return super().execute_complete(context, event)


@dag(
    schedule=[CANDIDATE],
    is_paused_upon_creation=False,  # it does nothing before skin_lesion_retrain, which people switch on, leaves a candidate
    params={
        "version": Param(
            None,
            type=["integer", "null"],
            minimum=1,
            title="Version",
            description="Number of the version to judge, whatever its earlier verdict. Empty: the newest version, once.",
        ),
        **trigger_form([*PromotionSettings.own_fields(), "workers"]),
    },
    deadline=deadline(hours=8 + APPROVAL / timedelta(hours=1)),
    **DAG_DEFAULTS,
    tags=["skin-lesion", "promotion"],
)
def skin_lesion_promote() -> None:
    """### Put a better skin-lesion classifier in service

    Runs when `skin_lesion_retrain` has evaluated a candidate, and by hand for any version. The candidate and the model in
    service are compared on the same held-out lesions; the candidate replaces it only if it is shown to be no worse, and good
    enough. With `require_approval`, and for a change outside the change plan (`change_plan.yaml`), a person must agree: *Required Actions* in the navigation; no answer means no. The
    nightly DAG does not wait for it. *Research and education only: not a medical device.*

    A candidate that does not pass is no failure: the run succeeds, and the log of `gate` says why, with numbers.
    `skinlesion models show VERSION` has every line.

    **When a task fails.** Its log ends with one sentence that says what was expected, what was found and what to do.
    - `DataError`: a file or a parameter is wrong; it is not retried. Correct it, then clear the task.
    - Anything else (disk, MLflow's server) was retried with growing delays. When the cause is gone, clear the task. The
      model in service is the old one or the new one, never a mixture, and does not depend on MLflow.

    **To go back:** `skinlesion models rollback --reason ...`. **Owner.** skin-lesion-team. **Safe to clear** at any task,
    any number of times.
    """

    @task.branch(
        doc_md="Judge the version, once, beside the model in service; write the verdict. Returns the next tasks."
    )
    def gate() -> list[str]:
        from skinlesion.promotion.approval_text import approval_text
        from skinlesion.promotion.decide import judge_once, newest
        from skinlesion.registry.snapshot import Registry
        from skinlesion.stages.monitor import refresh_agreement

        context = get_current_context()
        config = settings()
        registry = Registry.read(config.models)
        asked_for = context["params"]["version"]
        number = asked_for or newest(registry).number
        dag_run = f"{context['dag_run'].dag_id} {context['dag_run'].run_id}"
        judgement = judge_once(config, number, actor=this_run(), again=asked_for is not None, dag_run=dag_run)
        log.info("%s", judgement.sentence)
        refresh_agreement(config)
        context["ti"].xcom_push("judgement", judgement.model_dump(mode="json"))
        context["ti"].xcom_push(
            "for_approval", approval_text(Registry.read(config.models), judgement, report_link(number))
        )
        if judgement.next == "nothing":
            return ["log_candidate"]
        return ["log_candidate", "approval" if config.require_approval or judgement.needs_person else "switch"]

    @report_task(doc_md="Bring MLflow up to date with the verdict.")
    def log_candidate() -> Report:
        return mirrored()

    approval = Approval(
        task_id="approval",
        subject="Put version {{ ti.xcom_pull('gate', key='judgement')['version'] }} of the skin-lesion classifier in service?",
        body="{{ ti.xcom_pull('gate', key='for_approval') }}",
        defaults=ApprovalOperator.REJECT,
        response_timeout=APPROVAL,
        doc_md="Wait for a person: Required Actions. No answer means no.",
    )

    @report_task(
        trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
        doc_md="Put the version in service: all its files at once.",
    )
    def switch() -> Report:
        from skinlesion.promotion.decide import Judgement, note_answer, switch_to
        from skinlesion.registry.switch import Superseded

        ti, config = get_current_context()["ti"], settings()
        judgement = Judgement.model_validate(ti.xcom_pull("gate", key="judgement"))
        answer = ti.xcom_pull("approval", key="answer")
        actor, reason = this_run(), judgement.reason
        if answer is not None:
            actor, why = answer["by"], f"Asked by {this_run()}"
            note_answer(config, judgement.version, "approved", actor=actor, at=answer["at"], reason=why)
            reason = f"{judgement.reason}, and {actor} approved"
        elif judgement.needs_person:  # somebody marked the approval as a success
            return {"promoted": False, "why": f"Nobody approved, and a person must. {judgement.sentence}"}
        try:
            entry = switch_to(config, judgement, actor=actor, reason=reason)
        except Superseded as error:
            log.warning("%s", error)
            return {"promoted": False, "why": str(error)}
        return {"promoted": True, "why": entry.reason, "switch": entry.switch}

    @report_task(
        trigger_rule=TriggerRule.NONE_FAILED,
        doc_md="Note a refusal in the history, remove old versions' files, notify people.",
    )
    def conclude() -> Report:
        from skinlesion.promotion.decide import Judgement, note_answer
        from skinlesion.registry.retention import remove_old_files

        ti, config = get_current_context()["ti"], settings()
        judgement = Judgement.model_validate(ti.xcom_pull("gate", key="judgement"))
        answer, outcome = ti.xcom_pull("approval", key="answer"), ti.xcom_pull("switch")
        if outcome is None and answer is not None:
            why = f"Asked by {this_run()}" if answer["by"] else f"Nobody answered {this_run()} in time"
            actor = answer["by"] or "nobody"
            note_answer(config, judgement.version, "declined", actor=actor, at=answer["at"], reason=why)
        removed = remove_old_files(config.models, config.keep_versions, config.keep_former_champions)
        link = report_link(judgement.version)
        if outcome is not None and outcome["promoted"]:
            promoted(judgement.sentence, link)
        elif outcome is not None:
            superseded(outcome["why"], link)
        elif judgement.judged_now and not judgement.passed:
            gate_lost(judgement.sentence, judgement.version, link)
        return {"versions_without_files": [*removed]}

    @report_task(
        doc_md="Bring MLflow up to date with what is in service; note whether the next night has anything to decide."
    )
    def log_outcome() -> Report:
        from skinlesion.stages.pipeline import note_promotion

        report = mirrored()
        note_promotion(settings())
        return report

    decided, put_in_service = gate(), switch()
    decided >> [log_candidate(), approval, put_in_service]
    approval >> put_in_service >> conclude() >> log_outcome()


def mirrored() -> Report:
    """Bring MLflow up to date; return the versions that were written."""
    from skinlesion.promotion.mlflow_mirror import mirror

    return {"versions_written": [*mirror(settings())]}


def report_link(number: int) -> str:
    """Return the address at which the page in the Airflow UI shows a version's report."""
    from airflow.configuration import conf

    return f"{conf.get('api', 'base_url', fallback='').rstrip('/')}/skin-lesion-models/versions/{number}/report.html"


skin_lesion_promote()
