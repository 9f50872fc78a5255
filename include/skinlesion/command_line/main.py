"""The command line: `skinlesion run`, one command a stage, `sample`, `fetch`, `labels`, `predict`, `metrics`, `models`."""

from __future__ import annotations

import csv
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.logging import RichHandler

from skinlesion.command_line.models import models_app
from skinlesion.foundation import atomic
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.settings import PipelineConfig
from skinlesion.foundation.shard import Shard
from skinlesion.foundation.stage_report import StageReport
from skinlesion.stages.pipeline import PREPARING, SHARDED, STAGES, run_all, run_stage, summary

if TYPE_CHECKING:
    from skinlesion.prediction.classifier import Prediction

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Retrain a malignant / benign / unknown classifier of dermoscopic images. "
    "Research and education only: not a medical device.",
)
out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)

Dataset = Annotated[Path | None, typer.Option(help="Folder with images/ and diagnoses.csv.", show_default="dataset")]
Models = Annotated[Path | None, typer.Option(help="Folder for models.", show_default="models")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting; may be repeated. `skinlesion settings` lists them."),
]
Json = Annotated[Path | None, typer.Option("--json", help="Write the stage reports and metrics to this file.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say only what went wrong.")]


def main() -> None:
    """Run the command line. Errors that a person can mend end it with their message and status 2, never a traceback."""
    try:
        app()
    except DataError as error:
        _complain(str(error), status=2)
    except OSError as error:
        _complain(f"{error}. What was finished is kept; run the command again when the cause is gone.", status=3)
    except KeyboardInterrupt:
        _complain("Stopped. What was finished is kept; run the command again to go on.", status=130)


def _complain(message: str, status: int) -> None:
    err.print(f"skinlesion: {message}", style="red", markup=False)
    sys.exit(status)


@app.command()
def run(
    dataset: Dataset = None,
    models: Models = None,
    settings: Settings = None,
    json_file: Json = None,
    quiet: Quiet = False,
) -> None:
    """Run every stage in order: ingest, resize, augment, organize, build, embed, train, evaluate, promote."""
    config = _config(dataset, models, settings)
    _show_log(quiet)
    reports = run_all(config, announce=_announcer(quiet))
    from skinlesion.stages.evaluate import metrics_of

    promotion = reports[-1].details
    metrics = metrics_of(config, promotion["run"])
    if json_file is not None:
        atomic.write_text(json_file.absolute(), json.dumps(summary(reports, metrics), indent=1))
    if not quiet:
        _print_headline(config, metrics)
        out.print(f"{'Gate:':<19}{promotion['verdict']}", markup=False)


def _stage_command(stage: str) -> Callable[..., None]:
    def whole(
        dataset: Dataset = None,
        models: Models = None,
        settings: Settings = None,
        json_file: Json = None,
        quiet: Quiet = False,
    ) -> None:
        _run_one(stage, _config(dataset, models, settings), None, json_file, quiet)

    def sharded(
        dataset: Dataset = None,
        models: Models = None,
        settings: Settings = None,
        shard: Annotated[str, typer.Option(metavar="I/N", help="Only this slice of the images.")] = "1/1",
        json_file: Json = None,
        quiet: Quiet = False,
    ) -> None:
        _run_one(stage, _config(dataset, models, settings), _shard(shard), json_file, quiet)

    return sharded if stage in SHARDED else whole


def _run_one(stage: str, config: PipelineConfig, shard: Shard | None, json_file: Path | None, quiet: bool) -> None:
    _show_log(quiet)
    report = run_stage(stage, config, shard)
    _announcer(quiet)(report)
    if json_file is not None:
        atomic.write_text(json_file.absolute(), json.dumps(summary([report], {}), indent=1))


for _stage in (*PREPARING, *STAGES):
    app.command(_stage, help=f"Run the {_stage} stage alone.")(_stage_command(_stage))


@app.command()
def sample(
    folder: Annotated[Path, typer.Argument(help="Where to write images/ and diagnoses.csv.")],
    images: Annotated[int, typer.Option(help="Number of images.")] = 240,
    seed: Annotated[int, typer.Option(help="Other seeds give other lesions.")] = 0,
) -> None:
    """Draw procedural dermoscopic images with labels, to try things out without a download."""
    from skinlesion.data.sources.drawn.sample import write_sample
    from skinlesion.foundation.progress import progress

    drawn = 0
    with progress("sample", images) as advance:

        def show(count: int) -> None:
            nonlocal drawn
            advance(count - drawn)
            drawn = count

        report = write_sample(folder, images=images, seed=seed, progress=show)
    counts = ", ".join(f"{count} {label}" for label, count in report.per_label.items())
    out.print(f"{report.images} images of {report.lesions} lesions ({counts}) in {report.folder}")


@app.command()
def labels(
    tables: Annotated[
        list[Path] | None,
        typer.Argument(help="Tables of any known layout, else those of the data set.", show_default=False),
    ] = None,
    dataset: Dataset = None,
    settings: Settings = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write what is shown to this file.")] = None,
    quiet: Quiet = False,
) -> None:
    """Show what tables of diagnoses become, without images: classes, groups, what is refused, what they disagree on."""
    from skinlesion.data.labels import join_tables
    from skinlesion.data.labels.of_dataset import labels_of_dataset
    from skinlesion.data.report.labels_summary import labels_summary, print_summary

    config = _config(dataset, None, settings)
    joined = join_tables(tables, (), config.actinic_keratosis) if tables else labels_of_dataset(config)
    found = labels_summary(joined, config.held_out_fraction)
    if json_file is not None:
        atomic.write_text(json_file.absolute(), json.dumps(found, indent=1))
    if not quiet:
        print_summary(found, out)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(metavar="SET", help="isic-2019, isic-2018 or ham10000.")],
    folder: Annotated[Path, typer.Argument(help="Where to write images/ and labels/; then a data set for --dataset.")],
    settings: Settings = None,
    keep_zips: Annotated[bool, typer.Option("--keep-zips", help="Keep the zips once they are unpacked.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the report to this file.")] = None,
    quiet: Quiet = False,
) -> None:
    """Download an official data set with its labels, licence and attribution; run it again to go on.

    Files whose name is taken by other content are left out and listed; the exit status is then 1.
    """
    from skinlesion.data.sources.fetch import fetch as fetch_set

    config = _config(None, None, settings)
    _show_log(quiet)
    report = fetch_set(name, folder.absolute(), config, keep_zips=keep_zips)
    if json_file is not None:
        atomic.write_text(json_file.absolute(), json.dumps(report.as_dict(), indent=1))
    if not quiet:
        for file, what in report.files.items():
            out.print(f"{file}: {what}", markup=False)
        out.print(f"Licence and attribution: {folder}/images/*.{name}.txt. No commercial use.", markup=False)
    for file, reason in report.placed.failed.items():
        err.print(f"not taken {file}: {reason}", markup=False)
    if report.placed.failed:
        raise typer.Exit(1)


@app.command()
def predict(
    paths: Annotated[list[Path], typer.Argument(help="Image files or folders of them.")],
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
    """Print each image's probabilities, most probable class, decision and its reason:
    image,benign,malignant,unknown,label,decision,reason,file.

    The decision follows the decision rule beside the model. Images that cannot be used are listed with their reasons, with
    --output in a file OUTPUT.refused.csv; the exit status is then 1. Killed, it goes on where it stopped when it is run
    again. A name that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    from skinlesion.prediction.prediction_run import PredictionRun

    _show_log(quiet)
    config = _config(None, models, settings)
    part = None if shard is None else _shard(shard)

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
            err.print(f"{report.images - refused} of {report.images} images in {where}{kept}", markup=False)
            if report.refused_list is not None:
                err.print(f"{refused} refused, with reasons in {report.refused_list}", markup=False)
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


@app.command()
def serve(
    models: Models = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; others than this machine's own need SKINLESION_API_TOKEN.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="0 takes a free one.", show_default="8000")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of the server; docs/predictions.md lists them."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Serve the model in service: a web page and an API; takes up promotions and rollbacks while it runs."""
    from skinlesion.prediction.serving.server import serve as serve_model
    from skinlesion.prediction.serving.settings import ServerSettings

    config = _config(None, models, None)
    named = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    _show_log(quiet)
    serve_model(
        config,
        ServerSettings.of(_key_values(settings) | named),
        announce=lambda address: out.print(f"{address}  (Ctrl-C ends it)", markup=False),
    )


@app.command()
def metrics(models: Models = None) -> None:
    """Print the headline of the model in service and where it and its report lie."""
    from skinlesion.stages.evaluate import read_metrics

    config = _config(None, models, None)
    _print_headline(config, read_metrics(config))


app.add_typer(models_app, name="models")


@app.command()
def weights(
    settings: Settings = None,
    fall_back: Annotated[
        bool, typer.Option("--or-random", help="Print `random` when the weights cannot be had, and say so in capitals.")
    ] = False,
) -> None:
    """Make sure that the backbone's weights are there and print the value for the setting `weights`."""
    from skinlesion.network.backbone import WeightsUnavailable, find_weights

    config = _config(None, None, settings)
    try:
        find_weights(config)
    except WeightsUnavailable as error:
        if not fall_back:
            raise
        err.print(f"skinlesion: {error}", markup=False)
        err.print(
            "NO IMAGENET WEIGHTS: GOING ON WITH RANDOM WEIGHTS. THE PIPELINE RUNS, BUT THE MODEL WILL BE POOR. "
            "ITS FIGURES SAY NOTHING ABOUT WHAT A TRAINED BACKBONE REACHES.",
            style="bold red",
        )
        out.print("random")
        return
    out.print(config.weights, markup=False)


@app.command("settings")
def list_settings() -> None:
    """List every setting with its value now, its bounds and what it is for."""
    from rich.table import Table

    table = Table("setting", "value", "allowed", "what for", show_lines=False)
    config = _config(None, None, None)
    for name, schema in PipelineConfig.model_json_schema()["properties"].items():
        allowed = ", ".join(map(str, schema.get("enum", []))) or _bounds(schema)
        what_for = ": ".join(filter(None, (schema.get("title"), schema.get("description"))))
        table.add_row(name, str(getattr(config, name)), allowed, what_for)
    out.print(table)


def _bounds(schema: dict[str, Any]) -> str:
    named = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    return " ".join(f"{sign} {schema[key]}" for key, sign in named.items() if key in schema)


def _key_values(settings: list[str] | None) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for setting in settings or []:
        key, equals, value = setting.partition("=")
        if not equals:
            raise DataError(f"--set {setting}: expected KEY=VALUE, for example --set epochs=3.")
        values[key.strip()] = value.strip()
    return values


def _config(dataset: Path | None, models: Path | None, settings: list[str] | None) -> PipelineConfig:
    values = _key_values(settings)
    for name, folder in (("dataset", dataset), ("models", models)):
        if folder is not None:
            values[name] = folder.absolute()
    return PipelineConfig.of(values)


def _shard(text: str) -> Shard:
    try:
        return Shard.of_text(text)
    except ValueError:
        raise DataError(f"--shard {text}: expected I/N with 1 <= I <= N <= 64, for example 2/4.") from None


def _show_log(quiet: bool) -> None:
    handler = RichHandler(console=err, show_path=False, show_time=False, markup=False)
    logging.basicConfig(level=logging.ERROR if quiet else logging.WARNING, format="%(message)s", handlers=[handler])
    logging.getLogger("skinlesion").setLevel(logging.ERROR if quiet else logging.INFO)


def _announcer(quiet: bool) -> Callable[[StageReport], None]:
    def announce(report: StageReport) -> None:
        if not quiet:
            out.print(str(report), markup=False)

    return announce


def _print_headline(config: PipelineConfig, metrics: dict[str, Any]) -> None:
    from skinlesion.foundation import layout
    from skinlesion.registry.candidate import Candidate

    candidate = Candidate(layout.candidate(config.models, metrics["run"]))
    intervals = metrics["intervals"]
    for name, title in (("balanced_accuracy", "Balanced accuracy"), ("malignant_auroc", "Malignant AUROC")):
        out.print(f"{title + ':':<19}{_figure(metrics[name], intervals.get(name))}", markup=False)
    out.print(f"{'Measured on:':<19}{metrics['images']} held-out images of {metrics['lesions']} lesions")
    out.print(f"{'Model:':<19}{_model_of(config, candidate.run)}", markup=False)
    out.print(f"{'Report:':<19}{candidate.report}", markup=False)
    for warning in metrics["warnings"]:
        out.print(f"{'Note:':<19}{warning}", markup=False)
    out.print("Research and education only: not a medical device.")


def _model_of(config: PipelineConfig, run: str) -> Path:
    """Give the file that people use where the run's model is in service, else the candidate's."""
    from skinlesion.foundation import layout
    from skinlesion.registry import in_service
    from skinlesion.registry.candidate import Candidate

    now = in_service.read(config.models)
    if now is not None and now.run == run:
        return layout.model_in_service(config.models)
    return Candidate(layout.candidate(config.models, run)).h5


def _figure(value: float | None, interval: list[float] | None) -> str:
    if value is None:
        return "not measured"
    return f"{value:.3f}" + (f" (95 % interval {interval[0]:.3f} to {interval[1]:.3f})" if interval else "")
