"""What Ray gives and costs: two nodes beside one local worker, and beside two.

    python -m benchmarks.suites.cluster [--rounds 3] [--clips 16] [--quick]

The nodes are on this machine, one core each, so this measures the engine and not a network. The
work is that of the engine benchmark: clips of ten seconds, cut, validated and committed by the jobs
of `dance fetch`, from the moment when all workers are up; starting them is reported separately, and
so is starting the cluster. One local worker is measured twice, as it is and pinned to one core. The
cost of a job beside its work is measured with empty jobs. Ray starts its workers with lower
priority than others; here they have the same. The lower bound is two local workers.
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

from benchmarks.lib.compare import Cost, figures, middle, spread, take_turns, tell
from benchmarks.lib.cut_workload import ManyJobs, cut_all, make_film, pretend, run_all
from benchmarks.suites.engine import ALONE, ONE, TWO, faster_bar
from dancecli.engine.factory import LOCAL, RAY

NODES = "two Ray nodes"
WAYS = {ALONE: (LOCAL, 1, 1), ONE: (LOCAL, 1, 0), TWO: (LOCAL, 2, 0), NODES: (RAY, 2, 0)}
LEAST_FASTER = 1.7


def main() -> int:
    """Measure, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clips", type=int, default=16, help="to cut in each turn")
    parser.add_argument("--empty", type=int, default=3000, help="jobs that do nothing")
    parser.add_argument("--quick", action="store_true", help="one round of few clips")
    asked = parser.parse_args()
    if asked.quick:
        asked.rounds, asked.clips, asked.empty = 1, 4, 200
    starts: dict[str, list[float]] = {name: [] for name in WAYS}
    with TemporaryDirectory() as folder, cluster() as start_s:
        film = make_film(Path(folder) / "film.mp4")
        root = Path(folder) / "space"

        def turn(name: str) -> Cost:
            engine, workers, cores = WAYS[name]
            cost, begun_s = cut_all(engine, workers, film, root, asked.clips, cores)
            starts[name].append(begun_s)
            return cost

        found = take_turns({name: partial(turn, name) for name in WAYS}, asked.rounds)
        empty_ms = {name: _empty_ms(*WAYS[name][:2], root, asked.empty) for name in (ONE, TWO, NODES)}
    bars = [
        faster_bar(
            found[slow],
            found[NODES],
            f"two Ray nodes: at least {LEAST_FASTER} times {slow}{more}",
            LEAST_FASTER,
        )
        for slow, more in ((ALONE, ""), (ONE, " that may use both cores"))
    ]
    middles = {name: middle(costs) for name, costs in found.items()}
    rows = [
        (
            name,
            f"{1000 * cost.clock_s / asked.clips:.0f}",
            spread(found[name], clock=True),
            f"{statistics.median(starts[name]):.2f}",
            f"{empty_ms[name]:.2f}" if name in empty_ms else "",
        )
        for name, cost in middles.items()
    ]
    slower = statistics.median(
        ray.clock_s / local.clock_s for ray, local in zip(found[NODES], found[TWO], strict=True)
    )
    measured = {
        "clips": asked.clips,
        "rounds": asked.rounds,
        **{name: figures(cost) for name, cost in middles.items()},
        "ray_over_two_local": round(slower, 3),
        "start_s": {name: round(statistics.median(found), 2) for name, found in starts.items()},
        "empty_job_ms": {name: round(ms, 2) for name, ms in empty_ms.items()},
        "cluster_start_s": round(start_s, 2),
    }
    floor = (
        f"Ray takes {slower:.2f} times as long as two local workers; "
        f"the cluster itself started in {start_s:.1f} s"
    )
    columns = ("engine", "wall ms per clip", "spread", "start, s", "ms per empty job")
    return tell("cluster", measured, bars, columns, rows, floor=floor)


@contextmanager
def cluster(nodes: int = 2) -> Iterator[float]:
    """Start a head and nodes with a core each; give the seconds that it took."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - so Ray calls it
    # Nodes import the jobs by name, as workers of this machine do.
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
    from ray.cluster_utils import Cluster

    started_s = time.perf_counter()
    store = {"object_store_memory": 80 << 20}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **store})
    for _ in range(nodes):
        made.add_node(num_cpus=1, **store)
    os.environ["RAY_ADDRESS"] = made.address
    try:
        yield time.perf_counter() - started_s
    finally:
        made.shutdown()


def _empty_ms(engine: str, workers: int, root: Path, jobs: int) -> float:
    """Give the milliseconds that each further job takes that does nothing."""
    few, many = (run_all(engine, workers, pretend, ManyJobs(root, n), root) for n in (10, 10 + jobs))
    return 1000 * (many - few) / jobs


if __name__ == "__main__":
    raise SystemExit(main())
