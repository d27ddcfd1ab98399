"""`tune`: hyper-parameter search on the validation subset; writes the best trial as a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from dancecli.core.progress import SILENT, Progress, Reporter
from dancecli.core.recipe import Recipe
from dancecli.core.records import Subset
from dancecli.model.dataloading.split_data import subset_hash
from dancecli.model.tuning import results as files
from dancecli.model.tuning.plan import TunePlan, TuneSettings, plan_study
from dancecli.model.tuning.trial import Trainer, TrialRequest, TrialResult
from dancecli.storage import runs as rec
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    from dancecli.model.tuning.study import Study


@dataclass(frozen=True)
class TuneResult:
    """The state of a study.

    Attributes:
        record: its `study.json`.
        trained: number of trials that this call trained.
    """

    name: str
    folder: files.StudyFolder
    record: dict[str, Any]
    trained: int


def tune(
    workspace: Workspace,
    settings: TuneSettings,
    reporter: Reporter = SILENT,
) -> TuneResult:
    """Search for the recipe with the best validation accuracy; an interrupted study resumes.

    Trials of other processes are left to them. A trial whose process died is repeated.

    Args:
        workspace: holds the split, and receives the study.
        settings: what to search.
        reporter: receives the progress as `phase · words` in epochs of trials, and notes.

    Raises:
        WorkspaceError: no such split, or none with a validation subset; the study was created with
            other settings; its storage cannot be used.
        InputError: the recipe, the space or the annotation lists are invalid.
        ModelError: the weights do not fit or are unavailable.
    """
    plan = plan_study(workspace, settings)
    for note in (f"study {plan.name}: {plan.base.entry.title}, split {plan.base.data.name}", *plan.notes):
        reporter.message(note)
    folder = files.StudyFolder(workspace.study_folder(plan.name))
    folder.root.mkdir(parents=True, exist_ok=True)
    reporter.progress(0, 1, "loading the model · a few seconds")
    trainer = _trainer(workspace, plan, folder, reporter)
    study = _open(workspace, plan, trainer)
    work = _Work(workspace, plan, folder, trainer, study, reporter)
    try:
        with study.at_work():
            trained = work.run()
    except BaseException as error:
        status = rec.INTERRUPTED if isinstance(error, KeyboardInterrupt) else rec.FAILED
        # On a full disk it is the first error that counts.
        with suppress(Exception):
            work.write(status)
        raise
    return TuneResult(plan.name, folder, work.write(rec.DONE), trained)


def _trainer(workspace: Workspace, plan: TunePlan, folder: files.StudyFolder, reporter: Reporter) -> Trainer:
    if plan.sequential:
        from dancecli.model.tuning.run_trials import RunTrials

        return RunTrials(workspace, plan.base, plan.name, reporter)
    from dancecli.model.tuning.head_trials import HeadTrials

    return HeadTrials(workspace, plan.base, rec.RunFolder(folder.root), reporter)


def _open(workspace: Workspace, plan: TunePlan, trainer: Trainer) -> Study:
    from sqlalchemy.engine import URL

    from dancecli.model.tuning.storage import open_study

    file = workspace.study(plan.name)
    url = plan.settings.storage or URL.create("sqlite", database=str(file)).render_as_string()
    data, settings = plan.base.data, plan.settings
    identity = {
        "split": data.name,
        "split hash": data.meta["split.hash"],
        "validation subset": subset_hash(data.examples[Subset.VAL], data.labels),
        "model": plan.base.entry.name,
        "weights": trainer.weights_sha256,
        "seed": settings.seed,
        "flow method": settings.flow_method,
        "space": plan.space.table(),
        "recipe": {key: value for key, value in asdict(plan.base.recipe).items() if key != "workers"},
    }
    locks = workspace.root / ".locks"
    return open_study(plan.name, url, plan.space, plan.base.recipe, settings.seed, identity, locks)


class _Work:
    """The work of one process on a study, from its first trial to its last."""

    def __init__(
        self,
        workspace: Workspace,
        plan: TunePlan,
        folder: files.StudyFolder,
        trainer: Trainer,
        study: Study,
        reporter: Reporter,
    ) -> None:
        self._plan, self._folder, self._trainer, self._study = plan, folder, trainer, study
        self._reporter = reporter
        self._static = files.study_record(workspace, plan, trainer)

    def run(self) -> int:
        """Train the trials that the study still needs; return their number."""
        trained, epochs = 0, self._plan.base.recipe.epochs
        while requests := self._study.ask(self._trainer.batched, self._plan.settings.trials):
            record = self.write(rec.RUNNING)
            ended = sum(t["state"] not in ("running", "waiting") for t in record["trials"])
            wanted = self._plan.settings.trials + any(t["baseline"] for t in record["trials"])
            total = max(wanted, ended + len(requests)) * epochs
            best = files.best_trial(record["trials"])
            words = f" · best so far {best['val']['top1']}/{best['val']['n']}" if best else ""
            numbers = [trial.number for trial in requests]

            def watch(now: Progress, numbers: list[int] = numbers, words: str = words) -> None:
                if len(numbers) == 1 and now.text:
                    self._reporter.on_progress(replace(now, text=f"trial {numbers[0]} · {now.text}{words}"))
                    return
                done = ended * epochs + now.done * len(numbers)  # noqa: B023 - called within this turn
                shown = f"trials · {numbers[0]} to {numbers[-1]} · epoch {now.done}/{epochs}{words}"
                self._reporter.on_progress(Progress(min(done, total), total, shown))  # noqa: B023

            self._trainer.train(requests, self._study.report, self._end, Reporter(watch))
            trained += len(requests)
        return trained

    def _end(self, request: TrialRequest, result: TrialResult) -> None:
        if not self._study.end(request, result):
            self._reporter.message(
                f"trial {request.number} is given up: another machine saw no sign of this one for minutes, "
                "and repeats it; that happens if a machine sleeps, or if their clocks differ"
            )
        if self._trainer.batched == 1:
            self.write(rec.RUNNING)

    def write(self, status: str) -> dict[str, Any]:
        """Write the files of the study in its present state; other processes may still work on it."""
        trials = files.trial_records(self._study.rows(), self._static["val"]["n"])
        if status == rec.DONE and any(trial["state"] == "running" for trial in trials):
            status = rec.RUNNING
        best = files.best_trial(trials)
        record = {**self._static, "status": status, "updated_utc": rec.now_utc()}
        record |= {"best": best["number"] if best else None, "trials": trials}
        files.write_study(self._folder, record, self._best_recipe(best, trials) if best else None)
        return record

    def _best_recipe(self, best: Mapping[str, Any], trials: Sequence[Mapping[str, Any]]) -> Recipe:
        base, val = self._plan.base, best["val"]
        tried = sum(trial["state"] in ("done", "pruned") for trial in trials)
        description = (
            f"Trial {best['number']} of study {self._plan.name}, the best of {tried}: {val['top1']}/"
            f"{val['n']} correct on val of split {base.data.name} ({base.data.meta['split.hash'][:12]}), "
            f"model {base.entry.name}, seed {base.settings.seed}, "
            f"epoch {best['epoch']} of {base.recipe.epochs}."
        )
        return replace(base.recipe.with_changes(**best["params"]), description=description)
