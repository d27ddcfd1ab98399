"""What a run on poses knows of how its training clips move, by which clips of no known class are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dancecli.core.errors import InputError
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import Clip, Subset
from dancecli.model.dataloading.split_data import SplitData, subset_groups
from dancecli.model.encoding.movement import movement_vector
from dancecli.storage import tables
from dancecli.storage.pose_files import pose_of, read_pose
from dancecli.storage.workspace import Workspace


def write_movement_detector(
    workspace: Workspace, data: SplitData, path: Path, reporter: Reporter = SILENT
) -> None:
    """Fit the detector of a run on poses to how the training clips move, and write it; see `save_detector`.

    A clip with too few poses to move is as far as can be, as it is in prediction. Clips without poses, which
    prediction refuses, are left out. Where fewer than two training clips move, there is no detector.

    Args:
        workspace: whose poses.
        data: of the run.
        path: of the file; what is there is replaced.
        reporter: of progress in clips.
    """
    import numpy as np
    import torch

    from dancecli.model.networks.heads.unknown import fit_neighbors
    from dancecli.model.training.probes.unknown import save_detector

    path.unlink(missing_ok=True)
    columns = ("clip_id", "fps_num", "fps_den")
    rates = {clip: num / den for clip, num, den in tables.read_columns(workspace.clips, Clip, columns)}
    total = len(data.examples[Subset.TRAIN]) + len(data.examples[Subset.VAL])
    vectors, labels, groups = list[Any](), list[int](), list[str]()
    done = of_train = 0
    for subset in (Subset.TRAIN, Subset.VAL):
        for example, group in zip(data.examples[subset], subset_groups(workspace, data, subset), strict=True):
            file = pose_of(workspace.root / example.path)
            if file.exists() and example.clip_id in rates:
                vectors.append(_vector(file, rates[example.clip_id]))
                labels.append(example.label_index)
                groups.append(group)
            done += 1
            reporter.progress(done, total, "movement")
        of_train = len(vectors) if subset is Subset.TRAIN else of_train
    moving = [vector for vector in vectors[:of_train] if vector is not None]
    if len(moving) < 2:
        return
    nothing = np.full_like(moving[0], np.nan)
    x = torch.from_numpy(np.stack([nothing if vector is None else vector for vector in vectors]))
    known, rest = torch.tensor(labels[:of_train]), groups[of_train:]
    save_detector(path, x[:of_train], known, groups[:of_train], x[of_train:], rest, fit_neighbors)


def _vector(file: Path, rate: float) -> Any:
    try:
        return movement_vector(read_pose(file), rate)
    except InputError:
        # `dance verify` names it; here the clip does not move.
        return None
