"""The map of the clips: kept, resumed, and selected on."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dancecli.app.explore import clip_map
from dancecli.app.explore.clip_map import ClipMap, make_map
from dancecli.core.errors import InputError, WorkspaceError
from dancecli.core.progress import Progress, Reporter
from dancecli.model.training.features.store import entry_name, open_store
from dancecli.storage.workspace import Workspace

IDS = [f"clip{i:03d}_0_1000" for i in range(90)]
SUMS = {clip_id: f"sum{i}" for i, clip_id in enumerate(IDS)}


@pytest.fixture
def made(workspace: Workspace) -> Workspace:
    """Clips of three kinds."""
    dice = np.random.default_rng(0)
    kinds = 5 * dice.normal(size=(3, 32))
    store = open_store(workspace.root / "cache" / "features", "float32", {"backbone": {"type": "m"}})
    values = [[kinds[i % 3] + dice.normal(size=32)] for i in range(len(IDS))]
    store.append([entry_name(i, SUMS[i], 0) for i in IDS], np.array(values, np.float32))
    return workspace


def stored(workspace: Workspace) -> list[Path]:
    return sorted(workspace.app_cache("x").parent.iterdir())


@pytest.mark.parametrize("placed", [1000, 45])
def test_clips_with_like_features_are_near_each_other(
    made: Workspace, monkeypatch: pytest.MonkeyPatch, placed: int
) -> None:
    # Of 90 clips 45 are placed by t-SNE, and the others among them.
    monkeypatch.setattr(clip_map, "_PLACED", placed)
    found = make_map(made, SUMS)
    places = found.places.astype(float)
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    kind = np.arange(90) % 3
    assert np.mean(kind[distances.argmin(axis=1)] == kind) == 1
    assert places.min() > 0
    assert places.max() < 65_535
    assert np.ptp(places, axis=0).max() > 55_000
    assert len({tuple(place) for place in places.tolist()}) == 90, "none hides another"


def test_a_map_is_kept_until_the_clips_change(made: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make_map(made, SUMS)
    (kept,) = stored(made)
    monkeypatch.setattr(clip_map, "_arrange", lambda *_: pytest.fail("it was computed again"))
    again = make_map(made, SUMS)
    assert (again.key, again.places.tolist()) == (first.key, first.places.tolist())
    monkeypatch.undo()
    fewer = make_map(made, {i: of for i, of in SUMS.items() if i != IDS[0]})
    assert fewer.key != first.key
    assert len(fewer.clips) == 89
    assert kept not in stored(made), "the earlier map is removed"
    kept = stored(made)[0]
    kept.write_bytes(kept.read_bytes()[:100])
    assert len(make_map(made, {i: of for i, of in SUMS.items() if i != IDS[0]}).clips) == 89


def test_a_stopped_computation_resumes_at_its_stage(made: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make_map(made, SUMS)
    stored(made)[0].unlink()

    def stop(progress: Progress) -> None:
        if progress.done == 250:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_map(made, SUMS, Reporter(stop))
    assert [path.name for path in stored(made)] == [f"map-{whole.key}.stage.npz"]
    seen: list[int] = []
    resumed = make_map(made, SUMS, Reporter(lambda progress: seen.append(progress.done)))
    assert seen == [250, 750]
    assert np.abs(resumed.places.astype(int) - whole.places).max() < 700, "as if it had not been stopped"
    assert [path.name for path in stored(made)] == [f"map-{whole.key}.npz"]


def test_two_programs_compute_it_once(made: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[int] = []
    arrange = clip_map._arrange

    def counted(*given: Any) -> Any:
        computed.append(1)
        return arrange(*given)

    monkeypatch.setattr(clip_map, "_arrange", counted)
    threads = [threading.Thread(target=make_map, args=(made, SUMS)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert computed == [1]


def test_too_few_clips_have_no_map(made: Workspace) -> None:
    with pytest.raises(WorkspaceError, match="only 5 clips have features"):
        make_map(made, {i: SUMS[i] for i in IDS[:5]})
    with pytest.raises(WorkspaceError, match="no features are stored"):
        make_map(made, {})


SQUARE = np.array([[0, 0], [20_000, 20_000], [40_000, 20_000], [65_535, 65_535]], np.uint16)
KEY = "0123456789ab"


def on_map(lasso: str) -> list[bool]:
    found = ClipMap(KEY, pd.Index(["a", "b", "c", "d"]), SQUARE)
    inside: list[bool] = found.inside(lasso, pd.Index(["d", "x", "c", "b", "a"])).tolist()
    return inside


def test_a_lasso_selects_what_is_within() -> None:
    assert on_map(f"{KEY}:2000.2000_7000.2000_7000.4000_2000.4000") == [False, False, True, True, False]
    # The other way round, and with a bay that leaves one out.
    bay = "6000.2000_6000.3500_5000.3500_5000.2000"
    assert on_map(f"{KEY}:2000.4000_7000.4000_7000.2000_{bay}_2000.2000") == [False, False, True, True, False]
    assert on_map(f"{KEY}:0.2000_4000.2000_4000.4000_0.4000") == [False, False, False, True, False]


BAD = ("", "x", f"{KEY}:1.1_2.2", f"{KEY}:1.1_2.2_3", f"{KEY}:1.1_2.2_99999.1", f"{KEY}:1.1_2.2_-3.1",
       "../x:1.1_2.2_3.3", KEY + ":" + "_".join(["1.1"] * 300))  # fmt: skip


@pytest.mark.parametrize("lasso", BAD, ids=range(len(BAD)))
def test_what_is_no_lasso_is_refused(lasso: str) -> None:
    with pytest.raises(InputError, match="no outline"):
        on_map(lasso)


def test_a_lasso_of_another_map_is_refused() -> None:
    with pytest.raises(InputError, match="an earlier map"):
        on_map("aaaaaaaaaaaa:1.1_2.2_3.1")
