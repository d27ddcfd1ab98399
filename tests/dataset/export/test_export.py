from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from helpers import clip_workspace
from helpers.builders import Ran
from helpers.clip_workspace import LABELS, populate

from dancecli.core.errors import MediaError, UsageError, WorkspaceError
from dancecli.core.progress import Progress, Reporter
from dancecli.core.records import Clip, SplitClip
from dancecli.dataset.derived.augment import AugmentSettings, augment
from dancecli.dataset.export.export import ExportSettings, Form, export
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace

clip_files, populated = clip_workspace.clip_files, clip_workspace.populated

# A fingerprint file has hashes of the clips alone.
CLIP_FORMS = [form for form in Form if form is not Form.FINGERPRINT]
# What a reader must find: of every clip its part, label and number of frames.
Found = dict[str, tuple[str, str, int]]


def expected(workspace: Workspace, *, augmented: bool = False) -> Found:
    clips = {c.clip_id: c for c in tables.read(workspace.clips, Clip)}
    parts = {p.clip_id: p.subset for p in tables.read(workspace.split("full"), SplitClip)}
    return {
        clip.clip_id: (parts[clip.parent_id or clip.clip_id], clip.label, clip.num_frames)
        for clip in clips.values()
        if augmented or not clip.parent_id
    }


def frames(video: bytes | str) -> int:
    import av

    with av.open(io.BytesIO(video) if isinstance(video, bytes) else video) as container:
        return sum(1 for _ in container.decode(video=0))


def tree(folder: Path) -> dict[str, str]:
    """The checksum of every file of an export, the record of where it came from included."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def read_hub(folder: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> Found:
    """Read a folder as anybody does, its card telling where the parts are."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from datasets import ClassLabel, Video, disable_progress_bars, load_dataset

    disable_progress_bars()
    found = {}
    for part, rows in load_dataset(str(folder), cache_dir=str(cache)).items():
        label = rows.features["label"]
        for row in rows.cast_column("video", Video(decode=False)):
            video = row["video"]["bytes"] or row["video"]["path"]
            name = label.int2str(row["label"]) if isinstance(label, ClassLabel) else row["label"]
            found[row["clip_id"]] = (part.replace("validation", "val"), name, frames(video))
            assert row["num_frames"] == found[row["clip_id"]][2]
    return found


@pytest.mark.parametrize("form", [Form.VIDEOFOLDER, Form.PARQUET])
def test_hugging_face_reads_what_was_exported(
    populated: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, form: Form
) -> None:
    augment(populated, AugmentSettings(ops="hflip", workers=1))
    # Small shards, so that there are several.
    result = export(populated, ExportSettings(form, augmented=True, shard_bytes=60_000))
    assert read_hub(result.folder, monkeypatch, tmp_path) == expected(populated, augmented=True)
    assert result.counts == {"train": 6, "val": 1, "test": 1}


def test_webdataset_reads_what_was_exported(populated: Workspace) -> None:
    import webdataset

    augment(populated, AugmentSettings(ops="vflip", workers=1))
    result = export(populated, ExportSettings(Form.WEBDATASET, augmented=True, shard_bytes=60_000))
    shards = sorted(result.folder.rglob("*.tar"))
    assert len(shards) > 3
    found = {}
    for sample in webdataset.WebDataset([str(s) for s in shards], shardshuffle=False).decode():
        facts = sample["json"]
        part = Path(sample["__url__"]).parent.name
        found[facts["clip_id"]] = (part, LABELS[sample["cls"]], frames(sample["mp4"]))
    assert found == expected(populated, augmented=True)


def test_mmaction2_and_pandas_read_the_lists(populated: Workspace) -> None:
    import pandas as pd

    result = export(populated, ExportSettings(Form.LISTS))
    names = (result.folder / "label_map.txt").read_text().splitlines()
    rows = {
        part: pd.read_csv(result.folder / f"{part}.csv", keep_default_na=False).to_dict("records")
        for part in ("train", "val", "test")
    }
    found = {r["clip_id"]: (part, r["label"], r["num_frames"]) for part in rows for r in rows[part]}
    assert found == expected(populated)
    pairs = {part: [(r["path"], names.index(r["label"])) for r in rows[part]] for part in rows}
    assert read_by_mmaction(populated.root, result.folder) == {"txt": pairs, "tsv": pairs}


def read_by_mmaction(root: Path, folder: Path) -> Mapping[str, Any]:
    # In a process of its own: it is a heavy import, and it changes what others see of mmaction.
    code = """
import json, sys
from dancecli.model.networks.mmaction import VideoDataset
root, folder = sys.argv[1:]
found = {"txt": {}, "tsv": {}}
for suffix, delimiter in (("txt", " "), ("tsv", chr(9))):
    for part in ("train", "val", "test"):
        lists = f"{folder}/{part}.{suffix}"
        data = VideoDataset(lists, [], data_prefix=dict(video=root), delimiter=delimiter)
        infos = [data.get_data_info(i) for i in range(len(data))]
        found[suffix][part] = [(i["filename"].removeprefix(root + "/"), i["label"]) for i in infos]
print(json.dumps(found))
"""
    command = [sys.executable, "-c", code, str(root), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    read: dict[str, dict[str, list[list[Any]]]] = json.loads(done.stdout.splitlines()[-1])
    return {
        suffix: {part: [tuple(pair) for pair in pairs] for part, pairs in parts.items()}
        for suffix, parts in read.items()
    }


@pytest.mark.parametrize("form", CLIP_FORMS)
def test_the_same_split_gives_the_same_bytes(
    populated: Workspace, clip_files: list[Path], tmp_path: Path, form: Form
) -> None:
    other = Workspace(tmp_path / "elsewhere")
    populate(other, list(clip_files))
    for path in other.root.rglob("*.mp4"):
        path.chmod(0o600)
        path.touch()
    settings = ExportSettings(form, shard_bytes=60_000)
    one, two = export(populated, settings), export(other, replace(settings, to=tmp_path / "out"))
    assert tree(one.folder) == tree(two.folder)


@pytest.mark.parametrize("form", CLIP_FORMS)
def test_running_again_is_free_and_a_lost_file_comes_back(populated: Workspace, form: Form) -> None:
    first = export(populated, ExportSettings(form))
    before = tree(first.folder)
    again = export(populated, ExportSettings(form))
    assert (first.num_new, again.num_new) == (first.num_files, 0)
    sorted(path for path in first.folder.rglob("*.*") if not path.name.startswith("."))[0].unlink()
    assert export(populated, ExportSettings(form)).num_new == 1
    assert tree(first.folder) == before


@pytest.mark.parametrize("form", [Form.VIDEOFOLDER, Form.PARQUET, Form.WEBDATASET])
def test_an_interrupted_export_has_no_name_yet_and_resumes(populated: Workspace, form: Form) -> None:
    settings = ExportSettings(form, shard_bytes=1)
    folder = populated.root / "exports" / f"full-{form}"

    def stop(now: Progress) -> None:
        if now.done == 2:
            # What a kill leaves of the file that was being written.
            stage = folder.with_name(f".{folder.name}.part")
            (stage / ".half.tmp").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(populated, settings, Reporter(stop))
    assert not folder.exists()
    result = export(populated, settings)
    assert result.num_new == result.num_files - 2
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert not list(folder.rglob("*.tmp"))


def test_an_interrupted_export_of_another_split_starts_over(populated: Workspace) -> None:
    def stop(now: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(populated, ExportSettings(Form.VIDEOFOLDER), Reporter(stop))
    clips = tables.read(populated.split("full"), SplitClip)
    tables.write(populated.split("full"), SplitClip, clips[1:], tables.read_meta(populated.split("full")))
    result = export(populated, ExportSettings(Form.VIDEOFOLDER))
    assert len(list(result.folder.rglob("*.mp4"))) == 4


def test_nothing_is_overwritten(populated: Workspace, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    export(populated, ExportSettings(Form.LISTS, to=mine))
    for dry_run in (True, False):
        with pytest.raises(UsageError, match="contains another export"):
            export(populated, ExportSettings(Form.VIDEOFOLDER, to=mine, dry_run=dry_run))
    shutil.rmtree(mine)
    mine.mkdir()
    (mine / "thesis.txt").write_text("do not lose")
    with pytest.raises(UsageError, match="contains something else"):
        export(populated, ExportSettings(Form.LISTS, to=mine))
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]


def test_links_take_no_space_and_are_for_single_files(populated: Workspace) -> None:
    # As an import from another disk has it.
    clip = populated.clip(tables.read(populated.split("full"), SplitClip)[0].clip_id)
    elsewhere = clip.rename(populated.root / "elsewhere.mp4")
    clip.symlink_to(elsewhere)
    result = export(populated, ExportSettings(Form.VIDEOFOLDER, link=True))
    assert not any(path.is_symlink() for path in result.folder.rglob("*.mp4"))
    for path in result.folder.rglob("*.mp4"):
        assert path.samefile(populated.clip(path.stem))
    with pytest.raises(UsageError, match="--link is for videofolder"):
        export(populated, ExportSettings(Form.PARQUET, link=True))


def test_a_clip_without_its_file_is_left_out_and_said(
    populated: Workspace, dance: Callable[..., Ran]
) -> None:
    gone = tables.read(populated.split("full"), SplitClip)[0].clip_id
    populated.clip(gone).unlink()
    ran = dance("export", "--format", "lists", "--json")
    assert (ran.code, ran.json["missing"], ran.json["changed"]) == (3, [gone], [])
    assert ran.json["counts"] == {"train": 2, "val": 1, "test": 1}


def test_a_changed_file_stops_the_export_by_name(populated: Workspace) -> None:
    path = populated.clip(tables.read(populated.split("full"), SplitClip)[1].clip_id)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    for form in (Form.VIDEOFOLDER, Form.PARQUET, Form.WEBDATASET):
        with pytest.raises(MediaError, match=rf"{path.name} was changed"):
            export(populated, ExportSettings(form))
        assert not (populated.root / "exports" / f"full-{form}").exists()


def test_augmented_clips_are_exported_on_request_only(
    populated: Workspace, dance: Callable[..., Ran]
) -> None:
    augment(populated, AugmentSettings(ops="hflip", workers=1))
    assert dance("export", "--json").json["counts"]["train"] == 3
    ran = dance("export", "--augmented", "--to", "with augmented", "--json")
    assert ran.json["counts"] == {"train": 6, "val": 1, "test": 1}
    card = (populated.root / "with augmented" / "README.md").read_text()
    assert "| augmented clips in addition | 3 |" in card


def test_a_dry_run_writes_nothing(populated: Workspace, dance: Callable[..., Ran]) -> None:
    ran = dance("export", "--format", "parquet", "--dry-run", "--json")
    assert (ran.code, ran.json["new"]) == (0, ran.json["files"])
    assert not (populated.root / "exports").exists()


def test_what_cannot_be_exported_is_said_in_one_line(populated: Workspace, dance: Callable[..., Ran]) -> None:
    assert dance("export", "--format", "zip").code == 2
    with pytest.raises(WorkspaceError, match="no split 'none'"):
        export(populated, ExportSettings(Form.LISTS, split="none"))


@pytest.mark.parametrize("form", CLIP_FORMS)
def test_the_label_is_the_splits_and_the_attribution_comes_along(populated: Workspace, form: Form) -> None:
    split_clips = {clip.clip_id: clip for clip in tables.read(populated.split("full"), SplitClip)}
    corrected = [
        replace(
            clip,
            label="corrected since",
            title=f"title of {clip.video_id}",
            uploader="a studio",
            upload_date="2020-02-02",
            license="CC BY 4.0",
            original_path=f"/home/ann/tapes/{clip.video_id}.avi",
        )
        for clip in tables.read(populated.clips, Clip)
    ]
    tables.write(populated.clips, Clip, corrected)
    folder = Path(export(populated, ExportSettings(form)).folder)
    rows = metadata(folder, form)
    assert rows.keys() == split_clips.keys()
    labels = json.loads(tables.read_meta(populated.split("full"))["split.labels"])
    for clip_id, facts in rows.items():
        label = split_clips[clip_id].label
        if form is Form.PARQUET:
            assert labels[facts["label"]] == label
        else:
            assert (facts["label"], labels[int(facts["label_index"])]) == (label, label)
        assert (facts["uploader"], facts["license"], facts["upload_date"]) == (
            "a studio",
            "CC BY 4.0",
            "2020-02-02",
        )
        assert facts["original_path"] == f"{facts['video_id']}.avi"
        assert facts["title"].startswith("title of ")
    assert "| CC BY 4.0 | 5 |" in (folder / "README.md").read_text()
    assert "Do not publish" not in (folder / "README.md").read_text()


def metadata(folder: Path, form: Form) -> dict[str, dict[str, Any]]:
    """The facts of each clip, as a reader of the format finds them."""
    rows: list[dict[str, Any]] = []
    if form is Form.VIDEOFOLDER:
        for path in folder.rglob("metadata.jsonl"):
            rows += map(json.loads, path.read_text().splitlines())
    elif form is Form.PARQUET:
        for path in folder.rglob("*.parquet"):
            rows += pq.read_table(path).to_pylist()
    elif form is Form.WEBDATASET:
        for path in folder.rglob("*.tar"):
            with tarfile.open(path) as tar:
                rows += [json.load(tar.extractfile(m)) for m in tar if m.name.endswith(".json")]
    else:
        for path in folder.glob("*.csv"):
            rows += csv.DictReader(path.read_text().splitlines())
    return {row["clip_id"]: row for row in rows}
