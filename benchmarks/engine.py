"""What the local engine costs: two workers beside one, the dispatcher's work a clip, its memory.

    python benchmarks/engine.py [--rounds 5] [--clips 12] [--simulated 100000] [--quick]

Clips of ten seconds are cut from a film of 640x360, proven and published by the very jobs of
`dance fetch`, starting the workers included; the ways take turns. For what dispatching itself takes,
in processor time and memory, the workers only say that they have cut a clip, and all else is as in
a fetch: jobs, permission, the ledger, the report of progress. The status is 1 if a bar is missed.
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

from cutting_ground import ManyJobs, cut_all, make_film, pretend
from side_by_side import Bar, Cost, figures, middle, take_turns, tell

from dancecli import ledger
from dancecli.dataset.dispatch import Dispatcher, JobPlan
from dancecli.dataset.phases import Phase
from dancecli.engine.choice import LOCAL
from dancecli.engine.limiter import BreakerSettings
from dancecli.schema import Progress
from dancecli.workspace import Workspace

ONE, TWO = "one worker", "two workers"
FIRST = 1000
LEAST_FASTER, MOST_MS, FLAT = 1.8, 5.0, 1.1


def main() -> int:
    """Measure, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clips", type=int, default=12, help="to cut in each turn")
    parser.add_argument("--simulated", type=int, default=100_000)
    parser.add_argument("--quick", action="store_true", help="two rounds, and a twentieth of the clips")
    asked = parser.parse_args()
    if asked.quick:
        asked.rounds, asked.clips, asked.simulated = 2, 8, 5000
    with TemporaryDirectory() as folder:
        parent_ms, curve = dispatched(Path(folder) / "simulated", asked.simulated)
        film = make_film(Path(folder) / "film.mp4")
        ways = {
            name: partial(_turn, workers, film, Path(folder) / "space", asked.clips)
            for name, workers in ((ONE, 1), (TWO, 2))
        }
        found = take_turns(ways, asked.rounds)
    ratios = [one.clock_s / two.clock_s for one, two in zip(found[ONE], found[TWO], strict=True)]
    first, most = curve[0][1], max(mib for _, mib in curve)
    bars = [
        Bar(
            f"two workers cut at least {LEAST_FASTER} times as fast as one, by the clock",
            f"{statistics.median(ratios):.2f} (rounds {', '.join(f'{r:.2f}' for r in sorted(ratios))})",
            statistics.median(ratios) >= LEAST_FASTER,
        ),
        Bar(f"the dispatcher takes at most {MOST_MS} ms a clip", f"{parent_ms:.2f} ms", parent_ms <= MOST_MS),
        Bar(
            f"its memory from {FIRST} to {asked.simulated} clips, most of first below {FLAT}",
            f"{first:.1f} to {most:.1f} MiB, {most / first:.3f}",
            most / first < FLAT,
        ),
    ]
    middles = {name: middle(costs) for name, costs in found.items()}
    rows = [
        (name, asked.clips, f"{cost.clock_s:.2f} s", f"{cost.clock_s / asked.clips:.3f} s")
        for name, cost in middles.items()
    ]
    measured: dict[str, Any] = {name: figures(cost) for name, cost in middles.items()}
    measured |= {"clips": asked.clips, "rounds": asked.rounds, "dispatch_ms": round(parent_ms, 3)}
    measured["rss_mib"] = [[clips, round(mib, 1)] for clips, mib in curve]
    return tell("engine", measured, bars, ("engine", "clips", "clock", "a clip"), rows)


def _turn(workers: int, film: Path, root: Path, clips: int) -> Cost:
    return Cost(cpu_s=0.0, clock_s=cut_all(LOCAL, workers, film, root, clips))


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

    phase = Phase("folder", ManyJobs(root, clips), pretend, None, BreakerSettings(), online=False)
    plan = JobPlan(
        phase=phase, num_asked=clips, num_done=0, engine=LOCAL, workers=2, tries=3, backoff_s=1,
        timeout_s=60, min_free_bytes=0,
    )  # fmt: skip
    started_s = time.process_time()
    with ledger.LedgerWriter(root / "ledger.db") as writer:
        Dispatcher(Workspace(root), plan, writer, watch).run()
    seconds = time.process_time() - started_s
    standing = len(ledger.latest(root))
    if standing != clips:
        raise SystemExit(f"{standing} of {clips} clips are in the ledger")
    return 1000 * seconds / clips, curve


if __name__ == "__main__":
    raise SystemExit(main())
