"""Cross-validation: one model per fold on shared features, and their predictions of all clips, pooled."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dancecli.core.progress import Reporter
from dancecli.core.records import Prediction, Subset
from dancecli.model.dataloading.split_data import SplitData, few_folds
from dancecli.model.networks.mmaction import init_default_scope
from dancecli.model.training.job import Job
from dancecli.model.training.runner import Outcome, run_job, silence
from dancecli.model.training.scoring import accuracy
from dancecli.model.training.solved_head import HeadSolver, solved_outcome
from dancecli.storage import tables
from dancecli.storage.files import atomic_file
from dancecli.storage.runs import RunFolder

# What a fold took and found, beside its predictions.
OUTCOME = "outcome.json"


@dataclass(frozen=True)
class Folds:
    """One division of clips into folds.

    Attributes:
        repeat: which of the split's divisions, from 0.
        of_clip: the fold of each example, from 1.
    """

    repeat: int
    of_clip: tuple[int, ...]

    @property
    def numbers(self) -> range:
        """The folds."""
        return range(1, max(self.of_clip) + 1)

    def tested(self, number: int) -> list[int]:
        """Give the indices of the examples of a fold."""
        return [i for i, fold in enumerate(self.of_clip) if fold == number]

    def trained(self, number: int) -> list[int]:
        """Give the indices of the examples that the model of a fold is trained on."""
        return [i for i, fold in enumerate(self.of_clip) if fold != number]


def folds_of(data: SplitData, seed: int) -> Folds:
    """Return the division of a split that a seed stands for: the repeats in turn."""
    repeat = seed % len(data.folds)
    fold_of = data.folds[repeat]
    return Folds(repeat, tuple(fold_of[example.clip_id] for example in data.examples[Subset.TEST]))


def solve_folds(
    job: Job, groups: Sequence[str], reporter: Reporter
) -> tuple[Outcome, dict[str, Any], dict[str, Any]]:
    """Solve a head for each fold, then one on all clips, which is saved.

    Args:
        job: the run; its train and test examples are the same clips.
        groups: group of each clip.
        reporter: receives the progress as `phase · words`.

    Returns:
        The outcome with the pooled predictions, the record of the saved head, and that of the folds.
    """
    folds = folds_of(job.data, job.seed)
    with silence(job.folder):
        init_default_scope("mmaction")
        solver, began = HeadSolver(job, reporter), time.monotonic()
        predictions, rows = [], []
        for number in folds.numbers:
            reporter.progress(number - 1, len(folds.numbers), f"training · fold {number}")
            head = solver.solve(groups, folds.trained(number))
            found = solver.predict(Subset.TEST, folds.tested(number))
            predictions += found
            rows.append(_row(number, found) | _chosen(head.record))
        head = solver.solve(groups)
        solver.save(job.folder.checkpoints / "last.pth")
        reporter.progress(1, 1, "training · all folds")
    seconds = {"features": solver.features_s, "train": round(time.monotonic() - began, 2)}
    outcome = solved_outcome(solver, _in_order(predictions, job), seconds)
    return outcome, head.record, _record(job, folds, rows)


def train_folds(
    job: Job, job_of: Callable[[SplitData, RunFolder], Job], reporter: Reporter
) -> tuple[Outcome, dict[str, Any]]:
    """Train a model by epochs for each fold, in a folder of its own; complete folds are kept.

    Args:
        job: the run.
        job_of: makes the job of the split of one fold, in a folder of its own.
        reporter: receives the progress as `phase · words`.

    Returns:
        The outcome with the pooled predictions, and the record of the folds.
    """
    folds = folds_of(job.data, job.seed)
    outcomes = []
    for number in folds.numbers:
        folder = RunFolder(job.folder.root / "folds" / str(number))
        folder.checkpoints.mkdir(parents=True, exist_ok=True)
        outcome = _read_outcome(folder)
        if outcome is None:
            reporter.message(f"fold {number} of {len(folds.numbers)}")
            own = job_of(job.data.fold(folds.repeat, number), folder)
            outcome = run_job(replace(own, preflight=job.preflight and number == 1), reporter)
            _write_outcome(folder, outcome)
            folder.resume_file.unlink(missing_ok=True)
        outcomes.append(outcome)
    rows = [_row(number, of.predictions) for number, of in zip(folds.numbers, outcomes, strict=True)]
    return _pooled(outcomes, job), _record(job, folds, rows)


def _write_outcome(folder: RunFolder, outcome: Outcome) -> None:
    """Keep what a fold took and found: a run that goes on later counts all of its folds."""
    facts = {key: value for key, value in vars(outcome).items() if key != "predictions"}
    with atomic_file(folder.root / OUTCOME) as file:
        json.dump(facts, file, indent=2)
    # Last: with its predictions a fold is complete.
    tables.write(folder.predictions, Prediction, outcome.predictions)


def _read_outcome(folder: RunFolder) -> Outcome | None:
    """Read what a complete fold took and found; None of one that is still to be trained."""
    path = folder.root / OUTCOME
    if not (path.exists() and folder.predictions.exists()):
        return None
    facts = json.loads(path.read_text(encoding="utf-8"))
    return Outcome(predictions=tables.read(folder.predictions, Prediction), **facts)


def _pooled(outcomes: Sequence[Outcome], job: Job) -> Outcome:
    """Add up the folds: their predictions in the order of the clips, and what all of them took."""
    predictions = [row for outcome in outcomes for row in outcome.predictions]
    return replace(
        outcomes[-1],
        predictions=_in_order(predictions, job),
        chosen="",
        seconds=_summed([outcome.seconds for outcome in outcomes]),
        data_wait=_summed([outcome.data_wait for outcome in outcomes]),
        # The first fold alone has a pre-flight.
        preflight=outcomes[0].preflight,
        computed=sum(outcome.computed for outcome in outcomes),
        engines={key: int(n) for key, n in _summed([outcome.engines for outcome in outcomes]).items()},
    )


def _summed(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in parts:
        for key, value in part.items():
            found[key] = round(found.get(key, 0.0) + value, 2)
    return found


def _in_order(predictions: Sequence[Prediction], job: Job) -> list[Prediction]:
    of_clip = {row.clip_id: row for row in predictions}
    return [of_clip[example.clip_id] for example in job.data.examples[Subset.TEST]]


def _row(number: int, predictions: Sequence[Prediction]) -> dict[str, Any]:
    found: Mapping[str, int] = accuracy(predictions) or {"n": 0, "top1": 0}
    return {"fold": number, "n": found["n"], "top1": found["top1"]}


def _chosen(head: Mapping[str, Any]) -> dict[str, Any]:
    """Take from the record of a head what was chosen for it."""
    return {key: head[key] for key in ("C", "neighbors", "lr", "weight_decay") if key in head}


def _record(job: Job, folds: Folds, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    few = few_folds(job.data, folds.repeat)
    return {
        "folds": len(rows),
        "repeat": folds.repeat + 1,
        "of_fold": list(rows),
        **({"classes_in_few_folds": few} if few else {}),
    }
