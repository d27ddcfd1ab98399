"""The same training with several seeds: a group of runs, and the mean and spread of what they reach."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dancecli.core.errors import InputError, WorkspaceError
from dancecli.core.progress import OnMessage, OnProgress, no_message, no_progress
from dancecli.model.runs.finetune import finetune
from dancecli.model.runs.plan import FinetuneSettings, Plan, make_plan
from dancecli.model.runs.resume import is_same_run
from dancecli.storage import runs as rec
from dancecli.storage.workspace import Workspace


@dataclass(frozen=True)
class GroupResult:
    """A group of runs that are done.

    Attributes:
        name: the group's; its runs are `<name>-seed0` and so on.
        records: their `run.json`.
        num_fresh: runs that were not done already.
    """

    name: str
    records: tuple[dict[str, Any], ...]
    num_fresh: int

    @property
    def document(self) -> dict[str, Any]:
        """The group in plain data: its runs, and what they reach together."""
        return {
            "group": self.name,
            "runs": [record["name"] for record in self.records],
            "seeds": [record["seed"] for record in self.records],
            "split": self.records[0]["split"],
            "views": self.records[0]["views"],
            "results": {part: spread(self.records, part) for part in self.records[0]["results"]},
        }


def finetune_seeds(
    workspace: Workspace,
    settings: FinetuneSettings,
    seeds: int,
    on_progress: OnProgress = no_progress,
    say: OnMessage = no_message,
) -> GroupResult:
    """Fine-tune with the seeds 0 to `seeds - 1`, one after the other; see `finetune`.

    What the same call did before is not done again, and a run that was stopped goes on. Without a
    name the group made last with the same settings on the same split is the one that is meant.

    Raises:
        WorkspaceError: a run of that name has other settings; and as `finetune`.
    """
    plan = plan_group(workspace, settings)
    records, fresh = [], 0
    for seed in range(seeds):
        name = run_name(plan.name, seed)
        own = replace(settings, name=name, seed=seed, group=plan.name)
        if workspace.run(name).exists():
            before = rec.read_record(workspace, name)
            if not is_same_run(before, plan):
                raise WorkspaceError(
                    f"run {name!r} was made with other settings, or on another split", "take another --name"
                )
            own = replace(own, resume=True)
        result = finetune(workspace, own, on_progress, say)
        fresh += result.fresh
        records.append(result.record)
    return GroupResult(plan.name, tuple(records), fresh)


def plan_group(workspace: Workspace, settings: FinetuneSettings) -> Plan:
    """Plan the runs of a group under the name of the group, new or begun; see `make_plan`."""
    plan = make_plan(workspace, replace(settings, name=None, group=settings.name or "new"))
    name = settings.name or _begun_group(workspace, plan) or plan.name
    return replace(plan, name=name)


def run_name(group: str, seed: int) -> str:
    """Name the run of a seed."""
    return f"{group}-seed{seed}"


def spread(records: Sequence[Mapping[str, Any]], part: str) -> dict[str, Any] | None:
    """Say what runs reach on a part: hits of each, and over the runs mean, sample deviation, least and most.

    Returns:
        Shares from 0 to 1 beside the counts; None for a part without clips; `sd` is None for one run.
    """
    results = [record["results"][part] for record in records]
    if not all(results):
        return None
    found: dict[str, Any] = {"n": results[0]["n"]}
    for key in ("top1", "top5"):
        shares = [result[key] / result["n"] for result in results]
        found[key] = {
            "k": [result[key] for result in results],
            "mean": statistics.fmean(shares),
            "sd": statistics.stdev(shares) if len(shares) > 1 else None,
            "min": min(shares),
            "max": max(shares),
        }
    return found


def _begun_group(workspace: Workspace, plan: Plan) -> str:
    for name in reversed(workspace.runs()):
        # A run that cannot be read is none of this group's, and nobody asked for it here.
        with contextlib.suppress(InputError):
            record = rec.read_record(workspace, name)
            if record.get("group") and is_same_run(record, plan):
                return str(record["group"])
    return ""
