"""Checking every clip against its checksum: the whole command against coreutils and one thread.

    python benchmarks/verify.py [--clips 2000] [--kib 700] [--rounds 5] [--quick]

Makes files of the size of a clip with their manifest, and lets take turns: `dance verify`, the same
again when a stopped pass had done half, `sha256sum` over all files, and a loop in Python.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from side_by_side import Bar, Cost, figures, middle, run_again, run_child, take_turns, tell

_SLOWEST = 1.5


def make_workspace(root: Path, num_clips: int, num_bytes: int) -> None:
    """Write files of noise, and the manifest of them."""
    from dancecli import manifest
    from dancecli.schema import Clip
    from dancecli.workspace import Workspace

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
    manifest.write(Workspace(root).clips, Clip, clips)


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
    from dancecli import manifest
    from dancecli.schema import Clip
    from dancecli.workspace import Workspace

    clips = manifest.read(Workspace(root).clips, Clip)
    lines = [f"{clip.clip_id}:{clip.sha256}\n" for clip in clips[::2]]
    (root / "manifests" / "verified.txt").write_text("".join(lines), encoding="utf-8")


def in_a_loop(root: Path) -> None:
    """Read all files one after the other."""
    for path in sorted((root / "clips").iterdir()):
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")


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
        **{name: figures(cost) for name, cost in costs.items()},
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
    ratio = found["dance verify"]["cpu_s"] / found["a loop"]["cpu_s"]
    # A small set is all start-up; the bar is for a real one.
    bars = (
        []
        if asked.quick
        else [Bar(f"processor time, {_SLOWEST} times a loop", f"{ratio:.2f}", ratio <= _SLOWEST)]
    )
    names = ("dance verify", "dance verify, half done", "sha256sum", "a loop")
    rows = [
        (name, found[name]["cpu_s"], found[name]["clock_s"], f"{found[name]['peak_mb']:.0f}")
        for name in names
    ]
    return tell("verify", found, bars, ("way", "processor, s", "clock, s", "peak, MB"), rows)


if __name__ == "__main__":
    sys.exit(main())
