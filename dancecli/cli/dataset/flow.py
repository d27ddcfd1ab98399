"""`dance flow`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result, reporting
from dancecli.cli.options import DryRunOption, EngineOption, JsonOption, WorkersOption, WorkspaceOption
from dancecli.core.text import pluralize

if TYPE_CHECKING:
    from dancecli.dataset.derived.flow import FlowResult

_FAILURES_SHOWN = 5


def command(
    workspace_dir: WorkspaceOption = None,
    method: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Flow method: dis, farneback, or tvl1, which published weights were trained on and "
            "which is a hundred times slower.",
        ),
    ] = "dis",
    split: Annotated[
        str | None,
        typer.Option("--split", metavar="NAME", help="Compute for this split only. [default: all clips]"),
    ] = None,
    workers: WorkersOption = 0,
    engine: EngineOption = "local",
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Compute the optical flow of the clips, for models that use motion.

    Flow is computed at 25 frames per second, with a short side of at most 256 pixels, and clipped at
    20 pixels; one file per clip and method, validated by a full decode. An interrupted run resumes
    with the same command. Exits with 3 if a clip has no flow.

    Example: `dance flow --method tvl1 --split full`
    """
    from dancecli.core.flow_format import method_mismatch
    from dancecli.dataset.derived.flow import FlowSettings, flow

    workspace = open_workspace(workspace_dir, create=False)
    with reporting("flow") as reporter:
        result = flow(workspace, FlowSettings(method, split, workers, dry_run, engine), reporter)
    if json_output:
        print_json(asdict(result))
    else:
        _show(result, dry_run=dry_run)
    if mismatch := method_mismatch(result.method):
        info(f"when starting from published flow weights: {mismatch}")
    for clip_id, reason in result.failed[:_FAILURES_SHOWN]:
        info(f"  {clip_id}: {reason}")
    if result.failed:
        info(f"clips without flow: {len(result.failed)} (add --json for all of them)")
        raise typer.Exit(3)


def _show(result: FlowResult, *, dry_run: bool) -> None:
    augmented = f", {result.num_augmented} of them augmented" if result.num_augmented else ""
    state = "would be computed" if dry_run else "computed now"
    print_result(
        f"{result.method} flow of {pluralize(result.num_clips, 'clip')}{augmented}: {result.made} {state}"
    )
    if result.clip_bytes:
        print_result(
            f"{result.num_fields} fields, {result.num_bytes / 1e6:.1f} MB, "
            f"{result.num_bytes / result.clip_bytes:.1f} times the clips · mean quantization error "
            f"{result.error_px:.3f} px · {result.seconds:.0f} s"
        )
