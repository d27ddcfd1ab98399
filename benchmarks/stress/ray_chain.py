"""`dance fetch` and `dance split` over a Ray cluster at a hundred thousand rows.

    python -m benchmarks.stress.ray_chain [--rows 100000] [--nodes 4] [--local]

The rows are made up, two clips of each video, and a job stores a few bytes in place of a clip;
lists, jobs, messages, ledger, manifest, checks of what is on disk and the split are those of the
commands. So this measures what is around the cutting: rows a second, and the memory of the
dispatching process. The nodes are on this machine, one core each. `--local` does the same with the
local engine.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from benchmarks.lib.cut_workload import write_token
from benchmarks.lib.fetch_workload import LABEL, Bar, tell, write_list
from benchmarks.suites.cluster import cluster
from dancecli.dataset.fetch import fetch as fetching
from dancecli.dataset.fetch import jobs
from dancecli.dataset.fetch.settings import FetchSettings
from dancecli.dataset.split.split import SplitSettings, split
from dancecli.engine.factory import LOCAL, RAY
from dancecli.storage.workspace import Workspace

LARGEST_MIB = 1024


def main() -> int:
    """Measure, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--local", action="store_true", help="processes of this machine in place of nodes")
    asked = parser.parse_args()
    with contextlib.ExitStack() as opened:
        base = Path(opened.enter_context(TemporaryDirectory()))
        start_s = 0.0 if asked.local else opened.enter_context(cluster(asked.nodes))
        opened.enter_context(mock.patch.object(fetching, "plan_source", plan_tokens))
        rows = [(f"v{i // 2:09d}", 20 * (i % 2), 20 * (i % 2) + 10) for i in range(asked.rows)]
        (base / "labels.txt").write_text(f"{LABEL}\n")
        settings = FetchSettings(
            annotations=(write_list(base / "list.csv", rows),),
            labels=base / "labels.txt",
            url_template="http://127.0.0.1:9/{video_id}",
            engine=LOCAL if asked.local else RAY,
            workers=asked.nodes,
            min_free_gb=0,
        )
        workspace = Workspace(base / "workspace")
        workspace.root.mkdir()
        before_mib, begun_s = peak_mib(), time.perf_counter()
        result = fetching.fetch(workspace, settings)
        fetched_s, fetched_mib = time.perf_counter() - begun_s, peak_mib()
        begun_s = time.perf_counter()
        again = fetching.fetch(workspace, settings)
        again_s = time.perf_counter() - begun_s
        begun_s = time.perf_counter()
        made = split(workspace, SplitSettings())
        split_s = time.perf_counter() - begun_s
    print(
        f"cluster of {asked.nodes} nodes started in {start_s:.1f} s\n"
        f"fetch {asked.rows} rows: {fetched_s:.1f} s, {asked.rows / fetched_s:.0f} rows a second; "
        f"peak {before_mib:.0f} MiB before, {fetched_mib:.0f} MiB after\n"
        f"fetch again: {again_s:.1f} s; split: {split_s:.1f} s; peak of all {peak_mib():.0f} MiB"
    )
    return tell(
        [
            Bar("clips of the fetch", f"{result.num_done} of {asked.rows}", result.complete),
            Bar("sources worked on by the second fetch", str(again.num_attempted), not again.num_attempted),
            Bar("clips of the split", str(len(made.clips)), len(made.clips) == asked.rows),
            Bar(f"peak memory below {LARGEST_MIB} MiB", f"{peak_mib():.0f} MiB", peak_mib() < LARGEST_MIB),
        ]
    )


_plan_source = jobs.plan_source


def plan_tokens(*args: Any) -> jobs.SourcePlan:
    """Plan a source as a fetch does, with tokens in place of clips."""
    return replace(_plan_source(*args), work=write_token)


def peak_mib() -> float:
    """The largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
