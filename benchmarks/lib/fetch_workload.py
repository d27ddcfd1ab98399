"""What the measurements of `dance fetch` stand on: a film, a list, the command, and the bars."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dancecli.dataset.fetch.fetch import FetchResult
from dancecli.video.ffmpeg import run_ffmpeg

LABEL = "zumba"
Row = tuple[str, int, int]  # a video's id, and where the clip starts and ends, in whole seconds
_X264 = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "30", "-pix_fmt", "yuv420p"]


@dataclass(frozen=True, slots=True)
class Bar:
    """One thing that was to hold.

    Attributes:
        what: what was to hold.
        figure: what was measured.
        met: whether it held.
    """

    what: str
    figure: str
    met: bool


def tell(bars: Iterable[Bar]) -> int:
    """Print the bars with their figures; give the exit status, 1 if one was missed."""
    told = list(bars)
    for bar in told:
        print(f"{'met' if bar.met else 'MISSED':6}  {bar.what}: {bar.figure}")
    return 0 if all(bar.met for bar in told) else 1


def none_of(what: str, found: Iterable[str]) -> Bar:
    """Make the bar that something never happened; the first few cases are shown."""
    cases = list(found)
    return Bar(what, f"{len(cases)} {' '.join(cases[:5])}".strip(), not cases)


def counts(result: FetchResult) -> str:
    """Write the outcomes that occur."""
    return ", ".join(f"{n} {name}" for name, n in result.outcomes.items() if n)


def make_film(path: Path, seconds: int) -> Path:
    """Render a small moving test picture with sound, and give its path."""
    picture = ["-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25"]
    sound = ["-f", "lavfi", "-i", "sine=frequency=330:sample_rate=22050"]
    run_ffmpeg(["-y", *picture, *sound, "-t", str(seconds), *_X264, "-c:a", "aac", str(path)])
    return path


def write_list(path: Path, rows: Iterable[Row]) -> Path:
    """Write an annotation list in the form of Kinetics, and give its path."""
    lines = [f"{LABEL},{video_id},{start_s},{end_s},train\n" for video_id, start_s, end_s in rows]
    path.write_text("label,youtube_id,time_start,time_end,split\n" + "".join(lines), encoding="utf-8")
    return path


def start_fetch(listing: Path, url_template: str, root: Path, *more: str) -> subprocess.Popen[bytes]:
    """Start `dance fetch` as a process of its own."""
    asked = ["--annotations", str(listing), "--url-template", url_template, "--min-free", "0"]
    return subprocess.Popen(
        [sys.executable, "-m", "dancecli", "fetch", *asked, "--workspace", str(root), *more],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
