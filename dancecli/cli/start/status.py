"""`dance status`."""

from __future__ import annotations

from dataclasses import asdict

from dancecli.cli.console import emit, open_workspace, show
from dancecli.cli.options import JsonOption, WorkspaceOption

_WIDTH = len("segments")


def command(workspace: WorkspaceOption = None, json_output: JsonOption = False) -> None:
    """Say what this workspace holds, and what to type next.

    `dance` without a command says the same.

    Example: `dance status`
    """
    from dancecli.status import status

    space = open_workspace(workspace, create=False)
    found = status(space)
    if json_output:
        emit({"workspace": str(space.root), **asdict(found)})
        return
    if found.stages:
        show(f"workspace {space.root}")
        for stage in found.stages:
            show(f"  {stage.what:<{_WIDTH}}   {stage.found}")
    else:
        show(f"there is nothing in {space.root} yet")
    if found.advice:
        width = max(len(advice.command) for advice in found.advice)
        show("next:" if found.stages else "begin with:")
        for advice in found.advice:
            show(f"  {advice.command:<{width}}   {advice.why}")
    show("all commands: dance --help")
