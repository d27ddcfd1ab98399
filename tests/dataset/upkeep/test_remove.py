"""A removed clip leaves its tombstone alone, does not come back, and its splits stay comparable."""

from __future__ import annotations

import gzip
import json
import shutil
import unicodedata
import zipfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import clip_workspace, video_site
from helpers.builders import Ran
from helpers.kept_workspace import furnish
from helpers.video_site import ServedVideos

from dancecli.app.thumbnails import thumbnail
from dancecli.core.errors import InputError, WorkspaceError
from dancecli.core.hashing import sha256_file
from dancecli.core.labels import LabelSet
from dancecli.core.records import (
    Clip,
    ClipHashes,
    ClipPose,
    Control,
    Flow,
    Group,
    Prediction,
    SplitClip,
    Subset,
    Trajectories,
)
from dancecli.core.video_files import recording_id
from dancecli.dataset.clips import (
    read_segments,
    rebuild_clips,
    remember_copies,
    remember_segments,
    workspace_labels,
)
from dancecli.dataset.export.datasheet import OPEN, has_answers
from dancecli.dataset.export.export import ExportSettings, Form, export
from dancecli.dataset.fetch.fetch import fetch
from dancecli.dataset.fetch.history import clip_history
from dancecli.dataset.groups import add_groups
from dancecli.dataset.ingest.import_folder import ImportSettings, import_folder
from dancecli.dataset.quality.audit import AuditSettings, audit
from dancecli.dataset.split.annotations import annotate
from dancecli.dataset.split.split import SplitSettings, split
from dancecli.dataset.upkeep import erase
from dancecli.dataset.upkeep.remove import remove
from dancecli.model.dataloading.split_data import load_split, split_record, write_train_list
from dancecli.model.training.features.store import entry_name, open_store
from dancecli.report.results.entries import refuse_unlike
from dancecli.report.results.run_results import read_run_results
from dancecli.report.results.submission import LOCK
from dancecli.storage import ledger, tables
from dancecli.storage.corrections import Correction, append_corrections
from dancecli.storage.removals import (
    Removal,
    add_removals,
    clip_reference,
    read_removals,
    removals_file,
    video_of,
)
from dancecli.storage.runs import RunFolder, write_record
from dancecli.storage.trajectory_files import trajectories_name
from dancecli.storage.workspace import Workspace

source_video, served = video_site.source_video, video_site.served
clip_files, populated = clip_workspace.clip_files, clip_workspace.populated
REASON = "take-down request"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fetched")


@pytest.fixture
def fetched(served: ServedVideos, workspace: Workspace, kept: Path) -> Workspace:
    served.want(*(f"zumba,{video},{start},{start + 1}" for video in "abc" for start in (0, 2)))
    return furnish(workspace, kept, lambda made: fetch(made, served.settings()))


@pytest.fixture
def imported(clip_files: list[Path], workspace: Workspace, tmp_path: Path) -> Workspace:
    """A workspace of eight videos with two clips each, no two of equal bytes: `A_0_1000`, `A_2000_3000`..."""
    folder = tmp_path / "tapes" / "zumba"
    folder.mkdir(parents=True)
    for i, (letter, start) in enumerate((x, s) for x in "ABCDEFGH" for s in (0, 2)):
        target = folder / f"{letter * 11}_{start:06d}_{start + 1:06d}.mp4"
        # Players ignore what follows the last box of a file.
        target.write_bytes(clip_files[i % 5].read_bytes() + b"\0\0\0\x0cfree" + f"{i:04d}".encode())
    settings = ImportSettings(folder.parent)
    import_folder(workspace, replace(settings, options=replace(settings.options, link=True)))
    return workspace


def named(letter: str, start_ms: int) -> str:
    return f"{letter * 11}_{start_ms}_{start_ms + 1000}"


def make_everything(workspace: Workspace, clip_id: str) -> str:
    """Make all that can come from a clip; return the split that it is in the test subset of."""
    clips = tables.read(workspace.clips, Clip)
    split(workspace, SplitSettings(ratios="50/25/25", name="demo"))
    rows = tables.read(workspace.split("demo"), SplitClip)
    copies = []
    for clip in clips:
        path = workspace.augmented(clip.clip_id, "hflip")
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(clip.clip_id.encode())
        relative = path.relative_to(workspace.root).as_posix()
        copies.append(
            replace(
                clip,
                clip_id=f"{clip.clip_id}.hflip",
                parent_id=clip.clip_id,
                op="hflip",
                path=relative,
                sha256=sha256_file(path),
            )
        )
    remember_copies(workspace, copies)
    logged = "".join(f'{{"clip_id": "{copy.clip_id}", "sha256": "{copy.sha256}"}}\n' for copy in copies)
    (workspace.segments.parent / "augmented.jsonl").write_text(logged)
    flows = []
    for clip in [*clips, *copies]:
        path = workspace.root / "flow" / f"{clip.clip_id}.dis.mp4"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"flow of " + clip.clip_id.encode())
        row = (clip.clip_id, "dis", f"flow/{path.name}", sha256_file(path), 1, clip.sha256)
        flows.append(Flow(*row, 1, 1, 1, 1.0, 25, 20, 0.1, "1"))
    tables.write(workspace.flows, Flow, flows)
    poses = []
    for clip in clips:
        path = workspace.root / "pose" / f"{clip.clip_id}.npz"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"pose of " + clip.clip_id.encode())
        row = (clip.clip_id, f"pose/{path.name}", sha256_file(path), 1, clip.sha256)
        poses.append(ClipPose(*row, "m", "e", 1, 1, 1, 1.0, 1.0))
    tables.write(workspace.poses, ClipPose, poses)
    make_trajectories(workspace, clips)
    hashes = [ClipHashes(clip.clip_id, clip.sha256, b"m", b"o", b"f", b"c") for clip in clips]
    tables.write(workspace.hashes, ClipHashes, hashes)
    add_groups(workspace, [Group(c.clip_id, c.video_id, "near-duplicate") for c in clips])
    workspace.group_sheet.write_bytes(b"pictures of clips")
    append_corrections(workspace, [Correction(clip.clip_id, "note", "", "seen") for clip in clips])
    other = next(clip.clip_id for clip in clips if clip.video_id != clip_id.rsplit("_", 2)[0])
    append_corrections(workspace, [Correction(other, "note", "", "short", why=f"cut from {clip_id}")])
    (workspace.root / "left-out.csv").write_text(
        f"path,reason,text,clip_id,label,time_utc\n/tapes/x.mp4,repeated,,{clip_id},zumba,2026\n"
    )
    annotate(workspace, "demo")
    data = load_split(workspace, "demo")
    every = {Subset.TRAIN: tuple(example for subset in Subset for example in data.examples[subset])}
    write_train_list(workspace, replace(data.with_validation(), examples=every))
    store = open_store(workspace.root / "cache" / "features", "float32", {"weights": "w"})
    names = [entry_name(clip.clip_id, clip.sha256, 0) for clip in [*clips, *copies]]
    store.append(names, np.ones((len(names), 1, 4), np.float32))
    for clip in clips:
        thumbnail(workspace, workspace.root / clip.path, clip.sha256)
    make_run(workspace, "old", rows)
    report = workspace.report("old")
    report.mkdir(parents=True)
    (report / "index.html").write_text(f"<video src='../../clips/{clip_id}.mp4'>")
    for form in (Form.VIDEOFOLDER, Form.LISTS):
        export(workspace, ExportSettings(form))
    make_exported_features(workspace, clips, clip_id)
    workspace.submission("old").parent.mkdir()
    with zipfile.ZipFile(workspace.submission("old"), "w") as archive:
        archive.write(workspace.split_lock("demo"), LOCK)
    video_id, start, end = clip_id.rsplit("_", 2)
    (workspace.segments.parent / "lets-dance.csv").write_text(
        "label,youtube_id,time_start,time_end,split\n"
        f"zumba,{video_id},{int(start) / 1000},{int(end) / 1000},train\nzumba,{'Z' * 11},0,1,train\n"
    )
    make_study(workspace, "search", f"FileNotFoundError: clips/{clip_id}.mp4 is gone")
    (workspace.root / "sources").mkdir()
    (workspace.root / "sources" / f"{clip_id.rsplit('_', 2)[0]}.mp4").write_bytes(b"the whole video")
    return "demo"


def make_trajectories(workspace: Workspace, clips: list[Clip]) -> None:
    """Leave the trajectories of clips, in their table and log, as `dance train --model idt` does."""
    rows = []
    for clip in clips:
        path = workspace.root / "trajectories" / trajectories_name(clip.clip_id)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"trajectories of " + clip.clip_id.encode())
        where = (clip.clip_id, f"trajectories/{path.name}", sha256_file(path))
        rows.append(Trajectories(*where, 1, clip.sha256, "", "m", 1, 1))
    tables.write(workspace.trajectories, Trajectories, rows)
    log = workspace.trajectories.with_suffix(".jsonl")
    log.write_text("".join(f"{json.dumps(asdict(row))}\n" for row in rows))


def make_exported_features(workspace: Workspace, clips: list[Clip], clip_id: str) -> None:
    """Leave what `dance features` writes: of all clips in both forms, and of all clips but one."""
    for name, ids in (("all", [c.clip_id for c in clips]), ("x", [c.clip_id for c in clips[-2:]])):
        file = workspace.root / "exports" / f"features-{name}.parquet"
        pq.write_table(pa.table({"clip_id": ids, "features": [[1.0]] * len(ids)}), file)
        np.save(file.with_suffix(".npy"), np.ones((len(ids), 1, 1), np.float32))
        file.with_suffix(".csv").write_text("clip_id,subset,label\n" + "".join(f"{i},,\n" for i in ids))
    assert clip_id not in ids


def make_study(workspace: Workspace, name: str, error: str) -> None:
    """Leave the database of a study with a failed trial, as Optuna writes it."""
    import optuna

    workspace.study(name).parent.mkdir()
    study = optuna.create_study(storage=f"sqlite:///{workspace.study(name)}", study_name=name)
    study.ask().set_user_attr("failed", error)
    study.ask().set_user_attr("failed", "out of memory")


def make_run(workspace: Workspace, name: str, rows: list[SplitClip]) -> None:
    """Leave a finished run with predictions, a log that names its clips, and Grad-CAM pictures."""
    folder = RunFolder(workspace.run(name))
    data = load_split(workspace, "demo")
    record = {"schema": 1, "name": name, "status": "done", "labels": list(data.labels)}
    write_record(folder, record | {"split": split_record(data), "worst": [row.clip_id for row in rows]})
    scores = (1.0, *(0.0 for _ in data.labels[1:]))
    found = [
        Prediction(row.clip_id, row.subset, data.labels.index(row.label), scores)
        for row in rows
        if row.subset != "train"
    ]
    split_meta = {"split.hash": data.meta["split.hash"], "test.hash": data.test_hash}
    meta = {"run.name": name, **split_meta, "labels": json.dumps(list(data.labels)), "view.protocol": "1"}
    tables.write(folder.predictions, Prediction, found, meta)
    path = folder.controlled(Control.STILL)
    path.parent.mkdir()
    tables.write(path, Prediction, found, {"test.hash": data.test_hash})
    # A fold of a cross-validation that was interrupted.
    fold = RunFolder(folder.root / "folds" / "1").predictions
    fold.parent.mkdir(parents=True)
    tables.write(fold, Prediction, found)
    (folder.root / "gradcam").mkdir()
    for row in rows:
        (folder.root / "gradcam" / f"{row.clip_id}.jpg").write_bytes(b"heat")
    folder.detector.write_bytes(b"distances of no clip's name")


def named_in(workspace: Workspace, *texts: str) -> set[str]:
    """Files that hold one of the texts or have it in their name; tables are unpacked for that."""
    found = set()
    for path in (p for p in workspace.root.rglob("*") if p.is_file()):
        content = path.read_bytes() + path.name.encode()
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            content += (
                json.dumps(table.to_pylist(), default=str).encode() + str(table.schema.metadata).encode()
            )
        if path.suffix == ".zip":
            content += b"".join(map(zipfile.ZipFile(path).read, zipfile.ZipFile(path).namelist()))
        if any(text.encode() in content for text in texts):
            found.add(path.relative_to(workspace.root).as_posix())
    return found


def test_the_tombstone_alone_is_left(imported: Workspace) -> None:
    clips = {clip.clip_id: clip for clip in tables.read(imported.clips, Clip)}
    (imported.root / "refused").mkdir()
    for clip_id in (named("C", 0), named("C", 2000)):
        for name in (f"{clip_id}.mp4", f"{clip_id}.2.mp4"):
            (imported.root / "refused" / name).write_bytes(b"refused")
    make_everything(imported, named("C", 0))
    copy = next(c for c in tables.read(imported.clips, Clip) if c.clip_id == f"{named('C', 0)}.hflip")
    sums = (clips[named("C", 0)].sha256, clips[named("C", 2000)].sha256, copy.sha256)
    before = named_in(imported, named("C", 0), named("C", 2000), *sums)
    assert {"annotations/demo/train-and-val.txt", "runs/old/controls/still.parquet", "labels.csv"} < before
    assert "runs/old/folds/1/predictions.parquet" in before
    assert len(before) > 20
    removed = remove(imported, ["C" * 11], REASON)
    assert removed.clip_ids == (named("C", 0), named("C", 2000))
    exports = {"exports/demo-videofolder/", "exports/demo-lists/"}
    exports |= {f"exports/features-all.{form}" for form in ("parquet", "npy", "csv")}
    assert exports == {name for name in removed.files if name.startswith("exports/")}
    assert {"reports/old/", f"sources/{'C' * 11}.mp4"} <= set(removed.files)
    assert f"trajectories/{named('C', 0)}.npz" in removed.files
    assert RunFolder(imported.run("old")).detector.exists()
    assert (removed.splits, removed.runs, removed.still_named_in) == (("demo",), ("old",), ())
    assert removed.num_bytes > 1000
    assert named_in(imported, named("C", 0), named("C", 2000), *sums) == {"removed.csv"}
    assert (
        imported.root.joinpath("removed.csv")
        .read_text()
        .splitlines()[1]
        .startswith(f"{named('C', 0)},{sums[0]},video,{REASON},20")
    )
    # All others have what they had.
    assert imported.segments.with_name("lets-dance.csv").read_text().count("\n") == 2
    assert b"out of memory" in imported.study("search").read_bytes()
    kept = {clip.clip_id for clip in tables.read(imported.clips, Clip)}
    assert kept == {f"{i}{end}" for i in clips if not i.startswith("C") for end in ("", ".hflip")}
    assert named_in(imported, named("B", 0)) >= {"runs/old/run.json", "labels.csv", "ledger.db"}
    assert not audit(imported, AuditSettings()).findings


def test_features_of_others_stay_where_they_are(imported: Workspace) -> None:
    make_everything(imported, named("C", 0))
    folder = imported.root / "cache" / "features"
    before = open_store(folder, "float32", {"weights": "w"})
    remove(imported, [named("C", 0)], REASON)
    store = open_store(folder, "float32", {"weights": "w"})
    same = {name: place for name, place in before.entries.items() if not name.startswith(named("C", 0))}
    assert {name: place for name, place in store.entries.items() if not name.startswith("removed.")} == same
    assert len(store.entries) == len(before.entries) == len(same) + 2
    emptied = [place for name, place in store.entries.items() if name.startswith("removed.")]
    assert not store.array()[emptied].any()
    assert store.array()[list(same.values())].all()


def test_a_nearest_neighbor_model_holds_its_clips_and_goes_with_one(
    imported: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    split_name = make_everything(imported, named("C", 0))
    for name, head, poses in (("near", "knn", False), ("line", "solved", False), ("pose", "trained", True)):
        folder = RunFolder(imported.run(name))
        record = {"schema": 1, "name": name, "status": "done", "split": {"name": split_name, "hash": "x"}}
        write_record(folder, record | {"recipe": {"head": head}, "model": {"pose": poses}})
        (folder.root / "folds" / "1").mkdir(parents=True)
        for path in (folder.root / "best.pth", folder.root / "folds" / "1" / "best.pth", folder.detector):
            path.write_bytes(b"features, or weights")
    every = {path.relative_to(imported.root).as_posix() for path in imported.root.glob("runs/*/**/*.pth")}
    planned = remove(imported, [named("C", 0)], REASON, dry_run=True)
    assert planned.checkpoints == ("near",)
    # Killed once before the end: what belongs to a split is not forgotten with it.
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(erase, "_stored_tables", Mock(side_effect=KeyboardInterrupt))
        remove(imported, [named("C", 0)], REASON)
    remove(imported, [named("C", 0)], REASON)
    kept = {path.relative_to(imported.root).as_posix() for path in imported.root.glob("runs/*/**/*.pth")}
    gone = every - kept
    # Of a run on poses the detector holds how each clip moves.
    assert gone == {"runs/near/best.pth", "runs/near/folds/1/best.pth", "runs/pose/unknown.pth"}


def test_copies_that_a_file_manager_made_are_erased_too(imported: Workspace) -> None:
    make_everything(imported, named("C", 0))
    copy = imported.root / "runs" / "old (copy)"
    shutil.copytree(imported.run("old"), copy)
    document = json.loads((copy / "run.json").read_text()) | {"recipe": {"head": "knn"}}
    (copy / "run.json").write_text(json.dumps(document))
    (copy / "best.pth").write_bytes(b"features of the training clips")
    table = imported.split("demo")
    shutil.copy(table, table.with_name("demo (copy).parquet"))
    assert remove(imported, ["C" * 11], REASON, dry_run=True).runs == ("old", "old (copy)")
    removed = remove(imported, ["C" * 11], REASON)
    assert "runs/old (copy)/best.pth" in removed.files
    assert (set(removed.splits), removed.still_named_in) == ({"demo", "demo (copy)"}, ())
    assert named_in(imported, named("C", 0), named("C", 2000)) == {"removed.csv"}
    assert (
        json.loads((copy / "run.json").read_text())["split"]["hash"] == tables.read_meta(table)["split.hash"]
    )


def test_a_run_goes_on_to_say_what_it_was_trained_on(imported: Workspace, dance: Callable[..., Ran]) -> None:
    make_everything(imported, named("A", 0))
    rows = tables.read(imported.split("demo"), SplitClip)
    trained = [row for row in rows if row.subset == "train"]
    assert dance("report", "--run", "old").code == 0
    page = imported.report("old") / "index.html"
    assert f"trained on {len(trained)} clips of split “demo”" in page.read_text()
    remove(imported, [trained[0].group], REASON)
    gone = sum(row.group == trained[0].group for row in trained)
    assert dance("report", "--run", "old").code == 0
    words = f"trained on {len(trained)} clips of split “demo” ({gone} of them removed on request since)"
    assert words in page.read_text()
    # One that was trained afterwards has only seen what is left.
    make_run(imported, "new", tables.read(imported.split("demo"), SplitClip))
    assert dance("report", "--run", "new").code == 0
    left = (imported.report("new") / "index.html").read_text()
    assert f"trained on {len(trained) - gone} clips of split “demo”." in left


def test_a_split_stays_comparable(imported: Workspace, dance: Callable[..., Ran], tmp_path: Path) -> None:
    make_everything(imported, named("A", 0))
    published = tmp_path / "published.lock.csv"
    shutil.copyfile(imported.split_lock("demo"), published)
    meta, rows = tables.read_meta(imported.split("demo")), tables.read(imported.split("demo"), SplitClip)
    video = next(row.group for row in rows if row.subset == "test")
    remove(imported, [video], REASON)
    after = tables.read_meta(imported.split("demo"))
    assert after["split.original_hash"] == meta["split.hash"] != after["split.hash"]
    assert json.loads(after["split.removed"]) == {"test": 2}
    # The run from before and one from after are evaluated on the same clips.
    remaining = tables.read(imported.split("demo"), SplitClip)
    make_run(imported, "new", remaining)
    old, new = read_run_results(imported, "old"), read_run_results(imported, "new")
    refuse_unlike(old, new, "test")
    assert old.run["split"]["test_hash"] == new.run["split"]["test_hash"]
    assert old.removal_note("test") == new.removal_note("test") == "2 of 4 clips, 2 removed by request"
    assert new.run["split"]["removed"] == {"test": 2}
    ran = dance("compare", "old", "new", "--json")
    assert (ran.code, ran.json["removed"]) == (0, 2)
    assert "test: 2 of 4 clips, 2 removed by request" in ran.err
    assert "2 of 4 clips, 2 removed by request" in dance("report", "--run", "new").out
    assert "2 of 4 clips, 2 removed by request" in dance("board").out
    assert "2 of 4 clips, 2 removed by request" in (imported.report("board") / "index.html").read_text()
    # Both locks, the published one and that of now, give the split again and say what is missing.
    for lock in (published, imported.split_lock("demo")):
        again = split(imported, SplitSettings(lock=lock, name="again"), dry_run=True)
        assert again.drift is not None
        assert (again.drift.removed, again.drift.missing) == ({"test": 2}, ())
        assert set(again.clips) == set(remaining)
        assert again.digest == after["split.hash"]
    assert clip_reference(f"{video}_0_1000") in imported.split_lock("demo").read_text()
    assert "test: 2 of 4 clips, 2 removed" in dance("split", "--lock", str(published), "--name", "x").err


def test_a_group_is_not_named_after_a_removed_video(imported: Workspace) -> None:
    ids = (named("A", 0), named("A", 2000), named("B", 0), named("B", 2000))
    add_groups(imported, [Group(clip_id, "A" * 11, "near-duplicate") for clip_id in ids])
    split(imported, SplitSettings(ratios="50/25/25", name="demo"))
    remove(imported, ["A" * 11], REASON)
    groups = {row.clip_id: row.group for row in tables.read(imported.groups, Group)}
    own = {row.clip_id: row.group for row in tables.read(imported.split("demo"), SplitClip)}
    assert groups[named("B", 0)] == own[named("B", 0)] == clip_reference(named("A", 0)).rsplit("_", 2)[0]
    assert not audit(imported, AuditSettings()).findings


def test_a_workspace_with_nothing_but_the_lock_comes_to_the_same_one(
    imported: Workspace, tmp_path: Path
) -> None:
    made = split(imported, SplitSettings(ratios="50/25/25", name="demo"))
    host = Workspace(tmp_path / "host")
    host.create("")
    lock = host.split_lock("demo")
    lock.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(imported.split_lock("demo"), lock)
    one = min(clip.clip_id for clip in made.clips)
    for workspace in (imported, host):
        remove(workspace, [one], REASON)
    assert lock.read_bytes() == imported.split_lock("demo").read_bytes()
    # One of a video's clips is left, and the group is still called after it.
    assert video_of(one) in lock.read_text()
    for workspace in (imported, host):
        remove(workspace, [video_of(one)], REASON)
    assert lock.read_bytes() == imported.split_lock("demo").read_bytes()
    assert video_of(one) not in lock.read_text()


def test_a_second_request_keeps_reason_and_date_of_the_first(fetched: Workspace) -> None:
    remove(fetched, ["a_0_1000"], REASON)
    first = read_removals(fetched).rows["a_0_1000"]
    removals_file(fetched).write_text(
        removals_file(fetched).read_text().replace(first.removed_utc, "2026-01-02")
    )
    remove(fetched, ["a"], "another")
    rows = read_removals(fetched).rows
    assert (rows["a_0_1000"].reason, rows["a_0_1000"].removed_utc) == (REASON, "2026-01-02")
    assert (rows["a_0_1000"].scope, rows["a_2000_3000"].reason) == ("video", "another")


@pytest.mark.parametrize("retry", ["transient", "permanent", "all"])
def test_it_does_not_come_back(served: ServedVideos, fetched: Workspace, retry: str) -> None:
    remove(fetched, ["a", "b_0_1000"], REASON)
    # Another stretch of a removed video, and one that overlaps a removed clip, are blocked too.
    served.want("zumba,a,0,1", "zumba,a,4,5", "zumba,b,0,1", "zumba,b,0.5,1.5", "zumba,b,1,2", "zumba,c,0,1")
    asked = len(served.asked)
    result = fetch(fetched, served.settings(retry=retry))
    assert (result.reasons, result.num_done) == ({"removed-here": 4}, 2)
    assert len(served.asked) == asked + 1
    assert not {i for i in read_segments(fetched) if i.startswith("a_")} | set(
        read_removals(fetched).rows
    ) & {*read_segments(fetched)}
    assert {clip.clip_id for clip in tables.read(fetched.clips, Clip) if clip.video_id in "ab"} == {
        "b_1000_2000",
        "b_2000_3000",
    }


def test_a_ledger_from_another_machine_does_not_bring_it_back(fetched: Workspace) -> None:
    shutil.copyfile(fetched.ledger, fetched.root / "ledger-1of2.db")
    kept = (fetched.root / "ledger-1of2.db").read_bytes()
    remove(fetched, ["a"], REASON)
    (fetched.root / "ledger-1of2.db").write_bytes(kept)
    rebuild_clips(fetched)
    assert "a" not in {clip.video_id for clip in tables.read(fetched.clips, Clip)}


def test_an_import_does_not_bring_it_back(
    clip_files: list[Path], workspace: Workspace, tmp_path: Path
) -> None:
    folder = tmp_path / "tapes" / "tango"
    folder.mkdir(parents=True)
    shutil.copyfile(clip_files[0], folder / "one.mp4")
    shutil.copyfile(clip_files[1], folder / "two.mp4")
    settings = ImportSettings(folder.parent)
    settings = replace(settings, options=replace(settings.options, link=True))
    import_folder(workspace, settings)
    first = next(i for i in read_segments(workspace) if i.startswith("one"))
    remove(workspace, [first], REASON)
    # Under its name, under another one, and under a name of Kinetics' form.
    shutil.copyfile(clip_files[0], folder / "renamed.mp4")
    shutil.copyfile(clip_files[0], folder / "abcdefghijk_000000_000001.mp4")
    result = import_folder(workspace, settings)
    assert {row.path.partition("/")[2]: row.status for row in result.files} == {
        "one.mp4": "removed-here",
        "renamed.mp4": "removed-here",
        "abcdefghijk_000000_000001.mp4": "removed-here",
        "two.mp4": "there",
    }
    assert result.complete
    assert (folder / "one.mp4").exists()
    assert len(tables.read(workspace.clips, Clip)) == 1


def test_the_file_of_a_removed_clip_is_not_encoded_into_a_new_one(
    clip_files: list[Path], workspace: Workspace, tmp_path: Path
) -> None:
    folder = tmp_path / "tapes" / "tango"
    folder.mkdir(parents=True)
    for i in range(2):
        shutil.copyfile(clip_files[i], folder / f"{'ab'[i] * 11}_000000_000001.mp4")
    import_folder(workspace, ImportSettings(folder.parent))
    gone = "a" * 11 + "_0_1000"
    # Somebody had the clip itself, and calls it otherwise.
    shutil.copyfile(workspace.clip(gone), folder / "mine.mp4")
    shutil.copyfile(workspace.clip("b" * 11 + "_0_1000"), folder / "other.mp4")
    remove(workspace, [gone], REASON)
    (folder / f"{'a' * 11}_000000_000001.mp4").unlink()
    for dry_run in (True, False):
        result = import_folder(workspace, ImportSettings(folder.parent, dry_run=dry_run))
        (left,) = (row for row in result.files if not row.is_clip)
        assert (left.path.partition("/")[2], left.status) == ("mine.mp4", "removed-here")
        assert left.text.endswith(REASON)
    assert len(tables.read(workspace.clips, Clip)) == 2


def test_a_clip_goes_with_those_that_overlap_it(served: ServedVideos, workspace: Workspace) -> None:
    served.want("zumba,a,0,2", "zumba,a,1,3", "zumba,a,2,3")
    fetch(workspace, served.settings())
    assert remove(workspace, ["a_0_2000"], REASON).clip_ids == ("a_0_2000", "a_1000_3000")


def test_a_group_goes_with_clips_that_overlap_one_of_its_clips(
    served: ServedVideos, workspace: Workspace, dance: Callable[..., Ran]
) -> None:
    served.want("zumba,a,0,2", "zumba,a,1,3", "zumba,a,2,3", "zumba,b,1,3")
    fetch(workspace, served.settings())
    # Of a clip that is not here, a group may tell too.
    add_groups(workspace, [Group(clip_id, "ann", "dancer") for clip_id in ("a_0_2000", "c_0_1000")])
    ran = dance("remove", "ann", "--reason", REASON, "--dry-run")
    assert ran.out.splitlines()[1:] == ["  a_0_2000", "  a_1000_3000", "  c_0_1000"]
    assert remove(workspace, ["ann"], REASON).clip_ids == ("a_0_2000", "a_1000_3000", "c_0_1000")
    assert read_removals(workspace).rows["a_1000_3000"].scope == "clip"


def test_a_removal_that_was_killed_is_completed(imported: Workspace) -> None:
    make_everything(imported, named("C", 0))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("dancecli.dataset.upkeep.erase.rebuild_clips", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            remove(imported, [named("C", 0)], REASON)
    assert named("C", 0) in read_removals(imported)
    checksum = read_removals(imported).rows[named("C", 0)].sha256
    assert checksum
    remove(imported, [named("C", 0)], REASON)
    assert named_in(imported, named("C", 0), checksum) == {"removed.csv"}


def test_a_dry_run_removes_nothing(fetched: Workspace) -> None:
    before = {path: path.read_bytes() for path in fetched.root.rglob("*") if path.is_file()}
    assert remove(fetched, ["a"], "why", dry_run=True).clip_ids == ("a_0_1000", "a_2000_3000")
    assert {path: path.read_bytes() for path in fetched.root.rglob("*") if path.is_file()} == before


def test_what_is_the_users_own_stays_and_is_named(fetched: Workspace) -> None:
    notes = fetched.root / "notes.txt"
    notes.write_text("a_0_1000 is my favorite; aa_0_1000 and a_0_10000 are others\n")
    before = notes.read_text()
    listed = fetched.root / "wanted.csv"
    listed.write_text("label,youtube_id,time_start,time_end\nwaltz,a,0,1\n")
    assert remove(fetched, ["a"], REASON).still_named_in == ("notes.txt", "wanted.csv")
    assert notes.read_text() == before


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_list_names_a_clip_by_its_times_too(fetched: Workspace, encoding: str) -> None:
    """Where another clip of the video stays, the video's id alone tells nothing."""
    listed = fetched.root / "lists" / "wanted.csv"
    listed.parent.mkdir()
    head = "label,youtube_id,time_start,time_end\n"
    for row, found in (("waltz,b,0,1\n", ("lists/wanted.csv",)), ("waltz,b,7,8\n", ())):
        listed.write_text(head + row, encoding=encoding)
        assert remove(fetched, ["b_0_1000"], REASON, dry_run=True).still_named_in == found


def test_a_timeline_that_names_a_list_like_the_video_is_not_of_it(fetched: Workspace) -> None:
    timeline = fetched.root / "timelines" / "Gala-1234.jsonl"
    timeline.parent.mkdir()
    timeline.write_text('{"edit": "import", "file": "a.csv"}\n')
    assert remove(fetched, ["a"], REASON).still_named_in == ()
    timeline.write_text('{"edit": "import", "file": "a.csv", "recording": "a.mp4"}\n')
    assert remove(fetched, ["a"], REASON).still_named_in == ("timelines/Gala-1234.jsonl",)


def write_zip(path: Path, **members: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("_", "."), text)


def test_submissions_go_wherever_they_are_and_packed_texts_are_named(
    fetched: Workspace, dance: Callable[..., Ran]
) -> None:
    lock = "clip_id,label\na_0_1000,zumba\n"
    kept = fetched.root / "results" / "other.zip"
    write_zip(kept, submission_json="{}", lock_csv=lock.replace("a_0", "b_0"))
    for place in ("results/x.zip", "reports/x/submission.zip", "x.zip"):
        write_zip(fetched.root / place, submission_json="{}", lock_csv=lock)
    write_zip(fetched.root / "mine" / "notes.zip", lock_csv=lock)
    (fetched.root / "mine" / "lock.csv.gz").write_bytes(gzip.compress(lock.encode()))
    (fetched.root / "mine" / "cut.csv.gz").write_bytes(gzip.compress(lock.encode())[:9])
    (fetched.root / "mine" / "lockcopy.csv").write_text(lock)
    (fetched.segments.parent / "lets-dance.csv").write_text(
        "label,youtube_id,time_start,time_end\nzumba,a,0,1\n"
    )
    outcomes = []
    for options in (("--dry-run",), ()):
        ran = dance("remove", "a_0_1000", "--reason", REASON, "--json", *options)
        told = json.loads(ran.out)
        outcomes.append((ran.code, ran.err, told))
        assert told["still_named_in"] == ["mine/lock.csv.gz", "mine/lockcopy.csv", "mine/notes.zip"]
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0] == 3
    gone = ["reports/x/submission.zip", "results/x.zip", "x.zip"]
    assert [name for name in outcomes[0][2]["files"] if name.endswith(".zip")] == gone
    assert f"submissions of runs that contained them: {', '.join(gone)}" in outcomes[0][1]
    assert [path.name for path in fetched.root.rglob("*.zip")] in (
        ["other.zip", "notes.zip"],
        ["notes.zip", "other.zip"],
    )


@pytest.mark.parametrize(
    ("row", "stays"),
    [
        (b"zumba,a,00:00:00,00:00:01\n", False),
        (b"zumba,https://youtu.be/a,0,1\n", True),
        (b"Danse fran\xe7aise,a,0,1,note\n", False),
        (b'"in two\nlines",a,0,1\n', False),
        (b"\n", None),
        (b"zumba,a,soon,1\n", True),
        (b"zumba,a\n", True),
        (b'"zumba,a,0,1\n', True),
    ],
)
def test_a_list_of_the_users_own_does_not_stop_a_removal(
    fetched: Workspace, dance: Callable[..., Ran], row: bytes, stays: bool | None
) -> None:
    """What names the clip goes; what cannot be read stays and is told, and all behind it is erased."""
    mine = fetched.segments.with_name("a-list.csv")
    head, others = b"\xef\xbb\xbflabel,youtube_id,time_start,time_end\r\n", b"salsa d\xe9butants,a,7,8\n\n"
    mine.write_bytes(head + others + row)
    behind = fetched.root / "annotations" / "demo" / "train.txt"
    behind.parent.mkdir(parents=True)
    behind.write_bytes(b"../../clips/a_0_1000.mp4 0\nd\xe9but/b_0_1000.mp4 0\n")
    ran = dance("remove", "a_0_1000", "--reason", REASON)
    assert mine.read_bytes() == head + others + (b"" if stays is False else row)
    assert behind.read_bytes() == b"d\xe9but/b_0_1000.mp4 0\n"
    assert (ran.code, "cannot be read: manifests/a-list.csv;" in ran.err) == (
        (3, True) if stays else (0, False)
    )


@pytest.mark.parametrize("place", [4, 0.5, -12])
def test_scores_that_are_damaged_do_not_stop_a_removal(imported: Workspace, place: float) -> None:
    split(imported, SplitSettings(ratios="50/25/25", name="demo"))
    record = {"schema": 1, "name": "x", "status": "done", "split": {"name": "demo", "hash": ""}}
    record["split"]["hash"] = tables.read_meta(imported.split("demo"))["split.hash"]
    write_record(RunFolder(imported.run("x")), record)
    path = RunFolder(imported.run("x")).predictions
    rows = [Prediction(named(x, 0), "test", 0, (0.3, 0.7)) for x in "ABCDEFGH"]
    tables.write(path, Prediction, rows * 50, {"labels": "[]"})
    content = bytearray(path.read_bytes())
    at = int(len(content) * place) if 0 < place < 1 else int(place) % len(content)
    content[at : at + 8] = b"\xff" * min(8, len(content) - at)
    path.write_bytes(content)
    assert "runs/x/predictions.parquet" in remove(imported, [named("A", 0)], REASON).still_named_in
    assert named("A", 0) not in {row.clip_id for row in tables.read(imported.split("demo"), SplitClip)}


def test_tables_and_studies_that_cannot_be_read_are_named(fetched: Workspace) -> None:
    (fetched.root / "runs" / "x").mkdir(parents=True)
    (fetched.root / "runs" / "x" / "predictions.parquet").write_bytes(b"cut short")
    (fetched.root / "studies").mkdir()
    (fetched.root / "studies" / "x.db").write_bytes(b"no database, for all of its length")
    (fetched.root / "wish.csv").write_bytes("label,youtube_id\nwaltz,a\n".encode("utf-16"))
    left = ("runs/x/predictions.parquet", "studies/x.db", "wish.csv")
    assert remove(fetched, ["a"], REASON).still_named_in == left


@pytest.mark.parametrize("text", [b"", b"caf\xe9"])
def test_tables_that_a_spreadsheet_program_saved_are_erased_too(imported: Workspace, text: bytes) -> None:
    split(imported, SplitSettings(ratios="50/25/25", name="demo"))
    append_corrections(imported, [Correction(named(x, 0), "note", "", "seen") for x in "ABC"])
    (imported.root / "left-out.csv").write_text(f"path,reason,text,clip_id\nx,y,z,{named('C', 0)}\n")
    lock = imported.split_lock("demo")
    for path in (lock, imported.root / "labels.csv", imported.root / "left-out.csv"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"seen", b"seen " + text))
    rest = [line for line in (imported.root / "labels.csv").read_bytes().splitlines() if b"CCC" not in line]
    assert remove(imported, ["C" * 11], REASON).still_named_in == ()
    assert (imported.root / "labels.csv").read_bytes().splitlines() == rest
    assert (imported.root / "left-out.csv").read_bytes().count(b"\n") == 1
    assert lock.read_bytes().startswith(b"\xef\xbb\xbfclip_id,")
    assert clip_reference(named("C", 0)).encode() in lock.read_bytes()


def test_a_clip_that_a_marked_lock_alone_names_is_known(tmp_path: Path) -> None:
    host = Workspace(tmp_path / "host")
    host.create("")
    host.split_lock("demo").parent.mkdir(parents=True)
    host.split_lock("demo").write_bytes(b"\xef\xbb\xbfclip_id,subset\nabc_0_1000,train\n")
    assert remove(host, ["abc"], REASON).clip_ids == ("abc_0_1000",)


def test_the_history_is_the_tombstone(fetched: Workspace) -> None:
    remove(fetched, ["a_0_1000"], REASON)
    assert ledger.history(fetched.root, "a_0_1000") == []
    (found,) = clip_history(fetched, "a_0_1000")
    assert [(row.outcome, row.reason, row.text) for row in found.attempts] == [
        ("permanent", "removed-here", REASON)
    ]


def test_a_line_that_a_person_deletes_allows_the_clip_again(served: ServedVideos, fetched: Workspace) -> None:
    remove(fetched, ["a_0_1000"], REASON)
    lines = removals_file(fetched).read_text().splitlines(keepends=True)
    removals_file(fetched).write_text(lines[0])
    assert fetch(fetched, served.settings()).num_new == 1


def test_what_is_unknown_or_has_no_reason_is_refused(fetched: Workspace) -> None:
    with pytest.raises(InputError, match="'z' is neither a clip, a video, a group nor a file"):
        remove(fetched, ["a", "z"], "why")
    with pytest.raises(InputError, match="needs a reason"):
        remove(fetched, ["a"], " ")
    assert Path(fetched.clip("a_0_1000")).exists()


def test_a_file_is_removed_by_its_name_or_path(
    clip_files: list[Path], workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tapes" / "tango"
    folder.mkdir(parents=True)
    shutil.copyfile(clip_files[0], folder / "J\u00fcrgen Langsamer 1.mp4")
    shutil.copyfile(clip_files[1], folder / "J\u00fcrgen Langsamer 2.mp4")
    settings = ImportSettings(folder.parent)
    import_folder(workspace, replace(settings, options=replace(settings.options, link=True)))
    first = next(i for i in read_segments(workspace) if i.startswith("Jurgen-Langsamer-1"))
    monkeypatch.chdir(folder)
    # As typed, as a Mac writes it, and by paths.
    for name in (
        *("J\u00fcrgen Langsamer 1.mp4", "Ju\u0308rgen Langsamer 1.mp4", "./J\u00fcrgen Langsamer 1.mp4"),
        *("tango/J\u00fcrgen Langsamer 1.mp4", str(folder / "J\u00fcrgen Langsamer 1.mp4")),
    ):
        assert remove(workspace, [name], REASON, dry_run=True).clip_ids == (first,)
    for name in ("Langsamer 1.mp4", "waltz/J\u00fcrgen Langsamer 1.mp4", "tango", ".", ""):
        with pytest.raises(InputError, match=r"is neither a clip, a video, a group nor a file") as error:
            remove(workspace, [name], REASON)
        assert "dance history FILE names a file's clip" in error.value.hint
    assert remove(workspace, ["J\u00fcrgen Langsamer 1.mp4"], REASON).clip_ids == (first,)
    assert first not in read_segments(workspace)


def test_a_name_of_several_files_is_refused_with_their_paths(
    clip_files: list[Path], workspace: Workspace, tmp_path: Path
) -> None:
    for label, clip, name in (("tango", 0, "one"), ("waltz", 1, "one"), ("waltz", 2, "two")):
        (tmp_path / "tapes" / label).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(clip_files[clip], tmp_path / "tapes" / label / f"{name}.mp4")
    shutil.copyfile(clip_files[2], tmp_path / "tapes" / "waltz" / "copy.mp4")
    settings = ImportSettings(tmp_path / "tapes")
    import_folder(workspace, replace(settings, options=replace(settings.options, link=True)))
    with pytest.raises(InputError, match=r"'one.mp4' names 2 files: .*tango/one.mp4, .*waltz/one.mp4"):
        remove(workspace, ["one.mp4"], REASON)
    assert len(remove(workspace, ["waltz/one.mp4"], REASON).clip_ids) == 1
    # Files of equal bytes are one clip.
    by_copy = remove(workspace, ["copy.mp4"], REASON, dry_run=True).clip_ids
    assert by_copy == remove(workspace, ["two.mp4"], REASON).clip_ids != ()


@pytest.mark.parametrize("listed", ["one.mp4", "waltz/one.mp4", "ID"])
def test_a_removed_file_is_no_unknown_name_of_a_list_of_groups(
    workspace: Workspace, tmp_path: Path, clip_files: list[Path], listed: str
) -> None:
    folder = tmp_path / "tapes"
    (folder / "waltz").mkdir(parents=True)
    for clip, name in zip(clip_files, ("one", "two"), strict=False):
        shutil.copyfile(clip, folder / "waltz" / f"{name}.mp4")
    import_folder(workspace, ImportSettings(folder))
    (clip_id,) = remove(workspace, ["one.mp4"], REASON).clip_ids
    listed = listed.replace("ID", clip_id)
    groups = tmp_path / "groups.csv"
    groups.write_text(f"file,dancer\n{listed},ann\ntwo.mp4,bob\nnobody.mp4,cyd\n")
    again = import_folder(workspace, ImportSettings(folder, groups=groups, dry_run=True))
    assert again.left_out == {"removed-here": 1}
    assert [note for note in again.notes if "no clip" in note] == [
        f"{groups}: 1 name of no clip in the folder: 'nobody.mp4'"
    ]


def test_a_recording_is_removed_by_its_file(served: ServedVideos, workspace: Workspace) -> None:
    video = recording_id("Gala 1994, 2")
    served.want("zumba,x,0,1")
    fetch(workspace, served.settings())
    segments = [
        replace(read_segments(workspace)["x_0_1000"], video_id=video, start_ms=start, end_ms=start + 1000)
        for start in (0, 5000)
    ]
    remember_segments(workspace, segments, workspace_labels(workspace) or LabelSet(("zumba",)))
    planned = remove(workspace, ["tapes/Gala 1994, 2.MOV"], REASON)
    assert planned.clip_ids == (f"{video}_0_1000", f"{video}_5000_6000")
    assert {row.scope for row in read_removals(workspace).rows.values()} == {"video"}
    # As often as it is asked for: a removal may have been killed.
    assert remove(workspace, ["Gala 1994, 2.MOV"], REASON).before == planned.clip_ids


def test_a_broken_list_of_removals_is_refused(fetched: Workspace) -> None:
    removals_file(fetched).write_text("clip_id,sha256,scope,reason,removed_utc\na_0_1000,,all,why,2026\n")
    with pytest.raises(InputError, match=r"removed.csv:2: is not clip_id"):
        read_removals(fetched)
    for clip_id in ("a__1000", "a_0_", f"a_0_{'9' * 5000}"):
        removals_file(fetched).write_text(
            f"clip_id,sha256,scope,reason,removed_utc\n{clip_id},,clip,why,2026\n"
        )
        with pytest.raises(InputError, match=r"removed.csv:2: is not clip_id"):
            read_removals(fetched)
    removals_file(fetched).write_text("clip\na\n")
    with pytest.raises(InputError, match="is no list of removed clips"):
        read_removals(fetched)


def test_no_removal_beside_a_run(fetched: Workspace) -> None:
    record = {"schema": 1, "name": "x", "status": "running"}
    write_record(RunFolder(fetched.run("x")), record)
    with fetched.lock("run-x"), pytest.raises(WorkspaceError, match="run 'x' is at work"):
        remove(fetched, ["a"], REASON)
    remove(fetched, ["a"], REASON)


def test_the_command_names_the_submissions_that_it_deletes(
    imported: Workspace, dance: Callable[..., Ran]
) -> None:
    split_name = make_everything(imported, named("C", 0))
    near = RunFolder(imported.run("near"))
    record = {"schema": 1, "name": "near", "status": "done", "split": {"name": split_name, "hash": "x"}}
    write_record(near, record | {"recipe": {"head": "knn"}})
    near.checkpoints.mkdir()
    (near.checkpoints / "last.pth").write_bytes(b"features")
    ran = dance("remove", named("C", 0), "--reason", REASON, "--workspace", str(imported.root))
    assert "submissions that contained them: old; write a site again: dance board --site DIR" in ran.err
    assert "are deleted: near; train each again: dance finetune --name RUN --resume" in ran.err


def test_near_duplicates_that_stay_are_named(fetched: Workspace, dance: Callable[..., Ran]) -> None:
    twins = [Group(clip, "a", "near-duplicate") for clip in ("a_0_1000", "b_0_1000", "c_2000_3000")]
    add_groups(fetched, [*twins, Group("a_0_1000", "ann", "dancer"), Group("c_0_1000", "ann", "dancer")])
    for options in (("--dry-run",), ()):
        ran = dance("remove", "a", "--reason", REASON, *options)
        assert ran.code == 0
        assert "to remove these too: dance remove b_0_1000 c_2000_3000 --reason TEXT" in ran.err
    ran = dance("remove", "b_0_1000", "c_2000_3000", "--reason", REASON)
    assert "to remove these too" not in ran.err


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("name", ["Jürgen", "JÜRGEN", " jürgen"])
def test_a_group_is_found_by_any_spelling(fetched: Workspace, form: Literal["NFC", "NFD"], name: str) -> None:
    spelled = [unicodedata.normalize(form, "Jürgen") for form in ("NFC", "NFD")]
    rows = [Group("a_0_1000", spelled[0], "dancer"), Group("b_0_1000", spelled[1], "dancer")]
    tables.write(fetched.groups, Group, sorted([*rows, Group("c_0_1000", "jürgen", "near-duplicate")]))
    result = remove(fetched, [unicodedata.normalize(form, name)], REASON, dry_run=True)
    assert result.clip_ids == ("a_0_1000", "b_0_1000")


def test_clips_beside_a_name_are_found_by_any_spelling(fetched: Workspace) -> None:
    add_groups(fetched, [Group("a_0_1000", "B", "dancer"), Group("c_0_1000", "B", "dancer")])
    assert remove(fetched, ["b", "a_0_1000"], REASON, dry_run=True).beside == ("c_0_1000",)


def test_what_was_removed_before_is_said_to_be(fetched: Workspace, dance: Callable[..., Ran]) -> None:
    dance("remove", "a_0_1000", "--reason", REASON)
    assert dance("remove", "a_0_1000", "--reason", REASON).out == "1 clip removed already: 0 files, 0 bytes\n"
    assert dance("remove", "a", "--reason", REASON).out.startswith("1 clip removed, 1 clip removed already: ")


def test_a_host_of_a_lock_alone_is_told_of_it_and_loses_its_board(
    workspace: Workspace, dance: Callable[..., Ran]
) -> None:
    lock = workspace.split_lock("demo")
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text("clip_id,subset,group,label,sha256\na_0_1000,test,a,zumba,x\nb_0_1000,test,b,zumba,y\n")
    board = workspace.report("board") / "board.json"
    board.parent.mkdir(parents=True)
    board.write_text('{"clips": 2}')
    ran = dance("remove", "a_0_1000", "--reason", REASON)
    assert "lock files that name them no more: manifests/splits/demo.lock.csv" in ran.err
    assert "run dance board again" in ran.err
    assert not board.parent.exists()
    board.parent.mkdir()
    board.write_text('{"clips": 1}')
    dance("remove", "a_0_1000", "--reason", REASON)
    assert board.exists()


def test_a_clip_of_a_pulled_list_is_not_published_before_it_is_removed(
    imported: Workspace, dance: Callable[..., Ran]
) -> None:
    split(imported, SplitSettings(ratios="50/25/25", name="demo"))
    # Another stretch of a removed video goes as well.
    add_removals(imported, [Removal("A" * 11 + "_7000_8000", "", "video", "asked", "2026-01-01T00:00:00")])
    for command in (
        ("export",),
        ("export", "--format", "videofolder", "--dry-run"),
        ("split", "--name", "x"),
    ):
        ran = dance(*command)
        assert ran.code == 1
        assert "2 clips of removed.csv still here: they must not be published" in ran.err
        assert "dance remove removed.csv --reason ..." in ran.err
    assert not (imported.root / "exports").exists()
    assert not imported.split("x").exists()
    removed = dance("remove", "removed.csv", "--reason", REASON)
    assert removed.code == 0
    assert "2 clips removed" in removed.out
    assert dance("export").code == 0
    assert dance("split", "--ratios", "50/25/25", "--name", "x").code == 0


def test_answers_in_the_datasheet_of_an_export_are_kept(
    imported: Workspace, dance: Callable[..., Ran]
) -> None:
    split(imported, SplitSettings(ratios="50/25/25", name="demo"))
    exports = imported.root / "exports"
    for form in (Form.LISTS, Form.VIDEOFOLDER):
        export(imported, ExportSettings(form))
    for letter, answer, kept in (
        ("A", "A dance archive.", "demo-lists-DATASHEET.md"),
        ("B", "| who |\n|---|\n| Ann |", "demo-lists-DATASHEET-2.md"),
    ):
        sheet = exports / "demo-lists" / "DATASHEET.md"
        # What an export writes itself is not kept.
        assert not has_answers(sheet.read_text())
        sheet.write_text(sheet.read_text().replace(OPEN, answer, 1))
        written = sheet.read_bytes()
        planned = remove(imported, [letter * 11], REASON, dry_run=True)
        assert (planned.kept, (exports / kept).exists()) == ((f"exports/{kept}",), False)
        ran = dance("remove", letter * 11, "--reason", REASON)
        assert f"datasheets with answers, kept for the next export: exports/{kept}" in ran.err
        assert (exports / kept).read_bytes() == written
        assert not sheet.exists()
        export(imported, ExportSettings(Form.LISTS))
    assert len(list(exports.glob("*.md"))) == 2


def test_the_command(fetched: Workspace, dance: Callable[..., Ran]) -> None:
    ran = dance("remove", "b", "--reason", "take-down")
    assert ran.code == 0
    assert ran.out.startswith("2 clips removed: 2 files, ")
    assert ran.out.splitlines()[1:3] == ["  b_0_1000", "  b_2000_3000"]
    assert dance("remove", "nobody", "--reason", "x").code == 1
    assert dance("remove", "a").code == 2


def test_where_a_reason_is_typed_it_is_said_that_it_is_published(dance: Callable[..., Ran]) -> None:
    said = " ".join(dance("remove", "--help").out.replace("│", " ").split())
    assert "removed.csv, which is published with the dataset: name no person." in said
