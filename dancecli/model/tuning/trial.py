"""What a study asks for and what comes back: a trial before and after its training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from dancecli.core.progress import OnProgress
from dancecli.core.recipe import Recipe
from dancecli.model.tuning.search_space import Value

# A probability that was rounded to 0 would make any mean loss infinite.
LEAST_SCORE = 1e-12


@dataclass(frozen=True)
class Asked:
    """A trial that is to be trained.

    Attributes:
        number: its number in the study.
        params: the point of the space.
        recipe: the study's, with these.
    """

    number: int
    params: Mapping[str, Value]
    recipe: Recipe


@dataclass(frozen=True)
class Ended:
    """A trial that was trained, judged on the validation part after its best epoch.

    Attributes:
        top1: share of the part's clips that were named right.
        right: for each of them, in the order of the list, whether it was; empty for a run that was
            pruned, whose predictions were never written.
        loss: mean cross-entropy over the part; 0 for such a run.
        epoch: that epoch, counted from 1; of equals the later one, as in a run.
        epochs: how many were trained.
        pruned: it was stopped because others were better at the same epoch.
        failed: why there is no result; empty if there is one.
    """

    top1: float = 0.0
    right: tuple[bool, ...] = ()
    loss: float = 0.0
    epoch: int = 0
    epochs: int = 0
    seconds: float = 0.0
    pruned: bool = False
    failed: str = ""


# Takes a trial, an epoch and the top-1 accuracy after it; says whether the trial is to stop.
Report: TypeAlias = Callable[[Asked, int, float], bool]
End: TypeAlias = Callable[[Asked, Ended], None]


class Trainer(Protocol):
    """Something that trains trials."""

    @property
    def together(self) -> int:
        """How many trials it takes at once."""

    @property
    def weights_sha256(self) -> str | None:
        """Of the weights that every trial starts from; None for random ones."""

    def train(self, asked: Sequence[Asked], report: Report, end: End, on_progress: OnProgress) -> None:
        """Train trials, report each epoch of each, and end each.

        Args:
            asked: at most `together` of them.
            report: after every epoch.
            end: once for each trial.
            on_progress: in epochs of these trials.
        """
