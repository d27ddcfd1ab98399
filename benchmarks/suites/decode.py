"""Reading a training view of a clip: MMAction2's pipeline on the clips one has without us, ours on ours.

    python -m benchmarks.suites.decode [FILM.mp4...] [--views 6] [--rounds 5] [--quick]

Stock is the training pipeline of MMAction2's own I3D config, on clips as the crawler leaves them
(the source size, the encoder's defaults) and on the same clips after MMAction2's
`resize_videos.py`. dance is the pipeline that `dance finetune` writes into its config, on clips as
`dance fetch` cuts them, of the same size as the resized ones. A view is 32 frames, every other one
of a random stretch, ready to collate; all variants read the same stretches, in one process with one
decoder thread. Each pipeline on the other's clips shows what the file contributes and what the
loader. The lower bound is libavcodec alone.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.lib.compare import (
    Bar,
    Cost,
    figures,
    middle,
    run_child,
    spread,
    take_turns,
    tell,
    timed,
    times_as_fast,
)
from benchmarks.lib.sample_videos import draw_film
from dancecli.video.ffmpeg import find_ffmpeg, run_ffmpeg, trim_args
from dancecli.video.source import probe

CRAWLED, RESIZED, OURS = "stock, as crawled", "stock, resized", "dance"
STOCK_ON_OURS, OURS_ON_RESIZED = "stock on dance clips", "dance on resized clips"
FLOOR = "libavcodec alone on dance clips"
BARS = {RESIZED: 2.0, CRAWLED: 15.0}
I3D = "recognition/i3d/i3d_imagenet-pretrained-r50_8xb8-32x2x1-100e_kinetics400-rgb.py"
CLIP_S, FRAMES, EVERY = 10, 32, 2
Step = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Files:
    """One clip in three forms."""

    crawled: Path
    resized: Path
    ours: Path


def files_of(film: Path, folder: Path, number: int) -> Files:
    """Cut the first ten seconds of a film but one, in every way."""
    made = Files(*(folder / f"{number}-{name}.mp4" for name in ("crawled", "resized", "ours")))
    facts = probe(film)
    start_s = min(1, facts.duration_ms // 1000 - CLIP_S) if facts.duration_ms > 1000 * CLIP_S else 0
    end_ms = min(1000 * (start_s + CLIP_S), facts.duration_ms)
    hand = [str(find_ffmpeg()), "-nostdin", "-v", "error", "-y"]
    times = ["-ss", str(start_s), "-t", str(CLIP_S)]
    cut = ["-i", str(film), *times, "-c:v", "libx264", "-c:a", "copy", "-threads", "1"]
    run_child([*hand, *cut, str(made.crawled)])
    side = "256:-2" if _is_portrait(film) else "-2:256"
    shrink = ["-i", str(made.crawled), "-vf", f"scale={side}", "-c:v", "libx264", "-an"]
    run_child([*hand, *shrink, str(made.resized)])
    run_ffmpeg(trim_args(film, facts, 1000 * start_s, end_ms, made.ours))
    return made


def _is_portrait(film: Path) -> bool:
    import av

    with av.open(str(film)) as container:
        video = container.streams.video[0]
        return bool(video.width < video.height)


class FixedFrames:
    """In the place of `SampleFrames`: the stretch is given, so that all ways read the same."""

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Say which frames are wanted."""
        import numpy as np

        last = results["total_frames"] - 1
        wanted = results["first"] * results["total_frames"] + EVERY * np.arange(FRAMES)
        more = {"clip_len": FRAMES, "frame_interval": EVERY, "num_clips": 1}
        return {**results, **more, "frame_inds": wanted.astype(int).clip(0, last)}


def steps_of(pipeline: list[dict[str, Any]]) -> list[Step]:
    """Build a pipeline, with the frames given."""
    import dancecli.model.dataloading.clip_decoder  # noqa: F401 - registers ours
    from dancecli.model.networks.mmaction import TRANSFORMS

    sampling = [step["type"] == "SampleFrames" for step in pipeline]
    assert sum(sampling) == 1, pipeline
    return [
        FixedFrames() if given else TRANSFORMS.build(dict(step))
        for step, given in zip(pipeline, sampling, strict=True)
    ]


def pipelines() -> tuple[list[Step], list[Step]]:
    """Give MMAction2's training pipeline and ours, for an I3D on 224 pixels."""
    from dancecli.core.recipe import read_recipe
    from dancecli.model.dataloading.pipelines import train_pipeline
    from dancecli.model.networks.base import model_base
    from dancecli.model.networks.mmaction import CONFIGS, init_default_scope, read_config
    from dancecli.model.networks.zoo import find_entry

    init_default_scope("mmaction")
    base = model_base(find_entry("resnet50"))
    return steps_of(read_config(CONFIGS / I3D)["train_pipeline"]), steps_of(
        train_pipeline(base, read_recipe("default"))
    )


def read(steps: list[Step], clips: list[Path], views: list[tuple[int, float]]) -> None:
    """Make the views of the clips: of each the clip's number and where it begins, as a share."""
    import numpy as np

    for number, (clip, first) in enumerate(views):
        np.random.seed(number)  # MMAction2's crops and flips draw from it
        results: dict[str, Any] = {
            "filename": str(clips[clip]),
            "label": 0,
            "modality": "RGB",
            "first": first,
        }
        results |= {"start_index": 0, "view_key": str(number)}
        for step in steps:
            results = step(results)
        shape = tuple(results["inputs"].shape)
        assert shape[-4:] == (3, FRAMES, 224, 224), shape


def floor(clips: list[Path], views: list[tuple[int, float]]) -> None:
    """Decode what the views need, and nothing more."""
    import av

    for clip, first in views:
        with av.open(str(clips[clip])) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            rate, base = stream.average_rate, stream.time_base
            assert rate and base
            begin = int(first * stream.frames)
            end = min(begin + EVERY * (FRAMES - 1), stream.frames - 1)
            container.seek(int(begin / rate / base), stream=stream)
            for frame in container.decode(stream):
                assert frame.pts is not None
                if round(frame.pts * base * rate) >= end:
                    break


def shares(steps: list[Step], clips: list[Path], views: list[tuple[int, float]]) -> dict[str, float]:
    """Say where a view's time goes: milliseconds of processor by step."""
    found: dict[str, float] = {}

    def watched(step: Step) -> Step:
        name = type(step).__name__

        def run(results: dict[str, Any]) -> dict[str, Any]:
            out: list[dict[str, Any]] = []
            cost = timed(lambda: out.append(step(results)))
            found[name] = found.get(name, 0.0) + 1000 * cost.cpu_s / len(views)
            return out[0]

        return run

    read([watched(step) for step in steps], clips, views)
    return {name: round(ms, 2) for name, ms in found.items()}


def main() -> int:
    """Measure, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("films", nargs="*", type=Path, help="of ten seconds at least; else dancers are drawn")
    parser.add_argument("--draw", type=int, default=3, help="films, if none is given")
    parser.add_argument("--views", type=int, default=6, help="of each clip, in each turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    if asked.quick:
        asked.draw, asked.views, asked.rounds = 1, 3, 2
    with redirect_stdout(sys.stderr):  # MMAction2 talks there
        measured, bars, rows = measure(asked)
    shares_of_ours = sorted(measured["ms_by_step"][OURS].items(), key=lambda item: -item[1])
    floor = (
        f"libavcodec alone takes {measured[FLOOR]['ms_a_view']:.1f} ms for the frames of a view; of dance, "
        + ", ".join(f"{name} takes {ms:.1f} ms" for name, ms in shares_of_ours[:3])
    )
    columns = ("way", "CPU ms per view", "spread", "times dance")
    return tell("decode", measured, bars, columns, rows, floor=floor)


def measure(asked: argparse.Namespace) -> tuple[dict[str, Any], list[Bar], list[tuple[str, ...]]]:
    """Cut the clips, and let the ways take turns over them."""
    import cv2

    cv2.setNumThreads(0)  # as both configs have it in a loader's worker
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        films = asked.films or [draw_film(folder, i) for i in range(asked.draw)]
        made = [files_of(film, folder, i) for i, film in enumerate(films)]
        crawled, resized, ours = ([getattr(one, form) for one in made] for form in Files.__slots__)
        draw = random.Random(0)
        views = [(i, draw.uniform(0, 0.7)) for i in range(len(made)) for _ in range(asked.views)]
        theirs, mine = pipelines()
        plan: dict[str, Callable[[], object]] = {
            CRAWLED: partial(read, theirs, crawled, views),
            RESIZED: partial(read, theirs, resized, views),
            STOCK_ON_OURS: partial(read, theirs, ours, views),
            OURS_ON_RESIZED: partial(read, mine, resized, views),
            OURS: partial(read, mine, ours, views),
            FLOOR: partial(floor, ours, views),
        }
        for work in plan.values():
            work()  # what is imported and allocated once is no part of a turn
        ways: dict[str, Callable[[], Cost]] = {way: partial(timed, work) for way, work in plan.items()}
        found = take_turns(ways, asked.rounds)
        where = {RESIZED: shares(theirs, resized, views), OURS: shares(mine, ours, views)}
        kib = {
            form: round(sum(getattr(one, form).stat().st_size for one in made) / len(made) / 1024)
            for form in Files.__slots__
        }
    per_view = {way: 1000 * middle(costs).cpu_s / len(views) for way, costs in found.items()}
    bars: list[Bar] = []
    rows: list[tuple[str, ...]] = []
    for way, costs in found.items():
        ratio = times_as_fast(costs, found[OURS])
        rows.append((way, f"{per_view[way]:.1f}", spread(costs), f"{ratio:.2f}"))
        if way in BARS:
            bars.append(
                Bar(f"{way}: dance at least {BARS[way]:g} times as fast", f"{ratio:.2f}", ratio >= BARS[way])
            )
    measured = {
        "views": len(views),
        "rounds": asked.rounds,
        "clip_kib": kib,
        "ms_by_step": where,
        **{
            way: {"ms_a_view": round(per_view[way], 2), **figures(middle(costs))}
            for way, costs in found.items()
        },
    }
    return measured, bars, rows


if __name__ == "__main__":
    raise SystemExit(main())
