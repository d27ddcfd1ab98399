"""Evaluation runs: scores of clips without training, kept as those of every run.

An ensemble, a baseline and a second evaluation leave `run.json` and `predictions.parquet`, so
that what reads runs (report, compare, board) reads them too. What does not apply to them is null.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from dancecli.core import hashing
from dancecli.core.errors import WorkspaceError
from dancecli.core.progress import Reporter
from dancecli.core.records import Prediction, Subset
from dancecli.core.redaction import redact_command
from dancecli.model.dataloading.shared_memory import check_shared_memory, loader_errors
from dancecli.model.dataloading.split_data import SplitData
from dancecli.model.training.scoring import accuracy, predict_subset
from dancecli.storage import runs as rec
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace, checked_name


@dataclass(frozen=True)
class EvaluationRun:
    """A finished run with its scores, as read back.

    Attributes:
        record: its `run.json`.
        predictions: in the order of the file.
        sha256: of `predictions.parquet`.
    """

    name: str
    record: dict[str, Any]
    predictions: list[Prediction]
    sha256: str

    def rows(self, subset: Subset) -> dict[str, Prediction]:
        """The predictions of one subset, by clip id."""
        return {row.clip_id: row for row in self.predictions if row.subset == subset}


def read_evaluation_run(workspace: Workspace, name: str) -> EvaluationRun:
    """Read a run that is done, and its scores.

    Raises:
        WorkspaceError: there is no such run, it is not done, or its scores are gone.
        InputError: a file is broken.
    """
    record = rec.read_record(workspace, name)
    if record.get("status") != rec.DONE:
        raise WorkspaceError(
            f"run {name!r} is not complete (its status is {record.get('status')!r})",
            f"complete it: dance finetune --resume --name {name}",
        )
    path = rec.RunFolder(workspace.run(name)).predictions
    predictions = tables.read(path, Prediction)
    return EvaluationRun(name, record, predictions, hashing.sha256_file(path))


def write_evaluation_run(
    workspace: Workspace, name: str, facts: Mapping[str, Any], predictions: Sequence[Prediction]
) -> dict[str, Any]:
    """Write the folder of a run that trained nothing, `run.json` last, and return that record.

    Args:
        workspace: where the run goes.
        name: of the run, which `new_run` holds.
        facts: `created_utc`, `model`, `weights`, `split`, `labels`, `views` and `seconds` of the
            record, and what else this kind of run records.
        predictions: of val, if it has any, and test.
    """
    folder = rec.RunFolder(workspace.run(name))
    folder.root.mkdir(parents=True, exist_ok=True)
    split, weights = facts["split"], facts["weights"] or {}
    meta = {
        "run.name": name,
        "split.hash": split["hash"],
        "test.hash": split["test_hash"],
        "view.protocol": facts["views"]["test"],
        "weights.sha256": weights.get("sha256", ""),
        "labels": json.dumps(list(facts["labels"]), ensure_ascii=False),
    }
    tables.write(folder.predictions, Prediction, predictions, meta)
    record = {
        "schema": rec.SCHEMA,
        "name": name,
        "status": rec.DONE,
        "created_utc": facts["created_utc"],
        "finished_utc": rec.now_utc(),
        "command": redact_command(sys.argv),
        "optim": None,
        "seed": None,
        "cache": None,
        **facts,
        "versions": rec.versions(),
        "results": {
            subset.value: accuracy([row for row in predictions if row.subset == subset])
            for subset in (Subset.VAL, Subset.TEST)
        },
    }
    rec.write_record(folder, record)
    return record


def raise_if_exists(workspace: Workspace, name: str) -> None:
    """Raise a `WorkspaceError` if there is a run of this name."""
    # A killed evaluation leaves a folder without a record, which is no run.
    if rec.RunFolder(workspace.run(name)).record.exists():
        raise WorkspaceError(f"run {name!r} exists already", "take another --name")


def find_existing(workspace: Workspace, name: str | None, key: str, value: Any) -> rec.RunResult | None:
    """Find a run that is done and whose record says the same, so that nothing is done twice.

    Args:
        workspace: where to look.
        name: the one run that may be it; None for any, the last made first.
        key: of its record; what it holds says all that the scores depend on.
        value: what is to stand there.
    """
    for found, record in reversed(rec.read_records(workspace)[0].items()):
        same = record.get(key) == value and record["status"] == rec.DONE
        if same and name in (None, found):
            return rec.RunResult(found, record, (), fresh=False)
    return None


@contextmanager
def new_run(workspace: Workspace, given: str | None, stem: str, *, dry_run: bool = False) -> Iterator[str]:
    """Hold the lock of a new run while it is computed and written, and give its name.

    Args:
        workspace: where the run goes.
        given: the name that was asked for; None for the stem with the first free number.
        stem: what the name begins with.
        dry_run: only look for the name.

    Raises:
        WorkspaceError: there is a run of the given name, or another process makes one.
        InputError: the given name cannot be used.
    """
    with ExitStack() as held:
        if given is not None:
            checked_name(given, "run")
            if not dry_run:
                held.enter_context(workspace.lock(f"run-{given}"))
            raise_if_exists(workspace, given)
            yield given
            return
        names = (f"{stem}-{n}" for n in itertools.count(1))
        free = (name for name in names if not workspace.run(name).exists())
        yield next(free if dry_run else (name for name in free if _took(workspace, name, held)))


def _took(workspace: Workspace, name: str, held: ExitStack) -> bool:
    """Take the lock of a new run, unless another process makes, or has just made, a run of this name."""
    with ExitStack() as mine:
        try:
            mine.enter_context(workspace.lock(f"run-{name}"))
        except WorkspaceError:
            return False
        if workspace.run(name).exists():
            return False
        held.push(mine.pop_all())
        return True


def score_subsets(
    model: Any,
    config: Mapping[str, Any],
    data: SplitData,
    reporter: Reporter,
    precision: str | None = None,
) -> list[Prediction]:
    """Score the val and test subsets of a split.

    Args:
        model: ready for evaluation, on its device.
        config: of a run, for its loaders; see `build_config`.
        data: the split.
        reporter: in clips.
        precision: half precision of the network; None for that of its weights.
    """
    import dancecli.model.dataloading.datasets  # noqa: F401 - registers what the config names
    from dancecli.model.networks.mmaction import Runner

    found: list[Prediction] = []
    for subset in (Subset.VAL, Subset.TEST):
        if examples := data.examples[subset]:
            settings = config[f"{subset}_dataloader"]
            check_shared_memory([settings])
            with loader_errors():
                loader = Runner.build_dataloader(settings)
                found += predict_subset(model, loader, subset.value, examples, reporter, precision)
    return found
