"""Sequential trials: each is a run of its own, where more than the head is trained."""

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
from dancecli.core.progress import Progress, Reporter
from dancecli.core.records import Prediction
from dancecli.core.topk import top_k_correct
from dancecli.model.runs.finetune import make_job, run_plan
from dancecli.model.runs.plan import Plan, make_plan
from dancecli.model.tuning.results import recipe_text
from dancecli.model.tuning.trial import LEAST_SCORE, End, Report, TrialRequest, TrialResult
from dancecli.storage import tables
from dancecli.storage.files import atomic_file
from dancecli.storage.runs import RunFolder
from dancecli.storage.workspace import Workspace, checked_name


class PrunedError(DanceError):
    """Stops the run of a pruned trial."""


@dataclass(frozen=True)
class _StudyWorkspace(Workspace):
    """The workspace with a study's trials in the place of its runs."""

    study_name: str = ""

    def run(self, name: str) -> Path:
        """The folder of a trial."""
        return self.study_folder(self.study_name) / "trials" / checked_name(name, "trial")


class RunTrials:
    """Trains each trial like `dance finetune`, without the test subset.

    Args:
        workspace: holds the clips and the feature cache, which the trials share.
        plan: settings that all trials share.
        study: name of the study.
        reporter: receives the progress of downloads before the first trial.
    """

    batched = 1

    def __init__(self, workspace: Workspace, plan: Plan, study: str, reporter: Reporter) -> None:
        self._workspace = _StudyWorkspace(workspace.root, study_name=study)
        self._plan = plan
        # Errors that concern every trial are raised before the first.
        job = make_job(workspace, plan, reporter)
        self.weights_sha256 = job.start.sha256 if job.start else None

    def train(self, requests: Sequence[TrialRequest], report: Report, end: End, reporter: Reporter) -> None:
        """Train trials one after the other; see `trial.Trainer`."""
        for trial in requests:
            began = time.monotonic()
            folder = RunFolder(self._workspace.run(f"trial-{trial.number:04d}"))
            epochs = _Epochs(folder.metrics)

            def watch(now: Progress, trial: TrialRequest = trial, epochs: _Epochs = epochs) -> None:
                for epoch, top1 in epochs.read_new():
                    if report(trial, epoch, top1):
                        raise PrunedError(f"pruned after epoch {epoch}")
                reporter.on_progress(now)

            found = TrialResult()
            try:
                found = self._run(trial, folder, Reporter(watch))
            except PrunedError:
                found = replace(epochs.best(), pruned=True)
            except (ModelError, InputError) as error:
                found = TrialResult(failed=error.message, epochs=epochs.last)
            else:
                for epoch, top1 in epochs.read_new():
                    report(trial, epoch, top1)
                found = replace(found, epochs=epochs.last)
            shutil.rmtree(folder.checkpoints, ignore_errors=True)
            end(trial, replace(found, seconds=round(time.monotonic() - began, 3)))

    def _run(self, trial: TrialRequest, folder: RunFolder, reporter: Reporter) -> TrialResult:
        # A killed process may have left files under this name.
        shutil.rmtree(folder.root, ignore_errors=True)
        file = folder.root.with_suffix(".toml")
        with atomic_file(file) as text:
            text.write(recipe_text(trial.recipe))
        # The trial's recipe holds what flags changed; the other settings are the study's.
        settings = replace(
            self._plan.settings,
            split=self._plan.data.name,
            recipe=str(file),
            name=folder.root.name,
            freeze=trial.recipe.freeze,
            execution=replace(self._plan.settings.execution, preflight=False),
            changes=(f"norm_eval={str(trial.recipe.norm_eval).lower()}",),
            epochs=None,
            lr=None,
            batch=None,
            views=None,
            num_clips=None,
            augment=None,
            amp=None,
            head_init=None,
        )
        plan = make_plan(self._workspace, settings)
        result = run_plan(self._workspace, replace(plan, data=plan.data.without_test()), reporter)
        rows = tables.read(folder.predictions, Prediction)
        scores = [row.scores[row.label_index] for row in rows]
        right = tuple(top_k_correct(row.scores, row.label_index, 1) for row in rows)
        return TrialResult(
            top1=sum(right) / len(right),
            right=right,
            loss=-sum(math.log(max(score, LEAST_SCORE)) for score in scores) / len(scores),
            epoch=result.record["checkpoint"]["epoch"],
        )


class _Epochs:
    """Follows the validation lines of a run's metrics.jsonl."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0
        self._seen: list[tuple[int, float]] = []

    @property
    def last(self) -> int:
        """The last validated epoch."""
        return self._seen[-1][0] if self._seen else 0

    def best(self) -> TrialResult:
        """The result without the predictions."""
        top1, epoch = max(((top1, epoch) for epoch, top1 in self._seen), default=(0.0, 0))
        return TrialResult(top1=top1, epoch=epoch, epochs=self.last)

    def read_new(self) -> Iterator[tuple[int, float]]:
        """Yield the epochs and accuracies added since the last call."""
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
