"""Resuming: find the interrupted run of a command, and plan the rest of it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from dancecli.core.errors import InputError, UsageError, WorkspaceError
from dancecli.core.hashing import sha256_file
from dancecli.core.recipe import recorded_recipe
from dancecli.core.records import Subset
from dancecli.model.dataloading.split_data import SplitData, load_split
from dancecli.model.networks.weights import NO_WEIGHTS
from dancecli.model.networks.zoo import find_entry
from dancecli.model.runs.plan import FinetuneSettings, Plan, make_plan, name_run, plan_with, resolve_plan
from dancecli.model.training.distributed import get_rank_info
from dancecli.storage import runs as rec
from dancecli.storage import tables
from dancecli.storage.removals import removed_of
from dancecli.storage.workspace import Workspace

# These may differ between the runs of a group, or between two calls for the same run.
_OWN = ("seed", "name", "resume", "group", "execution")
# These may change when a run resumes.
_NOT_OF_THE_RUN = ("name", "resume", "execution", "group", "two_stream")
_FLAGS = {"changes": "--set"}


def plan_of_stopped_run(workspace: Workspace, settings: FinetuneSettings) -> tuple[Plan, dict[str, Any]]:
    """Plan the rest of an interrupted run from its record; return the record too.

    Raises:
        UsageError: a given setting differs from the run's.
        WorkspaceError: there is no such run, or its split has changed since.
    """
    runs = workspace.runs()
    if not runs:
        raise WorkspaceError(f"{workspace.root}: there is no run to resume", "start one without --resume")
    name = settings.name or runs[-1]
    before = rec.read_record(workspace, name)
    if "settings" not in before:
        raise WorkspaceError(
            f"run {name!r} is an evaluation without training and cannot be resumed",
            "name a run of dance finetune or dance train: --name RUN",
        )
    folder = rec.RunFolder(workspace.run(name))
    known = {field.name for field in fields(FinetuneSettings)}
    # A run that began with cached features resumes with them.
    cache = settings.execution.cache
    if cache is None:
        cache = before["settings"]["execution"]["cache"]
    saved = FinetuneSettings(**{k: v for k, v in before["settings"].items() if k in known})
    saved = replace(saved, split=before["split"]["name"], changes=tuple(saved.changes))
    reject_other_settings(name, settings, saved)
    # The steps do not depend on the number of processes.
    saved = replace(
        saved,
        name=name,
        resume=True,
        execution=replace(settings.execution, cache=cache),
    )
    recipe = recorded_recipe(before["recipe"], folder.record)
    data = load_split(workspace, saved.split, folds=saved.folds)
    if not _same_test(before, data):
        raise WorkspaceError(
            f"split {data.name!r} has changed since run {name!r} began", "start a new run on the new split"
        )
    plan = plan_with(workspace, name, saved, find_entry(saved.pretrain), recipe, data)
    _refuse_changes(plan, before)
    return plan, before


def _refuse_changes(plan: Plan, before: Mapping[str, Any]) -> None:
    """Refuse to go on with a run, or to give it as complete, if what it is trained on has changed."""
    hint = "start a new run without --resume, under another --name"
    if subset := changed_subset(before, plan.data):
        listed, was = plan.data.counts[subset], before["split"]["counts"].get(subset)
        raise WorkspaceError(
            f"the lists of split {plan.data.name!r} have other {subset} clips ({listed}) than run "
            f"{plan.name!r} began with ({was})",
            hint,
        )
    if not _same_weights(before, plan):
        raise WorkspaceError(
            f"the initial weights have changed since run {plan.name!r} was started",
            f"restore the weights file, or {hint}",
        )


def planned(workspace: Workspace, settings: FinetuneSettings) -> Plan:
    """Plan a new run, or the rest of an interrupted one."""
    settings, plan = begun_before(workspace, settings)
    if settings.resume:
        return _plan_again(workspace, settings, plan) or plan_of_stopped_run(workspace, settings)[0]
    return name_run(workspace, plan, settings) if plan else make_plan(workspace, settings)


def _plan_again(workspace: Workspace, settings: FinetuneSettings, plan: Plan | None) -> Plan | None:
    """Give the plan that found an interrupted run the run's name; None if the run caches otherwise."""
    if plan is None or settings.name is None:
        return None
    before = rec.read_record(workspace, settings.name)
    if before["settings"]["execution"]["cache"] not in (None, settings.execution.cache):
        return None
    return replace(plan, name=settings.name, settings=replace(settings, split=before["split"]["name"]))


def begun_before(workspace: Workspace, settings: FinetuneSettings) -> tuple[FinetuneSettings, Plan | None]:
    """Find the interrupted run that has the same settings, if there is one.

    A run that is named may also be complete.

    Returns:
        The settings, with `resume` and the run's name if there is such a run; and the plan that was
        compared with the runs, if one was made.

    Raises:
        WorkspaceError: another process trains the named run.
    """
    # Each of several processes would have to find the same run.
    if settings.resume or get_rank_info().size > 1:
        return settings, None
    plan: Plan | None = None
    for name in [settings.name] if settings.name else list(reversed(workspace.runs())):
        record = record_of(workspace, name)
        ended = record.get("status") == rec.DONE
        if "recipe" not in record or (ended and not settings.name) or record["seed"] != settings.seed:
            continue
        plan = plan or resolve_plan(workspace, replace(settings, name=None))
        if is_same_run(record, plan) and record.get("group") == settings.group:
            # A run that another process trains is only meant if it is named.
            with (
                contextlib.suppress(*([] if settings.name else [WorkspaceError])),
                workspace.lock(f"run-{name}"),
            ):
                return replace(settings, resume=True, name=name), plan
    return settings, plan


def record_of(workspace: Workspace, name: str) -> dict[str, Any]:
    """Read a run's record; empty if it cannot be read."""
    try:
        return rec.read_record(workspace, name)
    except (InputError, WorkspaceError):
        return {}


def is_same_run(record: Mapping[str, Any], plan: Plan) -> bool:
    """Return whether a run has this plan, with any seed, on the same clips and from the same weights."""
    if not _same_test(record, plan.data):
        return False
    ours = {key: value for key, value in as_json(asdict(plan.settings)).items() if key not in _OWN}
    theirs = record.get("settings") or {}
    # The split may be given by name or by default, and changes of the recipe, compared below, in any order.
    same = all(theirs.get(key) == value for key, value in ours.items() if key not in ("split", "changes"))
    same = same and record.get("recipe") == as_json(asdict(plan.recipe))
    return same and not changed_subset(record, plan.data) and _same_weights(record, plan)


def _same_test(record: Mapping[str, Any], data: SplitData) -> bool:
    """Return whether the split of a run, and its test clips, are as they were."""
    split = record["split"]
    return (split["hash"], split["test_hash"]) == (data.meta["split.hash"], data.test_hash)


def changed_subset(record: Mapping[str, Any], data: SplitData) -> str:
    """Name the subset, `train` or `val`, whose listed clips are others than those of a run; empty for none.

    The split may be the same: clips are augmented, lost and found without a change of it.

    Args:
        record: of the run.
        data: as the run's plan has it, with what of val it trains on.
    """
    split = record["split"]
    # A take-down leaves a run with the clips that it had, which nobody may train on again: what is made
    # again after it is made of those that are left.
    if removed_of(data.meta) != (split.get("removed") or {}):
        return ""
    for subset, now in ((Subset.TRAIN, data.train_hash), (Subset.VAL, data.val_hash)):
        if split.get(f"{subset}_hash") != now:
            return subset.value
    return ""


def _same_weights(record: Mapping[str, Any], plan: Plan) -> bool:
    """Return whether a file of weights is as it was; True where there is no file to compare."""
    given, was = plan.settings.weights, (record.get("weights") or {}).get("sha256")
    if given in (None, NO_WEIGHTS) or not was:
        return True
    path = Path(given).expanduser()
    return not path.is_file() or sha256_file(path) == was


def same_split(workspace: Workspace, record: Mapping[str, Any]) -> bool:
    """Return whether the split of a run is unchanged."""
    path = workspace.split(record["split"]["name"])
    return path.exists() and tables.read_meta(path)["split.hash"] == record["split"]["hash"]


def as_json(table: dict[str, Any]) -> Any:
    """Convert plain data to what JSON gives back."""
    return json.loads(json.dumps(table))


def reject_other_settings(run: str, given: Any, saved: Any) -> None:
    """Reject settings that a resumed run would ignore.

    Args:
        run: name of the run.
        given: settings of this call, a dataclass; defaults count as not given.
        saved: settings that the run was started with, of the same class.

    Raises:
        UsageError: a setting differs from the run's.
    """
    for field in fields(saved):
        value, before = getattr(given, field.name), getattr(saved, field.name)
        if field.name in _NOT_OF_THE_RUN or value in (field.default, before):
            continue
        flag = _FLAGS.get(field.name, "--" + field.name.replace("_", "-"))
        raise UsageError(
            f"run {run!r} cannot resume with another {flag} than it was started with",
            f"omit {flag} (also in dance.toml), or start a new run without --resume",
        )
