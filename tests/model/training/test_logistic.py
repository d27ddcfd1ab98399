"""The solved head against scikit-learn, on made-up features."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV

from dancecli.core.hashing import assign_folds
from dancecli.model.training import logistic
from dancecli.model.training.logistic import DEFAULT_STRENGTH, solve_head

CLASSES, WIDTH, PER_GROUP = 4, 96, 3
# Training clips per class of ten corpora.
SIZES = (3, 6, 9, 12, 15, 18, 24, 30, 42, 60)


def corpus(seed: int, per_class: int, test_groups: int = 40):
    """Features of groups of clips: a class mean, an offset of the group, noise; 5 % of labels wrong."""
    draw = np.random.default_rng(seed)
    means = draw.normal(size=(CLASSES, WIDTH)) * 0.35

    def clips(groups: int, prefix: str):
        x, y, names = [], [], []
        for label in range(CLASSES):
            for group in range(groups):
                offset = draw.normal(size=WIDTH) * 0.5
                for _ in range(PER_GROUP):
                    x.append(means[label] + offset + draw.normal(size=WIDTH) * 0.8)
                    y.append(label)
                    names.append(f"{prefix}-{label}-{group}")
        return np.maximum(np.array(x) + 0.5, 0), np.array(y), names

    x, y, groups = clips(max(1, per_class // PER_GROUP), "train")
    wrong = draw.random(len(y)) < 0.05
    y = np.where(wrong, draw.integers(0, CLASSES, len(y)), y)
    return x, y, groups, *clips(test_groups, "test")


def solve(x, y, groups, **settings):
    return solve_head(torch.tensor(x)[:, None], torch.tensor(y), groups, CLASSES, **settings)


def scores(head, x):
    return (torch.tensor(x) @ head.weight.T + head.bias).softmax(-1).numpy()


def test_it_is_not_worse_than_scikit_learn() -> None:
    per_corpus = []
    for seed, per_class in enumerate(SIZES):
        x, y, groups, test_x, test_y, test_groups = corpus(seed, per_class)
        fold_of = np.array(assign_folds(y.tolist(), groups, 5))
        folds = [
            (np.flatnonzero(fold_of != k), np.flatnonzero(fold_of == k)) for k in range(max(fold_of) + 1)
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = LogisticRegressionCV(Cs=10, cv=folds, max_iter=500).fit(x, y).predict(test_x) == test_y
        ours = scores(solve(x, y, groups), test_x).argmax(1) == test_y
        gain = ours.astype(float) - theirs
        # Clips of a group are alike: the interval is that of the groups' means.
        by_group = [
            gain[[i for i, g in enumerate(test_groups) if g == name]].mean() for name in set(test_groups)
        ]
        error = np.std(by_group, ddof=1) / np.sqrt(len(by_group))
        # 99.5 %: ten corpora are compared, and each may be worse by chance once in twenty.
        assert gain.mean() >= -2.81 * error - 1e-9, (per_class, gain.mean(), error)
        per_corpus.append(gain.mean())
    assert abs(np.mean(per_corpus)) <= 0.005, per_corpus


def test_the_minimum_is_that_of_scikit_learn() -> None:
    x, y, groups, test_x, _, _ = corpus(1, 12)
    scale = np.sqrt(np.square(x - x.mean(0)).mean())
    head = solve(x, y, groups, strengths=(0.5,))
    theirs = LogisticRegression(C=0.5, tol=1e-9, max_iter=5000).fit((x - x.mean(0)) / scale, y)
    expected = theirs.decision_function((test_x - x.mean(0)) / scale)
    found = (torch.tensor(test_x) @ head.weight.T + head.bias).numpy() * head.temperature
    assert (
        np.abs((found - found.mean(1, keepdims=True)) - (expected - expected.mean(1, keepdims=True))).max()
        < 1e-3
    )


def test_the_same_features_give_the_same_head_whatever_the_random_state() -> None:
    x, y, groups, *_ = corpus(2, 9)
    torch.manual_seed(1)
    first = solve(x, y, groups)
    torch.manual_seed(2)
    second = solve(x, y, groups)
    assert torch.equal(first.weight, second.weight)
    assert (first.strength, first.temperature) == (second.strength, second.temperature)


def test_the_scores_are_calibrated_on_held_out_clips() -> None:
    x, y, groups, test_x, test_y, _ = corpus(3, 60)
    head = solve(x, y, groups)
    found = scores(head, test_x)
    confidence, correct = found.max(1), found.argmax(1) == test_y
    raw = scores(head, test_x * 1.0)
    assert np.allclose(found, raw)
    # The held-out labels are wrong in 5 % of the clips, and then another class in three of four.
    assert abs(confidence.mean() - correct.mean() * (1 - 0.05 * (CLASSES - 1) / CLASSES)) < 0.06
    assert head.held_out == len(y)
    assert 0 < head.held_out_correct <= head.held_out


def test_too_few_groups_choose_nothing() -> None:
    x, y, groups, test_x, test_y, _ = corpus(4, 3)
    head = solve(x, y, groups)
    assert (head.strength, head.temperature, head.held_out) == (DEFAULT_STRENGTH, 1.0, 0)
    assert (scores(head, test_x).argmax(1) == test_y).mean() > 1.5 / CLASSES
    assert head.folds == 0
    alone = solve(x, y, ["one"] * len(y))
    assert (alone.strength, alone.folds) == (DEFAULT_STRENGTH, 0)


def test_too_few_groups_of_unequal_size_do_not_give_the_largest_class() -> None:
    x, y, groups, test_x, test_y, _ = corpus(4, 3)
    kept = [i for i in range(len(y)) if y[i] == 0 or i % 3]
    head = solve(x[kept], y[kept], [groups[i] for i in kept])
    assert head.held_out == 0
    calls = scores(head, test_x).argmax(1)
    assert np.bincount(calls, minlength=CLASSES).max() < 0.6 * len(calls)
    assert (calls == test_y).mean() > 1.5 / CLASSES


def test_views_of_a_clip_count_as_one_clip() -> None:
    x, y, groups, *_ = corpus(5, 9)
    one = solve_head(torch.tensor(x)[:, None], torch.tensor(y), groups, CLASSES)
    three = solve_head(torch.tensor(x)[:, None].repeat(1, 3, 1), torch.tensor(y), groups, CLASSES)
    assert (one.strength, one.held_out_correct) == (three.strength, three.held_out_correct)
    assert torch.allclose(one.weight, three.weight, atol=1e-4)


def test_balanced_weights_help_the_rare_class() -> None:
    x, y, groups, test_x, test_y, _ = corpus(6, 30)
    keep = (y != 0) | (np.arange(len(y)) % 10 == 0)
    groups = [group for group, kept in zip(groups, keep, strict=True) if kept]
    rates = []
    for balanced in (False, True):
        head = solve(x[keep], y[keep], groups, balanced=balanced, strengths=(0.001,))
        rates.append((scores(head, test_x).argmax(1) == test_y)[test_y == 0].mean())
    assert rates[1] > rates[0] + 0.1


@pytest.mark.parametrize("classes", [CLASSES, CLASSES + 1])
def test_a_class_without_a_clip_is_never_predicted(classes: int) -> None:
    x, y, groups, test_x, *_ = corpus(7, 9)
    head = solve_head(torch.tensor(x)[:, None], torch.tensor(y), groups, classes)
    assert head.weight.shape == (classes, WIDTH)
    assert set(scores(head, test_x).argmax(1)) <= set(range(CLASSES))


def test_the_strongest_of_strengths_that_only_chance_tells_apart_is_chosen(monkeypatch) -> None:
    # Of 100 held-out clips; half a standard error of 91 is 1.4 clips.
    correct = iter((50, 88, 90, 91, 91))
    truth = torch.arange(100) % 2

    def logits(*_):
        right = torch.arange(100) < next(correct)
        return torch.nn.functional.one_hot(torch.where(right, truth, 1 - truth), 2).double()

    monkeypatch.setattr(logistic, "_held_out_logits", logits)
    groups = [str(i) for i in range(100)]
    head = solve_head(torch.randn(100, 1, 3), truth, groups, 2, strengths=(0.001, 0.01, 0.1, 1.0, 10.0))
    assert (head.strength, head.held_out, head.held_out_correct) == (0.1, 100, 90)


def test_where_no_strength_learned_more_than_another_classes_have_equal_weight(monkeypatch) -> None:
    # Clips without anything to tell them apart, the first class three times as large.
    labels = torch.tensor([0, 0, 0, 1] * 12)
    groups = [str(i) for i in range(len(labels))]
    features = torch.randn(len(labels), 1, 3, generator=torch.Generator().manual_seed(0))
    wrong = torch.nn.functional.one_hot(2 - labels, 3).double()
    monkeypatch.setattr(logistic, "_held_out_logits", lambda *_: wrong)
    head = solve_head(features, labels, groups, 3)
    assert (head.strength, head.temperature, head.folds, head.held_out) == (DEFAULT_STRENGTH, 1.0, 0, 0)
    equal = solve_head(features, labels, groups, 3, balanced=True)
    assert torch.equal(head.weight, equal.weight)
    calls = (features[:, 0].double() @ head.weight.T + head.bias).argmax(1)
    assert (calls == 1).sum() > 0.2 * len(calls)


def test_strengths_that_are_all_right_are_told_from_nothing_learned(monkeypatch) -> None:
    labels = torch.tensor([0, 0, 0, 1] * 12)
    monkeypatch.setattr(logistic, "_held_out_logits", lambda *_: torch.nn.functional.one_hot(labels).double())
    head = solve_head(torch.randn(48, 1, 3), labels, [str(i) for i in range(48)], 2)
    assert (head.strength, head.held_out, head.held_out_correct) == (DEFAULT_STRENGTH, 48, 48)
