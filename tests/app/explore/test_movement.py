"""More clips that move like one: computed once, kept, and of the present files alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import clip_workspace
from helpers.drawn_poses import drawn_pose, mirrored, store_poses

from dancecli.app.catalog import Catalog, Query
from dancecli.app.explore import movement
from dancecli.app.explore.movement import load_movement
from dancecli.core.errors import WorkspaceError
from dancecli.core.records import Clip
from dancecli.demo.renderer import VideoSpec
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace

clip_files, populated = clip_workspace.clip_files, clip_workspace.populated
STYLES = ("salsa dancing", "salsa dancing", "breakdancing", "robot dancing")


@pytest.fixture
def posed(populated: Workspace) -> list[Clip]:
    """Of five clips four have poses; the second is the first one mirrored and smaller."""
    clips = tables.read(populated.clips, Clip)
    poses = {
        clip.clip_id: drawn_pose(VideoSpec(f"v{i}", style, 6.0))
        for i, (clip, style) in enumerate(zip(clips, STYLES, strict=False))
    }
    first = poses[clips[0].clip_id]
    small = mirrored(first.keypoints, first.width) / 2
    poses[clips[1].clip_id] = replace(first, keypoints=small.astype(np.float32))
    store_poses(populated, poses)
    return clips


def files_of(clips: list[Clip]) -> dict[str, tuple[str, float]]:
    return {clip.clip_id: (clip.sha256, 25.0) for clip in clips}


def test_the_order_is_that_of_movement(populated: Workspace, posed: list[Clip]) -> None:
    found = list(Catalog(populated).find(Query(moves=posed[0].clip_id)).index)
    assert found[:2] == [posed[0].clip_id, posed[1].clip_id]
    assert set(found) == {clip.clip_id for clip in posed[:4]}, "the fifth has no poses"
    with pytest.raises(WorkspaceError, match="no poses are stored of"):
        Catalog(populated).find(Query(moves=posed[4].clip_id))


def test_it_is_computed_once(
    populated: Workspace, posed: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_movement(populated, files_of(posed))
    reads: list[Path] = []
    read = movement.read_pose
    monkeypatch.setattr(movement, "read_pose", lambda path: (reads.append(path), read(path))[1])
    again = load_movement(populated, files_of(posed))
    assert reads == []
    assert again.vectors == pytest.approx(first.vectors)
    changed = files_of(posed) | {posed[2].clip_id: ("another", 25.0)}
    assert posed[2].clip_id not in load_movement(populated, changed).clips
    store_poses(
        populated, {clip.clip_id: drawn_pose(VideoSpec("new", "salsa dancing", 6.0)) for clip in posed[2:3]}
    )
    with pytest.raises(WorkspaceError, match="no poses are stored"):
        load_movement(populated, files_of(posed))
    assert [path.stem for path in reads] == [posed[2].clip_id], "the poses have changed"


def test_a_stopped_computation_resumes(
    populated: Workspace, posed: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(movement, "_SAVED_EVERY", 1)
    read, reads = movement.read_pose, []

    def stopped(path: Path) -> object:
        reads.append(path)
        if len(reads) == 3:
            raise KeyboardInterrupt
        return read(path)

    monkeypatch.setattr(movement, "read_pose", stopped)
    with pytest.raises(KeyboardInterrupt):
        load_movement(populated, files_of(posed))
    assert len(load_movement(populated, files_of(posed)).clips) == 4
    assert len(reads) == 5, "two were kept"


def test_damaged_poses_and_a_damaged_store_are_no_end(populated: Workspace, posed: list[Clip]) -> None:
    load_movement(populated, files_of(posed))
    populated.app_cache(f"{movement.VERSION}.npz").write_bytes(b"PK broken")
    next((populated.root / "pose").rglob(f"{posed[2].clip_id}.npz")).write_bytes(b"broken")
    assert len(load_movement(populated, files_of(posed)).clips) == 3


def test_without_poses_it_says_what_to_do(populated: Workspace) -> None:
    with pytest.raises(WorkspaceError) as caught:
        load_movement(populated, {})
    assert "dance pose" in caught.value.hint
