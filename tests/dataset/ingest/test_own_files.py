"""An import of a folder around the workspace, or in it, does not take dance's own files in."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.builders import Ran

import dancecli
from dancecli.core.records import Clip
from dancecli.storage import tables
from dancecli.storage.corrections import Correction, append_corrections
from dancecli.storage.workspace import MEDIA_FOLDERS, OWN_FOLDERS, Workspace
from dancecli.video.ffmpeg import run_ffmpeg

Dance = Callable[..., Ran]


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tape") / "tape.mp4"
    run_ffmpeg(["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=10:duration=1", str(path)])
    return path


def placed(tape: Path, *paths: Path) -> None:
    """Put films there that differ in their bytes."""
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tape.read_bytes() + bytes(number))


@pytest.mark.parametrize("inside", [".", "..", "clips"])
def test_a_rerun_around_the_workspace_finds_the_same_files(
    dance: Dance, workspace: Workspace, tape: Path, inside: str
) -> None:
    root = workspace.root
    placed(tape, root / "waltz" / "a.mp4", root / "tango" / "b.mp4", root / "clips" / "tango" / "c.mp4")
    (root / "waltz" / "broken.mp4").write_bytes(b"no film")
    first = dance("import", ".", "--json")
    assert first.json["clips"] == {"tango": 2, "waltz": 1}
    assert (root / "left-out.csv").exists()
    ids = {clip.clip_id for clip in tables.read(workspace.clips, Clip)}
    placed(tape, root / "augmented" / "preview.png", root / "pose" / "preview.mp4")
    append_corrections(workspace, [Correction(min(ids), "label", "waltz", "tango")])
    again = dance("import", inside, "--json")
    wanted = {".": 4, "..": 4, "clips": 1}[inside]
    assert again.json["given"] == wanted, [row["path"] for row in again.json["files"]]
    assert {clip.clip_id for clip in tables.read(workspace.clips, Clip)} == ids
    if inside == ".":
        assert again.json["files"] == [
            row | {"status": "there" if row["is_clip"] else row["status"]} for row in first.json["files"]
        ]


def test_what_a_killed_import_left_is_its_own_too(dance: Dance, workspace: Workspace, tape: Path) -> None:
    placed(tape, workspace.root / "waltz" / "a.mp4", workspace.root / "waltz" / "b.mp4")
    assert dance("import", ".").code == 0
    for path in (workspace.clips, *workspace.root.glob("ledger.db*")):
        path.unlink()
    again = dance("import", ".", "--json")
    assert (again.code, again.json["clips"]) == (0, {"waltz": 2})


def test_clips_that_were_handed_out_are_read_where_dance_keeps_its_own(
    dance: Dance, workspace: Workspace, tape: Path
) -> None:
    clip_id = "abcdefghijk_0_1000"
    placed(tape, workspace.clip(clip_id))
    (workspace.root / "clips" / "list.csv").write_text(f"file,label\n{clip_id},waltz\n")
    for count in (0, 1):
        ran = dance("import", "clips", "--link", "--json")
        assert (ran.code, ran.json["clips"], ran.json["there"]) == (
            0,
            {"waltz": 1},
            {"waltz": 1} if count else {},
        )


def test_a_folder_of_ones_own_that_is_not_read_is_said(
    dance: Dance, workspace: Workspace, tape: Path
) -> None:
    placed(tape, workspace.root / "reports" / "a.mp4")
    says = "reports: not read, since dance keeps files of its own there; rename it if its videos are yours"
    alone = dance("import", ".")
    assert (alone.code, says in " ".join(alone.err.split())) == (1, True)
    placed(tape, workspace.root / "waltz" / "a.mp4")
    ran = dance("import", ".", "--json")
    assert (ran.code, ran.json["clips"]) == (0, {"waltz": 1})
    assert [note for note in ran.json["notes"] if says in note]
    # Elsewhere the name is one as any other.
    shutil.copytree(workspace.root / "reports", workspace.root / "waltz" / "reports")
    assert dance("import", ".", "--json").json["given"] == 2


def test_a_list_of_ones_own_that_is_called_like_a_table_of_dance_counts(
    dance: Dance, workspace: Workspace, tape: Path
) -> None:
    placed(tape, workspace.root / "a.mp4")
    (workspace.root / "labels.csv").write_text("file,label\na.mp4,waltz\n")
    assert dance("import", ".", "--json").json["clips"] == {"waltz": 1}


def test_every_folder_that_is_written_is_known() -> None:
    package = Path(dancecli.__file__).parent
    names: set[str] = set()
    for path in package.rglob("*.py"):
        text = path.read_text()
        names |= set(re.findall(r'workspace\.root / "(\w+)"(?! *\.)', text))
        names |= set(re.findall(r'clip_path\("(\w+)"', text))
        if path.name in ("workspace.py", "cutting.py"):
            names |= set(re.findall(r'self\.root / "(\w+)"', text))
    assert names
    assert names <= OWN_FOLDERS | set(MEDIA_FOLDERS)
