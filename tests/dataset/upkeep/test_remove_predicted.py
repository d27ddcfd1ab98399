"""What `dance predict` stored of a removed video goes with it, and what it stored of others stays."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from helpers import clip_workspace
from helpers.builders import Ran

from dancecli.app.timelines import Recordings, Span, edit
from dancecli.core.errors import WorkspaceError
from dancecli.core.hashing import sha256_file
from dancecli.core.labels import LabelSet
from dancecli.core.records import Segment
from dancecli.core.text import unique_slugs
from dancecli.core.video_files import recording_id
from dancecli.dataset.clips import remember_segments
from dancecli.dataset.ingest.import_folder import ImportSettings, import_folder
from dancecli.dataset.upkeep import erase
from dancecli.dataset.upkeep.remove import remove
from dancecli.model.inference.timeline_files import write_timeline
from dancecli.storage.workspace import Workspace

clip_files = clip_workspace.clip_files
GALA, REASON = "Großer Ball 1987.mp4", "a request"
SPANS = [{"start_s": 0.0, "end_s": 20.0, "label": "waltz", "probability": 0.9}]


def film(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def cut(workspace: Workspace, name: str) -> list[str]:
    """Request two clips of a recording."""
    video = recording_id(name)
    rows = [Segment(video, start, start + 1000, "waltz", "", "own") for start in (0, 5000)]
    remember_segments(workspace, rows, LabelSet(("waltz",)))
    return [row.clip_id for row in rows]


def predict(workspace: Workspace, films: Sequence[Path], name: str = "films") -> Path:
    """Store what `dance predict` stores of some films; return its folder."""
    folder = workspace.report(f"predict-{name}")
    folder.mkdir(parents=True)
    known: dict[str, str] = {}
    rows: list[dict[str, Any]] = []
    for path, stem in zip(films, unique_slugs([path.name for path in films]), strict=True):
        write_timeline(folder / stem, path, SPANS, datetime.now(UTC), known)
        (folder / f"{stem}.png").write_bytes(b"picture")
        facts = {"file": path.name, "path": str(path), "num_bytes": path.stat().st_size, "stem": stem}
        windows = [{"start_s": start, "end_s": start + 10.0, "scores": [0.9]} for start in (0.0, 10.0)]
        scores = {"seconds": 20.0, "frames": 200, "segments": SPANS, "windows": windows}
        rows.append({**facts, "sha256": sha256_file(path), "error": "", **scores})
    document = {"checkpoint": {"run": "r", "sha256": "0"}, "labels": ["waltz"], "videos": rows}
    document |= {"inputs": [str(path) for path in films], "timelines": known}
    (folder / "prediction.json").write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return folder


def correct(workspace: Workspace, title: str) -> set[str]:
    """Correct a timeline in the app, and write a list of it; return the names of both files."""
    (recording,) = (one for one in Recordings(workspace).all().values() if one.title == title)
    edit(workspace, recording, 0, [Span(0, 1000, "tango", None, checked=True)], "ana", "corrected")
    path = workspace.timeline(recording.name)
    path.with_suffix(".eaf").write_text("<x/>")
    return {f"timelines/{recording.name}.{suffix}" for suffix in ("eaf", "jsonl")}


def stored(workspace: Workspace) -> dict[str, bytes]:
    paths = [*workspace.root.glob("reports/**/*"), *workspace.root.glob("timelines/*")]
    return {
        path.relative_to(workspace.root).as_posix(): path.read_bytes() for path in paths if path.is_file()
    }


def titles(workspace: Workspace) -> list[str]:
    return [recording.title for recording in Recordings(workspace).all().values()]


def test_a_recording_goes_with_its_timelines_and_others_keep_theirs(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dance: Ran
) -> None:
    films = [film(tmp_path / "films" / name, name) for name in (GALA, "Grosser-Ball-1987.mp4.avi", "b.mp4")]
    cut(workspace, Path(GALA).stem)
    folder = predict(workspace, films)
    alone = predict(workspace, films[:1], "alone")
    mine = correct(workspace, GALA)
    others = correct(workspace, "b.mp4")
    for name in ("Grosser-Ball-1987.mp4.new.eaf", "Grosser-Ball-1987.mp4.pfsx", "b.mp4.new.csv"):
        (folder / name).write_text("corrected")
    before = stored(workspace)
    own = {f"reports/predict-films/Grosser-Ball-1987.mp4{end}" for end in (".eaf", ".vtt", ".csv", ".png")}
    own |= {f"reports/predict-films/Grosser-Ball-1987.mp4{end}" for end in (".new.eaf", ".pfsx")}
    planned = remove(workspace, [GALA], REASON, dry_run=True)
    assert set(planned.files) == {*own, *mine, "reports/predict-alone/"}
    assert planned.predictions == ("reports/predict-films/prediction.json",)
    assert (planned.recordings, planned.still_named_in, stored(workspace)) == ((), (), before)
    # Killed before a result forgets the video, and again after all files are gone.
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(erase, "_apply", Mock(side_effect=KeyboardInterrupt))
        remove(workspace, [GALA], REASON)
    ran = dance("remove", GALA, "--reason", REASON)
    assert ran.code == 0, ran.err
    assert "predictions that keep the other videos: reports/predict-films/prediction.json" in ran.err
    assert not alone.exists()
    after = stored(workspace)
    assert titles(workspace) == ["b.mp4", "Grosser-Ball-1987.mp4.avi"]
    document = json.loads(after.pop("reports/predict-films/prediction.json"))
    assert not [name for name in document["timelines"] if name.startswith("Grosser-Ball-1987.mp4.eaf")]
    assert document["inputs"] == [str(path) for path in films[1:]]
    kept = {name: text for name, text in before.items() if name not in own | mine and "alone" not in name}
    kept.pop("reports/predict-films/prediction.json")
    assert after == kept
    assert others <= after.keys()
    assert films[0].exists()


def test_the_seconds_of_a_clip_stay_in_the_prediction_of_a_recording_and_that_is_said(
    workspace: Workspace, tmp_path: Path, dance: Ran
) -> None:
    (clip_id, _), path = cut(workspace, "Gala"), film(tmp_path / "Gala.mp4", "x")
    predict(workspace, [path])
    ran = dance("remove", clip_id, "--reason", REASON)
    assert ran.code == 3
    assert f"dance remove {path} --reason TEXT" in ran.err
    assert "reports/predict-films/prediction.json" in ran.err
    assert titles(workspace) == ["Gala.mp4"]
    ran = dance("remove", str(path), "--reason", REASON)
    assert (ran.code, titles(workspace)) == (0, [])


def test_of_two_recordings_of_one_name_the_one_goes_whose_path_was_given(
    workspace: Workspace, tmp_path: Path
) -> None:
    cut(workspace, "00001")
    cards = [film(tmp_path / card / "00001.MP4", card) for card in ("card1", "card2")]
    folder = predict(workspace, cards)
    both = remove(workspace, ["00001.MP4"], REASON)
    assert both.recordings == tuple(map(str, cards))
    assert "reports/predict-films/prediction.json" in both.still_named_in
    for _ in ("now", "again"):
        assert remove(workspace, ["card1/00001.MP4"], REASON).recordings == (str(cards[1]),)
        # The other one is still found by the name that its files were given beside the first.
        assert {path.name for path in folder.glob("*.eaf")} == {"00001.MP4-2.eaf"}
        (recording,) = Recordings(workspace).all().values()
        assert {path.name for path, _ in recording.files} >= {"00001.MP4-2.eaf"}


def test_a_clip_that_was_predicted_itself_goes_and_a_prediction_at_work_is_waited_for(
    workspace: Workspace, tmp_path: Path
) -> None:
    clip_id, _ = cut(workspace, "Gala")
    folder = predict(workspace, [film(tmp_path / f"{clip_id}.mp4", "x"), film(tmp_path / "b.mp4", "b")])
    with workspace.lock(folder.name), pytest.raises(WorkspaceError, match="another 'predict-films'"):
        remove(workspace, [clip_id], REASON)
    assert remove(workspace, [clip_id], REASON).still_named_in == ()
    assert titles(workspace) == ["b.mp4"]


@pytest.mark.parametrize("link", [True, False])
def test_an_imported_file_is_known_by_its_bytes_and_its_path(
    workspace: Workspace, tmp_path: Path, clip_files: list[Path], link: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tapes = [tmp_path / "tapes" / "waltz" / f"{name}.mp4" for name in ("Tanz 1", "Tanz 2")]
    tapes[0].parent.mkdir(parents=True)
    for clip, tape in zip(clip_files, tapes, strict=False):
        shutil.copyfile(clip, tape)
    settings = ImportSettings(tmp_path / "tapes")
    import_folder(workspace, replace(settings, options=replace(settings.options, link=link)))
    predict(workspace, tapes)
    elsewhere = film(tmp_path / "other" / "Tanz 1.mp4", "another film of this name")
    moved = Path(shutil.copy(tapes[0], tmp_path / "moved.mp4"))
    predict(workspace, [elsewhere, moved], "more")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(erase, "rebuild_clips", Mock(side_effect=KeyboardInterrupt))
        remove(workspace, ["Tanz 1.mp4"], REASON)
    assert titles(workspace) == ["Tanz 1.mp4", "Tanz 2.mp4"]
    (recording, _) = Recordings(workspace).all().values()
    assert recording.path == elsewhere


def test_a_copy_of_an_imported_file_is_known_by_its_bytes(
    workspace: Workspace, tmp_path: Path, clip_files: list[Path]
) -> None:
    tape = tmp_path / "tapes" / "waltz" / "Tanz 1.mp4"
    tape.parent.mkdir(parents=True)
    shutil.copyfile(clip_files[0], tape)
    import_folder(workspace, ImportSettings(tmp_path / "tapes"))
    copy = Path(shutil.copy(tape, tmp_path / "copy.mp4"))
    predict(workspace, [copy])
    assert titles(workspace) == ["copy.mp4"]
    remove(workspace, ["Tanz 1.mp4"], REASON)
    assert titles(workspace) == []


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"videos": [1]}', '{"videos": [{"file": 1}]}', '{"videos": [], "timelines": []}']
)
def test_a_damaged_result_is_named(workspace: Workspace, text: str) -> None:
    cut(workspace, "Gala")
    path = workspace.report("predict-x") / "prediction.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    for dry_run in (True, False):
        left = remove(workspace, ["Gala.mp4"], REASON, dry_run=dry_run).still_named_in
        assert left == ("reports/predict-x/prediction.json",)
    assert path.read_text() == text
