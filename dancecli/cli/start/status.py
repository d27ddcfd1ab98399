"""`dance status`."""

from __future__ import annotations

from dataclasses import asdict

from dancecli.cli.console import open_workspace, print_json, print_result
from dancecli.cli.options import JsonOption, WorkspaceOption

_WIDTH = len("segments")
_WIDE = 60


def command(workspace_dir: WorkspaceOption = None, json_output: JsonOption = False) -> None:
    """Show what this workspace contains and which command comes next.

    `dance` without a command prints the same.

    Example: `dance status`
    """
    from dancecli.status import status

    workspace = open_workspace(workspace_dir, create=False)
    found = status(workspace)
    if json_output:
        print_json({"workspace": str(workspace.root), **asdict(found)})
        return
    if found.stages:
        print_result(f"workspace {workspace.root}")
        for stage in found.stages:
            print_result(f"  {stage.what:<{_WIDTH}}   {stage.found}")
    else:
        print_result(f"{workspace.root} contains no dataset yet")
    if found.advice:
        # A fetch with many options does not push the reasons of the others off the screen.
        width = max((n for advice in found.advice if (n := len(advice.command)) <= _WIDE), default=0)
        print_result("next:" if found.stages else "start with:")
        for advice in found.advice:
            print_result(f"  {advice.command:<{width}}   {advice.why}")
    print_result("all commands: dance --help")
