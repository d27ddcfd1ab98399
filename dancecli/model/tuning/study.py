"""A tuning study in Optuna: trial ownership, results, and recovery after killed processes.

Several processes, on several machines, may work on one study. Each trial stores its owner, a
name that the owning process holds a lock on. If the lock is free, or cannot be seen and no
heartbeat has arrived for minutes, the trial is dead: it is marked as failed and enqueued again.
Optuna has heartbeats for its own loop; these work with any of its storages, and without delay on
the same machine.
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

from dancecli.core.errors import WorkspaceError
from dancecli.core.recipe import Recipe
from dancecli.model.tuning.search_space import Space
from dancecli.model.tuning.trial import TrialRequest, TrialResult

if TYPE_CHECKING:
    import optuna

# Attempts before a trial counts as failed.
_ATTEMPTS = 3
_BEAT_S = 30.0
_SILENT_S = 300.0
# A trial is reported, and may be pruned, after each fifth of its epochs but the last: a write to a
# database costs more than an epoch of a linear probe, and a completed trial is not pruned.
_RUNGS = 5
# What Optuna says of a study that was deleted.
_NOT_FOUND = "Record does not exist."


@dataclass(frozen=True)
class TrialRow:
    """A trial as stored.

    Attributes:
        state: `done`, `pruned`, `failed`, `running` or `waiting`.
        baseline: it is the default configuration, not a searched point.
        curve: top-1 after each epoch.
        note: why it failed, or which trial it repeats.
        ended: it counts as tried; a dead trial that will be repeated does not.
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
    """One study, as seen by one process; created by `storage.open_study`.

    Args:
        study: the Optuna study.
        space: search space.
        recipe: recipe of the trials.
        locks: folder for the locks of the working processes.
    """

    def __init__(self, study: optuna.Study, space: Space, recipe: Recipe, locks: Path) -> None:
        self._study, self._space, self._recipe, self._locks = study, space, recipe, locks
        self._name = f"{study.study_name}-{uuid.uuid4().hex[:12]}"
        self._trials: dict[int, optuna.trial.Trial] = {}
        self._stop = threading.Event()

        self._baseline = -1
        self._curves: dict[int, list[float]] = {}
        self._rungs = {math.ceil(recipe.epochs * i / _RUNGS) for i in range(1, _RUNGS)} - {recipe.epochs}

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Keep the trials of this process alive, and release them at the end.

        If the block ends early, the running trials are enqueued again.
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

    def ask(self, most: int, wanted: int) -> list[TrialRequest]:
        """Take the next trials; fewer than `most`, or none, if the study is complete.

        Args:
            most: maximum number of trials.
            wanted: searched points of the whole study; the baseline comes on top.
        """
        import optuna

        with self._exclusive(), storage_errors():
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
                found.append(TrialRequest(trial.number, trial.params, changed))
        return found

    def report(self, request: TrialRequest, epoch: int, top1: float) -> bool:
        """Record a trial's accuracy after an epoch; return True to stop it: pruned, or taken away."""
        import optuna

        self._curves.setdefault(request.number, []).append(top1)
        if epoch not in self._rungs:
            return False
        trial = self._trials[request.number]
        with storage_errors():
            try:
                trial.report(top1, epoch)
            except optuna.exceptions.UpdateFinishedTrialError:
                return True
            # The baseline is the reference of all comparisons.
            return request.number != self._baseline and bool(trial.should_prune())

    def end(self, request: TrialRequest, result: TrialResult) -> bool:
        """Store the result of a trial.

        Returns:
            False if another machine had taken this process for dead: it repeats the trial, and the result
            is not stored.
        """
        trial = self._trials[request.number]
        stored = {
            "top1": result.top1,
            "loss": result.loss,
            "epoch": result.epoch,
            "epochs": result.epochs,
            "seconds": result.seconds,
            "curve": self._curves.pop(request.number, []),
            "right": "".join("1" if right else "0" for right in result.right),
        }
        with storage_errors():
            kept = self._tell(trial, result, stored)
        del self._trials[request.number]
        return kept

    def _tell(self, trial: optuna.trial.Trial, result: TrialResult, stored: Mapping[str, Any]) -> bool:
        import optuna

        state = optuna.trial.TrialState
        try:
            trial.set_user_attr("result", dict(stored))
            if result.failed:
                trial.set_user_attr("failed", result.failed)
                self._study.tell(trial, state=state.FAIL)
            elif result.pruned:
                self._study.tell(trial, state=state.PRUNED)
            else:
                self._study.tell(trial, result.top1)
        except (optuna.exceptions.UpdateFinishedTrialError, ValueError):
            return False  # another process has ended it
        return True

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
                # The trial may have just ended; the main thread reports an unavailable storage.
                with suppress(Exception):
                    trial.set_user_attr("owner", self._owner())

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Let one process of this machine at a time count and take trials."""
        import filelock

        with filelock.FileLock(self._locks / f"study-{self._study.study_name}.lock"):
            yield

    def _sweep(self) -> None:
        """Fail the trials whose process is gone, and enqueue them again."""
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
        """Mark a trial as failed without a result, and enqueue the same point again."""
        import optuna

        try:
            if not died:
                self._trials[number].set_user_attr("released", True)
            self._study.tell(number, state=optuna.trial.TrialState.FAIL)
        except (optuna.exceptions.UpdateFinishedTrialError, ValueError):
            return  # another process was first
        self._trials.pop(number, None)
        attempt = int(attrs.get("attempt", 1)) + died
        # A trial killed before its parameters were drawn leaves nothing to repeat.
        if attempt <= _ATTEMPTS and len(params) == len(self._space.keys):
            kept = {"baseline": True} if attrs.get("baseline") else {}
            self._study.enqueue_trial(dict(params), {**kept, "attempt": attempt, "repeats": number})


def _row(trial: optuna.trial.FrozenTrial) -> TrialRow:
    states = {"COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}
    state, attrs = states.get(trial.state.name, "waiting"), trial.user_attrs
    failed = str(attrs.get("failed", ""))
    died = state == "failed" and not failed
    retried = died and (bool(attrs.get("released")) or int(attrs.get("attempt", 1)) < _ATTEMPTS)
    note = failed or ("it was interrupted" if attrs.get("released") else "its process ended" if died else "")
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
    """Turn storage errors of the block into one error.

    Raises:
        WorkspaceError: the storage failed.
    """
    import sqlite3

    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except KeyError as error:
        if error.args != (_NOT_FOUND,):
            raise
        raise WorkspaceError(
            "the study is in its storage no more: somebody has deleted it",
            "rerun the command to begin it anew",
        ) from error
    except (optuna.exceptions.StorageInternalError, SQLAlchemyError, sqlite3.Error, ImportError) as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = str(getattr(cause, "orig", None) or cause).strip().splitlines()[0]
        raise WorkspaceError(
            f"the study's storage cannot be used: {reason[:200]}",
            "fix the storage and rerun the command; the study resumes",
        ) from error
