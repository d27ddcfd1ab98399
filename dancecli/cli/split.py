"""`dance split`."""

from __future__ import annotations

from typing import Annotated

import typer

from dancecli.cli.console import emit, open_workspace, show, table, talk
from dancecli.cli.options import DryRunOption, JsonOption, WorkspaceOption


def command(
    workspace: WorkspaceOption = None,
    ratios: Annotated[
        str | None,
        typer.Option(
            metavar="A/B[/C]",
            help="Per cent of the clips in train/val/test, or train/test. "
            "[default: 90/5/5; 93/7 for --subset 1500, 90/10 for --subset 525]",
            show_default=False,
        ),
    ] = None,
    subset: Annotated[
        int | None, typer.Option(min=2, metavar="N", help="Draw N clips instead of taking all.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed gives another split.")] = 0,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the split. [default: from the settings]")
    ] = None,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Divide the clips into train, val and test, by source video.

    Everything that comes from one source video is in one part, and the same seed gives the same
    split on any machine. Writes the MMAction2 lists too.

    Example: `dance split --subset 525`
    """
    from dancecli.dataset.annotate import annotate
    from dancecli.dataset.split import SplitSettings, split

    space = open_workspace(workspace, create=False)
    result = split(space, SplitSettings(ratios, subset, seed, name), dry_run=dry_run)
    lists = None if dry_run else annotate(space, result.name)
    if json_output:
        emit(
            {
                "split": result.name,
                "ratios": result.ratios,
                "seed": result.seed,
                "counts": result.counts,
                "groups": result.groups,
                "overlaps": result.overlaps,
                "missing_labels": result.missing_labels,
                "hash": result.digest,
                "changed": result.changed,
                "annotations": str(lists.folder) if lists else None,
            }
        )
    else:
        rows = [(part, result.counts[part], result.groups[part]) for part in result.counts]
        show(f"split {result.name} ({result.ratios}, seed {seed})")
        show(table(("part", "clips", "videos"), rows))
        show(f"videos in more than one part: {result.overlaps}; hash {result.digest[:12]}")
        if lists:
            show(f"lists: {lists.folder}")
    if not result.changed:
        talk("the same split was there already; nothing changed")
    if result.missing_labels:
        talk(f"labels without a clip: {', '.join(result.missing_labels)}")
    if lists and lists.missing:
        talk(f"{len(lists.missing)} clips have lost their file and are left out of the lists")
        raise typer.Exit(3)
