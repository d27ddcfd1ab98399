"""Trials that are runs of their own, one after another: where more than the head is trained."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dancecli.core.errors import DanceError, InputError, ModelError
from dancecli.core.progress import OnProgress, Progress
from dancecli.core.records import Prediction
from dancecli.core.topk import top_k_correct
from dancecli.model.runs.finetune import make_job, run_plan
from dancecli.model.runs.plan import FinetuneSettings, Plan, make_plan
from dancecli.model.tuning.results import recipe_text
from dancecli.model.tuning.trial import LEAST_SCORE, Asked, End, Ended, Report
from dancecli.storage import tables
from dancecli.storage.files import atomic_file
from dancecli.storage.runs import RunFolder
from dancecli.storage.workspace import Workspace, checked_name


class PrunedError(DanceError):
    """A run is stopped because other trials were better by then."""


@dataclass(frozen=True)
class _StudySpace(Workspace):
    """The workspace, with a study's trials in the place of its runs."""

    study_name: str = ""

    def run(self, name: str) -> Path:
        """The folder of a trial."""
        return self.study_folder(self.study_name) / "trials" / checked_name(name, "trial")


class RunTrials:
    """Trains each trial as `dance finetune` would, but for the test part, which it does not see.

    Args:
        workspace: where the clips are, and the features, which the trials share.
        plan: what every trial has in common.
        study: its name.
        on_progress: of what must be fetched before the first trial.
    """

    together = 1

    def __init__(self, workspace: Workspace, plan: Plan, study: str, on_progress: OnProgress) -> None:
        self._space = _StudySpace(workspace.root, study)
        self._plan = plan
        # What is wrong for every trial is said before the first.
        job = make_job(workspace, plan, on_progress)
        self.weights_sha256 = job.start.sha256 if job.start else None

    def train(self, asked: Sequence[Asked], report: Report, end: End, on_progress: OnProgress) -> None:
        """Train a trial; see `trials.Trainer`."""
        for trial in asked:
            began = time.monotonic()
            folder = RunFolder(self._space.run(f"trial-{trial.number:04d}"))
            epochs = _Epochs(folder.metrics)

            def watch(now: Progress, trial: Asked = trial, epochs: _Epochs = epochs) -> None:
                for epoch, top1 in epochs.fresh():
                    if report(trial, epoch, top1):
                        raise PrunedError(f"pruned after epoch {epoch}")
                on_progress(now)

            found = Ended()
            try:
                found = self._run(trial, folder, watch)
            except PrunedError:
                found = replace(epochs.best(), pruned=True)
            except (ModelError, InputError) as error:
                found = Ended(failed=error.message, epochs=epochs.last)
            else:
                for epoch, top1 in epochs.fresh():
                    report(trial, epoch, top1)
                found = replace(found, epochs=epochs.last)
            shutil.rmtree(folder.checkpoints, ignore_errors=True)
            end(trial, replace(found, seconds=round(time.monotonic() - began, 3)))

    def _run(self, trial: Asked, folder: RunFolder, on_progress: OnProgress) -> Ended:
        # What a killed process left under this name is not this trial's.
        shutil.rmtree(folder.root, ignore_errors=True)
        file = folder.root.with_suffix(".toml")
        with atomic_file(file) as text:
            text.write(recipe_text(trial.recipe))
        common = self._plan.settings
        settings = FinetuneSettings(
            pretrain=common.pretrain,
            split=self._plan.data.name,
            recipe=str(file),
            name=folder.root.name,
            weights=common.weights,
            seed=common.seed,
            freeze=trial.recipe.freeze,
            preflight=False,
        )
        plan = make_plan(self._space, settings)
        result = run_plan(self._space, replace(plan, data=plan.data.without_test()), on_progress)
        rows = tables.read(folder.predictions, Prediction)
        scores = [row.scores[row.label_index] for row in rows]
        right = tuple(top_k_correct(row.scores, row.label_index, 1) for row in rows)
        return Ended(
            top1=sum(right) / len(right),
            right=right,
            loss=-sum(math.log(max(score, LEAST_SCORE)) for score in scores) / len(scores),
            epoch=result.record["checkpoint"]["epoch"],
        )


class _Epochs:
    """Reads the validations of a run as they are written."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0
        self._seen: list[tuple[int, float]] = []

    @property
    def last(self) -> int:
        """Epochs that were validated."""
        return self._seen[-1][0] if self._seen else 0

    def best(self) -> Ended:
        """What is known without the predictions."""
        top1, epoch = max(((top1, epoch) for epoch, top1 in self._seen), default=(0.0, 0))
        return Ended(top1=top1, epoch=epoch, epochs=self.last)

    def fresh(self) -> Iterator[tuple[int, float]]:
        """Give the epochs and accuracies that were added since the last call."""
        with contextlib.suppress(FileNotFoundError), self._path.open(encoding="utf-8") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith("\n"):
                    break
                self._offset += len(line.encode())
                row = json.loads(line)
                if row["kind"] == "val":
                    self._seen.append((row["epoch"], row["top1"]))
                    yield self._seen[-1]
