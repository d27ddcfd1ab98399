"""What the measurements of the engines stand on: films, the jobs that cut them, and work that is none.

Workers import it by name, so it stands apart from the scripts that are run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

from benchmarks.lib.compare import Cost, timed
from benchmarks.lib.fetch_workload import LABEL
from dancecli.core.records import Clip, OutcomeClass, Segment
from dancecli.dataset.cutting import ClipResult, Cutter
from dancecli.dataset.fetch import video_worker
from dancecli.dataset.fetch.video_worker import JobResult, OnDisk, SourceJob
from dancecli.engine.factory import open_pool
from dancecli.engine.worker import Acquire
from dancecli.storage.workspace import Workspace
from dancecli.video.ffmpeg import run_ffmpeg

CLIP_S = 10


def make_film(path: Path) -> Path:
    """Render half a minute of a moving picture of 640x360 with sound, as a site has it."""
    picture = ["-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25"]
    sound = ["-f", "lavfi", "-i", "sine=frequency=330:sample_rate=44100"]
    coding = ["-c:v", "libx264", "-preset", "veryfast", "-g", "125", "-pix_fmt", "yuv420p", "-c:a", "aac"]
    run_ffmpeg(["-y", *picture, *sound, "-t", "30", *coding, str(path)])
    return path


def jobs_of(film: Path, root: Path, count: int) -> list[SourceJob]:
    """Lay out a job for each of `count` videos, all of them the same film: a clip from its middle."""
    cutter = Cutter(root, root / "tmp", "folder", keep_audio=True)
    return [_job(cutter, f"v{i:07d}", OnDisk(film)) for i in range(count)]


def _job(cutter: Cutter, video_id: str, origin: OnDisk) -> SourceJob:
    segment = Segment(video_id, 10_000, 10_000 + 1000 * CLIP_S, LABEL, "train", "kinetics")
    own = Cutter(cutter.root, cutter.temp / video_id, cutter.source, cutter.keep_audio)
    return SourceJob(own, (segment,), origin)


class ManyJobs(Sequence[SourceJob]):
    """As many jobs as one likes, made when they are asked for: what is held is the engine's."""

    def __init__(self, root: Path, count: int) -> None:
        self._cutter = Cutter(root, root / "tmp", "folder", keep_audio=True)
        self._count = count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, i: int) -> SourceJob: ...
    @overload
    def __getitem__(self, i: slice) -> Sequence[SourceJob]: ...
    def __getitem__(self, i: Any) -> Any:
        if not 0 <= i < self._count:
            raise IndexError(i)
        return _job(self._cutter, f"v{i:07d}", OnDisk(Path("nowhere")))


def pretend(work: SourceJob, _: Acquire) -> JobResult:
    """Say that the clips were cut, and cut none."""
    results = []
    for segment in work.segments:
        clip = Clip(
            clip_id=segment.clip_id, video_id=segment.video_id, start_ms=segment.start_ms,
            end_ms=segment.end_ms, label=segment.label, official_split=segment.official_split,
            dataset=segment.dataset, path=f"clips/{segment.clip_id}.mp4", num_frames=250, fps_num=25,
            fps_den=1, width=640, height=360, has_audio=True, num_bytes=1_000_000, sha256="0" * 64,
            source="folder",
        )  # fmt: skip
        results.append(ClipResult(segment, OutcomeClass.DONE, "ok", clip=clip))
    return JobResult(tuple(results))


def write_token(work: SourceJob, _: Acquire) -> JobResult:
    """Store a few bytes in place of each clip: everything around the cutting is that of a fetch."""
    results = []
    for told in pretend(work, _).clips:
        assert told.clip is not None
        token = told.clip.clip_id.encode()
        path = Workspace(work.cutter.root).clip(told.clip.clip_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(token)
        where = path.relative_to(work.cutter.root).as_posix()
        made = replace(told.clip, path=where, num_bytes=len(token), sha256=hashlib.sha256(token).hexdigest())
        results.append(replace(told, clip=made))
    return JobResult(tuple(results))


def cut_all(
    engine: str, workers: int, film: Path, root: Path, count: int, cores: int = 0
) -> tuple[Cost, float]:
    """Cut and prove the clips with an engine, once all of its workers are there.

    Args:
        engine: see `open_pool`.
        workers: see `open_pool`.
        film: what to cut from.
        root: where to; it is emptied first.
        count: of the clips.
        cores: that this process and its workers may use; 0 for all.

    Returns:
        What it took from the moment that all workers are there to the last clip, and the seconds that
        they took to start. The processor time is that of the local engine's workers, start included.

    Raises:
        SystemExit: a clip is missing.
    """
    shutil.rmtree(root, ignore_errors=True)
    (root / "up").mkdir(parents=True)
    marks: list[float] = []

    def jobs() -> Iterator[SourceJob]:
        cutter = Cutter(root, root / "tmp", "folder", keep_audio=True)
        for i in range(workers):
            yield _job(cutter, f"up{i:07d}", OnDisk(root / "up" / str(workers)))
        yield from jobs_of(film, root, count)

    def work() -> None:
        started_s = time.perf_counter()
        with open_pool(engine, cut_together, workers, 600, root=root) as pool:
            for finished in pool.run(jobs()):
                is_up = finished is not None and finished.result is not None and not finished.result.clips
                marks.extend([time.perf_counter() - started_s] if is_up else [])

    with only_cores(cores):
        cost = timed(work)
    made = len(list((root / "clips").rglob("*.mp4")))
    if made != count:
        raise SystemExit(f"{engine} with {workers}: {made} of {count} clips")
    return Cost(cost.cpu_s, cost.clock_s - max(marks)), max(marks)


def cut_together(work: SourceJob, acquire: Acquire) -> JobResult:
    """Do a job as `dance fetch` does; one of the first waits until all workers have theirs."""
    place = work.origin.path if isinstance(work.origin, OnDisk) else Path()
    if place.parent.name != "up":
        return video_worker.work(work, acquire)
    (place.parent / f"here-{work.segments[0].video_id}").touch()
    while len(list(place.parent.glob("here-*"))) < int(place.name):
        time.sleep(0.005)
    return JobResult(())


@contextmanager
def only_cores(number: int) -> Iterator[None]:
    """Keep this process, and what it starts meanwhile, to the first so many of its cores; 0 for all."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:number] if number else before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def run_all(engine: str, workers: int, work: Any, jobs: Iterable[SourceJob], root: Path) -> float:
    """Do jobs with an engine; give the seconds that it took."""
    started_s = time.perf_counter()
    with open_pool(engine, work, workers, 600, root=root) as pool:
        for _ in pool.run(jobs):
            pass
    return time.perf_counter() - started_s
