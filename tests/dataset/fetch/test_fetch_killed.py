"""A fetch that is killed again and again loses nothing, does nothing twice, leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from helpers import video_site
from helpers.video_site import ServedVideos

from dancecli.core.hashing import sha256_file
from dancecli.core.records import Clip, OutcomeClass
from dancecli.demo.video_site import Fault
from dancecli.storage import ledger, tables
from dancecli.storage.workspace import Workspace

source_video, served = video_site.source_video, video_site.served
IDS = [f"-v{i:02d}" for i in range(12)]


def start(served: ServedVideos, workspace: Workspace) -> subprocess.Popen[bytes]:
    flags = ("--annotations", str(served.list), "--url-template", served.site.url_template, "--workers", "2")
    return subprocess.Popen(
        [sys.executable, "-m", "dancecli", "fetch", *flags, "--min-free", "0"],
        cwd=workspace.root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def settled(workspace: Workspace) -> set[str]:
    """Videos whose clip is published or has its final outcome."""
    final = {
        clip_id
        for clip_id, known in ledger.latest(workspace.root).items()
        if known.outcome in (OutcomeClass.DONE, OutcomeClass.PERMANENT)
    }
    published = {path.stem for path in (workspace.root / "clips").rglob("*.mp4")}
    return {clip_id.rsplit("_", 2)[0] for clip_id in final | published}


def test_killed_at_three_places_and_continued(served: ServedVideos, workspace: Workspace) -> None:
    served.want(*(f"zumba,{video_id},1,3" for video_id in IDS))
    served.faults["-v05"] = Fault(status=410)
    before: set[str] = set()
    for requests in (3, 6, 9):
        running = start(served, workspace)
        seen = len(served.asked)
        while len(served.asked) < requests and running.poll() is None:
            time.sleep(0.005)
        os.kill(running.pid, signal.SIGKILL)
        running.communicate()
        time.sleep(0.1)
        assert not before & set(served.asked[seen:])
        before = settled(workspace)
    seen = len(served.asked)
    running = start(served, workspace)
    _, said = running.communicate()
    assert running.returncode == 3, said
    assert not before & set(served.asked[seen:])
    standing = ledger.latest(workspace.root)
    assert len(standing) == 12
    clips = tables.read(workspace.clips, Clip)
    assert len(clips) == 11
    for clip in clips:
        assert sha256_file(workspace.root / clip.path) == clip.sha256
        assert [o.outcome for o in ledger.history(workspace.root, clip.clip_id)].count(OutcomeClass.DONE) == 1
    assert leftovers(workspace, clips) == []


def leftovers(workspace: Workspace, clips: list[Clip]) -> list[Path]:
    """Files that no finished fetch has."""
    known = {workspace.root / clip.path for clip in clips} | {
        workspace.segments,
        workspace.clips,
        workspace.settings,
    }
    return [
        path
        for path in workspace.root.rglob("*")
        if path.is_file()
        and path not in known
        and path.parent.name != ".locks"
        and not path.name.startswith("ledger.db")
    ]
