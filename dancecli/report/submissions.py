"""Results that others submitted to this workspace's leaderboard: added after a check, read for the board."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dancecli.core.errors import DanceError, InputError, WorkspaceError
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import SplitClip, Subset
from dancecli.report.label_order import benchmark_labels, in_order_of
from dancecli.report.results.run_results import RunResults, SubsetScores, read_run_results
from dancecli.report.results.submission import (
    Submission,
    check_duplicates,
    check_figures,
    check_submission,
    read_submission,
    references,
)
from dancecli.report.submitted.record import check_record
from dancecli.storage.files import atomic_file
from dancecli.storage.lockfile import references_in, removed_in
from dancecli.storage.workspace import Workspace


@dataclass(frozen=True)
class Added:
    """What became of the files that were given.

    Attributes:
        accepted: names of the submissions that were added, or would be, each with its file.
        kept: names of those that were there already, byte for byte.
        refused: files with the reason.
    """

    accepted: Mapping[str, Path] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()


def add_submissions(
    workspace: Workspace, paths: Sequence[Path], reporter: Reporter = SILENT, *, dry_run: bool = False
) -> Added:
    """Check submissions and copy those that hold into `submissions/`.

    Every figure is computed again from the predictions, and clips, labels, groups and files of the
    test subset are compared with the lock of the workspace's split. Labels in another order than the
    benchmark's are put into its order, and other labels refused.

    Args:
        workspace: whose leaderboard they are for.
        paths: files, or folders of them.
        reporter: of each file.
        dry_run: check only.

    Raises:
        WorkspaceError: there is no split to compare with.
        InputError: a path does not exist, or a folder has no zip file.
    """
    files = list(_files(paths))
    known = references(workspace)
    removed = references_in(map(workspace.split_lock, known))
    here = _scores(workspace, known)
    accepted, kept = dict[str, Path](), list[str]()
    refused: list[tuple[str, str]] = []
    for done, path in enumerate(files, start=1):
        try:
            found = _checked(workspace, path, known, here, removed)
        except DanceError as error:
            refused.append((str(path), error.message.removeprefix(f"{path}: ")))
        else:
            here[found.name] = found.results.subsets[Subset.TEST]
            place = workspace.submission(found.name)
            if place.exists() or found.name in accepted:
                kept.append(found.name)
            else:
                accepted[found.name] = path
            if not dry_run and not place.exists():
                with atomic_file(place, "wb") as file:
                    file.write(path.read_bytes())
        reporter.progress(done, len(files), path.name)
    return Added(accepted, tuple(kept), tuple(refused))


def _files(paths: Iterable[Path]) -> Iterable[Path]:
    for path in paths:
        if path.is_dir():
            inside = sorted(path.glob("*.zip"))
            if not inside:
                raise InputError(f"{path}: holds no submission", "give the zip files of dance submit")
            yield from inside
        elif path.exists():
            yield path
        else:
            raise InputError(f"{path}: there is no such file", "give a zip file of dance submit")


def _checked(
    workspace: Workspace,
    path: Path,
    known: Mapping[str, Mapping[str, SplitClip]],
    here: Mapping[str, SubsetScores],
    removed: Collection[str],
) -> Submission:
    found = read_submission(path)
    split = check_submission(found, known, removed)
    check_record(found, known[split], removed_in(workspace.split_lock(split)))
    # What it claims is in the order of its own labels.
    check_figures(found)
    found = _in_host_order(workspace, found, split)
    check_duplicates(found, here)
    place = workspace.submission(found.name)
    if (workspace.run(found.name) / "run.json").exists():
        raise InputError(f"this workspace has a run named {found.name}: submit it under another with --name")
    if place.exists() and place.resolve() != path.resolve() and place.read_bytes() != path.read_bytes():
        raise InputError(
            f"another submission named {found.name} is there: submit it under another with --name, "
            f"or remove {place}"
        )
    return found


def _in_host_order(workspace: Workspace, found: Submission, split: str) -> Submission:
    return replace(found, results=in_order_of(found.results, benchmark_labels(workspace, split)))


def _scores(workspace: Workspace, known: Mapping[str, Mapping[str, SplitClip]]) -> dict[str, SubsetScores]:
    """Read the scores of the test clips of all that the leaderboard has already, by name."""
    found = {}
    for name in workspace.runs():
        try:
            results = read_run_results(workspace, name)
        except DanceError:  # the board reports it
            continue
        if Subset.TEST in results.subsets:
            found[f"run {name} of this workspace"] = results.subsets[Subset.TEST]
    for path in workspace.submissions():
        try:
            one = read_submission(path)
            one = _in_host_order(workspace, one, check_submission(one, known))
        except DanceError:
            continue
        found[one.name] = one.results.subsets[Subset.TEST]
    return found


def read_submissions(
    workspace: Workspace, more: Mapping[str, Path] = MappingProxyType({}), wanted: str | None = None
) -> tuple[list[RunResults], list[tuple[str, str]]]:
    """Read all submissions for the board, each held against the lock; return the others with the reason.

    Figures that they claim are not looked at: the board computes its own. Their split has the name that it
    has here, whatever its participant called it.

    Args:
        workspace: whose leaderboard they are on.
        more: files of those that a dry run would add, by name.
        wanted: the split whose name counts where several locks agree with a submission.

    Raises:
        InputError: a lock file of the workspace is damaged.
    """
    paths = {path.stem: path for path in workspace.submissions()} | dict(more)
    if not paths:
        return [], []
    found: list[RunResults] = []
    left_out: list[tuple[str, str]] = []
    try:
        known = references(workspace)
    except WorkspaceError as error:
        return [], [(name, error.message) for name in paths]
    gone = references_in(map(workspace.split_lock, known))
    if wanted in known:
        known = {wanted: known[wanted], **known}
    for name, path in sorted(paths.items()):
        try:
            one = read_submission(path)
            split = check_submission(one, known, gone)
            removed = removed_in(workspace.split_lock(split))
            check_record(one, known[split], removed)
            if one.name != name:
                raise InputError(f"is the submission {one.name}, not {name}")
            one = _in_host_order(workspace, one, split)
        except DanceError as error:
            left_out.append((name, error.message.removeprefix(f"{path}: ")))
        else:
            shown = {subset: count for subset, count in removed.items() if subset in one.results.subsets}
            found.append(replace(one.results, run=_as_here(one.results.run, split), removed=shown))
    return found, left_out


def _as_here(run: Mapping[str, Any], split: str) -> dict[str, Any]:
    """Name the split of a submission as it is named here, where a lock makes it, however it was made."""
    stated = {key: value for key, value in run["split"].items() if key not in ("ratios", "seed")}
    return {**run, "split": {**stated, "name": split, "flags": f"--lock {split}.lock.csv --name {split}"}}
