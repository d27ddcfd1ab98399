"""What Ray gives and costs: two nodes beside one local worker, and beside two.

    python benchmarks/cluster.py [--rounds 3] [--clips 40] [--quick]

The nodes are on this machine, a core each, so what is measured is the engine and not a network. The
work is that of `engine.py`: clips of ten seconds, cut, proven and published by the jobs of `dance
fetch`; starting the workers is part of every turn, starting the cluster is not, and is told. What a
job costs beside its work is measured with jobs that do none. Ray starts its workers with less
priority than others; here they have the same. The status is 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from cutting_ground import ManyJobs, cut_all, make_film, pretend, run_all
from side_by_side import Bar, Cost, figures, middle, take_turns, tell

from dancecli.engine.choice import LOCAL, RAY

ONE, TWO, NODES = "one local worker", "two local workers", "two Ray nodes"
WAYS = {ONE: (LOCAL, 1), TWO: (LOCAL, 2), NODES: (RAY, 2)}
LEAST_FASTER = 1.7


def main() -> int:
    """Measure, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clips", type=int, default=40, help="to cut in each turn")
    parser.add_argument("--empty", type=int, default=1000, help="jobs that do nothing")
    parser.add_argument("--quick", action="store_true", help="one round of few clips")
    asked = parser.parse_args()
    if asked.quick:
        asked.rounds, asked.clips, asked.empty = 1, 12, 200
    with TemporaryDirectory() as folder, cluster() as start_s:
        film = make_film(Path(folder) / "film.mp4")
        root = Path(folder) / "space"
        found = take_turns(
            {name: partial(_turn, *way, film, root, asked.clips) for name, way in WAYS.items()}, asked.rounds
        )
        costs = {name: _costs(*way, root, asked.empty) for name, way in WAYS.items()}
    faster = _ratios(found[ONE], found[NODES])
    slower = _ratios(found[NODES], found[TWO])
    bars = [
        Bar(
            f"two Ray nodes cut at least {LEAST_FASTER} times as fast as one local worker, by the clock",
            f"{statistics.median(faster):.2f} (rounds {', '.join(f'{r:.2f}' for r in faster)})",
            statistics.median(faster) >= LEAST_FASTER,
        )
    ]
    middles = {name: middle(costs) for name, costs in found.items()}
    rows = [
        (
            name,
            f"{cost.clock_s:.2f} s",
            f"{cost.clock_s / asked.clips:.3f} s",
            f"{costs[name][0]:.2f} s",
            f"{costs[name][1]:.1f} ms",
        )
        for name, cost in middles.items()
    ]
    measured = {
        "clips": asked.clips,
        "rounds": asked.rounds,
        **{name: figures(cost) for name, cost in middles.items()},
        "ray_over_two_local": round(statistics.median(slower), 3),
        "workers_start_s": {name: round(start, 2) for name, (start, _) in costs.items()},
        "empty_job_ms": {name: round(ms, 2) for name, (_, ms) in costs.items()},
        "cluster_start_s": round(start_s, 2),
    }
    return tell("cluster", measured, bars, ("engine", "clock", "a clip", "start", "an empty job"), rows)


@contextmanager
def cluster() -> Iterator[float]:
    """Start a head and two nodes with a core each; give the seconds that it took."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - so Ray calls it
    # Nodes import the jobs by name, as workers of this machine do.
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    from ray.cluster_utils import Cluster

    started_s = time.perf_counter()
    store = {"object_store_memory": 80 << 20}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **store})
    for _ in range(2):
        made.add_node(num_cpus=1, **store)
    os.environ["RAY_ADDRESS"] = made.address
    try:
        yield time.perf_counter() - started_s
    finally:
        made.shutdown()


def _turn(engine: str, workers: int, film: Path, root: Path, clips: int) -> Cost:
    return Cost(cpu_s=0.0, clock_s=cut_all(engine, workers, film, root, clips))


def _costs(engine: str, workers: int, root: Path, jobs: int) -> tuple[float, float]:
    """Give the seconds that a few empty jobs take, and the milliseconds of each further one."""
    few, many = (run_all(engine, workers, pretend, ManyJobs(root, n), root) for n in (10, 10 + jobs))
    return few, 1000 * (many - few) / jobs


def _ratios(slow: list[Cost], fast: list[Cost]) -> list[float]:
    return sorted(one.clock_s / other.clock_s for one, other in zip(slow, fast, strict=True))


if __name__ == "__main__":
    raise SystemExit(main())
