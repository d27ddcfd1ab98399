"""The groups that a split keeps whole."""

from __future__ import annotations

from dataclasses import dataclass

from dancecli.core.records import NEAR_DUPLICATE, Group
from dancecli.dataset.groups import add_groups, join_groups, read_groups, replace_groups
from dancecli.storage.workspace import Workspace


@dataclass(frozen=True)
class One:
    clip_id: str
    video_id: str
    sha256: str


def test_a_clip_s_groups_of_a_kind_replace_those_it_had(workspace: Workspace) -> None:
    assert read_groups(workspace) == []
    assert add_groups(workspace, [Group("a", "ann", "dancer"), Group("a", "bob", "dancer")])
    assert add_groups(workspace, [Group("a", "hall", "venue"), Group("b", "ann", "dancer")])
    assert add_groups(workspace, [Group("a", "cem", "dancer")])
    after = [Group("a", "cem", "dancer"), Group("a", "hall", "venue"), Group("b", "ann", "dancer")]
    assert read_groups(workspace) == after
    written = workspace.groups.stat().st_mtime_ns
    assert not add_groups(workspace, [Group("a", "cem", "dancer")])
    assert workspace.groups.stat().st_mtime_ns == written


def test_replacing_one_kind_leaves_the_others(workspace: Workspace) -> None:
    add_groups(workspace, [Group("a", "g", NEAR_DUPLICATE), Group("a", "hall", "venue")])
    assert replace_groups(workspace, NEAR_DUPLICATE, [Group("b", "h", NEAR_DUPLICATE)])
    assert read_groups(workspace) == [Group("a", "hall", "venue"), Group("b", "h", NEAR_DUPLICATE)]


def test_video_bytes_and_every_kind_of_group_join_clips() -> None:
    clips = [
        One("a1", "a", "1"),
        One("a2", "a", "2"),
        One("b1", "b", "2"),
        One("c1", "c", "3"),
        One("d1", "d", "4"),
        One("e1", "e", ""),
        One("f1", "f", ""),
    ]
    groups = [
        Group("b1", "x", "dancer"),
        Group("c1", "x", "dancer"),
        # The same name under another kind is another group, and a clip that is gone joins nothing.
        Group("d1", "x", "venue"),
        Group("e1", "y", "venue"),
        Group("gone", "y", "venue"),
    ]
    assert join_groups(clips, groups) == {
        **dict.fromkeys(("a1", "a2", "b1", "c1"), "a"),
        "d1": "d",
        "e1": "e",
        "f1": "f",
    }
