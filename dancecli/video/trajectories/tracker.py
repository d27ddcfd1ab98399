"""Points of a clip, tracked through 15 frames at several scales, with their descriptors.

At each scale a grid of points 5 pixels apart is laid over each frame; where the picture has structure and
no point is being tracked, a new one starts. Points move with the optical flow, median-filtered. The
camera's motion is taken out of what is described, not out of the tracking. A trajectory is left out if
it hardly moves, if it jumps, or if it moves only as the camera does. Thresholds are those of Wang &
Schmid (2013) and their program, in pixels of the frame.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from dancecli.video.trajectories.camera import without_camera
from dancecli.video.trajectories.descriptors import (
    CELL_VALUES,
    PATCH_PX,
    SPACE_CELLS,
    TIME_CELLS,
    cell_sums,
    normalized,
    values_at,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Gray = NDArray[np.uint8]
    Field = NDArray[np.float32]
    Numbers = NDArray[np.float32]

LENGTH = 15
_APART_PX = 5
_SCALES, _SCALE_STEP = 8, 2**0.5
# Of the largest value in the frame: where the smaller eigenvalue of the structure is below, nothing can be
# tracked.
_LEAST_STRUCTURE = 0.001
# Standard deviation of the places: a trajectory with less in both directions stands still, one with more
# in any is an error.
_LEAST_SPREAD_PX, _LARGEST_SPREAD_PX = 3**0.5, 50.0
# A step that is both longer than this and more than this share of the way is an error.
_LARGEST_STEP_PX, _LARGEST_SHARE = 20.0, 0.7
# What never moves more than this beyond the camera's motion moves with the scene.
_CAMERA_PX = 1.0
# Progress after so many frames.
_REPORTED_EVERY = 25


@dataclass(frozen=True)
class Trajectories:
    """The trajectories of a clip, in the order of their last frames.

    Attributes:
        places: [trajectories, 16, 2], x and y in pixels of the frame.
        shape: [trajectories, 30], the steps without the camera's motion, as shares of the way.
        descriptors: for each of `hog`, `hof`, `mbhx`, `mbhy` an array of one row per trajectory.
    """

    places: Numbers
    shape: Numbers
    descriptors: dict[str, Numbers]


def track(
    pictures: Iterable[Gray],
    flow: Callable[[Gray, Gray], Field],
    mask_of: Callable[[int, tuple[int, int]], Gray] | None = None,
) -> Generator[int, None, Trajectories]:
    """Track the points of a clip and describe them.

    Args:
        pictures: its frames, [height, width], all of one size.
        flow: gives the flow between two of them.
        mask_of: gives, for the number of a frame and its shape, a mask that is 0 where people are.

    Yields:
        How many pairs of frames were done since the last time.

    Returns:
        What was found; nothing in a clip of fewer than 16 frames.
    """
    import cv2
    import numpy as np

    scales: list[_Scale] = []
    found: list[Trajectories] = []
    done = 0
    for number, (one, two) in enumerate(pairwise(pictures)):
        scales = scales or list(_scales(one.shape))
        computed = flow(one, two)
        moves: Any = np.dstack([cv2.medianBlur(np.ascontiguousarray(computed[..., i]), 3) for i in (0, 1)])
        rest = without_camera(one, moves, mask_of(number, one.shape) if mask_of else None)
        found += [scale.advance(one, moves, rest) for scale in scales]
        done += 1
        if done == _REPORTED_EVERY:
            yield done
            done = 0
    yield done
    return _joined(found)


def _scales(shape: tuple[int, ...]) -> Iterator[_Scale]:
    """Yield the scales of a frame: each smaller one in which two neighborhoods stand above each other."""
    height, width = shape
    for i in range(_SCALES):
        factor = _SCALE_STEP**i
        size = (round(width / factor), round(height / factor))
        if i and min(size) < 2 * PATCH_PX:
            return
        yield _Scale(size, factor)


@dataclass
class _Scale:
    """The points that are being tracked at one scale.

    Each has a slot, the same as long as it is tracked.

    Attributes:
        size: width and height of the frame at this scale.
        factor: pixels of the frame per pixel here.
        slots: those in use.
        age: steps that each slot's point has made.
        places: [slots, 16, 2], in pixels here.
        moves: [slots, 15, 2], without the camera's motion.
        cells: [slots, 3, 4, 33], sums of the descriptors.
    """

    size: tuple[int, int]
    factor: float
    slots: NDArray[np.int64] = field(init=False)
    age: NDArray[np.int64] = field(init=False)
    places: Numbers = field(init=False)
    moves: Numbers = field(init=False)
    cells: Numbers = field(init=False)

    def __post_init__(self) -> None:
        import numpy as np

        self.slots = np.zeros(0, np.int64)
        self.age = np.zeros(0, np.int64)
        self.places = np.zeros((0, LENGTH + 1, 2), np.float32)
        self.moves = np.zeros((0, LENGTH, 2), np.float32)
        self.cells = np.zeros((0, TIME_CELLS, SPACE_CELLS, CELL_VALUES), np.float32)

    def advance(self, picture: Gray, moves: Field, rest: Field) -> Trajectories:
        """Take all points a step further, and give back those that have made their last.

        Args:
            picture: the frame in its own size.
            moves: the flow from it to the next one.
            rest: the same without the camera's motion.
        """
        import numpy as np

        picture = self._resized(picture)
        moves, rest = (self._resized(one) / np.float32(self.factor) for one in (moves, rest))
        self._start(self._new_points(picture))
        slots, age = self.slots, self.age[self.slots]
        points = self.places[slots, age]
        x, y = np.rint(points).astype(np.int64).T
        cell = age * TIME_CELLS // LENGTH
        self.cells[slots, cell] += values_at(cell_sums(picture, rest), points)
        self.moves[slots, age] = rest[y, x]
        points = points + moves[y, x]
        self.places[slots, age + 1] = points
        self.age[slots] += 1
        inside = ((points > -0.5) & (points < np.array(self.size) - 0.5)).all(axis=1)
        whole = age + 1 == LENGTH
        self.slots = slots[inside & ~whole]
        return self._finished(slots[whole])

    def _resized(self, array: Any) -> Any:
        import cv2

        if array.shape[1::-1] == self.size:
            return array
        return cv2.resize(array, self.size, interpolation=cv2.INTER_AREA)

    def _new_points(self, picture: Gray) -> Numbers:
        """Give the points of the grid around which there is structure and nothing is tracked: [points, 2]."""
        import cv2
        import numpy as np

        width, height = (side // _APART_PX for side in self.size)
        free = np.ones((height, width), bool)
        at = self.places[self.slots, self.age[self.slots]]
        x, y = (at / _APART_PX).astype(np.int64).T
        free[y.clip(0, height - 1), x.clip(0, width - 1)] = False
        structure = cv2.cornerMinEigenVal(picture, 3)
        rows, columns = (np.arange(count) * _APART_PX + _APART_PX // 2 for count in (height, width))
        there = structure[rows][:, columns] > _LEAST_STRUCTURE * structure.max()
        found: Numbers = (np.argwhere(free & there)[:, ::-1] * _APART_PX + _APART_PX // 2).astype(np.float32)
        return found

    def _start(self, points: Numbers) -> None:
        """Give new points slots, those of finished ones first."""
        import numpy as np

        unused = np.ones(len(self.age), bool)
        unused[self.slots] = False
        lacking = len(points) - int(unused.sum())
        if lacking > 0:
            for name in ("age", "places", "moves", "cells"):
                old = getattr(self, name)
                more = np.zeros((max(lacking, len(old)), *old.shape[1:]), old.dtype)
                setattr(self, name, np.concatenate([old, more]))
            unused = np.concatenate([unused, np.ones(len(self.age) - len(unused), bool)])
        slots = np.flatnonzero(unused)[: len(points)]
        self.age[slots] = 0
        self.places[slots, 0] = points
        self.cells[slots] = 0
        self.slots = np.concatenate([self.slots, slots])

    def _finished(self, slots: NDArray[np.int64]) -> Trajectories:
        import numpy as np

        places, moves = (array[slots] * np.float32(self.factor) for array in (self.places, self.moves))
        kept = is_kept(places, moves)
        moves, way = moves[kept], np.linalg.norm(moves[kept], axis=2).sum(axis=1)
        return Trajectories(
            places[kept],
            (moves / way[:, None, None]).reshape(len(moves), 2 * LENGTH),
            normalized(self.cells[slots[kept]]),
        )


def is_kept(places: Numbers, moves: Numbers) -> NDArray[np.bool_]:
    """Tell which trajectories are neither still nor erratic nor the camera's.

    Args:
        places: [trajectories, 16, 2] in pixels of the frame.
        moves: [trajectories, 15, 2], the steps without the camera's motion.
    """
    import numpy as np

    spread = places.std(axis=1)
    steps = np.linalg.norm(np.diff(places, axis=1), axis=2)
    largest = steps.max(axis=1)
    jumps = (largest > _LARGEST_STEP_PX) & (largest > _LARGEST_SHARE * steps.sum(axis=1))
    own = np.linalg.norm(moves, axis=2).max(axis=1)
    kept: NDArray[np.bool_] = (
        (spread > _LEAST_SPREAD_PX).any(axis=1)
        & (spread < _LARGEST_SPREAD_PX).all(axis=1)
        & ~jumps
        & (own > _CAMERA_PX)
    )
    return kept


def _joined(found: list[Trajectories]) -> Trajectories:
    import numpy as np

    if not found:
        empty = np.zeros((0, LENGTH + 1, 2), np.float32)
        cells = np.zeros((0, TIME_CELLS, SPACE_CELLS, CELL_VALUES), np.float32)
        return Trajectories(empty, np.zeros((0, 2 * LENGTH), np.float32), normalized(cells))
    names = found[0].descriptors
    return Trajectories(
        np.concatenate([one.places for one in found]),
        np.concatenate([one.shape for one in found]),
        {name: np.concatenate([one.descriptors[name] for one in found]) for name in names},
    )
