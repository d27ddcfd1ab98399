"""Which clips move alike: the movement of every clip with stored poses, computed once and kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dancecli.app.explore.kept import read_arrays, write_arrays
from dancecli.app.likeness import Likeness
from dancecli.core.errors import InputError, WorkspaceError
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import ClipPose
from dancecli.core.statistics.vectors import normalize, shorten
from dancecli.model.encoding.movement import VERSION, movement_vector
from dancecli.storage import tables
from dancecli.storage.pose_files import read_pose
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Known = dict[str, tuple[str, npt.NDArray[np.float32]]]

# A program that is stopped has lost no more than the work on so many clips.
_SAVED_EVERY = 2000
# No measure counts more than this, in standard deviations.
_FARTHEST = 4.0


def load_movement(
    workspace: Workspace, clips: Mapping[str, tuple[str, float]], reporter: Reporter = SILENT
) -> Likeness:
    """Load how the main dancers of clips move; what is not stored yet is computed, and stored.

    Args:
        workspace: whose poses.
        clips: checksum of its file and frame rate of each clip; poses of an earlier file are left out.
        reporter: progress, in clips.

    Raises:
        WorkspaceError: fewer than two clips have poses.
        OSError: the disk is full or read-only.
    """
    import numpy as np
    import pandas as pd

    wanted = _poses_of(workspace, clips)
    known = {i: (of, vector) for i, (of, vector) in _read(workspace).items() if wanted.get(i, ("",))[0] == of}
    missing = [clip_id for clip_id in wanted if clip_id not in known]
    empty = np.zeros(0, np.float32)
    for done, clip_id in enumerate(missing, start=1):
        sha256, path = wanted[clip_id]
        try:
            vector = movement_vector(read_pose(workspace.root / path), clips[clip_id][1])
        except InputError:
            # `dance verify` names it; here the clip has no poses.
            vector = None
        known[clip_id] = (sha256, empty if vector is None else vector.astype(np.float32))
        if done % _SAVED_EVERY == 0 or done == len(missing):
            _write(workspace, known)
        reporter.progress(done, len(missing))
    ids = sorted(clip_id for clip_id, (_, vector) in known.items() if len(vector))
    if len(ids) < 2:
        raise WorkspaceError(
            f"{workspace.root}: no poses are stored, by which movement could be compared", "run dance pose"
        )
    return Likeness("movement", pd.Index(ids), _scaled(np.stack([known[clip_id][1] for clip_id in ids])))


def _poses_of(workspace: Workspace, clips: Mapping[str, tuple[str, float]]) -> dict[str, tuple[str, str]]:
    """Return checksum and path of the poses of each clip that has some of its present file."""
    if not workspace.poses.exists():
        return {}
    columns = ("clip_id", "of_sha256", "sha256", "path")
    return {
        clip_id: (sha256, path)
        for clip_id, of, sha256, path in tables.read_columns(workspace.poses, ClipPose, columns)
        if path and clips.get(clip_id, ("",))[0] == of
    }


def _scaled(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Give each measure the same weight, by its spread over the clips, shorten, and give each length 1."""
    import numpy as np

    spread = vectors.std(axis=0)
    scaled: Any = (vectors - np.median(vectors, axis=0)) / np.where(spread > 1e-6, spread, 1)
    return normalize(shorten(np.clip(scaled, -_FARTHEST, _FARTHEST).astype(np.float32)))


def _read(workspace: Workspace) -> Known:
    """Read what is stored; nothing if there is no file of this version, or it is damaged."""
    import numpy as np

    stored = read_arrays(workspace.app_cache(f"{VERSION}.npz"), "clips", "of", "lengths", "values")
    if stored is None:
        return {}
    ids, sums, lengths, values = stored
    pieces = np.split(values, np.cumsum(lengths)[:-1]) if len(lengths) else []
    return {str(i): (str(of), piece) for i, of, piece in zip(ids, sums, pieces, strict=True)}


def _write(workspace: Workspace, known: Known) -> None:
    import numpy as np

    write_arrays(
        workspace.app_cache(f"{VERSION}.npz"),
        clips=np.array(list(known)),
        of=np.array([of for of, _ in known.values()]),
        lengths=np.array([len(vector) for _, vector in known.values()]),
        values=np.concatenate([vector for _, vector in known.values()]),
    )
