"""A trial of a study: the request to train it and the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from dancecli.core.progress import Reporter
from dancecli.core.recipe import Recipe
from dancecli.model.tuning.search_space import Value

# A probability that was rounded to 0 would make any mean loss infinite.
LEAST_SCORE = 1e-12


@dataclass(frozen=True)
class TrialRequest:
    """A trial to be trained.

    Attributes:
        number: number of the trial in the study.
        params: point of the search space.
        recipe: the study's recipe with these parameters.
    """

    number: int
    params: Mapping[str, Value]
    recipe: Recipe


@dataclass(frozen=True)
class TrialResult:
    """The result of a trial, evaluated on the validation subset after its best epoch.

    Attributes:
        top1: top-1 accuracy, from 0 to 1.
        right: for each validation clip, in the order of the list, whether it was classified
            correctly; empty for a pruned run, whose predictions are never written.
        loss: mean cross-entropy; 0 for a pruned run.
        epoch: the best epoch, counted from 1; the later one of equals, as in a run.
        epochs: number of epochs trained.
        pruned: stopped early because other trials were better at the same epoch.
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


# Takes a trial, an epoch and the top-1 accuracy after it; returns True to prune the trial.
Report: TypeAlias = Callable[[TrialRequest, int, float], bool]
End: TypeAlias = Callable[[TrialRequest, TrialResult], None]


class Trainer(Protocol):
    """Trains trials."""

    @property
    def batched(self) -> int:
        """Number of trials that are trained in one batch; 1 trains them one after the other."""

    @property
    def weights_sha256(self) -> str | None:
        """SHA-256 of the initial weights of every trial; None for random weights."""

    def train(self, requests: Sequence[TrialRequest], report: Report, end: End, reporter: Reporter) -> None:
        """Train trials, report every epoch of each, and end each of them.

        Args:
            requests: at most `batched` trials.
            report: called after every epoch of every trial.
            end: called once per trial.
            reporter: receives the progress in epochs of these trials.
        """
