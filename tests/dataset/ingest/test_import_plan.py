"""A dry run and a run give the same rows over generated folders, and every file is accounted for."""

from __future__ import annotations

import shutil
import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dancecli.core.errors import InputError
from dancecli.core.records import Clip, Group, Segment
from dancecli.dataset.ingest.import_folder import ImportResult, ImportSettings, import_folder
from dancecli.dataset.ingest.importer import ImportOptions
from dancecli.dataset.left_out import read_left_out
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace
from dancecli.video.ffmpeg import run_ffmpeg

LENGTHS_S = (1, 2)
# Names that tell nothing, too much, or what a known dataset's names tell.
STEMS = (
    *("rehearsal", "rehearsal_1_2", "take_01_02", "gala_2019_2021", "PXL_20210704_183000123", "Ünïcode 日本"),
    *(
        "aBc1dEf2gHk_000003_000004",
        "aBc1dEf2gHk_3_5",
        "-Bc1dEf2gHk_0_1",
        "salsa_class_003",
        "rehearsal04",
        "aBc1dEf2gHk_052",
    ),
    *("v_Waltz_g01_c01", "v_Waltz_g01_c02", "gBR_sBM_c01_d04_mBR0_ch01", "gKR_sBM_c02_d05_mKR0_ch01"),
    *("April_09_waltz_u_nm_np1_fr_goo_0", "v_abcdefghijk", "a" * 120),
)
SUFFIXES = (".mp4", ".mp4", ".mp4", ".mp4", ".MP4", ".txt", ".mpg")
FOLDERS = ("waltz", "tango", "Waltz", "salsa dancing", "train/waltz", "val/tango", "waltz/2019", ".", "gBR")


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[int, bytes]:
    """One tiny video per length."""
    return make_videos(tmp_path_factory.mktemp("videos"))


def make_videos(folder: Path) -> dict[int, bytes]:
    made = {}
    for seconds in LENGTHS_S:
        path = folder / f"{seconds}.mp4"
        run_ffmpeg(["-f", "lavfi", "-i", f"testsrc2=size=32x32:rate=5:duration={seconds}", str(path)])
        made[seconds] = path.read_bytes()
    return made


def variant(video: bytes, number: int) -> bytes:
    """Other bytes that decode to the same frames: a free atom at the end."""
    return video + struct.pack(">I4sQ", 16, b"free", number)


files = st.fixed_dictionaries(
    {
        "folder": st.sampled_from(FOLDERS),
        "stem": st.sampled_from(STEMS),
        "suffix": st.sampled_from(SUFFIXES),
        "seconds": st.sampled_from(LENGTHS_S),
        # Few numbers: some files are equal, byte for byte.
        "number": st.integers(0, 4),
        "whole": st.sampled_from((True, True, True, True, True, False)),
    }
)
trees = st.fixed_dictionaries(
    {
        "files": st.lists(files, min_size=1, max_size=6),
        "layout": st.sampled_from((None, None, None, "kinetics", "plain", "ucf101")),
        "label_pattern": st.sampled_from(("", "", "", r"^(?P<label>[^/]+)/")),
        "group_patterns": st.sampled_from(((), (), (r"(?P<year>20\d\d)", r"_(\d+)_"))),
        "listed": st.sampled_from((False, False, False, True)),
    }
)


def plant(root: Path, tree: dict, videos: dict[int, bytes]) -> int:
    """Write the files of a tree; give how many there are."""
    written = {}
    for file in tree["files"]:
        path = root / file["folder"] / (file["stem"] + file["suffix"])
        path.parent.mkdir(parents=True, exist_ok=True)
        content = variant(videos[file["seconds"]], file["number"])
        written[path] = path.write_bytes(content if file["whole"] else content[:200])
    if tree["listed"]:
        lines = ["file;label;dancer;split", "gone.mp4;waltz;;"]
        for number, path in enumerate(sorted(written)):
            subset = ("train", "val", "")[number % 3]
            lines.append(f"{path.relative_to(root)};{('waltz', 'tango')[number % 2]};d{number % 2};{subset}")
        (root / "list.csv").write_text("\n".join(lines[: 2 + len(written) // 2 + 1]), encoding="utf-8")
        written[root / "list.csv"] = 1
        # The file that the list names and the folder lacks is given, too.
        return len(written) + 1
    return len(written)


def check(root: Path, tree: dict, videos: dict[int, bytes]) -> None:
    """Import a tree, and compare the run with its dry run and with what it wrote."""
    from dancecli.sources.layouts import Layout

    (root / "in").mkdir()
    given = plant(root / "in", tree, videos)
    workspace = Workspace(root / "workspace")
    workspace.root.mkdir()
    how = ImportSettings(
        root / "in",
        layout=Layout(tree["layout"]) if tree["layout"] else None,
        label_pattern=tree["label_pattern"],
        group_patterns=tree["group_patterns"],
        options=ImportOptions(workers=1),
        dry_run=True,
    )
    try:
        planned = import_folder(workspace, how)
    except InputError as error:
        with pytest.raises(InputError) as again:
            import_folder(workspace, running(how))
        assert again.value.message == error.message
        assert not workspace.clips.exists()
        return
    assert not list(workspace.root.iterdir())
    done = import_folder(workspace, running(how))
    for result in (planned, done):
        assert result.given == given == sum(result.clips.values()) + sum(result.left_out.values())
    assert done.files == planned.files
    assert (done.labels, done.layouts, done.notes) == (planned.labels, planned.layouts, planned.notes)
    assert done.conflicts == planned.conflicts
    compare_with_workspace(workspace, done)
    again = import_folder(workspace, how)
    assert sum(again.there.values()) == sum(again.clips.values()) == sum(done.clips.values())
    assert {row.clip_id for row in again.files if row.is_clip} == {r.clip_id for r in done.files if r.is_clip}


def running(how: ImportSettings) -> ImportSettings:
    from dataclasses import replace

    return replace(how, dry_run=False)


def compare_with_workspace(workspace: Workspace, done: ImportResult) -> None:
    """What the rows say is what the manifests hold."""
    clips = {clip.clip_id: clip for clip in tables.read(workspace.clips, Clip)}
    rows = [row for row in done.files if row.is_clip]
    assert len(rows) == len(clips)
    for row in rows:
        clip = clips[row.clip_id]
        assert (clip.label, clip.start_ms, clip.official_split) == (
            row.label,
            row.start_ms,
            row.official_split,
        )
        assert abs(1000 * clip.duration_s - row.length_ms) <= 200
        assert clip.original_path.endswith(row.path.rpartition("/")[2])
    assert set(clips) == {segment.clip_id for segment in tables.read(workspace.segments, Segment)}
    groups = tables.read(workspace.groups, Group) if workspace.groups.exists() else []
    # A clip has the groups of every file that holds it.
    holding = [row for row in done.files if row.clip_id in clips]
    assert {(g.clip_id, g.kind, g.group) for g in groups} == {
        (row.clip_id, kind, name) for row in holding for kind, name in row.groups
    }
    left_out = {(row.path, row.reason) for row in read_left_out(workspace)}
    assert len(left_out) == len(done.files) - len(rows)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees)
def test_a_dry_run_predicts_the_run(tree: dict, videos: dict[int, bytes], tmp_path: Path) -> None:
    root = Path(tempfile.mkdtemp(dir=tmp_path))
    try:
        check(root, tree, videos)
    finally:
        shutil.rmtree(root)
