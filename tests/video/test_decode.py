"""The full decode: what it finds, and that a good clip passes."""

from fractions import Fraction
from pathlib import Path

import pytest
from helpers.numbered_video import X264, make_video

from dancecli.core.errors import MediaError
from dancecli.core.hashing import sha256_file
from dancecli.video.decode import decode, validate
from dancecli.video.source import NoPictureError, probe, true_rate

FASTSTART = (*X264, "-movflags", "+faststart")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_video(tmp_path / "c.mp4", 3, codec=FASTSTART)


def test_good_clip(clip: Path) -> None:
    facts = validate(clip, 3000)
    assert (facts.num_frames, facts.fps, facts.width, facts.height, facts.has_audio) == (
        75,
        Fraction(25),
        160,
        120,
        True,
    )


@pytest.mark.parametrize("kept", [0.5, 0.9, 0.99])
def test_cut_file(clip: Path, kept: float) -> None:
    whole = clip.read_bytes()
    clip.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(MediaError):
        validate(clip, 3000)


def test_zeroed_tail(clip: Path) -> None:
    whole = clip.read_bytes()
    keep = len(whole) * 3 // 4
    clip.write_bytes(whole[:keep] + bytes(len(whole) - keep))
    with pytest.raises(MediaError):
        validate(clip, 3000)


def test_audio_only(tmp_path: Path) -> None:
    sound = make_video(tmp_path / "c.mp4", 2, filters=("-map", "1:a"), codec=("-c:a", "aac"))
    for look in (decode, probe):
        with pytest.raises(NoPictureError, match="has no picture"):
            look(sound)


def test_not_what_was_asked(clip: Path) -> None:
    with pytest.raises(MediaError, match="holds 75 frames, not 100"):
        validate(clip, 4000)


def test_one_frame_more_or_less_is_rounding_and_two_are_not(clip: Path) -> None:
    for duration_ms in (2960, 3000, 3040):
        assert validate(clip, duration_ms).num_frames == 75
    for duration_ms in (2920, 3080):
        with pytest.raises(MediaError, match="holds 75 frames"):
            validate(clip, duration_ms)


def test_one_frame_is_a_clip(tmp_path: Path) -> None:
    assert validate(make_video(tmp_path / "c.mp4", Fraction(1, 25), audio=False), 40).num_frames == 1


@pytest.mark.parametrize("content", [b"", b"<html></html>", bytes(5000)])
def test_no_video_at_all(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.mp4"
    path.write_bytes(content)
    for look, said in (decode, "does not decode"), (probe, "cannot be read as video"):
        with pytest.raises(MediaError, match=rf"c\.mp4 {said}: .*Invalid data found"):
            look(path)


def test_an_error_without_words_is_told_by_its_kind(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ValueError

    monkeypatch.setattr("av.open", refuse)
    with pytest.raises(MediaError, match="does not decode: ValueError"):
        decode(clip)


@pytest.mark.parametrize(
    ("average", "guessed", "fps"),
    [
        (25, 60, 60),
        (19, 60, 60),
        (20, 61, 20),
        (21, 61, 61),
        (80, 240, 240),
        (81, 241, 81),
        (1000, 90000, 240),
        (Fraction(2_997_003, 100_000), 90000, Fraction(30000, 1001)),
        (30 + Fraction(1, 1002), 90000, 30 + Fraction(1, 1001)),
    ],
)
def test_a_time_base_is_not_taken_for_a_rate(average: Fraction, guessed: Fraction, fps: Fraction) -> None:
    assert true_rate(Fraction(average), Fraction(guessed)) == fps


def test_probe_tells_a_variable_rate(tmp_path: Path) -> None:
    steady = probe(make_video(tmp_path / "a.mp4", 3))
    assert (steady.fps, steady.duration_ms, steady.longest_frame_s) == (25, 3000, Fraction(2, 25))
    thinned = ("-vf", "select='lt(mod(n,20),5)'", "-fps_mode", "passthrough")
    variable = probe(make_video(tmp_path / "b.mp4", 6, filters=thinned, audio=False))
    assert variable.longest_frame_s == 2


def test_a_container_that_times_no_stream_says_its_own_length(tmp_path: Path) -> None:
    assert probe(make_video(tmp_path / "c.mkv", 3, audio=False)).duration_ms == 3000


def test_checksum(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256_file(tmp_path / "x").startswith("ba7816bf8f01cfea")
