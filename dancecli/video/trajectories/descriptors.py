"""What is around a point between two frames: histograms of gradients, of flow and of motion boundaries.

A neighborhood of 32 x 32 pixels has 2 x 2 cells; a cell has 8 orientations of the picture's gradient
(HOG), 8 of the flow and one for no flow (HOF), and 8 of the gradient of each component of the flow
(MBHx, MBHy). Each value is a sum over 16 x 16 pixels, of which every second one each way is looked at: it
changes next to nothing in sums over so many, and takes a quarter of the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Gray = NDArray[np.uint8]
    Field = NDArray[np.float32]
    Points = NDArray[np.float32]
    Values = NDArray[np.float32]

PATCH_PX = 32
_STEP = 2
_BINS = 8
# Of each cell, in this order; the zero bin of HOF is its last.
CELL_WIDTHS = {"hog": _BINS, "hof": _BINS + 1, "mbhx": _BINS, "mbhy": _BINS}
CELL_VALUES = sum(CELL_WIDTHS.values())
SPACE_CELLS, TIME_CELLS = 4, 3
# Slower than this a pixel does not move.
_STILL_PX = 0.4


def cell_sums(picture: Gray, field: Field) -> Values:
    """Sum up gradients and flow in a cell around every second pixel.

    Args:
        picture: the frame, [height, width].
        field: the flow from it to the next one, without the camera's motion, [height, width, 2].

    Returns:
        [height / 2, width / 2, 33], rounded up.
    """
    import cv2
    import numpy as np

    height, width = (-(-side // _STEP) for side in picture.shape)
    maps = np.zeros((height, width, CELL_VALUES), np.float32)
    u, v = (np.ascontiguousarray(field[..., i]) for i in (0, 1))
    start = 0
    for name, cells in CELL_WIDTHS.items():
        if name == "hof":
            x, y = u[::_STEP, ::_STEP], v[::_STEP, ::_STEP]
        else:
            of: Any = {"hog": picture, "mbhx": u, "mbhy": v}[name]
            x, y = (cv2.Sobel(of, cv2.CV_32F, dx, 1 - dx, ksize=1)[::_STEP, ::_STEP] for dx in (1, 0))
        _fill(maps, start, cells, np.ascontiguousarray(x), np.ascontiguousarray(y))
        start += cells
    side = PATCH_PX // 2 // _STEP
    # The stubs know of no kind of number.
    summed: Any = cv2.boxFilter(maps, -1, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)
    sums: Values = summed
    return sums


def _fill(maps: Values, start: int, cells: int, x: Values, y: Values) -> None:
    """Divide each vector's length between the two orientations next to it.

    Args:
        maps: zeros where it is to go, [height, width, 33].
        start: the first of the bins.
        cells: how many; a ninth one counts the vectors that are no motion.
        x: of each vector, [height, width].
        y: of the same.
    """
    import cv2
    import numpy as np

    length, angle = cv2.cartToPolar(x, y)
    if cells > _BINS:
        still = length < _STILL_PX
        maps[..., start + _BINS] = still
        length[still] = 0
    place = angle * np.float32(_BINS / (2 * np.pi))
    low = place.astype(np.intp)
    share = length * (place - low)
    # Places in the array as it lies in memory: less than half the time of three indices.
    first = np.arange(start, maps.size, maps.shape[-1]).reshape(x.shape)
    flat = maps.reshape(-1)
    flat[first + low % _BINS] = length - share
    flat[first + (low + 1) % _BINS] = share


def values_at(sums: Values, points: Points) -> Values:
    """Read the four cells around each point.

    Args:
        sums: as `cell_sums` gives them.
        points: [points, 2], x and y in pixels.

    Returns:
        [points, 4, 33].
    """
    import numpy as np

    # A box filter of even width reaches one pixel less to the right: left and right cells meet at the point.
    offset = PATCH_PX // 4 // _STEP
    places = np.rint(points / _STEP).astype(np.int64)
    x = (places[:, :1] + np.array([-offset, offset, -offset, offset])).clip(0, sums.shape[1] - 1)
    y = (places[:, 1:] + np.array([-offset, -offset, offset, offset])).clip(0, sums.shape[0] - 1)
    values: Values = sums[y, x]
    return values


def normalized(cells: Values) -> dict[str, Values]:
    """Make the descriptors of trajectories of the sums in their cells (RootSIFT: L1 norm 1, then the root).

    Args:
        cells: [trajectories, 3, 4, 33]: in time, in space, as `cell_sums` gives them.

    Returns:
        [trajectories, 96] for each of HOG, MBHx and MBHy, [trajectories, 108] for HOF.
    """
    import numpy as np

    found, start = {}, 0
    for name, width in CELL_WIDTHS.items():
        rows = cells[..., start : start + width].reshape(len(cells), TIME_CELLS * SPACE_CELLS * width)
        found[name] = np.sqrt(rows / np.maximum(rows.sum(axis=1, keepdims=True), np.float32(1e-6)))
        start += width
    return found
