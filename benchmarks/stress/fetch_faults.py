"""What `dance fetch` promises, measured on a faulty video site on loopback.

    python -m benchmarks.stress.fetch_faults kill --kills 100 --seed 1
    python -m benchmarks.stress.fetch_faults soak --clips 2000 --out FOLDER
    python -m benchmarks.stress.fetch_faults limiter
    python -m benchmarks.stress.fetch_faults breaker
    python -m benchmarks.stress.fetch_faults shards
    python -m benchmarks.stress.fetch_faults lists LIST.csv --film FILM.mp4

kill     60-clip fetches, killed with SIGKILL at random moments and continued: every clip has its
         one outcome, nothing is left over, and nothing that was settled is asked for again.
         A hundred kills take a quarter of an hour on two cores.
soak     one run over many clips, 15 % of them faulty: all have the outcome of their fault, and the
         memory of the dispatching process is flat; a plot of it and its points go into FOLDER.
         Two thousand clips take ten minutes.
limiter  the requests that the site counts in any minute, with 8 workers, against the rate.
breaker  the site turns to 429 half-way: it gets probes only, nothing is marked dead, and the same
         command finishes the job when the site recovers.
shards   four shards side by side give what one run gives, byte for byte.
lists    a list as it is, every video served from a film that is looped to its length: time and
         processor time a clip.

Each prints its bars with the figures, and exits with 1 if one is missed. `soak` reads /proc, so it
needs Linux.
"""

from __future__ import annotations

import argparse
import bisect
import itertools
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.lib.fetch_workload import Bar, counts, make_film, tell, write_list
from benchmarks.stress.fetch_killed import kill, shards
from benchmarks.stress.fetch_soak import soak
from dancecli.core.errors import DanceError
from dancecli.dataset.fetch.fetch import FetchResult, fetch
from dancecli.dataset.fetch.settings import FetchSettings, load_requested
from dancecli.demo.video_site import Fault, VideoSite
from dancecli.engine.rate_limit import BreakerSettings
from dancecli.storage.workspace import Workspace
from dancecli.video.ffmpeg import run_ffmpeg

# A first wait that no straggling answer outlasts; four, each twice the one before, take half a minute.
BREAKER = BreakerSettings(streak=5, first_wait_s=2, trips=4)
WORKERS = 8
SHORTEST_LOOP_S = 20


def limiter(rate_per_hour: float, videos: int) -> list[Bar]:
    """Count what a site without a single video is asked; each third one has to be asked three times."""
    ids = [f"v{i}" for i in range(videos)]
    with (
        TemporaryDirectory() as folder,
        VideoSite(lambda _: None, {name: Fault(status=500, times=2) for name in ids[::3]}) as site,
    ):
        settings = FetchSettings(
            annotations=(write_list(Path(folder, "list.csv"), [(name, 0, 1) for name in ids]),),
            url_template=site.url_template,
            workers=WORKERS,
            rate_per_hour=rate_per_hour,
            min_free_gb=0,
        )
        fetch(Workspace(Path(folder, "workspace")), settings)
        times_s = sorted(request.time_s for request in site.log)
    span_s = times_s[-1] - times_s[0]
    most = max(bisect.bisect_left(times_s, start_s + 60) - i for i, start_s in enumerate(times_s))
    allowed = rate_per_hour / 60
    return [
        Bar("the run is longer than a minute", f"{span_s:.0f} s, {len(times_s)} requests", span_s > 60),
        Bar(f"most requests in any minute, at most {allowed:g}", str(most), most <= allowed),
    ]


def breaker(videos: int) -> list[Bar]:
    """Let the site refuse everything after half of the videos, and recover before the second run."""
    served = itertools.count(1)
    with TemporaryDirectory() as folder:
        base = Path(folder)
        film = make_film(base / "film.mp4", 2)

        def answer(_: str) -> Path:
            if next(served) == videos // 2:
                site.everywhere = Fault(status=429)
            return film

        with VideoSite(answer) as site:
            settings = FetchSettings(
                annotations=(write_list(base / "list.csv", [(f"v{i}", 0, 1) for i in range(videos)]),),
                url_template=site.url_template,
                workers=WORKERS,
                min_free_gb=0,
                breaker=BREAKER,
            )
            first = fetch(Workspace(base / "workspace"), settings)
            seen = len(site.log)
            site.everywhere = None
            second = fetch(Workspace(base / "workspace"), settings)
    refused_s = [request.time_s for request in site.log if request.status == 429]
    print(f"first run {counts(first)}: {first.stopped}\nsecond run {counts(second)}")
    # More than a row that opens it: the other workers are asking, and their last good answers come between.
    print("refused at, s:", *(f"{time_s - refused_s[0]:.1f}" for time_s in refused_s))
    return breaker_bars(first, second, refused_s, len(site.log) - seen)


def breaker_bars(
    first: FetchResult, second: FetchResult, refused_s: Sequence[float], asked_later: int
) -> list[Bar]:
    """Evaluate the two runs and the times of the refusals."""
    probes = [time_s for time_s in refused_s if time_s - refused_s[0] >= BREAKER.first_wait_s]
    pending = first.outcomes["pending"] + first.outcomes["session"]
    dead = first.num_asked - first.num_done - pending
    return [
        Bar(
            f"requests while it is open: {BREAKER.trips} probes",
            str(len(probes)),
            len(probes) == BREAKER.trips,
        ),
        Bar("the run gave up and says so", first.stopped or "no", bool(first.stopped)),
        Bar("clips marked dead", f"{dead}, {pending} pending", dead == 0 and pending > 0),
        Bar("done by the second run", f"{second.num_done} of {second.num_asked}", second.complete),
        Bar("requests of the second run, one a pending clip", str(asked_later), asked_later == pending),
    ]


def lists(annotations: Path, film: Path, limit: int | None, workers: int) -> list[Bar]:
    """Fetch the rows of a list from a site that has every video, looped from one film."""
    ends_s: dict[str, float] = {}
    with TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder, "workspace"))
        wanted, _, _ = load_requested(workspace, FetchSettings(annotations=(annotations,), limit=limit))
        for segment in wanted:
            ends_s[segment.video_id] = max(ends_s.get(segment.video_id, 0), segment.end_ms / 1000)
        loops = make_loops(film, Path(folder), max(ends_s.values()))

        def answer(video_id: str) -> Path | None:
            end_s = ends_s.get(video_id)
            return None if end_s is None else next(path for length_s, path in loops if length_s > end_s)

        with VideoSite(answer) as site:
            settings = FetchSettings(
                annotations=(annotations,), limit=limit, url_template=site.url_template, workers=workers
            )
            own_before_s, children_before_s = time.process_time(), children_s()
            result = fetch(workspace, settings)
            own_s, workers_s = time.process_time() - own_before_s, children_s() - children_before_s
    new = max(1, result.num_new)
    print(
        f"{result.seconds:.1f} s, {result.seconds / new:.3f} s a clip; processor time a clip: workers "
        f"{workers_s / new:.3f} s, dispatcher with the site {own_s / new:.4f} s; {len(site.log)} requests"
    )
    return [Bar("clips done", f"{result.num_done} of {result.num_asked} {result.reasons}", result.complete)]


def make_loops(film: Path, folder: Path, longest_s: float) -> list[tuple[int, Path]]:
    """Loop a film to lengths that double until one is longer than asked; lengths in seconds."""
    loops: list[tuple[int, Path]] = []
    while not loops or loops[-1][0] <= longest_s:
        length_s = 2 * loops[-1][0] if loops else SHORTEST_LOOP_S
        path = folder / f"loop{length_s}.mp4"
        looped = ["-stream_loop", "-1", "-i", str(film.absolute()), "-t", str(length_s + 1), "-c", "copy"]
        run_ffmpeg(["-y", *looped, str(path)])
        loops.append((length_s, path))
    return loops


def children_s() -> float:
    """Processor time of the children that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def parser() -> argparse.ArgumentParser:
    """Build the command line; each subcommand leaves its measurement as `measure`."""
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    names = top.add_subparsers(required=True, metavar="MEASUREMENT")

    def add(name: str, measure: Callable[[argparse.Namespace], list[Bar]]) -> argparse.ArgumentParser:
        sub = names.add_parser(name)
        sub.set_defaults(measure=measure)
        return sub

    one = add("kill", lambda asked: kill(asked.kills, asked.seed))
    one.add_argument("--kills", type=int, default=100)
    one.add_argument("--seed", type=int, default=1)
    one = add("soak", lambda asked: soak(asked.clips, asked.out))
    one.add_argument("--clips", type=int, default=2000)
    one.add_argument("--out", type=Path, default=Path(), metavar="FOLDER")
    one = add("limiter", lambda asked: limiter(asked.rate, asked.videos))
    one.add_argument("--rate", type=float, default=6000, metavar="PER_HOUR")
    one.add_argument("--videos", type=int, default=330)
    one = add("breaker", lambda asked: breaker(asked.videos))
    one.add_argument("--videos", type=int, default=80)
    one = add("shards", lambda asked: shards(asked.videos))
    one.add_argument("--videos", type=int, default=60)
    one = add("lists", lambda asked: lists(asked.list, asked.film, asked.limit, asked.workers))
    one.add_argument("list", type=Path, metavar="LIST.csv")
    one.add_argument("--film", type=Path, required=True)
    one.add_argument("--limit", type=int, help="clips per class")
    one.add_argument("--workers", type=int, default=2)
    return top


if __name__ == "__main__":
    asked = parser().parse_args()
    try:
        sys.exit(tell(asked.measure(asked)))
    except DanceError as error:
        sys.exit(f"error: {error} {error.hint}".strip())
