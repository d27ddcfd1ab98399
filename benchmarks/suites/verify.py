"""Whether clips are whole: when they are made by a full decode, later by their checksums.

    python -m benchmarks.suites.verify [--clips 2000] [--kib 700] [--rounds 5] [--quick]

The validation of a new clip, as `dance fetch` does it in its workers (every frame and the sound
decoded, stopping at the first error, and the checksum), is compared with `ffmpeg -v error -i CLIP
-f null -`, as typed and with one decoder thread. Then come files of the size of a clip with their
manifest, where time is per file: `dance verify`, which checks all clips later and finds every
changed bit, the same resumed after half of the files, `sha256sum` over all files, and a loop in
Python. The lower bound of validation is libavcodec, that of `dance verify` the loop.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.lib.compare import (
    Bar,
    Cost,
    figures,
    middle,
    run_again,
    run_child,
    spread,
    take_turns,
    tell,
    timed,
    times_as_fast,
)
from benchmarks.lib.sample_videos import draw_film
from dancecli.video.ffmpeg import find_ffmpeg, run_ffmpeg, trim_args

PROOF, BY_FFMPEG, ALONE = "validation of a clip", "ffmpeg -v error", "libavcodec alone"
ONE_THREAD = "ffmpeg -v error -threads 1"
_SLOWEST, _FASTER = 1.5, 2.5
_CLIP_S = 10


def make_workspace(root: Path, num_clips: int, num_bytes: int) -> None:
    """Write files of noise, and the manifest of them."""
    from dancecli.core.records import Clip
    from dancecli.storage import tables
    from dancecli.storage.workspace import Workspace

    dice, clips = random.Random(0), []
    (root / "clips").mkdir(parents=True)
    for i in range(num_clips):
        content = dice.randbytes(num_bytes)
        clip_id = f"v{i:010d}_0_10000"
        (root / "clips" / f"{clip_id}.mp4").write_bytes(content)
        clips.append(
            Clip(
                clip_id=clip_id,
                video_id=f"v{i:010d}",
                start_ms=0,
                end_ms=10_000,
                label="zumba",
                official_split="train",
                dataset="kinetics700",
                path=f"clips/{clip_id}.mp4",
                num_frames=250,
                fps_num=25,
                fps_den=1,
                width=340,
                height=256,
                has_audio=True,
                num_bytes=num_bytes,
                sha256=hashlib.sha256(content).hexdigest(),
                source="mirror",
            )
        )
    tables.write(Workspace(root).clips, Clip, clips)


def as_dance(root: Path, *, half_done: bool) -> Cost:
    """Run the command; of what a stopped pass had noted, half the clips are to be left."""
    if half_done:
        run_again(__file__, "--child", "half", root)
    command = [sys.executable, "-m", "dancecli", "verify", "--workspace", str(root)]
    return run_child(command, stderr=subprocess.DEVNULL)


def by_coreutils(root: Path) -> Cost:
    """Let `sha256sum` read all files."""
    names = sorted(str(path) for path in (root / "clips").iterdir())
    return run_child(["sha256sum", *names])


def note_half(root: Path) -> None:
    """Leave the note of a pass that was stopped half-way."""
    from dancecli.core.records import Clip
    from dancecli.storage import tables
    from dancecli.storage.workspace import Workspace

    clips = tables.read(Workspace(root).clips, Clip)
    lines = [f"{clip.clip_id}:{clip.sha256}\n" for clip in clips[::2]]
    (root / "manifests" / "verified.txt").write_text("".join(lines), encoding="utf-8")


def in_a_loop(root: Path) -> None:
    """Read all files one after the other."""
    for path in sorted((root / "clips").iterdir()):
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")


def measure_proof(num_films: int, rounds: int) -> dict[str, list[Cost]]:
    """Let the ways of a full decode take turns over a few clips; costs are of one clip."""
    from dancecli.core.hashing import sha256_file
    from dancecli.video.decode import validate
    from dancecli.video.source import probe

    with tempfile.TemporaryDirectory() as name:
        clips = []
        for i in range(num_films):
            film = draw_film(Path(name), i)
            clips.append(Path(name) / f"clip{i}.mp4")
            run_ffmpeg(trim_args(film, probe(film), 1000, 1000 * (1 + _CLIP_S), clips[-1]))

        def ours() -> None:
            for clip in clips:
                validate(clip, 1000 * _CLIP_S)
                sha256_file(clip)

        def theirs(*threads: str) -> None:
            for clip in clips:
                reading = (*threads, "-i", str(clip), "-f", "null", "-")
                run_child([str(find_ffmpeg()), "-nostdin", "-v", "error", *reading])

        ours()  # what is imported for it is no part of a turn
        plan: dict[str, Callable[[], object]] = {
            PROOF: ours,
            BY_FFMPEG: theirs,
            ONE_THREAD: partial(theirs, "-threads", "1"),
            ALONE: partial(decode_alone, clips),
        }
        found = take_turns({way: partial(timed, work) for way, work in plan.items()}, rounds)
    n = len(clips)
    return {way: [Cost(cost.cpu_s / n, cost.clock_s / n) for cost in costs] for way, costs in found.items()}


def decode_alone(clips: list[Path]) -> None:
    """Decode the pictures of clips, and look at nothing."""
    import av

    for clip in clips:
        with av.open(str(clip)) as container:
            container.streams.video[0].codec_context.thread_count = 1
            for _ in container.decode(video=0):
                pass


def measure(num_clips: int, kib: int, rounds: int) -> dict[str, Any]:
    """Let the ways take turns over one workspace."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "space"
        # In a process of its own: what this one has imported would count as memory of the others.
        run_again(__file__, "--child", "make", root, num_clips, 1024 * kib)
        found = take_turns(
            {
                "dance verify": partial(as_dance, root, half_done=False),
                "dance verify, half done": partial(as_dance, root, half_done=True),
                "sha256sum": partial(by_coreutils, root),
                "a loop": partial(run_again, __file__, "--child", "loop", root),
            },
            rounds,
        )
    costs = {name: middle(turns) for name, turns in found.items()}
    return {
        "clips": num_clips,
        "megabytes": round(num_clips * kib * 1024 / 1e6),
        "rounds": rounds,
        "cores": os.cpu_count(),
        **{name: {**figures(cost), "spread": spread(found[name])} for name, cost in costs.items()},
    }


def main() -> int:
    """Measure, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--kib", type=int, default=700)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        parts = {"make": make_workspace, "half": note_half, "loop": in_a_loop}
        parts[asked.child[0]](Path(asked.child[1]), *map(int, asked.child[2:]))
        return 0
    found = measure(200, 200, 2) if asked.quick else measure(asked.clips, asked.kib, asked.rounds)
    proof = measure_proof(1 if asked.quick else 2, 2 if asked.quick else asked.rounds)
    faster = times_as_fast(proof[BY_FFMPEG], proof[PROOF])
    ratio = found["dance verify"]["cpu_s"] / found["a loop"]["cpu_s"]
    what = f"validation of a clip: at least {_FASTER} times as fast as {BY_FFMPEG}"
    bars = [Bar(what, f"{faster:.2f}", faster >= _FASTER)]
    later = middle(proof[BY_FFMPEG]).cpu_s / (found["dance verify"]["cpu_s"] / found["clips"])
    what = f"dance verify, per clip: at least {_FASTER} times as fast as {BY_FFMPEG}"
    bars.append(Bar(what, f"{later:.1f}", later >= _FASTER))
    if not asked.quick:  # a small set is all start-up
        what = f"dance verify: processor time at most {_SLOWEST} times that of a loop"
        bars.append(Bar(what, f"{ratio:.2f}", ratio <= _SLOWEST))
    rows = [
        (way, f"{1000 * middle(costs).cpu_s:.1f}", f"{1000 * middle(costs).clock_s:.1f}", spread(costs), "")
        for way, costs in proof.items()
    ]
    for way in ("dance verify", "dance verify, half done", "sha256sum", "a loop"):
        cpu, clock = (1000 * found[way][kind] / found["clips"] for kind in ("cpu_s", "clock_s"))
        rows.append((way, f"{cpu:.2f}", f"{clock:.2f}", found[way]["spread"], f"{found[way]['peak_mb']:.0f}"))
    found |= {"proof": {way: figures(middle(costs)) for way, costs in proof.items()}}
    columns = ("way", "CPU ms per clip", "wall ms", "spread", "peak, MB")
    alone, ours = (1000 * middle(proof[way]).cpu_s for way in (ALONE, PROOF))
    floor = (
        f"libavcodec alone takes {alone:.1f} ms to decode the pictures of a clip; the proof, sound and "
        f"checksum included, takes {ours / alone:.2f} times that, so no full decode is more "
        f"than {middle(proof[BY_FFMPEG]).cpu_s * 1000 / alone:.2f} times as fast as {BY_FFMPEG}"
    )
    return tell("verify", found, bars, columns, rows, floor=floor)


if __name__ == "__main__":
    sys.exit(main())
