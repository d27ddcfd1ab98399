"""`dance doctor`."""

from __future__ import annotations

from dataclasses import asdict

import typer

from dancecli.cli.console import emit, open_workspace, show, table
from dancecli.cli.options import JsonOption, WorkspaceOption


def command(workspace: WorkspaceOption = None, json_output: JsonOption = False) -> None:
    """Say what works on this machine, and what mends the rest.

    Exits with 3 if anything does not work.

    Example: `dance doctor`
    """
    from dancecli.doctor import examine

    findings = examine(open_workspace(workspace, create=False))
    if json_output:
        emit([asdict(finding) for finding in findings])
    else:
        rows = [
            (("ok  " if f.ok else "FAIL") + f"  {f.what}", f.found + (f"\n-> {f.mend}" if f.mend else ""))
            for f in findings
        ]
        show(table(("", "found"), rows, align="left"))
        for finding in findings:
            if not finding.ok:
                show(f"{finding.what} is needed for dance {finding.needed_for}: {finding.mend}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(3)
