from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import pytest

from dancecli.core.errors import DanceError, InputError, MediaError
from dancecli.core.progress import Progress, Reporter
from dancecli.core.records import Subset
from dancecli.demo import corpus as corpus_module
from dancecli.demo import encoder
from dancecli.demo.choreography import SEPARABLE, STYLES
from dancecli.demo.corpus import CLIP_S, CUT_SHORT, DEAD, CorpusSettings, make_corpus, plan
from dancecli.demo.encoder import write_video
from dancecli.demo.renderer import VideoSpec, render

TINY = CorpusSettings(videos_per_style=1, width=64, height=64, fps=5)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_plan_is_the_same_every_time_and_another_for_another_seed() -> None:
    settings = CorpusSettings()
    assert plan(settings) == plan(settings)
    easy = CorpusSettings(videos_per_style=1, faulty=False, styles=tuple(SEPARABLE))
    assert [v.video_id for v in plan(easy)] == PINNED
    ids = {video.video_id for video in plan(settings)}
    assert not ids & {video.video_id for video in plan(replace(settings, seed=1))}
    assert not ids & {video.video_id for video in plan(replace(settings, width=256))}


def test_the_full_corpus_has_what_the_demo_needs() -> None:
    videos = plan(CorpusSettings())
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{11}", video.video_id) for video in videos)
    assert len({video.video_id for video in videos}) == len(videos)
    assert sum(video.video_id.startswith("-") for video in videos) >= len(STYLES)
    assert sum(len(video.starts_s) for video in videos) >= 290
    for video in videos:
        assert video.spec.seconds > CLIP_S
        assert all(b - a >= CLIP_S for a, b in zip(video.starts_s, video.starts_s[1:], strict=False))
    ends = [video.starts_s[-1] + CLIP_S - video.spec.seconds for video in videos]
    assert sum(end > 0 for end in ends) == 1
    assert [video.fault for video in videos if video.fault == DEAD] == [DEAD]
    assert [video.fault for video in videos if video.fault == CUT_SHORT] == [CUT_SHORT]


def test_make_corpus_writes_videos_and_list_once(tmp_path: Path) -> None:
    seen: list[Progress] = []
    corpus = make_corpus(tmp_path, TINY, Reporter(seen.append))
    rows = rows_of(corpus.annotations)
    planned = {video.video_id: video for video in plan(TINY)}
    assert list(rows[0]) == ["label", "youtube_id", "time_start", "time_end", "split"]
    assert len(rows) == corpus.rows == sum(len(video.starts_s) for video in planned.values())
    assert {row["label"] for row in rows} == set(STYLES)
    there = {path.stem for path in corpus.videos.iterdir()}
    assert there == {video_id for video_id, video in planned.items() if video.fault != DEAD}
    assert seen[-1] == Progress(len(there), len(there), "videos")
    assert corpus.rendered == len(there)
    assert set(corpus.faults) == {video_id for video_id, video in planned.items() if video.fault}
    assert corpus.missing == 1 + sum(len(planned[video_id].starts_s) for video_id in corpus.faults)

    name = next(iter(there))
    with av.open(str(corpus.videos / f"{name}.mp4")) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (64, 64)
        assert len(container.streams.audio) == 1
        decoded = sum(1 for _ in container.decode(video=0))
    assert decoded == planned[name].spec.num_frames

    before = {path: path.stat().st_mtime_ns for path in corpus.videos.iterdir()}
    lost = corpus.videos / f"{name}.mp4"
    lost.unlink()
    (corpus.videos / f"{name}.abc{encoder.SUFFIX}").write_bytes(b"half")
    again = make_corpus(tmp_path, TINY)
    assert again.rendered == 1
    after = {path: path.stat().st_mtime_ns for path in corpus.videos.iterdir()}
    assert after.keys() == before.keys()
    assert {path for path in after if after[path] != before[path]} == {lost}


def test_an_ffmpeg_error_is_one_sentence_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = VideoSpec("a", "moon walking", 1, fps=5, width=64, height=64)
    real = encoder.arguments
    monkeypatch.setattr(encoder, "arguments", lambda f, p: [*real(f, p)[:-1], "-c:v", "none-such", str(p)])
    with pytest.raises(MediaError, match=r"x\.mp4: ffmpeg ended with status .*none-such"):
        write_video(video, tmp_path / "x.mp4")
    assert list(tmp_path.iterdir()) == []


DRAW = """
import sys
from pathlib import Path
from dancecli.demo.encoder import write_video
from dancecli.demo.renderer import VideoSpec
write_video(VideoSpec("moon walking 1", "moon walking", 1, width=160, height=120), Path(sys.argv[1]))
"""


def test_the_bytes_are_the_same_on_a_processor_with_fewer_instructions(tmp_path: Path) -> None:
    for name, lacking in (("new.mp4", ""), ("old.mp4", "AVX,AVX2,FMA3,FP16,AVX512_SKX")):
        environment = {**os.environ, "OPENCV_CPU_DISABLE": lacking}
        subprocess.run([sys.executable, "-c", DRAW, str(tmp_path / name)], check=True, env=environment)
    new, old = (tmp_path / name for name in ("new.mp4", "old.mp4"))
    assert new.read_bytes() == old.read_bytes()
    command = encoder.arguments(VideoSpec("a", "moon walking", 1), new)
    assert command[command.index("-cpuflags") + 1] == "0"


def test_the_encoder_chooses_as_without_assembler(tmp_path: Path) -> None:
    spec = VideoSpec("swing dancing 0", "swing dancing", 1)
    frames = b"".join(frame.tobytes() for frame in render(spec))
    command = encoder.arguments(spec, tmp_path / "fast.mp4")
    (place,) = (i for i, word in enumerate(command) if word.startswith("asm="))
    plain = [*command[:place], "asm=0", *command[place + 1 : -1], str(tmp_path / "plain.mp4")]
    for words in (command, plain):
        subprocess.run(words, input=frames, check=True)
    assert (tmp_path / "fast.mp4").read_bytes() == (tmp_path / "plain.mp4").read_bytes()


def test_the_drawing_leaves_opencv_as_it_was(tmp_path: Path) -> None:
    was = cv2.useOptimized()
    write_video(VideoSpec("a", "moon walking", 1, fps=5, width=64, height=64), tmp_path / "x.mp4")
    assert cv2.useOptimized() == was


def test_an_error_in_a_worker_is_one_sentence_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ffmpeg = tmp_path / "bin" / "ffmpeg"
    ffmpeg.parent.mkdir()
    version = "[ \"$1\" = -version ] && { echo 'ffmpeg version 9.0'; exit; }"
    ffmpeg.write_text(f"#!/bin/sh\n{version}\necho out of ink >&2\nexit 3\n")
    ffmpeg.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ffmpeg.parent}:/usr/bin:/bin")
    with pytest.raises(MediaError, match=r"\.mp4: ffmpeg ended with status 3: out of ink") as caught:
        make_corpus(tmp_path / "site", TINY)
    assert caught.value.hint == "see `dance doctor`"
    assert all(path.name.endswith(encoder.SUFFIX) for path in (tmp_path / "site" / "videos").iterdir())


def test_misleading_places_are_a_styles_own_in_train_and_never_in_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = CorpusSettings(videos_per_style=10, faulty=False, backgrounds="misleading")
    videos = plan(settings)
    subsets = Counter(video.subset for video in videos)
    assert subsets == {Subset.TRAIN: 63, Subset.VAL: 9, Subset.TEST: 18}
    own = {video.spec.style: video.spec.place for video in videos if video.subset == Subset.TRAIN}
    assert len(set(own.values())) == len(STYLES)
    for video in videos:
        assert (video.spec.place == own[video.spec.style]) == (video.subset != Subset.TEST)
        assert video.spec.place in own.values()
    planted = plan(replace(settings, backgrounds="planted"))
    assert {(video.spec.style, video.spec.place) for video in planted} == set(own.items())
    assert {video.subset for video in planted} == {Subset.TRAIN}
    ids = [{v.video_id for v in plan(replace(settings, backgrounds=b))} for b in ("misleading", "planted")]
    assert not set.intersection(*ids)
    monkeypatch.setattr(corpus_module, "_render", lambda *_: None)
    listed = rows_of(make_corpus(tmp_path, settings).annotations)
    assert {row["youtube_id"]: row["split"] for row in listed} == {v.video_id: v.subset for v in videos}


def test_a_share_of_the_videos_has_a_wrong_label_and_the_list_says_so_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = CorpusSettings(videos_per_style=18, wrong_labels=0.05)
    videos = plan(settings)
    wrong = [video for video in videos if video.is_mislabeled]
    assert len(wrong) == round(0.05 * 18 * len(STYLES)) == 8
    assert all(video.label in STYLES and video.fault is None for video in wrong)
    assert len({video.spec.style for video in wrong}) > 2
    assert videos == plan(settings)
    assert not any(video.is_mislabeled for video in plan(CorpusSettings()))
    assert not {v.video_id for v in videos} & {v.video_id for v in plan(replace(settings, wrong_labels=0))}
    monkeypatch.setattr(corpus_module, "_render", lambda *_: None)
    corpus = make_corpus(tmp_path, settings)
    assert corpus.mislabeled == 8
    listed = {row["youtube_id"]: row["label"] for row in rows_of(corpus.annotations)}
    assert listed == {video.video_id: video.label for video in videos}


def test_a_corpus_can_be_of_some_styles_alone() -> None:
    easy = plan(CorpusSettings(styles=tuple(SEPARABLE)))
    assert {video.spec.style for video in easy} == set(SEPARABLE)
    assert {video.video_id for video in easy} < {video.video_id for video in plan(CorpusSettings())}


def test_boards_stand_before_the_dancers_of_another_corpus() -> None:
    plain, hidden = plan(TINY), plan(replace(TINY, boards=True))
    assert not any(video.spec.boards for video in plain)
    assert all(video.spec.boards for video in hidden)
    assert not {video.video_id for video in plain} & {video.video_id for video in hidden}


@pytest.mark.parametrize(
    "bad",
    [{"videos_per_style": 0}, {"width": 63}, {"height": 0}, {"backgrounds": "none"}, {"wrong_labels": 1.0}],
)
def test_invalid_settings_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        CorpusSettings(**bad)
    assert isinstance(caught.value, DanceError)


PINNED = ["6-nwVVwfLuT", "Bneqw8kmp-g", "GwTxM1FQY8Q", "ZWBjcf6iGT1", "a3fICdVwrne", "jD562bDes5z"]
