"""A removed clip leaves a tombstone, and does not come back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import video_site
from helpers.builders import Ran
from helpers.video_site import ServedVideos

from dancecli.core.errors import InputError
from dancecli.core.records import Clip, OutcomeClass
from dancecli.dataset.clips import read_segments, remember_copies
from dancecli.dataset.fetch.fetch import fetch
from dancecli.dataset.removal import remove
from dancecli.storage import ledger, tables
from dancecli.storage.workspace import Workspace

source_video, served = video_site.source_video, video_site.served


@pytest.fixture
def fetched(served: ServedVideos, workspace: Workspace) -> Workspace:
    served.want("zumba,a,0,1", "zumba,a,2,3", "zumba,b,0,1")
    fetch(workspace, served.settings())
    clips = tables.read(workspace.clips, Clip)
    copies = []
    for clip in clips:
        path = workspace.augmented(clip.clip_id, "hflip")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"copy")
        values = {field: getattr(clip, field) for field in clip.__slots__}
        relative = path.relative_to(workspace.root).as_posix()
        changed = {
            "clip_id": f"{clip.clip_id}.hflip",
            "parent_id": clip.clip_id,
            "op": "hflip",
            "path": relative,
        }
        copies.append(Clip(**{**values, **changed}))
    remember_copies(workspace, copies)
    (workspace.segments.parent / "augment.jsonl").write_text(
        "".join(f'{{"clip_id": "{copy.clip_id}", "sha256": "{copy.sha256}"}}\n' for copy in copies)
    )
    return workspace


def named_in(workspace: Workspace, text: str) -> set[str]:
    """Files that hold a text or have it in their name."""
    files = [path for path in workspace.root.rglob("*") if path.is_file()]
    return {path.name for path in files if text in path.name or text.encode() in path.read_bytes()}


def test_the_tombstone_alone_is_left(served: ServedVideos, fetched: Workspace) -> None:
    removed = remove(fetched, ["a_0_1000"], "take-down request")
    assert removed.clip_ids == ("a_0_1000",)
    assert removed.files == ("augmented/a_0_1000.hflip.mp4", "clips/a_0_1000.mp4")
    assert named_in(fetched, "a_0_1000") <= {"ledger.db", "ledger.db-wal"}
    assert "a_0_1000" not in read_segments(fetched)
    kept = {clip.clip_id for clip in tables.read(fetched.clips, Clip)}
    assert kept == {"a_2000_3000", "a_2000_3000.hflip", "b_0_1000", "b_0_1000.hflip"}
    last = ledger.history(fetched.root, "a_0_1000")[-1]
    assert (last.outcome, last.reason, last.text) == (
        OutcomeClass.PERMANENT,
        "removed-here",
        "take-down request",
    )


@pytest.mark.parametrize("retry", ["transient", "permanent", "all"])
def test_it_does_not_come_back(served: ServedVideos, fetched: Workspace, retry: str) -> None:
    remove(fetched, ["a"], "take-down request")
    asked = len(served.asked)
    result = fetch(fetched, served.settings(retry=retry))
    assert result.reasons == {"removed-here": 2}
    assert len(served.asked) == asked
    assert {clip.video_id for clip in tables.read(fetched.clips, Clip)} == {"b"}


def test_a_dry_run_removes_nothing(fetched: Workspace) -> None:
    before = {path: path.read_bytes() for path in fetched.root.rglob("*") if path.is_file()}
    assert remove(fetched, ["a"], "why", dry_run=True).clip_ids == ("a_0_1000", "a_2000_3000")
    assert {path: path.read_bytes() for path in fetched.root.rglob("*") if path.is_file()} == before


def test_what_is_unknown_or_has_no_reason_is_refused(fetched: Workspace) -> None:
    with pytest.raises(InputError, match="'c' is neither a clip, a video nor a group"):
        remove(fetched, ["a", "c"], "why")
    with pytest.raises(InputError, match="needs a reason"):
        remove(fetched, ["a"], " ")
    assert Path(fetched.clip("a_0_1000")).exists()


def test_the_command(fetched: Workspace, dance: Callable[..., Ran]) -> None:
    ran = dance("remove", "b", "--reason", "take-down")
    assert (ran.code, ran.out) == (0, "1 clips and 2 files removed\n")
    assert dance("remove", "nobody", "--reason", "x").code == 1
    assert dance("remove", "a").code == 2
