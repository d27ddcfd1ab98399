"""The calibration test, by simulation: false alarms, power and direction."""

from __future__ import annotations

import numpy as np
import pytest

from dancecli.report.statistics import calibration
from dancecli.report.statistics.calibration import Bin


def share_found(clips: int, per_video: int, excess: float, rounds: int = 200) -> tuple[float, float]:
    """How often a model is called miscalibrated, and overconfident; clips of a video are alike."""
    rng, found, over = np.random.default_rng(6), 0, 0
    videos = clips // per_video
    groups = [str(i // per_video) for i in range(clips)]
    for _ in range(rounds):
        confidence = np.repeat(0.2 + 0.8 * rng.beta(3, 1.2, videos), per_video)
        confidence = np.clip(confidence + 0.03 * (per_video > 1) * rng.normal(size=clips), 0.1, 1)
        right = np.repeat(rng.random(videos), per_video) < np.clip(confidence - excess, 0, 1)
        told = calibration.calibration(confidence, right, groups)
        found += told.p < 0.05
        over += told.verdict == "Overconfident"
    return found / rounds, over / rounds


@pytest.fixture(autouse=True)
def few_simulations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "SIMULATIONS", 400)


@pytest.mark.parametrize(("clips", "per_video"), [(20, 1), (190, 1), (80, 4), (400, 4)])
def test_a_calibrated_model_is_seldom_called_miscalibrated(clips: int, per_video: int) -> None:
    assert share_found(clips, per_video, 0.0)[0] <= 0.085  # 5 %, and more than two standard errors


def test_confidence_of_10_points_too_much_is_found_and_its_direction_given() -> None:
    found, over = share_found(190, 1, 0.1, rounds=60)
    assert found == over > 0.75
    found, over = share_found(190, 1, -0.1, rounds=60)
    assert (found > 0.75, over) == (True, 0.0)


def test_a_bin_without_clips_is_empty() -> None:
    bins = calibration.calibration(np.array([0.95, 0.15]), np.array([True, False]), ["a", "b"], bins=2).bins
    assert bins == (Bin(0.0, 0.5, 1, 0.15, 0), Bin(0.5, 1.0, 1, 0.95, 1))
    empty = calibration.calibration(np.array([0.95]), np.array([True]), ["a"], bins=2).bins[0]
    assert empty == Bin(0.0, 0.5, 0, 0.0, 0)


def test_the_error_of_a_calibrated_model_is_that_of_its_simulations() -> None:
    rng, groups = np.random.default_rng(7), [str(i) for i in range(200)]
    confidence = rng.uniform(0.2, 1.0, 200)
    errors = [
        calibration.calibration(confidence, rng.random(200) < confidence, groups).ece for _ in range(200)
    ]
    told = calibration.calibration(confidence, rng.random(200) < confidence, groups).ece_if_calibrated
    assert told == pytest.approx(np.mean(errors), rel=0.08)
