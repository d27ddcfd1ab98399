"""Runs and tune studies as TensorBoard reads them, written from what they have written themselves.

An event file is made of the same bytes for the same rows, so what is there already is the
beginning of what is to be there, and only the rest is added: TensorBoard follows a file that grows.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from dancecli.core.errors import MissingDependencyError
from dancecli.report.results.progress import read_rows
from dancecli.storage.runs import read_records, read_studies
from dancecli.storage.workspace import Workspace

FILE = "events.out.tfevents.dance"
# A run's rows by kind, and the names under which TensorBoard draws them.
_SCALARS = {
    "train": {"loss": "loss/train", "top1": "top1/train", "lr": "rate"},
    "val": {"loss": "loss/val", "top1": "top1/val", "top5": "top5/val"},
}


def write_events(workspace: Workspace, folder: Path) -> int:
    """Bring `folder` up to what the runs and studies have written so far.

    Args:
        workspace: where they are.
        folder: gets a folder a run, and a folder a study with one a trial below it.

    Returns:
        How many event files grew.

    Raises:
        MissingDependencyError: TensorBoard is not installed.
    """
    grew = 0
    for name, record in read_records(workspace)[0].items():
        grew += _bring_up(folder / "runs" / name / FILE, _run_events(workspace.run(name), record))
    for name, study in read_studies(workspace)[0].items():
        trials = study.get("trials")
        for trial in trials if isinstance(trials, list) else []:
            if trial.get("state") in {"done", "pruned"}:
                place = folder / "studies" / name / f"trial-{trial['number']}" / FILE
                grew += _bring_up(place, _trial_events(study, trial))
    return grew


def _run_events(folder: Path, record: Mapping[str, Any]) -> Iterator[bytes]:
    """Give a run's rows as events; the time of a row is the run's beginning and what it says since."""
    begin = _moment(record.get("created_utc"))
    step, now = 0, begin
    for row in read_rows(folder / "metrics.jsonl"):
        kind = str(row.get("kind"))
        if kind == "train":
            step, now = int(row.get("step") or step), begin + float(row.get("time_s") or 0)
        for key, tag in _SCALARS.get(kind, {}).items():
            value = row.get(key)
            if isinstance(value, int | float):
                yield _scalar(tag, float(value), step, now)


def _trial_events(study: Mapping[str, Any], trial: Mapping[str, Any]) -> Iterator[bytes]:
    """Give a trial's settings, its validation curve, and what it came to."""
    info, api = _subsets("plugins.hparams.plugin_data_pb2"), _subsets("plugins.hparams.api_pb2")
    now = _moment(study.get("updated_utc"))
    begun = info.SessionStartInfo(start_time_secs=now)
    for key, value in trial["params"].items():
        if isinstance(value, int | float):
            begun.hparams[key].number_value = value
        elif isinstance(value, str):
            begun.hparams[key].string_value = value
    yield _event(now, 0, _hparams("SESSION_START_INFO_TAG", session_start_info=begun))
    for epoch, value in enumerate(trial.get("curve") or [], start=1):
        if isinstance(value, int | float):
            yield _scalar("top1/val", float(value), epoch, now)
    val = trial.get("val")
    if val and val["n"]:
        yield _scalar("top1/val of the trial", val["top1"] / val["n"], int(trial.get("epochs") or 0), now)
    ended = info.SessionEndInfo(status=api.STATUS_SUCCESS, end_time_secs=now)
    yield _event(now, 0, _hparams("SESSION_END_INFO_TAG", session_end_info=ended))


def _hparams(tag: str, **content: Any) -> Any:
    """Say something to TensorBoard's table of settings, as PyTorch's own writer does."""
    info, metadata = _subsets("plugins.hparams.plugin_data_pb2"), _subsets("plugins.hparams.metadata")
    kind = _subsets("compat.proto.summary_pb2").Summary
    data = info.HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **content)
    told = metadata.create_summary_metadata(data)
    value = kind.Value(tag=getattr(metadata, tag), metadata=told, tensor=metadata.NULL_TENSOR)
    return kind(value=[value])


def _scalar(tag: str, value: float, step: int, now: float) -> bytes:
    kind = _subsets("compat.proto.summary_pb2").Summary
    return _event(now, step, kind(value=[kind.Value(tag=tag, simple_value=value)]))


def _event(now: float, step: int, summary: Any) -> bytes:
    kind = _subsets("compat.proto.event_pb2").Event
    content: bytes = kind(wall_time=now, step=step, summary=summary).SerializeToString(deterministic=True)
    return content


def _bring_up(path: Path, events: Iterator[bytes]) -> bool:
    """Add to a file what it lacks; True if that was anything."""
    held = io.BytesIO()
    writer = _subsets("summary.writer.record_writer").RecordWriter(held)
    writer.write(_subsets("compat.proto.event_pb2").Event(file_version="brain.Event:2").SerializeToString())
    for event in events:
        writer.write(event)
    wanted = held.getvalue()
    there = path.read_bytes() if path.exists() else b""
    if wanted == there:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    if wanted.startswith(there):
        with path.open("ab") as file:
            file.write(wanted[len(there) :])
    else:
        # The run was begun again: another history is another file's.
        path.write_bytes(wanted)
    return True


def _subsets(name: str) -> Any:
    """Import a module of TensorBoard's.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return importlib.import_module(f"tensorboard.{name}")
    except ImportError:
        raise MissingDependencyError(
            "TensorBoard is not installed", "pip install 'dancecli[tensorboard]'"
        ) from None


def _moment(text: object) -> float:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return 0.0
