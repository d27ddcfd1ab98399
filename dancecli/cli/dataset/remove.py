"""`dance remove`."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result
from dancecli.cli.options import DryRunOption, JsonOption, WorkspaceOption
from dancecli.core.text import file_size, pluralize

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dancecli.dataset.upkeep.remove import RemovalResult

# Of the removed clips so many are listed.
_SHOWN = 20
# Files of these are named: a person may have corrected them.
_PREDICTED = ("reports/predict-", "timelines/")


def command(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="CLIP|VIDEO|GROUP|FILE...",
            help="Ids of clips or videos, names of groups, or names or paths of imported files, recordings; "
            "removed.csv means all that it names.",
        ),
    ],
    reason: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="Why they are removed; stored as it is in the history of each clip and in removed.csv, "
            "which is published with the dataset: name no person.",
        ),
    ],
    workspace_dir: WorkspaceOption = None,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Remove clips on request, with everything that came from them, for good.

    Deleted are their files, augmented versions, optical flow, poses, trajectories, features, thumbnails,
    table rows, predictions and corrections, and reports and exports that contain them; of a whole video
    also the timelines that dance predict made of it. A line of
    removed.csv stays: it keeps them from being downloaded, imported or split again. A video id blocks
    the whole video; a clip, also one of a group, goes with clips that overlap it. Splits say how many
    of their clips were removed.

    Example: `dance remove -0L4z8D2eGs --reason "take-down request"`
    """
    from dancecli.dataset.upkeep.remove import remove

    workspace = open_workspace(workspace_dir, create=False)
    result = remove(workspace, names, reason, dry_run=dry_run)
    if json_output:
        print_json(asdict(result))
    else:
        _show(result, dry_run=dry_run)
    for line in (*_told_of_clips(result), *_told_of_files(result)):
        info(line)
    if result.still_named_in:
        still = ", ".join(result.still_named_in)
        info(f"files that still name them, or cannot be read: {still}; correct them, and run this again")
        raise typer.Exit(3)


def _show(result: RemovalResult, *, dry_run: bool) -> None:
    before = len(result.before)
    new = len(result.clip_ids) - before
    verb = "would be removed" if dry_run else "removed"
    counts = [f"{pluralize(new, 'clip')} {verb}"] if new else []
    if before and result.files and not new:
        # As after a list of removals was copied in, or a removal was stopped.
        counts = [f"what was left of {pluralize(before, 'clip')} {verb if dry_run else 'was removed'}"]
    elif before:
        counts += [f"{pluralize(before, 'clip')} removed already"]
    print_result(
        f"{', '.join(counts)}: {pluralize(len(result.files), 'file')}, {file_size(result.num_bytes)}"
    )
    # Clips that overlap with one that was named go along.
    gone = [clip_id for clip_id in result.clip_ids if clip_id not in result.before]
    for clip_id in gone[:_SHOWN]:
        print_result(f"  {clip_id}")
    if len(gone) > _SHOWN:
        print_result(f"  and {len(gone) - _SHOWN} more: add --json for all of them")
    for name in result.files:
        if name.endswith("/") or name.startswith(_PREDICTED):
            print_result(f"  {name}")


def _told_of_clips(result: RemovalResult) -> Iterator[str]:
    """Say where else the clips were, or are."""
    if result.beside:
        yield (
            f"{pluralize(len(result.beside), 'clip')} of the same group of near-duplicates, or of a group of "
            "that name, not removed; to remove these too: "
            f"dance remove {shlex.join(result.beside)} --reason TEXT"
        )
    if result.splits:
        yield f"splits that contained them: {', '.join(result.splits)}; each says how many were removed"
    elif result.locks:
        yield f"lock files that name them no more: {', '.join(result.locks)}"
    if result.runs:
        yield f"runs without predictions of them now: {', '.join(result.runs)}"
    if result.predictions:
        yield f"predictions that keep the other videos: {', '.join(result.predictions)}"
    if result.recordings:
        yield (
            "predictions of whole recordings, or of others of that name, not removed; to remove these too: "
            f"dance remove {shlex.join(result.recordings)} --reason TEXT"
        )
    if result.checkpoints:
        runs = ", ".join(result.checkpoints)
        again = "train each again: dance finetune --name RUN --resume"
        yield f"runs whose checkpoints held features of them, and are deleted: {runs}; {again}"


def _told_of_files(result: RemovalResult) -> Iterator[str]:
    """Say what to write again."""
    written = [name for name in result.files if name.endswith(".zip")]
    submissions = [Path(name).stem for name in written if name.startswith("submissions/")]
    mine = [name for name in written if not name.startswith("submissions/")]
    drawn = (name for name in result.files if not name.startswith(_PREDICTED))
    folders = [name for name in drawn if name.startswith(("reports/", "exports/"))]
    if "reports/board/" in folders:
        yield "the leaderboard counted them: run dance board again"
    if {*folders} - {*mine, "reports/board/"}:
        exported = any(name.startswith("exports/") for name in folders)
        by_hand = "; what was written into their card and metadata by hand goes with them" if exported else ""
        outside = "exports outside the workspace are not changed"
        yield f"run dance report and dance export again{by_hand}; {outside}"
    if result.kept:
        yield f"datasheets with answers, kept for the next export: {', '.join(result.kept)}"
    if submissions:
        names = ", ".join(submissions)
        yield f"submissions that contained them: {names}; write a site again: dance board --site DIR"
    if mine:
        yield f"submissions of runs that contained them: {', '.join(mine)}; run dance submit again"
