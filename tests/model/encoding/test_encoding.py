"""Clips as vectors: Fisher vectors are gradients, products of bags a chi-square kernel; the SVM on them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics.pairwise import additive_chi2_kernel
from sklearn.mixture import GaussianMixture
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import SVC

from dancecli.core.progress import SILENT, Progress, Reporter
from dancecli.model.encoding.classifier import train_svm
from dancecli.model.encoding.fisher import fit_fisher, gradient
from dancecli.model.encoding.words import fit_words

RNG = np.random.default_rng(5)
WIDTHS = {"shape": 6, "hog": 8}


def descriptors(count: int, shift: float = 0.0) -> dict[str, np.ndarray]:
    return {
        kind: (RNG.normal(shift, 1, (count, width)) * np.linspace(0.3, 1, width)).astype(np.float32)
        for kind, width in WIDTHS.items()
    }


def mixture() -> GaussianMixture:
    rows = np.concatenate([RNG.normal(m, 0.7, (80, 3)) for m in (-1, 0, 2)])
    return GaussianMixture(3, covariance_type="diag", random_state=0).fit(rows)


def log_likelihood(
    rows: np.ndarray, model: GaussianMixture, means: np.ndarray, deviations: np.ndarray
) -> float:
    moved = GaussianMixture(3, covariance_type="diag")
    moved.weights_, moved.means_, moved.covariances_ = model.weights_, means, deviations**2
    moved.precisions_cholesky_ = 1 / deviations
    return moved.score(rows)


def test_a_fisher_vector_is_the_gradient_of_the_likelihood() -> None:
    model = mixture()
    rows = RNG.normal(0.4, 1.1, (40, 3))
    means, deviations = model.means_, np.sqrt(model.covariances_)
    by_mean, by_deviation = np.split(gradient(rows, model), 2)
    step = 1e-5
    for i in np.ndindex(means.shape):
        change = np.zeros_like(means)
        change[i] = step
        w, s = model.weights_[i[0]], deviations[i]
        of_mean = log_likelihood(rows, model, means + change, deviations)
        of_mean = (of_mean - log_likelihood(rows, model, means - change, deviations)) / (2 * step)
        of_deviation = log_likelihood(rows, model, means, deviations + change)
        of_deviation = (of_deviation - log_likelihood(rows, model, means, deviations - change)) / (2 * step)
        place = np.ravel_multi_index(i, means.shape)
        assert by_mean[place] == pytest.approx(of_mean * s / np.sqrt(w), abs=1e-6)
        assert by_deviation[place] == pytest.approx(of_deviation * s / np.sqrt(2 * w), abs=1e-6)


def test_descriptors_of_the_mixture_itself_have_hardly_a_gradient() -> None:
    model = mixture()
    rows, _ = model.sample(100_000)
    assert np.abs(gradient(rows, model)).max() < 0.02


def test_each_kind_has_length_one_and_counts_alike() -> None:
    seen: list[Progress] = []
    encoder = fit_fisher(descriptors(400), 4, 0, Reporter(seen.append))
    vector = encoder.encode(descriptors(50, 0.3))
    widths = [2 * 4 * (width // 2) for width in WIDTHS.values()]
    assert vector.shape == (sum(widths),)
    for part in np.split(vector, np.cumsum(widths)[:-1]):
        assert np.linalg.norm(part) == pytest.approx(1, abs=1e-5)
    assert (seen[-1].done, seen[-1].total) == (2, 2)
    assert not encoder.encode(
        {kind: np.zeros((0, width), np.float32) for kind, width in WIDTHS.items()}
    ).any()


def test_the_power_is_that_of_the_square_root() -> None:
    encoder = fit_fisher({"hog": descriptors(400)["hog"]}, 2, 0, SILENT)
    rows = descriptors(50, 0.3)
    raw = gradient(encoder.reductions["hog"].transform(rows["hog"]), encoder.mixtures["hog"])
    vector = encoder.encode(rows)
    assert np.allclose(np.sign(raw) * vector**2, np.abs(raw) / np.abs(raw).sum() * np.sign(raw), atol=1e-5)


def test_the_same_seed_gives_the_same_encoder() -> None:
    rows, clip = descriptors(300), descriptors(20)
    for fit in (fit_fisher, fit_words):
        one, two, other = (fit(rows, 4, seed, SILENT).encode(clip) for seed in (0, 0, 1))
        assert (one == two).all()
        assert (one != other).any()


def test_a_product_of_bags_is_the_chi_square_kernel_of_their_histograms() -> None:
    encoder = fit_words(descriptors(600), 12, 0, SILENT)
    clips = [descriptors(60, shift) for shift in (0.0, 0.2, 1.0)]
    vectors = np.stack([encoder.encode(clip) for clip in clips])
    for i, one in enumerate(clips):
        for j, two in enumerate(clips):
            wanted = []
            for kind, vocabulary in encoder.vocabularies.items():
                words = (cdist(c[kind], vocabulary).argmin(axis=1) for c in (one, two))
                a, b = (np.bincount(found, minlength=12) / 60 for found in words)
                both = a + b > 0
                wanted.append((2 * a[both] * b[both] / (a + b)[both]).sum())
                # The other form of the same kernel, as scikit-learn has it.
                assert wanted[-1] == pytest.approx(1 + additive_chi2_kernel([a], [b])[0, 0] / 2)
            assert vectors[i] @ vectors[j] == pytest.approx(np.mean(wanted), abs=0.06)
    empty = {kind: np.zeros((0, width), np.float32) for kind, width in WIDTHS.items()}
    assert np.abs(encoder.encode(empty)).max() < 1e-6


def clips_of(count: int, spread: float) -> tuple[np.ndarray, list[int], list[str]]:
    labels = [i % 3 for i in range(count)]
    vectors = (np.eye(3, 400)[labels] + RNG.normal(0, spread, (count, 400))).astype(np.float32)
    return vectors, labels, [f"video{i // 2}" for i in range(count)]


def test_decisions_are_those_of_a_linear_svm() -> None:
    train, labels, groups = clips_of(90, 0.3)
    others, _, _ = clips_of(200, 0.3)
    svm = train_svm(train, labels, groups, 3)
    found = svm.probabilities(others)
    wanted = OneVsRestClassifier(SVC(C=100, kernel="linear")).fit(train, labels).predict(others)
    assert (found.argmax(axis=1) == wanted).all()
    assert np.allclose(found.sum(axis=1), 1)


def test_probabilities_are_as_sure_as_the_svm_is_right() -> None:
    train, labels, groups = clips_of(300, 0.3)
    others, truth, _ = clips_of(2000, 0.3)
    svm = train_svm(train, labels, groups, 3)
    found = svm.probabilities(others)
    right = (found.argmax(axis=1) == truth).mean()
    assert 0.8 < right < 0.97
    assert found.max(axis=1).mean() == pytest.approx(right, abs=0.04)
    assert svm.held_out == 300
    assert svm.held_out_correct / 300 == pytest.approx(right, abs=0.04)


def test_where_all_held_out_clips_are_right_the_next_one_is_not_sure_to_be() -> None:
    train, labels, groups = clips_of(60, 0.1)
    svm = train_svm(train, labels, groups, 3)
    found = svm.probabilities(train)
    assert svm.held_out_correct == 60
    assert 0.9 < found.max(axis=1).mean() < 0.995


def test_clips_of_a_video_are_not_on_both_sides() -> None:
    """Two clips of a video are the same clip, and its class is drawn: only a leak would know it."""
    half = RNG.normal(size=(60, 200)).astype(np.float32)
    labels = RNG.integers(0, 2, 60)
    train, groups = np.repeat(half, 2, axis=0), [f"video{i}" for i in range(60) for _ in (0, 1)]
    svm = train_svm(train, np.repeat(labels, 2).tolist(), groups, 2)
    found = svm.probabilities(train)
    assert svm.held_out_correct < 0.7 * svm.held_out
    assert (found.argmax(axis=1) == np.repeat(labels, 2)).all()


def test_classes_of_one_video_or_none_are_no_error() -> None:
    train, labels, groups = clips_of(30, 0.2)
    labels[0] = labels[1] = 3
    svm = train_svm(train, labels, groups, 5)
    found = svm.probabilities(train)
    assert found.shape == (30, 5)
    # The fourth class is unknown to the fold that holds it out, the fifth to all.
    assert svm.held_out == 28
    assert found[:, 4].max() < 0.01
    alone = train_svm(train[:2], [0, 0], ["a", "a"], 2)
    assert (alone.temperature, alone.held_out) == (1.0, 0)
    assert (alone.probabilities(train).argmax(axis=1) == 0).all()
