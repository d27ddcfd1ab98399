"""Late fusion: the scores of several runs on the same clips, averaged, as a run of its own.

The plain mean of the softmax scores, as the two streams of I3D are fused (Carreira &
Zisserman 2017, section 3.4), has no weights to tune. A weighted mean has those under which the true
classes of the val subset are most likely; nothing of the test subset is used for either.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dancecli.core.errors import ModelError, UsageError
from dancecli.core.records import Prediction, Subset
from dancecli.model.evaluation.scored_runs import (
    EvaluationRun,
    find_existing,
    new_run,
    read_evaluation_run,
    write_evaluation_run,
)
from dancecli.storage import runs as rec
from dancecli.storage.runs import RunResult
from dancecli.storage.workspace import Workspace

PRETRAIN = "ensemble"
_MOST_STEPS = 1000


@dataclass(frozen=True)
class EnsembleSettings:
    """What to fuse.

    Attributes:
        runs: names of the runs, two or more.
        name: of the new run; None gives `ensemble-<split>-<n>`.
        weighted: weigh the runs by what val says, instead of equally.
    """

    runs: tuple[str, ...]
    name: str | None = None
    weighted: bool = False


def ensemble(workspace: Workspace, settings: EnsembleSettings, *, dry_run: bool = False) -> RunResult:
    """Average the scores of runs and keep the result as a run.

    The same members with the same scores are not averaged twice: the existing run is returned.

    Raises:
        UsageError: fewer than two runs, or one named twice.
        WorkspaceError: a run is not there or not done, or the name is taken by another run.
        ModelError: the runs were not evaluated on the same clips with the same labels, or have no
            scores for val by which to weigh them.
    """
    began, created = time.monotonic(), rec.now_utc()
    names = settings.runs
    if len(names) < 2:
        raise UsageError(f"an ensemble needs at least two runs, not {len(names)}", "name them: A B")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"run {twice[0]!r} is named twice", "name each run once")
    members = [read_evaluation_run(workspace, name) for name in names]
    for member in members[1:]:
        _refuse_difference(members[0], member)
    weights = _val_weights(members) if settings.weighted else None
    evidence = _evidence(members, weights)
    if there := find_existing(workspace, settings.name, "members", evidence):
        return there
    first = members[0].record
    with new_run(workspace, settings.name, f"{PRETRAIN}-{first['split']['name']}", dry_run=dry_run) as name:
        predictions, notes = _fused(members, weights or [1 / len(members)] * len(members))
        facts = {
            "created_utc": created,
            "model": {
                "pretrain": PRETRAIN,
                "title": _title(names, weights),
                "backbone": None,
                "frozen_stages": None,
                "params_total": _sum(members, "params_total"),
                "params_trainable": _sum(members, "params_trainable"),
                "members": list(names),
                **({"member_weights": weights} if weights else {}),
            },
            "weights": None,
            "split": first["split"],
            "labels": first["labels"],
            "views": _views(members),
            "members": evidence,
            "seconds": {"evaluate": round(time.monotonic() - began, 2)},
        }
        if dry_run:
            return RunResult(name, facts, tuple(notes), fresh=True)
        record = write_evaluation_run(workspace, name, facts, predictions)
    return RunResult(name, record, tuple(notes), fresh=True)


def _refuse_difference(one: EvaluationRun, other: EvaluationRun) -> None:
    """Refuse two runs that were evaluated on different clips or labels, naming the difference."""
    ours, theirs = one.record, other.record
    both = f"runs {one.name!r} and {other.name!r}"
    hint = "evaluate both on the same split: dance evaluate --run RUN --split SPLIT"
    if ours["labels"] != theirs["labels"]:
        raise ModelError(f"{both} have different labels{_first_label(ours, theirs)}", hint)
    a, b = ours["split"], theirs["split"]
    if a["test_hash"] != b["test_hash"]:
        raise ModelError(
            f"{both} were evaluated on different test clips (split {a['name']!r}, test hash "
            f"{a['test_hash'][:12]}; split {b['name']!r}, {b['test_hash'][:12]})",
            hint,
        )
    if a["hash"] != b["hash"]:
        raise ModelError(
            f"{both} share their test clips, but not their split ({a['name']!r} is {a['hash'][:12]}, "
            f"{b['name']!r} is {b['hash'][:12]})",
            hint,
        )


def _first_label(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    a, b = ours["labels"], theirs["labels"]
    if len(a) != len(b):
        return f": {len(a)} and {len(b)} classes"
    i = next(i for i, pair in enumerate(zip(a, b, strict=True)) if pair[0] != pair[1])
    return f": class {i} is {a[i]!r} in one and {b[i]!r} in the other"


def weights_of_val(likelihoods: Sequence[Sequence[float]]) -> list[float]:
    """Find the weights of a mixture under which val is most likely, with one clip of prior for each member.

    The likelihood of a mixture has one maximum, which expectation maximization (Dempster, Laird & Rubin
    1977) finds from equal weights. The prior keeps a few clips from taking all weight from a member.

    Args:
        likelihoods: for each clip, the score that each member gives to its true class.

    Returns:
        One weight for each member; they sum to 1.
    """
    count = len(likelihoods[0])
    weights = [1 / count] * count
    for _ in range(_MOST_STEPS):
        shares = [1.0] * count
        for row in likelihoods:
            parts = [weight * value for weight, value in zip(weights, row, strict=True)]
            total = sum(parts)
            for j, part in enumerate(parts):
                shares[j] += part / total if total > 0 else 1 / count
        before, weights = weights, [share / (len(likelihoods) + count) for share in shares]
        if max(abs(a - b) for a, b in zip(before, weights, strict=True)) < 1e-9:
            break
    return [round(weight, 4) for weight in weights]


def _val_weights(members: Sequence[EvaluationRun]) -> list[float]:
    tables = [member.rows(Subset.VAL) for member in members]
    common = [clip for clip in tables[0] if all(clip in table for table in tables)]
    if not common or any(len(table) != len(common) for table in tables):
        raise ModelError(
            "the runs cannot be weighed: not all of them have scores for the same val clips",
            "omit --weigh for the plain mean",
        )
    return weights_of_val(
        [[table[clip].scores[table[clip].label_index] for table in tables] for clip in common]
    )


def _title(names: Sequence[str], weights: Sequence[float] | None) -> str:
    if weights is None:
        return f"mean of the scores of {', '.join(names)}"
    weighed = ", ".join(f"{name} ({weight:.2f})" for name, weight in zip(names, weights, strict=True))
    return f"weighted mean of the scores of {weighed}"


def _evidence(members: Sequence[EvaluationRun], weights: Sequence[float] | None) -> list[dict[str, Any]]:
    """Record which scores of each member were averaged, with which weight, and on what it was trained."""
    return [
        {
            **({"weight": weights[i]} if weights else {}),
            "run": member.name,
            "pretrain": member.record["model"]["pretrain"],
            "weights_sha256": (member.record.get("weights") or {}).get("sha256"),
            "predictions_sha256": member.sha256,
            "view_protocol": member.record["views"]["test"],
            "results": member.record["results"],
            **_overlap(member.record),
        }
        for i, member in enumerate(members)
    ]


def _overlap(record: Mapping[str, Any]) -> dict[str, Any]:
    """Keep how many of its clips a member was trained on; nothing of one that its own split tells of.

    Of an ensemble it is that of the member with most, since the records count clips and do not name them.
    """
    if evaluated := record.get("evaluated"):
        return {"overlap": evaluated.get("overlap")}
    parts = [part["overlap"] for part in record.get("members") or () if "overlap" in part]
    if not parts:
        return {}
    if None in parts:
        return {"overlap": None}
    most = {
        subset: max((part[subset] for part in parts), key=lambda count: int(count["videos"]))
        for subset in parts[0]
    }
    return {"overlap": most}


def _fused(members: Sequence[EvaluationRun], weights: Sequence[float]) -> tuple[list[Prediction], list[str]]:
    """Average clip by clip; a subset counts only if every member has all of it."""
    found, notes = [], []
    for subset in (Subset.VAL, Subset.TEST):
        tables = [member.rows(subset) for member in members]
        for member, table in zip(members[1:], tables[1:], strict=True):
            if {c: row.label_index for c, row in table.items()} == {
                c: row.label_index for c, row in tables[0].items()
            }:
                continue
            if subset is Subset.VAL and not (table and tables[0]):
                notes.append("not every run has scores for the val subset: the ensemble has none")
                tables = []
                break
            raise ModelError(
                f"{subset}: runs {members[0].name!r} and {member.name!r} have scores of different clips",
                "evaluate both again: dance evaluate --run RUN",
            )
        if tables:
            found += [_mean([table[clip] for table in tables], weights) for clip in tables[0]]
    return found, notes


def _mean(rows: Sequence[Prediction], weights: Sequence[float]) -> Prediction:
    total = sum(weights)
    scores = tuple(
        sum(weight * value for weight, value in zip(weights, values, strict=True)) / total
        for values in zip(*(row.scores for row in rows), strict=True)
    )
    first = rows[0]
    return Prediction(first.clip_id, first.subset, first.label_index, scores)


def _views(members: Sequence[EvaluationRun]) -> dict[str, Any]:
    """The protocol that all share, or all of them named: what differs is not comparable with either."""
    protocols = list(dict.fromkeys(member.record["views"]["test"] for member in members))
    if len(protocols) == 1:
        return {**members[0].record["views"], "train": None}
    return {"train": None, "test": " + ".join(protocols)}


def _sum(members: Sequence[EvaluationRun], key: str) -> int | None:
    values = [member.record["model"].get(key) for member in members]
    return sum(values) if all(isinstance(value, int) for value in values) else None
