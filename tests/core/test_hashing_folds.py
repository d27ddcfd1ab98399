"""Folds of a cross-validation: whole groups, even classes, seeds."""

from __future__ import annotations

from collections import Counter

import pytest

from dancecli.core.hashing import assign_folds


def test_a_group_is_in_one_fold_and_classes_are_spread() -> None:
    labels = [0, 0, 1, 1, 0, 1, 2, 2, 2, 2]
    groups = ["a", "a", "b", "b", "c", "d", "e", "f", "g", "h"]
    folds = assign_folds(labels, groups, folds=2)
    assert folds[0] == folds[1]
    assert folds[2] == folds[3]
    assert {fold for fold, label in zip(folds, labels, strict=True) if label == 2} == {0, 1}
    assert folds == assign_folds(labels, groups, folds=2)


@pytest.mark.parametrize("folds", [3, 5, 10])
def test_sizes_and_classes_are_even_where_groups_are_small(folds: int) -> None:
    labels = [i % 6 for i in range(311)]
    found = assign_folds(labels, [f"video {i // 2}" for i in range(311)], folds)
    sizes = Counter(found)
    assert len(sizes) == folds
    assert max(sizes.values()) - min(sizes.values()) <= 4
    for label in range(6):
        of_label = Counter(fold for fold, own in zip(found, labels, strict=True) if own == label)
        assert max(of_label.values()) - min(of_label[fold] for fold in range(folds)) <= 2


def test_another_seed_gives_other_folds_and_the_order_of_the_clips_does_not_matter() -> None:
    labels, groups = [i % 3 for i in range(60)], [f"g{i}" for i in range(60)]
    first = assign_folds(labels, groups, 5, seed=0)
    assert first != assign_folds(labels, groups, 5, seed=1)
    backwards = assign_folds(labels[::-1], groups[::-1], 5, seed=0)
    assert backwards[::-1] == first


def test_there_are_never_more_folds_than_groups() -> None:
    assert assign_folds([0, 1], ["a", "a"], 5) == [0, 0]
    assert set(assign_folds([0, 1, 0], ["a", "b", "c"], 10)) == {0, 1, 2}
