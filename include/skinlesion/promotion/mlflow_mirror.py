"""MLflow as run log and registry beside the files: a mirror of them, brought up to date after each change.

The files under models/ are the truth. If an MLflow server does not answer, neither they nor the model in service depend on
it; the next call writes everything that the mirror lacks.

A version whose model files were removed (`keep_versions`) has a run without files.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.lock import locked
from skinlesion.foundation.record import Record
from skinlesion.foundation.redaction import without_secrets
from skinlesion.foundation.settings import Folders, fingerprint
from skinlesion.promotion.settings import PromotionSettings
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.metrics_record import Figures, MetricsRecord
from skinlesion.registry.report_files import report_files
from skinlesion.registry.snapshot import Registry, Version
from skinlesion.registry.training_record import TrainingRecord
from skinlesion.registry.versions import Measurement

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

log = logging.getLogger(__name__)

NAME: Final = "skin-lesion-classifier"
"""Name of the experiment and of the registered model."""

RUN_TAG: Final = "skinlesion.run"
VERSION_TAG: Final = "skinlesion.version"

_PLACES: Final = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""The columns of MLflow's store that hold whole paths."""

_LOCK_WAIT: Final = 300.0
_BATCH: Final = 500
"""Metrics in a request, of which MLflow takes at most 1,000."""


class _Mirrored(Record):
    """What MLflow has: a fingerprint of each version as it was written there, by number, and its address without a password."""

    remedy: ClassVar[str] = "Remove it: the next promotion then writes every version to MLflow again."

    uri: str
    versions: dict[str, str]


class RunLogUnavailable(OSError):
    """MLflow does not answer; a retry may find it."""


def tracking_uri(models: Path) -> str:
    """Return MLFLOW_TRACKING_URI if it is set, else the address of a SQLite file under models/."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{_folder(models) / 'mlflow.db'}"


def mirror(config: PromotionSettings) -> list[int]:
    """Bring MLflow up to date with the registry; return the numbers of the versions that were written.

    A candidate has one run, found by its tag `skinlesion.run`, however often it is written. Raises RunLogUnavailable, an
    OSError, if MLflow cannot be reached; what was written by then stays, and the next call continues.
    """
    models, uri = config.models, tracking_uri(config.models)
    if not _stale(Registry.read(models).require_whole(), uri):
        return []
    _folder(models).mkdir(parents=True, exist_ok=True)
    with locked(layout.registry(models), "mirror", wait=_LOCK_WAIT, where="this registry"), _reachable(uri):
        registry = Registry.read(models).require_whole()
        stale = _stale(registry, uri)
        _bring_home(models)
        client = _client(uri)
        experiment = _experiment(client, models)
        for version in stale:
            _write(client, uri, experiment, config, registry, version)
        _set_aliases(client, registry)
        known = {str(version.number): _state_of(registry, version) for version in registry.versions}
        _Mirrored(uri=without_secrets(uri), versions=known).write(_mirrored_path(models))
    return [version.number for version in stale]


def _stale(registry: Registry, uri: str) -> list[Version]:
    """Return the versions that changed since they were written to this MLflow, oldest first."""
    mirrored = _Mirrored.read_if_there(_mirrored_path(registry.models))
    known = mirrored.versions if mirrored is not None and mirrored.uri == without_secrets(uri) else {}
    return [one for one in reversed(registry.versions) if known.get(str(one.number)) != _state_of(registry, one)]


def _folder(models: Path) -> Path:
    return models / "mlflow"


def _mirrored_path(models: Path) -> Path:
    return _folder(models) / "mirrored.json"


def _state_of(registry: Registry, version: Version) -> str:
    switches = [entry.at for entry in registry.of_version(version.number)]
    return fingerprint([version.model_dump(), switches])


def _bring_home(models: Path) -> None:
    """Let the store in a folder of models that was copied or moved name the files beside it, not those that it came from.

    MLflow writes each run's files to the whole path that it noted when the run was made.
    """
    store, here = _folder(models) / "mlflow.db", (_folder(models) / "artifacts").as_uri()
    if not store.is_file():
        return
    with closing(sqlite3.connect(store)) as database, database:
        try:
            found = database.execute("SELECT artifact_location FROM experiments WHERE name = ?", (NAME,)).fetchone()
        except sqlite3.OperationalError:  # a store that MLflow has yet to fill
            return
        ending = f"/{_folder(models).name}/artifacts"
        if found is None or found[0] == here or not found[0].startswith("file://") or not found[0].endswith(ending):
            return
        was = found[0].removesuffix(ending)
        # The files' addresses, and the plain paths of the candidates, which are the versions' sources
        for old, new in ((was, models.as_uri()), (url2pathname(urlsplit(was).path), str(models))):
            for table, column in _PLACES:
                query = f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?"
                database.execute(query, (new, len(old) + 1, len(old) + 1, f"{old}/"))


@contextmanager
def _reachable(uri: str) -> Iterator[None]:
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, RequestException, SQLAlchemyError) as error:
        # Not `from error`, which names the address with its password.
        raise RunLogUnavailable(
            f"MLflow at {without_secrets(uri)} cannot be written to ({without_secrets(str(error).splitlines()[0])[:300]}). The "
            "registry and the model in service are as they should be; the next promotion writes what is missing there"
        ) from None


def _client(uri: str) -> MlflowClient:
    # MLflow shall report to nobody what is trained here. Airflow retries, so MLflow need not retry for minutes.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    for chatty in ("mlflow", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # Of SQLAlchemy 2.1, about MLflow's own tables
        warnings.filterwarnings("ignore", message="The ``noload`` loader strategy")
        from mlflow import MlflowClient

        client = MlflowClient(uri, registry_uri=uri)
        client.search_experiments(max_results=1)
    return client


def _experiment(client: MlflowClient, models: Path) -> str:
    found = client.get_experiment_by_name(NAME)
    if found is not None:
        return str(found.experiment_id)
    is_local = "MLFLOW_TRACKING_URI" not in os.environ
    return str(client.create_experiment(NAME, (_folder(models) / "artifacts").as_uri() if is_local else None))


def _write(
    client: MlflowClient,
    uri: str,
    experiment: str,
    config: Folders,
    registry: Registry,
    version: Version,
) -> None:
    from mlflow.entities import Metric, Param, RunTag

    candidate = Candidate(layout.candidate(config.models, version.run))
    training, metrics = TrainingRecord.read_if_there(candidate.training), _metrics(candidate)
    run = _run(client, experiment, version)
    identity = run.info.run_id
    trained_at = run.info.start_time
    values = [Metric(key, value, trained_at, step) for key, value, step in _of_epochs(training)]
    if version.measured is not None:
        # MLflow shows the value of the highest step and, within a step, of the latest time, else the largest value. Two
        # measurements may come within a second, so each has a step of its own.
        at, step = _milliseconds(version.measured.at), len(registry.known.measurements[version.number])
        values += [Metric(key, value, at, step) for key, value in _final(metrics, version.measured).items()]
    for start in range(0, len(values), _BATCH):
        client.log_batch(identity, metrics=values[start : start + _BATCH])
    # MLflow's parameters never change; those of a candidate that was trained again are the same, or lie in training.json.
    settings = training.settings if training is not None else {}
    params = [Param(key, str(value)) for key, value in settings.items() if key not in run.data.params]
    values_of_tags = _tags(config, version, training, metrics)
    values_of_tags["files"] = "here" if version.has_files else "removed: older than the latest `keep_versions`"
    tags = [RunTag(key, value) for key, value in values_of_tags.items()]
    client.log_batch(identity, params=params, tags=tags)
    reports = report_files(registry, version.number).values()
    for path in [*reports, candidate.training, candidate.decision_rule] if version.has_files else ():
        if path.is_file():
            client.log_artifact(identity, str(path))
    _model_version(client, candidate, version, run)
    if not version.has_files:
        _remove_files(client, uri, run)
    client.set_terminated(identity, "FINISHED", end_time=trained_at)


def _remove_files(client: MlflowClient, uri: str, run: Run) -> None:
    """Remove all files of a run. Its figures, parameters and tags stay."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    files = get_artifact_repository(run.info.artifact_uri, tracking_uri=uri)
    for file in client.list_artifacts(run.info.run_id):
        files.delete_artifacts(file.path)  # type: ignore[no-untyped-call]  # MLflow's


def _run(client: MlflowClient, experiment: str, version: Version) -> Run:
    found = client.search_runs([experiment], f"tags.`{RUN_TAG}` = '{version.run}'", max_results=1)
    if found:
        return found[0]
    start = _milliseconds(version.created)
    tags = {RUN_TAG: version.run, VERSION_TAG: str(version.number)}
    return client.create_run(experiment, start_time=start, tags=tags, run_name=f"version {version.number}")


def _of_epochs(training: TrainingRecord | None) -> Iterator[tuple[str, float, int]]:
    """Yield name, value and step of each number that training noted after an epoch."""
    for step, row in enumerate(training.history if training is not None else (), start=1):
        for name, value in _numbers(row).items():
            if name != "epoch":
                yield f"epoch_{name}", value, step


def _final(metrics: MetricsRecord | None, measured: Measurement) -> dict[str, float]:
    """Return what evaluate measured, the headline with its intervals, without figures that too few lesions stand behind."""
    found = _numbers({name: getattr(metrics, name) for name in Figures.model_fields} if metrics else {})
    for name in found.keys() - {"images", "lesions"}:
        if metrics is not None and metrics.figure(name).has_too_few:
            del found[name]
    for name, figure in measured.figures.items():
        if not figure.is_shown:
            continue
        for suffix, value in (("", figure.value), ("_low", figure.low), ("_high", figure.high)):
            if value is not None:
                found[name + suffix] = float(value)
    return found


def _milliseconds(at: str) -> int:
    return int(datetime.fromisoformat(at).timestamp() * 1000)


def _numbers(values: Mapping[str, object]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _tags(
    config: Folders, version: Version, training: TrainingRecord | None, metrics: MetricsRecord | None
) -> dict[str, str]:
    verdict = version.verdict
    warm_start = training.warm_start if training is not None else None
    return {
        VERSION_TAG: str(version.number),
        "state": version.state,
        "verdict": "none" if verdict is None else verdict.outcome,
        "verdict_lost": " ".join(verdict.lost)[:4000] if verdict is not None else "",
        "data_version": metrics.data_version if metrics else "",
        "training_version": version.training_version,
        "held_out_version": metrics.held_out_version if metrics else "",
        "left_out": metrics.left_out.sentence if metrics else "",
        "git_revision": version.git_revision,
        "uv_lock_sha256": version.lock_sha256,
        "licences": ", ".join(["code: Apache-2.0", *_licences_of_images(config.dataset)]),
        "packages": json.dumps(training.packages if training is not None else {}),
        "warm_start": json.dumps(warm_start.model_dump() if warm_start is not None else None),
    }


def _licences_of_images(dataset: Path) -> list[str]:
    """Return the names of the licence files that sources have left beside the images."""
    folder = layout.images(dataset)
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in os.scandir(folder) if entry.name.startswith("LICENSE."))


def _model_version(client: MlflowClient, candidate: Candidate, version: Version, run: Run) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(NAME)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        client.create_registered_model(NAME)
    # A server takes no file of this machine as a source: there the model is uploaded.
    is_uploaded = "MLFLOW_TRACKING_URI" in os.environ
    if not version.has_files:
        return
    if is_uploaded and not client.list_artifacts(run.info.run_id, "model"):
        for path in (candidate.h5, candidate.tflite):
            client.log_artifact(run.info.run_id, str(path), "model")
    if not _model_versions(client, version):
        source = f"{run.info.artifact_uri}/model" if is_uploaded else str(candidate.folder)
        tags = {VERSION_TAG: str(version.number), RUN_TAG: version.run}
        client.create_model_version(NAME, source, run.info.run_id, tags=tags)


def _model_versions(client: MlflowClient, version: Version) -> list[ModelVersion]:
    return list(client.search_model_versions(f"name = '{NAME}' and tags.`{VERSION_TAG}` = '{version.number}'"))


def _set_aliases(client: MlflowClient, registry: Registry) -> None:
    """Point `champion` at the version in service and `candidate` at the newest version that never was in service."""
    newest = next((version for version in registry.versions if version.state in ("candidate", "rejected")), None)
    aliases = client.get_registered_model(NAME).aliases
    for alias, version in (("champion", registry.champion), ("candidate", newest)):
        found = _model_versions(client, version) if version is not None else []
        if found:
            client.set_registered_model_alias(NAME, alias, found[0].version)
        elif alias in aliases:
            client.delete_registered_model_alias(NAME, alias)


def _metrics(candidate: Candidate) -> MetricsRecord | None:
    try:
        return MetricsRecord.read_if_there(candidate.metrics)
    except DataError as error:
        log.warning("MLflow: %s It gets none of these figures", error)
        return None
