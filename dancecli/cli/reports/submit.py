"""`dance submit`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result, reporting
from dancecli.cli.options import DryRunOption, JsonOption, WorkspaceOption
from dancecli.core.text import pluralize


def command(
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="Run, or group of seeds. [default: the latest run]"),
    ] = None,
    workspace_dir: WorkspaceOption = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name on the leaderboard. [default: the run's name]", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.zip|DIR",
            help="File to write, or a folder, which gets NAME.zip of each run. "
            "[default: reports/RUN/submission.zip]",
            show_default=False,
        ),
    ] = None,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Write a run's results as one file for somebody else's leaderboard.

    The file has the predictions, the split's lock file, the run's record without paths and command
    line, every figure of its report, and checksums. Whoever receives it runs `dance board --add FILE`.
    Exits with 3 if test clips of the lock are missing or are other files here, which a leaderboard refuses.

    Example: `dance submit inception-demo-1 --name our-inception`
    """
    from dancecli.report.submit import SubmitSettings, submit

    workspace = open_workspace(workspace_dir, create=False)
    with reporting("submit") as reporter:
        found = submit(workspace, SubmitSettings(run, name, out), reporter, dry_run=dry_run)
    if run is None:
        info(f"run {found[0].run} (the latest)")
    if json_output:
        print_json({"submissions": [{**asdict(one), "file": str(one.file)} for one in found]})
    else:
        for one in found:
            print_result(f"{one.name}: {one.headline}")
            print_result(f"{one.file}{' (not written)' if dry_run else ''}")
    other = max(one.other_files for one in found)
    if missing := max(one.missing for one in found):
        info(
            f"{pluralize(missing, 'test clip')} of the lock {'is' if missing == 1 else 'are'} missing here; "
            f"a leaderboard refuses results without {'it' if missing == 1 else 'them'}: get what is missing, "
            "split with the lock again, and train again"
        )
    if other:
        info(
            f"{pluralize(other, 'test clip')} here {'is another file' if other == 1 else 'are other files'} "
            f"than in the lock; a leaderboard refuses results on {'it' if other == 1 else 'them'}: get the "
            "files of the benchmark, split with the lock again, and evaluate again"
        )
    if missing or other:
        raise typer.Exit(3)
