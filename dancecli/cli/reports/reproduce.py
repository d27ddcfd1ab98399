"""`dance reproduce`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result, reporting, table
from dancecli.cli.options import DryRunOption, JsonOption, WorkspaceOption

if TYPE_CHECKING:
    from dancecli.reproduction.commands import ReproduceResult, ReproduceSettings
    from dancecli.storage.workspace import Workspace


def command(
    workspace_dir: WorkspaceOption = None,
    quick: bool = typer.Option(
        False,
        "--quick",
        help="Run offline in minutes, on synthetic videos with small frames and one backbone.",
    ),
    only: Annotated[
        str,
        typer.Option(
            metavar="NAME,…",
            help="Run only these experiments of the paper, by their names in "
            "manifests/paper/experiments.toml; "
            "the two-stream ones train two full networks each. [default: all]",
            show_default=False,
        ),
    ] = "",
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Reproduce the paper's experiments, as published and with a validation set.

    The fine-tuned experiments are run twice on the same clips and the same test set: as published,
    and with a validation set that chooses epoch and winner. The two-stream ones were published by
    their validation set, so one run gives both. One page compares both with the paper's own figures
    and their intervals, and lists figures that are impossible. Finished steps are skipped. The quick
    form uses a folder of its own, demo-reproduce unless --workspace is given.

    Example: `dance reproduce --quick`
    """
    from dancecli.reproduction.commands import ReproduceSettings, reproduce

    workspace = open_workspace(workspace_dir or (Path("demo-reproduce") if quick else None), create=False)
    names = tuple(name.strip() for name in only.split(",") if name.strip())
    settings = ReproduceSettings(quick, names, quiet_stdout=json_output)
    if dry_run:
        _show_plan(workspace, settings, json_output)
        return
    with reporting("draw videos") as reporter:
        result = reproduce(workspace, settings, reporter)
    if json_output:
        document = {"page": str(result.page), "commands": result.commands, "failed": result.failed}
        print_json({**document, **result.document})
    else:
        _show(result)
    if result.failed:
        raise typer.Exit(3)


def _show(result: ReproduceResult) -> None:
    rows = []
    for one in result.document["experiments"]:
        paper = one["paper"]["top1"]
        cells = [_share(ran) if ran else "" for ran in (one["as_published"], one["ours"])]
        rows.append((one["name"], f"{paper['printed']} ({_count(paper)})", *cells))
    print_result(table(("experiment", "paper, %", "as published", "our protocol"), rows))
    for name, why in result.failed.items():
        print_result(f"not reproduced: {name}: {why}; the same command tries it again")
    print_result(f"in {result.seconds / 60:.1f} minutes; the page: {result.page}")


def _show_plan(workspace: Workspace, settings: ReproduceSettings, json_output: bool) -> None:
    from dancecli.core.text import time_words
    from dancecli.reproduction.commands import preview

    plan = preview(workspace, settings)
    if json_output:
        print_json({"commands": plan.commands, "seconds": round(plan.seconds), "left_out": plan.left_out})
        return
    for one in plan.commands:
        print_result(f"$ dance {shlex.join(one)}")
    for name, why in plan.left_out.items():
        info(f"not reproduced: {name}: {why}")
    info(f"the runs take about {time_words(plan.seconds)} on this machine")


def _share(ran: dict[str, Any]) -> str:
    return f"{_count(ran['top1'])} = {100 * ran['top1']['rate']:.1f} %"


def _count(top1: dict[str, Any]) -> str:
    if top1["n"] is None:
        return "n not given"
    return "no count of {}".format(top1["n"]) if top1["k"] is None else f"{top1['k']}/{top1['n']}"
