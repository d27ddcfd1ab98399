"""A tuning study in Optuna: who trains which trial, what became of it, and what follows from a kill.

Several processes, on several machines, may work on one study. Each trial carries its owner, a
name that the owner's process holds a lock on; where the lock is free, or cannot be seen and no
sign of life has come for minutes, the trial has died: it is marked as failed and asked again.
Optuna has such signs for its own loop; these work with any of its storages, and at once on the
same machine.
"""

from __future__ import annotations

import math
import platform
import threading
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.recipe import Recipe
from dancecli.model.tuning.search_space import Space
from dancecli.model.tuning.trial import Asked, Ended

if TYPE_CHECKING:
    import optuna
from dancecli.core.errors import WorkspaceError

# A trial is tried so often before it counts as one that cannot be trained.
_ATTEMPTS = 3
_BEAT_S = 30.0
_SILENT_S = 300.0
# So often in its course a trial is reported and may be pruned: a write to a database costs more than
# an epoch of a head.
_REPORTS = 5


@dataclass(frozen=True)
class TrialRow:
    """A trial as the storage has it.

    Attributes:
        state: `done`, `pruned`, `failed`, `running` or `waiting`.
        baseline: it is the recipe as it was, not a point that was searched.
        curve: top-1 after each epoch.
        note: why it failed, or which trial it repeats.
        ended: it counts as tried; one that died and will be tried again does not.
    """

    number: int
    state: str
    params: Mapping[str, Any]
    baseline: bool
    ended: bool
    curve: tuple[float, ...]
    note: str
    result: Mapping[str, Any]


class Study:
    """One study, as one process works on it. Made by `storage.open_study`.

    Args:
        study: Optuna's.
        space: what is searched.
        recipe: what the trials have beside it.
        locks: folder for the locks of the processes at work.
    """

    def __init__(self, study: optuna.Study, space: Space, recipe: Recipe, locks: Path) -> None:
        self._study, self._space, self._recipe, self._locks = study, space, recipe, locks
        self._name = f"{study.study_name}-{uuid.uuid4().hex[:12]}"
        self._trials: dict[int, optuna.trial.Trial] = {}
        self._stop = threading.Event()

        self._baseline = -1
        self._curves: dict[int, list[float]] = {}
        self._rungs = {math.ceil(recipe.epochs * i / _REPORTS) for i in range(1, _REPORTS + 1)}

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Show others that the trials of this process are alive, and let go of them at the end.

        Whatever ends the block early, the trials in flight wait to be asked again.
        """
        import filelock

        self._locks.mkdir(parents=True, exist_ok=True)
        lock = self._lock_of(self._name)
        beats = threading.Thread(target=self._beat, daemon=True)
        with filelock.FileLock(lock):
            beats.start()
            try:
                yield
            finally:
                self._stop.set()
                beats.join()
                for number, trial in list(self._trials.items()):
                    with suppress(Exception):
                        self._repeat(number, trial.params, trial.user_attrs, died=False)
        lock.unlink(missing_ok=True)

    def ask(self, most: int, wanted: int) -> list[Asked]:
        """Take the next trials; fewer than `most`, or none, where the study has all it wants.

        Args:
            most: how many at once.
            wanted: searched points of the whole study; the baseline comes on top.
        """
        import optuna

        with self._turn(), storage_errors():
            self._sweep()
            rows = self.rows()
            missing = wanted + self._baselines(rows) - sum(r.ended or r.state == "running" for r in rows)
            found = []
            for _ in range(max(0, min(most, missing))):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                    trial = self._study.ask(self._space.distributions())
                trial.set_user_attr("owner", self._owner())
                self._trials[trial.number] = trial
                if trial.user_attrs.get("baseline"):
                    self._baseline = trial.number
                changed = self._recipe.with_changes(**trial.params)
                found.append(Asked(trial.number, trial.params, changed))
        return found

    def report(self, asked: Asked, epoch: int, top1: float) -> bool:
        """Note a trial's accuracy after an epoch; say whether it is to be pruned."""
        self._curves.setdefault(asked.number, []).append(top1)
        if epoch not in self._rungs:
            return False
        trial = self._trials[asked.number]
        with storage_errors():
            trial.report(top1, epoch)
            # The baseline is what the others are told apart from.
            return asked.number != self._baseline and bool(trial.should_prune())

    def end(self, asked: Asked, ended: Ended) -> None:
        """Note what became of a trial."""
        import optuna

        trial = self._trials[asked.number]
        result = {
            "top1": ended.top1,
            "loss": ended.loss,
            "epoch": ended.epoch,
            "epochs": ended.epochs,
            "seconds": ended.seconds,
            "curve": self._curves.pop(asked.number, []),
            "right": "".join("1" if right else "0" for right in ended.right),
        }
        state = optuna.trial.TrialState
        with storage_errors():
            trial.set_user_attr("result", result)
            if ended.failed:
                trial.set_user_attr("failed", ended.failed)
                self._study.tell(trial, state=state.FAIL)
            elif ended.pruned:
                self._study.tell(trial, state=state.PRUNED)
            else:
                self._study.tell(trial, ended.top1)
        del self._trials[asked.number]

    def rows(self) -> list[TrialRow]:
        """Read all trials, in the order of their numbers."""
        with storage_errors():
            return [_row(trial) for trial in self._study.get_trials(deepcopy=False)]

    def _baselines(self, rows: Sequence[TrialRow]) -> int:
        return int(any(row.baseline for row in rows))

    def _owner(self) -> dict[str, Any]:
        return {"host": platform.node(), "locks": str(self._locks), "name": self._name, "beat": time.time()}

    def _lock_of(self, name: str) -> Path:
        return self._locks / f"study-{name}.lock"

    def _beat(self) -> None:
        while not self._stop.wait(_BEAT_S):
            for trial in list(self._trials.values()):
                # The trial may have ended just now; and a storage that is away is the main thread's matter.
                with suppress(Exception):
                    trial.set_user_attr("owner", self._owner())

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One process at a time counts and asks, on one machine at least."""
        import filelock

        with filelock.FileLock(self._locks / f"study-{self._study.study_name}.lock"):
            yield

    def _sweep(self) -> None:
        """Fail the trials whose process is gone, and have them tried again."""
        import optuna

        running = (optuna.trial.TrialState.RUNNING,)
        for trial in self._study.get_trials(deepcopy=False, states=running):
            owner = trial.user_attrs.get("owner", {})
            if trial.number not in self._trials and not self._alive(trial, owner):
                self._repeat(trial.number, trial.params, trial.user_attrs, died=True)
                if path := owner.get("name"):
                    self._lock_of(path).unlink(missing_ok=True)

    def _alive(self, trial: optuna.trial.FrozenTrial, owner: Mapping[str, Any]) -> bool:
        import filelock

        if owner.get("host") == platform.node() and owner.get("locks") == str(self._locks):
            lock = filelock.FileLock(self._lock_of(str(owner["name"])))
            try:
                lock.acquire(blocking=False)
            except filelock.Timeout:
                return True
            lock.release()
            return False
        began = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
        return time.time() - float(owner.get("beat", began)) < _SILENT_S

    def _repeat(
        self, number: int, params: Mapping[str, Any], attrs: Mapping[str, Any], *, died: bool
    ) -> None:
        """Mark a trial as failed without a result, and let the same point wait for the next who asks."""
        import optuna

        try:
            if not died:
                self._trials[number].set_user_attr("let_go", True)
            self._study.tell(number, state=optuna.trial.TrialState.FAIL)
        except ValueError:
            return  # another process was first
        self._trials.pop(number, None)
        attempt = int(attrs.get("attempt", 1)) + died
        # Killed before its parameters were drawn, it leaves nothing to repeat.
        if attempt <= _ATTEMPTS and len(params) == len(self._space.keys):
            kept = {"baseline": True} if attrs.get("baseline") else {}
            self._study.enqueue_trial(dict(params), {**kept, "attempt": attempt, "repeats": number})


def _row(trial: optuna.trial.FrozenTrial) -> TrialRow:
    states = {"COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}
    state, attrs = states.get(trial.state.name, "waiting"), trial.user_attrs
    failed = str(attrs.get("failed", ""))
    died = state == "failed" and not failed
    retried = died and (bool(attrs.get("let_go")) or int(attrs.get("attempt", 1)) < _ATTEMPTS)
    note = failed or ("it was interrupted" if attrs.get("let_go") else "its process ended" if died else "")
    if "repeats" in attrs:
        note = (note + "; " if note else "") + f"repeats trial {attrs['repeats']}"
    params = trial.params or trial.system_attrs.get("fixed_params", {})
    return TrialRow(
        number=trial.number,
        state=state,
        params=params,
        baseline=bool(attrs.get("baseline")),
        ended=state in ("done", "pruned", "failed") and not retried,
        curve=tuple(attrs.get("result", {}).get("curve", ())),
        note=note,
        result=attrs.get("result", {}),
    )


@contextmanager
def storage_errors() -> Iterator[None]:
    """Say in a sentence what a storage refuses.

    Raises:
        WorkspaceError: it refused something in the block.
    """
    import sqlite3

    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (optuna.exceptions.StorageInternalError, SQLAlchemyError, sqlite3.Error, ImportError) as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        said = str(getattr(cause, "orig", None) or cause).strip().splitlines()[0]
        raise WorkspaceError(
            f"the study's storage cannot be used: {said[:200]}",
            "mend that and run the same command again: it goes on where it stopped",
        ) from error
