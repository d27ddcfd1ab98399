"""Where a study is kept: any storage of Optuna's that has an SQLAlchemy address; by default SQLite."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import InputError, WorkspaceError
from dancecli.core.recipe import Recipe
from dancecli.model.tuning.search_space import Space
from dancecli.model.tuning.study import Study, storage_errors

if TYPE_CHECKING:
    import optuna


# The median of fewer trials, or of a first epoch, says nothing.
_PRUNE_AFTER_TRIALS, _PRUNE_FROM_EPOCH = 5, 2
PRUNING = (
    f"median: once {_PRUNE_AFTER_TRIALS} trials have gone through, at a fifth, two, three and four fifths of "
    "the epochs, a trial stops whose best so far is below the median of those at the same epoch"
)


def open_study(
    name: str, url: str, space: Space, recipe: Recipe, seed: int, identity: Mapping[str, Any], locks: Path
) -> Study:
    """Open a study, or begin it; its first trial is then the recipe as it is, if the space holds it.

    Args:
        name: of the study.
        url: its storage, in SQLAlchemy's form.
        space: what is searched.
        recipe: what all trials share.
        seed: of the sampler.
        identity: what must be the same for trials to be compared.
        locks: folder for the locks of the processes at work.

    Raises:
        InputError: the storage cannot be opened.
        WorkspaceError: the study was begun with other settings.
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
        before = study.user_attrs.get("dance")
        if before is None:
            study.set_user_attr("dance", plain)
            point = space.point_of(recipe)
            if point is not None:
                study.enqueue_trial(point, {"baseline": True})
        else:
            _check_same(name, before, plain)
    return Study(study, space, recipe, locks)


def shown_address(url: str | None) -> str:
    """Write a storage's address without its password; empty for none."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).render_as_string() if url else ""
    except ArgumentError:
        return "?"


def _storage(url: str) -> optuna.storages.BaseStorage:
    import optuna
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    # The lock that SQLite takes for a write is waited for: another process has it but a moment.
    try:
        patient = make_url(url).get_backend_name() == "sqlite"
    except ArgumentError:
        raise InputError(
            f"{url!r} is no address of a storage",
            "for example sqlite:////data/study.db or mysql://user:password@host/database",
        ) from None
    except Exception:  # the driver is missing, which Optuna will say
        patient = False
    arguments = {"connect_args": {"timeout": 120}} if patient else {}
    return optuna.storages.RDBStorage(url, engine_kwargs=arguments)


def _check_same(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse other settings; what only a newer version of the tool has is as it always was."""
    for key in (key for key in now if key in before):
        was, then = before[key], now[key]
        if isinstance(was, dict) and isinstance(then, dict) and key != "space":
            _check_same(name, was, then)
        elif was != then:
            raise WorkspaceError(
                f"study {name!r} was begun with {key} {was}, and not {then}",
                "say the same again to go on with it, or take another --name",
            )
