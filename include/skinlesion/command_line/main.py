"""The command line, `skinlesion`: its commands, and what it prints when one of them fails."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version as package_version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup

from skinlesion.command_line.change_plan import change_plan
from skinlesion.command_line.data import fetch, labels, sample
from skinlesion.command_line.in_use import diagnoses, log_app, monitor
from skinlesion.command_line.models import models_app
from skinlesion.command_line.options import Models, Quiet, Settings, config_of, err, key_values, out, shard_of, show_log
from skinlesion.command_line.review import review_app
from skinlesion.command_line.settings import list_settings
from skinlesion.command_line.split import split_app
from skinlesion.command_line.stage_help import STAGE_HELP
from skinlesion.command_line.stages import metrics, run, stage_command
from skinlesion.command_line.why import why
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.redaction import without_secrets
from skinlesion.foundation.terminal import print_whole
from skinlesion.foundation.wording import counted
from skinlesion.stages.pipeline import PREPARING, STAGES
from skinlesion.stages.settings import SECTION_OF

if TYPE_CHECKING:
    from skinlesion.prediction.classifier import Prediction
    from skinlesion.stages.settings import PipelineConfig

PANELS: Final = ("Run", "Look", "Decide", "Predict", "Data", "One stage alone")
"""The groups of commands, in the order in which the help shows them."""


OTHERS_NAMED: Final = 10
"""Files that are no images and are named after a prediction; further ones are counted."""


class _Stopped(Exception):
    """A person stopped the command with Ctrl-C, which Typer would end without a word."""


class _Commands(TyperGroup):
    """The commands, in the order of their groups; Typer lists those that have commands of their own last."""

    def list_commands(self, ctx: Any) -> list[str]:
        panels = {name: getattr(command, "rich_help_panel", None) for name, command in self.commands.items()}
        return sorted(panels, key=lambda name: PANELS.index(str(panels[name])))

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise _Stopped from None
        except Exception as error:
            # Typer does not export this exception.
            name = str(getattr(error, "option_name", "")).lstrip("-").replace("-", "_")
            if type(error).__name__ == "NoSuchOption" and name in SECTION_OF:
                vars(error)["message"] += f". It is a setting: expected --set {name}=VALUE."
            raise


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Retrain a malignant / benign / unknown classifier of dermoscopic images. "
    "Research and education only: not a medical device.",
)


def main() -> None:
    """Run the command line. An error that a person can correct ends it with its message and status 2, not a traceback."""
    try:
        app(prog_name="skinlesion")
    except DataError as error:
        _complain(str(error), status=2)
    except OSError as error:
        _complain(f"{error}. What was finished is kept; run the command again when the cause is gone.", status=3)
    except _Stopped:
        _complain("Stopped. What was finished is kept; run the command again to go on.", status=130)


def _complain(message: str, status: int) -> None:
    print_whole(err, f"skinlesion: {without_secrets(message)}", style="red")
    sys.exit(status)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"skinlesion {package_version('skinlesion')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take the options that come before a command."""


app.command(rich_help_panel="Run")(run)
app.command(rich_help_panel="Look")(metrics)
app.command("settings", rich_help_panel="Look")(list_settings)
app.command(rich_help_panel="Look")(why)
app.command("change-plan", rich_help_panel="Look")(change_plan)
app.command(rich_help_panel="Look")(monitor)
app.add_typer(models_app, name="models", rich_help_panel="Decide")
app.add_typer(split_app, name="split", rich_help_panel="Decide")
app.add_typer(review_app, name="review", rich_help_panel="Data")
app.add_typer(log_app, name="log", rich_help_panel="Data")


@app.command(rich_help_panel="Predict")
def predict(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Image files or folders of them.")],
    model: Annotated[Path | None, typer.Option(help="A model file (.h5, .keras, .tflite).")] = None,
    models: Models = None,
    output: Annotated[
        Path | None, typer.Option(help="Table to write, .csv or .parquet; else it goes to the terminal as CSV.")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Only this slice of the images; the command without it then makes the table."),
    ] = None,
    settings: Settings = None,
    quiet: Quiet = False,
) -> None:
    """Print each image's probabilities, most probable class, decision and its reason, as CSV.

    The columns are image, benign, malignant, unknown, label, decision, reason and file. The decision follows the decision rule beside the model. Images that cannot be used are listed with their reasons, with
    --output in a file OUTPUT.refused.csv; the exit status is then 1. Killed, it goes on where it stopped when it is run
    again. A name that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    from skinlesion.prediction.image_files import other_files
    from skinlesion.prediction.prediction_run import PredictionRun

    show_log(quiet)
    config = config_of(None, models, settings)
    part = None if shard is None else shard_of(shard)

    def show(prediction: Prediction) -> None:
        err.print(f"refused {prediction.file}: {prediction.refused}", markup=False)

    if output is None:
        if part is not None:
            raise DataError("--shard: expected --output as well, which names the table that the slice belongs to.")
        refused = _predict_to_terminal(config, paths, model, show)
    else:
        run = PredictionRun.start(config, paths, output.absolute(), model)
        report = run.write_table(config, show) if part is None else run.predict_shard(config, part, show)
        refused = report.refused
        if not quiet:
            kept = f", {report.kept} of them from a run that was stopped" if report.kept else ""
            where = output if part is None else f"slice {part} of {output}"
            err.print(
                f"{report.images - refused:,} of {counted(report.images, 'image')} in {where}{kept}", markup=False
            )
            if report.refused_list is not None:
                err.print(f"{refused} refused, with reasons in {report.refused_list}", markup=False)
    if others := other_files(paths):
        more = f" and {len(others) - OTHERS_NAMED} more" if len(others) > OTHERS_NAMED else ""
        named = ", ".join(others[:OTHERS_NAMED])
        err.print(
            f"{counted(len(others), 'file is', 'files are')} no image and not predicted: {named}{more}", markup=False
        )
    if refused:
        raise typer.Exit(1)


def _predict_to_terminal(
    config: PipelineConfig, paths: list[Path], model: Path | None, show: Callable[[Prediction], None]
) -> int:
    """Print the predictions as CSV and return the number of refused images; each is shown."""
    from skinlesion.foundation.progress import progress
    from skinlesion.prediction.classifier import classifier_of, model_file
    from skinlesion.prediction.classifier import predict as predictions
    from skinlesion.prediction.folder import COLUMNS, csv_row
    from skinlesion.prediction.image_files import count_images, image_files

    count, refused = count_images(paths), 0
    make_classifier = classifier_of(model or model_file(config.models))
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(COLUMNS)
    with progress("predict", count) as advance:
        for prediction in predictions(image_files(paths), make_classifier, config):
            advance(1)
            if prediction.refused:
                refused += 1
                show(prediction)
            else:
                writer.writerow(csv_row(prediction))
    return refused


@app.command(rich_help_panel="Predict")
def serve(
    models: Models = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; others than this machine's own need SKINLESION_API_TOKEN.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="0 takes a free one.", show_default="8000")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="A setting of the server; docs/how-to/predicting.md lists them."
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Serve the model in service: a web page and an API. The server follows promotions and rollbacks while it runs."""
    from skinlesion.prediction.serving.server import serve as serve_model
    from skinlesion.prediction.serving.settings import ServerSettings

    config = config_of(None, models, None)
    named = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    show_log(quiet)
    with suppress(KeyboardInterrupt):  # it is how one ends it
        serve_model(
            config,
            ServerSettings.of(key_values(settings) | named),
            announce=lambda address: out.print(f"{address}  (Ctrl-C ends it)", markup=False),
        )


@app.command(rich_help_panel="Run")
def weights(
    settings: Settings = None,
    fall_back: Annotated[
        bool, typer.Option("--or-drawn", help="If the weights are not available, say so and print `drawn`.")
    ] = False,
) -> None:
    """Make sure that the weights of the backbone are available and print the value for the setting `weights`."""
    from skinlesion.network.backbone import GOING_ON_WITH_DRAWN, WeightsUnavailable, find_weights

    config = config_of(None, None, settings)
    try:
        find_weights(config)
    except WeightsUnavailable as error:
        if not fall_back:
            raise
        err.print(f"skinlesion: {error}", markup=False)
        err.print(GOING_ON_WITH_DRAWN, markup=False)
        out.print("drawn")
        return
    out.print(config.weights, markup=False)


for _command in (sample, labels, fetch, diagnoses):
    app.command(rich_help_panel="Data")(_command)
for _stage in (*PREPARING, *STAGES):
    app.command(_stage, help=STAGE_HELP[_stage], rich_help_panel="One stage alone")(stage_command(_stage))
