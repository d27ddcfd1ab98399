"""A run's detector of clips of no class that it knows, fitted to its stored features; see `Detector`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dancecli.core.records import Subset
from dancecli.model.dataloading.split_data import subset_groups
from dancecli.model.networks.heads.unknown import AnyDetector, fit_detector, mean_vectors
from dancecli.model.networks.stages import LAST_STAGE
from dancecli.model.training.job import Job
from dancecli.model.training.probes.choice import folds_of
from dancecli.storage.files import save_torch

Fit = Callable[[Tensor, Tensor], AnyDetector]
# Stored features that are averaged at a time: tokens are large.
_ROWS = 256


def write_detector(job: Job, loaders: Mapping[Subset, Any]) -> None:
    """Fit the detector of a run, and write it with the distances of clips that it was not fitted to.

    These are the training clips, each from a detector of the other folds of a grouped cross-validation,
    and the validation clips. Each group is a unit of the calibration, and val alone has few: of 24 groups the
    95 % threshold is the largest distance. Nothing is written where the backbone is not wholly frozen.

    Args:
        job: the run.
        loaders: of its stored features.
    """
    if job.recipe.frozen_stages != LAST_STAGE:
        return
    examples, stored = job.data.examples[Subset.TRAIN], loaders[Subset.TRAIN].dataset
    # Of several views of a training clip each is a row.
    views = len(stored.places)
    features = _vectors(stored.array, [place for view in stored.places for place in view])
    labels = torch.tensor([example.label_index for example in examples]).repeat(views)
    held_out, groups_of_val = torch.empty(0, features.shape[1]), []
    if Subset.VAL in loaders:
        of_val = loaders[Subset.VAL].dataset
        held_out = _vectors(of_val.array, of_val.places[0])
        groups_of_val = subset_groups(job.workspace, job.data, Subset.VAL)
    groups = subset_groups(job.workspace, job.data)
    save_detector(job.folder.detector, features, labels, groups, held_out, groups_of_val)


def save_detector(
    path: Path,
    features: Tensor,
    labels: Tensor,
    groups: Sequence[str],
    of_val: Tensor,
    groups_of_val: Sequence[str],
    fit: Fit = fit_detector,
) -> None:
    """Fit a detector to training clips, and write it with the distances of clips that it was not fitted to.

    Args:
        path: of the file.
        features: of the training clips, [views x clips, channels], more than one clip.
        labels: of each row.
        groups: of each clip; their number divides that of the rows.
        of_val: features of other clips, [clips, channels].
        groups_of_val: of these.
        fit: fits a detector to features and labels.
    """
    views = len(features) // len(groups)
    distances = _held_out_distances(features, labels, list(groups) * views, fit).view(views, -1).mean(0)
    detector = fit(features, labels)
    every = [*groups, *groups_of_val]
    distances = torch.cat([distances, detector.distance(of_val)])
    known = (~distances.isnan()).nonzero()[:, 0].tolist()
    # As numbers: the file names no clip, so that a removed one need not be looked for in it.
    numbers = {group: i for i, group in enumerate(sorted(set(every)))}
    group_numbers = torch.tensor([numbers[every[i]] for i in known])
    save_torch(path, {"detector": detector.state, "groups": group_numbers, "distances": distances[known]})


def _held_out_distances(features: Tensor, labels: Tensor, groups: Sequence[str], fit: Fit) -> Tensor:
    """Give the distance of each row from detectors of other groups; NaN if its class is in no other group."""
    found = torch.full((len(features),), float("nan"), dtype=torch.double)
    fold_of = folds_of(labels, groups)
    if fold_of is None:
        return found
    for fold in range(int(fold_of.max()) + 1):
        inside = fold_of == fold
        detector = fit(features[~inside], labels[~inside])
        there = torch.isin(labels, labels[~inside])
        rows = inside & there
        if rows.any():
            found[rows] = detector.distance(features[rows])
    return found


def _vectors(array: Any, rows: Sequence[int]) -> Tensor:
    """Average each stored entry: [rows, channels]."""
    found = []
    for first in range(0, len(rows), _ROWS):
        part = torch.from_numpy(array[list(rows[first : first + _ROWS])]).float()
        found.append(mean_vectors(part.flatten(0, 1), len(part)))
    return torch.cat(found)
