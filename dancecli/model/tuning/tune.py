"""`tune`: many trials of a recipe, chosen by the validation part; to the best one as a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from dancecli.core.progress import OnMessage, OnProgress, Progress, no_message, no_progress
from dancecli.core.recipe import Recipe
from dancecli.core.records import Subset
from dancecli.model.dataloading.split_data import subset_hash
from dancecli.model.tuning import results as files
from dancecli.model.tuning.plan import TunePlan, TuneSettings, plan_study
from dancecli.model.tuning.trial import Asked, Ended, Trainer
from dancecli.storage import runs as rec
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    from dancecli.model.tuning.study import Study


@dataclass(frozen=True)
class TuneResult:
    """Where a study stands.

    Attributes:
        record: its `study.json`.
        trained: trials that this call trained.
        elsewhere: trials that other processes are at.
    """

    name: str
    folder: files.StudyFolder
    record: dict[str, Any]
    trained: int
    elsewhere: int


def tune(
    workspace: Workspace,
    settings: TuneSettings,
    on_progress: OnProgress = no_progress,
    say: OnMessage = no_message,
) -> TuneResult:
    """Search a space for the recipe that does best on the validation part; go on if that was begun.

    Trials that other processes are at are left to them. A trial whose process ended is tried again.

    Args:
        workspace: where the split is and the study goes.
        settings: what to search.
        on_progress: gets `phase · words`, in epochs of trials.
        say: gets what the user should know before the work begins, a line each.

    Raises:
        WorkspaceError: no such split, or none with a validation part; the study was begun
            otherwise; its storage cannot be used.
        InputError: the recipe, the space or the lists are wrong.
        ModelError: the weights do not fit or cannot be had.
    """
    plan = plan_study(workspace, settings)
    for note in (f"study {plan.name}: {plan.base.entry.title}, split {plan.base.data.name}", *plan.notes):
        say(note)
    folder = files.StudyFolder(workspace.study_folder(plan.name))
    folder.root.mkdir(parents=True, exist_ok=True)
    on_progress(Progress(0, 1, "loading the model · a few seconds"))
    trainer = _trainer(workspace, plan, folder, on_progress)
    study = _open(workspace, plan, trainer)
    work = _Work(workspace, plan, folder, trainer, study, on_progress)
    try:
        with study.at_work():
            trained = work.go_on()
    except BaseException as error:
        status = files.INTERRUPTED if isinstance(error, KeyboardInterrupt) else files.FAILED
        # On a full disk it is the first error that counts.
        with suppress(Exception):
            work.write(status)
        raise
    rows = study.rows()
    elsewhere = sum(row.state == "running" for row in rows)
    return TuneResult(plan.name, folder, work.write(files.DONE), trained, elsewhere)


def _trainer(
    workspace: Workspace, plan: TunePlan, folder: files.StudyFolder, on_progress: OnProgress
) -> Trainer:
    if plan.alone:
        from dancecli.model.tuning.run_trials import RunTrials

        return RunTrials(workspace, plan.base, plan.name, on_progress)
    from dancecli.model.tuning.head_trials import HeadTrials

    return HeadTrials(workspace, plan.base, rec.RunFolder(folder.root), on_progress)


def _open(workspace: Workspace, plan: TunePlan, trainer: Trainer) -> Study:
    from sqlalchemy.engine import URL

    from dancecli.model.tuning.storage import open_study

    file = workspace.study(plan.name)
    url = plan.settings.storage or URL.create("sqlite", database=str(file)).render_as_string()
    data, settings = plan.base.data, plan.settings
    identity = {
        "split": data.name,
        "split hash": data.meta["split.hash"],
        "validation part": subset_hash(data.examples[Subset.VAL], data.labels),
        "model": plan.base.entry.name,
        "weights": trainer.weights_sha256,
        "seed": settings.seed,
        "space": plan.space.table(),
        "recipe": {key: value for key, value in asdict(plan.base.recipe).items() if key != "workers"},
    }
    locks = workspace.root / ".locks"
    return open_study(plan.name, url, plan.space, plan.base.recipe, settings.seed, identity, locks)


class _Work:
    """One process at a study, from the first trial it takes to the last."""

    def __init__(
        self,
        workspace: Workspace,
        plan: TunePlan,
        folder: files.StudyFolder,
        trainer: Trainer,
        study: Study,
        on_progress: OnProgress,
    ) -> None:
        self._plan, self._folder, self._trainer, self._study = plan, folder, trainer, study
        self._on_progress = on_progress
        self._ended = 0
        self._static = files.study_record(workspace, plan, trainer)

    def go_on(self) -> int:
        """Train what the study still wants; give the number of trials."""
        trained, epochs = 0, self._plan.base.recipe.epochs
        while asked := self._study.ask(self._trainer.together, self._plan.settings.trials):
            record = self.write(files.RUNNING)
            ended = sum(t["state"] not in ("running", "waiting") for t in record["trials"])
            wanted = self._plan.settings.trials + any(t["baseline"] for t in record["trials"])
            total = max(wanted, ended + len(asked)) * epochs
            best = files.best_trial(record["trials"])
            words = f" · best so far {best['val']['top1']}/{best['val']['n']}" if best else ""
            numbers = [trial.number for trial in asked]

            def watch(now: Progress, numbers: list[int] = numbers, words: str = words) -> None:
                if len(numbers) == 1 and now.text:
                    self._on_progress(replace(now, text=f"trial {numbers[0]} · {now.text}{words}"))
                    return
                done = ended * epochs + now.done * len(numbers)  # noqa: B023 - called within this turn
                shown = f"trials · {numbers[0]} to {numbers[-1]} · epoch {now.done}/{epochs}{words}"
                self._on_progress(Progress(min(done, total), total, shown))  # noqa: B023

            self._trainer.train(asked, self._study.report, self._end, watch)
            trained += len(asked)
        return trained

    def _end(self, asked: Asked, ended: Ended) -> None:
        self._study.end(asked, ended)
        if self._trainer.together == 1:
            self.write(files.RUNNING)

    def write(self, status: str) -> dict[str, Any]:
        """Write the study's files as it stands; others may be at it."""
        trials = files.trial_records(self._study.rows(), self._static["val"]["n"])
        if status == files.DONE and any(trial["state"] == "running" for trial in trials):
            status = files.RUNNING
        best = files.best_trial(trials)
        record = {**self._static, "status": status, "updated_utc": rec.now_utc()}
        record |= {"best": best["number"] if best else None, "trials": trials}
        files.write_study(self._folder, record, self._best_recipe(best, trials) if best else None)
        return record

    def _best_recipe(self, best: Mapping[str, Any], trials: Sequence[Mapping[str, Any]]) -> Recipe:
        base, val = self._plan.base, best["val"]
        tried = sum(trial["state"] in ("done", "pruned") for trial in trials)
        said = (
            f"Trial {best['number']} of study {self._plan.name}, the best of {tried}: {val['top1']}/"
            f"{val['n']} right on val of split {base.data.name} ({base.data.meta['split.hash'][:12]}), model "
            f"{base.entry.name}, seed {base.settings.seed}, epoch {best['epoch']} of {base.recipe.epochs}."
        )
        return replace(base.recipe.with_changes(**best["params"]), description=said)
