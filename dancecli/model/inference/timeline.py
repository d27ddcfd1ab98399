"""The timeline of a video: the scores of overlapping windows, smoothed into segments."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Cost of a change of style, in nats: a single stretch between two of another style is kept if it is
# 55 times likelier to be its own.
_SWITCH_COST = 2.0
_LEAST_PROBABILITY = 1e-6


@dataclass(frozen=True)
class Scored:
    """A window with its probabilities, one per class.

    Attributes:
        distance: from the classes that were trained on; 0 where it is not asked for.
    """

    start_s: float
    end_s: float
    scores: tuple[float, ...]
    distance: float = 0.0


@dataclass(frozen=True)
class Segment:
    """A stretch of one style.

    Attributes:
        start_s, end_s: its position, in seconds.
        label_index: the style.
        probability: its mean over the stretch.
    """

    start_s: float
    end_s: float
    label_index: int
    probability: float


def slots(windows: Sequence[Scored]) -> list[Scored]:
    """Cut the time at every window's ends; a slot's scores are the mean of the windows over it.

    Windows begin half a window apart, so that all but the ends are covered twice.
    """
    ends = sorted({time for window in windows for time in (window.start_s, window.end_s)})
    waiting, open_ = deque(sorted(windows, key=lambda window: window.start_s)), deque[Scored]()
    found = []
    for start, end in itertools.pairwise(ends):
        while waiting and waiting[0].start_s <= start:
            open_.append(waiting.popleft())
        while open_ and open_[0].end_s <= start:
            open_.popleft()
        if open_:
            scores = tuple(
                sum(values) / len(open_) for values in zip(*(w.scores for w in open_), strict=True)
            )
            found.append(Scored(start, end, scores))
    return found


def mean_distance(windows: Sequence[Scored], start_s: float = 0.0, end_s: float = math.inf) -> float:
    """Average the distances of the windows that overlap a stretch, of which there is at least one."""
    inside = [window.distance for window in windows if window.start_s < end_s and window.end_s > start_s]
    return sum(inside) / len(inside)


def segments(windows: Sequence[Scored]) -> list[Segment]:
    """Find the likeliest sequence of styles, where every change costs the same (Viterbi)."""
    parts = slots(windows)
    path = _likeliest(parts)
    found: list[Segment] = []
    begin = 0
    for i in range(1, len(parts) + 1):
        if i < len(parts) and path[i] == path[begin] and parts[i].start_s == parts[i - 1].end_s:
            continue
        run, label = parts[begin:i], path[begin]
        spans = [part.end_s - part.start_s for part in run]
        mean = sum(s * part.scores[label] for s, part in zip(spans, run, strict=True)) / sum(spans)
        found.append(Segment(run[0].start_s, run[-1].end_s, label, mean))
        begin = i
    return found


def mean_scores(parts: Sequence[Scored], start_s: float = 0.0, end_s: float = math.inf) -> tuple[float, ...]:
    """Average over the time of a stretch, so that what two windows cover does not count twice.

    Args:
        parts: the slots of all windows, see `slots`.
        start_s: where the stretch begins, in seconds.
        end_s: where it ends.
    """
    # A recording of hours has thousands of slots and of stretches.
    first = bisect_right(parts, start_s, key=lambda part: part.end_s)
    parts = parts[first : bisect_left(parts, end_s, key=lambda part: part.start_s)]
    total = sum(part.end_s - part.start_s for part in parts)
    return tuple(
        sum((part.end_s - part.start_s) * part.scores[i] for part in parts) / total
        for i in range(len(parts[0].scores))
    )


def _likeliest(parts: Sequence[Scored]) -> list[int]:
    import numpy as np

    logs = np.log(np.maximum([part.scores for part in parts], _LEAST_PROBABILITY))
    best: NDArray[np.float64] = logs[0]
    came_from = []
    for row in logs[1:]:
        change = best.max() - _SWITCH_COST
        came_from.append(np.where(best >= change, np.arange(len(best)), best.argmax()))
        best = np.maximum(best, change) + row
    path = [int(best.argmax())]
    for back in reversed(came_from):
        path.append(int(back[path[-1]]))
    return path[::-1]
