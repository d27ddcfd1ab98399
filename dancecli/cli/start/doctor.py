"""`dance doctor`."""

from __future__ import annotations

from dataclasses import asdict

import typer

from dancecli.cli.console import open_workspace, print_json, print_result, table
from dancecli.cli.options import JsonOption, WorkspaceOption


def command(workspace_dir: WorkspaceOption = None, json_output: JsonOption = False) -> None:
    """Say what works on this machine, and what mends the rest.

    Exits with 3 if anything does not work.

    Example: `dance doctor`
    """
    from dancecli.doctor import examine

    findings = examine(open_workspace(workspace_dir, create=False))
    if json_output:
        print_json([asdict(finding) for finding in findings])
    else:
        rows = [
            (("ok  " if f.ok else "FAIL") + f"  {f.what}", f.found + (f"\n-> {f.mend}" if f.mend else ""))
            for f in findings
        ]
        print_result(table(("", "found"), rows, align="left"))
        for finding in findings:
            if not finding.ok:
                print_result(f"{finding.what} is needed for dance {finding.needed_for}: {finding.mend}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(3)
