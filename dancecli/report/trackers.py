"""Finished runs in Weights & Biases and in MLflow, each as that tool records runs of its own.

A run that is there already is not written again. Both libraries are optional, and are told where to
write by their own means: `WANDB_MODE=offline` writes files alone, an MLflow URI may be a folder.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from dancecli.core.errors import DanceError, MissingDependencyError
from dancecli.core.hashing import sha256_text
from dancecli.core.progress import SILENT, Reporter
from dancecli.report.results.progress import read_rows
from dancecli.storage.runs import DONE, read_records
from dancecli.storage.workspace import Workspace

EXPERIMENT = "dance"
# A run's rows by kind, and the names of their values.
_VALUES = {
    "train": {"loss": "train/loss", "top1": "train/top1", "lr": "train/lr"},
    "val": {"loss": "val/loss", "top1": "val/top1", "top5": "val/top5"},
}
_PARTS = ("model", "weights", "split", "views", "optim", "versions")
# What MLflow takes at once.
_MOST_METRICS, _MOST_PARAMS, _LONGEST_PARAM = 1000, 100, 500


def log_wandb(workspace: Workspace, project: str, reporter: Reporter = SILENT) -> list[str]:
    """Write every finished run to a project of Weights & Biases.

    Returns:
        The names of the runs that were written.

    Raises:
        MissingDependencyError: wandb is not installed.
        DanceError: wandb could not write.
    """
    wandb = _load("wandb", "wandb")
    written = []
    for name, record in _finished(workspace):
        identity = sha256_text(f"{name}/{record.get('finished_utc')}")[:16]
        mark = workspace.root / "cache" / "wandb" / f"{project}-{identity}"
        if mark.exists():
            continue
        try:
            run = wandb.init(
                project=project, id=identity, name=name, group=record.get("group"), config=_config(record),
                dir=str(workspace.root), resume="allow", settings=wandb.Settings(silent=True),
            )  # fmt: skip
            for step, values in _steps(workspace, name):
                run.log(values, step=step)
            run.summary.update(_results(record))
            run.finish()
        except wandb.errors.Error as error:
            raise DanceError(
                f"wandb: {error}", "log in with wandb login, or set WANDB_MODE=offline"
            ) from None
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
        written.append(name)
        reporter.message(f"wandb: {name}")
    return written


def log_mlflow(workspace: Workspace, uri: str, reporter: Reporter = SILENT) -> list[str]:
    """Write every finished run to the experiment `dance` of an MLflow tracking server or store.

    Returns:
        The names of the runs that were written.

    Raises:
        MissingDependencyError: mlflow is not installed.
        DanceError: mlflow could not write.
    """
    mlflow, entities = _load("mlflow", "mlflow-skinny"), _load("mlflow.entities", "mlflow-skinny")
    try:
        client = mlflow.MlflowClient(tracking_uri=uri)
        known = client.get_experiment_by_name(EXPERIMENT)
        experiment = known.experiment_id if known else client.create_experiment(EXPERIMENT)
        there = {
            (run.data.tags.get("dance.run"), run.data.tags.get("dance.finished"))
            for run in client.search_runs([experiment], max_results=50_000)
        }
        written = []
        for name, record in _finished(workspace):
            finished = str(record.get("finished_utc"))
            if (name, finished) in there:
                continue
            tags = {
                "dance.run": name,
                "dance.finished": finished,
                "dance.group": str(record.get("group") or ""),
            }
            made = client.create_run(experiment, run_name=name, tags=tags)
            _fill_mlflow(client, entities, made.info, _steps(workspace, name), record)
            client.set_terminated(made.info.run_id)
            written.append(name)
            reporter.message(f"mlflow: {name}")
    except mlflow.exceptions.MlflowException as error:
        raise DanceError(f"mlflow: {error}", "name another store with --mlflow URI") from None
    return written


def _fill_mlflow(
    client: Any,
    entities: Any,
    info: Any,
    steps: Iterator[tuple[int, dict[str, float]]],
    record: Mapping[str, Any],
) -> None:
    metric, now = entities.Metric, info.start_time
    metrics = [metric(key, value, now, step) for step, of in steps for key, value in of.items()]
    metrics += [metric(key, value, now, 0) for key, value in _results(record).items()]
    params = [
        entities.Param(key.replace(" ", "_"), str(value)[:_LONGEST_PARAM])
        for key, value in _config(record).items()
    ]
    for at in range(0, len(metrics), _MOST_METRICS):
        client.log_batch(info.run_id, metrics=metrics[at : at + _MOST_METRICS])
    for at in range(0, len(params), _MOST_PARAMS):
        client.log_batch(info.run_id, params=params[at : at + _MOST_PARAMS])


def _load(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingDependencyError(f"{package} is not installed", f"pip install {package}") from None


def _finished(workspace: Workspace) -> list[tuple[str, dict[str, Any]]]:
    return [(name, run) for name, run in read_records(workspace)[0].items() if run["status"] == DONE]


def _steps(workspace: Workspace, name: str) -> Iterator[tuple[int, dict[str, float]]]:
    """Give the values of each training step; a validation has the number of the last step."""
    step = 0
    for row in read_rows(workspace.run(name) / "metrics.jsonl"):
        kind = str(row.get("kind"))
        step += kind == "train"
        values = {
            name: float(value)
            for key, name in _VALUES.get(kind, {}).items()
            if isinstance(value := row.get(key), int | float)
        }
        if values:
            yield step, {**values, "epoch": float(row.get("epoch") or 0)}


def _config(record: Mapping[str, Any]) -> dict[str, Any]:
    """Lay out how a run was made, as one level of named values."""
    found: dict[str, Any] = {"seed": record.get("seed")}
    for part in _PARTS:
        for key, value in (record.get(part) or {}).items():
            if isinstance(value, str | int | float) and value != "":
                found[f"{part}.{key}"] = value
    return {key: value for key, value in found.items() if value is not None}


def _results(record: Mapping[str, Any]) -> dict[str, float]:
    """Give the accuracies of the evaluated subsets, as shares."""
    found = {}
    for subset, of in (record.get("results") or {}).items():
        if isinstance(of, Mapping) and of.get("n"):
            for key in ("top1", "top5"):
                if isinstance(of.get(key), int | float):
                    found[f"{subset}/{key}_accuracy"] = of[key] / of["n"]
    return found
