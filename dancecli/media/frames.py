"""Clips from numbered pictures: the ffmpeg arguments that make one in the form of a cut clip."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

from dancecli.media.facts import frames_in
from dancecli.media.ffmpeg import H264, SHORT_SIDE

_NUMBERED = "%06d"


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
