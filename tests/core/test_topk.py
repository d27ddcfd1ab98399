from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dancecli.core.topk import top_k_correct, true_rank, true_ranks


def test_the_true_class_ranks_behind_its_equals_and_is_never_hit_at_zero():
    assert true_rank((0.5, 0.5, 0.0), 0) == 2
    assert [top_k_correct((0.5, 0.5, 0.0), 0, k) for k in (1, 2)] == [False, True]
    assert true_rank((0.2, 0.5, 0.3), 1) == 1
    # Three classes, and still not among the first five: the model gave it no chance.
    assert not top_k_correct((0.5, 0.5, 0.0), 2, 5)
    assert not top_k_correct((float("nan"), 0.5), 0, 5)


@given(
    st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=1, max_size=8),
    st.lists(st.integers(0, 3), min_size=8, max_size=8),
)
def test_one_clip_an_array_and_a_tensor_agree(rows, labels):
    torch = pytest.importorskip("torch")
    labels = labels[: len(rows)]
    want = [true_rank(row, label) for row, label in zip(rows, labels, strict=True)]
    for k in range(1, 5):
        hits = [top_k_correct(row, label, k) for row, label in zip(rows, labels, strict=True)]
        assert hits == [rank <= k for rank in want]
    array, tensor = np.array(rows, dtype=float), torch.tensor(rows, dtype=torch.float)
    places = np.arange(len(rows))
    assert true_ranks(array, array[places, labels]).tolist() == want
    assert true_ranks(tensor, tensor[places, labels]).tolist() == want
