"""`dance demo`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from dancecli.cli.console import print_json, print_result, reporting
from dancecli.cli.options import DryRunOption, JsonOption


def command(
    workspace_dir: Annotated[
        Path,
        typer.Option(
            "--workspace",
            "-w",
            metavar="DIR",
            help="Workspace of the demo: a new folder, or that of an earlier demo.",
        ),
    ] = Path("demo"),
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="Use a corpus too small to learn from, to check in a minute that every step works.",
        ),
    ] = False,
    variant: Annotated[
        str | None,
        typer.Option(
            metavar="misleading|hidden-limbs",
            help="Draw six styles otherwise. misleading: each has a moving screen behind it, and in test "
            "that of another style; hidden-limbs: boards hide half of every limb.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the synthetic videos.")] = 0,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Run the whole pipeline offline on a synthetic corpus, up to a report.

    Renders dancers in nine styles that differ by their movement alone, three of them by little, gives
    some of the videos a wrong label, serves them from a local video site with typical faults, and runs
    the commands that you would type: fetch, split, augment, finetune and report. Finished steps are
    skipped when you rerun it.

    The variants show what a model looks at: train another one there, on poses for example, and compare.

    Example: `dance demo`

    Example: `dance demo --variant misleading --workspace misleading`
    """
    from dancecli.demo.pipeline import DemoSettings, demo, planned
    from dancecli.storage.workspace import Workspace

    workspace = Workspace.locate(workspace_dir)
    settings = DemoSettings(quick, seed, quiet_stdout=json_output, variant=variant or "")
    if dry_run:
        commands = planned(workspace, settings)
        if json_output:
            print_json({"commands": commands})
        else:
            for command_line in commands:
                print_result(f"$ dance {shlex.join(command_line)}")
        return
    with reporting("render videos") as reporter:
        result = demo(workspace, settings, reporter)
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
        print_result(f"finished in {result.seconds / 60:.1f} minutes; report: {result.page}")
