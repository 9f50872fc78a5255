"""`make run`: one run of skin_lesion_retrain, then of skin_lesion_promote, through Airflow on SQLite, without a scheduler.

Both are real runs with real states in Airflow's database; their tasks work in this process. What Airflow and TensorFlow write
goes to $AIRFLOW_HOME/run.log; people see a line for each stage and sentences.

Exit status: 0 when both runs succeeded, 2 for data or settings that are wrong, 3 for the machine (disk, network), 130 for a
stop by Ctrl-C, 1 for anything else.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from rich.console import Console

from skinlesion.command_line.display import Display
from skinlesion.command_line.failure import RunFailed, failure_of
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.settings import PROJECT_ROOT
from skinlesion.foundation.stage_report import StageReport
from skinlesion.stages.pipeline import NIGHTLY
from skinlesion.stages.sentences import NO_DEVICE, headline, sentence, short
from skinlesion.stages.settings import PipelineConfig

if TYPE_CHECKING:
    from airflow.sdk import DAG
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

WITHOUT_IMAGENET: Final[dict[str, str]] = {"weights": "drawn", "fine_tune": "none"}
"""Settings of a run for which ImageNet's weights cannot be had."""

SAMPLE_IMAGES: Final = 240

RETRAIN, PROMOTE = "skin_lesion_retrain", "skin_lesion_promote"


def main() -> int:
    """Run both DAGs, show what they do, and return the exit status."""
    home = Path(os.environ["AIRFLOW_HOME"])
    folders = [home]
    display, log = Display(Console(highlight=False)), None
    try:
        home.mkdir(parents=True, exist_ok=True)
        config = PipelineConfig.of({})
        folders += [config.dataset, config.models]
        refuse_beside_scheduler(home / "standalone.pid")
        log = home / "run.log"
        display = Display(console_beside(log))
        with display:
            settings = prepare(config, display)
            runs = start_airflow(config, display)
            runs.run(RETRAIN, settings)
            runs.run(PROMOTE, {})
        show_result(config, runs, display)
    except BaseException as error:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if log is not None:
            with suppress(OSError):  # its disk may be the one that is full
                traceback.print_exc()  # where Airflow's lines go
        display.stop()
        failure = failure_of(error, again="`make run`", folders=folders)
        display.say()
        display.say(f"make run: {failure.text}", style="red" if failure.status != 130 else "yellow")
        for hint in hints(failure.text):
            display.say(hint)
        if log is not None and failure.status != 130:
            display.say(f"Everything that Airflow wrote is in {short(log)}")
        return failure.status
    return 0


# Before the runs -----------------------------------------------------------------------------------------------------


def console_beside(log: Path) -> Console:
    """Send what this process and its children write to the log; return a console on what was standard output."""
    terminal: IO[str] = os.fdopen(os.dup(1), "w", buffering=1)
    with log.open("wb") as file:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    # Rich asks the standard streams for the width, of which only the input may still be the terminal.
    is_seen = sys.stdin.isatty() or not terminal.isatty()
    width = None if is_seen else os.get_terminal_size(terminal.fileno()).columns
    return Console(file=terminal, highlight=False, width=width)


def refuse_beside_scheduler(pid_file: Path) -> None:
    """Raise DataError while `make up` runs: its scheduler would run the tasks of these runs a second time."""
    try:
        pid = int(pid_file.read_text())
        os.kill(pid, 0)
    except (OSError, ValueError):
        return
    raise DataError(
        f"Airflow runs here already, by `make up` (process {pid}), and would take part in this run. Start {RETRAIN} on its page, or "
        "stop it with `make down` first."
    )


def prepare(config: PipelineConfig, display: Display) -> dict[str, str]:
    """Draw images where there are none, get the weights, and return the settings that follow."""
    if is_to_be_drawn(config):
        display.begin("sample")
        display.finish_with(draw_sample(config.dataset))
    display.begin("weights")
    settings, said = weights_for(config)
    display.finish_with(said)
    return settings


def start_airflow(config: PipelineConfig, display: Display) -> Runs:
    """Bring Airflow's database up to date, and load the DAGs."""
    display.begin("airflow")
    command = [str(Path(sys.executable).with_name("airflow")), "db", "migrate"]
    migrate = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    sys.stderr.write(migrate.stdout)
    if migrate.returncode != 0:
        last = [line for line in migrate.stdout.splitlines() if "Error" in line][-1:]
        raise RunFailed(f"Airflow's database could not be brought up to date: {' '.join(last)}")
    runs = Runs(display, config)
    display.finish_with("Airflow's database is up to date, and the DAGs are loaded.")
    return runs


def is_to_be_drawn(config: PipelineConfig) -> bool:
    """Return whether the project's own data set is empty and nothing is set that would fill it."""
    from skinlesion.data.sources import any_source

    if config.dataset != PROJECT_ROOT / "dataset" or any_source(config):
        return False
    images = (path for path in layout.images(config.dataset).rglob("*") if not path.name.startswith("."))
    return not layout.diagnoses(config.dataset).exists() and not any(path.is_file() for path in images)


def draw_sample(dataset: Path) -> str:
    """Draw the sample and return what was drawn."""
    from skinlesion.data.sources.drawn.sample import write_sample
    from skinlesion.foundation.progress import progress

    with progress("sample", SAMPLE_IMAGES) as advance:
        drawn = 0

        def show(count: int) -> None:
            nonlocal drawn
            advance(count - drawn)
            drawn = count

        report = write_sample(dataset, images=SAMPLE_IMAGES, progress=show)
    return (
        f"{short(dataset)}/ was empty: {report.images} images of {report.lesions} lesions were drawn into it. Figures on drawn "
        "images say nothing about skin."
    )


def weights_for(config: PipelineConfig) -> tuple[dict[str, str], str]:
    """Return the settings that follow from the weights that can be had, and a sentence about them."""
    from skinlesion.network.backbone import WeightsUnavailable, find_weights, keras_cache_path

    try:
        weights = find_weights(config)
    except WeightsUnavailable as error:
        reason = str(error).partition("(")[2].partition("). ")[0].rpartition(" -- ")[2] or str(error)
        settings = {
            name: value
            for name, value in WITHOUT_IMAGENET.items()
            if name == "weights" or f"SKINLESION_{name.upper()}" not in os.environ
        }
        return settings, (
            f"ImageNet's weights are not here and cannot be downloaded ({reason}): going on with the weights that this "
            "project trained on drawn images. The pipeline is the real one; for real use put Keras's file at "
            f"{keras_cache_path()} and run `make run` again."
        )
    if weights.path is None:
        return {}, f"The backbone begins with {config.weights} weights."
    return (
        {},
        "ImageNet's weights are here." if config.weights == "imagenet" else f"The weights are those of {weights.path}",
    )


# The runs ------------------------------------------------------------------------------------------------------------


class Runs:
    """Runs DAGs in this process, and shows their tasks.

    Attributes:
        candidate: name of the candidate that the retraining left.
        version: its number.
        judgement: what the gate said of it, in words.
        waits: whether it passed and waits for a person.
        error: what ended the task that failed last.
    """

    def __init__(self, display: Display, config: PipelineConfig) -> None:
        from airflow import settings
        from airflow.dag_processing.dagbag import DagBag
        from airflow.sdk.listener import get_listener_manager

        self.candidate, self.version, self.judgement = "", 0, ""
        self.waits = False
        self.error: BaseException | str | None = None
        self._display, self._shards = display, config.shards
        bag = DagBag(settings.DAGS_FOLDER)
        if bag.import_errors:
            raise RunFailed("\n".join(f"{file}: {error}" for file, error in bag.import_errors.items()))
        self._dags: dict[str, DAG] = bag.dags
        get_listener_manager().add_listener(self._listener())  # type: ignore[no-untyped-call]
        package = logging.getLogger("skinlesion")
        package.addHandler(display)
        package.setLevel(logging.INFO)

    def run(self, dag_id: str, settings: dict[str, str]) -> None:
        """Run a DAG once. Raises what ended it."""
        dag = self._dags[dag_id]
        dag.deadline = None  # dag.test() ends in an error for a DAG with a deadline (apache/airflow#73428)
        for task in dag.tasks:
            task.retries = 0  # a person is here: the cause is told at once
        if approval := dag.task_dict.get("approval"):
            approval.execute = self._leave_to_a_person  # type: ignore[method-assign, union-attr]
        self._display.begin("airflow")  # it writes the DAGs to its database before the first task begins
        try:
            state = dag.test(run_conf=settings).state
        except BaseException:
            end_unfinished(dag_id)
            raise
        if isinstance(self.error, BaseException):
            raise self.error
        if state != "success":
            raise RunFailed(str(self.error or f"The run of {dag_id} did not succeed"))

    def _leave_to_a_person(self, context: Any) -> None:
        """Stand in for the operator that waits for an answer: nobody could give it one, since no server runs."""
        from airflow.sdk.exceptions import DownstreamTasksSkipped

        self.waits = True
        raise DownstreamTasksSkipped(tasks=["switch"])  # type: ignore[no-untyped-call]

    def _listener(self) -> object:
        from airflow.listeners import hookimpl

        runs = self

        class Tasks:
            @hookimpl
            def on_task_instance_running(self, previous_state: Any, task_instance: RuntimeTaskInstance) -> None:
                runs._display.begin(LABELS.get(task_instance.task_id, task_instance.task_id))

            @hookimpl
            def on_task_instance_success(self, previous_state: Any, task_instance: RuntimeTaskInstance) -> None:
                runs._succeeded(task_instance)

            @hookimpl
            def on_task_instance_failed(
                self, previous_state: Any, task_instance: RuntimeTaskInstance, error: BaseException | str | None
            ) -> None:
                runs.error = error
                runs._display.stop()

        return Tasks()

    def _succeeded(self, task: RuntimeTaskInstance) -> None:
        def pull(key: str = "return_value") -> Any:
            return task.xcom_pull(task_ids=task.task_id, key=key, map_indexes=task.map_index)

        if task.task_id in NIGHTLY:
            report = StageReport.of_dict(pull("report" if task.task_id == "collect" else "return_value"))
            index = task.map_index
            shard = (
                f" (shard {index + 1} of {self._shards})" if index is not None and self._shards > 1 <= index + 1 else ""
            )
            self._display.finish_with(f"{sentence(report)}{shard}")
            if task.task_id == "evaluate":
                self.candidate, self.version = str(report.details["run"]), int(str(report.details["version"]))
        elif task.task_id == "gate":
            judgement = pull("judgement")
            self.judgement, self.version, self.candidate = (judgement[key] for key in ("sentence", "version", "run"))
            self._display.finish_with(self.judgement)
        else:
            self._display.finish_with(WORDS[task.task_id](pull()))


LABELS: Final = {"log_candidate": "mlflow", "log_outcome": "mlflow"}
"""What tasks are called whose name is too long or says too little."""


def _mirrored(result: Any) -> str:
    written = result["versions_written"]
    versions = f"version{'s' if len(written) > 1 else ''} {', '.join(map(str, written))}"
    return f"MLflow's copy of the registry has {versions} now." if written else "MLflow was up to date."


def _concluded(result: Any) -> str:
    removed = result["versions_without_files"]
    return (
        f"The files of old versions were removed: {', '.join(map(str, removed))}."
        if removed
        else "The run is concluded."
    )


WORDS: Final[dict[str, Callable[[Any], str]]] = {
    "log_candidate": _mirrored,
    "log_outcome": _mirrored,
    "approval": lambda result: "A person must decide, since `require_approval` is set.",
    "switch": lambda result: "It is in service now." if result["promoted"] else result["why"],
    "conclude": _concluded,
}
"""What each task of the promotion that is no stage did, from its result."""


def end_unfinished(dag_id: str) -> None:
    """Mark runs of a DAG that this program left unfinished as failed: a scheduler would go on with them one day."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState, TaskInstanceState
    from airflow.utils.types import DagRunTriggeredByType
    from sqlalchemy import select

    with create_session() as session:
        ours = (DagRun.dag_id == dag_id, DagRun.triggered_by == DagRunTriggeredByType.TEST)
        for run in session.scalars(select(DagRun).where(*ours, DagRun.state == DagRunState.RUNNING)):
            for task in run.get_task_instances(session=session):
                if task.state not in ("success", "skipped", "failed", "upstream_failed"):
                    task.state = TaskInstanceState.FAILED
            run.state = DagRunState.FAILED


# After the runs ------------------------------------------------------------------------------------------------------


def show_result(config: PipelineConfig, runs: Runs, display: Display) -> None:
    """Show the figures, where everything lies, and what to do next."""
    from skinlesion.registry import in_service
    from skinlesion.stages.evaluate import metrics_of

    command = short(Path(sys.executable).with_name("skinlesion"))
    now = in_service.read(config.models)
    promote = f"{command} models promote {runs.version} --reason ..."
    lines = headline(config, metrics_of(config, runs.candidate))
    lines["The gate"] = runs.judgement
    lines["In service"] = f"version {now.version}, since {now.since}" if now is not None else "no version yet"
    display.say()
    display.pairs(lines)
    display.say(NO_DEVICE)
    display.say()
    if runs.waits:
        display.say(
            f"Version {runs.version} waits for a person, since `require_approval` is set. Look at its report, then put it in "
            f"service with\n  {promote}\nor start {PROMOTE} for it on the page of `make up` and answer under Required Actions."
        )
    elif now is None or now.version != runs.version:
        display.say(f"To put version {runs.version} in service all the same:\n  {promote}")
    steps = {f"{command} models show {runs.version}": "each line of the gate's verdict"}
    if now is not None:
        steps = {f"{command} serve": "a web page on which you drop an image"} | steps
    steps["make up"] = "Airflow's page; switch both DAGs on there"
    steps["source .venv/bin/activate"] = "after this `skinlesion` alone is enough"
    display.say("What to do next:")
    width = max(map(len, steps)) + 2
    for step, why in steps.items():
        display.say(f"  {step:<{width}}{why}")


def hints(text: str) -> list[str]:
    """Return how to do here what the text of an error advises: to set a setting, to call `skinlesion`."""
    said = [
        f"To set `{name}` for a run: SKINLESION_{name.upper()}=... make run"
        for name in PipelineConfig.model_fields
        if re.search(rf"`{name}`|\b{name}=" + (rf"|\b{name}\b" if "_" in name else ""), text)
    ]
    if "`skinlesion " in text:
        said.append("`source .venv/bin/activate` makes `skinlesion` known to the shell.")
    return said


if __name__ == "__main__":
    status = main()
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(
        status
    )  # everything is on disk; the usual way out waits for seconds for the threads of Airflow's API server
