"""What a run on poses knows of how its training clips move, by which clips of no known class are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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

    Clips with too few poses are left out. Nothing is written where fewer than two training clips are left.

    Args:
        workspace: whose poses.
        data: of the run.
        path: of the file.
        reporter: of progress in clips.
    """
    import numpy as np
    import torch

    from dancecli.model.networks.heads.unknown import fit_neighbors
    from dancecli.model.training.probes.unknown import save_detector

    columns = ("clip_id", "fps_num", "fps_den")
    rates = {clip: num / den for clip, num, den in tables.read_columns(workspace.clips, Clip, columns)}
    total = len(data.examples[Subset.TRAIN]) + len(data.examples[Subset.VAL])
    vectors, labels, groups = list[Any](), list[int](), list[str]()
    done = known = 0
    for subset in (Subset.TRAIN, Subset.VAL):
        for example, group in zip(data.examples[subset], subset_groups(workspace, data, subset), strict=True):
            file = pose_of(workspace.root / example.path)
            vector = movement_vector(read_pose(file), rates[example.clip_id]) if file.exists() else None
            if vector is not None:
                vectors.append(vector)
                labels.append(example.label_index)
                groups.append(group)
            done += 1
            reporter.progress(done, total, "movement")
        known = known or len(vectors)
    if known < 2:
        return
    x = torch.from_numpy(np.stack(vectors))
    fitted = torch.tensor(labels[:known])
    save_detector(path, x[:known], fitted, groups[:known], x[known:], groups[known:], fit_neighbors)
