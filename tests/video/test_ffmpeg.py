"""Cutting: what ffmpeg is told, and that the right pictures come out."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from helpers.numbered_video import X264, make_video, numbers

from dancecli.core.errors import MediaError, MissingDependencyError
from dancecli.video import ffmpeg
from dancecli.video.decode import validate
from dancecli.video.ffmpeg import find_ffmpeg, frames_in, run_ffmpeg, run_foreign, trim_args
from dancecli.video.source import SourceFacts, probe

FACTS = SourceFacts(
    fps=Fraction(30000, 1001), duration_ms=60_000, has_audio=True, longest_frame_s=Fraction(1, 15)
)


def value(args: list[str], flag: str, start: int = 0) -> str:
    return args[args.index(flag, start) + 1]


def test_seeks_before_the_input_and_encodes_for_fast_reading() -> None:
    args = trim_args(Path("/v/a.mp4"), FACTS, 20_000, 30_000, Path("/c/a.mp4"))
    source = args.index("-i")
    assert args.index("-ss") < source
    assert value(args, "-ss") == "19.933333"
    # From there to the end, and a second more: the frame rate filter sees what follows the last frame.
    assert value(args, "-t") == "11.066667"
    after = args[source:]
    assert {
        "-vcodec": "libx264",
        "-preset": "veryfast",
        "-tune": "fastdecode",
        "-bf": "0",
        "-g": "32",
        "-threads": "1",
        "-pix_fmt": "yuv420p",
        "-frames:v": "300",
        "-acodec": "aac",
    }.items() <= dict(pairwise(after)).items()
    assert "fps=fps=30000/1001" in value(args, "-filter_complex")


def test_no_sound_when_told_or_when_there_is_none() -> None:
    silent = SourceFacts(Fraction(25), 60_000, has_audio=False, longest_frame_s=Fraction(2, 25))
    for args in (
        trim_args(Path("/v/a.mp4"), FACTS, 0, 1000, Path("/c/a.mp4"), keep_audio=False),
        trim_args(Path("/v/a.mp4"), silent, 0, 1000, Path("/c/a.mp4")),
    ):
        assert "-acodec" not in args
        assert "a:0" not in value(args, "-filter_complex")


def test_no_name_can_be_an_option(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    args = trim_args(Path("-vf.mp4"), FACTS, 0, 1000, Path("--exec.mp4"))
    assert value(args, "-i") == str(tmp_path / "-vf.mp4")
    assert str(tmp_path / "--exec.mp4") in args
    assert "--exec.mp4" not in args


@pytest.mark.parametrize(
    ("duration_ms", "fps", "expected"),
    [(10_000, Fraction(30000, 1001), 300), (10_000, Fraction(25), 250), (10, Fraction(1), 1)],
)
def test_frames_in(duration_ms: int, fps: Fraction, expected: int) -> None:
    assert frames_in(duration_ms, fps) == expected


@pytest.mark.parametrize(("start_ms", "end_ms"), [(0, 1000), (2000, 4000), (2520, 3000), (5000, 6000)])
@pytest.mark.parametrize("fps", [Fraction(25), Fraction(30000, 1001), Fraction(12)])
def test_the_right_frames(tmp_path: Path, fps: Fraction, start_ms: int, end_ms: int) -> None:
    source = make_video(tmp_path / "s.mp4", fps=fps)
    target = tmp_path / "-t.mp4"
    run_ffmpeg(trim_args(source, probe(source), start_ms, end_ms, target))
    facts = validate(target, end_ms - start_ms)
    first = round(Fraction(start_ms, 1000) * fps)
    assert numbers(target) == list(range(first, first + frames_in(end_ms - start_ms, fps)))
    assert (facts.fps, facts.height, facts.width % 2, facts.has_audio) == (fps, 256, 0, True)


@pytest.mark.parametrize(
    ("size", "shape"), [((160, 90), (456, 256)), ((90, 160), (256, 456)), ((101, 75), (344, 256))]
)
def test_short_side_256_and_even(tmp_path: Path, size: tuple[int, int], shape: tuple[int, int]) -> None:
    codec = ("-c:v", "libx264", "-pix_fmt", "yuv444p")
    source = make_video(tmp_path / "s.mp4", 1, size=size, codec=codec, audio=False)
    run_ffmpeg(trim_args(source, probe(source), 0, 1000, tmp_path / "t.mp4"))
    facts = validate(tmp_path / "t.mp4", 1000)
    assert (facts.width, facts.height) == shape


def test_open_groups_of_pictures_need_the_decode_from_the_start(tmp_path: Path) -> None:
    codec = (
        *("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p"),
        *("-x264-params", "open-gop=1:keyint=60:bframes=3:b-adapt=0:ref=4:scenecut=0"),
    )
    source = make_video(tmp_path / "s.mp4", codec=codec)
    with pytest.raises(MediaError):
        run_ffmpeg(trim_args(source, probe(source), 3000, 4000, tmp_path / "t.mp4"))
    run_ffmpeg(trim_args(source, probe(source), 3000, 4000, tmp_path / "t.mp4", from_the_start=True))
    assert numbers(tmp_path / "t.mp4") == list(range(75, 100))


def test_same_source_same_bytes(tmp_path: Path) -> None:
    source = make_video(tmp_path / "s.mp4")
    for name in ("a.mp4", "b.mp4"):
        run_ffmpeg(trim_args(source, probe(source), 1000, 3000, tmp_path / name))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_broken_source_is_an_error_that_says_why(tmp_path: Path) -> None:
    source = make_video(tmp_path / "s.mp4", codec=(*X264, "-movflags", "+faststart"))
    facts = probe(source)
    whole = source.read_bytes()
    source.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(MediaError, match=r"corrupt input packet|partial file"):
        run_ffmpeg(trim_args(source, facts, 4000, 6000, tmp_path / "t.mp4"))


def test_without_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    import imageio_ffmpeg

    def gone() -> str:
        raise RuntimeError("no ffmpeg exe could be found")

    find_ffmpeg.cache_clear()
    monkeypatch.setattr(ffmpeg.shutil, "which", lambda _: None)
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", gone)
    with pytest.raises(MissingDependencyError, match="there is no ffmpeg") as caught:
        find_ffmpeg()
    assert "pip install imageio-ffmpeg" in caught.value.hint


@pytest.mark.parametrize(
    ("version", "chosen"),
    [("9.1.1-3", True), ("n9.0.2-17-g2a571b", True), ("N-112233-gabc", True), ("7.0.2-static", False)],
)
def test_ffmpeg_on_path_goes_first_if_it_is_recent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, chosen: bool
) -> None:
    find_ffmpeg.cache_clear()
    monkeypatch.setattr(ffmpeg.shutil, "which", lambda _: str(tmp_path / "ffmpeg"))
    (tmp_path / "ffmpeg").write_text(f"#!/bin/sh\necho 'ffmpeg version {version} Copyright'\n")
    (tmp_path / "ffmpeg").chmod(0o755)
    assert (find_ffmpeg() == tmp_path / "ffmpeg") == chosen
    find_ffmpeg.cache_clear()


def test_words_about_the_disk_are_checked_at_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decoder of a damaged file prints them, too."""
    fake = tmp_path / "ffmpeg"
    fake.write_text("#!/bin/sh\necho '[dec] No space left on device' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr(ffmpeg, "find_ffmpeg", lambda: fake)
    assert run_foreign([], folder=tmp_path).status == 1

    def full(_: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ffmpeg, "_check_space", full)
    with pytest.raises(OSError, match="No space left"):
        run_foreign([], folder=tmp_path)
