"""Clips in the order of likeness, by the features that are stored of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from helpers import clip_workspace

from dancecli.app.catalog import Catalog, Query
from dancecli.app.likeness import Likeness, load_likeness
from dancecli.core.errors import WorkspaceError
from dancecli.model.training.features.store import entry_name, open_store
from dancecli.storage.workspace import Workspace

clip_files, populated = clip_workspace.clip_files, clip_workspace.populated
IDS = [f"clip{i:03d}_0_1000" for i in range(60)]
SUMS = {clip_id: f"sum{i}" for i, clip_id in enumerate(IDS)}


def store(
    workspace: Workspace,
    clips: Sequence[str],
    model: str,
    width: int = 96,
    views: int = 2,
    places: tuple[int, ...] = (),
) -> None:
    """Clips of three kinds: each differs from its kind by little, and the kinds from each other by much."""
    dice = np.random.default_rng(0)
    kinds = dice.normal(size=(3, width))
    made = open_store(workspace.root / "cache" / "features", "float16", {"backbone": {"type": model}})
    values = [kinds[int(i[4:7]) % 3] + 0.1 * dice.normal(size=(views, width)) for i in clips]
    entries = np.array(values, np.float16).reshape(len(clips), views, width, *(1 for _ in places))
    entries = np.tile(entries, (1, 1, 1, *places))
    made.append([entry_name(i, SUMS.get(i, "old"), 0) for i in clips], entries)


def nearest(known: Likeness, clip_id: str, among: Sequence[str]) -> list[str]:
    return [among[i] for i in known.nearest(clip_id, pd.Index(among))]


def test_the_nearest_are_of_its_kind_and_the_first_is_itself(workspace: Workspace) -> None:
    store(workspace, IDS[:20], "small")
    store(workspace, IDS, "resnet50")
    known = load_likeness(workspace, SUMS)
    assert known.model == "resnet50", "the model with features of most clips"
    assert known.vectors.shape == (60, 64)
    found = nearest(known, IDS[7], IDS)
    assert found[0] == IDS[7]
    assert {int(i[4:7]) % 3 for i in found[:20]} == {1}
    assert nearest(known, IDS[7], IDS[:9])[:3] == [i for i in found if i in IDS[:9]][:3]
    assert "gone_0_1" not in nearest(known, IDS[7], [*IDS, "gone_0_1"])


def test_a_map_of_one_place_is_a_vector_and_a_larger_one_is_not_used(workspace: Workspace) -> None:
    store(workspace, IDS[:40], "InceptionI3D", places=(1, 1, 1))
    store(workspace, IDS, "ResNet3d", width=24, places=(1, 2, 2))
    known = load_likeness(workspace, SUMS)
    assert (known.model, known.vectors.shape) == ("InceptionI3D", (40, 64))
    assert {int(i[4:7]) % 3 for i in nearest(known, IDS[7], IDS)[:13]} == {1}


def test_the_order_is_that_of_the_whole_features(workspace: Workspace) -> None:
    store(workspace, IDS, "resnet50", width=40)
    known = load_likeness(workspace, SUMS)
    folder = next(workspace.root.glob("cache/features/*"))
    whole = np.fromfile(folder / "features.bin", np.float16).reshape(60, 2, 40).astype(float).mean(axis=1)
    whole -= whole.mean(axis=0)
    whole /= np.linalg.norm(whole, axis=1, keepdims=True)
    expected = np.argsort(-(whole @ whole[7]))
    assert nearest(known, IDS[7], IDS) == [IDS[i] for i in expected]


def test_features_of_an_earlier_file_are_none_of_the_clip(workspace: Workspace) -> None:
    store(workspace, IDS, "resnet50")
    known = load_likeness(workspace, SUMS | {IDS[3]: "another"})
    assert IDS[3] not in nearest(known, IDS[0], IDS)


@pytest.mark.parametrize("clips", [(), IDS[:1]])
def test_without_features_it_says_what_to_do(workspace: Workspace, clips: Sequence[str]) -> None:
    if clips:
        store(workspace, clips, "resnet50")
    with pytest.raises(WorkspaceError) as caught:
        load_likeness(workspace, SUMS)
    assert "dance features" in caught.value.hint


def test_the_catalog_orders_what_is_left_by_the_filters(populated: Workspace) -> None:
    catalog = Catalog(populated)
    sums = dict(zip(catalog.frame.index, catalog.frame["sha256"], strict=True))
    made = open_store(populated.root / "cache" / "features", "float32", {"backbone": {"type": "m"}})
    # On a line: the middle one is between the others.
    values = [[[np.cos(a), np.sin(a)]] for a in (0.0, 0.3, 0.5, 2.0)]
    ids = list(sums)[:4]
    made.append([entry_name(i, sums[i], 0) for i in ids], np.array(values, np.float32))
    found = catalog.find(Query(like=ids[0]))
    assert found.index[0] == ids[0]
    assert set(found.index) == set(ids), "the fifth has no features"
    label = catalog.frame.loc[ids[1], "label"]
    filtered = catalog.find(Query(like=ids[0], label=label))
    assert list(filtered.index) == [i for i in found.index if catalog.frame.loc[i, "label"] == label]
    with pytest.raises(WorkspaceError, match="no features are stored of"):
        catalog.find(Query(like=list(sums)[4]))
