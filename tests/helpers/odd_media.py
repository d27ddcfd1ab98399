"""Videos as the world has them, made of numbered frames, so that each frame of a clip can be told."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
from helpers.numbered_video import make_video

from dancecli.core.records import Segment
from dancecli.dataset.cutting import STANDARD_RULES, ClipResult, ClipRules, Cutter
from dancecli.storage.workspace import Workspace
from dancecli.video.ffmpeg import find_ffmpeg
from dancecli.video.source import probe


def ffmpeg(*args: object) -> None:
    """Run ffmpeg, whatever it prints."""
    command = [str(find_ffmpeg()), "-nostdin", "-v", "error", "-y", *map(str, args)]
    subprocess.run(command, check=True, capture_output=True)


def cut(
    root: Path,
    source: Path,
    start_s: float,
    end_s: float,
    rules: ClipRules = STANDARD_RULES,
    *,
    keep_audio: bool = True,
    whole: bool = False,
) -> tuple[ClipResult, Path]:
    """Cut a clip as a fetch does; give its row and its file."""
    cutter = Cutter(root, root / "tmp" / "cut", "test", keep_audio, rules)
    cutter.temp.mkdir(parents=True, exist_ok=True)
    segment = Segment("video", round(1000 * start_s), round(1000 * end_s), "zumba")
    result = cutter.cut(source, probe(source), segment, whole=whole)
    return result, Workspace(root).clip(segment.clip_id)


def with_tone(
    path: Path, seconds: float, tone: tuple[float, float], *, codec: Sequence[str], sound: Sequence[str]
) -> Path:
    """Make a film with a tone from one time to another, and no sound before or after it."""
    silent = make_video(path.with_name(f"silent-{path.stem}.mkv"), seconds, audio=False)
    begins, ends = tone
    ffmpeg(
        *("-i", silent, "-itsoffset", begins, "-f", "lavfi", "-t", ends - begins, "-i", "sine=f=440"),
        *("-map", "0:v", "-map", "1:a", *codec, *sound, path),
    )
    return path


def sounding(path: Path) -> tuple[float, float] | None:
    """Give from when to when a file's sound is to be heard."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return None
        heard = [
            float(frame.pts * frame.time_base)
            for frame in container.decode(container.streams.audio[0])
            if np.abs(frame.to_ndarray()).max() > 0.02
        ]
    return (heard[0], heard[-1]) if heard else None


def replace_bytes(path: Path, old: bytes, new: bytes) -> Path:
    """Exchange bytes of a file for as many others."""
    content = path.read_bytes()
    assert old in content
    assert len(old) == len(new)
    path.write_bytes(content.replace(old, new))
    return path


def set_default_duration(path: Path, nanoseconds: int | None) -> Path:
    """Let the header of a Matroska file say another length of a frame, or none, as a browser leaves it."""
    content = path.read_bytes()
    at = content.index(b"\x23\xe3\x83")
    size = content[at + 3] & 0x7F
    # In place of the element, an empty one (Void) of its size.
    void = b"\xec" + bytes([0x80 | size + 2]) + bytes(size + 2)
    said = content[at : at + 4] + (nanoseconds or 0).to_bytes(size, "big")
    path.write_bytes(content[:at] + (void if nanoseconds is None else said) + content[at + 4 + size :])
    return path


def mark_all_as_key_frames(path: Path) -> Path:
    """Let the index of an AVI claim that every frame is a key frame."""
    content = bytearray(path.read_bytes())
    at = content.rindex(b"idx1")
    (size,) = struct.unpack_from("<I", content, at + 4)
    for entry in range(at + 8, at + 8 + size, 16):
        struct.pack_into("<I", content, entry + 4, 0x10)
    path.write_bytes(content)
    return path


def without_packets(path: Path, target: Path, unwanted: Callable[[int], bool]) -> Path:
    """Copy a film without some of its picture's packets."""
    with av.open(str(path)) as source, av.open(str(target), "w") as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(source.streams.video[0])):
            if packet.dts is not None and not unwanted(number):
                packet.stream = stream
                copy.mux(packet)
    return target


def damage_packet(path: Path, number: int, keep: int = 40) -> Path:
    """Overwrite all but the first bytes of one packet of the picture, in the file itself."""
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(container.streams.video[0]) if p.size]
        where, size = packets[number].pos, packets[number].size
    content = bytearray(path.read_bytes())
    noise = np.random.default_rng(number).bytes(max(0, size - keep))
    content[where + keep : where + size] = noise
    path.write_bytes(content)
    return path
