"""A run's detector of clips of no class that it knows, fitted to its stored features; see `Detector`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dancecli.core.records import Subset
from dancecli.model.dataloading.split_data import subset_groups
from dancecli.model.networks.heads.unknown import fit_detector, mean_vectors
from dancecli.model.networks.stages import LAST_STAGE
from dancecli.model.training.job import Job
from dancecli.model.training.probes.choice import folds_of
from dancecli.storage.files import save_torch

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
    groups = subset_groups(job.workspace, job.data)
    distances = _held_out_distances(features, labels, groups * views).view(views, -1).mean(0)
    detector = fit_detector(features, labels)
    if Subset.VAL in loaders:
        held_out = loaders[Subset.VAL].dataset
        groups += subset_groups(job.workspace, job.data, Subset.VAL)
        distances = torch.cat([distances, detector.distance(_vectors(held_out.array, held_out.places[0]))])
    known = (~distances.isnan()).nonzero()[:, 0].tolist()
    # As numbers: the file names no clip, so that a removed one need not be looked for in it.
    numbers = {group: i for i, group in enumerate(sorted(set(groups)))}
    group_numbers = torch.tensor([numbers[groups[i]] for i in known])
    save_torch(
        job.folder.detector,
        {"detector": detector.state, "groups": group_numbers, "distances": distances[known]},
    )


def _held_out_distances(features: Tensor, labels: Tensor, groups: Sequence[str]) -> Tensor:
    """Give the distance of each row from detectors of other groups; NaN if its class is in no other group."""
    found = torch.full((len(features),), float("nan"), dtype=torch.double)
    fold_of = folds_of(labels, groups)
    if fold_of is None:
        return found
    for fold in range(int(fold_of.max()) + 1):
        inside = fold_of == fold
        detector = fit_detector(features[~inside], labels[~inside])
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
