"""A trained network applied to frames of any video, as it was applied to the clips of its test subset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import ModelError
from dancecli.core.progress import Reporter
from dancecli.model.hardware.device import (
    clips_per_pass,
    current_device,
    half_precision,
    half_precision_pass,
    halve_if_too_large,
)
from dancecli.model.inference.timeline import Scored
from dancecli.model.inference.windows import FrameStream, Window, read_windows
from dancecli.model.networks.checkpoint import Checkpoint, build_network

if TYPE_CHECKING:
    from dancecli.model.inference.windows import Frame

# Steps that are done while the video is read.
_READING = ("ClipInit", "ClipDecode", "DecordInit", "DecordDecode", "Resize")


class Predictor:
    """A network with the views of its evaluation.

    Args:
        found: the checkpoint.

    Raises:
        ModelError: its network cannot be built.
    """

    def __init__(self, found: Checkpoint) -> None:
        from dancecli.model.dataloading.datasets import TRANSFORMS
        from dancecli.model.networks.mmaction import pseudo_collate

        self.labels = found.labels
        self._model = build_network(found.model, found.state, found.path)
        self._collate = pseudo_collate
        self._device = current_device()
        self._precision = half_precision(self._device) if found.amp else None
        kinds = [step["type"] for step in found.pipeline]
        try:
            steps = [TRANSFORMS.build(step) for step in found.pipeline]
            self._resize = steps[kinds.index("Resize")]
        except Exception as error:  # a step with wrong settings raises nearly anything
            raise ModelError(f"{found.path}: its views cannot be built ({error})") from None
        self._steps = [step for kind, step in zip(kinds, steps, strict=True) if kind not in _READING]

    def shrink(self, frame: Frame) -> Frame:
        """Resize a frame as the network wants it before cropping."""
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

    def per_pass(self, views: Any) -> int:
        """Choose how many stretches go through the network at once, by the size of one and the memory."""
        inputs = views["inputs"]
        # All axes but the channels, of which there are three.
        return clips_per_pass(inputs.numel() // 3, self._device)

    def score(self, views: Sequence[Any], name: str) -> list[tuple[float, ...]]:
        """Give the probabilities of the classes for stretches of a video, in one pass if they fit.

        Args:
            views: of each stretch, from `prepare`; all have one size.
            name: of the video, for messages.

        Raises:
            ModelError: its scores are not finite.
        """
        import torch

        def compute(some: list[Any]) -> list[Any]:
            return list(self._model.test_step(self._collate(some)))

        device = next(self._model.parameters()).device
        with torch.inference_mode(), half_precision_pass(self._precision, device):
            samples = halve_if_too_large(compute, list(views), lambda parts: [*parts[0], *parts[1]])
        return [_normalized(sample.pred_score.double().tolist(), name) for sample in samples]


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
    predictor: Predictor, path: Path, window_s: float, reporter: Reporter
) -> tuple[list[Scored], FrameStream]:
    """Score a video window by window, decoding it once.

    Args:
        predictor: the network.
        path: the video.
        window_s: length of a window; they begin half of that apart.
        reporter: in seconds of video.

    Raises:
        MediaError: it cannot be read.
    """
    stream = FrameStream()
    found: list[Scored] = []
    waiting: list[tuple[Window, Any]] = []

    def score() -> None:
        scored = predictor.score([views for _, views in waiting], path.name)
        found.extend(
            Scored(window.start_s, window.end_s, scores)
            for (window, _), scores in zip(waiting, scored, strict=True)
        )
        done = round(found[-1].end_s)
        waiting.clear()
        reporter.progress(done, max(done, round(stream.length_s)), f"predicting · {path.name}")

    for window in read_windows(path, window_s, predictor.shrink, stream):
        views = predictor.prepare(window.frames, stream.rate, path.name)
        # Where the picture changes its size on the way, the next pass begins.
        if waiting and views["inputs"].shape != waiting[0][1]["inputs"].shape:
            score()
        waiting.append((Window(window.start_s, window.end_s, []), views))
        if len(waiting) >= predictor.per_pass(views):
            score()
    if waiting:
        score()
    return found, stream
