"""`dance audit`."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dancecli.cli.console import open_workspace, print_json, print_result, progress, table
from dancecli.cli.options import JsonOption, SplitOption, WorkspaceOption

_SHOWN = 20


def command(
    workspace_dir: WorkspaceOption = None,
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
    reported: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PERCENT",
            help="Instead, say which count of --n clips this published figure can be, if any. "
            "May be repeated.",
        ),
    ] = None,
    n: Annotated[int | None, typer.Option("--n", metavar="CLIPS", help="Clips for --reported.")] = None,
    json_output: JsonOption = False,
) -> None:
    """Check for leaks between subsets, label conflicts and changed files.

    Exits with 3 if anything is found.

    Example: `dance audit --against kinetics400_train.csv`, or `dance audit --reported 86.31 --n 58`
    """
    if reported:
        _judge(reported, n, json_output)
        return
    from dancecli.dataset.quality.audit import AuditSettings, audit

    workspace = open_workspace(workspace_dir, create=False)
    with progress("audit") as on_progress:
        result = audit(workspace, AuditSettings(split, tuple(against or ()), files), on_progress)
    if json_output:
        print_json(asdict(result))
    else:
        listed = "".join(f", {count} rows of {name}" for name, count in result.num_listed.items())
        print_result(f"split {result.split}: {result.num_clips} clips{listed}")
        for name, (leaked, held_out) in result.own_leaks.items():
            if leaked:
                print_result(
                    f"{name}: {leaked} of its {held_out} held-out clips are of a video that it trains on"
                )
        counts = Counter(finding.kind for finding in result.findings)
        if counts:
            print_result(table(("finding", "times"), sorted(counts.items())))
            rows = [
                (f.what, f.kind, f.detail)
                for kind in sorted(counts)
                for f in [f for f in result.findings if f.kind == kind][: max(3, _SHOWN // len(counts))]
            ]
            print_result(table(("what", "finding", "detail"), rows, align="left"))
            if len(result.findings) > len(rows):
                print_result(f"and {len(result.findings) - len(rows)} more: dance audit --json")
        else:
            print_result("nothing found: no leak, no conflict, no changed file")
    if result.findings:
        raise typer.Exit(3)


def _judge(figures: list[str], n: int | None, json_output: bool) -> None:
    from dancecli.report.statistics.grim import check_reported

    if n is None:
        raise typer.BadParameter("--reported needs the number of clips: --n 58")
    judged = [check_reported(figure, n) for figure in figures]
    if json_output:
        print_json(
            [{"reported": j.text, "n": j.n, "counts": j.counts, "nearest": j.nearest.k} for j in judged]
        )
    else:
        rows = []
        for j in judged:
            near = j.nearest.estimate
            said = ", ".join(f"{k}/{n}" for k in j.counts[:3]) + (", ..." if len(j.counts) > 3 else "")
            closest = f"{j.nearest.k}/{n} = {100 * near.rate:.2f}" if near else ""
            span = f"{100 * near.low:.1f}-{100 * near.high:.1f}" if near else ""
            rows.append((j.text, said or "impossible", closest, span))
        print_result(table(("reported, %", "can be", "nearest", "95 %"), rows))
    if any(not j.counts for j in judged):
        raise typer.Exit(3)
