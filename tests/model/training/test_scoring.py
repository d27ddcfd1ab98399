from __future__ import annotations

from types import SimpleNamespace

import pytest

from dancecli.core.errors import ModelError
from dancecli.core.progress import SILENT
from dancecli.core.recipe import Recipe
from dancecli.core.records import Prediction
from dancecli.model.dataloading.pipelines import frame_sampler
from dancecli.model.dataloading.split_data import Example
from dancecli.model.networks.base import INCEPTION
from dancecli.model.training.scoring import accuracy, predict_subset, views_record


def test_accuracy_ranks_the_true_class_behind_its_equals():
    scores = [(0.2, 0.5, 0.3, 0.0, 0.0, 0.0), (0.5, 0.5, 0.0, 0.0, 0.0, 0.0), (0.3, 0.2, 0.2, 0.1, 0.1, 0.1)]
    predictions = [
        Prediction("a", "test", 1, scores[0]),
        Prediction("b", "test", 1, scores[1]),  # second: a class with the same score comes first
        Prediction("c", "test", 5, scores[2]),  # sixth of six
    ]
    assert accuracy(predictions) == {"n": 3, "top1": 1, "top5": 2}
    assert accuracy([]) is None


class Model:
    def __init__(self, rows):
        self.rows = rows

    def eval(self):
        pass

    def parameters(self):
        return iter(self.rows)

    def test_step(self, batch):
        return [SimpleNamespace(pred_score=self.rows[i]) for i in batch]


def test_scores_stay_with_their_clips_and_sum_to_one():
    import torch

    rows = [torch.tensor([0.1, 0.9]), torch.tensor([0.7, 0.3]), torch.tensor([1 / 3, 2 / 3])]
    examples = [Example(f"c{i}", f"clips/c{i}.mp4", i % 2, "") for i in range(3)]
    found = predict_subset(Model(rows), [[0, 1], [2]], "val", examples, SILENT)
    assert [(p.clip_id, p.subset, p.label_index) for p in found] == [
        ("c0", "val", 0),
        ("c1", "val", 1),
        ("c2", "val", 0),
    ]
    assert [p.scores.index(max(p.scores)) for p in found] == [1, 0, 1]
    assert all(sum(p.scores) == pytest.approx(1, abs=1e-12) for p in found)
    rows[1] = torch.tensor([float("nan"), 0.3])
    with pytest.raises(ModelError, match="clip c1 are not finite"):
        predict_subset(Model(rows), [[0, 1], [2]], "val", examples, SILENT)


def test_the_protocol_says_clips_and_crops():
    recipe = Recipe(clip_len=16, frame_interval=2, short_side=128, crop=112, views=3)
    record = views_record(recipe, frame_sampler(INCEPTION, recipe), cached=True)
    assert record["test"] == "16x2 frames, 1 clip x 1 center crop 112, short side 128"
    assert record["train"] == "16x2 frames, random crop 112, flip, 3 cached views"
    recipe = Recipe(num_clips=10, num_crops=3)
    record = views_record(recipe, frame_sampler(INCEPTION, recipe), cached=False)
    assert record["test"] == "64x1 frames, 10 clips x 3 crops 256, short side 256"
    assert (record["clip_len"], record["crop"], record["num_crops"]) == (64, 256, 3)


def test_validation_while_training_counts_ties_as_evaluation_does() -> None:
    import numpy as np

    from dancecli.model.training.components import TopKAccuracy

    tied = np.full(6, 1 / 6)
    clear = np.array([0.5, 0.2, 0.1, 0.1, 0.05, 0.05])
    found = TopKAccuracy().calculate([tied, clear, clear], [0, 0, 4])
    # A tie of all counts against the model; the last two classes of `clear` tie for the fifth rank.
    assert (found["top1"], found["top5"]) == (1 / 3, 1 / 3)
