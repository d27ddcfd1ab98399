"""How many planted wrong labels `dance suspects` finds, on the stored features of a workspace.

    dance demo --workspace demo && python -m benchmarks.planted_labels demo --repeats 100

Some labels of the demo are wrong before any is planted; those count as right here. In each repeat a share
of the labels is replaced at random; a cross-validation by groups, whose heads are solved as `dance
finetune` does, scores every clip; and the suspects are counted against what was planted.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from dancecli.core.hashing import assign_folds
from dancecli.core.records import Clip
from dancecli.model.training.features.store import DATA, NAMES, SHAPE
from dancecli.model.training.logistic import solve_head
from dancecli.report.statistics.label_noise import choose_suspects, fit_label_noise
from dancecli.storage import tables
from dancecli.storage.features import feature_folders
from dancecli.storage.workspace import Workspace

FOLDS = 5


def read_features(workspace: Workspace) -> dict[str, np.ndarray]:
    """One vector per clip, of the store that has the most clips: by id, [features]."""
    found: list[dict[str, np.ndarray]] = [{}]
    for folder in feature_folders(workspace):
        names = (folder / NAMES).read_text().splitlines()
        shape = json.loads((folder / SHAPE).read_text())
        rows = np.fromfile(folder / DATA, shape["dtype"]).reshape(len(names), -1).astype(np.float32)
        found.append({name.partition(".")[0]: row for name, row in zip(names, rows, strict=True)})
    return max(found, key=len)


def repeat(
    seed: int, x: torch.Tensor, truth: np.ndarray, groups: list[str], noise: float, most: float
) -> list[float]:
    """Plant and look: estimated and true rate, suspects, recall, false alarms, suggestions that are right."""
    rng = np.random.default_rng(seed)
    classes = int(truth.max()) + 1
    bad = rng.random(len(truth)) < noise
    labels = np.where(bad, (truth + rng.integers(1, classes, len(truth))) % classes, truth)
    folds = np.array(assign_folds(labels.tolist(), groups, FOLDS))
    scores = np.zeros((len(truth), classes))
    for fold in range(FOLDS):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        head = solve_head(x[train][:, None], torch.tensor(labels[train]), [groups[i] for i in train], classes)
        scores[test] = torch.softmax(x[test].double() @ head.weight.T + head.bias, 1).numpy()
    found = fit_label_noise(scores, labels)
    chosen = choose_suspects(found, most)
    hits = [i for i in chosen if bad[i]]
    return [
        found.rate,
        bad.mean(),
        len(chosen),
        len(hits) / max(1, bad.sum()),
        1 - len(hits) / max(1, len(chosen)),
        float(np.mean([found.suggested[i] == truth[i] for i in hits])) if hits else 1.0,
    ]


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--noise", type=float, default=0.08)
    parser.add_argument("--max-false", type=float, default=0.2)
    asked = parser.parse_args()
    workspace = Workspace(asked.workspace)
    stored = read_features(workspace)
    clips = [
        clip for clip in tables.read(workspace.clips, Clip) if clip.clip_id in stored and not clip.parent_id
    ]
    names = sorted({clip.label for clip in clips})
    x = torch.tensor(np.stack([stored[clip.clip_id] for clip in clips]))
    truth, groups = np.array([names.index(clip.label) for clip in clips]), [clip.video_id for clip in clips]
    figures = np.array(
        [repeat(seed, x, truth, groups, asked.noise, asked.max_false) for seed in range(asked.repeats)]
    )
    rate, planted, listed, recall, false, right = figures.mean(axis=0).round(3).tolist()
    held = float((figures[:, 4] <= asked.max_false).mean())
    print(
        json.dumps(
            {
                "clips": len(clips),
                "repeats": asked.repeats,
                "estimated_rate": rate,
                "planted_rate": planted,
                "listed": listed,
                "found": recall,
                "repeats_that_found_80_percent": float((figures[:, 3] >= 0.8).mean()),
                "false_alarms": false,
                "repeats_that_held_the_rate": held,
                "suggestions_right": right,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
