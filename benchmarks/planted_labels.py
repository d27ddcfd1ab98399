"""How many planted wrong labels `dance suspects` finds, and what accepting its queue is worth.

    dance demo --workspace demo && python -m benchmarks.planted_labels demo --repeats 100 [--styles FILE]

The videos whose labels the demo itself draws wrong are left out. In each repeat a share of the labels is
replaced at random, every clip is scored as `dance suspects` does by stored features, and the suspects are
counted against what was planted. In the first repeats (--retrain) every suggestion is taken, right or wrong,
and a cross-validation by groups, whose heads are solved as `dance finetune` does, is trained with the labels
before and after; both are held against the labels as they were, with the test of `dance compare`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dancecli.core.hashing import assign_folds
from dancecli.core.labels import LabelSet
from dancecli.core.records import Clip
from dancecli.demo.corpus import plan
from dancecli.demo.pipeline import DemoSettings
from dancecli.model.training.logistic import solve_head
from dancecli.report.statistics.label_noise import choose_suspects, fit_label_noise
from dancecli.report.statistics.significance import Paired, compare_models
from dancecli.storage import tables
from dancecli.storage.features import clip_features
from dancecli.storage.workspace import Workspace
from dancecli.suspects import score_left_out

FOLDS = 5


@dataclass(frozen=True)
class Repeat:
    """What one repeat gave.

    Attributes:
        rate, planted: the share of wrong labels, as estimated and as planted.
        listed: how many suspects there are.
        found: which share of the planted labels they are.
        false: which share of the suspects is right as labeled.
        right: which share of the suggestions for planted labels is the label as it was.
        gain: accuracy of the cross-validation after all suggestions were taken, minus that before; None
            if it was not trained.
        better: whether `dance compare` calls it better.
    """

    rate: float
    planted: float
    listed: int
    found: float
    false: float
    right: float
    gain: float | None
    better: bool


def cross_validate(
    x: torch.Tensor, labels: np.ndarray, folds: np.ndarray, groups: Sequence[str], classes: int
) -> np.ndarray:
    """Score every clip, [clips, classes], by a head that was solved without its fold."""
    scores = np.zeros((len(labels), classes))
    for fold in range(FOLDS):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        head = solve_head(x[train][:, None], torch.tensor(labels[train]), [groups[i] for i in train], classes)
        scores[test] = torch.softmax(x[test].double() @ head.weight.T + head.bias, 1).numpy()
    return scores


def retrain(
    x: torch.Tensor, labels: np.ndarray, accepted: np.ndarray, truth: np.ndarray, groups: list[str]
) -> Paired:
    """Compare the cross-validations of two sets of labels by the true ones."""
    folds, classes = np.array(assign_folds(labels.tolist(), groups, FOLDS)), int(truth.max()) + 1
    before, after = (cross_validate(x, y, folds, groups, classes).argmax(1) for y in (labels, accepted))
    return compare_models(before == truth, after == truth, groups)


def repeat(
    seed: int, x: torch.Tensor, truth: np.ndarray, groups: list[str], noise: float, most: float, train: bool
) -> Repeat:
    """Plant, look, and if asked accept and train again."""
    rng = np.random.default_rng(seed)
    classes = int(truth.max()) + 1
    bad = rng.random(len(truth)) < noise
    labels = np.where(bad, (truth + rng.integers(1, classes, len(truth))) % classes, truth)
    scores = score_left_out(x.numpy(), labels, np.unique(groups, return_inverse=True)[1])
    found = fit_label_noise(scores, labels)
    chosen = choose_suspects(found, most)
    hits = [i for i in chosen if bad[i]]
    accepted = labels.copy()
    accepted[chosen] = found.suggested[chosen]
    paired = retrain(x, labels, accepted, truth, groups) if train else None
    return Repeat(
        rate=found.rate,
        planted=bad.mean(),
        listed=len(chosen),
        found=len(hits) / max(1, bad.sum()),
        false=1 - len(hits) / len(chosen) if len(chosen) else 0.0,
        right=float(np.mean([found.suggested[i] == truth[i] for i in hits])) if hits else 1.0,
        gain=paired.difference if paired else None,
        better=bool(paired and paired.shown and paired.difference > 0),
    )


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--retrain", type=int, help="how many of them train again [default: all]")
    parser.add_argument("--noise", type=float, default=0.08)
    parser.add_argument("--max-false", type=float, default=0.2)
    parser.add_argument("--styles", type=Path, help="label file: only these styles")
    asked = parser.parse_args()
    workspace = Workspace(asked.workspace)
    clips = [clip for clip in tables.read(workspace.clips, Clip) if not clip.parent_id]
    stored = clip_features(workspace, {clip.clip_id: clip.sha256 for clip in clips})
    place = {clip_id: i for i, clip_id in enumerate(stored.clips)}
    wrong = {video.video_id for video in plan(DemoSettings().corpus) if video.is_mislabeled}
    clips = [clip for clip in clips if clip.clip_id in place and clip.video_id not in wrong]
    if asked.styles:
        clips = [clip for clip in clips if clip.label in LabelSet.read(asked.styles)]
    names = sorted({clip.label for clip in clips})
    x = torch.tensor(stored.values[[place[clip.clip_id] for clip in clips]])
    truth, groups = np.array([names.index(clip.label) for clip in clips]), [clip.video_id for clip in clips]
    retrained = asked.repeats if asked.retrain is None else asked.retrain
    repeats = [
        repeat(seed, x, truth, groups, asked.noise, asked.max_false, seed < retrained)
        for seed in range(asked.repeats)
    ]
    gains = [one for one in repeats if one.gain is not None]

    def mean(values: Sequence[float]) -> float:
        return round(float(np.mean(values)), 3)

    figures = {
        "clips": len(clips),
        "repeats": asked.repeats,
        "estimated_rate": mean([one.rate for one in repeats]),
        "planted_rate": mean([one.planted for one in repeats]),
        "listed": mean([one.listed for one in repeats]),
        "found": mean([one.found for one in repeats]),
        "repeats_that_found_80_percent": mean([one.found >= 0.8 for one in repeats]),
        "false_alarms": mean([one.false for one in repeats]),
        "repeats_that_held_the_rate": mean([one.false <= asked.max_false for one in repeats]),
        "suggestions_right": mean([one.right for one in repeats]),
        "retrained": len(gains),
        "gain_of_accepting": mean([one.gain for one in gains]) if gains else None,
        "repeats_called_better": mean([one.better for one in gains]) if gains else None,
    }
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
