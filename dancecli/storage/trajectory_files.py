"""Storage format of trajectories, shared by the step that computes them and the models that read them.

The trajectories of a clip are one file, `<clip_id>.npz` below `trajectories/`: NumPy arrays, compressed,
without pickles, one row a trajectory, 16-bit floats. Of a clip with many a sample is stored.

    shape  [n, 30]   the steps, as shares of the way
    hog    [n, 96]   orientations of gradients
    hof    [n, 108]  orientations of flow
    mbhx   [n, 96]   orientations of the gradient of the flow to the right
    mbhy   [n, 96]   and of the flow down
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import InputError
from dancecli.core.video_files import beside

if TYPE_CHECKING:
    from typing import IO

    import numpy as np
    from numpy.typing import NDArray

    Descriptors = dict[str, NDArray[np.float32]]

FOLDER = "trajectories"
WIDTHS = {"shape": 30, "hog": 96, "hof": 108, "mbhx": 96, "mbhy": 96}
# What is not computed by the version that reads is not read.
_HINT = "remove it and train again: it is computed anew"


def trajectories_name(clip_id: str) -> str:
    """Return the file name of a clip's trajectories: `<clip_id>.npz`."""
    return f"{clip_id}.npz"


def trajectories_of(clip: Path) -> Path:
    """Return the path of a clip's trajectories, given the path of the clip's file."""
    return beside(clip, FOLDER, trajectories_name(clip.stem))


def no_descriptors() -> Descriptors:
    """Return the descriptors of a clip in which nothing moves, for each kind of `WIDTHS` [0, width]."""
    import numpy as np

    return {kind: np.zeros((0, width), np.float32) for kind, width in WIDTHS.items()}


def write_trajectories(file: IO[bytes], descriptors: Mapping[str, NDArray[np.float32]]) -> None:
    """Write descriptors in the stored form; the same ones give the same bytes.

    Args:
        file: to write to.
        descriptors: for each kind of `WIDTHS` an array [n, width].
    """
    import numpy as np

    kept: dict[str, Any] = {name: descriptors[name].astype(np.float16) for name in WIDTHS}
    np.savez_compressed(file, **kept)


def read_trajectories(path: Path) -> Descriptors:
    """Read the stored descriptors of a clip, for each kind of `WIDTHS` an array [n, width].

    Raises:
        InputError: the file is missing, or does not hold descriptors in the stored form.
    """
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as stored:
            found = {name: stored[name].astype(np.float32) for name in WIDTHS}
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError.at(path, None, f"holds no trajectories ({error})", _HINT) from None
    count = len(found["shape"])
    for name, width in WIDTHS.items():
        if found[name].shape != (count, width):
            raise InputError.at(path, None, f"{name} is {found[name].shape}, not ({count}, {width})", _HINT)
        if not np.isfinite(found[name]).all():
            raise InputError.at(path, None, f"a value of {name} is not a number", _HINT)
    return found
