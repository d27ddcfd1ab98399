"""`dance audit`."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dancecli.cli.console import emit, open_workspace, progress, show, table
from dancecli.cli.options import JsonOption, SplitOption, WorkspaceOption

_SHOWN = 20


def command(
    workspace: WorkspaceOption = None,
    split: SplitOption = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Hold the held-out clips against this list too, such as the one a backbone was "
            "pre-trained on: a Kinetics CSV or JSON, a split lock, any CSV with ids. May be repeated.",
        ),
    ] = None,
    files: Annotated[bool, typer.Option(help="Read every clip's file and compare its checksum.")] = True,
    json_output: JsonOption = False,
) -> None:
    """Look for leaks, label conflicts and changed files.

    Exits with 3 if anything is found.

    Example: `dance audit --against kinetics400_train.csv`
    """
    from dancecli.dataset.audit import AuditSettings, audit

    space = open_workspace(workspace, create=False)
    with progress("audit") as on_progress:
        result = audit(space, AuditSettings(split, tuple(against or ()), files), on_progress)
    if json_output:
        emit(asdict(result))
    else:
        listed = "".join(f", {count} rows of {name}" for name, count in result.num_listed.items())
        show(f"split {result.split}: {result.num_clips} clips{listed}")
        counts = Counter(finding.kind for finding in result.findings)
        if counts:
            show(table(("finding", "times"), sorted(counts.items())))
            rows = [(f.what, f.kind, f.detail) for f in result.findings[:_SHOWN]]
            show(table(("what", "finding", "detail"), rows, align="left"))
            if len(result.findings) > _SHOWN:
                show(f"and {len(result.findings) - _SHOWN} more: dance audit --json")
        else:
            show("nothing found: no leak, no conflict, no changed file")
    if result.findings:
        raise typer.Exit(3)
