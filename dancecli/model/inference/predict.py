"""`predict`: the styles in a video, and when each is danced."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core import hashing
from dancecli.core.errors import InputError, MediaError, UsageError
from dancecli.core.progress import SILENT, Progress, Reporter
from dancecli.core.statistics.calibration import prediction_set
from dancecli.core.video_files import VIDEO_SUFFIXES
from dancecli.model.inference.calibration import Calibration, calibrate
from dancecli.model.inference.inputs import find_videos, frames_of, slug, unique_slugs
from dancecli.model.inference.timeline_files import write_timeline
from dancecli.model.networks.checkpoint import Checkpoint, open_checkpoint, run_checkpoint
from dancecli.storage import runs as rec
from dancecli.storage.files import atomic_file
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    from dancecli.model.inference.predictor import PosesOf, Predictor
    from dancecli.model.inference.timeline import Scored
    from dancecli.model.inference.windows import FrameStream

SCHEMA = 1
# All frames of a window are held at once.
_WINDOW_S = (0.5, 600.0)
_SAVE_EVERY_S = 5.0
# Decimals of a probability.
_DIGITS = 6


@dataclass(frozen=True)
class PredictSettings:
    """Which videos to classify, and with which weights.

    Attributes:
        videos: files, folders of them, or folders of frames.
        run: whose weights; None for the latest run.
        checkpoint: a file to use instead of a run's.
        window_s: length of a window, in seconds; None for that of the clips it was trained on.
        sets: level of the prediction sets, such as 0.9; None for none.
        unknown: rate of false alarms at which clips are called unknown, such as 0.05; None for none.
        picture: where to draw the one video's timeline; None draws those of long videos in the
            result's folder.
        poses_of: finds the poses of a video, for a network on poses.
    """

    videos: tuple[Path, ...]
    run: str | None = None
    checkpoint: Path | None = None
    window_s: float | None = None
    sets: float | None = None
    unknown: float | None = None
    picture: Path | None = None
    poses_of: PosesOf | None = None


@dataclass(frozen=True)
class PredictPlan:
    """What will be classified.

    Attributes:
        files: the videos, each with the name that it has in the result.
        inputs: what was named, as absolute paths.
        single: one file was named, so its failure is the command's.
        folder: where the result goes.
        left_out: files of the folders that are not videos.
        poses_of: see `PredictSettings`.
    """

    files: tuple[tuple[str, Path], ...]
    inputs: tuple[str, ...]
    single: bool
    folder: Path
    left_out: int
    checkpoint: Checkpoint
    run: str | None
    window_s: float
    calibration: Calibration
    poses_of: PosesOf | None = None


@dataclass(frozen=True)
class PredictResult:
    """What was predicted.

    Attributes:
        document: labels, what was used, and for each video its scores, windows and segments.
        file: where the document is kept.
        pictures: timelines that were drawn.
        timelines: the same as files for ELAN, players and tables, of each video with several windows.
        left_out: files of the folders that are not videos.
        fresh: videos that were processed now; the results of the others were there.
    """

    document: dict[str, Any]
    file: Path
    pictures: tuple[Path, ...]
    timelines: tuple[Path, ...]
    left_out: int
    fresh: int

    @property
    def complete(self) -> bool:
        """Whether every video was decoded to its end."""
        return not any(video["error"] or video["fault"] for video in self.document["videos"])


def make_plan(workspace: Workspace, settings: PredictSettings) -> PredictPlan:
    """Find the videos and the checkpoint; see `predict`."""
    if settings.run is not None and settings.checkpoint is not None:
        raise UsageError("--run and --checkpoint both name weights", "give one of them")
    files, left_out = find_videos(settings.videos)
    first = settings.videos[0]
    single = len(settings.videos) == 1 and not first.is_dir()
    if settings.picture is not None and not single:
        raise UsageError("--out is for the timeline of one video", "omit it: timelines go to reports/")
    if not files:
        raise InputError(f"{first}: contains no video", f"known suffixes: {' '.join(sorted(VIDEO_SUFFIXES))}")
    run, path = None, settings.checkpoint
    record: dict[str, Any] = {}
    if path is None:
        run, record, path = run_checkpoint(workspace, settings.run)
    calibration = calibrate(workspace, run, record, settings.sets, settings.unknown)
    found = open_checkpoint(path)
    if found.reads_poses and settings.poses_of is None:
        raise UsageError(f"{path}: its network reads poses", "say how they are found: poses_of")
    window_s = found.clip_s if settings.window_s is None else settings.window_s
    if not _WINDOW_S[0] <= window_s <= _WINDOW_S[1]:
        raise UsageError(
            f"a window of {window_s:g} s cannot be used", f"give {_WINDOW_S[0]} to {_WINDOW_S[1]:g} s"
        )
    inputs = tuple(str(path.absolute()) for path in settings.videos)
    name = slug(first.stem if single else first.resolve().name)
    if len(settings.videos) > 1:
        name += f"-and-{len(settings.videos) - 1}-more"
    folder = _result_folder(workspace, name, inputs)
    return PredictPlan(
        files, inputs, single, folder, left_out, found, run, window_s, calibration, settings.poses_of
    )


def _result_folder(workspace: Workspace, name: str, inputs: Sequence[str]) -> Path:
    """Find the folder of these videos' results, or one that is free: videos may have equal names."""
    n = 1
    while True:
        folder = workspace.report(f"predict-{name}" + (f"-{n}" if n > 1 else ""))
        file = folder / "prediction.json"
        if not file.exists() or _read_json(file).get("inputs") == list(inputs):
            return folder
        n += 1


def _read_json(file: Path) -> dict[str, Any]:
    """Read a document; empty if it is not one, so that it is written anew."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def predict(workspace: Workspace, settings: PredictSettings, reporter: Reporter = SILENT) -> PredictResult:
    """Predict the styles in videos: the likeliest of each, and of long ones a timeline.

    Every video is decoded once, in order. Results are stored in `reports/predict-<name>/prediction.json`,
    from which those of the same videos, weights and windows are reused.

    Args:
        workspace: where the run is, and the result goes.
        settings: which videos and weights.
        reporter: in seconds of the video at hand.

    Raises:
        MediaError: the one video that was named cannot be read; of several, that is a row.
        InputError: a folder contains no video.
        UsageError: settings that exclude each other.
        ModelError: the checkpoint cannot be used.
        WorkspaceError: there is no run with weights.
    """
    plan = make_plan(workspace, settings)
    file = plan.folder / "prediction.json"
    before = _read_before(file, plan)
    session = _Session(plan, reporter)
    videos: list[dict[str, Any]] = []
    pictures: list[Path] = []
    timelines: list[Path] = []
    saved = time.monotonic()
    slugs = unique_slugs([name for name, _ in plan.files])
    for (name, path), short in zip(plan.files, slugs, strict=True):
        videos.append(row := _row(session, before, name, path))
        if row["error"]:
            continue
        before[row["sha256"]] = row
        if settings.picture or len(row["windows"]) > 1:
            pictures.append(settings.picture or plan.folder / f"{short}.png")
            _draw(pictures[-1], row, plan.checkpoint.labels)
        if len(row["windows"]) > 1:
            timelines += write_timeline(plan.folder / short, path, row["segments"], datetime.now(UTC))
        if time.monotonic() - saved > _SAVE_EVERY_S:
            # Keep the results of an earlier call, should this one be stopped.
            reached = {video.get("sha256") for video in videos}
            later = [video for sha256, video in before.items() if sha256 not in reached]
            _save(file, _document(plan, [*videos, *later]))
            saved = time.monotonic()
    document = _document(plan, videos)
    _save(file, document)
    return PredictResult(document, file, tuple(pictures), tuple(timelines), plan.left_out, session.fresh)


class _Session:
    """The network, loaded when the first video needs it."""

    def __init__(self, plan: PredictPlan, reporter: Reporter) -> None:
        self.plan, self.fresh, self._reporter = plan, 0, reporter
        self._predictor: Predictor | None = None

    def score(self, path: Path) -> tuple[list[Scored], FrameStream]:
        from dancecli.model.inference.predictor import Predictor, predict_pose_windows, predict_windows

        if self._predictor is None:
            self._reporter.progress(0, 1, "loading the model · a few seconds")
            self._predictor = Predictor(self.plan.checkpoint, self.plan.calibration)
        self.fresh += 1
        number, count = self.fresh, len(self.plan.files)
        of = f" · video {number} of {count}" if count > 1 else ""

        def on_progress(now: Progress) -> None:
            self._reporter.progress(now.done, now.total, now.text + of)

        window_s, poses_of, reporter = self.plan.window_s, self.plan.poses_of, Reporter(on_progress)
        if self.plan.checkpoint.reads_poses and poses_of is not None:
            return predict_pose_windows(self._predictor, path, window_s, poses_of, reporter)
        return predict_windows(self._predictor, path, window_s, reporter)


def _row(session: _Session, before: Mapping[str, dict[str, Any]], name: str, path: Path) -> dict[str, Any]:
    """Classify one video, or reuse its result; of several videos a failure is a row too."""
    try:
        sha256 = _hash(path)
        if sha256 in before:
            return {**before[sha256], "file": name}
        return {"file": name, "sha256": sha256, "error": "", **_facts(session, path)}
    except MediaError as error:
        if session.plan.single:
            raise
        return {"file": name, "error": error.message.removeprefix(f"{path}: "), "fault": ""}


def _hash(path: Path) -> str:
    if path.is_dir():
        text = "\n".join(f"{file.name} {_hash(file)}" for file in frames_of(path))
        return hashing.sha256_text(text)
    if path.exists() and not path.is_file():
        raise MediaError(f"{path}: is not a file")
    try:
        return hashing.sha256_file(path)
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({error.strerror})") from None


def _facts(session: _Session, path: Path) -> dict[str, Any]:
    from dancecli.model.inference.timeline import mean_distance, mean_scores, segments

    windows, stream = session.score(path)

    def read(scores: Sequence[float], distance: float) -> dict[str, Any]:
        return _reading(session.plan, scores, distance)

    labels, scores = session.plan.checkpoint.labels, mean_scores(windows)
    best = sorted(range(len(labels)), key=lambda i: (-scores[i], i))[:5]
    return {
        "fault": stream.fault,
        "seconds": round(stream.seconds, 3),
        "frames": stream.frames,
        "top5": [{"label": labels[i], "probability": round(scores[i], _DIGITS)} for i in best],
        "scores": [round(score, _DIGITS) for score in scores],
        **read(scores, mean_distance(windows)),
        "segments": [
            {
                "start_s": round(s.start_s, 3),
                "end_s": round(s.end_s, 3),
                "label": labels[s.label_index],
                "probability": round(s.probability, _DIGITS),
                **read(mean_scores(windows, s.start_s, s.end_s), mean_distance(windows, s.start_s, s.end_s)),
            }
            for s in segments(windows)
        ],
        "windows": [
            {
                "start_s": round(w.start_s, 3),
                "end_s": round(w.end_s, 3),
                "scores": [round(score, _DIGITS) for score in w.scores],
                **read(w.scores, w.distance),
            }
            for w in windows
        ],
    }


def _reading(plan: PredictPlan, scores: Sequence[float], distance: float) -> dict[str, Any]:
    """Say which styles a stretch may be of, and whether it is of none; as far as it was asked for."""
    found, labels = plan.calibration, plan.checkpoint.labels
    reading: dict[str, Any] = {}
    if found.level is not None:
        reading["set"] = [labels[i] for i in prediction_set(scores, found.least)]
    if found.rate is not None:
        reading |= {"unknown": distance > found.farthest, "distance": round(distance, _DIGITS)}
    return reading


def _document(plan: PredictPlan, videos: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "checkpoint": {"file": str(plan.checkpoint.path), "sha256": plan.checkpoint.sha256, "run": plan.run},
        "labels": list(plan.checkpoint.labels),
        "view_protocol": plan.checkpoint.protocol,
        "calibration": plan.calibration.record,
        "window_s": plan.window_s,
        "step_s": plan.window_s / 2,
        "inputs": list(plan.inputs),
        "videos": list(videos),
        "left_out": plan.left_out,
        "versions": rec.versions(),
    }


def _read_before(file: Path, plan: PredictPlan) -> dict[str, dict[str, Any]]:
    """Results of an earlier call with the same weights and windows, by the videos' checksums."""
    try:
        old = _read_json(file)
        same = old["schema"] == SCHEMA and old["window_s"] == plan.window_s
        if not same or old["checkpoint"]["sha256"] != plan.checkpoint.sha256:
            return {}
        if old.get("calibration") != plan.calibration.record:
            return {}
        return {video["sha256"]: video for video in old["videos"] if not video["error"]}
    except (LookupError, TypeError):
        return {}


def _save(file: Path, document: Mapping[str, Any]) -> None:
    with atomic_file(file) as out:
        json.dump(document, out, indent=1, ensure_ascii=False)
        out.write("\n")


def _draw(path: Path, row: Mapping[str, Any], labels: Sequence[str]) -> None:
    from dancecli.model.inference.timeline import Scored, Segment, slots
    from dancecli.model.inference.timeline_plot import draw_timeline

    parts = slots([Scored(w["start_s"], w["end_s"], tuple(w["scores"])) for w in row["windows"]])
    found = [
        Segment(s["start_s"], s["end_s"], labels.index(s["label"]), s["probability"]) for s in row["segments"]
    ]
    draw_timeline(path, row["file"], labels, parts, found)
