"""Which view of which clip is read when: by clip, view, epoch and seed alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dancecli.model.dataloading.datasets import ViewDataset, ViewSampler
from dancecli.model.networks.mmaction import TRANSFORMS, init_default_scope

CLIPS = 7


@TRANSFORMS.register_module(force=True)
class DrawnNumber:
    """Draws what a random crop would."""

    def __call__(self, results: dict) -> dict:
        results["drawn"] = float(np.random.rand())
        return results


@pytest.fixture
def dataset(tmp_path: Path):
    init_default_scope("mmaction")
    (tmp_path / "train.txt").write_text("".join(f"clip{i}.mp4 {i % 3}\n" for i in range(CLIPS)))

    def make(view_seed: int = 0) -> ViewDataset:
        return ViewDataset(
            ann_file=str(tmp_path / "train.txt"),
            pipeline=[{"type": "DrawnNumber"}],
            data_prefix={"video": str(tmp_path)},
            view_seed=view_seed,
        )

    return make


def epochs(sampler: ViewSampler, count: int) -> list[list[int]]:
    found = []
    for epoch in range(count):
        sampler.set_epoch(epoch)
        found.append(list(sampler))
    return found


@pytest.mark.parametrize(("views", "of_epoch"), [(2, [0, 1, 0, 1]), (0, [0, 1, 2, 3]), (1, [0, 0, 0, 0])])
def test_an_epoch_has_each_clip_once_and_the_views_in_turn(dataset, views, of_epoch):
    found = epochs(ViewSampler(dataset(), views=views, shuffle=True, seed=3), 4)
    for view, items in zip(of_epoch, found, strict=True):
        assert {item // CLIPS for item in items} == {view}
        assert sorted(item % CLIPS for item in items) == list(range(CLIPS))


def test_the_order_depends_on_epoch_and_seed_alone(dataset):
    orders = [
        [item % CLIPS for item in items]
        for seed in (3, 3, 4)
        for items in epochs(ViewSampler(dataset(), views=1, shuffle=True, seed=seed), 2)
    ]
    assert orders[:2] == orders[2:4]
    assert orders[0] != orders[1]
    assert orders[:2] != orders[4:]


def test_a_view_depends_on_clip_view_and_seed_alone(dataset):
    one, again, other = dataset(), dataset(), dataset(1)
    drawn = [one[item]["drawn"] for item in range(3 * CLIPS)]
    assert len(set(drawn)) == 3 * CLIPS
    assert drawn == [again[item]["drawn"] for item in range(3 * CLIPS)]
    assert not set(drawn) & {other[item]["drawn"] for item in range(3 * CLIPS)}
    assert [one[item]["gt_label"] if "gt_label" in one[item] else one[item]["label"] for item in (0, 8)] == [
        0,
        1,
    ]
