"""`dance report --bundle`: the page with its clips, whole wherever it is opened."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.builders import Ran
from helpers.fake_run import make_run

from dancecli.core.errors import InputError
from dancecli.core.progress import Reporter
from dancecli.core.records import Clip
from dancecli.report.report import ReportSettings, report
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace

LABELS = ("wave", "spin", "bounce")
LOST = 4


@pytest.fixture
def made(workspace: Workspace) -> Workspace:
    """A run with the files of its clips, without the first few; one is not in the usual place."""
    make_run(workspace.root, LABELS, test=12, val=6, name="run-1")
    clips = tables.read(workspace.clips, Clip)
    held_out = [clip for clip in clips if not clip.clip_id.startswith("train")]
    other = replace(held_out[-1], path="old/film 1.avi")
    tables.write(workspace.clips, Clip, [other if c.clip_id == other.clip_id else c for c in clips])
    for clip in (*held_out[LOST:-1], other):
        path = workspace.root / clip.path
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(clip.clip_id.encode())
    return workspace


def clips_of(page: str) -> dict[str, object]:
    data = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])  # type: ignore[index]
    assert data["clips"] == "clips/"
    return {clip[0]: clip[1] for subset in data["subsets"].values() for clip in subset["clips"]}


def test_a_folder_holds_the_page_and_every_clip_that_is_here(made: Workspace, tmp_path: Path) -> None:
    out, told = tmp_path / "sent", []
    report(made, ReportSettings("run-1", bundle=out), Reporter(on_message=told.append))
    assert told[-1].endswith(f"holds 14 clips, 0.0 MB; {LOST} clips without a file here")
    places = clips_of((out / "index.html").read_text())
    assert list(places.values()).count(0) == LOST
    for clip, place in places.items():
        if place:
            path = out / (f"clips/{clip}.mp4" if place == 1 else str(place))
            assert path.read_bytes() == clip.encode()
    assert sum(place not in (0, 1) for place in places.values()) == 1
    assert {"metrics.json", "confusion.csv", "model-card.md"} <= {p.name for p in out.iterdir()}
    # Once more into the same folder is no error.
    report(made, ReportSettings("run-1", bundle=out))


def test_a_zip_file_holds_the_same_in_one_folder(made: Workspace, tmp_path: Path) -> None:
    out, folder = tmp_path / "sent.zip", tmp_path / "folder"
    report(made, ReportSettings("run-1", bundle=out))
    before = out.read_bytes()
    report(made, ReportSettings("run-1", bundle=folder))
    with zipfile.ZipFile(out) as archive:
        inside = {name.removeprefix("sent/"): archive.read(name) for name in archive.namelist()}
    assert inside == {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    report(made, ReportSettings("run-1", bundle=out))
    assert out.read_bytes() == before


def test_a_folder_of_something_else_is_left_alone(made: Workspace, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="exists and is no bundle"):
        report(made, ReportSettings("run-1", bundle=tmp_path))


def test_clips_of_youtube_can_be_opened_at_their_second(workspace: Workspace) -> None:
    make_run(workspace.root, LABELS, test=12, name="run-1")
    clips = tables.read(workspace.clips, Clip)
    changed = [
        replace(c, video_id=c.video_id[-11:].rjust(11, "x"), source="youtube" if i % 2 else "folder")
        for i, c in enumerate(clips)
    ]
    tables.write(workspace.clips, Clip, changed)
    page = report(workspace, ReportSettings("run-1")).page.read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])  # type: ignore[index]
    ours = sorted(c.clip_id for c in changed if c.source == "youtube" and c.clip_id.startswith("test"))
    assert data["watch"] == {"url": "https://www.youtube.com/watch?v=", "clips": ours}


def test_the_command(made: Workspace, dance: Callable[..., Ran]) -> None:
    ran = dance("report", "--bundle", "sent.zip", "--dry-run")
    assert "sent.zip would hold 14 clips" in ran.err
    assert not (made.root / "sent.zip").exists()
    assert dance("report", "--bundle", "sent.zip").code == 0
    assert (made.root / "sent.zip").exists()
