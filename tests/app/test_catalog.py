from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.fake_run import make_run

from dancecli.app.catalog import Catalog, Query
from dancecli.core.errors import WorkspaceError
from dancecli.core.records import Clip, Segment
from dancecli.storage import tables
from dancecli.storage.corrections import Correction, append_corrections
from dancecli.storage.workspace import Workspace

LABELS = ("wave", "spin", "bounce")


@pytest.fixture
def made(tmp_path: Path) -> Workspace:
    workspace = make_run(tmp_path / "space", LABELS, test=30, val=6)
    tables.write(workspace.segments, Segment, [], {"labels": json.dumps(LABELS)})
    return workspace


def test_an_empty_workspace_has_no_clips_to_show(workspace: Workspace) -> None:
    with pytest.raises(WorkspaceError, match="there are no clips yet"):
        Catalog(workspace)


def test_predictions_stand_beside_their_clips(made: Workspace) -> None:
    catalog = Catalog(made, run="inception-demo-1")
    facets = catalog.facets()
    assert facets["subset"] == {"train": 60, "val": 6, "test": 30}
    assert sum(facets["outcome"].values()) == 36
    wrong = catalog.find(Query(outcome="wrong", sort="worst"))
    assert len(wrong) == facets["outcome"]["wrong"]
    assert (wrong["predicted"] != wrong["label"]).all()
    assert wrong["true_score"].is_monotonic_increasing
    assert set(catalog.find(Query(predicted="spin"))["predicted"]) == {"spin"}
    train = catalog.rows(catalog.find(Query(subset="train")))[0]
    assert (train["predicted"], train["score"], train["right"]) == ("", None, False)


def test_flags_come_from_what_the_clips_hold(made: Workspace) -> None:
    from dataclasses import replace

    clips = tables.read(made.clips, Clip)
    clips[0] = replace(clips[0], black_share=0.9, note="the sound track was left out")
    clips[1] = replace(clips[1], frozen_share=1.0, num_frames=25, title="Swan Lake, Act II")
    tables.write(made.clips, Clip, clips)
    catalog = Catalog(made)
    assert catalog.facets()["flag"] == {"black": 1, "static": 1, "short": 1, "noted": 1}
    assert catalog.find(Query(flag="black")).index[0] == clips[0].clip_id
    assert catalog.find(Query(text="lake swan")).index[0] == clips[1].clip_id
    assert catalog.find(Query(text="sound track")).index[0] == clips[0].clip_id


def test_corrections_of_others_are_seen_after_a_refresh(made: Workspace) -> None:
    catalog = Catalog(made)
    clip_id = catalog.frame.index[0]
    append_corrections(
        made, [Correction(clip_id, "label", "wave", "spin"), Correction("gone", "exclude", "", "yes")]
    )
    catalog.refresh()
    assert catalog.details(clip_id)["label"] == "spin"
    assert catalog.facets()["changed"] == {"yes": 1, "excluded": 0}


def test_an_empty_workspace_or_an_unknown_split_is_one_line(made: Workspace, tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="there is no split 'other'"):
        Catalog(made, split="other")
    empty = Workspace(tmp_path / "empty")
    with pytest.raises(WorkspaceError):
        Catalog(empty)
