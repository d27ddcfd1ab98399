from __future__ import annotations

import json
import subprocess
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from dancecli.core.records import ClipHashes, Group
from dancecli.dataset.similarity.dedup import grouped
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace
from dancecli.video.ffmpeg import find_ffmpeg


def ffmpeg(*args: str) -> None:
    subprocess.run([str(find_ffmpeg()), "-v", "error", *args], check=True)


def life(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    game = f"life=size=96x72:rate=25:seed={seed}:ratio=0.2:mold=10:life_color=white:death_color=#303030"
    ffmpeg("-f", "lavfi", "-i", f"{game},trim=duration=2,scale=192:144", str(path))
    return path


@pytest.fixture(scope="module")
def videos_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    first = life(root / "krumping" / "aaaaaaaaaaa_000000_000002.mp4", 1)
    ffmpeg(
        "-i",
        str(first),
        "-vf",
        "hflip,pad=iw:ih+40:0:20",
        "-crf",
        "32",
        str(first.with_name("bbbbbbbbbbb_000000_000002.mp4")),
    )
    life(root / "zumba" / "ccccccccccc_000000_000002.mp4", 2)
    ffmpeg("-i", str(first), "-vf", "scale=128:96", str(root / "zumba" / "ddddddddddd_000005_000007.mp4"))
    life(root / "zumba" / "eeeeeeeeeee_000000_000002.mp4", 3)
    life(root / "zumba" / "eeeeeeeeeee_000010_000012.mp4", 4)
    return root


def test_transformed_clips_are_grouped_once(dance, workspace: Workspace, videos_folder: Path) -> None:
    assert dance("import", str(videos_folder)).code == 0
    shown = dance("dedup", "--dry-run", "--json")
    assert (shown.code, shown.json["num_pending"], workspace.groups.exists()) == (0, 6, False)

    ran = dance("dedup", "--json")
    assert ran.code == 0
    group = ["aaaaaaaaaaa_0_2000", "bbbbbbbbbbb_0_2000", "ddddddddddd_5000_7000"]
    assert ran.json["near_duplicates"] == {"aaaaaaaaaaa": group}
    assert ran.json["conflicts"] == {"aaaaaaaaaaa": ["krumping", "zumba"]}
    assert {row.clip_id: row.group for row in tables.read(workspace.groups, Group)} == {
        **dict.fromkeys(group, "aaaaaaaaaaa"),
        "ccccccccccc_0_2000": "ccccccccccc",
        "eeeeeeeeeee_0_2000": "eeeeeeeeeee",
        "eeeeeeeeeee_10000_12000": "eeeeeeeeeee",
    }
    assert Path(ran.json["sheet"]).read_bytes().startswith(b"\x89PNG")

    before = workspace.groups.read_bytes(), workspace.hashes.stat().st_mtime_ns
    for clip in (workspace.root / "clips").rglob("*.mp4"):
        clip.write_bytes(b"it is not decoded again")
    again = dance("dedup")
    assert "nothing changed" in again.err
    assert (workspace.groups.read_bytes(), workspace.hashes.stat().st_mtime_ns) == before


def test_a_clip_that_cannot_be_decoded_is_reported(dance, workspace: Workspace, videos_folder: Path) -> None:
    assert dance("import", str(videos_folder)).code == 0
    workspace.clip("ccccccccccc_0_2000").write_bytes(b"gone")
    ran = dance("dedup")
    assert ran.code == 3
    assert "1 clip could not be decoded, first ccccccccccc_0_2000" in ran.err
    assert len(tables.read(workspace.groups, Group)) == 6


def test_no_clips_are_said(dance) -> None:
    ran = dance("dedup")
    assert (ran.code, "there are no clips to compare" in ran.err) == (1, True)


def test_groups_are_connected_through_videos_whatever_the_order() -> None:
    videos = ["e", "a", "c", "b", "c", "d"]
    # The second and the third clip look the same, and the fifth and the last; "c" has two clips.
    pairs = [(1, 2), (4, 5)]
    expected = {"a": "a", "c": "a", "d": "a", "b": "b", "e": "e"}

    for order in (range(6), reversed(range(6))):
        places = list(order)
        one, other = (np.array([places.index(pair[side]) for pair in pairs]) for side in (0, 1))
        shuffled = [videos[i] for i in places]
        assert grouped(shuffled, one, other) == [expected[video] for video in shuffled]


def test_clips_that_a_killed_run_hashed_are_not_hashed_again(
    dance, workspace: Workspace, videos_folder: Path
) -> None:
    assert dance("import", str(videos_folder)).code == 0
    assert dance("dedup").code == 0
    rows = tables.read(workspace.hashes, ClipHashes)
    workspace.hashes.unlink()
    lines = [
        json.dumps({k: v.hex() if isinstance(v, bytes) else v for k, v in asdict(r).items()}) for r in rows
    ]
    cut_short = b'\n{"clip_id": "w\xc3'
    workspace.hashes.with_suffix(".jsonl").write_bytes("\n".join(lines).encode() + cut_short)
    for clip in (workspace.root / "clips").rglob("*.mp4"):
        clip.write_bytes(b"it is not decoded again")
    workspace.group_sheet.unlink()
    ran = dance("dedup", "--json")
    assert (ran.json["num_clips"], ran.json["unreadable"], ran.json["changed"]) == (6, {}, False)
    assert workspace.group_sheet.exists(), "a clip that is broken by now is gray on it"
    assert tables.read(workspace.hashes, ClipHashes) == rows


def test_stored_hashes_that_cannot_be_read_are_computed_again(
    dance, workspace: Workspace, videos_folder: Path
) -> None:
    assert dance("import", str(videos_folder)).code == 0
    assert dance("dedup").code == 0
    groups, looks = workspace.groups.read_bytes(), workspace.hashes.read_bytes()
    workspace.hashes.write_bytes(looks[: len(looks) // 2])
    again = dance("dedup")
    assert (again.code, workspace.groups.read_bytes(), workspace.hashes.read_bytes()) == (0, groups, looks)
