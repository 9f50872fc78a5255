"""`make run`: one run of skin_lesion_retrain, then of skin_lesion_promote, through Airflow on SQLite, without a scheduler.

Both are real runs with real states in Airflow's database; their tasks work in this process. What Airflow and TensorFlow write
goes to $AIRFLOW_HOME/run.log; people see a line for each stage and sentences.

Exit status: 0 when both runs succeeded, 2 for data or settings that are wrong, 3 for the machine (disk, network), 130 for a
stop by Ctrl-C, 1 for anything else.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from rich.console import Console
from tools.dag_runs import PROMOTE, RETRAIN, Runs, paused_dags
from tools.failure import RunFailed, failure_of

from skinlesion.command_line.display import Display
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.settings import PROJECT_ROOT
from skinlesion.registry.signature import key_folder, make_keys
from skinlesion.stages.sentences import NO_DEVICE, headline, short, weights_in_words
from skinlesion.stages.settings import PipelineConfig

SAMPLE_IMAGES: Final = 820
"""Of these 20 lesions of each class and more are held out; of a smaller sample fewer, too few to show a figure."""


def main() -> int:
    """Run both DAGs, show what they do, and return the exit status."""
    home = Path(os.environ["AIRFLOW_HOME"])
    folders = [home]
    display, log = Display(Console(highlight=False)), None
    try:
        home.mkdir(parents=True, exist_ok=True)
        make_keys(key_folder())
        config = PipelineConfig.of({})
        folders += [config.dataset, config.models]
        refuse_beside_scheduler(home / "standalone.pid")
        log = home / "run.log"
        display = Display(console_beside(log))
        with display:
            settings = prepare(config, display)
            runs = start_airflow(config, display)
            runs.run(RETRAIN, settings)
            if PROMOTE not in paused_dags():
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

    report = write_sample(dataset, images=SAMPLE_IMAGES)
    return (
        f"{short(dataset)}/ was empty: {report.images} images of {report.lesions} lesions were drawn into it. Figures on drawn "
        "images say nothing about skin."
    )


def weights_for(config: PipelineConfig) -> tuple[dict[str, str], str]:
    """Return the settings that follow from the weights that can be had, and a sentence about them."""
    from skinlesion.network.backbone import GOING_ON_WITH_DRAWN, WeightsUnavailable, find_weights, keras_cache_path

    try:
        find_weights(config)
    except WeightsUnavailable as error:
        reason = str(error).partition("(")[2].partition("). ")[0].rpartition(" -- ")[2] or str(error)
        return {"weights": "drawn"}, (
            f"ImageNet's weights are not here and cannot be downloaded ({reason}). {GOING_ON_WITH_DRAWN} For real use put "
            f"Keras's file at {keras_cache_path()} and run `make run` again."
        )
    return {}, f"The backbone begins with {weights_in_words(config.weights)}."


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
    lines["In service"] = f"version {now.version}, since {now.entry.at}" if now is not None else "no version yet"
    display.say()
    display.pairs(lines)
    display.say(NO_DEVICE)
    display.say()
    paused = paused_dags()
    if now is not None and now.version == runs.version:
        pass
    elif PROMOTE in paused:
        display.say(
            f"Version {runs.version} was not judged now, since {PROMOTE} is paused: switch it on in Airflow's page (`make up`), then run "
            f"`make run` again. Or put the version in service whatever the gate would say:\n  {promote}"
        )
    elif runs.waits:
        display.say(
            f"Version {runs.version} waits for a person, since `require_approval` is set or it is outside the change plan. Look at its report, then put it in "
            f"service with\n  {promote}\nor start {PROMOTE} for it in Airflow's page (`make up`) and answer under Required Actions."
        )
    else:
        display.say(f"To put version {runs.version} in service all the same:\n  {promote}")
    steps = {f"{command} models show {runs.version}": "each line of the gate's verdict"}
    if now is not None:
        steps = {f"{command} serve": "a web page on which you drop an image"} | steps
    steps["make up"] = (
        f"Airflow's page; switch on {' and '.join(paused)} there" if paused else "Airflow with its nights"
    )
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
