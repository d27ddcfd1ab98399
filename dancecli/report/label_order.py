"""The labels of a submission in the order of the benchmark, so that results are compared in one table."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from dancecli.core.errors import InputError
from dancecli.report.results.run_results import RunResults
from dancecli.storage import tables
from dancecli.storage.lockfile import read_lock
from dancecli.storage.workspace import Workspace

_SHOWN = 5


@dataclass(frozen=True)
class BenchmarkLabels:
    """The labels that submissions for a split must have.

    Attributes:
        names: in the host's order; of a lock file alone those of its clips, sorted.
        complete: whether these are all. A lock file does not name the labels that no clip has.
    """

    names: tuple[str, ...]
    complete: bool


def benchmark_labels(workspace: Workspace, split: str) -> BenchmarkLabels:
    """Return the labels of a split of the workspace; its lock file suffices.

    Raises:
        InputError: its table or its lock is damaged.
        WorkspaceError: its table is from a newer version.
    """
    path = workspace.split(split)
    if path.exists() and (names := tables.read_meta(path).get("split.labels")):
        return BenchmarkLabels(tuple(json.loads(names)), complete=True)
    clips = read_lock(workspace.split_lock(split)).values()
    return BenchmarkLabels(tuple(sorted({clip.label for clip in clips})), complete=False)


def in_order_of(results: RunResults, benchmark: BenchmarkLabels) -> RunResults:
    """Put the classes of a result into the benchmark's order: scores, label indices and counts.

    Raises:
        InputError: its labels are others.
    """
    own, wanted = set(results.labels), set(benchmark.names)
    if wanted - own or (benchmark.complete and own - wanted):
        raise InputError(
            f"its labels are {_first(own, wanted)}; the benchmark's are {_first(wanted, own)}: "
            "make the workspace with --labels"
        )
    names = benchmark.names if benchmark.complete else tuple(sorted(own))
    return results if names == results.labels else _reordered(results, names)


def _reordered(results: RunResults, names: Sequence[str]) -> RunResults:
    import numpy as np

    place = {name: i for i, name in enumerate(results.labels)}
    columns = np.array([place[name] for name in names])
    index = np.argsort(columns)
    return replace(
        results,
        run={**results.run, "labels": list(names)},
        labels=tuple(names),
        train_counts=tuple(results.train_counts[i] for i in columns),
        subsets={
            name: replace(of, truth=index[of.truth], scores=of.scores[:, columns])
            for name, of in results.subsets.items()
        },
    )


def _first(labels: Iterable[str], others: Collection[str]) -> str:
    """List a few labels, those that the others lack first."""
    ordered = sorted(labels, key=lambda name: (name in others, name))
    return ", ".join([*ordered[:_SHOWN], *(["..."] if len(ordered) > _SHOWN else [])])
