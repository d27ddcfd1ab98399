"""A benchmark's test clips found in somebody else's folder, by a file without pictures."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.builders import Ran
from hypothesis import given
from hypothesis import strategies as st

from dancecli.core.errors import InputError
from dancecli.core.progress import Progress, Reporter
from dancecli.core.records import Clip, ClipHashes, SplitClip
from dancecli.dataset.similarity.fingerprint import (
    AgainstResult,
    find_listed,
    folder_against,
    read_fingerprint,
    write_fingerprint,
)
from dancecli.dataset.similarity.neighbors import HashArrays
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace
from dancecli.video.ffmpeg import find_ffmpeg
from dancecli.video.phash import PerceptualHashes

NUM_OTHERS = 10_000


def ffmpeg(*args: str) -> None:
    subprocess.run([str(find_ffmpeg()), "-v", "error", *args], check=True)


def life(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    game = f"life=size=96x72:rate=25:seed={seed}:ratio=0.2:mold=10:life_color=white:death_color=#303030"
    ffmpeg("-f", "lavfi", "-i", f"{game},trim=duration=2,scale=192:144", str(path))
    return path


@pytest.fixture
def benchmark(workspace: Workspace, dance: Callable[..., Ran], tmp_path: Path) -> dict[str, Path]:
    """A workspace with a split of one test clip and one training clip; the files by subset."""
    files = {
        subset: life(tmp_path / "own" / "zumba" / f"{subset}_0_2.mp4", i)
        for i, subset in enumerate(("train", "test"))
    }
    assert dance("import", str(tmp_path / "own")).code == 0
    clips = tables.read(workspace.clips, Clip)
    rows = [SplitClip(c.clip_id, c.video_id.partition("_")[0], c.video_id, c.label, c.sha256) for c in clips]
    assert {row.subset for row in rows} == {"train", "test"}
    meta = {"split.hash": "", "split.labels": json.dumps(["zumba"])}
    tables.write(workspace.split("full"), SplitClip, rows, meta)
    return files


def random_hashes(count: int, seed: int) -> list[PerceptualHashes]:
    """Hashes of no video: half of the bits are set, as in a picture's, and which is drawn at random."""
    rng = np.random.default_rng(seed)
    bits = rng.permuted(np.tile(np.arange(64) % 2, (count, 4 + 4 + 8 + 8, 1)), axis=2).astype(np.uint8)
    words = np.packbits(bits, axis=2)
    cuts = ((0, 4), (4, 8), (8, 16), (16, 24))
    return [PerceptualHashes(*(row[a:b].tobytes() for a, b in cuts)) for row in words]


def test_a_mirrored_test_clip_is_found_in_a_folder_and_a_training_clip_is_not(
    benchmark: dict[str, Path], workspace: Workspace, dance: Callable[..., Ran], tmp_path: Path
) -> None:
    ran = dance("export", "--format", "fingerprint")
    assert (ran.code, "run dance dedup first" in ran.err) == (2, True)
    assert dance("dedup").code == 0
    folder = Path(dance("export", "--format", "fingerprint", "--json").json["folder"])
    assert not list(folder.rglob("*.mp4"))
    file = folder / "fingerprint.csv"
    (listed,) = read_fingerprint(file)
    assert listed.clip_id.startswith("test")
    assert dance("verify", "--card", str(folder / "croissant.json")).code == 0

    foreign = tmp_path / "foreign"
    (foreign / "a").mkdir(parents=True)
    change = ("-vf", "hflip,scale=128:96", "-crf", "30")
    ffmpeg("-i", str(benchmark["test"]), *change, str(foreign / "a" / "stolen.mkv"))
    ffmpeg("-i", str(benchmark["train"]), *change, str(foreign / "a" / "training.mp4"))
    life(foreign / "other.mp4", 7)
    (foreign / "broken.mp4").write_bytes(b"no video")
    ran = dance("dedup", str(foreign), "--against", str(file), "--json")
    assert ran.code == 3
    assert [(m["clip_id"], m["found"]) for m in ran.json["matches"]] == [(listed.clip_id, "a/stolen.mkv")]
    assert (ran.json["num_compared"], list(ran.json["unreadable"])) == (3, ["broken.mp4"])
    assert (
        "1 of 3 videos show 1 of the 1 clip of fingerprint.csv"
        in dance("dedup", str(foreign), "--against", str(file)).out
    )
    for name in ("a/stolen.mkv", "broken.mp4"):
        (foreign / name).unlink()
    assert dance("dedup", str(foreign), "--against", str(file)).code == 0
    empty = tmp_path / "empty"
    empty.mkdir()
    ran = dance("dedup", str(empty), "--against", str(file))
    assert (ran.code, "empty: contains no video" in ran.err) == (1, True)
    ffmpeg("-f", "lavfi", "-i", "color=gray:size=64x48:duration=1", str(empty / "gray.mp4"))
    ran = dance("dedup", str(empty), "--against", str(file))
    assert (ran.code, "1 video is of one tone: nothing can be compared with it" in ran.err) == (0, True)
    # The workspace's own test clip shows itself.
    own = dance("dedup", "--against", str(file), "--json").json["matches"]
    assert [(m["clip_id"], m["found"], m["distance"]) for m in own] == [(listed.clip_id, listed.clip_id, 0.0)]


def test_a_folder_that_was_looked_through_in_part_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "foreign"
    videos = [life(folder / f"{i}.mp4", i) for i in range(3)]
    (folder / "broken.mp4").write_bytes(b"no video")
    (one,) = random_hashes(1, seed=0)
    listed = [ClipHashes("clip", "", one.mean, one.motion, one.frames, one.changes)]

    def looked_through(stop_at: int = -1) -> tuple[list[int], AgainstResult | None]:
        """The counts of the progress, and the result, if it is not stopped."""
        counts = []

        def on_progress(now: Progress) -> None:
            counts.append(now.done)
            if now.done == stop_at:
                raise KeyboardInterrupt

        files = sorted(folder.iterdir())
        try:
            return counts, folder_against(listed, folder, files, 1, Reporter(on_progress))
        except KeyboardInterrupt:
            return counts, None

    assert looked_through(stop_at=2) == ([0, 1, 2], None)
    counts, result = looked_through()
    assert result is not None
    assert counts[0] >= 1
    assert (result.num_compared, list(result.unreadable)) == (3, ["broken.mp4"])
    # All but the broken one, which may be whole next time, are kept; a video that has changed is not.
    assert looked_through() == ([3, 4], result)
    videos[0].unlink()
    life(videos[0], 9)
    assert looked_through()[0][0] == 2


def test_none_of_ten_thousand_others_is_found() -> None:
    made = random_hashes(NUM_OTHERS + 20, seed=0)
    listed = [
        ClipHashes(f"clip{i}", "", one.mean, one.motion, one.frames, one.changes)
        for i, one in enumerate(made[:20])
    ]
    names = [str(i) for i in range(NUM_OTHERS + 1)]
    matches, num_flat = find_listed(listed, names, HashArrays.of([*made[20:], made[3]]))
    assert [(m.clip_id, m.found, m.distance) for m in matches] == [("clip3", str(NUM_OTHERS), 0.0)]
    assert num_flat == 0


@given(seed=st.integers(0, 1000), line=st.integers(1, 4), column=st.integers(2, 5))
def test_a_fingerprint_file_is_read_back_and_a_damaged_one_refused(
    tmp_path_factory: pytest.TempPathFactory, seed: int, line: int, column: int
) -> None:
    path = tmp_path_factory.mktemp("fingerprint") / "fingerprint.csv"
    rows = [
        ClipHashes(f"clip{i}", f"{i:064x}", one.mean, one.motion, one.frames, one.changes)
        for i, one in enumerate(random_hashes(4, seed))
    ]
    write_fingerprint(rows, path)
    assert read_fingerprint(path) == rows
    lines = path.read_text().splitlines()
    cells = lines[line].split(",")
    cells[column] = cells[column][:-1]
    lines[line] = ",".join(cells)
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=f":{line + 1}: is not hashes in hexadecimal"):
        read_fingerprint(path)


def test_a_workspace_without_clips_has_nothing_to_look_through(
    workspace: Workspace, dance: Callable[..., Ran], tmp_path: Path
) -> None:
    (one,) = random_hashes(1, seed=0)
    path = tmp_path / "fingerprint.csv"
    write_fingerprint([ClipHashes("clip", "0" * 64, one.mean, one.motion, one.frames, one.changes)], path)
    before = sorted(workspace.root.rglob("*"))
    for more in ((), ("--dry-run",)):
        ran = dance("dedup", "--against", str(path), *more)
        assert (ran.code, ran.out) == (1, "")
        assert "no clips here" in ran.err
        assert "give the folder of videos to look through" in ran.err
    assert sorted(workspace.root.rglob("*")) == before
    tables.write(workspace.clips, Clip, [])
    assert dance("dedup", "--against", str(path)).code == 1


def test_other_files_and_a_folder_without_a_file_are_refused(
    workspace: Workspace, dance: Callable[..., Ran], tmp_path: Path
) -> None:
    path = tmp_path / "list.csv"
    path.write_text("youtube_id,label\nabc,zumba\n")
    assert "is no fingerprint file" in dance("dedup", str(tmp_path), "--against", str(path)).err
    # One that was cut short would find nothing, as if nothing were there.
    write_fingerprint([], path)
    assert "list.csv:1: lists no clips" in dance("dedup", "--against", str(path)).err
    assert dance("dedup", str(tmp_path)).code == 2
