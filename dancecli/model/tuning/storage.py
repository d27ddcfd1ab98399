"""Storage of a study: any SQLAlchemy URL that Optuna supports; SQLite by default."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import InputError, WorkspaceError
from dancecli.core.recipe import Recipe
from dancecli.core.redaction import redact_word
from dancecli.model.tuning.search_space import Space
from dancecli.model.tuning.study import Study, storage_errors

if TYPE_CHECKING:
    import optuna


# The median of fewer trials, or of a first epoch, is not informative.
_PRUNE_AFTER_TRIALS, _PRUNE_FROM_EPOCH = 5, 2
PRUNING = (
    f"median pruning: after {_PRUNE_AFTER_TRIALS} completed trials, at 1/5, 2/5, 3/5 and 4/5 of the epochs, "
    "a trial whose best accuracy so far is below the median at the same epoch is stopped"
)


def open_study(
    name: str, url: str, space: Space, recipe: Recipe, seed: int, identity: Mapping[str, Any], locks: Path
) -> Study:
    """Open or create a study; the first trial of a new one is the default configuration if in the space.

    Args:
        name: name of the study.
        url: SQLAlchemy URL of its storage.
        space: search space.
        recipe: recipe that all trials share.
        seed: random seed of the sampler.
        identity: settings that must be equal for trials to be comparable.
        locks: folder for the locks of the working processes.

    Raises:
        InputError: the URL of the storage is invalid.
        WorkspaceError: the storage cannot be used; the study was created with other settings, or by another
            program.
    """
    import filelock
    import optuna

    from dancecli.model.tuning.sampler import SeededSampler

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner = optuna.pruners.MedianPruner(
        n_startup_trials=_PRUNE_AFTER_TRIALS, n_warmup_steps=_PRUNE_FROM_EPOCH
    )
    locks.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(locks / f"study-{name}.lock"), storage_errors():
        storage = _storage(url)
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            direction="maximize",
            sampler=SeededSampler(seed),
            pruner=pruner,
            load_if_exists=True,
        )
        plain = json.loads(json.dumps(identity))
        # A study of ours has its settings before it has trials, whichever process is about to begin it.
        has_trials = bool(study.get_trials(deepcopy=False))
        before = study.user_attrs.get("dance")
        if before is None and (has_trials or study.directions != [optuna.study.StudyDirection.MAXIMIZE]):
            raise WorkspaceError(
                f"study {name!r} of this storage is not one of dance tune", "choose another --name"
            )
        if before is None:
            study.set_user_attr("dance", plain)
            point = space.point_of(recipe)
            if point is not None:
                study.enqueue_trial(point, {"baseline": True})
        else:
            _check_same(name, before, plain)
    return Study(study, space, recipe, locks)


def _storage(url: str) -> optuna.storages.BaseStorage:
    import optuna
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    # Wait for SQLite's write lock: another process holds it only for a moment.
    try:
        patient = make_url(url).get_backend_name() == "sqlite"
    except (ArgumentError, ValueError):
        raise InputError(
            f"{redact_word(url)!r} is not a storage URL",
            "for example sqlite:////data/study.db or mysql://user:password@host/database",
        ) from None
    except Exception:  # the driver is missing; Optuna reports that
        patient = False
    arguments = {"connect_args": {"timeout": 120}} if patient else {}
    try:
        return optuna.storages.RDBStorage(url, engine_kwargs=arguments)
    except RuntimeError as error:
        # An older or a newer Optuna made it.
        what, _, hint = str(error).partition(". ")
        raise WorkspaceError(f"the study's storage cannot be used: {what}", hint.rstrip(".")) from None


def _check_same(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Reject other settings; keys that an older version did not store are not compared."""
    for key in (key for key in now if key in before):
        was, then = before[key], now[key]
        if isinstance(was, dict) and isinstance(then, dict) and key != "space":
            _check_same(name, was, then)
        elif was != then:
            raise WorkspaceError(
                f"study {name!r} was created with {key} {was}, not {then}",
                "repeat the same settings to resume it, or choose another --name",
            )
