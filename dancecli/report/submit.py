"""The step behind `dance submit`: a run's results as one file for somebody else's leaderboard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dancecli.core.errors import InputError, UsageError, WorkspaceError
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import SplitClip, Subset
from dancecli.report.report import headline
from dancecli.report.results.run_results import read_run_results
from dancecli.report.results.submission import write_submission
from dancecli.report.results.summaries import summarize
from dancecli.storage import tables
from dancecli.storage.lockfile import read_lock, split_digest, write_lock
from dancecli.storage.removals import other_files_of, refuse_still_here
from dancecli.storage.runs import DONE, RunFolder, runs_of_group
from dancecli.storage.workspace import Workspace, checked_name


@dataclass(frozen=True)
class SubmitSettings:
    """What to submit.

    Attributes:
        run: the run, or a group of runs that differ by their seed; None for the latest run.
        name: its name on the leaderboard; None for the run's.
        out: the file to write (its name ends with `.zip`), or a folder, which gets `NAME.zip` of each
            run; None for `reports/RUN/submission.zip`.
    """

    run: str | None = None
    name: str | None = None
    out: Path | None = None


@dataclass(frozen=True)
class Submitted:
    """One file that was written, or would be.

    Attributes:
        headline: the figures of the test subset, in one line.
        missing: test clips that the split's lock names and that were not here; with any, a leaderboard
            refuses the submission.
        other_files: test clips that are other files than the split's lock names; likewise.
    """

    run: str
    name: str
    file: Path
    headline: str
    missing: int
    other_files: int


def submit(
    workspace: Workspace, settings: SubmitSettings, reporter: Reporter = SILENT, *, dry_run: bool = False
) -> tuple[Submitted, ...]:
    """Write a submission for a run, or for each run of a group.

    Raises:
        UsageError: a name or a file is given for several runs.
        WorkspaceError: there is no such run, it is not complete, or its split has clips of `removed.csv`.
        InputError: the run's files contradict each other, or it was not evaluated on test.
    """
    known = workspace.runs()
    if settings.run is None and not known:
        raise WorkspaceError(f"there is no run in {workspace.root} to submit", "make one: dance finetune")
    run = settings.run or known[-1]
    group = [] if (workspace.run(run) / "run.json").exists() else runs_of_group(workspace, run)
    if group and settings.name:
        raise UsageError(f"{run} is a group of {len(group)} runs, which keep their names", "omit --name")
    if group and _is_file(settings.out):
        raise UsageError(f"{run} is a group of {len(group)} runs, one file each", "give a folder with --out")
    found = []
    for done, name in enumerate(group or [run], start=1):
        shown = settings.name or name
        out = settings.out or workspace.report(name) / "submission.zip"
        if settings.out and not _is_file(settings.out):
            out = settings.out / f"{shown}.zip"
        found.append(_submit(workspace, name, shown, out, dry_run=dry_run))
        reporter.progress(done, max(1, len(group)), name)
    return tuple(found)


def _is_file(out: Path | None) -> bool:
    return out is not None and out.suffix.lower() == ".zip" and not out.is_dir()


def _submit(workspace: Workspace, run: str, name: str, out: Path, *, dry_run: bool) -> Submitted:
    checked_name(name, "submission")
    results = read_run_results(workspace, run)
    if results.run["status"] != DONE:
        raise WorkspaceError(
            f"run {run!r} is not complete: its status is {results.run['status']!r}",
            f"resume it: dance finetune --name {run} --resume",
        )
    if Subset.TEST not in results.subsets:
        raise InputError(
            f"run {run!r} has no predictions for the test subset", f"evaluate it: dance evaluate {run}"
        )
    split = str(results.run["split"]["name"])
    lock = workspace.split_lock(split)
    if not lock.exists():
        rows = tables.read(workspace.split(split), SplitClip)
        refuse_still_here(workspace, (row.clip_id for row in rows))
        if not dry_run:
            write_lock(lock, rows)
    if lock.exists():
        refuse_still_here(workspace, read_lock(lock))
        _check_lock(lock, results.run)
    if not dry_run:
        write_submission(out, name, results, RunFolder(workspace.run(run)).predictions, lock)
    missing = results.missing.get(Subset.TEST, 0)
    other = other_files_of(tables.read_meta(workspace.split(split))).get(Subset.TEST, 0)
    return Submitted(run, name, out, headline(summarize(results)[Subset.TEST]), missing, other)


def _check_lock(lock: Path, run: Mapping[str, Any]) -> None:
    """Refuse a lock file that is not its split's: the submission would be refused elsewhere."""
    split = str(run["split"]["name"])
    digest = split_digest(read_lock(lock).values(), run["labels"])
    if digest != run["split"]["hash"]:
        raise InputError.at(
            lock,
            None,
            f"is not the lock of split {split!r} as the run used it (hash {digest[:12]}, the run's is "
            f"{run['split']['hash'][:12]})",
            f"restore it: dance split --lock FILE --name {split}",
        )
