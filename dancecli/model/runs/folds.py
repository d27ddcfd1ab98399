"""Cross-validation: one model per fold on shared features, and their predictions of all clips, pooled."""

from __future__ import annotations

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
from dancecli.storage.runs import RunFolder


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
    predictions, rows = [], []
    outcome: Outcome | None = None
    seconds: dict[str, float] = {}
    for number in folds.numbers:
        folder = RunFolder(job.folder.root / "folds" / str(number))
        folder.checkpoints.mkdir(parents=True, exist_ok=True)
        if folder.predictions.exists():
            found = tables.read(folder.predictions, Prediction)
        else:
            reporter.message(f"fold {number} of {len(folds.numbers)}")
            own = job_of(job.data.fold(folds.repeat, number), folder)
            outcome = run_job(replace(own, preflight=job.preflight and number == 1), reporter)
            found = outcome.predictions
            tables.write(folder.predictions, Prediction, found)
            for what, took in outcome.seconds.items():
                seconds[what] = round(seconds.get(what, 0.0) + took, 2)
            folder.resume_file.unlink(missing_ok=True)
        predictions += found
        rows.append(_row(number, found))
    pooled = _in_order(predictions, job)
    outcome = outcome or Outcome(pooled, "last", job.recipe.epochs, job.recipe.epochs, {}, 0, 0, {})
    outcome = replace(outcome, predictions=pooled, chosen="", seconds=seconds)
    return outcome, _record(job, folds, rows)


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
