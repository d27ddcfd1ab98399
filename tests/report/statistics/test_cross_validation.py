"""The interval of pooled cross-validated predictions, by simulation."""

from __future__ import annotations

import pytest
from threadpoolctl import threadpool_limits

from benchmarks.simulations import fold_coverage
from dancecli.core.hashing import assign_folds, classes_in_few_folds, uneven_folds_note


@pytest.mark.slow
@pytest.mark.parametrize(
    ("groups", "folds", "distance", "offset"), [(36, 6, 0.6, 0.5), (60, 10, 0.9, 0.9), (200, 10, 0.9, 0.9)]
)
def test_the_interval_of_pooled_folds_covers_the_models_mean_accuracy(
    groups, folds, distance, offset
) -> None:
    # 1500 data sets each: 95.1, 94.6 and 93.7 %. In 10 folds, of which six have a class, 36 groups give 89 %.
    with threadpool_limits(1):
        assert 0.93 <= fold_coverage(groups, folds, distance, offset, 1000) <= 0.97


def test_classes_that_some_folds_lack_are_found() -> None:
    labels = ["waltz"] * 4 + ["tango"] * 3 + ["salsa"] * 2
    fold_of = [0, 1, 2, 3, 0, 1, 2, 3, 3]
    few = classes_in_few_folds(labels, fold_of)
    assert list(few.items()) == [("salsa", 1), ("tango", 3)]
    assert "2 of the classes are not in each of the 4 folds (salsa in 1)" in uneven_folds_note(few, 4)
    assert "--folds" not in uneven_folds_note(few, 4)
    assert uneven_folds_note({"tango": 3}, 4).endswith("; --folds 3 has them in each")
    assert classes_in_few_folds(labels, [0, 1] * 4 + [0]) == {}


@pytest.mark.parametrize("groups", [20, 36, 60])
def test_as_many_folds_as_the_rarest_class_has_groups_have_it_in_each(groups) -> None:
    # Three clips a group, classes in turn.
    labels = [str(g % 6) for g in range(groups) for _ in range(3)]
    names = [str(g) for g in range(groups) for _ in range(3)]
    few = classes_in_few_folds(labels, assign_folds(labels, names, 12))
    least = min(few.values())
    assert least == groups // 6
    assert classes_in_few_folds(labels, assign_folds(labels, names, least)) == {}
