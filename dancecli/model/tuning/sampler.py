"""Optuna's TPE sampler with a separate seed for each trial.

With one random stream, a resumed study would repeat the draws of its first trials. Here the draws
of a trial depend only on the study's seed, the trial's number and the results that TPE has seen.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import optuna
from optuna.samplers import BaseSampler, TPESampler

from dancecli.core.hashing import keyed_digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, TrialState

SAMPLING = "TPE (Bergstra et al., NIPS 2011), the first 10 points at random; running trials count as poor"


class SeededSampler(BaseSampler):
    """TPE with a seed for each trial.

    Args:
        seed: random seed of the study.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._inner = TPESampler(seed=seed)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Seed TPE for this trial."""
        digest = keyed_digest(str(self._seed), str(trial.number))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._inner = TPESampler(seed=int.from_bytes(digest[:4], "little"), constant_liar=True)
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Delegate to TPE."""
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Delegate to TPE."""
        return self._inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Delegate to TPE."""
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Delegate to TPE."""
        self._inner.after_trial(study, trial, state, values)
