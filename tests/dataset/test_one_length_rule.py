"""One rule of lengths: what import takes, fetch takes too, and neither deletes what the other took."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from helpers import video_site
from helpers.numbered_video import make_video
from helpers.video_site import ServedVideos

from dancecli.core.records import Clip
from dancecli.dataset.fetch.fetch import fetch
from dancecli.dataset.ingest.import_folder import ImportSettings, import_folder
from dancecli.demo.video_site import Fault
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace

source_video, served = video_site.source_video, video_site.served
ROW = "zumba,abcdefghijk,0,2"
CLIP_ID = "abcdefghijk_0_2000"
# Of a file whose name says two seconds, at 25 frames a second. What is far from that is no such clip to
# import, which has only the name to go by, but a video of its own.
SECONDS = {2.0: True, 1.84: True, 1.0: True, 2.4: True}
ODD = {0.4: False, 6.0: False}


def taken(workspace: Workspace) -> set[tuple[str, int]]:
    clips = tables.read(workspace.clips, Clip) if workspace.clips.exists() else []
    return {(clip.clip_id, clip.num_frames) for clip in clips}


@pytest.mark.parametrize(("seconds", "alike"), (SECONDS | ODD).items())
def test_import_and_fetch_take_the_same(
    served: ServedVideos, tmp_path: Path, seconds: float, alike: bool
) -> None:
    file = tmp_path / "tapes" / "zumba" / "abcdefghijk_000000_000002.mp4"
    file.parent.mkdir(parents=True)
    make_video(file, seconds)
    served.want(ROW)
    local = served.settings(url_template="", sources=("local",), folder=file.parent.parent)
    served.faults["abcdefghijk"] = Fault(status=404)
    spaces = [Workspace(tmp_path / name) for name in ("imported", "fetched")]
    for space in spaces:
        space.create("")
    import_folder(spaces[0], ImportSettings(file.parent.parent))
    fetch(spaces[1], local)
    first, second = (taken(space) for space in spaces)
    assert {i for i, _ in second} == {CLIP_ID}
    assert (first == second) == alike
    for space in spaces:
        before, files = taken(space), set(space.root.glob("clips/*/*.mp4"))
        # Whether the other command remembers the clip or must examine the file again.
        for forget in (False, True):
            if forget:
                space.ledger.unlink()
                space.clips.unlink()
            fetch(space, replace(served.settings(), retry="all"))
            import_folder(space, ImportSettings(file.parent.parent))
            assert taken(space) >= before
            assert set(space.root.glob("clips/*/*.mp4")) >= files
