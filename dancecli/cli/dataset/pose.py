"""`dance pose`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result, reporting
from dancecli.cli.options import DryRunOption, EngineOption, JsonOption, WorkersOption, WorkspaceOption
from dancecli.core.text import pluralize

if TYPE_CHECKING:
    from dancecli.dataset.derived.pose import PoseResult, PoseSettings
    from dancecli.storage.workspace import Workspace

_FAILURES_SHOWN = 5


def command(
    workspace_dir: WorkspaceOption = None,
    split: Annotated[
        str | None,
        typer.Option("--split", metavar="NAME", help="Only the clips of this split. [default: all clips]"),
    ] = None,
    people: Annotated[
        int,
        typer.Option(
            min=1, max=10, metavar="N", help="Number of people to follow at most, the main dancer first."
        ),
    ] = 2,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File that holds the pose networks: the wheel of mediapipe 0.10.21, an npm package, or "
            "pose_landmark_full.tflite itself. Needed once: they are kept in the user's cache folder.",
        ),
    ] = None,
    from_: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="PATH",
            help="Import poses instead: a file or folder of COCO-17 keypoints (JSON), AIST++ keypoints2d or "
            "MMAction2 skeleton pickles, named after the clips.",
        ),
    ] = None,
    workers: WorkersOption = 0,
    engine: EngineOption = "local",
    preview: Annotated[
        bool,
        typer.Option(
            "--preview",
            help="Draw a contact sheet and a clip with the skeletons; store no poses.",
        ),
    ] = False,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Find the poses of the people in the clips, or import poses.

    BlazePose finds 33 joints per person, at most 15 times a second; one file per clip. Two starts are
    compared: where they disagree, or nobody is found, the clip has no poses and the reason is listed.
    An interrupted run resumes with the same command. Exits with 3 if a clip has no poses.

    Example: `dance pose --split full --preview`
    """
    from dancecli.dataset.derived.pose import PoseSettings, pose

    workspace = open_workspace(workspace_dir, create=False)
    if from_ is not None:
        _import(workspace, from_, dry_run=dry_run, json_output=json_output)
        return
    settings = PoseSettings(split, people, weights, workers, dry_run, engine)
    if preview and not dry_run:
        _preview(workspace, settings, json_output=json_output)
        return
    with reporting("pose") as reporter:
        result = pose(workspace, settings, reporter)
    if json_output:
        print_json(asdict(result))
    else:
        _show(result, dry_run=dry_run)
    for clip_id, reason in result.failed[:_FAILURES_SHOWN]:
        info(f"  {clip_id}: {reason}")
    if result.failed:
        info(f"clips without poses: {len(result.failed)} (add --json for all of them)")
        raise typer.Exit(3)


def _import(workspace: Workspace, source: Path, *, dry_run: bool, json_output: bool) -> None:
    from dancecli.dataset.derived.pose_import import import_poses

    with reporting("pose") as reporter:
        result = import_poses(workspace, source, dry_run=dry_run, reporter=reporter)
    if json_output:
        print_json(asdict(result))
    else:
        state = "would get poses" if dry_run else "got poses"
        kinds = ", ".join(f"{count} from {kind}" for kind, count in result.imported) or "0"
        print_result(f"clips that {state}: {kinds} · clips without poses: {result.without}")
        if result.resampled:
            print_result(f"poses with another number of frames, spread over the clip: {result.resampled}")
    for name, reason in result.refused[:_FAILURES_SHOWN]:
        info(f"  {name}: {reason}")
    if result.refused:
        info(f"left out: {len(result.refused)} (add --json for all of them)")
        raise typer.Exit(3)


def _preview(workspace: Workspace, settings: PoseSettings, *, json_output: bool) -> None:
    from dancecli.dataset.derived.pose_preview import preview

    with reporting("preview") as reporter:
        drawn = preview(workspace, settings, reporter)
    if json_output:
        print_json(asdict(drawn))
        return
    print_result(f"sheet: {drawn.sheet}")
    if drawn.clip:
        print_result(f"clip: {drawn.clip}")
    for clip_id, reason in drawn.without:
        info(f"  {clip_id}: {reason}")


def _show(result: PoseResult, *, dry_run: bool) -> None:
    state = "would be found" if dry_run else "found now"
    kept = f", {result.imported} imported" if result.imported else ""
    print_result(
        f"poses of {pluralize(result.num_clips, 'clip')}: {result.made} {state}{kept} · {result.engine}"
    )
    if not result.has_detector:
        print_result(
            "only the main dancer is followed: the person detector needs LiteRT and the wheel of mediapipe "
            "(pip install 'dancecli[pose]')"
        )
    if result.num_frames:
        counts = ", ".join(
            f"{people} {'person' if people == 1 else 'people'} in {count}" for people, count in result.people
        )
        print_result(
            f"clips by people: {counts} · main dancer in {result.found_frames / result.num_frames:.1%} of "
            f"{result.num_frames} frames · {result.num_bytes / 1e3:,.0f} kB"
            + (f" · {result.seconds:.0f} s" if not dry_run else "")
        )
