from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from helpers.builders import fill, make_clip

from dancecli.core.errors import EngineError, InputError, MediaError, ModelError, UsageError, WorkspaceError
from dancecli.core.progress import Reporter
from dancecli.core.records import Clip, Prediction, SplitClip, Subset
from dancecli.core.text import unique_slugs
from dancecli.dataset.ingest.import_folder import ImportSettings, import_folder
from dancecli.engine.pool import Finished
from dancecli.model.inference.inputs import find_videos, frames_of
from dancecli.model.inference.parallel import VideoScores
from dancecli.model.inference.predict import PredictSettings, predict
from dancecli.model.inference.predictor import Predictor
from dancecli.model.inference.training_clips import read_training_clips
from dancecli.model.networks.checkpoint import open_checkpoint, run_checkpoint
from dancecli.model.runs.finetune import FinetuneSettings, finetune
from dancecli.model.runs.plan import Execution
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace

# Trained once: no test changes the run.
_TRAINED: list[Workspace] = []


@pytest.fixture
def workspace(corpus, tiny_recipe, tiny_model) -> Workspace:
    if not _TRAINED:
        workspace = corpus()
        settings = FinetuneSettings(
            pretrain=str(tiny_model), weights="none", freeze="4", recipe=str(tiny_recipe), epochs=1,
            name="run", execution=Execution(cache=False),
        )  # fmt: skip
        finetune(workspace, settings)
        _TRAINED.append(workspace)
    return _TRAINED[0]


def test_a_test_clip_gets_the_scores_it_got_in_evaluation(workspace):
    rows = tables.read(workspace.run("run") / "predictions.parquet", Prediction)
    clips = tuple(workspace.clip(row.clip_id) for row in rows)
    document = predict(workspace, PredictSettings(clips, run="run")).document
    assert document["window_s"] == 2.0
    for row, video in zip(rows, document["videos"], strict=True):
        assert video["scores"] == pytest.approx(row.scores, abs=1e-4)
        assert len(video["windows"]) == 1


def test_of_the_last_runs_the_one_that_looks_at_frames_is_taken(workspace, tmp_path):
    copy = Workspace(tmp_path / "copy")
    for name in ("run", "a-run-of-flow"):
        shutil.copytree(workspace.run("run"), copy.run(name))
    record = copy.run("a-run-of-flow") / "run.json"
    facts = json.loads(record.read_text())
    facts |= {"created_utc": "2099-01-01T00:00:00+00:00", "name": "a-run-of-flow"}
    facts["model"]["flow"] = "dis"
    record.write_text(json.dumps(facts))
    assert copy.runs()[-1] == "a-run-of-flow"
    assert run_checkpoint(copy, None)[0] == "run"
    assert run_checkpoint(copy, "a-run-of-flow")[0] == "a-run-of-flow"


def test_several_windows_a_pass_have_the_scores_of_one(workspace, tmp_path, write_film, monkeypatch):
    from dancecli.core.progress import SILENT
    from dancecli.model.inference.predictor import predict_windows

    film = tmp_path / "long.mkv"
    write_film(film, 1, 5, frames=12 * 9)
    predictor = Predictor(open_checkpoint(run_checkpoint(workspace, "run")[2]))
    found, passes = {}, []
    score = predictor.score

    def counted(views, name):
        passes.append(len(views))
        return score(views, name)

    monkeypatch.setattr(predictor, "score", counted)
    for size in (1, 3, 32):
        monkeypatch.setattr(predictor, "per_pass", lambda _, size=size: size)
        found[size], stream = predict_windows(predictor, film, 2.0, SILENT)
        assert stream.frames == 108
    assert passes == [1] * 8 + [3, 3, 2] + [8]
    for size in (3, 32):
        assert [(w.start_s, w.end_s) for w in found[size]] == [(w.start_s, w.end_s) for w in found[1]]
        for window, alone in zip(found[size], found[1], strict=True):
            assert window.scores == pytest.approx(alone.scores, abs=1e-5)


def test_a_long_video_has_a_course_and_a_picture(workspace, tmp_path, write_film):
    source_video = tmp_path / "an evening, long.mkv"
    write_film(source_video, 1, 5, frames=12 * 9)
    result = predict(workspace, PredictSettings((source_video,), run="run"))
    assert result.file == workspace.report("predict-an-evening-long") / "prediction.json"
    document = json.loads(result.file.read_text())
    assert document == json.loads(json.dumps(result.document))
    (video,) = document["videos"]
    assert (video["seconds"], video["frames"], video["fault"]) == (9.0, 108, "")
    assert [(w["start_s"], w["end_s"]) for w in video["windows"]] == [(i, i + 2) for i in range(8)]
    assert (video["segments"][0]["start_s"], video["segments"][-1]["end_s"]) == (0, 9)
    assert len(video["top5"]) == 3
    assert sum(best["probability"] for best in video["top5"]) == pytest.approx(1, abs=1e-5)
    (picture,) = result.pictures
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in result.timelines] == [
        "an-evening-long.mkv.eaf", "an-evening-long.mkv.vtt", "an-evening-long.mkv.csv"
    ]  # fmt: skip
    assert result.timelines[2].read_text().count("\n") == 1 + len(video["segments"])
    wider = predict(workspace, PredictSettings((source_video,), window_s=6.0, picture=tmp_path / "here.png"))
    assert [(w["start_s"], w["end_s"]) for w in wider.document["videos"][0]["windows"]] == [(0, 6), (3, 9)]
    assert wider.pictures == (tmp_path / "here.png",)


def test_a_timeline_that_a_person_changed_is_never_overwritten(workspace, tmp_path, write_film):
    write_film(tmp_path / "tape.mkv", 1, 5, frames=12 * 9)
    said: list[str] = []

    def again():
        said.clear()
        settings = PredictSettings((tmp_path / "tape.mkv",), run="run")
        return predict(workspace, settings, Reporter(on_message=said.append))

    eaf, vtt, table = again().timelines
    assert again().timelines == (eaf, vtt, table)
    assert not said
    eaf.write_text(
        corrected := eaf.read_text().replace("</ANNOTATION_VALUE>", " (by Ann)</ANNOTATION_VALUE>")
    )
    assert again().timelines == (eaf, vtt, table)
    assert said == [
        f"{eaf}: changed since dance wrote it, so it is kept; "
        "tape.mkv.vtt, tape.mkv.csv hold what was predicted"
    ]
    # What was corrected was another prediction.
    file = eaf.with_name("prediction.json")
    document = json.loads(file.read_text())
    document["timelines"][eaf.name] = "another"
    file.write_text(json.dumps(document))
    vtt.unlink()
    new = again().timelines
    assert [path.name for path in new] == ["tape.mkv.new.eaf", "tape.mkv.new.vtt", "tape.mkv.new.csv"]
    assert said == [
        f"{eaf}: changed since dance wrote it, so it is kept; tape.mkv.csv holds what was predicted before; "
        "the new timeline is tape.mkv.new.eaf"
    ]
    assert eaf.read_text() == corrected


def test_names_that_are_no_text_are_escaped_in_the_result(workspace, tmp_path, write_film):
    from PIL import Image

    folder = tmp_path / os.fsdecode(b"B\xe4nder")
    frames = folder / os.fsdecode(b"W\xe4lzer")
    frames.mkdir(parents=True)
    for i in range(3):
        Image.fromarray(np.full((64, 80, 3), 50 * i, np.uint8)).save(
            frames / os.fsdecode(b"%d-\xe4.png" % i), "png"
        )
    film = folder / os.fsdecode(b"B\xe4nd.mkv")
    write_film(tmp_path / "film.mkv", 1, 5, frames=12 * 4)
    (tmp_path / "film.mkv").rename(film)
    (folder / os.fsdecode(b"\xe4.mp4")).write_text("no video")
    alone = predict(workspace, PredictSettings((film,), run="run"))
    assert alone.document["videos"][0]["file"] == "B\\xe4nd.mkv"
    assert len(alone.timelines) == 3
    document = predict(workspace, PredictSettings((folder,), run="run")).document
    assert [video["file"] for video in document["videos"]] == ["B\\xe4nd.mkv", "W\\xe4lzer", "\\xe4.mp4"]
    assert document["inputs"] == [f"{tmp_path}/B\\xe4nder"]
    # Of the file that cannot be read there is no result.
    assert predict(workspace, PredictSettings((folder,), run="run")).fresh == 1


def test_a_stream_may_change_its_size_on_the_way(workspace):
    predictor = Predictor(open_checkpoint(run_checkpoint(workspace, "run")[2]))
    frames = [np.full((64, 64 + 30 * (i < 10), 3), 9 * i, np.uint8) for i in range(20)]
    ((scores, _),) = predictor.score([predictor.prepare(frames, 10.0, "call.webm")], "call.webm")
    assert sum(scores) == pytest.approx(1)


def test_a_folder_is_a_table_and_a_bad_file_a_row(workspace, tmp_path, clip_files):
    folder = tmp_path / "tapes"
    (folder / "box").mkdir(parents=True)
    shutil.copy(clip_files[0], folder / "box" / "one.mp4")
    shutil.copy(clip_files[1], folder / "two.MP4")
    (folder / "bad.avi").write_text("this is text")
    (folder / "readme.txt").write_text("this too")
    result = predict(workspace, PredictSettings((folder,)))
    videos = result.document["videos"]
    assert [(v["file"], bool(v["error"])) for v in videos] == [
        ("bad.avi", True), ("box/one.mp4", False), ("two.MP4", False),
    ]  # fmt: skip
    assert (result.complete, result.left_out, result.fresh) == (False, 1, 3)
    assert result.document["checkpoint"]["run"] == "run"
    # What was seen before is not looked at again; other weights or windows make it new.
    again = predict(workspace, PredictSettings((folder,)))
    assert (again.fresh, again.document) == (1, result.document)
    (folder / "bad.avi").unlink()
    assert predict(workspace, PredictSettings((folder,))).fresh == 0
    assert predict(workspace, PredictSettings((folder,), window_s=1.0)).fresh == 2


def test_what_another_decoder_read_is_read_again(workspace, clip_files):
    settings = PredictSettings((clip_files[0],), run="run")
    file = predict(workspace, settings).file
    document = json.loads(file.read_text(encoding="utf-8"))
    # As a machine with a GPU leaves it, where torchcodec decodes.
    document["decoder"] = {"name": "torchcodec", "version": "0.13.0", "device": "cuda", "left_to_ffmpeg": 0}
    file.write_text(json.dumps(document), encoding="utf-8")
    assert predict(workspace, settings).fresh == 1
    assert predict(workspace, settings).fresh == 0


def test_two_commands_at_once_on_videos_of_one_name_keep_results_apart(workspace, clip_files, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, two = (shutil.copy(clip_files[i], tmp_path / "ab"[i] / "film.mp4") for i in range(2))
    with workspace.lock("predict-film"):
        second = predict(workspace, PredictSettings((two,), run="run")).file
    first = predict(workspace, PredictSettings((one,), run="run")).file
    assert [file.parent.name for file in (first, second)] == ["predict-film", "predict-film-2"]
    with workspace.lock("predict-film"), pytest.raises(WorkspaceError, match="another 'predict-film' is at"):
        predict(workspace, PredictSettings((one,), run="run"))


def test_videos_of_equal_names_keep_their_results_apart(workspace, tmp_path, clip_files):
    names = ("a/clip.mp4", "a-clip.mp4", "танец.mp4", "舞蹈.mp4", "A-clip.MP4")
    for name, clip in zip(names, clip_files, strict=False):
        target = tmp_path / "uni" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, target)
    result = predict(workspace, PredictSettings((tmp_path / "uni",), run="run", window_s=0.5))
    assert len({path.name.casefold() for path in result.pictures}) == len(result.pictures) == 5
    one, other = tmp_path / "x" / "clip.mp4", tmp_path / "y" / "clip.mp4"
    files = []
    for path, clip in ((one, clip_files[0]), (other, clip_files[1]), (one, clip_files[0])):
        path.parent.mkdir(exist_ok=True)
        shutil.copy(clip, path)
        files.append(predict(workspace, PredictSettings((path,), run="run")).file)
    assert files[0] == files[2] != files[1]
    assert json.loads(files[0].read_text())["inputs"] == [str(one)]


def test_the_results_of_two_runs_on_the_same_videos_both_stay(workspace, tmp_path, clip_files):
    copy = Workspace(tmp_path / "copy")
    for name in ("run", "twin"):
        shutil.copytree(workspace.run("run"), copy.run(name))
        shutil.copytree(workspace.root / "manifests", copy.root / "manifests", dirs_exist_ok=True)
    folder = tmp_path / "films"
    folder.mkdir()
    shutil.copy(clip_files[0], folder / "a.mp4")
    found = [predict(copy, PredictSettings((folder,), run=run)) for run in ("run", "twin", "run")]
    assert [one.file.parent.name for one in found] == ["predict-films", "predict-films-2", "predict-films"]
    assert [one.fresh for one in found] == [1, 1, 0]
    kept = [json.loads(one.file.read_text())["checkpoint"]["run"] for one in found]
    assert kept == ["run", "twin", "run"]


def test_each_row_says_which_file_it_is_of(workspace, tmp_path, clip_files):
    cards = [tmp_path / name / "00001.MP4" for name in ("card1", "card2")]
    for path, clip in zip(cards, clip_files, strict=False):
        path.parent.mkdir()
        shutil.copy(clip, path)
    folders = PredictSettings(tuple(path.parent for path in cards))
    wanted = [("00001.MP4", str(path), path.stat().st_size) for path in cards]
    for _ in ("now", "again"):
        rows = predict(workspace, folders).document["videos"]
        assert [(row["file"], row["path"], row["num_bytes"]) for row in rows] == wanted
    # The result of the same bytes is used again, and is one of the file that they are in now.
    moved = shutil.copy(cards[0], tmp_path / "card2" / "00000.MP4")
    rows = predict(workspace, folders).document["videos"]
    assert [row["path"] for row in rows] == [str(cards[0]), str(moved), str(cards[1])]


def test_a_link_to_nothing_is_given_as_well(tmp_path):
    (tmp_path / "a.mp4").symlink_to("nowhere.mp4")
    (tmp_path / "a.txt").symlink_to("nowhere.txt")
    assert find_videos([tmp_path]) == ((("a.mp4", tmp_path / "a.mp4"),), 1)


def test_results_have_the_names_of_their_videos_as_far_as_every_file_system_has_the_letters():
    names = ["Größe, 94.mp4", "Łódź.mp4", "GROSSE-94.mp4", "танец.mp4"]
    *latin, other = unique_slugs(names)
    assert latin == ["Grosse-94.mp4", "Lodz.mp4", "GROSSE-94.mp4-2"]
    assert re.fullmatch("[0-9a-f]{8}", other)


def test_frames_are_ordered_by_their_numbers_whatever_else_is_a_digit(tmp_path):
    for name in ("1\u00b210.png", "1\u00b22.png"):
        (tmp_path / name).touch()
    assert [path.name for path in frames_of(tmp_path)] == ["1\u00b22.png", "1\u00b210.png"]


def test_a_folder_of_frames_is_a_video_and_one_picture_is_not(workspace, tmp_path):
    from PIL import Image

    frames = tmp_path / "shots" / "waltz"
    frames.mkdir(parents=True)
    for i in range(30):
        Image.new("RGB", (88, 72), (8 * i, 0, 0)).save(frames / f"frame-{i}.png")
    result = predict(workspace, PredictSettings((tmp_path / "shots",), run="run"))
    (video,) = result.document["videos"]
    assert (video["file"], video["frames"], video["seconds"]) == ("waltz", 30, 1.2)
    alone = predict(workspace, PredictSettings((frames,), run="run")).document["videos"]
    assert alone[0]["scores"] == video["scores"]
    assert [path.name for path in frames_of(frames)[:3]] == ["frame-0.png", "frame-1.png", "frame-2.png"]
    with pytest.raises(MediaError, match="is a single picture, not a video"):
        predict(workspace, PredictSettings((frames / "frame-3.png",), run="run"))


def test_errors_name_the_file_and_the_reason(workspace, tmp_path, clip_files):
    text = tmp_path / "notes.txt"
    text.write_text("no video")
    empty = tmp_path / "empty"
    empty.mkdir()
    clip, pipe = clip_files[0], tmp_path / "pipe.mp4"
    os.mkfifo(pipe)
    cases = [
        (PredictSettings((text,)), MediaError, "is not a video that can be read"),
        (PredictSettings((tmp_path / "none.mp4",)), MediaError, "cannot be read"),
        (PredictSettings((empty,)), InputError, "contains no video"),
        (PredictSettings((clip,), run="other"), WorkspaceError, "no run 'other'"),
        (PredictSettings((clip,), checkpoint=text), ModelError, "notes.txt: "),
        (PredictSettings((clip,), run="run", checkpoint=text), UsageError, "both name weights"),
        (PredictSettings((clip, clip), picture=text), UsageError, "of one video"),
        (PredictSettings((clip,), window_s=0.1), UsageError, "a window of 0.1 s cannot be used"),
        (PredictSettings((clip,), window_s=float("nan")), UsageError, "a window of nan s"),
        (PredictSettings((clip,), window_s=float("inf")), UsageError, "a window of inf s"),
        (PredictSettings((pipe,)), MediaError, "is not a file"),
    ]
    for settings, error, said in cases:
        with pytest.raises(error, match=said):
            predict(workspace, settings)


def test_several_processes_give_the_predictions_of_one(workspace, tmp_path, write_film, clip_files):
    write_film(tmp_path / "film.mp4", 2, 30, frames=60)
    (tmp_path / "bad.mp4").write_text("text")
    shutil.copy(clip_files[1], tmp_path / "same.mp4")
    videos = (tmp_path / "film.mp4", *clip_files[:3], tmp_path / "bad.mp4", tmp_path / "same.mp4")
    found, seen = [], []
    for processes in (2, 1):
        result = predict(
            workspace,
            PredictSettings(videos, "run", processes=processes),
            Reporter(lambda now: seen.append((now.done, now.total, now.text))),
        )
        # The bad file is looked at too; the one that is there twice is not scored again.
        assert result.fresh == 5
        assert len(result.pictures) == 1
        shutil.rmtree(result.file.parent)
        found.append(result.document["videos"])
    assert (5, 5, "predicting · 2 processes") in seen
    two, one = found
    assert [row["file"] for row in two] == [str(path) for path in videos]
    assert two[2]["scores"] == two[5]["scores"]
    for shared, alone in zip(two, one, strict=True):
        assert shared.keys() == alone.keys()
        assert (shared["error"], shared["fault"]) == (alone["error"], alone["fault"])
        if not alone["error"]:
            assert shared["scores"] == pytest.approx(alone["scores"], abs=5e-6)
            assert [w["start_s"] for w in shared["windows"]] == [w["start_s"] for w in alone["windows"]]
            assert [s["label"] for s in shared["segments"]] == [s["label"] for s in alone["segments"]]


def test_one_video_is_read_by_one_process(workspace, clip_files, monkeypatch):
    from dancecli.model.inference import parallel

    monkeypatch.setattr(parallel, "open_pool", None)
    said = []
    settings = PredictSettings((clip_files[7],), "run", processes=2)
    assert predict(workspace, settings, Reporter(on_message=said.append)).fresh == 1
    assert said == ["one process reads one video: the others have none"]
    with pytest.raises(MediaError, match=r"no such file|cannot be read"):
        predict(workspace, replace(settings, videos=(clip_files[7].with_name("none.mp4"),)))


def test_a_process_that_ends_is_one_line_and_what_was_found_is_kept(workspace, tmp_path, clip_files):
    from dancecli.model.inference import parallel

    calls, videos = [], tuple(clip_files[4:6])

    class Pool:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def run(self, jobs):
            calls.append(jobs)
            scores = VideoScores({"windows": [], "fault": "", "scores": [1.0]})
            yield Finished(jobs[1], scores)
            yield Finished(jobs[0], None, "worker-died", "its process ended with status -9\nmore")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(parallel, "open_pool", lambda *_, **__: Pool())
        with pytest.raises(
            EngineError, match=r"was lost with its process: its process ended with status -9$"
        ):
            predict(workspace, PredictSettings(videos, "run", processes=2))
    (job, _) = calls[0]
    assert job.reading.weights == workspace.run("run") / "checkpoints" / "best.pth"
    kept = json.loads(
        (workspace.report("predict-vid04_0_2000.mp4-and-1-more") / "prediction.json").read_text()
    )
    assert [row["file"] for row in kept["videos"]] == [str(clip_files[5])]


def test_the_command_prints_json_or_a_table_and_ends_with_three_for_a_bad_file(
    workspace, tmp_path, clip_files, dance
):
    alone = shutil.copy(workspace.run("run") / "checkpoints" / "best.pth", tmp_path / "alone.pth")
    done = dance("predict", str(clip_files[3]), "--checkpoint", str(alone), "--json")
    assert done.code == 0
    assert done.json["videos"][0]["top5"][0]["label"] in ("bouncing", "sliding", "turning")
    (tmp_path / "bad.mp4").write_text("text")
    done = dance("predict", str(clip_files[3]), str(tmp_path / "bad.mp4"), "--checkpoint", str(alone))
    assert done.code == 3
    assert "is not a video" in " ".join(done.out.split())


def test_videos_that_the_run_was_trained_on_are_named_with_the_evidence(
    workspace, tmp_path, clip_files, dance
):
    split = tables.read(workspace.split(workspace.splits()[-1]), SplitClip)
    train = [c for c in split if c.subset == Subset.TRAIN]
    one, other = train[0], next(c for c in train if c.group != train[0].group)
    source = {clip.clip_id: clip.video_id for clip in tables.read(workspace.clips, Clip)}[other.clip_id]
    same = shutil.copy(workspace.clip(one.clip_id), tmp_path / "renamed.mp4")
    # Other bytes under the name of a source video, as a download that clips were cut from.
    held_out = next(c for c in split if c.subset == Subset.TEST)
    named = shutil.copy(workspace.clip(held_out.clip_id), tmp_path / f"{source}.mp4")
    new = shutil.copy(workspace.clip(held_out.clip_id), tmp_path / "new.mp4")
    of_source = sorted(c.clip_id for c in train if c.clip_id.startswith(f"{source}_"))

    document = predict(workspace, PredictSettings((same, named, new), run="run")).document
    assert document["checkpoint"]["training_clips"] == len(train)
    by_bytes, by_name, unknown = (video["trained_on"] for video in document["videos"])
    assert by_bytes == {"by": "bytes", "clips": [one.clip_id]}
    assert (by_name["by"], sorted(by_name["clips"])) == ("name", of_source)
    assert unknown is None

    done = dance("predict", str(same), str(new), "--run", "run", "--workspace", str(workspace.root))
    words = " ".join(done.err.split())
    assert "run run was trained on 1 of 2 videos:" in words
    assert "renamed.mp4 (1 training clip, the same file); what it predicts there does not show" in words
    done = dance("predict", str(new), "--run", "run", "--workspace", str(workspace.root))
    assert "was trained on" not in done.err


def test_a_copy_of_a_video_that_clips_were_imported_from_is_known_by_its_bytes(tmp_path, write_film):
    workspace, film = Workspace(tmp_path / "w"), tmp_path / "own" / "turning" / "evening film.mkv"
    film.parent.mkdir(parents=True)
    write_film(film, 1, 5, frames=12)
    import_folder(workspace, ImportSettings(tmp_path / "own"))
    [clip] = tables.read(workspace.clips, Clip)
    row = SplitClip(clip.clip_id, "train", clip.video_id, clip.label, clip.sha256)
    tables.write(workspace.split("s"), SplitClip, [row], {"split.hash": "h"})
    found = read_training_clips(workspace, {"split": {"name": "s", "hash": "h"}})
    copy = shutil.copy(film, tmp_path / "copy.mkv")
    assert found.of_video(copy, "other") == {"by": "bytes", "clips": [clip.clip_id]}
    copy.write_bytes(film.read_bytes() + b"more")
    assert found.of_video(copy, "other") is None


def test_a_video_that_clips_were_imported_from_is_known_by_its_path(tmp_path):
    workspace, film = Workspace(tmp_path / "w"), tmp_path / "evening film.mkv"
    clips = [replace(make_clip(i), original_path=str(film)) for i in range(2)]
    fill(workspace, clips, [clips[0].label])
    rows = [SplitClip(c.clip_id, subset, c.video_id, c.label, c.sha256)
            for c, subset in zip(clips, ("train", "test"), strict=True)]  # fmt: skip
    tables.write(workspace.split("s"), SplitClip, rows, {"split.hash": "h"})
    found = read_training_clips(workspace, {"split": {"name": "s", "hash": "h"}})
    assert found.of_video(film, "other") == {"by": "path", "clips": [clips[0].clip_id]}
    assert found.of_video(tmp_path / "evening.mkv", "other") is None
    # However the way to the file is written, here and in what an import stored.
    assert found.of_video(tmp_path / "w" / ".." / film.name, "other") == found.of_video(film, "other")
    fill(
        workspace, [replace(c, original_path=f"{tmp_path}/w/../{film.name}") for c in clips], [clips[0].label]
    )
    again = read_training_clips(workspace, {"split": {"name": "s", "hash": "h"}})
    assert again.of_video(film, "other") == found.of_video(film, "other")
    changed = read_training_clips(workspace, {"split": {"name": "s", "hash": "another"}})
    assert (changed.count, changed.of_video(film, "other")) == (None, None)
