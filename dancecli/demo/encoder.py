"""Draw a film into a file: frames piped to ffmpeg, the name given only when all is there."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from dancecli.core.errors import MediaError
from dancecli.demo.renderer import Film, beats_per_minute, frames
from dancecli.storage.files import commit_file
from dancecli.video.ffmpeg import find_ffmpeg

SUFFIX = ".part.mp4"


def write_film(film: Film, path: Path) -> None:
    """Draw a film and encode it, with a drum on every beat, as H.264 and AAC.

    Raises:
        MediaError: ffmpeg is missing or failed; the message keeps the end of what it said.
    """
    import cv2

    cv2.setNumThreads(1)
    handle, name = tempfile.mkstemp(prefix=f"{path.stem}.", suffix=SUFFIX, dir=path.parent)
    part = Path(name)
    try:
        with tempfile.TemporaryFile() as said:
            code = _encode(film, part, said.fileno())
            said.seek(0)
            text = said.read().decode(errors="replace").strip()
        if code:
            raise MediaError(f"{path}: ffmpeg ended with status {code}: {text[-300:]}", "see `dance doctor`")
        os.fsync(handle)
        commit_file(part, path)
    finally:
        os.close(handle)
        part.unlink(missing_ok=True)


def _encode(film: Film, part: Path, said: int) -> int:
    command = arguments(film, part)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said) as process:
        assert process.stdin is not None  # noqa: S101 - a pipe was asked for
        try:
            for frame in frames(film):
                process.stdin.write(frame.data)
            process.stdin.close()
        except BrokenPipeError:
            pass  # it ended early, its status and words say why
        except BaseException:
            process.kill()
            raise
        return process.wait()


def arguments(film: Film, path: Path) -> list[str]:
    """Build ffmpeg's command line: raw frames from standard input, a drum made by a formula."""
    beat_s = 60 / beats_per_minute(film.key)
    drum = f"aevalsrc='0.5*sin(2*PI*70*t)*exp(-9*mod(t,{beat_s:.4f}))':s=22050:d={film.seconds}"
    return [
        *(str(find_ffmpeg()), "-hide_banner", "-nostdin", "-v", "error", "-y"),
        *("-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{film.width}x{film.height}", "-r", str(film.fps)),
        *("-i", "pipe:0", "-f", "lavfi", "-i", drum),
        *("-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-pix_fmt", "yuv420p", "-threads", "1"),
        *("-c:a", "aac", "-b:a", "48k", "-movflags", "+faststart", str(path)),
    ]
