from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from helpers.odd_media import set_default_duration

from dancecli.core.errors import MediaError
from dancecli.model.inference.windows import Clock, FrameStream, cut_windows, read_windows


def whole(picture):
    return picture


def ffmpeg(*args: object) -> None:
    import imageio_ffmpeg

    program = imageio_ffmpeg.get_ffmpeg_exe()
    subprocess.run([program, "-v", "error", "-y", *map(str, args)], check=True)


def pattern(path: Path, *args: object, seconds: float = 2, size: str = "96x64", rate: int = 10) -> Path:
    source = f"testsrc=size={size}:rate={rate}:duration={seconds}"
    ffmpeg("-f", "lavfi", "-i", source, *args, path)
    return path


def ticks(seconds: float, rate: int = 10):
    """Frames whose one pixel is their number."""
    for i in range(round(seconds * rate)):
        yield i / rate, (i + 1) / rate, np.array([[[i] * 3]])


def spans(seconds: float, window: float = 10.0):
    found = list(cut_windows(ticks(seconds), window))
    for window_ in found:
        numbers = [int(picture[0, 0, 0]) for picture in window_.frames]
        assert numbers == list(range(round(window_.start_s * 10), round(window_.end_s * 10)))
    return [(w.start_s, round(w.end_s, 3)) for w in found]


def test_a_short_video_is_one_window_and_a_long_one_is_covered_by_halves():
    assert spans(3) == [(0, 3)]
    assert spans(14.9) == [(0, 14.9)]
    assert spans(15) == [(0, 10), (5, 15)]
    assert spans(30) == [(0, 10), (5, 15), (10, 20), (15, 25), (20, 30)]
    assert spans(32) == [(0, 10), (5, 15), (10, 20), (15, 25), (20, 30), (25, 32)]
    # Half a second is not worth another look, but is not left out.
    assert spans(30.5) == [(0, 10), (5, 15), (10, 20), (15, 25), (20, 30.5)]
    assert spans(15.1) == [(0, 10), (5, 15.1)]
    assert spans(0) == []


def test_no_more_frames_are_held_than_two_windows():
    alive, most = 0, 0

    class Frame:
        def __init__(self):
            nonlocal alive, most
            alive += 1
            most = max(most, alive)

        def __del__(self):
            nonlocal alive
            alive -= 1

    for _ in cut_windows(((i / 10, (i + 1) / 10, Frame()) for i in range(3000)), 10.0):
        pass
    assert most <= 201


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("a.mkv", ("-c:v", "libx264")),
        ("a.webm", ("-c:v", "libvpx", "-b:v", "200k")),
        ("a.avi", ("-c:v", "mpeg4")),
        ("a.gif", ()),
        ("odd.mp4", ("-vf", "scale=97:63", "-c:v", "libx264", "-pix_fmt", "yuv444p")),
        ("vfr.mp4", ("-vf", "select='not(mod(n,3))+lt(n,6)'", "-fps_mode", "vfr", "-pix_fmt", "yuv420p")),
    ],
)
def test_what_ffmpeg_reads_is_read(tmp_path, name, args):
    seen = FrameStream()
    (window,) = read_windows(pattern(tmp_path / name, *args), 10.0, whole, seen)
    odd, uneven = name.startswith("odd"), name.startswith("vfr")
    assert window.frames[0].shape == ((63, 97, 3) if odd else (64, 96, 3))
    assert len(window.frames) == seen.frames == (11 if uneven else 20)
    assert seen.seconds == pytest.approx(2.0, abs=0.25)
    assert not seen.fault


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_phone_s_video_is_seen_as_a_player_shows_it(tmp_path, turn):
    flat = pattern(tmp_path / "flat.mp4", "-pix_fmt", "yuv420p", seconds=0.2)
    held, shown = tmp_path / "held.mp4", tmp_path / "shown.mkv"
    ffmpeg("-display_rotation", turn, "-i", flat, "-c", "copy", held)
    ffmpeg("-i", held, "-c:v", "ffv1", shown)  # ffmpeg turns the pictures themselves
    (ours,), (theirs,) = (read_windows(path, 10.0, whole, FrameStream()) for path in (held, shown))
    assert np.array_equal(ours.frames[0], theirs.frames[0])


def test_what_a_browser_recorded_has_the_rate_of_its_frames(tmp_path):
    # Times in milliseconds, up to half a frame late, and no rate in the header.
    late = ("-vf", "settb=1/1000,setpts='(N+0.5*random(1))/30/TB'", "-fps_mode", "passthrough")
    vp8 = ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8")
    path = pattern(tmp_path / "call.webm", *late, "-enc_time_base", "1/1000", *vp8, seconds=4, rate=30)
    set_default_duration(path, None)
    stream = FrameStream()
    windows = list(read_windows(path, 2.0, whole, stream))
    assert stream.rate == pytest.approx(30, rel=0.01)
    assert stream.frames == 120
    assert len(windows[0].frames) == pytest.approx(60, abs=1)


def test_a_file_that_breaks_off_gives_what_there_is(tmp_path):
    path = pattern(tmp_path / "a.mkv", "-c:v", "mpeg4", "-g", 1, seconds=4)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    seen = FrameStream()
    (window,) = read_windows(path, 10.0, whole, seen)
    assert 10 < len(window.frames) < 35


def test_what_is_no_video_is_said_in_a_sentence(tmp_path):
    def said(path: Path) -> str:
        with pytest.raises(MediaError) as caught:
            list(read_windows(path, 10.0, whole, FrameStream()))
        return caught.value.message

    text, sound, empty = tmp_path / "notes.mp4", tmp_path / "song.m4a", tmp_path / "empty.mp4"
    text.write_text("not a video at all\n" * 20)
    empty.touch()
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", sound)
    assert "notes.mp4: is not a video that can be read" in said(text)
    assert "empty.mp4: is not a video that can be read" in said(empty)
    assert "song.m4a: has no pictures, only sound" in said(sound)
    assert "no such file" in said(tmp_path / "none.mp4")


def test_a_clock_that_jumps_turns_back_or_stops_is_set_right():
    clock = Clock(0.1)
    times = (100.0, 100.1, None, 100.3, 9999.0, 9999.1, 5.0, 5.0, 7.5)
    found = [clock.read(time) for time in times]
    assert found == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 3.2])
