"""`dance flow`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result, progress
from dancecli.cli.options import DryRunOption, EngineOption, JsonOption, WorkersOption, WorkspaceOption

if TYPE_CHECKING:
    from dancecli.dataset.derived.flow import FlowResult

_FAILURES_SHOWN = 5


def command(
    workspace_dir: WorkspaceOption = None,
    method: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="dis; farneback; tvl1, on which published weights were trained, a hundred times slower.",
        ),
    ] = "dis",
    split: Annotated[
        str | None,
        typer.Option("--split", metavar="NAME", help="Only the clips of this split. [default: all clips]"),
    ] = None,
    workers: WorkersOption = 0,
    engine: EngineOption = "local",
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Compute the optical flow of the clips, for models that use motion.

    From 25 frames a second, with a short side of 256 or the clip's own if it is shorter, up to 20
    pixels; a file for each clip and method, proven by a full decode. Stop it at any time: the same
    command goes on from there. Exit code 3 if a clip has no flow.

    Example: `dance flow --method tvl1 --split full`
    """
    from dancecli.core.flow_format import method_mismatch
    from dancecli.dataset.derived.flow import FlowSettings, flow

    workspace = open_workspace(workspace_dir, create=False)
    with progress("flow") as on_progress:
        result = flow(workspace, FlowSettings(method, split, workers, dry_run, engine), on_progress)
    if json_output:
        print_json(asdict(result))
    else:
        _show(result, dry_run=dry_run)
    if mismatch := method_mismatch(result.method):
        info(f"if you start from published flow weights: {mismatch}")
    for clip_id, reason in result.failed[:_FAILURES_SHOWN]:
        info(f"  {clip_id}: {reason}")
    if result.failed:
        info(f"clips without flow: {len(result.failed)} (--json names them all)")
        raise typer.Exit(3)


def _show(result: FlowResult, *, dry_run: bool) -> None:
    copies = f", {result.num_copies} of them augmented copies" if result.num_copies else ""
    verdict = "would be computed" if dry_run else "computed now"
    print_result(f"{result.method} flow of {result.num_clips} clips{copies}: {result.made} {verdict}")
    if result.clip_bytes:
        print_result(
            f"{result.num_fields} fields, {result.num_bytes / 1e6:.1f} MB, "
            f"{result.num_bytes / result.clip_bytes:.1f} times the clips · stored within "
            f"{result.error_px:.3f} px in the mean · {result.seconds:.0f} s"
        )
