"""What is not needed is listed with sizes, and only that is removed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import clip_workspace
from helpers.builders import Ran

from dancecli.app.thumbnails import thumbnail
from dancecli.core.errors import UsageError, WorkspaceError
from dancecli.core.records import Clip, Flow, Segment
from dancecli.core.video_files import clip_path
from dancecli.dataset.export.export import lock_of
from dancecli.dataset.upkeep.clean import CleanSettings, Kind, clean
from dancecli.model.training.features.store import open_store
from dancecli.storage import tables
from dancecli.storage.runs import RunFolder, write_record
from dancecli.storage.workspace import Workspace, clips_lock

clip_files, populated = clip_workspace.clip_files, clip_workspace.populated
REMOVE = CleanSettings(remove=True)
ORPHANS = tuple(
    clip_path(kind, f"removed-clip_0_1000{end}")
    for kind, end in (("clips", ".mp4"), ("augmented", ".hflip.mp4"), ("flow", ".dis.mp4"))
)
KILLED = """
import os, signal, sys
from pathlib import Path
from dancecli.storage.files import atomic_file
with atomic_file(Path(sys.argv[1])) as file:
    file.write("half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def write(path: Path, content: bytes = b"bytes") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def contents(workspace: Workspace) -> dict[str, bytes]:
    files = [path for path in workspace.root.rglob("*") if path.is_file() and ".locks" not in path.parts]
    return {path.relative_to(workspace.root).as_posix(): path.read_bytes() for path in files}


def litter(workspace: Workspace) -> None:
    root = workspace.root
    write(root / "tmp" / "fetch" / "abc_0_1000.mp4", b"x" * 1000)
    write(root / "augmented" / ".tmp" / "abc" / "half.mp4")
    write(root / "flow" / ".tmp" / "half.mp4")
    write(root / "exports" / ".full-lists.part" / "train.txt")
    write(root / "cache" / "features" / "weights-0011.pth")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(workspace.segments)], check=False)
    assert killed.returncode == -signal.SIGKILL
    for path in ORPHANS:
        write(root / path)


def test_everything_but_what_is_not_needed_stays(populated: Workspace) -> None:
    clip = tables.read(populated.clips, Clip)[0]
    flow = write(populated.root / "flow" / f"{clip.clip_id}.dis.mp4")
    row = (clip.clip_id, "dis", "flow/" + flow.name, "", 5, clip.sha256, 1, 1, 1, 1.0, 25, 20, 0.1, "1")
    tables.write(populated.flows, Flow, [Flow(*row)])
    write(populated.root / "pose" / "preview.png")
    names = ("VID_20240517_184502.mp4", "abcdefghijk_000010_000020.mp4")
    mine = ("my holiday.mp4", "notes.txt", *(f"salsa/{name}" for name in names))
    for name in (*mine, ".git/HEAD"):
        write(populated.root / "clips" / name)
    write(populated.root / "exports" / "full-lists" / "train.txt")
    write(populated.root / "sources" / "abc.mp4")
    before = contents(populated)
    litter(populated)
    listed = clean(populated, CleanSettings())
    assert {item.path for item in listed.items if item.kind is Kind.ORPHANS} == set(ORPHANS)
    unfinished = [item.path for item in listed.items if item.kind is Kind.UNFINISHED]
    assert len(unfinished) == 6
    assert listed.items[0].path == "tmp"
    assert listed.items[0].num_bytes == 1000
    assert listed.foreign == tuple(f"clips/{name}" for name in mine)
    freed = clean(populated, REMOVE)
    assert freed.removed
    assert freed.num_bytes == listed.num_bytes > 1000
    assert contents(populated) == before
    assert clean(populated, CleanSettings()).items == ()


def test_a_clip_that_a_fetch_would_register_again_stays(populated: Workspace) -> None:
    segments = tables.read(populated.segments, Segment)
    meta = {"labels": tables.read_meta(populated.segments)["labels"]}
    tables.write(populated.segments, Segment, [*segments, Segment("new", 0, 1000, "zumba", "", "x")], meta)
    path = write(populated.clip("new_0_1000"))
    assert clean(populated, REMOVE).items == ()
    assert path.exists()


def test_features_by_run_and_age(populated: Workspace) -> None:
    folder = populated.root / "cache" / "features"
    stores = {}
    for name, weights in (("old", "aa"), ("new", "bb")):
        stores[name] = open_store(folder, "float16", {"weights": weights, "stage": 4})
        stores[name].append([f"{name}_0_1000.0.x"], np.ones((1, 1, 8), np.float16))
        record = {"schema": 1, "name": name, "status": "done", "weights": {"sha256": weights}}
        record["cache"] = {"used": True, "stage": 4, "dtype": "float16"}
        write_record(RunFolder(populated.run(name)), record)
    then = time.time() - 40 * 86_400
    for path in (*stores["old"].folder.iterdir(), stores["old"].folder):
        os.utime(path, (then, then))
    features = CleanSettings((Kind.FEATURES,))
    assert {item.runs for item in clean(populated, features).items} == {("old",), ("new",)}
    (aged,) = clean(populated, replace(features, older_days=30)).items
    assert (aged.runs, round(aged.age_days)) == (("old",), 40)
    (mine,) = clean(populated, CleanSettings(run="new", remove=True)).items
    assert mine.path == stores["new"].folder.relative_to(populated.root).as_posix()
    assert not stores["new"].folder.exists()
    assert stores["old"].folder.exists()
    with pytest.raises(UsageError, match="no run 'x'"):
        clean(populated, CleanSettings(run="x"))
    with pytest.raises(UsageError, match="--run selects features"):
        clean(populated, CleanSettings((Kind.ORPHANS,), run="new"))


def test_thumbnails(populated: Workspace) -> None:
    clip = tables.read(populated.clips, Clip)[0]
    picture = thumbnail(populated, populated.root / clip.path, clip.sha256)
    assert [item.kind for item in clean(populated, REMOVE).items] == [Kind.THUMBNAILS]
    assert not picture.exists()


@pytest.mark.parametrize("step", ["clips", "flow", "export"])
def test_nothing_is_removed_beside_a_command_that_may_need_it(populated: Workspace, step: str) -> None:
    litter(populated)
    before = contents(populated)
    place = populated.root / "exports" / "full-lists"
    held = {
        "clips": clips_lock(populated, "fetch"),
        "flow": populated.lock("flow"),
        "export": populated.lock(lock_of(place)),
    }
    with held[step], pytest.raises(WorkspaceError, match=r"at work|writes clips"):
        clean(populated, REMOVE)
    assert contents(populated) == before


def test_what_vanishes_meanwhile_is_left_out(populated: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    litter(populated)
    listed = {item.path for item in clean(populated, CleanSettings()).items}
    known = Path.lstat

    def lstat(path: Path) -> os.stat_result:
        if path.name in ("abc_0_1000.mp4", "weights-0011.pth"):
            raise FileNotFoundError(path)
        return known(path)

    monkeypatch.setattr(Path, "lstat", lstat)
    left = {item.path: item.num_bytes for item in clean(populated, CleanSettings()).items}
    assert left.keys() == listed - {"cache/features/weights-0011.pth"}
    assert left["tmp"] == 0


def test_weights_that_the_nodes_of_a_command_read_stay(populated: Workspace) -> None:
    litter(populated)
    weights = populated.root / "cache" / "features" / "weights-0011.pth"
    with populated.lock("features-0123"):
        clean(populated, CleanSettings((Kind.UNFINISHED,), remove=True))
        assert weights.exists()
        with pytest.raises(WorkspaceError, match="are being computed"):
            clean(populated, CleanSettings((Kind.FEATURES,), remove=True))
    clean(populated, CleanSettings((Kind.UNFINISHED,), remove=True))
    assert not weights.exists()


def test_the_command(populated: Workspace, dance: Callable[..., Ran]) -> None:
    litter(populated)
    before = contents(populated)
    ran = dance("clean")
    assert ran.code == 0
    assert "9 items, 1.0 kB can be freed" in ran.out
    assert "add --yes" in ran.err
    assert contents(populated) == before
    found = json.loads(dance("clean", "orphans", "--json", "--yes").out)
    assert (found["removed"], len(found["items"])) == (True, 3)
    assert found["num_bytes"] == 15
    assert "6 items" in dance("clean", "--yes").out
    assert "0 items, 0 bytes can be freed" in dance("clean").out
    assert dance("clean", "clips").code == 2
