"""`dance split`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result, table
from dancecli.cli.options import DryRunOption, JsonOption, WorkspaceOption

if TYPE_CHECKING:
    from dancecli.dataset.split.lockfile import Drift
    from dancecli.dataset.split.split import SplitResult


def command(
    workspace_dir: WorkspaceOption = None,
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
    stratify: Annotated[
        bool, typer.Option("--stratify", help="Give every part its share of each label.")
    ] = False,
    keep_official: Annotated[
        bool, typer.Option("--keep-official", help="The lists' own val and test clips are the test part.")
    ] = False,
    lock: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Build the split that a lock file names, and report the drift."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the split. [default: from the settings]")
    ] = None,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Divide the clips into train, val and test, grouped by source video.

    Everything that comes from one source video, or looks the same, is in one part, and the same
    seed gives the same split on any machine. Writes the MMAction2 lists and a lock file too.

    Example: `dance split --subset 525`
    """
    from dancecli.dataset.split.annotations import annotate
    from dancecli.dataset.split.split import SplitSettings, split
    from dancecli.report.statistics.power import smallest_gap

    workspace = open_workspace(workspace_dir, create=False)
    settings = SplitSettings(ratios, subset, seed, name, stratify, keep_official, lock)
    result = split(workspace, settings, dry_run=dry_run)
    gap = smallest_gap(result.counts["test"])
    lists = None if dry_run else annotate(workspace, result.name)
    if json_output:
        document = {
            "split": result.name,
            "ratios": result.ratios,
            "seed": result.seed,
            "counts": result.counts,
            "groups": result.groups,
            "overlaps": result.overlaps,
            "smallest_gap": gap,
            "missing_labels": result.missing_labels,
            "hash": result.digest,
            "changed": result.changed,
            "annotations": str(lists.folder) if lists else None,
            "lock": str(workspace.split_lock(result.name)),
        }
        print_json(document | ({"drift": _drift_counts(result.drift)} if result.drift else {}))
    else:
        _show(result, gap)
        if lists:
            print_result(f"lists: {lists.folder}\nlock:  {workspace.split_lock(result.name)}")
    if not result.changed:
        info("the same split was there already; nothing changed")
    if result.missing_labels:
        info(f"labels without a clip: {', '.join(result.missing_labels)}")
    lost = len(lists.missing) if lists else 0
    if lost:
        info(f"{lost} clips have lost their file and are left out of the lists")
    if lost or (result.drift and result.drift.missing):
        raise typer.Exit(3)


def _show(result: SplitResult, gap: float | None) -> None:
    rows = [(part, result.counts[part], result.groups[part]) for part in result.counts]
    seed = "" if result.seed is None else f", seed {result.seed}"
    print_result(f"split {result.name} ({result.ratios}{seed})")
    print_result(table(("part", "clips", "groups"), rows))
    print_result(f"groups in more than one part: {result.overlaps}; hash {result.digest[:12]}")
    num_test = result.counts["test"]
    if gap is None:
        print_result(
            f"a test part of {num_test} clips is too small to tell two models apart four times in five"
        )
    else:
        print_result(
            f"a test part of {num_test} clips shows a gap of {100 * gap:.1f} points or more "
            "(4 times in 5, McNemar's exact test, 20 % of the clips in dispute)"
        )
    if result.drift:
        counts = ", ".join(f"{count} {what}" for what, count in _drift_counts(result.drift).items())
        print_result(f"drift from the lock: {counts}")


def _drift_counts(drift: Drift) -> dict[str, int]:
    return {
        "missing": len(drift.missing),
        "changed": len(drift.changed),
        "unlisted": len(drift.unlisted),
    }
