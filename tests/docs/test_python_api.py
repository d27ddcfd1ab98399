"""The programs of the Python API's page run as they are written there, one after the other."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.builders import fill, make_clip

from dancecli.core.hashing import sha256_file
from dancecli.dataset.split.annotations import annotate
from dancecli.dataset.split.split import SplitSettings, split
from dancecli.storage.workspace import Workspace
from dancecli.video.ffmpeg import run_ffmpeg

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "python-api.md"
PROGRAMS = dict(
    re.findall(r'^```python title="([^"]+)"\n(.*?)^```$', PAGE.read_text(), re.DOTALL | re.MULTILINE)
)
LABELS = ("tap dancing", "waltz", "zumba")
NUM_CLIPS = 15
# What the page leaves to dance.toml: views that a CPU computes in seconds.
RECIPE = "clip_len = 8\nframe_interval = 1\nshort_side = 64\ncrop = 64\nviews = 1\nbatch = 4\nworkers = 1\n"
PRINTED = {
    "workspace.py": ("tap dancing", "0 corrections"),
    "split.py": ("'groups_in_several_subsets': 0", "subset525.lock.csv", "torch.uint8 (3, ", "(2, 3, "),
    "runs.py": ("Progress(done=", "predicted", "top-1", "index.html", "1 leaderboard", "'probability'"),
    "commands.py": ("findings", "ratios '50/60'"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the workspace and the film that the page names."""
    home = tmp_path_factory.mktemp("api")
    workspace = Workspace(home / "my-dataset")
    clips, files = [], []
    for i in range(NUM_CLIPS):
        files.append(home / f"{i}.mp4")
        picture = f"testsrc2=size=96x72:rate=25,hue=h={24 * i}"
        run_ffmpeg(["-f", "lavfi", "-i", picture, "-frames:v", "24", "-pix_fmt", "yuv420p", str(files[-1])])
        size, sha256 = files[-1].stat().st_size, sha256_file(files[-1])
        facts = {"num_frames": 24, "width": 96, "height": 72, "has_audio": False, "num_bytes": size}
        clips.append(make_clip(3 * i, LABELS[i % len(LABELS)], sha256=sha256, **facts))
    fill(workspace, clips, LABELS)
    for clip, file in zip(clips, files, strict=True):
        shutil.copyfile(file, workspace.root / clip.path)
    files[0].rename(home / "film.mp4")
    annotate(workspace, split(workspace, SplitSettings("60/20/20", name="subset525", stratify=True)).name)
    (home / "recipe.toml").write_text(RECIPE)
    workspace.settings.write_text(f'[finetune]\nrecipe = "{home}/recipe.toml"\n')
    return home


def test_the_page_has_these_programs() -> None:
    assert list(PROGRAMS) == list(PRINTED)


@pytest.mark.parametrize("name", PRINTED)
def test_the_programs_of_the_page_run(name: str, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAMS[name]], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for text in PRINTED[name]:
        assert text in done.stdout
