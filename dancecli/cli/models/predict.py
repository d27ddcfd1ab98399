"""`dance predict`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result, reporting_phases, table
from dancecli.cli.models.processes import check_gpus
from dancecli.cli.options import DecoderOption, DryRunOption, JsonOption, WorkspaceOption
from dancecli.core.text import first_of, pluralize

if TYPE_CHECKING:
    from dancecli.storage.pose_files import Pose
    from dancecli.video.trajectories.estimate import VideoTrajectories

# Videos that the run was trained on, of those that are named.
_SHOWN = 5


def command(
    videos: Annotated[
        list[Path], typer.Argument(metavar="VIDEO", help="Videos, folders of videos, or folders of frames.")
    ],
    workspace_dir: WorkspaceOption = None,
    run: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Run whose weights are used. [default: the latest run]", show_default=False
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Checkpoint of dance finetune, or trajectories.npz of dance train, to use instead of a run.",
        ),
    ] = None,
    window: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Length of the windows into which long videos are cut. [default: as the training clips]",
            show_default=False,
        ),
    ] = None,
    sets: Annotated[
        float | None,
        typer.Option(
            "--sets",
            metavar="LEVEL",
            help="Give each video the set of styles that holds its own with this probability, such as 0.9. "
            "Calibrated on the validation clips of the run, by source video.",
            show_default=False,
        ),
    ] = None,
    unknown: Annotated[
        float | None,
        typer.Option(
            "--unknown",
            metavar="RATE",
            help="Call videos unknown that are of none of the styles, at this rate of false alarms, such as "
            "0.05. Calibrated on clips that the run was not fitted to, by source video.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw the timeline of the video into this file.")
    ] = None,
    gpus: Annotated[
        int, typer.Option(min=1, metavar="N", help="Share the videos among N processes, one per GPU.")
    ] = 1,
    decoder: DecoderOption = "auto",
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Predict the dance styles in videos, with a timeline for long ones.

    Prints the five likeliest styles of each video, and a timeline of long ones. All probabilities, and
    each timeline as a picture and as files for ELAN, players (WebVTT) and tables (CSV), are stored in
    reports/predict-NAME (of a further run on the same videos, or of other videos of that name, in
    reports/predict-NAME-2 and so on). Reads every format that ffmpeg reads; of several videos, one that
    cannot be read is listed, and the exit code is 3. For a run on poses, these are found first, as by
    dance pose; for one on dense trajectories, points are tracked, as by dance train.

    Example: `dance predict evening.mp4 --run inception-full-1`
    """
    from dancecli.model.inference.predict import PredictSettings, make_plan, predict

    workspace = open_workspace(workspace_dir, create=False)
    settings = PredictSettings(
        tuple(videos),
        run,
        checkpoint,
        window,
        sets,
        unknown,
        picture=out,
        poses_of=_poses_of,
        tracks_of=_tracks_of,
        processes=gpus,
        decoder=decoder,
    )
    check_gpus(gpus)
    if dry_run:
        plan = make_plan(workspace, settings)
        folder = next(plan.folders())
        document = {
            "videos": [name for name, _ in plan.files],
            "checkpoint": str(plan.checkpoint.path),
            "window_s": plan.reading.window_s,
            "folder": str(folder),
        }
        if json_output:
            print_json(document)
        else:
            info(
                f"would classify {pluralize(len(plan.files), 'video')} with "
                f"{plan.checkpoint.path}, into {folder}"
            )
        return
    with reporting_phases() as reporter:
        result = predict(workspace, settings, reporter)
    used = result.document["checkpoint"]
    info(f"weights: {'run ' + used['run'] if used['run'] else used['file']}")
    if note := _calibrated(result.document["calibration"]):
        info(note)
    if result.left_out:
        info(f"left out, as they are no videos: {pluralize(result.left_out, 'file')}")
    if json_output:
        print_json(result.document)
    elif len(result.document["videos"]) == 1:
        _show_one(result.document["videos"][0])
    else:
        _show_all(result.document["videos"])
    for line in _trained_on(used, result.document["videos"]):
        info(line)
    info(f"stored in {result.file}")
    for picture in result.pictures[:3]:
        info(f"picture: {picture}")
    if result.timelines:
        first = result.timelines[0].with_suffix("")
        more = f", and of {len(result.timelines) // 3 - 1} more" if len(result.timelines) > 3 else ""
        info(f"timeline for ELAN, players and tables: {first}.eaf, .vtt and .csv{more}")
    if not result.complete:
        raise typer.Exit(3)


def _poses_of(video: Path) -> tuple[Pose, float]:
    """Find the poses of a video as `dance pose` finds those of clips."""
    from dancecli.dataset.derived.pose import DEFAULT_PEOPLE
    from dancecli.video.pose.estimate import poses_of_video
    from dancecli.video.pose.weights import find_weights

    return poses_of_video(video, find_weights(None), DEFAULT_PEOPLE)


def _tracks_of(video: Path, method: str) -> VideoTrajectories:
    """Open a video for tracking as `dance train` tracks the points of clips."""
    from dancecli.video.trajectories.estimate import VideoTrajectories

    return VideoTrajectories(video, method)


def _show_one(video: dict[str, Any]) -> None:
    rows = [(best["label"], _percent(best["probability"])) for best in video["top5"]]
    print_result(table((f"{video['file']}, {_clock(video['seconds'])}", "probability"), rows))
    if read := _reading(video):
        print_result(read)
    if len(video["windows"]) > 1:
        segments = [
            (f"{_clock(s['start_s'])} - {_clock(s['end_s'])}", s["label"], _percent(s["probability"]))
            + ((_reading(s),) if _reading(video) else ())
            for s in video["segments"]
        ]
        heads = ("when", "style", "probability", *(("",) if _reading(video) else ()))
        print_result(table(heads, segments, align="left"))
    if video["fault"]:
        info(f"{video['file']}: {video['fault']}")


def _show_all(videos: list[dict[str, Any]]) -> None:
    rows: list[tuple[object, ...]] = []
    for video in videos:
        if video["error"]:
            rows.append((video["file"], "", "", video["error"]))
            continue
        best, styles = video["top5"][0], len({s["label"] for s in video["segments"]})
        note = video["fault"] or (f"{styles} styles in turn" if styles > 1 else "")
        note = "; ".join(filter(None, (_reading(video), note)))
        words = f"{best['label']} {_percent(best['probability'])}"
        rows.append((video["file"], _clock(video["seconds"]), words, note))
    print_result(table(("video", "length", "likeliest style", "note"), rows, align="left"))


def _trained_on(used: dict[str, Any], videos: list[dict[str, Any]]) -> Iterator[str]:
    """Name the videos that the run was trained on, and by which evidence."""
    run = used["run"]
    if run and used["training_clips"] is None:
        yield f"the split of run {run} has changed, so whether it was trained on these videos is not known"
    words = {"bytes": "the same file", "path": "imported from there", "name": "by its name"}
    seen = [
        f"{video['file']} ({pluralize(len(found['clips']), 'training clip')}, {words[found['by']]})"
        for video in videos
        if not video["error"] and (found := video["trained_on"])
    ]
    if seen:
        count = f"{len(seen)} of {pluralize(len(videos), 'video')}: " if len(videos) > 1 else ""
        yield (
            f"run {run} was trained on {count}{first_of(seen, _SHOWN)}; what it predicts there does not show "
            "how well it does on new videos"
        )


def _calibrated(found: dict[str, Any]) -> str:
    """Say what sets and unknown videos are, and by how many clips they were calibrated."""
    parts = []
    if sets := found["sets"]:
        by = f"{pluralize(sets['clips'], 'clip')} of {pluralize(sets['groups'], 'group')} in val"
        parts.append(f"a set holds the style of a new clip {100 * sets['level']:g} times in 100 (by {by})")
    if unknown := found["unknown"]:
        by = f"{pluralize(unknown['clips'], 'clip')} of {pluralize(unknown['groups'], 'group')}"
        parts.append(f"of clips of a known style {100 * unknown['rate']:g} % are called unknown (by {by})")
    return "; ".join(parts)


def _reading(found: dict[str, Any]) -> str:
    """Give the set of a video or segment in words, or that it is of no known style."""
    if found.get("unknown"):
        return "unknown: none of these styles"
    if "set" not in found:
        return ""
    return f"set: {', '.join(found['set'])}" if found["set"] else "set: none is likely enough"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
