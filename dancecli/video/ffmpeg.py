"""ffmpeg: argument lists from pure functions, and one runner that keeps what it said.

Every path is made absolute, so that no name can be taken for an option.
"""

from __future__ import annotations

import errno
import shutil
import subprocess
from collections.abc import Iterable
from fractions import Fraction
from functools import cache
from pathlib import Path

from dancecli.core.errors import MediaError, MissingDependencyError
from dancecli.video.decode import SourceFacts, frames_in

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
_KEPT_OF_STDERR = 2000


@cache
def find_ffmpeg() -> Path:
    """Give the ffmpeg on PATH, else the one that imageio-ffmpeg carries.

    Raises:
        MissingDependencyError: there is neither.
    """
    found = shutil.which("ffmpeg")
    if found:
        return Path(found).absolute()
    try:
        import imageio_ffmpeg

        return Path(imageio_ffmpeg.get_ffmpeg_exe()).absolute()
    except (ImportError, RuntimeError):
        raise MissingDependencyError(
            "there is no ffmpeg", "pip install imageio-ffmpeg, or put ffmpeg on PATH"
        ) from None


def run_ffmpeg(args: list[str], timeout_s: float | None = None) -> None:
    """Run ffmpeg; whatever it says at error level is a failure, whatever its exit status.

    Its status alone misses input that is cut short or has holes, which it fills with repeated
    frames.

    Args:
        args: what follows the program's name, as one of the builders gives it.
        timeout_s: it is killed after that.

    Raises:
        MediaError: it failed; the message holds the end of what it said.
        OSError: the disk is full.
    """
    command = [str(find_ffmpeg()), "-nostdin", "-hide_banner", "-v", "error", "-xerror", *args]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise MediaError(f"ffmpeg did not end within {timeout_s:.0f} s") from None
    said = done.stderr.decode(errors="replace")[-_KEPT_OF_STDERR:].strip()
    if done.returncode == 0 and not said:
        return
    if "No space left on device" in said:
        raise OSError(errno.ENOSPC, "No space left on device")
    raise MediaError(f"ffmpeg failed with status {done.returncode}: {said}")


def trim_args(
    source: Path,
    facts: SourceFacts,
    start_ms: int,
    end_ms: int,
    target: Path,
    *,
    keep_audio: bool = True,
    from_the_start: bool = False,
) -> list[str]:
    """Build the arguments that cut one clip: constant frame rate, short side 256, H.264.

    It seeks before the input, to a little ahead of the start, so that the first frame is the
    one on the screen at that time even where the source shows a frame for long.

    Args:
        source: the source video.
        facts: of the source, as `probe` gives them.
        start_ms: where the stretch to cut begins.
        end_ms: where it ends.
        target: the file to write, `.mp4`.
        keep_audio: encode the first audio stream, if there is one.
        from_the_start: decode all that comes before instead of seeking; slow, and needed where
            decoding cannot begin cleanly at a key frame (open groups of pictures).
    """
    import ffmpeg

    lead_s = Fraction(0) if from_the_start else min(facts.longest_frame_s, Fraction(start_ms, 1000))
    seek_s = Fraction(start_ms, 1000) - lead_s
    length_s = Fraction(end_ms - start_ms, 1000)
    skip_s = Fraction(start_ms, 1000) if from_the_start else lead_s
    # A second more, so that the frame rate filter sees what follows the last frame.
    reading = {"t": _seconds(skip_s + length_s + 1), "threads": 1, "err_detect:v": "explode"}
    if not from_the_start:
        reading["ss"] = _seconds(seek_s)
    read = ffmpeg.input(str(source.absolute()), **reading)
    video = (
        read["v:0"]
        .filter("fps", fps=f"{facts.fps.numerator}/{facts.fps.denominator}", start_time=_seconds(skip_s))
        .filter("setpts", "PTS-STARTPTS")
        .filter("scale", f"if(lt(iw,ih),{SHORT_SIDE},-2)", f"if(lt(iw,ih),-2,{SHORT_SIDE})")
        .filter("setsar", 1)
    )
    streams = [video]
    if keep_audio and facts.has_audio:
        streams.append(read["a:0"].filter("atrim", start=_seconds(skip_s)).filter("asetpts", "PTS-STARTPTS"))
    writing = {
        **H264,
        "frames:v": frames_in(end_ms - start_ms, facts.fps),
        "t": _seconds(length_s),
        "map_metadata": -1,
        # No version strings: the same source gives the same bytes.
        "fflags": "+bitexact",
        "flags:v": "+bitexact",
        "filter_complex_threads": 1,
    }
    if len(streams) > 1:
        # ffmpeg's default coder takes three times as long, a fifth of the whole clip's time, and comes no
        # closer to the sound: 26 dB over its error on a film's score, this one 29.
        writing |= {"acodec": "aac", "ac": 2, "b:a": "96k", "aac_coder": "fast", "flags:a": "+bitexact"}
    arguments: list[str] = (
        ffmpeg.output(*streams, str(target.absolute()), **writing).overwrite_output().get_args()
    )
    return arguments


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


def encode_args(pattern: str, fps: Fraction, duration_ms: int, target: Path) -> list[str]:
    """Build the arguments that make a clip of pictures: short side 256, H.264, no sound.

    Args:
        pattern: of their names, as `link_pictures` gives it.
        fps: their rate.
        duration_ms: what to take of them, from the first on.
        target: the file to write, `.mp4`.
    """
    import ffmpeg

    read = ffmpeg.input(pattern, f="image2", framerate=f"{fps.numerator}/{fps.denominator}", start_number=0)
    video = (
        read["v:0"]
        .filter("scale", f"if(lt(iw,ih),{SHORT_SIDE},-2)", f"if(lt(iw,ih),-2,{SHORT_SIDE})")
        .filter("setsar", 1)
    )
    writing = {
        **H264,
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
