"""What probes have in common: the held-out clips by which they choose, and their calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dancecli.core.hashing import INNER_FOLDS, assign_folds
from dancecli.core.statistics.calibration import TEMPERATURES


@dataclass(frozen=True)
class Choice:
    """How the settings of a probe were chosen.

    Attributes:
        folds: 0 if there were too few groups, and nothing was chosen.
        held_out: clips that were scored by a probe that had not seen their group.
        correct: those of them that were classified correctly.
        temperature: the logits are divided by it (Guo et al., ICML 2017); chosen on the same clips.
    """

    folds: int = 0
    held_out: int = 0
    correct: int = 0
    temperature: float = 1.0

    @property
    def record(self) -> dict[str, Any]:
        """What `run.json` says of it."""
        return {
            "temperature": round(self.temperature, 4),
            "folds": self.folds,
            "held_out": {"n": self.held_out, "top1": self.correct},
        }


def folds_of(labels: Tensor, groups: Sequence[str]) -> Tensor | None:
    """Assign clips to grouped, stratified folds.

    Args:
        labels: class indices, [clips].
        groups: of the clips, each of which is in one fold.

    Returns:
        The fold of each clip, from 0: [clips]; None if there are too few groups.
    """
    found = assign_folds(labels.tolist(), groups, INNER_FOLDS)
    return torch.tensor(found) if found and max(found) > 0 else None


def choose(log_scores: Tensor, truth: Tensor, folds: int) -> Choice:
    """Count what is right of held-out clips, and find the temperature of the least log loss.

    Args:
        log_scores: logarithms of probabilities up to a constant, [clips, classes].
        truth: [clips].
        folds: by which they were held out.
    """
    losses = [float(torch.nn.functional.cross_entropy(log_scores / t, truth)) for t in TEMPERATURES]
    return Choice(
        folds=folds,
        held_out=len(truth),
        correct=int((log_scores.argmax(1) == truth).sum()),
        temperature=TEMPERATURES[losses.index(min(losses))],
    )
