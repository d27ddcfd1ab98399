"""`dance augment`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result, reporting, table
from dancecli.cli.options import (
    DryRunOption,
    EngineOption,
    JsonOption,
    SplitOption,
    WorkersOption,
    WorkspaceOption,
)
from dancecli.core.augmentation import DEFAULT_OPS, known_operations

if TYPE_CHECKING:
    from dancecli.dataset.derived.augment import AugmentResult, AugmentSettings
    from dancecli.storage.workspace import Workspace

_FAILURES_SHOWN = 5


def command(
    workspace_dir: WorkspaceOption = None,
    split: SplitOption = None,
    ops: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help=f"Make one augmented clip for each of these: {known_operations()}. hflip+jitter is one "
            "clip that undergoes both.",
        ),
    ] = DEFAULT_OPS,
    subset: Annotated[
        str, typer.Option(metavar="NAME", help="Subset to augment: only train is accepted.")
    ] = "train",
    seed: Annotated[int, typer.Option(help="Random seed for the parameters of the operations.")] = 0,
    workers: WorkersOption = 0,
    engine: EngineOption = "local",
    preview: Annotated[
        bool,
        typer.Option("--preview", help="Draw a contact sheet of a few augmented clips; write no clips."),
    ] = False,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Create augmented clips of a split's training set.

    All augmented clips of a clip are made in one run of ffmpeg, validated by a full decode, and listed
    for training. Stop it at any time: the same command resumes. Exit code 3 if one could not be made.

    Example: `dance augment --ops hflip,jitter,hflip+noise --preview`
    """
    from dancecli.dataset.derived.augment import AugmentSettings, augment
    from dancecli.dataset.split.annotations import annotate

    workspace = open_workspace(workspace_dir, create=False)
    settings = AugmentSettings(split, ops, subset, seed, workers, dry_run, engine)
    if preview and not dry_run:
        _preview(workspace, settings, json_output=json_output)
        return
    with reporting("augment") as reporter:
        result = augment(workspace, settings, reporter)
    lists = None if dry_run else annotate(workspace, result.split)
    if json_output:
        print_json(asdict(result) | {"annotations": str(lists.folder) if lists else None})
    else:
        _show(result, dry_run=dry_run)
        if lists:
            train = lists.counts["train"]
            print_result(f"lists: {lists.folder}, train {train}, {lists.num_augmented} of them augmented")
    for clip_id, reason in result.failed[:_FAILURES_SHOWN]:
        info(f"  {clip_id}: {reason}")
    if result.failed:
        info(f"{len(result.failed)} augmented clips could not be made (--json names them all)")
        raise typer.Exit(3)


def _preview(workspace: Workspace, settings: AugmentSettings, *, json_output: bool) -> None:
    from dancecli.dataset.derived.augment_preview import preview

    with reporting("preview") as reporter:
        sheet = preview(workspace, settings, reporter)
    if json_output:
        print_json({"sheet": str(sheet)})
    else:
        print_result(f"sheet: {sheet}")


def _show(result: AugmentResult, *, dry_run: bool) -> None:
    verdict = "would be made" if dry_run else "made now"
    print_result(f"split {result.split}: augmented clips of its {result.num_parents} training clips")
    rows = [(op, count, result.made[op]) for op, count in result.asked.items()]
    print_result(table(("operation", "clips", verdict), rows))
    if not dry_run and result.parent_bytes:
        print_result(
            f"{result.num_bytes / 1e6:.1f} MB, {result.num_bytes / result.parent_bytes:.1f} times "
            f"their parents · {result.seconds:.0f} s"
        )
