"""What the measurements of video stand on: dancers in 1280x720, of the size that a site has them in.

A drawn film is easier on codecs than a filmed one, so it gets grain, and the bit rate of a site.
"""

from __future__ import annotations

import os
from pathlib import Path

from dancecli.demo.choreography import STYLES
from dancecli.demo.encoder import write_video
from dancecli.demo.renderer import VideoSpec
from dancecli.video.ffmpeg import run_ffmpeg
from dancecli.video.source import probe

# Names a folder in which scripts that run one after the other find each other's films.
KEPT = "DANCE_BENCH_FILMS"
_PIECE_S = 12
_GRAIN = "noise=alls=8:allf=t"
# A key frame every five seconds, as sites have them; 2.5 Mbit/s for 1280x720.
_CODING = ("-c:v", "libx264", "-preset", "veryfast", "-g", "125", "-pix_fmt", "yuv420p")
_BITS_A_PIXEL = 0.11


def draw_film(folder: Path, number: int = 0, size: tuple[int, int] = (1280, 720)) -> Path:
    """Draw twelve seconds with sound, as a site would have them; another number gives another dance."""
    kept = Path(os.environ.get(KEPT, folder))
    plain, film = folder / "plain.mp4", kept / f"film{number}-{size[1]}.mp4"
    if film.exists():
        return film
    write_video(VideoSpec(f"bench {number}", list(STYLES)[number % len(STYLES)], _PIECE_S, 25, *size), plain)
    rate = ["-b:v", str(round(_BITS_A_PIXEL * 25 * size[0] * size[1]))]
    run_ffmpeg(["-y", "-i", str(plain), "-vf", _GRAIN, *_CODING, *rate, "-c:a", "copy", str(film)])
    plain.unlink()
    return film


def repeated(film: Path, seconds: int, folder: Path) -> Path:
    """Give a film of so many seconds at least: this one, or a file in a folder with it over and over."""
    times = 1000 * seconds // probe(film).duration_ms + 1
    if times == 1:
        return film
    long = folder / f"{film.stem}-{seconds}s.mp4"
    looped = ["-stream_loop", str(times), "-i", str(film), "-c", "copy", "-t", str(seconds)]
    run_ffmpeg(["-y", *looped, str(long)])
    return long
