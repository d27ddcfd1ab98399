"""`predict`: what is danced in a video, and when."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core import hashing
from dancecli.core.errors import InputError, MediaError, UsageError
from dancecli.core.progress import SILENT, Progress, Reporter
from dancecli.core.video_files import VIDEO_SUFFIXES
from dancecli.model.inference.inputs import find_videos, slug
from dancecli.model.networks.checkpoint import Checkpoint, open_checkpoint, run_checkpoint
from dancecli.storage import runs as rec
from dancecli.storage.files import atomic_file
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    from dancecli.model.inference.predictor import Predictor
    from dancecli.model.inference.timeline import Scored
    from dancecli.model.inference.windows import FrameStream

SCHEMA = 1
# All frames of a window are held at once.
_WINDOW_S = (0.5, 600.0)
_SAVE_EVERY_S = 5.0
# Of a probability: a millionth is more than a network knows.
_DIGITS = 6


@dataclass(frozen=True)
class PredictSettings:
    """What to look at, and with what.

    Attributes:
        videos: files, or folders of them.
        run: whose weights; None for the run made last.
        checkpoint: a file to use instead of a run's.
        window_s: length of a window, in seconds; None for that of the clips it was trained on.
        picture: where to draw the one video's picture; None draws those of long videos in the
            result's folder.
    """

    videos: tuple[Path, ...]
    run: str | None = None
    checkpoint: Path | None = None
    window_s: float | None = None
    picture: Path | None = None


@dataclass(frozen=True)
class PredictPlan:
    """What will be looked at.

    Attributes:
        files: the videos, each with the name that it has in the result.
        single: one file was named, so its failure is the command's.
        folder: where the result goes.
        left_out: files of the folders whose ending is not a video's.
    """

    files: tuple[tuple[str, Path], ...]
    single: bool
    folder: Path
    left_out: int
    checkpoint: Checkpoint
    run: str | None
    window_s: float


@dataclass(frozen=True)
class PredictResult:
    """What was seen.

    Attributes:
        document: labels, what was used, and for each video its scores, windows and segments.
        file: where the document is kept.
        pictures: those that were drawn.
        left_out: files of the folders whose ending is not a video's.
        fresh: videos that were looked at now; the others' results were there.
    """

    document: dict[str, Any]
    file: Path
    pictures: tuple[Path, ...]
    left_out: int
    fresh: int

    @property
    def complete(self) -> bool:
        """Whether every video was seen to its end."""
        return not any(video["error"] or video["fault"] for video in self.document["videos"])


def make_plan(workspace: Workspace, settings: PredictSettings) -> PredictPlan:
    """Find the videos and the checkpoint; see `predict`."""
    if settings.run is not None and settings.checkpoint is not None:
        raise UsageError("--run and --checkpoint both name weights", "give one of them")
    files, left_out = find_videos(settings.videos)
    first = settings.videos[0]
    single = len(settings.videos) == 1 and not first.is_dir()
    if settings.picture is not None and not single:
        raise UsageError("--out is for the picture of one video", "leave it out: pictures go to reports/")
    if not files:
        raise InputError(f"{first}: holds no video", f"known suffixes: {' '.join(sorted(VIDEO_SUFFIXES))}")
    run, path = None, settings.checkpoint
    if path is None:
        run, _, path = run_checkpoint(workspace, settings.run)
    found = open_checkpoint(path)
    window_s = found.clip_s if settings.window_s is None else settings.window_s
    if not _WINDOW_S[0] <= window_s <= _WINDOW_S[1]:
        raise UsageError(
            f"a window of {window_s:g} s cannot be looked at", f"give {_WINDOW_S[0]} to {_WINDOW_S[1]:g} s"
        )
    name = slug(first.stem if single else first.resolve().name)
    if len(settings.videos) > 1:
        name += f"-and-{len(settings.videos) - 1}-more"
    return PredictPlan(files, single, workspace.report(f"predict-{name}"), left_out, found, run, window_s)


def predict(workspace: Workspace, settings: PredictSettings, reporter: Reporter = SILENT) -> PredictResult:
    """Say what is danced in videos: the likeliest styles, and of long ones the course of styles.

    Every video is decoded once, in order. All is kept in `reports/predict-<name>/prediction.json`,
    from which videos that were seen before with the same weights and windows are taken.

    Args:
        workspace: where the run is, and the result goes.
        settings: what, and with what.
        reporter: in seconds of the video at hand.

    Raises:
        MediaError: the one video that was named cannot be read; of several, that is a row.
        InputError: a folder holds no video.
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
    saved = time.monotonic()
    for name, path in plan.files:
        videos.append(row := _row(session, before, name, path))
        if row["error"]:
            continue
        before[row["sha256"]] = row
        if settings.picture or len(row["windows"]) > 1:
            pictures.append(settings.picture or plan.folder / f"{slug(name)}.png")
            _draw(pictures[-1], row, plan.checkpoint.labels)
        if time.monotonic() - saved > _SAVE_EVERY_S:
            # Not to lose what an earlier call saw, should this one be stopped.
            reached = {video.get("sha256") for video in videos}
            later = [video for sha256, video in before.items() if sha256 not in reached]
            _save(file, _document(plan, [*videos, *later]))
            saved = time.monotonic()
    document = _document(plan, videos)
    _save(file, document)
    return PredictResult(document, file, tuple(pictures), plan.left_out, session.fresh)


class _Session:
    """The network, loaded when the first video needs it, and where it is."""

    def __init__(self, plan: PredictPlan, reporter: Reporter) -> None:
        self.plan, self.fresh, self._reporter = plan, 0, reporter
        self._predictor: Predictor | None = None

    def look(self, path: Path) -> tuple[list[Scored], FrameStream]:
        from dancecli.model.inference.predictor import Predictor, predict_windows

        if self._predictor is None:
            self._reporter.progress(0, 1, "loading the model · a few seconds")
            self._predictor = Predictor(self.plan.checkpoint)
        self.fresh += 1
        number, count = self.fresh, len(self.plan.files)
        of = f" · video {number} of {count}" if count > 1 else ""

        def on_progress(now: Progress) -> None:
            self._reporter.progress(now.done, now.total, now.text + of)

        return predict_windows(self._predictor, path, self.plan.window_s, Reporter(on_progress))


def _row(session: _Session, before: Mapping[str, dict[str, Any]], name: str, path: Path) -> dict[str, Any]:
    """Look at one video, or take what was seen before; of several videos a bad one is a row too."""
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
    if path.exists() and not path.is_file():
        raise MediaError(f"{path}: is not a file")
    try:
        return hashing.sha256_file(path)
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({error.strerror})") from None


def _facts(session: _Session, path: Path) -> dict[str, Any]:
    from dancecli.model.inference.timeline import mean_scores, segments

    windows, seen = session.look(path)
    labels, scores = session.plan.checkpoint.labels, mean_scores(windows)
    best = sorted(range(len(labels)), key=lambda i: (-scores[i], i))[:5]
    return {
        "fault": seen.fault,
        "seconds": round(seen.seconds, 3),
        "frames": seen.frames,
        "top5": [{"label": labels[i], "probability": round(scores[i], _DIGITS)} for i in best],
        "scores": [round(score, _DIGITS) for score in scores],
        "segments": [
            {
                "start_s": round(s.start_s, 3),
                "end_s": round(s.end_s, 3),
                "label": labels[s.label_index],
                "probability": round(s.probability, _DIGITS),
            }
            for s in segments(windows)
        ],
        "windows": [
            {
                "start_s": round(w.start_s, 3),
                "end_s": round(w.end_s, 3),
                "scores": [round(score, _DIGITS) for score in w.scores],
            }
            for w in windows
        ],
    }


def _document(plan: PredictPlan, videos: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "checkpoint": {"file": str(plan.checkpoint.path), "sha256": plan.checkpoint.sha256, "run": plan.run},
        "labels": list(plan.checkpoint.labels),
        "view_protocol": plan.checkpoint.protocol,
        "window_s": plan.window_s,
        "step_s": plan.window_s / 2,
        "videos": list(videos),
        "left_out": plan.left_out,
        "versions": rec.versions(),
    }


def _read_before(file: Path, plan: PredictPlan) -> dict[str, dict[str, Any]]:
    """What an earlier call saw with the same weights and windows, by the videos' checksums."""
    try:
        old = json.loads(file.read_text(encoding="utf-8"))
        same = old["schema"] == SCHEMA and old["window_s"] == plan.window_s
        if not same or old["checkpoint"]["sha256"] != plan.checkpoint.sha256:
            return {}
        return {video["sha256"]: video for video in old["videos"] if not video["error"]}
    except (OSError, ValueError, LookupError, TypeError):
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
