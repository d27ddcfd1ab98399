"""What the local engine costs: two workers beside one, the dispatcher's work a clip, its memory.

    python -m benchmarks.suites.engine [--rounds 3] [--clips 16] [--simulated 100000] [--quick]

Clips of ten seconds are cut from a 640x360 video, validated and committed by the jobs of `dance
fetch`; the variants are interleaved, and worker start-up is reported separately. ffmpeg from
version 7 on decodes, scales and encodes in threads of its own, so one worker keeps more than one
core busy; therefore two workers are compared with one as it is, and with one pinned to a single
core. For the cost of dispatching itself, in processor time and memory, the workers only report that
they have cut a clip, and everything else is as in a fetch: jobs, rate limiter, ledger, manifest.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.lib.compare import Bar, Cost, Plot, figures, middle, spread, take_turns, tell
from benchmarks.lib.cut_workload import ManyJobs, cut_all, make_film, pretend
from dancecli.core.progress import Progress, Reporter
from dancecli.dataset.fetch.dispatcher import Dispatcher, JobPlan
from dancecli.dataset.fetch.jobs import SourcePlan
from dancecli.engine.factory import LOCAL
from dancecli.engine.rate_limit import BreakerSettings
from dancecli.storage import ledger
from dancecli.storage.workspace import Workspace

ALONE, ONE, TWO = "one worker on one core", "one worker", "two workers"
WAYS = {ALONE: (1, 1), ONE: (1, 0), TWO: (2, 0)}
FIRST = 1000
LEAST_FASTER, MOST_MS, FLAT = 1.8, 5.0, 1.1


def main() -> int:
    """Measure, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clips", type=int, default=16, help="to cut in each turn")
    parser.add_argument("--simulated", type=int, default=100_000)
    parser.add_argument("--quick", action="store_true", help="one round, and a twentieth of the clips")
    asked = parser.parse_args()
    if asked.quick:
        asked.rounds, asked.clips, asked.simulated = 1, 4, 5000
    starts: dict[str, list[float]] = {name: [] for name in WAYS}
    with TemporaryDirectory() as folder:
        parent_ms, curve = dispatched(Path(folder) / "simulated", asked.simulated)
        film = make_film(Path(folder) / "film.mp4")

        def turn(name: str) -> Cost:
            workers, cores = WAYS[name]
            cost, start_s = cut_all(LOCAL, workers, film, Path(folder) / "space", asked.clips, cores)
            starts[name].append(start_s)
            return cost

        found = take_turns({name: partial(turn, name) for name in WAYS}, asked.rounds)
    first, most = curve[0][1], max(mib for _, mib in curve)
    middles = {name: middle(costs) for name, costs in found.items()}
    busy = middles[ONE].cpu_s / (middles[ONE].clock_s + statistics.median(starts[ONE]))
    bars = [
        faster_bar(
            found[ALONE], found[TWO], f"two workers: at least {LEAST_FASTER} times {ALONE}", LEAST_FASTER
        ),
        faster_bar(
            found[ONE],
            found[TWO],
            f"two workers: at least {LEAST_FASTER} times one worker that may use all cores, "
            f"and keeps {busy:.2f} of them busy",
            LEAST_FASTER,
        ),
        Bar(f"the dispatcher takes at most {MOST_MS} ms a clip", f"{parent_ms:.2f} ms", parent_ms <= MOST_MS),
        Bar(
            f"its memory from {FIRST:,} to {asked.simulated:,} clips: at most {FLAT} times that at {FIRST:,}",
            f"{first:.1f} to {most:.1f} MiB, {most / first:.3f}",
            most / first <= FLAT,
        ),
    ]
    rows = [
        (
            name,
            f"{1000 * cost.clock_s / asked.clips:.0f}",
            spread(found[name], clock=True),
            f"{1000 * cost.cpu_s / asked.clips:.0f}",
            f"{statistics.median(starts[name]):.2f}",
        )
        for name, cost in middles.items()
    ]
    measured: dict[str, Any] = {name: figures(cost) for name, cost in middles.items()}
    measured |= {"clips": asked.clips, "rounds": asked.rounds, "dispatch_ms": round(parent_ms, 3)}
    measured["start_s"] = {name: round(statistics.median(found), 2) for name, found in starts.items()}
    measured["rss_mib"] = [[clips, round(mib, 1)] for clips, mib in curve]
    cores = os.cpu_count() or 1
    least_ms = 1000 * middles[TWO].cpu_s / asked.clips / cores
    floor = (
        f"a clip takes {1000 * middles[TWO].cpu_s / asked.clips:.0f} ms of processor, so {cores} cores "
        f"cannot give one in less than {least_ms:.0f} ms; two workers take "
        f"{1000 * middles[TWO].clock_s / asked.clips:.0f} ms"
    )
    plots = [Plot("memory", "clips done", "resident memory, MiB", {"dispatcher": curve}, log=False)]
    columns = ("engine", "wall ms per clip", "spread", "CPU ms, with start-up", "start, s")
    return tell("engine", measured, bars, columns, rows, floor=floor, plots=plots)


def faster_bar(slow: list[Cost], fast: list[Cost], what: str, least: float) -> Bar:
    """Evaluate the median over the rounds of slow over fast, by the clock."""
    ratios = sorted(one.clock_s / other.clock_s for one, other in zip(slow, fast, strict=True))
    median = statistics.median(ratios)
    return Bar(what, f"{median:.2f} (rounds {', '.join(f'{r:.2f}' for r in ratios)})", median >= least)


def dispatched(root: Path, clips: int) -> tuple[float, list[tuple[int, float]]]:
    """Let the dispatcher of a fetch do clips that cost nothing.

    Returns:
        Its processor time a clip, in milliseconds; and its resident memory in MiB by clips done, from
        the first thousand on.
    """
    root.mkdir()
    curve: list[tuple[int, float]] = []

    def watch(now: Progress) -> None:
        if now.done >= FIRST and (not curve or now.done - curve[-1][0] >= clips / 100):
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
            curve.append((now.done, pages * os.sysconf("SC_PAGESIZE") / 2**20))

    source = SourcePlan("folder", ManyJobs(root, clips), pretend, None, BreakerSettings(), online=False)
    plan = JobPlan(
        source=source, num_requested=clips, num_done=0, engine=LOCAL, workers=2, tries=3, backoff_s=1,
        timeout_s=60, min_free_bytes=0,
    )  # fmt: skip
    started_s = time.process_time()
    with ledger.LedgerWriter(root / "ledger.db") as writer:
        Dispatcher(Workspace(root), plan, writer, Reporter(watch)).run()
    seconds = time.process_time() - started_s
    standing = len(ledger.latest(root))
    if standing != clips:
        raise SystemExit(f"{standing} of {clips} clips are in the ledger")
    return 1000 * seconds / clips, curve


if __name__ == "__main__":
    raise SystemExit(main())
