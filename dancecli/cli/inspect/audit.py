"""`dance audit`."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result, reporting, table
from dancecli.cli.options import JsonOption, SplitOption, WorkspaceOption
from dancecli.core.errors import InputError
from dancecli.core.text import pluralize

if TYPE_CHECKING:
    from dancecli.dataset.quality.audit import AuditResult

_SHOWN = 20
# Clips of a condition that are named.
_NAMED = 3


def command(
    workspace_dir: WorkspaceOption = None,
    split: SplitOption = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Look for the held-out videos in this list too, such as the one a backbone was "
            "pre-trained on: a Kinetics CSV or JSON, a split lock, any CSV with ids. May be repeated.",
        ),
    ] = None,
    files: Annotated[bool, typer.Option(help="Read every clip's file and compare its checksum.")] = True,
    reported: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PERCENT|FILE",
            help="Check instead whether this published accuracy is possible with --n clips (GRIM test), or "
            "a published table (CSV) by its numbers alone. May be repeated.",
        ),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option("--n", metavar="CLIPS", help="Number of test clips that --reported is based on."),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Check for leaks between subsets, label conflicts and changed files.

    A leak is a source video, equal bytes, a near-duplicate or a group of yours in two subsets. Exits
    with 3 if anything is found.

    Example: `dance audit --against kinetics400_train.csv`, or `dance audit --reported 86.31 --n 58`
    """
    if reported and all(figure.lower().endswith(".csv") for figure in reported):
        _check_tables(reported, json_output)
        return
    if reported:
        _check_reported(reported, n, json_output)
        return
    from dancecli.dataset.quality.audit import AuditSettings, audit

    workspace = open_workspace(workspace_dir, create=False)
    with reporting("audit") as reporter:
        result = audit(workspace, AuditSettings(split, tuple(against or ()), files), reporter)
    if json_output:
        print_json(asdict(result) | {"known": asdict(result.known) | {"warnings": result.known.warnings}})
    else:
        _show(result)
    for warning in result.known.warnings:
        info(warning)
    if result.findings:
        raise typer.Exit(3)


def _show(result: AuditResult) -> None:
    listed = "".join(f", {pluralize(count, 'row')} of {name}" for name, count in result.num_listed.items())
    print_result(f"split {result.split}: {pluralize(result.num_clips, 'clip')}{listed}")
    print_result(f"checked to be in one subset: {result.known.checked}")
    for name, (leaked, held_out) in result.own_leaks.items():
        if leaked:
            print_result(
                f"{name}: {leaked} of its {held_out} held-out clips are of a video that it trains on"
            )
    for condition, ids in result.content.items():
        more = ", ..." if len(ids) > _NAMED else ""
        print_result(f"{condition}: {pluralize(len(ids), 'clip')} ({', '.join(ids[:_NAMED])}{more})")
    counts = Counter(finding.kind for finding in result.findings)
    if not counts:
        leak = "no leak in what is known" if result.known.warnings else "no leak"
        print_result(f"no findings: {leak}, no label conflict, no changed file")
        return
    print_result(table(("finding", "count"), sorted(counts.items())))
    rows = [
        (f.what, f.kind, f.detail)
        for kind in sorted(counts)
        for f in [f for f in result.findings if f.kind == kind][: max(3, _SHOWN // len(counts))]
    ]
    print_result(table(("what", "finding", "detail"), rows, align="left"))
    if len(result.findings) > len(rows):
        print_result(f"and {len(result.findings) - len(rows)} more: dance audit --json")


def _check_tables(files: list[str], json_output: bool) -> None:
    from dancecli.report.statistics.grim import TableFinding, check_table, columns_of_numbers

    found: list[tuple[str, TableFinding]] = []
    for file in files:
        columns = _read_figures(Path(file))
        found += [(file, finding) for finding in check_table(columns)]
        numbers = columns_of_numbers(columns)
        if others := [name for name in columns if name and name not in numbers]:
            info(f"{file}: not checked, as not all of their cells are numbers: {', '.join(others)}")
    if json_output:
        print_json([{"file": file, **asdict(finding)} for file, finding in found])
    elif found:
        shown = [(" and ".join(f.columns), f.kind, f.text) for _, f in found]
        print_result(table(("column", "check", "finding"), shown, align="left"))
    else:
        print_result("no findings: the numbers can be what they say")
    if found:
        raise typer.Exit(3)


def _read_figures(path: Path) -> dict[str, list[str]]:
    """Read the columns of a published table; cells that are to be figures are."""
    from dancecli.core.csv_files import read_csv
    from dancecli.report.statistics.grim import columns_of_numbers, find_bad_cell

    table = read_csv(path, "table")
    columns = {name: [row.cells[name] for row in table.rows] for name in table.columns}
    if bad := find_bad_cell(columns):
        cell, line = columns[bad.column][bad.row], table.rows[bad.row].line
        what = f"{cell!r} in column {bad.column!r} is not {bad.wanted}"
        raise InputError.at(path, line, what, "type the figure alone, or leave the cell empty")
    if not columns_of_numbers(columns):
        raise InputError.at(path, None, "has no column of numbers", "give a CSV file with a header")
    return columns


def _check_reported(figures: list[str], n: int | None, json_output: bool) -> None:
    from dancecli.report.statistics.grim import check_reported

    if n is None:
        raise typer.BadParameter("--reported needs the number of clips: --n 58")
    checked = [check_reported(figure, n) for figure in figures]
    if json_output:
        print_json(
            [{"reported": c.text, "n": c.n, "counts": c.counts, "nearest": c.nearest.k} for c in checked]
        )
    else:
        rows = []
        for c in checked:
            near = c.nearest.estimate
            possible = ", ".join(f"{k}/{n}" for k in c.counts[:3]) + (", ..." if len(c.counts) > 3 else "")
            closest = f"{c.nearest.k}/{n} = {100 * near.rate:.2f}" if near else ""
            interval = f"{100 * near.low:.1f}-{100 * near.high:.1f}" if near else ""
            rows.append((c.text, possible or "impossible", closest, interval))
        print_result(table(("reported, %", "can be", "nearest", "95 %"), rows))
    if any(not c.counts for c in checked):
        raise typer.Exit(3)
