"""`dance doctor`."""

from __future__ import annotations

from dataclasses import asdict

import typer

from dancecli.cli.console import open_workspace, print_json, print_result, table
from dancecli.cli.options import JsonOption, WorkspaceOption


def command(workspace_dir: WorkspaceOption = None, json_output: JsonOption = False) -> None:
    """Check the environment and show how to fix problems.

    Exits with code 3 if a check fails.

    Example: `dance doctor`
    """
    from dancecli.doctor import run_checks

    findings = run_checks(open_workspace(workspace_dir, create=False))
    if json_output:
        print_json([asdict(finding) for finding in findings])
    else:
        rows = [
            (("ok  " if f.ok else "FAIL") + f"  {f.what}", f.found + (f"\n-> {f.fix}" if f.fix else ""))
            for f in findings
        ]
        print_result(table(("check", "result"), rows, align="left"))
        for finding in findings:
            if not finding.ok:
                print_result(f"{finding.what} is required by {finding.needed_for}; to fix it: {finding.fix}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(3)
