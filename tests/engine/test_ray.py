"""The pool over a cluster of several nodes, which all run on this machine."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import engine_jobs as jobs
from helpers import video_site
from helpers.processes import alive, wait_for
from helpers.video_site import ServedVideos

from dancecli.core.errors import EngineError
from dancecli.core.hashing import sha256_file
from dancecli.core.records import Clip, OutcomeClass
from dancecli.dataset.fetch.fetch import fetch
from dancecli.dataset.quality.verify import verify
from dancecli.engine.factory import open_pool
from dancecli.engine.pool import Pool
from dancecli.engine.rate_limit import RateLimiter
from dancecli.engine.worker import Work
from dancecli.storage import ledger, tables
from dancecli.storage.workspace import Workspace

source_video, served = video_site.source_video, video_site.served
_STORE = {"object_store_memory": 80 << 20}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without work, a node that may ask sites, and one that may not."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        # Nodes import the tests' jobs by name, as workers of this machine do.
        patch.setenv("PYTHONPATH", str(Path(jobs.__file__).parents[1]))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Else it would leave a token in the home folder.
        patch.setenv("RAY_AUTH_MODE", "disabled")
        head = {"num_cpus": 0, "include_dashboard": False, **_STORE}
        made = Cluster(initialize_head=True, head_node_args=head)
        made.add_node(num_cpus=1, resources={"egress": 1}, env_vars={"TEST_NODE": "outside"}, **_STORE)
        made.add_node(num_cpus=1, env_vars={"TEST_NODE": "inside"}, **_STORE)
        patch.setenv("RAY_ADDRESS", made.address)
        yield made
        made.shutdown()


def pool_of(work: Work, root: Path, workers: int = 2, deadline_s: float = 60, **more: Any) -> Pool[Any, Any]:
    return open_pool("ray", work, workers, deadline_s, root=root, **more)


def test_every_node_takes_part(cluster: Any, tmp_path: Path) -> None:
    with pool_of(jobs.where, tmp_path, workers=0) as pool:
        nodes = [f.result for f in pool.run([tmp_path / "a", tmp_path / "b"]) if f]
    assert sorted(nodes) == ["inside", "outside"]


def test_what_asks_a_site_is_done_where_that_is_offered(cluster: Any, tmp_path: Path) -> None:
    (tmp_path / "nobody.here").touch()
    with pool_of(jobs.where, tmp_path, workers=0, egress=True) as pool:
        nodes = [f.result for f in pool.run([tmp_path / f"{i}" for i in range(6)]) if f]
    assert nodes == ["outside"] * 6


def test_one_rate_for_the_whole_cluster(cluster: Any, tmp_path: Path) -> None:
    with pool_of(jobs.asking, tmp_path, limiter=RateLimiter(3600 * 10)) as pool:
        times = sorted(f.result for f in pool.run(range(8)) if f and f.result)
    assert len(times) == 8
    assert times[-1] - times[0] > 7 * 0.1 - 0.05


def test_a_worker_that_dies_or_takes_too_long_costs_one_attempt(cluster: Any, tmp_path: Path) -> None:
    note, outcomes = tmp_path / "pids", []
    with pool_of(jobs.dies_once, tmp_path) as pool:
        for finished in pool.run([tmp_path / "mark"]):
            if finished:
                outcomes.append((finished.result, finished.lost))
                if finished.lost:
                    pool.requeue(finished.job, 0.1)
    with pool_of(jobs.hangs_with_a_child, tmp_path, deadline_s=1) as pool:
        outcomes += [(f.result, f.lost) for f in pool.run([note]) if f]
    assert outcomes == [(None, "worker-died"), ("survived", ""), (None, "timeout")]
    assert wait_for(lambda: not any(alive(int(pid)) for pid in note.read_text().split()))


def test_a_result_comes_in_parts(cluster: Any, tmp_path: Path) -> None:
    with pool_of(jobs.counts, tmp_path) as pool:
        finished = [(f.result, f.more, f.lost) for f in pool.run([3]) if f]
    assert finished == [(i, True, "") for i in range(3)] + [("all", False, "")]


def test_a_bug_in_a_job_costs_that_job_alone(cluster: Any, tmp_path: Path) -> None:
    with pool_of(jobs.fails_at_three, tmp_path) as pool:
        lost = {f.job: f.lost for f in pool.run(range(6)) if f}
    assert lost == {0: "", 1: "", 2: "", 3: "crash", 4: "", 5: ""}


def test_a_node_without_the_workspace_is_refused(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dancecli.engine import ray

    absent = contextlib.nullcontext((tmp_path / "space" / ".locks" / "proof", "token"))
    monkeypatch.setattr(ray, "_probe_file", lambda _: absent)
    with (
        pytest.raises(EngineError, match=r"^node \S+ does not see .*/space$"),
        pool_of(jobs.double, tmp_path) as pool,
    ):
        list(pool.run([1]))


def test_a_node_dies_in_the_middle_of_a_fetch(
    cluster: Any, served: ServedVideos, workspace: Workspace
) -> None:
    ids = [f"-v{i:02d}" for i in range(20)]
    served.want(*(f"zumba,{video_id},1,3" for video_id in ids))
    doomed = cluster.add_node(num_cpus=1, resources={"egress": 1}, **_STORE)
    in_flight: set[str] = set()

    def kill() -> None:
        while len(set(served.asked)) < 8:
            time.sleep(0.01)
        # Before, since the node takes its time to go, in which others do again what it was at.
        published = {path.stem.rsplit("_", 2)[0] for path in (workspace.root / "clips").rglob("*.mp4")}
        cluster.remove_node(doomed, allow_graceful=False)
        in_flight.update(set(served.asked) - published)

    killer = threading.Thread(target=kill)
    killer.start()
    result = fetch(workspace, served.settings(engine="ray", workers=0))
    killer.join()
    assert result.outcomes[OutcomeClass.DONE] == 20
    clips = tables.read(workspace.clips, Clip)
    assert {clip.video_id for clip in clips} == set(ids)
    for clip in clips:
        assert sha256_file(workspace.root / clip.path) == clip.sha256
        assert [o.outcome for o in ledger.history(workspace.root, clip.clip_id)] == [OutcomeClass.DONE]
    often = Counter(served.asked)
    twice = {video_id for video_id in ids if often[video_id] > min(often.values())}
    assert in_flight
    assert twice <= in_flight
    checked = verify(workspace, engine="ray")
    assert (checked.num_clips, checked.missing, checked.changed) == (20, (), ())


def test_without_a_cluster_at_the_address_it_is_said(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(EngineError, match=r"at 127\.0\.0\.1:1"), pool_of(jobs.double, tmp_path) as pool:
        list(pool.run([1]))
