"""Render a video into a file: frames are piped to ffmpeg, and a complete file is renamed into place."""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
from pathlib import Path

from dancecli.core.errors import MediaError
from dancecli.demo.renderer import VideoSpec, beats_per_minute, render
from dancecli.storage.files import commit_file
from dancecli.video.ffmpeg import find_ffmpeg

SUFFIX = ".part.mp4"
# x264 chooses by estimates in floating point, which its code for newer processors rounds otherwise. With
# SSE2 it writes what it writes without assembler, as fast as ever; other processors do without.
_ASM = "SSE2" if platform.machine().lower() in ("x86_64", "amd64") else "0"


def write_video(spec: VideoSpec, path: Path) -> None:
    """Render a video and encode it as H.264 and AAC, with a drum on every beat.

    The bytes are the same on every processor of a kind: what OpenCV and ffmpeg compute with the newest
    instructions of one differs in the last bit, and by it the ids of clips, which name their bytes.

    Raises:
        MediaError: ffmpeg is missing or failed; the message keeps the end of its output.
    """
    import cv2

    cv2.setNumThreads(1)
    optimized = cv2.useOptimized()
    cv2.setUseOptimized(False)
    handle, name = tempfile.mkstemp(prefix=f"{path.stem}.", suffix=SUFFIX, dir=path.parent)
    part = Path(name)
    try:
        with tempfile.TemporaryFile() as log:
            code = _encode(spec, part, log.fileno())
            log.seek(0)
            text = log.read().decode(errors="replace").strip()
        if code:
            raise MediaError(f"{path}: ffmpeg ended with status {code}: {text[-300:]}", "see `dance doctor`")
        os.fsync(handle)
        commit_file(part, path)
    finally:
        cv2.setUseOptimized(optimized)
        os.close(handle)
        part.unlink(missing_ok=True)


def _encode(spec: VideoSpec, part: Path, log: int) -> int:
    command = arguments(spec, part)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log) as process:
        assert process.stdin is not None  # noqa: S101 - a pipe was asked for
        try:
            for frame in render(spec):
                process.stdin.write(frame.data)
            process.stdin.close()
        except BrokenPipeError:
            pass  # it ended early; its exit status and output tell why
        except BaseException:
            process.kill()
            raise
        return process.wait()


def arguments(spec: VideoSpec, path: Path) -> list[str]:
    """Build ffmpeg's command line: raw frames from standard input, a drum from a formula."""
    beat_s = 60 / beats_per_minute(spec.key)
    drum = f"aevalsrc='0.5*sin(2*PI*70*t)*exp(-9*mod(t,{beat_s:.4f}))':s=22050:d={spec.seconds}"
    return [
        *(str(find_ffmpeg()), "-hide_banner", "-nostdin", "-v", "error", "-y", "-cpuflags", "0"),
        *("-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{spec.width}x{spec.height}", "-r", str(spec.fps)),
        *("-i", "pipe:0", "-f", "lavfi", "-i", drum),
        *("-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-pix_fmt", "yuv420p", "-threads", "1"),
        *("-x264-params", f"asm={_ASM}", "-c:a", "aac", "-b:a", "48k", "-movflags", "+faststart", str(path)),
    ]
