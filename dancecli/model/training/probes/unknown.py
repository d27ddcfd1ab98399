"""A run's detector of clips of no class that it knows, fitted to its stored features; see `Detector`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dancecli.core.records import Subset
from dancecli.model.networks.heads.unknown import fit_detector, mean_vectors
from dancecli.model.networks.stages import LAST_STAGE
from dancecli.model.training.job import Job
from dancecli.storage.files import save_torch

# Stored features that are averaged at a time: tokens are large.
_ROWS = 256


def write_detector(job: Job, loaders: Mapping[Subset, Any]) -> None:
    """Fit the detector of a run, and write it with the distances of the validation clips.

    Nothing is written where the backbone is not wholly frozen, or there is no validation subset.

    Args:
        job: the run.
        loaders: of its stored features.
    """
    val = job.data.examples[Subset.VAL]
    if job.recipe.frozen_stages != LAST_STAGE or not val or Subset.VAL not in loaders:
        return
    stored = loaders[Subset.TRAIN].dataset
    # Of several views of a training clip each is a row.
    rows = [place for view in stored.places for place in view]
    labels = torch.tensor([example.label_index for example in job.data.examples[Subset.TRAIN]])
    detector = fit_detector(_vectors(stored.array, rows), labels.repeat(len(stored.places)))
    held_out = loaders[Subset.VAL].dataset
    distances = detector.distance(_vectors(held_out.array, held_out.places[0]))
    content = {
        "detector": detector.state,
        "clips": [example.clip_id for example in val],
        "distances": distances,
    }
    save_torch(job.folder.detector, content)


def _vectors(array: Any, rows: Sequence[int]) -> Tensor:
    """Average each stored entry: [rows, channels]."""
    found = []
    for first in range(0, len(rows), _ROWS):
        part = torch.from_numpy(array[list(rows[first : first + _ROWS])]).float()
        found.append(mean_vectors(part.flatten(0, 1), len(part)))
    return torch.cat(found)
