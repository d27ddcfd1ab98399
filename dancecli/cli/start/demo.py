"""`dance demo`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from dancecli.cli.console import info, print_json, print_result, progress
from dancecli.cli.options import DryRunOption, JsonOption


def command(
    workspace_dir: Annotated[
        Path,
        typer.Option("--workspace", "-w", metavar="DIR", help="A new folder, or that of an earlier demo."),
    ] = Path("demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="A corpus too small to learn from: shows that all parts work.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other videos.")] = 0,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Run the whole chain, offline, on a corpus it makes itself, to a report.

    Draws dancers in six styles that differ by their movement alone, serves the videos on this
    machine as a video site would, faults included, and runs the commands you would type: fetch,
    split, augment, finetune, report. What is finished is not done again.

    Example: `dance demo`
    """
    from dancecli.demo.pipeline import DemoSettings, demo, planned
    from dancecli.storage.workspace import Workspace

    workspace = Workspace.locate(workspace_dir)
    settings = DemoSettings(quick, seed, quiet_stdout=json_output)
    if dry_run:
        commands = planned(workspace, settings)
        if json_output:
            print_json({"commands": commands})
        else:
            for one in commands:
                print_result(f"$ dance {shlex.join(one)}")
        return
    with progress("draw videos") as on_progress:
        result = demo(workspace, settings, info, on_progress)
    if json_output:
        print_json(
            {
                "run": result.run,
                "page": str(result.page),
                "headline": result.headline,
                "commands": result.commands,
                "seconds": round(result.seconds, 1),
                **result.document,
            }
        )
    else:
        print_result(f"\n{result.headline}")
        print_result(f"in {result.seconds / 60:.1f} minutes; the page: {result.page}")
