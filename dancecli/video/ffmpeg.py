"""ffmpeg: argument lists from pure functions, and the runners.

Every path is made absolute, so that no name is read as an option.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import MediaError, MissingDependencyError, UsageError
from dancecli.video.source import Deinterlace, Gamut, SourceFacts

if TYPE_CHECKING:
    from ffmpeg.nodes import FilterableStream

_NUMBERED = "%06d"

SHORT_SIDE = 256
# Twice as fast to read in training than the encoder's defaults, at 1.35 times the size: short
# groups of pictures make seeking cheap, no B-frames and no deblocking make decoding cheap.
H264 = {
    "vcodec": "libx264",
    "preset": "veryfast",
    "tune": "fastdecode",
    "bf": 0,
    "g": 32,
    "pix_fmt": "yuv420p",
    "threads": 1,
}
# By the names of --codec. One thread each: the parallelism is in the number of workers.
CODECS: dict[str, dict[str, Any]] = {
    "h264": H264,
    "hevc": {
        "vcodec": "libx265",
        "preset": "veryfast",
        "tag:v": "hvc1",
        "g": 32,
        "pix_fmt": "yuv420p",
        "x265-params": "log-level=error:pools=none:frame-threads=1:bframes=0",
    },
    "av1": {
        "vcodec": "libsvtav1",
        "preset": 8,
        "crf": 35,
        "g": 32,
        "pix_fmt": "yuv420p",
        "svtav1-params": "lp=1",
    },
}
_KEPT_OF_STDERR = 2000
# What it writes in place of an unknown time is far below this.
_NO_TIME_S = -1e6
# More than the buffers of ffmpeg, which fail to be written.
_ROOM_BYTES = 4_000_000
# Measured: 7.0.2 doubles the first frame where the picture begins late, and misses frames after a seek
# in MPEG-TS; 9.0 does neither. What lies between was not measured.
_OLDEST_FFMPEG = 9


@dataclass(frozen=True, slots=True)
class ClipFormat:
    """How clips are stored.

    Attributes:
        short_side: of the picture, in pixels, even.
        codec: one of `CODECS`.
    """

    short_side: int = SHORT_SIDE
    codec: str = "h264"

    def check(self) -> None:
        """Refuse what cannot be encoded.

        Raises:
            UsageError: the codec is unknown, or the side is odd or too small.
        """
        if self.codec not in CODECS:
            raise UsageError(f"--codec {self.codec!r} is none of {', '.join(CODECS)}")
        if self.short_side < 16 or self.short_side % 2:
            raise UsageError(f"--short-side {self.short_side} is not an even number of at least 16")


STANDARD_FORMAT = ClipFormat()


@dataclass(frozen=True, slots=True)
class FfmpegRun:
    """What a run came to: its exit status, and the beginning of what it printed."""

    status: int
    text: str


@cache
def find_ffmpeg() -> Path:
    """Give the ffmpeg on PATH if it is of version 9 or later, else the one that imageio-ffmpeg carries.

    Raises:
        MissingDependencyError: there is neither.
    """
    found = shutil.which("ffmpeg")
    if found and _is_recent(found):
        return Path(found).absolute()
    try:
        import imageio_ffmpeg

        return Path(imageio_ffmpeg.get_ffmpeg_exe()).absolute()
    except (ImportError, RuntimeError):
        raise MissingDependencyError(
            "there is no ffmpeg of version 9 or later", "pip install imageio-ffmpeg, or put ffmpeg on PATH"
        ) from None


def _is_recent(ffmpeg: str) -> bool:
    """Tell whether it is of version 9 or later; builds that are named by a date are."""
    try:
        shown = subprocess.run([ffmpeg, "-version"], capture_output=True, timeout=30, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return False
    number = re.match(rb"ffmpeg version n?(\d{1,2})\.", shown)
    return bool(shown) and (number is None or int(number[1]) >= _OLDEST_FFMPEG)


def run_ffmpeg(args: list[str], timeout_s: float | None = None, folder: Path | None = None) -> None:
    """Run ffmpeg on files of our own: whatever it prints at error level is a failure.

    Args:
        args: what follows the program's name, as one of the builders gives it.
        timeout_s: it is killed after that.
        folder: where it writes; None: the working folder.

    Raises:
        MediaError: it failed; the message holds the beginning of what it printed.
        OSError: the disk is full.
    """
    run = run_foreign(args, timeout_s=timeout_s, folder=folder)
    if run.status or run.text:
        raise MediaError(f"ffmpeg failed with status {run.status}: {run.text}")


def run_foreign(
    args: list[str], *, strict: bool = True, timeout_s: float | None = None, folder: Path | None = None
) -> FfmpegRun:
    """Run ffmpeg on a file of any origin; the caller evaluates what was made.

    Args:
        args: what follows the program's name, as one of the builders gives it.
        strict: end with an error at the first frame that the decoder refuses or flags; otherwise go
            on, whatever comes.
        timeout_s: it is killed after that.
        folder: where it writes; None: the working folder.

    Raises:
        MediaError: it did not end in time.
        OSError: the disk is full.
    """
    lenience = ["-xerror"] if strict else ["-max_error_rate", "1"]
    command = [str(find_ffmpeg()), "-nostdin", "-hide_banner", "-v", "error", *lenience, *args]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise MediaError(f"ffmpeg did not end within {timeout_s:.0f} s") from None
    text = done.stderr.decode(errors="replace").strip()
    if "No space left on device" in text:
        # Decoders of damaged files use the same words.
        _check_space(folder or Path.cwd())
    # The first lines: what follows from them comes last.
    return FfmpegRun(done.returncode, text[:_KEPT_OF_STDERR])


def _check_space(folder: Path) -> None:
    """Write a little into a folder, and remove it.

    Raises:
        OSError: the disk is full, or a quota is used up.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(_ROOM_BYTES))
        file.flush()
        os.fsync(file.fileno())


def frames_in(duration_ms: int, fps: Fraction) -> int:
    """Number of frames of a stretch at a constant frame rate, at least one."""
    return max(1, round(Fraction(duration_ms, 1000) * fps))


def trim_args(
    source: Path,
    facts: SourceFacts,
    start_ms: int,
    end_ms: int,
    target: Path,
    *,
    keep_audio: bool = True,
    from_the_start: bool = False,
    strict: bool = True,
    form: ClipFormat = STANDARD_FORMAT,
    frame_log: Path | None = None,
    color_table: Path | None = None,
) -> list[str]:
    """Build the arguments that cut one clip: constant frame rate, square pixels, BT.709.

    It seeks before the input, to a little ahead of the start, so that the first frame is the
    one on the screen at that time even where the source shows a frame for long.

    Args:
        source: the source video.
        facts: of the source, as `probe` gives them.
        start_ms: where the stretch to cut begins, on the container's timeline.
        end_ms: where it ends.
        target: the file to write, `.mp4`.
        keep_audio: encode the sound, if there is one; silence where it is short or starts late.
        from_the_start: decode all that comes before instead of seeking; slow, and needed where
            decoding cannot begin cleanly at a key frame (open groups of pictures).
        strict: stop at what the decoder would conceal.
        form: how the clip is stored.
        frame_log: a file that gets a line for each frame of the clip, see `read_frame_log`.
        color_table: what maps the colors of `facts.gamut` to BT.709.
    """
    import ffmpeg

    lead_s = Fraction(0) if from_the_start else min(facts.longest_frame_s, Fraction(start_ms, 1000))
    seek_s = Fraction(start_ms, 1000) - lead_s
    length_s = Fraction(end_ms - start_ms, 1000)
    skip_s = Fraction(start_ms, 1000) if from_the_start else lead_s
    # A second more, so that the frame rate filter sees what follows the last frame. Where the size of
    # the picture changes, the filters go on: new ones would repeat a frame and shift all that follow.
    reading = {"t": _seconds(skip_s + length_s + 1), "threads": 1, "reinit_filter": 0}
    if strict:
        reading["err_detect:v"] = "explode"
    if not from_the_start:
        reading["ss"] = _seconds(seek_s)
    read = ffmpeg.input(str(source.absolute()), **reading)
    streams = [_picture(read[f"v:{facts.picture}"], facts, skip_s, form, color_table)]
    if keep_audio and facts.has_audio:
        streams.append(_sound(read[f"a:{facts.sound}"], skip_s, length_s))
    writing = {
        **CODECS[form.codec],
        "frames:v": frames_in(end_ms - start_ms, facts.fps),
        "t": _seconds(length_s),
        "map_metadata": -1,
        # No version strings: the same source gives the same bytes.
        "fflags": "+bitexact",
        "flags:v": "+bitexact",
        "filter_complex_threads": 1,
    }
    if frame_log is not None:
        writing |= {"stats_enc_pre:v": str(frame_log.absolute()), "stats_enc_pre_fmt:v": "{ni} {ti}"}
    if len(streams) > 1:
        # ffmpeg's default coder takes three times as long, a fifth of the whole clip's time, and comes no
        # closer to the sound: 26 dB over its error on a film's score, this one 29.
        writing |= {"acodec": "aac", "ac": 2, "b:a": "96k", "aac_coder": "fast", "flags:a": "+bitexact"}
    arguments: list[str] = (
        ffmpeg.output(*streams, str(target.absolute()), **writing).overwrite_output().get_args()
    )
    return arguments


def _picture(
    stream: FilterableStream, facts: SourceFacts, skip_s: Fraction, form: ClipFormat, color_table: Path | None
) -> FilterableStream:
    if facts.deinterlace is not Deinterlace.NONE:
        stream = stream.filter("bwdif", mode="send_frame", parity="auto", deint=facts.deinterlace.value)
    stream = stream.filter(
        "fps", fps=f"{facts.fps.numerator}/{facts.fps.denominator}", start_time=_seconds(skip_s)
    ).filter("setpts", "PTS-STARTPTS")
    # Nonsense in place of an aspect ratio is not believed.
    shown = "iw*if(between(sar,0.25,4),sar,1)"
    width, height = (
        f"if(lt({shown},ih),{form.short_side},2*round({form.short_side}*{shown}/ih/2))",
        f"if(lt({shown},ih),2*round({form.short_side}*ih/({shown})/2),{form.short_side})",
    )
    range_ = {"out_range": "tv"} if facts.full_range else {}
    if facts.gamut is Gamut.BT709:
        return stream.filter("scale", width, height, **range_).filter("setsar", 1)
    return (
        stream.filter("scale", width, height, in_color_matrix="bt2020")
        .filter("format", "gbrp12le")
        .filter("lut3d", str(color_table), interp="tetrahedral")
        .filter("scale", out_color_matrix="bt709", out_range="tv")
        .filter("format", "yuv420p")
        .filter("setsar", 1)
        .filter("setparams", color_primaries="bt709", color_trc="bt709", colorspace="bt709", range="tv")
    )


def _sound(stream: FilterableStream, skip_s: Fraction, length_s: Fraction) -> FilterableStream:
    """Keep the sound at its place: silence before it, after it, and where a part of it is missing."""
    return (
        stream.filter("atrim", start=_seconds(skip_s))
        .filter("asetpts", f"PTS-{_seconds(skip_s)}/TB")
        .filter("aresample", **{"async": 1, "first_pts": 0})
        .filter("apad", whole_dur=_seconds(length_s))
    )


@dataclass(frozen=True, slots=True)
class LoggedFrame:
    """A frame of a clip: the number and the time of the source's frame that it shows.

    The time is not a number where the source gives that frame none.
    """

    number: int
    time_s: float


def read_frame_log(path: Path) -> list[LoggedFrame]:
    """Read what ffmpeg recorded of every frame that it encoded, see `trim_args`."""
    frames = []
    for line in path.read_text(encoding="ascii", errors="replace").splitlines() if path.exists() else ():
        number, _, time = line.partition(" ")
        try:
            time_s = float(time)
            frames.append(LoggedFrame(int(number), time_s if time_s > _NO_TIME_S else math.nan))
        except ValueError:
            frames.append(LoggedFrame(-1, math.nan))
    return frames


def _seconds(value: Fraction) -> str:
    return f"{float(value):.6f}"


def link_pictures(pictures: Iterable[Path], folder: Path) -> str:
    """Link pictures into a folder, numbered without a gap from 0, as ffmpeg reads them.

    Args:
        pictures: in their order; one may come several times.
        folder: exists, and is for this clip alone.

    Returns:
        The pattern to read them by.
    """
    suffix = ""
    for number, picture in enumerate(pictures):
        suffix = picture.suffix
        (folder / f"{number:06d}{suffix}").symlink_to(picture.absolute())
    return str(folder.absolute()).replace("%", "%%") + f"/{_NUMBERED}{suffix}"


def encode_args(
    pattern: str, fps: Fraction, duration_ms: int, target: Path, form: ClipFormat = STANDARD_FORMAT
) -> list[str]:
    """Build the arguments that make a clip of pictures, without sound.

    Args:
        pattern: of their names, as `link_pictures` gives it.
        fps: their rate.
        duration_ms: what to take of them, from the first on.
        target: the file to write, `.mp4`.
        form: how the clip is stored.
    """
    import ffmpeg

    side = form.short_side
    read = ffmpeg.input(pattern, f="image2", framerate=f"{fps.numerator}/{fps.denominator}", start_number=0)
    video = (
        read["v:0"]
        .filter("scale", f"if(lt(iw,ih),{side},-2)", f"if(lt(iw,ih),-2,{side})")
        .filter("setsar", 1)
    )
    writing = {
        **CODECS[form.codec],
        "frames:v": frames_in(duration_ms, fps),
        "map_metadata": -1,
        "fflags": "+bitexact",
        "flags:v": "+bitexact",
        "filter_complex_threads": 1,
    }
    arguments: list[str] = (
        ffmpeg.output(video, str(target.absolute()), **writing).overwrite_output().get_args()
    )
    return arguments
