"""Where each run and study stands right now, read from what it has written so far."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dancecli.storage.runs import read_records, read_studies
from dancecli.storage.workspace import Workspace

UNREADABLE = "unreadable"
# A loss is shown as the mean of the last so many steps: a single one says little.
_STEPS = 20


@dataclass(frozen=True)
class State:
    """One run.

    Attributes:
        status: `running`, `done`, `failed`, `interrupted`, or `unreadable`.
        epoch, epochs: the last one begun, and how many there are to be; 0 if not known.
        loss, train_top1: means of the last steps; None before the first.
        val_top1: of the last validation; None before the first.
        best_val_top1: the highest so far; None before the first.
    """

    run: str
    status: str
    epoch: int
    epochs: int
    loss: float | None
    train_top1: float | None
    val_top1: float | None
    best_val_top1: float | None


@dataclass(frozen=True)
class StudyState:
    """One tune study.

    Attributes:
        status: as its record says.
        done, pruned, failed, wanted: trials.
        best: of the validation clips that the best trial correct, the share; None before it.
        best_trial: its number.
    """

    study: str
    status: str
    done: int
    pruned: int
    failed: int
    wanted: int
    best: float | None
    best_trial: int | None


def study_states(workspace: Workspace) -> list[StudyState]:
    """Read the state of every study, by name; one that is being written is passed over."""
    records, unreadable = read_studies(workspace)
    found = [_study(name, record) for name, record in records.items()]
    found += [StudyState(name, UNREADABLE, 0, 0, 0, 0, None, None) for name in unreadable]
    return sorted(found, key=lambda state: state.study)


def _study(name: str, record: Mapping[str, Any]) -> StudyState:
    trials = record.get("trials") or []
    states = [trial["state"] for trial in trials]
    evaluated = [
        (trial["val"]["top1"] / trial["val"]["n"], -trial["number"])
        for trial in trials
        if trial["state"] == "done" and trial.get("val")
    ]
    best = max(evaluated, default=None)
    return StudyState(
        study=name,
        status=record["status"],
        done=states.count("done"),
        pruned=states.count("pruned"),
        failed=states.count("failed"),
        wanted=int(record.get("wanted") or 0),
        best=best[0] if best else None,
        best_trial=-best[1] if best else None,
    )


def states(workspace: Workspace) -> list[State]:
    """Read the state of every run, the one begun last at the end; a half-written line is passed over."""
    return states_of(workspace, *read_records(workspace))


def states_of(
    workspace: Workspace, records: Mapping[str, Mapping[str, Any]], unreadable: Collection[str]
) -> list[State]:
    """Give the states of runs whose records were read; see `states` and `read_records`."""
    return [
        State(name, UNREADABLE, 0, 0, None, None, None, None)
        if name in unreadable
        else _state(workspace.run(name), name, records[name])
        for name in (folder.name for folder in workspace.run_folders())
        if name in unreadable or name in records
    ]


def _state(folder: Path, name: str, record: Mapping[str, Any]) -> State:
    epochs = (record.get("optim") or {}).get("epochs") or 0
    rows = read_rows(folder / "metrics.jsonl")
    train = [row for row in rows if row.get("kind") == "train"]
    val = [v for row in rows if row.get("kind") == "val" and (v := _number(row, "top1")) is not None]
    return State(
        run=name,
        status=record["status"],
        epoch=max((int(_number(row, "epoch") or 0) for row in rows), default=0),
        epochs=epochs if isinstance(epochs, int) else 0,
        loss=_mean(train, "loss"),
        train_top1=_mean(train, "top1"),
        val_top1=val[-1] if val else None,
        best_val_top1=max(val, default=None),
    )


def read_rows(path: Path) -> list[Mapping[str, Any]]:
    """Read a run's `metrics.jsonl` as far as it is written."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    rows: list[Mapping[str, Any]] = []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue  # the run is writing it at this moment
        if isinstance(row, dict):
            rows.append(row)
    return rows


def _number(row: Mapping[str, Any], key: str) -> float | None:
    value = row.get(key)
    return float(value) if isinstance(value, int | float) else None


def _mean(rows: list[Mapping[str, Any]], key: str) -> float | None:
    values = [v for row in rows[-_STEPS:] if (v := _number(row, key)) is not None]
    return sum(values) / len(values) if values else None
