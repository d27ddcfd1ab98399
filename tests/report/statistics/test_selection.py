"""What is called worse than the best of many, by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from dancecli.report.statistics import selection
from dancecli.report.statistics.significance import permutation_test


@pytest.mark.parametrize(("trials", "clips"), [(20, 60), (20, 190)])
def test_equally_good_trials_are_seldom_called_worse(
    trials: int, clips: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "PERMUTATIONS", 200)
    rng, groups, alarms = np.random.default_rng(5), [str(i) for i in range(clips)], 0
    for _ in range(150):
        flags = rng.random((trials, clips)) < rng.beta(2, 1, clips)
        best = int(flags.sum(axis=1).argmax())
        alarms += min(selection.compare_with_best(flags, best, groups)) < 0.05
    assert alarms / 150 <= 0.09  # 5 %, and two and a half standard errors


def test_a_trial_that_is_much_worse_is_found() -> None:
    rng = np.random.default_rng(6)
    ease = rng.beta(2, 1, 190)
    flags = np.array([rng.random(190) < ease - (0.4 if i == 3 else 0.0) for i in range(12)])
    best = int(flags.sum(axis=1).argmax())
    found = selection.compare_with_best(flags, best, [str(i) for i in range(190)])
    assert found[3] < 0.01
    assert found[best] == 1.0
    assert sorted(found)[1] > 0.05


def test_of_two_trials_it_is_the_permutation_test() -> None:
    rng = np.random.default_rng(7)
    flags, groups = rng.random((2, 60)) < [[0.5], [0.7]], [str(i // 2) for i in range(60)]
    gains = (flags[1].astype(int) - flags[0]).reshape(-1, 2).sum(axis=1)
    found = selection.compare_with_best(flags, 1, groups)[0]
    assert found == pytest.approx(permutation_test(gains.tolist()), abs=0.05)
