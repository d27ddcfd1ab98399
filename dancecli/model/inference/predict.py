"""`predict`: the styles in a video, and when each is danced."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dancecli.core import hashing
from dancecli.core.errors import InputError, MediaError, UsageError, WorkspaceError
from dancecli.core.progress import SILENT, Progress, Reporter
from dancecli.core.text import shown, slug, unique_slugs, without_dots
from dancecli.core.video_files import VIDEO_SUFFIXES
from dancecli.model.dataloading.decoding.choice import AUTO, check_decoder, choose_decoder
from dancecli.model.dataloading.decoding.torchcodec_reader import FFMPEG
from dancecli.model.encoding.model_file import (
    SUFFIX,
    TrajectoryClassifier,
    TrajectoryFile,
    read_classifier,
)
from dancecli.model.hardware.device import current_device
from dancecli.model.inference.calibration import calibrate
from dancecli.model.inference.inputs import find_videos, frames_of
from dancecli.model.inference.reading import Reading
from dancecli.model.inference.timeline_files import Written, write_timeline
from dancecli.model.inference.training_clips import TrainingClips, read_training_clips
from dancecli.model.networks.checkpoint import Checkpoint, open_checkpoint, run_checkpoint
from dancecli.storage import runs as rec
from dancecli.storage.files import atomic_file, file_state
from dancecli.storage.workspace import PREDICTION, Workspace

if TYPE_CHECKING:
    from dancecli.model.encoding.tracking import TracksOf
    from dancecli.model.inference.predictor import PosesOf, Predictor

Item = TypeVar("Item")
SCHEMA = 1
# All frames of a window are held at once.
_WINDOW_S = (0.5, 600.0)
_SAVE_EVERY_S = 5.0


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
        tracks_of: opens a video for tracking, for a model of trajectories.
        processes: that share the videos; one per GPU, or on the CPU.
        decoder: of the videos, see `decoding.choice`.
    """

    videos: tuple[Path, ...]
    run: str | None = None
    checkpoint: Path | None = None
    window_s: float | None = None
    sets: float | None = None
    unknown: float | None = None
    picture: Path | None = None
    poses_of: PosesOf | None = None
    tracks_of: TracksOf | None = None
    processes: int = 1
    decoder: str = AUTO


@dataclass(frozen=True)
class PredictPlan:
    """What will be classified.

    Attributes:
        files: the videos, each with the name that it has in the result.
        inputs: what was named, as absolute paths.
        single: one file was named, so its failure is the command's.
        folders: where the result may go: into the first that no other command holds.
        left_out: files of the folders that are not videos.
        checkpoint: the network, or the model of trajectories.
        root: the workspace.
        reading: how the videos are read.
        training: what the run was trained on.
    """

    files: tuple[tuple[str, Path], ...]
    inputs: tuple[str, ...]
    single: bool
    folders: Callable[[], Iterator[Path]]
    left_out: int
    checkpoint: Checkpoint | TrajectoryFile
    run: str | None
    root: Path
    reading: Reading
    training: TrainingClips


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
        run, record, path = _file_of_run(workspace, settings.run)
    calibration = calibrate(workspace, run, record, settings.sets, settings.unknown)
    found = _open(path, settings)
    window_s = found.clip_s if settings.window_s is None else settings.window_s
    if not _WINDOW_S[0] <= window_s <= _WINDOW_S[1]:
        raise UsageError(
            f"a window of {window_s:g} s cannot be used", f"give {_WINDOW_S[0]} to {_WINDOW_S[1]:g} s"
        )
    inputs = tuple(shown(without_dots(path.absolute())) for path in settings.videos)
    name = slug(shown(first.stem if single else first.resolve().name))
    if len(settings.videos) > 1:
        name += f"-and-{len(settings.videos) - 1}-more"
    reading = Reading(path, window_s, calibration, settings.poses_of, settings.tracks_of)
    folders = partial(_folders, workspace, name, inputs, (run, found.sha256))
    training = read_training_clips(workspace, record)
    return PredictPlan(
        files, inputs, single, folders, left_out, found, run, workspace.root, reading, training
    )


def _file_of_run(workspace: Workspace, run: str | None) -> tuple[str, dict[str, Any], Path]:
    """Find the model of a run: a model of trajectories if it is named, else a network."""
    if run is not None:
        record = rec.read_record(workspace, run)
        path = rec.RunFolder(workspace.run(run)).trajectory_model
        if record.get("status") == rec.DONE and path.is_file():
            return run, record, path
    return run_checkpoint(workspace, run)


def _open(path: Path, settings: PredictSettings) -> Checkpoint | TrajectoryFile:
    """Read a model, and check that what it reads can be found.

    Raises:
        ModelError: the file is not a model.
        UsageError: nothing finds what it reads, or an option is for networks.
    """
    if path.suffix == SUFFIX:
        if settings.tracks_of is None:
            raise UsageError(f"{path}: is a model of trajectories", "say how points are tracked: tracks_of")
        if settings.processes > 1:
            raise UsageError(f"{path}: is a model of trajectories, which needs no GPU", "omit --gpus")
        check_decoder(settings.decoder, decoded=False)
        return read_classifier(path)
    found = open_checkpoint(path)
    if found.reads_poses and settings.poses_of is None:
        raise UsageError(f"{path}: its network reads poses", "say how they are found: poses_of")
    check_decoder(settings.decoder, decoded=not found.reads_poses)
    return found


def _folders(
    workspace: Workspace, name: str, inputs: Sequence[str], model: tuple[str | None, str]
) -> Iterator[Path]:
    """Yield the folders of what this run or file predicted of these videos, and those that are free.

    Other videos may have equal names, and what another run predicted of the same ones is kept.
    """
    for n in count(1):
        folder = workspace.report(f"predict-{name}" + (f"-{n}" if n > 1 else ""))
        found = _read_json(folder / PREDICTION)
        used = found.get("checkpoint") or {}
        same = found.get("inputs") == list(inputs) and (used.get("run"), used.get("sha256")) == model
        if _is_free(folder) or same:
            yield folder


def _is_free(folder: Path) -> bool:
    return not (folder / PREDICTION).exists()


@contextmanager
def _hold_folder(workspace: Workspace, plan: PredictPlan) -> Iterator[Path]:
    """Hold the folder where a result goes.

    Raises:
        WorkspaceError: another process is at work on the same videos.
    """
    with ExitStack() as held:
        for folder in plan.folders():
            was_free = _is_free(folder)
            try:
                held.enter_context(workspace.lock(folder.name))
            except WorkspaceError:
                if was_free:
                    continue
                raise
            # Another process may have written it until it was held.
            if was_free == _is_free(folder):
                break
        yield folder


def _read_json(file: Path) -> dict[str, Any]:
    """Read a document; empty if it is not one, so that it is written anew."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def predict(workspace: Workspace, settings: PredictSettings, reporter: Reporter = SILENT) -> PredictResult:
    """Predict the styles in videos: the likeliest of each, and of long ones a timeline.

    Every video is decoded once. Results are stored in `reports/predict-<name>/prediction.json`,
    from which those of the same videos, weights, windows and decoder are reused.

    Args:
        workspace: where the run is, and the result goes.
        settings: which videos and weights.
        reporter: in seconds of the video at hand.

    Raises:
        MediaError: the one video that was named cannot be read; of several, that is a row.
        InputError: a folder contains no video.
        UsageError: settings that exclude each other.
        ModelError: the checkpoint cannot be used.
        WorkspaceError: there is no run with weights, or another process is at work on the same videos.
    """
    plan = _with_decoder(make_plan(workspace, settings), settings.decoder)
    if words := plan.reading.decoder.words:
        reporter.message(words)
    with _hold_folder(workspace, plan) as folder:
        return _predict_into(folder, plan, settings, reporter)


def _predict_into(
    folder: Path, plan: PredictPlan, settings: PredictSettings, reporter: Reporter
) -> PredictResult:
    """Predict what is not in the folder's document yet, and write it; see `predict`."""
    file = folder / PREDICTION
    before = _read_before(file, plan)
    videos: dict[int, dict[str, Any]] = {}
    pictures: dict[int, Path] = {}
    timelines: dict[int, tuple[Path, ...]] = {}
    known = _read_timelines(file)
    fresh, saved = 0, time.monotonic()
    slugs = list(unique_slugs([name for name, _ in plan.files]))

    def save() -> None:
        # Keep the results of an earlier call too, should this one be stopped.
        reached = {video.get("sha256") for video in videos.values()}
        later = [video for sha256, video in before.items() if sha256 not in reached]
        _save(file, _document(plan, [*_in_order(videos), *later], known))

    try:
        for place, row, processed in _rows(plan, before, settings.processes, reporter):
            videos[place] = row
            row["stem"] = slugs[place]
            fresh += processed
            if row["error"]:
                continue
            row["trained_on"] = plan.training.of_video(plan.files[place][1], row["sha256"])
            if settings.picture or len(row["windows"]) > 1:
                pictures[place] = settings.picture or folder / f"{slugs[place]}.png"
                _draw(pictures[place], row, plan.checkpoint.labels)
            if len(row["windows"]) > 1:
                of, stem = plan.files[place][1], folder / slugs[place]
                written = write_timeline(stem, of, row["segments"], datetime.now(UTC), known)
                timelines[place] = written.files
                _say_what_stays(written, reporter)
            if time.monotonic() - saved > _SAVE_EVERY_S:
                save()
                saved = time.monotonic()
    except BaseException:
        if fresh:
            save()
        raise
    document = _document(plan, _in_order(videos), known)
    _save(file, document)
    drawn = [path for paths in _in_order(timelines) for path in paths]
    return PredictResult(document, file, tuple(_in_order(pictures)), tuple(drawn), plan.left_out, fresh)


def _say_what_stays(written: Written, reporter: Reporter) -> None:
    """Name the files that a person changed, those that do not agree with them, and the new timeline."""
    if not written.changed:
        return
    is_there = not set(written.files).isdisjoint(written.changed)
    names = ", ".join([shown(written.changed[0]), *(shown(path.name) for path in written.changed[1:])])
    words = [f"{names}: changed since dance wrote it, so it is kept"]
    if others := ", ".join(shown(path.name) for path in written.beside):
        verb = "hold" if len(written.beside) > 1 else "holds"
        words.append(f"{others} {verb} what was predicted{'' if is_there else ' before'}")
    if not is_there:
        words.append(f"the new timeline is {written.files[0].name}")
    reporter.message("; ".join(words))


def _with_decoder(plan: PredictPlan, asked: str) -> PredictPlan:
    if isinstance(plan.checkpoint, TrajectoryFile) or plan.checkpoint.reads_poses:
        return plan
    decoder = choose_decoder(asked, gpu=current_device().gpu)
    return replace(plan, reading=replace(plan.reading, decoder=decoder))


def _in_order(found: Mapping[int, Item]) -> list[Item]:
    return [found[place] for place in sorted(found)]


def _rows(
    plan: PredictPlan, before: Mapping[str, dict[str, Any]], processes: int, reporter: Reporter
) -> Iterator[tuple[int, dict[str, Any], bool]]:
    """Classify the videos, in any order: the place of each, its row, and whether it was processed now.

    Those with the bytes of another, or of an earlier call, have its result. Of several videos a failure is
    a row too.
    """
    places: dict[str, list[int]] = {}
    for place, (name, path) in enumerate(plan.files):
        reporter.progress(place, len(plan.files), "reading the videos")
        try:
            places.setdefault(_hash(path), []).append(place)
        except MediaError as error:
            yield place, _failed(plan, name, path, error), False
    pending = {of[0]: sha256 for sha256, of in places.items() if sha256 not in before}
    for sha256, of in places.items():
        if sha256 in before:
            yield from ((place, before[sha256] | _named(plan, place), False) for place in of)
    for first, facts in _scored(plan, list(pending), processes, reporter):
        sha256 = pending[first]
        for place in places[sha256]:
            if isinstance(facts, MediaError):
                yield place, _failed(plan, *plan.files[place], facts), place == first
            else:
                row = {**_named(plan, place), "sha256": sha256, "error": "", **facts}
                yield place, row, place == first


def _scored(
    plan: PredictPlan, places: Sequence[int], processes: int, reporter: Reporter
) -> Iterator[tuple[int, dict[str, Any] | MediaError]]:
    """Score the videos at these places, in this process or, if there are several, in as many as asked."""
    paths = [plan.files[place][1] for place in places]
    if processes > 1 and len(paths) > 1:
        from dancecli.model.inference.parallel import score_videos_in_processes

        for i, found in score_videos_in_processes(plan.root, plan.reading, paths, processes, reporter):
            yield places[i], found
        return
    if processes > 1 and paths:
        reporter.message("one process reads one video: the others have none")
    predictor: Predictor | TrajectoryClassifier | None = None
    for number, (place, path) in enumerate(zip(places, paths, strict=True), 1):
        from dancecli.model.inference.predictor import Predictor
        from dancecli.model.inference.video_facts import video_facts

        if predictor is None:
            reporter.progress(0, 1, "loading the model · a few seconds")
            model = plan.checkpoint
            if isinstance(model, TrajectoryFile):
                predictor = model.model
            else:
                predictor = Predictor(model, plan.reading.calibration)
        of = f" · video {number} of {len(paths)}" if len(paths) > 1 else ""

        def on_progress(now: Progress, of: str = of) -> None:
            reporter.progress(now.done, now.total, now.text + of)

        try:
            yield place, video_facts(predictor, plan.reading, path, Reporter(on_progress))
        except MediaError as error:
            yield place, error


def _named(plan: PredictPlan, place: int) -> dict[str, Any]:
    """Say which file a row is of: its name may be that of another one, in another folder."""
    name, path = plan.files[place]
    return {"file": name, "path": shown(without_dots(path.absolute())), "num_bytes": file_state(path)[0]}


def _failed(plan: PredictPlan, name: str, path: Path, error: MediaError) -> dict[str, Any]:
    """Give the row of a video that cannot be read; the only one that was named ends the command."""
    if plan.single:
        raise error
    return {"file": name, "error": shown(error.message.removeprefix(f"{path}: ")), "fault": ""}


def _hash(path: Path) -> str:
    if path.is_dir():
        text = "\n".join(f"{shown(file.name)} {_hash(file)}" for file in frames_of(path))
        return hashing.sha256_text(text)
    if path.exists() and not path.is_file():
        raise MediaError(f"{path}: is not a file")
    try:
        return hashing.sha256_file(path)
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({error.strerror})") from None


def _document(
    plan: PredictPlan, videos: Sequence[Mapping[str, Any]], timelines: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "checkpoint": {
            "file": shown(plan.checkpoint.path),
            "sha256": plan.checkpoint.sha256,
            "run": plan.run,
            "training_clips": plan.training.count,
        },
        "labels": list(plan.checkpoint.labels),
        "view_protocol": plan.checkpoint.protocol,
        "calibration": plan.reading.calibration.record,
        "window_s": plan.reading.window_s,
        "step_s": plan.reading.window_s / 2,
        "decoder": plan.reading.decoder.record | _left(plan, videos),
        "inputs": list(plan.inputs),
        "videos": list(videos),
        "left_out": plan.left_out,
        "timelines": dict(timelines),
        "versions": rec.versions(),
    }


def _left(plan: PredictPlan, videos: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Count the videos that torchcodec did not read."""
    if plan.reading.decoder.name == FFMPEG:
        return {}
    return {"left_to_ffmpeg": sum(video.get("decoder") == FFMPEG for video in videos)}


def _read_before(file: Path, plan: PredictPlan) -> dict[str, dict[str, Any]]:
    """Results of an earlier call with the same weights, windows and decoder, by the videos' checksums."""
    try:
        old = _read_json(file)
        same = old["schema"] == SCHEMA and old["window_s"] == plan.reading.window_s
        if not same or old["checkpoint"]["sha256"] != plan.checkpoint.sha256:
            return {}
        if old.get("calibration") != plan.reading.calibration.record:
            return {}
        if _reader(old["decoder"]) != _reader(plan.reading.decoder.record):
            return {}
        return {video["sha256"]: video for video in old["videos"] if not video["error"]}
    except (LookupError, TypeError):
        return {}


def _reader(decoder: Mapping[str, Any]) -> tuple[Any, ...]:
    """What of a decoder's record changes the frames that it gives."""
    return tuple(decoder.get(key) for key in ("name", "version", "device"))


def _read_timelines(file: Path) -> dict[str, str]:
    """Checksums of the timelines that earlier calls wrote, by file name."""
    found = _read_json(file).get("timelines")
    return found if isinstance(found, dict) else {}


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
