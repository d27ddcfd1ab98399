"""BlazePose's person detector: where to start looking, and how many people there are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dancecli.video.pose.landmarks import Crop
from dancecli.video.pose.runtimes import LiteRtRuntime

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]
    Numbers = NDArray[np.float64]

_SIDE = 224
# Grids of anchors: stride in pixels, anchors in each cell.
_GRIDS = ((8, 2), (16, 2), (32, 6))
_SCORE = 0.5
# Boxes that overlap more are of one person (MediaPipe's value).
_OVERLAP = 0.3


class PersonDetector:
    """The detector.

    Args:
        weights: its `.tflite` file.

    Raises:
        MissingDependencyError: LiteRT is not installed.
        ModelError: the file is not the network.
    """

    def __init__(self, weights: Path) -> None:
        self._runtime = LiteRtRuntime(weights)
        self._anchors = _anchors()

    def find(self, picture: Picture) -> list[Crop]:
        """Find people in an RGB picture, the most certain first: a crop around each."""
        import cv2
        import numpy as np

        height, width = picture.shape[:2]
        scale = _SIDE / max(height, width)
        shift = (np.array([_SIDE, _SIDE]) - np.array([width, height]) * scale) / 2
        place = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        seen = cv2.warpAffine(picture, place, (_SIDE, _SIDE)).astype(np.float32) / 127.5 - 1
        boxes, logits = (output[0].astype(np.float64) for output in self._runtime.run(seen))
        scores = 1 / (1 + np.exp(-np.clip(logits[:, 0], -60, 60)))
        return [
            Crop.around((body[0] * _SIDE - shift) / scale, (body[1] * _SIDE - shift) / scale)
            for body in _bodies(boxes / _SIDE, scores, self._anchors)
        ]


def _anchors() -> Numbers:
    """Give the middles of all anchors, as shares of the picture: [2254, 2]."""
    import numpy as np

    middles = []
    for stride, count in _GRIDS:
        line = (np.arange(_SIDE // stride) + 0.5) * stride / _SIDE
        y, x = np.meshgrid(line, line, indexing="ij")
        middles.append(np.repeat(np.stack([x, y], axis=-1).reshape(-1, 2), count, axis=0))
    return np.concatenate(middles)


def _bodies(boxes: Numbers, scores: Numbers, anchors: Numbers) -> list[Numbers]:
    """Average the boxes of each person by their scores; give each one's four points, [4, 2].

    Args:
        boxes: [anchor, 12]: middle and size of the face, then four points, from the anchor.
        scores: [anchor].
        anchors: [anchor, 2].
    """
    import numpy as np

    kept = np.flatnonzero(scores >= _SCORE)
    order = kept[np.argsort(-scores[kept], kind="stable")]
    middles, halves = boxes[:, :2] + anchors, boxes[:, 2:4] / 2
    points = boxes[:, 4:].reshape(-1, 4, 2) + anchors[:, None]
    bodies = []
    while order.size:
        best = order[0]
        low = np.maximum(middles[order] - halves[order], middles[best] - halves[best])
        high = np.minimum(middles[order] + halves[order], middles[best] + halves[best])
        common = np.clip(high - low, 0, None).prod(axis=1)
        areas = (2 * halves[order]).prod(axis=1)
        same = common / np.maximum(areas + (2 * halves[best]).prod() - common, 1e-12) > _OVERLAP
        same[0] = True
        weights = scores[order[same]]
        bodies.append((points[order[same]] * weights[:, None, None]).sum(axis=0) / weights.sum())
        order = order[~same]
    return bodies
