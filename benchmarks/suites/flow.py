"""Optical flow of clips: `dance flow` against what one writes by hand.

    python -m benchmarks.suites.flow [CLIP.mp4...] [--rounds 3] [--methods dis farneback tvl1] [--quick]

By hand is one process: OpenCV reads, converts to gray and shrinks, then the same OpenCV function on
as many threads as it likes, `u` and `v` clipped at 20 pixels, 8 bits, one JPEG file each, which
nobody reads again: what denseflow and its derivatives do. dance is the whole step on all cores,
including the clip's checksum and the full decode of what was stored. Without clips, synthetic
340x256 videos are used. Errors are against the field as computed. TV-L1 takes a second per field,
so it is measured on two clips, and synthetic ones then last one second. The lower bound is OpenCV's
function alone.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.lib.compare import Bar, Cost, figures, middle, run_again, spread, take_turns, tell, timed
from dancecli.core.flow_format import BOUND_PX, SHORT_SIDE, FlowMethod
from dancecli.core.hashing import sha256_file
from dancecli.core.records import Clip, Flow
from dancecli.dataset.derived.flow import FlowSettings, flow
from dancecli.demo.choreography import STYLES
from dancecli.demo.encoder import write_video
from dancecli.demo.renderer import VideoSpec
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace
from dancecli.video.decode import decode

BY_HAND, OURS = "by hand", "dance flow"


def main() -> int:
    """Measure what was asked for; or, called by itself, do one turn of one way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--draw", type=int, default=4, help="clips, if none is given")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=[method.value for method in FlowMethod])
    parser.add_argument("--quick", action="store_true", help="one round of two short clips, without TV-L1")
    parser.add_argument("--turn", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.turn:
        way, method, root = asked.turn
        turn(way, FlowMethod(method), Path(root))
        return 0
    if asked.quick:
        asked.rounds, asked.methods, asked.draw = 1, ["dis", "farneback"], 2
    with tempfile.TemporaryDirectory() as folder:
        given = asked.clips or drawn(Path(folder) / "long", asked.draw, 1 if asked.quick else 10)
        few = asked.clips[:2] or (drawn(Path(folder) / "short", 2, 1) if "tvl1" in asked.methods else [])
        found = [
            measure(method, Path(folder) / method, few if method is FlowMethod.TVL1 else given, asked.rounds)
            for method in map(FlowMethod, asked.methods)
        ]
    rows = [row for one in found for row in one["rows"]]
    bars = [
        Bar(f"{one['method']}: stored within 0.05 px on average", f"{one[OURS]['error_px']:.4f} px",
            one[OURS]["error_px"] <= 0.05)
        for one in found
    ]  # fmt: skip
    columns = ("method", "way", "clips/s", "CPU s", "spread", "KiB per clip", "error px", "times as fast")
    floor = "OpenCV's function alone, with the reading of the clip, takes " + "; ".join(
        f"{one['alone_s']} s a clip for {one['method']}, all of dance {one['ours_s']}" for one in found
    )
    measured = [{k: v for k, v in one.items() if k != "rows"} for one in found]
    return tell("flow", measured, bars, columns, rows, floor=f"{floor} (processor time)")


def measure(method: FlowMethod, root: Path, clips: list[Path], rounds: int) -> dict[str, Any]:
    """Let both ways take turns on the same clips; give their figures and their rows of the table."""
    root.mkdir()
    furnish(Workspace(root), clips)
    script = partial(run_again, __file__, "--turn")
    ways = {name: partial(script, name, method.value, root) for name in (BY_HAND, OURS)}
    costs = take_turns(ways, rounds)
    sizes = {
        BY_HAND: sum(path.stat().st_size for path in (root / "jpg").rglob("*.jpg")),
        OURS: sum(path.stat().st_size for path in (root / "flow").rglob("*.mp4")),
    }
    errors = {BY_HAND: error_by_hand(method, root), OURS: error_of_ours(root)}
    found: dict[str, Any] = {"method": method.value, "clips": len(clips), "rounds": rounds}
    rows = []
    by_clock = middle(costs[BY_HAND]).clock_s / middle(costs[OURS]).clock_s
    for name in ways:
        cost: Cost = middle(costs[name])
        kib = sizes[name] / len(clips) / 1024
        found[name] = {**figures(cost), "kib_a_clip": round(kib), "error_px": round(errors[name], 4)}
        ratio = f"{by_clock:.2f}" if name == OURS else ""
        rows.append((method, name, f"{len(clips) / cost.clock_s:.2f}", f"{cost.cpu_s:.1f}",
                     spread(costs[name]), f"{kib:.0f}", f"{errors[name]:.3f}", ratio))  # fmt: skip
    alone = timed(lambda: list(fields_of(next(iter(sorted((root / "clips").rglob("*.mp4")))), method)))
    return {
        **found,
        "alone_s": round(alone.cpu_s, 2),
        "ours_s": round(middle(costs[OURS]).cpu_s / len(clips), 2),
        "times_as_fast_by_clock": round(by_clock, 2),
        "rows": rows,
    }


def turn(way: str, method: FlowMethod, root: Path) -> None:
    """Compute the flow of all clips, one way."""
    workspace = Workspace(root)
    if way == OURS:
        shutil.rmtree(root / "flow", ignore_errors=True)
        if flow(workspace, FlowSettings(method.value)).failed:
            raise SystemExit("a clip failed")
        return
    for clip in tables.read(workspace.clips, Clip):
        by_hand(root / clip.path, method, root / "jpg" / clip.clip_id)


def by_hand(clip: Path, method: FlowMethod, folder: Path) -> None:
    """Write two JPEG files a field."""
    import cv2

    folder.mkdir(parents=True, exist_ok=True)
    for number, field in enumerate(fields_of(clip, method)):
        codes = ((field + BOUND_PX) * (255 / (2 * BOUND_PX))).round().clip(0, 255).astype("uint8")
        for axis, name in enumerate("xy"):
            cv2.imwrite(str(folder / f"flow_{name}_{number:05d}.jpg"), codes[..., axis])


def fields_of(clip: Path, method: FlowMethod):  # type: ignore[no-untyped-def]
    """Read a clip with OpenCV and compute its fields, on OpenCV's own threads."""
    import cv2

    # Its types do not know all of it.
    opencv: Any = cv2
    functions = {
        FlowMethod.DIS: opencv.DISOpticalFlow_create(opencv.DISOPTICAL_FLOW_PRESET_MEDIUM).calc,
        FlowMethod.FARNEBACK: lambda a, b, _: opencv.calcOpticalFlowFarneback(
            a, b, None, 0.5, 5, 15, 3, 7, 1.5, 0
        ),
        FlowMethod.TVL1: opencv.optflow.createOptFlow_DualTVL1().calc,
    }
    video, before = cv2.VideoCapture(str(clip)), None
    while True:
        there, frame = video.read()
        if not there:
            return
        grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        if (share := SHORT_SIDE / min(grey.shape)) < 1:
            grey = cv2.resize(grey, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
        if before is not None:
            yield functions[method](before, grey, None)
        before = grey


def error_by_hand(method: FlowMethod, root: Path) -> float:
    """Read the files of one clip and hold them against its fields."""
    import cv2
    import numpy as np

    folder = next(iter(sorted((root / "jpg").iterdir())))
    clip = Workspace(root).clip(folder.name)
    errors = []
    for number, field in zip(range(50), fields_of(clip, method), strict=False):
        codes = [cv2.imread(str(folder / f"flow_{name}_{number:05d}.jpg"), 0) for name in "xy"]
        read = np.stack(codes, axis=-1).astype(np.float32) * (2 * BOUND_PX / 255) - BOUND_PX
        errors.append(np.abs(read - field.clip(-BOUND_PX, BOUND_PX)).mean())
    return float(np.mean(errors))


def error_of_ours(root: Path) -> float:
    """Give the mean error that the step found itself."""
    rows = tables.read(Workspace(root).flows, Flow)
    return sum(row.error_px * row.frames for row in rows) / sum(row.frames for row in rows)


def drawn(folder: Path, number: int, seconds: int) -> list[Path]:
    """Draw dancers, one style after the other."""
    folder.mkdir()
    made = []
    for i in range(number):
        made.append(folder / f"dancer{i}.mp4")
        write_video(VideoSpec(f"flow {i}", list(STYLES)[i % len(STYLES)], seconds, 25, 340, 256), made[-1])
    return made


def furnish(workspace: Workspace, films: list[Path]) -> None:
    """Make a workspace of these clips."""
    clips = []
    for film in films:
        facts, clip_id = decode(film), film.stem
        target = workspace.clip(clip_id)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(film, target)
        path = target.relative_to(workspace.root).as_posix()
        row = (clip_id, clip_id, 0, 1000, "", "", "", path, facts.num_frames)
        rate = (facts.fps.numerator, facts.fps.denominator)
        size = (facts.width, facts.height, facts.has_audio, film.stat().st_size, sha256_file(film), "folder")
        clips.append(Clip(*row, *rate, *size))
    tables.write(workspace.clips, Clip, clips)


if __name__ == "__main__":
    sys.exit(main())
