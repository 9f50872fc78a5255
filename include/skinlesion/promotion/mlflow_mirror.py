"""MLflow as run log and registry beside the files: a mirror of them, brought up to date after each change.

The files under models/ are the truth. An MLflow server that does not answer changes nothing about them or about what is in
service; the mirror then lacks something until the next time, which writes all that is missing.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from skinlesion.foundation import atomic, layout
from skinlesion.foundation.lock import locked
from skinlesion.foundation.settings import PipelineConfig, fingerprint
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.report_files import report_files
from skinlesion.registry.snapshot import Registry, Version
from skinlesion.registry.versions import Measurement

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

log = logging.getLogger(__name__)

NAME: Final = "skin-lesion-classifier"
"""Of the experiment and of the registered model."""

RUN_TAG: Final = "skinlesion.run"
VERSION_TAG: Final = "skinlesion.version"

_LOCK_WAIT: Final = 300.0
_BATCH: Final = 500
"""Below MLflow's bounds of 1,000 metrics, 100 params and 100 tags a request, metrics being what there is most of."""


class RunLogUnavailable(OSError):
    """MLflow does not answer; a retry may find it."""


def tracking_uri(models: Path) -> str:
    """Give MLFLOW_TRACKING_URI, else SQLite under models/."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{_folder(models) / 'mlflow.db'}"


def mirror(config: PipelineConfig) -> list[int]:
    """Bring MLflow up to date with the registry; give the versions that were written.

    A candidate has one run, found by its tag `skinlesion.run`, however often it is written. Raises RunLogUnavailable, an
    OSError, when MLflow cannot be reached; what was written by then stays, and the next call goes on.
    """
    models, uri = config.models, tracking_uri(config.models)
    if not _stale(Registry.read(models), uri):
        return []
    _folder(models).mkdir(parents=True, exist_ok=True)
    with locked(layout.registry(models), "mirror", wait=_LOCK_WAIT, where="this registry"), _reachable(uri):
        registry = Registry.read(models)
        stale = _stale(registry, uri)
        client = _client(uri)
        experiment = _experiment(client, models)
        for version in stale:
            _write(client, experiment, config, registry, version)
        _set_aliases(client, registry)
        known = {str(version.number): _state_of(registry, version) for version in registry.versions}
        atomic.write_text(_mirrored_path(models), json.dumps({"uri": uri, "versions": known}))
    return [version.number for version in stale]


def _stale(registry: Registry, uri: str) -> list[Version]:
    """Give the versions of which something happened since they were written there, oldest first."""
    known = _read_mirrored(registry.models, uri)
    return [one for one in reversed(registry.versions) if known.get(str(one.number)) != _state_of(registry, one)]


def _folder(models: Path) -> Path:
    return models / "mlflow"


def _mirrored_path(models: Path) -> Path:
    return _folder(models) / "mirrored.json"


def _read_mirrored(models: Path, uri: str) -> dict[str, str]:
    """Give what was written of each version; nothing for another server."""
    try:
        content = json.loads(_mirrored_path(models).read_text())
        return dict(content["versions"]) if content["uri"] == uri else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _state_of(registry: Registry, version: Version) -> str:
    switches = [entry.at for entry in registry.of_version(version.number)]
    return fingerprint([asdict(version), switches])


@contextmanager
def _reachable(uri: str) -> Iterator[None]:
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        raise RunLogUnavailable(
            f"MLflow at {uri} cannot be written to ({str(error).splitlines()[0][:300]}). The registry and the model in "
            "service are as they should be; the next promotion writes what is missing there"
        ) from error


def _client(uri: str) -> MlflowClient:
    # Who trains what is nobody's business; and Airflow tries again, so MLflow need not for minutes.
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


def _write(client: MlflowClient, experiment: str, config: PipelineConfig, registry: Registry, version: Version) -> None:
    from mlflow.entities import Metric, Param, RunTag

    candidate = Candidate(layout.candidate(config.models, version.run))
    training, metrics = _json(candidate.training), _json(candidate.metrics)
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
    new = {key: str(value) for key, value in (training.get("settings") or {}).items() if key not in run.data.params}
    params = [Param(key, value) for key, value in new.items()]
    tags = [RunTag(key, str(value)) for key, value in _tags(config, registry, version, training, metrics).items()]
    client.log_batch(identity, params=params, tags=tags)
    reports = report_files(registry, version.number).values()
    files = [*reports, candidate.training, candidate.decision_rule]
    for path in files:
        if path.is_file():
            client.log_artifact(identity, str(path))
    _model_version(client, candidate, version, run)
    client.set_terminated(identity, "FINISHED", end_time=trained_at)


def _run(client: MlflowClient, experiment: str, version: Version) -> Run:
    found = client.search_runs([experiment], f"tags.`{RUN_TAG}` = '{version.run}'", max_results=1)
    if found:
        return found[0]
    start = _milliseconds(version.created)
    tags = {RUN_TAG: version.run, VERSION_TAG: str(version.number)}
    return client.create_run(experiment, start_time=start, tags=tags, run_name=f"version {version.number}")


def _of_epochs(training: dict[str, Any]) -> Iterator[tuple[str, float, int]]:
    """Give name, value and step of what training noted."""
    for step, row in enumerate(training.get("history") or [], start=1):
        for name, value in row.items():
            if _is_number(value) and name != "epoch":
                yield f"epoch_{name}", float(value), step


def _final(metrics: dict[str, Any], measured: Measurement) -> dict[str, float]:
    """Give what evaluate measured, the headline with its intervals."""
    found = {name: float(value) for name, value in metrics.items() if _is_number(value)}
    for name, figure in measured.figures.items():
        for suffix, value in (("", figure.value), ("_low", figure.low), ("_high", figure.high)):
            if value is not None:
                found[name + suffix] = float(value)
    return found


def _milliseconds(at: str) -> int:
    return int(datetime.fromisoformat(at).timestamp() * 1000)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _tags(
    config: PipelineConfig,
    registry: Registry,
    version: Version,
    training: dict[str, Any],
    metrics: dict[str, Any],
) -> dict[str, Any]:
    registered = registry.known.registered[version.number]
    verdict = version.verdict
    return {
        VERSION_TAG: version.number,
        "state": version.state,
        "verdict": "none" if verdict is None else "passed" if verdict.passed else "lost",
        "verdict_lost": " ".join(verdict.lost)[:4000] if verdict is not None else "",
        "data_version": metrics.get("data_version", ""),
        "training_version": version.training_version,
        "held_out_version": metrics.get("held_out_version", ""),
        "git_revision": version.git_revision,
        "uv_lock_sha256": registered.lock_sha256,
        "licences": ", ".join(["code: Apache-2.0", *_licences_of_images(config.dataset)]),
        "packages": json.dumps(training.get("packages", {})),
        "warm_start": json.dumps(training.get("warm_start")),
    }


def _licences_of_images(dataset: Path) -> list[str]:
    """Give the names of the licence files that sources have left beside the images."""
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
    found = _model_versions(client, version)
    if not found and version.has_files:
        # A server takes no file of this machine as a source: there the model is uploaded.
        source = str(candidate.folder)
        if "MLFLOW_TRACKING_URI" in os.environ:
            for path in (candidate.h5, candidate.tflite):
                client.log_artifact(run.info.run_id, str(path), "model")
            source = f"{run.info.artifact_uri}/model"
        tags = {VERSION_TAG: str(version.number), RUN_TAG: version.run}
        client.create_model_version(NAME, source, run.info.run_id, tags=tags)


def _model_versions(client: MlflowClient, version: Version) -> list[Any]:
    return list(client.search_model_versions(f"name = '{NAME}' and tags.`{VERSION_TAG}` = '{version.number}'"))


def _set_aliases(client: MlflowClient, registry: Registry) -> None:
    """`champion` is what is in service, `candidate` the newest version that is not."""
    newest = next((version for version in registry.versions if version.state in ("candidate", "rejected")), None)
    aliases = client.get_registered_model(NAME).aliases
    for alias, version in (("champion", registry.champion), ("candidate", newest)):
        found = _model_versions(client, version) if version is not None else []
        if found:
            client.set_registered_model_alias(NAME, alias, found[0].version)
        elif alias in aliases:
            client.delete_registered_model_alias(NAME, alias)


def _json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content
