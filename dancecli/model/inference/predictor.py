"""A trained network applied to frames of any video, as it was applied to the clips of its test subset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import ModelError
from dancecli.core.progress import Reporter
from dancecli.core.statistics.calibration import tempered
from dancecli.model.dataloading.decoding.choice import OWN, Decoder
from dancecli.model.dataloading.pose import drawn_skeletons, skeletons
from dancecli.model.encoding.model_file import TrajectoryClassifier
from dancecli.model.encoding.tracking import TracksOf
from dancecli.model.hardware.device import (
    clips_per_pass,
    current_device,
    half_precision,
    half_precision_pass,
    halve_if_too_large,
)
from dancecli.model.inference.calibration import UNCALIBRATED, Calibration
from dancecli.model.inference.timeline import Scored
from dancecli.model.inference.windows import (
    FrameStream,
    TorchcodecFailedError,
    Window,
    cut_windows,
    read_windows,
)
from dancecli.model.networks.checkpoint import Checkpoint, build_network
from dancecli.storage.pose_files import Pose, stretch

if TYPE_CHECKING:
    from dancecli.model.inference.windows import Frame

# Finds the poses of a video; also gives its frames a second. It raises a `MediaError` where it finds nobody.
PosesOf = Callable[[Path], tuple[Pose, float]]

# Steps that are done while the video is read.
_READING = ("ClipInit", "ClipDecode", "DecordInit", "DecordDecode", "Resize")
# Of a network on poses, those that are done by whoever finds the poses.
_POSE_READING = ("ClipInit", "DecordInit", "PoseInit", "DrawPoses")


class Predictor:
    """A network with the views of its evaluation.

    Args:
        found: the checkpoint.
        calibration: its temperature is applied, and its detector asked.

    Raises:
        ModelError: its network cannot be built.
    """

    def __init__(self, found: Checkpoint, calibration: Calibration = UNCALIBRATED) -> None:
        from dancecli.model.dataloading.datasets import TRANSFORMS
        from dancecli.model.networks.mmaction import pseudo_collate

        self.labels, self.reads_poses = found.labels, found.reads_poses
        self._model = build_network(found.model, found.state, found.path)
        self._calibration = calibration
        self._output: Any = None
        # Those of poses are found by how people move, and not by what the network makes of it.
        self._of_features = None if found.reads_poses else calibration.detector
        if self._of_features:
            self._model.cls_head.register_forward_pre_hook(self._keep_output)
        self._collate = pseudo_collate
        self._device = current_device()
        self._precision = half_precision(self._device) if found.amp else None
        kinds = [step["type"] for step in found.pipeline]
        done = _POSE_READING if found.reads_poses else _READING
        self._drawn = "DrawPoses" in kinds
        try:
            steps = [TRANSFORMS.build(step) for step in found.pipeline]
            self._resize = None if found.reads_poses else steps[kinds.index("Resize")]
        except Exception as error:  # a step with wrong settings raises nearly anything
            raise ModelError(f"{found.path}: its views cannot be built ({error})") from None
        self._steps = [step for kind, step in zip(kinds, steps, strict=True) if kind not in done]

    def shrink(self, frame: Frame) -> Frame:
        """Resize a frame as the network wants it before cropping."""
        assert self._resize is not None  # noqa: S101 - for the type checker; only poses are not resized
        results = self._resize({"imgs": [frame], "img_shape": frame.shape[:2], "modality": "RGB"})
        small: Frame = results["imgs"][0]
        return small

    def prepare(self, frames: Sequence[Frame], rate: float, name: str) -> Any:
        """Give the views of a stretch of video, as the network takes them.

        Args:
            frames: all of it, shrunk.
            rate: of these, frames a second.
            name: of the video, for messages.
        """
        sampler, *rest = self._steps
        shape = frames[0].shape[:2]
        facts = {"total_frames": len(frames), "start_index": 0, "avg_fps": rate}
        results = sampler({**facts, "filename": name, "modality": "RGB"})
        results["imgs"] = [_of_shape(frames[i], shape) for i in results["frame_inds"].ravel()]
        results |= {"img_shape": shape, "original_shape": shape}
        for step in rest:
            results = step(results)
        return results

    def prepare_poses(self, pose: Pose, rate: float, name: str) -> Any:
        """Give the views of a stretch of video whose poses are known.

        Args:
            pose: of all of it.
            rate: frames a second.
            name: of the video, for messages.
        """
        facts = {"total_frames": pose.total_frames, "start_index": 0, "avg_fps": rate, "filename": name}
        results: Any = facts | ({"modality": "RGB"} if self._drawn else skeletons(pose))
        steps = list(self._steps)
        if self._drawn:
            results = steps.pop(0)(results)
            results |= drawn_skeletons(pose, results["frame_inds"].ravel().tolist())
        for step in steps:
            results = step(results)
        return results

    def distance_of_movement(self, pose: Pose, rate: float) -> float:
        """Compute how far the movement of a stretch of video is from that of the training clips.

        Args:
            pose: of all of it.
            rate: frames a second.

        Returns:
            The distance, the largest where there are too few poses; 0 without a detector.
        """
        detector = self._calibration.detector
        if not detector:
            return 0.0
        import torch

        from dancecli.model.encoding.movement import movement_vector
        from dancecli.model.networks.heads.unknown import FARTHEST

        vector = movement_vector(pose, rate)
        return FARTHEST if vector is None else float(detector.distance(torch.from_numpy(vector)[None]))

    def per_pass(self, views: Any) -> int:
        """Choose how many stretches go through the network at once, by the size of one and the memory."""
        inputs = views["inputs"]
        # All axes but the channels, of which there are three.
        return clips_per_pass(inputs.numel() // 3, self._device)

    def _keep_output(self, _: Any, inputs: tuple[Any, ...]) -> None:
        self._output = inputs[0]

    def score(self, views: Sequence[Any], name: str) -> list[tuple[tuple[float, ...], float]]:
        """Give the probabilities and the distance of stretches of a video, in one pass if they fit.

        Args:
            views: of each stretch, from `prepare`; all have one size.
            name: of the video, for messages.

        Returns:
            For each stretch its probabilities, and its distance from the classes; 0 without a detector of
            features.

        Raises:
            ModelError: its scores are not finite.
        """
        import torch

        def compute(some: list[Any]) -> list[Any]:
            samples = self._model.test_step(self._collate(some))
            return list(zip(samples, self._distances(len(some)), strict=True))

        device = next(self._model.parameters()).device
        with torch.inference_mode(), half_precision_pass(self._precision, device):
            found = halve_if_too_large(compute, list(views), lambda parts: [*parts[0], *parts[1]])
        temperature = self._calibration.temperature
        return [
            (tempered(_normalized(sample.pred_score.double().tolist(), name), temperature), distance)
            for sample, distance in found
        ]

    def _distances(self, clips: int) -> list[float]:
        """Compute the distances of the clips that went through the network last."""
        if not self._of_features:
            return [0.0] * clips
        from dancecli.model.networks.heads.unknown import clip_features

        features = clip_features(self._model.cls_head, self._output, clips)
        distances: list[float] = self._of_features.distance(features.cpu()).tolist()
        return distances


def _normalized(scores: Sequence[float], name: str) -> tuple[float, ...]:
    total = sum(scores)
    if not total > 0:
        raise ModelError(
            f"{name}: the network gave no finite probabilities", "check that the checkpoint is complete"
        )
    return tuple(value / total for value in scores)


def _of_shape(frame: Frame, shape: tuple[int, ...]) -> Frame:
    """A frame as it is, or, where a stream changes its size on the way, in that of the first."""
    if frame.shape[:2] == shape:
        return frame
    import cv2

    return cv2.resize(frame, shape[::-1]).astype(frame.dtype)


def predict_windows(
    predictor: Predictor, path: Path, window_s: float, reporter: Reporter, decoder: Decoder = OWN
) -> tuple[list[Scored], FrameStream]:
    """Score a video window by window, decoding it once; again from its start where torchcodec gives up.

    Args:
        predictor: the network.
        path: the video.
        window_s: length of a window; they begin half of that apart.
        reporter: in seconds of video.
        decoder: of the video.

    Raises:
        MediaError: it cannot be read.
    """
    stream = FrameStream()
    windows = (
        (window, predictor.prepare(window.frames, stream.rate, path.name))
        for window in read_windows(path, window_s, predictor.shrink, stream, decoder)
    )
    try:
        return _scored(predictor, windows, path.name, stream, reporter), stream
    except TorchcodecFailedError:
        return predict_windows(predictor, path, window_s, reporter)


def predict_pose_windows(
    predictor: Predictor, path: Path, window_s: float, poses_of: PosesOf, reporter: Reporter
) -> tuple[list[Scored], FrameStream]:
    """Score a video window by window by the poses of its people; see `predict_windows`.

    Args:
        predictor: of a network on poses.
        path: the video.
        window_s: length of a window.
        poses_of: finds the poses of a video.
        reporter: in seconds of video.

    Raises:
        MediaError: it cannot be read, or nobody is found in it.
    """
    reporter.progress(0, 1, f"finding poses · {path.name}")
    pose, rate = poses_of(path)
    stream = FrameStream(pose.total_frames / rate, pose.total_frames, pose.total_frames / rate, rate)
    frames = ((i / rate, (i + 1) / rate, i) for i in range(pose.total_frames))
    distances: list[float] = []

    def windows() -> Iterator[tuple[Window[Any], Any]]:
        for window in cut_windows(frames, window_s):
            part = stretch(pose, window.frames[0], len(window.frames))
            distances.append(predictor.distance_of_movement(part, rate))
            yield window, predictor.prepare_poses(part, rate, path.name)

    found = _scored(predictor, windows(), path.name, stream, reporter)
    return [replace(one, distance=far) for one, far in zip(found, distances, strict=True)], stream


def predict_tracked_windows(
    model: TrajectoryClassifier,
    path: Path,
    window_s: float,
    tracks_of: TracksOf,
    calibration: Calibration,
    reporter: Reporter,
) -> tuple[list[Scored], FrameStream]:
    """Score a video window by window by its trajectories; see `predict_windows`.

    Args:
        model: of trajectories.
        path: the video.
        window_s: length of a window.
        tracks_of: opens a video for tracking.
        calibration: its temperature is applied, and its detector asked.
        reporter: in seconds of video.

    Raises:
        MediaError: it cannot be read.
    """
    video = tracks_of(path, model.method)
    seconds = video.num_frames / video.rate
    found = []
    for window in cut_windows(video.frames(), window_s):
        vector = model.encoder.encode(video.describe(window.frames))
        scores = tempered(model.score_encoded(vector), calibration.temperature)
        found.append(Scored(window.start_s, window.end_s, scores, _distance(calibration, vector)))
        reporter.progress(round(window.end_s), max(1, round(seconds)), f"predicting · {path.name}")
    return found, FrameStream(seconds, video.num_frames, seconds, video.rate)


def _distance(calibration: Calibration, vector: Any) -> float:
    """Compute the distance of an encoded clip from the classes; 0 without a detector."""
    if not calibration.detector:
        return 0.0
    import torch

    return float(calibration.detector.distance(torch.from_numpy(vector)[None]))


def _scored(
    predictor: Predictor,
    windows: Iterable[tuple[Window[Any], Any]],
    name: str,
    stream: FrameStream,
    reporter: Reporter,
) -> list[Scored]:
    """Score windows with their views, as many at once as fit."""
    found: list[Scored] = []
    waiting: list[tuple[Window[Any], Any]] = []

    def score() -> None:
        scored = predictor.score([views for _, views in waiting], name)
        found.extend(
            Scored(window.start_s, window.end_s, *one)
            for (window, _), one in zip(waiting, scored, strict=True)
        )
        done = round(found[-1].end_s)
        waiting.clear()
        reporter.progress(done, max(done, round(stream.length_s)), f"predicting · {name}")

    for window, views in windows:
        # Where the picture changes its size on the way, the next pass begins.
        if waiting and views["inputs"].shape != waiting[0][1]["inputs"].shape:
            score()
        waiting.append((Window(window.start_s, window.end_s, []), views))
        if len(waiting) >= predictor.per_pass(views):
            score()
    if waiting:
        score()
    return found
