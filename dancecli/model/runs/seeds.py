"""Training with several seeds: a group of runs, with mean and standard deviation of the results."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dancecli.core.errors import InputError, WorkspaceError
from dancecli.core.progress import SILENT, Reporter
from dancecli.model.runs.finetune import finetune
from dancecli.model.runs.plan import FinetuneSettings, Plan, make_plan
from dancecli.model.runs.resume import is_same_run
from dancecli.storage import runs as rec
from dancecli.storage.workspace import Workspace


@dataclass(frozen=True)
class GroupResult:
    """A group of completed runs.

    Attributes:
        name: name of the group; its runs are `<name>-seed0` and so on.
        records: their `run.json`.
        num_fresh: number of runs that were trained by this call.
    """

    name: str
    records: tuple[dict[str, Any], ...]
    num_fresh: int

    @property
    def document(self) -> dict[str, Any]:
        """The group as plain data: its runs and their results."""
        return {
            "group": self.name,
            "runs": [record["name"] for record in self.records],
            "seeds": [record["seed"] for record in self.records],
            "split": self.records[0]["split"],
            "views": self.records[0]["views"],
            "results": {subset: spread(self.records, subset) for subset in self.records[0]["results"]},
        }


def finetune_seeds(
    workspace: Workspace,
    settings: FinetuneSettings,
    seeds: int,
    reporter: Reporter = SILENT,
) -> GroupResult:
    """Fine-tune with the seeds 0 to `seeds - 1`, one after the other; see `finetune`.

    Completed runs of the same call are kept, and interrupted ones resume. Without a name, the
    latest group with the same settings on the same split is continued.

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
                    f"run {name!r} has other settings, weights or clips than this call",
                    "choose another --name",
                )
            own = replace(own, resume=True)
        result = finetune(workspace, own, reporter)
        fresh += result.fresh
        records.append(result.record)
    return GroupResult(plan.name, tuple(records), fresh)


def plan_group(workspace: Workspace, settings: FinetuneSettings) -> Plan:
    """Plan the runs of a new or continued group under the name of the group; see `make_plan`."""
    plan = make_plan(workspace, replace(settings, name=None, group=settings.name or "new"))
    name = settings.name or _begun_group(workspace, plan) or plan.name
    return replace(plan, name=name)


def run_name(group: str, seed: int) -> str:
    """Return the name of the run of a seed."""
    return f"{group}-seed{seed}"


def spread(records: Sequence[Mapping[str, Any]], subset: str) -> dict[str, Any] | None:
    """Summarize runs on a subset: correct clips per run; mean, sample deviation, minimum and maximum.

    Returns:
        Accuracies from 0 to 1 beside the counts; None for an empty subset; `sd` is None for one run.
    """
    results = [record["results"][subset] for record in records]
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
        # A run that cannot be read does not belong to this group.
        with contextlib.suppress(InputError):
            record = rec.read_record(workspace, name)
            if record.get("group") and is_same_run(record, plan):
                return str(record["group"])
    return ""
