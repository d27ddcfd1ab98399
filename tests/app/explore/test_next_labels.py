"""Which clips to label next: in doubt, and different from each other."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import clip_workspace

from dancecli.app.catalog import Catalog, Query
from dancecli.app.explore.next_labels import choose_batch
from dancecli.core.statistics.vectors import normalize
from dancecli.model.training.features.store import entry_name, open_store
from dancecli.storage.corrections import Correction, append_corrections
from dancecli.storage.workspace import Workspace

clip_files, populated = clip_workspace.clip_files, clip_workspace.populated


def kinds(count: int, each: int) -> np.ndarray:
    """Clips of some kinds, one kind after the other."""
    dice = np.random.default_rng(0)
    centers = dice.normal(size=(count, 16))
    values = np.repeat(centers, each, axis=0) + 0.05 * dice.normal(size=(count * each, 16))
    return normalize(values.astype(np.float32))


def test_clips_in_doubt_are_chosen_one_of_each_kind_first() -> None:
    features = kinds(4, 50)
    scores = np.tile(np.array([0.98, 0.01, 0.01], np.float32), (200, 1))
    doubtful = np.arange(10, 200, 20)
    scores[doubtful] = (0.4, 0.35, 0.25)
    chosen = choose_batch(features, scores, 4)
    assert set(chosen) <= set(doubtful.tolist())
    assert {i // 50 for i in chosen} == {0, 1, 2, 3}


def test_they_are_of_different_kinds() -> None:
    features = kinds(10, 30)
    scores = np.full((300, 2), 0.5, np.float32)
    assert len({i // 30 for i in choose_batch(features, scores, 10)}) >= 9
    assert len({i // 30 for i in choose_batch(features, None, 10)}) >= 9, "without a run too"


def test_a_clip_that_the_run_did_not_score_is_all_doubt() -> None:
    features = kinds(2, 20)
    scores = np.tile(np.array([0.99, 0.005, 0.005], np.float32), (40, 1))
    scores[33] = np.nan
    assert choose_batch(features, scores, 1) == [33]


def test_the_same_clips_give_the_same_choice_and_no_clip_comes_twice() -> None:
    features = kinds(3, 10)
    scores = np.random.default_rng(1).dirichlet(np.ones(4), 30).astype(np.float32)
    assert choose_batch(features, scores) == choose_batch(features, scores)
    assert sorted(choose_batch(features, scores, 99)) == list(range(30))
    sure = np.tile(np.array([1, 0], np.float32), (30, 1))
    assert choose_batch(features, sure) == [], "nothing can be learned where there is no doubt"


def test_the_queue_shrinks_is_kept_and_is_drawn_anew(
    populated: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dancecli.app.explore import explorer

    monkeypatch.setattr(explorer, "choose_batch", lambda features, scores: choose_batch(features, scores, 2))
    catalog = Catalog(populated)
    assert "next" not in catalog.facets(), "there are no features yet"
    sums = dict(zip(catalog.frame.index, catalog.frame["sha256"], strict=True))
    store = open_store(populated.root / "cache" / "features", "float32", {"backbone": {"type": "m"}})
    store.append([entry_name(i, sums[i], 0) for i in sums], np.eye(5, 8, dtype=np.float32)[:, None])
    assert catalog.facets()["next"] == {"yes": 5}
    one, two = catalog.find(Query(next="yes")).index
    append_corrections(populated, [Correction(one, "confirmed", "", "yes")])
    catalog.refresh()
    assert list(catalog.find(Query(next="yes")).index) == [two]
    again = Catalog(populated)
    assert list(again.find(Query(next="yes")).index) == [two], "kept for the next start"
    other = next(label for label in clip_workspace.LABELS if label != again.frame.loc[two, "label"])
    assert list(again.find(Query(next="yes", label=other)).index) == []
    append_corrections(populated, [Correction(two, "exclude", "", "yes")])
    again.refresh()
    new = list(again.find(Query(next="yes")).index)
    assert len(new) == 2
    assert not {one, two} & set(new)
