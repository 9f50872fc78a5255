"""A process with TensorFlow loaded that does what a user's commands do, one after the other, and dies when it is told to.

It reads one JSON object a line from standard input and answers on standard output: an acknowledgement for each stage that
the product reported as finished, then the outcome. Whatever was acknowledged before a death must be there after it.

A process that has only imported what is needed forks the one that obeys, and another one when that one dies.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib
import json
import logging
import os
import sys
import time
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.campaign import faults, small_network
from tests.campaign.workers import trace_of

Order = dict[str, Any]


class _Clock:
    """The time of this process, moved by a number of seconds; stands in for the class `datetime` where the product asks it."""

    ahead = 0.0

    @classmethod
    def now(cls, zone: Any = None) -> datetime:
        return datetime.now(zone or UTC) + timedelta(seconds=cls.ahead)


def main() -> None:
    # What the product prints goes elsewhere: standard output belongs to the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    logging.disable(logging.CRITICAL)
    small_network.fewer_buckets()
    for stage in ("ingest", "resize", "augment", "organize", "build", "embed", "train", "evaluate", "promote"):
        importlib.import_module(f"skinlesion.stages.{stage}")
    import keras
    import tensorflow  # noqa: F401  # no operation yet: it would start threads, which a fork leaves behind

    import skinlesion.evaluation.html_report
    import skinlesion.evaluation.model_card
    import skinlesion.promotion.gate
    import skinlesion.registry.history as history
    import skinlesion.training.fit  # noqa: F401

    small_network.install()
    history.datetime = _Clock  # type: ignore[attr-defined,assignment]
    faults.install()
    keras.config.disable_traceback_filtering()
    gc.freeze()  # the collector need not look at all of TensorFlow again and again
    if plant := sys.argv[1]:
        from tests.campaign import planted_bugs

        planted_bugs.plant(plant)
    say({"ready": os.getpid()}, answers)
    while child := os.fork():
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            return  # there are no more orders
        say({"outcome": "killed", "cpu": 0.0, "steps": 0, "happened": "killed"}, answers)
    faulthandler.enable(trace_of(os.getppid()).open("w"))  # what hangs is ended by SIGABRT and says where it was
    for line in sys.stdin:
        say(obey(json.loads(line), answers), answers)


def say(what: Order, answers: Any) -> None:
    answers.write(json.dumps(what, default=str) + "\n")
    answers.flush()


def obey(order: Order, answers: Any) -> Order:
    """Do one command; return its outcome."""
    from skinlesion.foundation.errors import DataError

    small_network.MLflow.is_away = bool(order.get("mlflow_away"))
    _Clock.ahead = float(order.get("clock", 0))
    roots = (order["dataset"] + "/", order["models"] + "/")
    wanted = order.get("fault") or {"kind": "none", "at": 1 << 60}
    began = time.process_time()
    outcome: Order
    fault = faults.Fault(**wanted, roots=roots)
    try:
        for root in roots:
            Path(root).mkdir(parents=True, exist_ok=True)
        faults.begin(fault)
        outcome = {"outcome": "done", "report": _do(order, answers)}
    except faults.Frozen:
        outcome = {"outcome": "killed"}
    except DataError as error:
        outcome = {"outcome": "refused", "message": str(error)}
    except OSError as error:
        outcome = {"outcome": "failed", "message": str(error), "trace": traceback.format_exc(limit=-6)}
    except BaseException as error:
        outcome = {"outcome": "traceback", "message": repr(error)[:500], "trace": traceback.format_exc(limit=-12)}
    faults.end()
    if fault.frozen:  # what came of it was not seen by anybody
        outcome = {"outcome": "killed"}
    return outcome | {"cpu": time.process_time() - began, "steps": fault.steps, "happened": fault.happened}


def _do(order: Order, answers: Any) -> Order:
    from skinlesion.foundation.stage_report import StageReport
    from skinlesion.registry import switch
    from skinlesion.registry.snapshot import Registry
    from skinlesion.stages.pipeline import run_all, run_stage
    from skinlesion.stages.settings import PipelineConfig

    config = PipelineConfig.of({**order["settings"], "dataset": order["dataset"], "models": order["models"]})
    models, actor = config.models, str(order.get("actor", "a person"))
    if order["do"] == "run":

        def finished(report: StageReport) -> None:
            say({"finished": report.stage, "details": report.model_dump(mode="json")["details"]}, answers)

        if "stages" not in order:
            run_all(config, lambda stage: None, finished)
        for stage in order.get("stages", ()):
            finished(run_stage(stage, config))
        return {}
    if order["do"] == "promote":
        candidates = [one for one in Registry.read(models).versions if one.has_files and one.state != "champion"]
        if not candidates:
            return {"nothing": True}
        version = candidates[int(order["rank"]) % len(candidates)]
        entry = switch.promote(models, version.number, actor=actor, reason="by hand")
    elif order["do"] == "rollback":
        if Registry.read(models).rollback_target is None:
            return {"nothing": True}
        entry = switch.rollback(models, actor=actor, reason="it was worse")
    else:
        return _answer(order, config, actor)
    found = entry.model_dump(mode="json")
    say({"switched": found}, answers)
    return {"entry": found}


def _answer(order: Order, config: Any, actor: str) -> Order:
    """Approve or decline the newest version that passed and waits, as the DAG of promotion does."""
    from skinlesion.promotion import decide
    from skinlesion.registry.snapshot import Registry

    waiting = [
        one
        for one in Registry.read(config.models).versions
        if one.state == "candidate" and one.verdict is not None and one.verdict.passed
    ]
    if not waiting:
        return {"nothing": True}
    number = waiting[0].number
    judgement = decide.judge_once(config, number, actor=actor)
    said = "approved" if order["do"] == "approve" else "declined"
    at = (datetime.now(UTC) + timedelta(seconds=_Clock.ahead)).isoformat(timespec="seconds")
    decide.note_answer(config, number, said, actor=actor, at=at, reason="seen")  # type: ignore[arg-type]
    if said == "declined" or judgement.next != "switch":
        return {"answered": number}
    return {"entry": decide.switch_to(config, judgement, actor=actor, reason="approved").model_dump(mode="json")}


if __name__ == "__main__":
    main()
