"""The stated share of false alarms, by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from dancecli.report.statistics.label_noise import choose_suspects, fit_label_noise


def simulate(seed: int, n: int, classes: int, skill: float, noise: float, temperature: float = 1.0):
    """Scores of a model, the labels that clips have, and which of these are wrong."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, classes))
    logits[:, 0] += skill * (0.5 + rng.random(n))
    shift = rng.integers(0, classes, n)
    logits = np.stack([np.roll(row, by) for row, by in zip(logits, shift, strict=True)])
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = np.array([rng.choice(classes, p=row) for row in chances])
    bad = rng.random(n) < noise
    labels = np.where(bad, (truth + rng.integers(1, classes, n)) % classes, truth)
    scores = np.exp(logits / temperature)
    return scores / scores.sum(axis=1, keepdims=True), labels, bad


def test_rate_and_temperature_are_found() -> None:
    scores, labels, _ = simulate(1, 4000, 6, 5.0, 0.08, temperature=2.5)
    noise = fit_label_noise(scores, labels)
    assert noise.rate == pytest.approx(0.08, abs=0.02)
    assert noise.temperature == pytest.approx(1 / 2.5, rel=0.2)


def test_the_stated_share_of_false_alarms_holds_in_nine_of_ten_data_sets() -> None:
    for skill, wanted in ((6.0, 0.35), (10.0, 0.8)):
        held, found = [], []
        for seed in range(40):
            scores, labels, bad = simulate(seed, 300, 6, skill, 0.08)
            chosen = choose_suspects(fit_label_noise(scores, labels), 0.2)
            held.append(1 - bad[chosen].mean() <= 0.2 if len(chosen) else True)
            found.append(bad[chosen].sum() / bad.sum())
        assert np.mean(held) >= 0.9
        assert np.mean(found) >= wanted


def test_without_wrong_labels_almost_nothing_is_listed() -> None:
    listed = [
        len(choose_suspects(fit_label_noise(*simulate(seed, 300, 6, 6.0, 0.0)[:2]), 0.2))
        for seed in range(20)
    ]
    assert np.mean(listed) < 1


def test_a_wrong_label_comes_with_the_true_one() -> None:
    scores, labels, bad = simulate(3, 2000, 6, 8.0, 0.05)
    noise = fit_label_noise(scores, labels)
    chosen = choose_suspects(noise, 0.1)
    right = [noise.suggested[i] == scores[i].argmax() for i in chosen if bad[i]]
    assert np.mean(right) > 0.95
    assert ((noise.wrong >= 0) & (noise.wrong <= 1)).all()
    assert (noise.suggested != labels).all()


def test_the_order_of_the_clips_does_not_matter() -> None:
    scores, labels, _ = simulate(4, 200, 4, 4.0, 0.1)
    order = np.random.default_rng(0).permutation(200)
    one, other = fit_label_noise(scores, labels), fit_label_noise(scores[order], labels[order])
    assert other.wrong == pytest.approx(one.wrong[order], abs=1e-3)


@pytest.mark.parametrize("scores", [np.zeros((0, 3)), np.ones((4, 1))])
def test_too_little_is_refused(scores: np.ndarray) -> None:
    with pytest.raises(ValueError, match="at least one clip and two classes"):
        fit_label_noise(scores, np.zeros(len(scores), int))
