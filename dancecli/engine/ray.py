"""Many jobs over the nodes of a Ray cluster.

An actor on a node that holds a worker process, the same as the local engine's: whatever
ends the actor ends the process and what it started. The dispatcher stays in the command: it hands
out the jobs, grants permits to contact a site for the whole cluster, and takes the results, so the
ledger has one writer. Ray itself repeats nothing. What crosses the network is paths and records;
the files lie where all nodes see them under the same path.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import platform
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ray

from dancecli.core.errors import EngineError
from dancecli.engine.local import WorkerProcess
from dancecli.engine.pool import STARTING_S, Finished, Job, Pool, Result, Worker, WorkerExitedError
from dancecli.engine.rate_limit import RateLimiter
from dancecli.engine.worker import MessageKind, Work

# The resource of a node that may contact sites: so many actors at once.
EGRESS = "egress"
# Nodes that a job may lose before it is lost itself.
_MAX_NODES_PER_JOB = 3
# A shared file system may show a new file late.
_FILE_VISIBLE_S = 3.0
_CONNECT_S = 5.0
_KILL_WAIT_S = 10.0
# The minimum of Ray: only paths and records pass through it.
_STORE_BYTES = 80 << 20


class RayPool(Pool[Job, Result]):
    """A pool of actors in a cluster: in the running one, else in a new one of this machine alone.

    A job whose node is lost before it delivered anything is run on another one, up to three times.

    Args:
        work: see `Pool`.
        workers: their number; 0 for one for each core of the cluster.
        deadline_s: see `Pool`.
        limiter: see `Pool`.
        root: the folder that all nodes must see.
        egress: only nodes that offer `egress` may do the work, if any node offers it.
    """

    def __init__(
        self,
        work: Work,
        workers: int,
        deadline_s: float,
        limiter: RateLimiter | None,
        *,
        root: Path,
        egress: bool,
        gpu: bool = False,
    ) -> None:
        super().__init__(work, workers, deadline_s, limiter)
        self._root = root
        self._egress, self._gpu = egress, gpu
        self._num_gpus = 0.0
        self._lost_nodes: dict[int, tuple[Job, int]] = {}
        self._alive_s = 0.0
        self._open = contextlib.ExitStack()

    def __exit__(self, *how: object) -> None:
        super().__exit__(*how)
        self._open.close()

    def run(self, jobs: Iterable[Job]) -> Iterator[Finished[Job, Result] | None]:
        """Do the jobs; see `Pool.run`. Without jobs, no cluster is contacted.

        Raises:
            RuntimeError: a job raised what it should have handled.
            EngineError: the cluster cannot be reached, offers nothing, or has a node that does not fit.
        """
        if isinstance(jobs, Sized) and not len(jobs):
            return
        self._open.enter_context(_connected())
        self._proof = self._open.enter_context(_probe_file(self._root))
        self._resources, places = _resources_offered(egress=self._egress, gpu=self._gpu)
        # Ray shows a worker the GPUs that it asks for, and no others.
        self._num_gpus = self._resources.pop("GPU", 0.0)
        self._num_workers = self._num_workers or places
        if not self._num_workers:
            raise EngineError("the Ray cluster offers no CPU", "add a node: ray start --address HEAD:6379")
        self._alive_s = time.monotonic()
        yield from super().run(jobs)

    def _idle_worker(self) -> Worker[Job] | None:
        while len(self._workers) < self._num_workers:
            self._workers.append(_RayWorker(self._work, self._proof, self._resources, self._num_gpus))
        # An actor that is not placed yet gets no job: its node may be lost.
        return next((w for w in self._workers if w.started and not w.busy), None)

    def _wait_ready(self, timeout_s: float) -> Sequence[Worker[Job]]:
        waiting = {w.call: w for w in self._workers if isinstance(w, _RayWorker) and w.call is not None}
        if not waiting:
            time.sleep(timeout_s)
            return []
        ready, _ = ray.wait(list(waiting), num_returns=1, timeout=timeout_s)
        if ready:
            ready, _ = ray.wait(list(waiting), num_returns=len(waiting), timeout=0)
        if any(worker.started for worker in self._workers):
            self._alive_s = time.monotonic()
        elif time.monotonic() - self._alive_s > STARTING_S:
            raise EngineError(
                f"no node of the cluster had a free CPU for {STARTING_S:.0f} s",
                "check it with ray status; what was done is kept",
            )
        return [waiting[call] for call in ready]

    def _worker_lost(self, worker: Worker[Job], gone: WorkerExitedError) -> Finished[Job, Result] | None:
        if isinstance(gone, _ActorLostError) and worker.job is not None and not worker.has_partial:
            job = worker.job
            _, lost_before = self._lost_nodes.get(id(job), (job, 0))
            if lost_before < _MAX_NODES_PER_JOB:
                self._lost_nodes[id(job)] = (job, lost_before + 1)
                self._remove(worker)
                self.requeue(job, 0)
                return None
        return super()._worker_lost(worker, gone)


class _ActorLostError(WorkerExitedError):
    """The actor was lost, not only its worker process: usually its node."""


class _WorkerActor:
    """The actor: forwards messages between the dispatcher and a worker process."""

    def __init__(self, work: bytes) -> None:
        self._worker = WorkerProcess(reparent=True)
        self._worker.pipe.send(list(sys.path))
        self._worker.pipe.send_bytes(work)

    def start(self, proof: Path, token: str, ours: str) -> bytes:
        """Wait for the process to start, and check that this node fits.

        Args:
            proof: a file that all nodes are to see.
            token: what it holds.
            ours: the version of dance that the dispatcher has.
        """
        heard = self.receive()
        node, theirs = platform.node(), version("dancecli")
        if pickle.loads(heard)[0] is MessageKind.EXITED:  # noqa: S301 - from our own process
            unfit = (f"node {node}: no worker process starts there", "try dance doctor on it")
        elif theirs != ours:
            unfit = (f"node {node} has dancecli {theirs}, this machine {ours}", "install the same on both")
        elif not _file_holds(proof, token):
            unfit = (
                f"node {node} does not see {proof.parent.parent}",
                "put the workspace on a disk that all nodes see under the same path",
            )
        else:
            return heard
        return pickle.dumps((MessageKind.UNFIT, unfit))

    def send(self, message: bytes) -> bytes:
        """Forward a message, and return the response."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._worker.pipe.send_bytes(message)
        return self.receive()

    def receive(self) -> bytes:
        """Return the next message of the process; `EXITED` if it has ended."""
        try:
            return self._worker.pipe.recv_bytes()
        except (EOFError, OSError):
            return pickle.dumps((MessageKind.EXITED, f"its process ended with status {self._worker.kill()}"))


class _RayWorker(Worker[Job]):
    """The dispatcher's view of an actor: one call is open at a time, which returns the worker's message.

    Attributes:
        call: the open call; None while the worker waits for a message.
    """

    def __init__(
        self, work: Work, proof: tuple[Path, str], resources: dict[str, float], num_gpus: float
    ) -> None:
        super().__init__()
        # Ray itself must retry nothing: the dispatcher knows what may be repeated.
        actor: Any = ray.remote(_WorkerActor).options(
            num_cpus=1,
            num_gpus=num_gpus,
            resources=resources,
            scheduling_strategy="SPREAD",
            max_restarts=0,
            max_task_retries=0,
        )
        self._actor = actor.remote(pickle.dumps(work))
        self.call: Any = self._actor.start.remote(*proof, version("dancecli"))

    def send(self, what: object) -> None:
        self.call = self._actor.send.remote(pickle.dumps(what))

    def resume(self) -> None:
        self.call = self._actor.receive.remote()

    def receive(self) -> tuple[MessageKind, Any]:
        call, self.call = self.call, None
        try:
            message: tuple[MessageKind, Any] = pickle.loads(ray.get(call))  # noqa: S301 - from our own worker
        except ray.exceptions.RayActorError as error:
            if error.actor_init_failed:
                raise EngineError(
                    f"a node of the cluster cannot start a worker: {_last_line(error)}",
                    "install the same dancecli and Python on every node",
                ) from None
            raise _ActorLostError("its node was lost") from None
        except (ray.exceptions.ObjectLostError, ray.exceptions.NodeDiedError):
            raise _ActorLostError("its node was lost") from None
        what, payload = message
        if what is MessageKind.UNFIT:
            raise EngineError(*payload)
        if what is MessageKind.EXITED:
            raise WorkerExitedError(payload)
        return message

    def shut_down(self) -> None:
        ray.kill(self._actor)

    def kill(self, _: float = 0.0, /) -> None:
        ray.kill(self._actor)
        # It has ended once a call to it fails; until then its job must not be handed to another one.
        ray.wait([self.call or self._actor.receive.remote()], timeout=_KILL_WAIT_S)


@contextlib.contextmanager
def _connected() -> Iterator[None]:
    """Connect to a cluster; one that is started for this is stopped with it."""
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS", "")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    hint = (
        "set RAY_ADDRESS to that of ray start --head, or unset it for this machine alone; "
        "a cluster with a token needs RAY_AUTH_MODE=token here, too"
    )
    _check_reachable(address, hint)
    try:
        try:
            ray.init(address=address or "auto", **quiet)
        except ConnectionError:
            if address:
                raise
            # Ray reports usage statistics to its makers by default.
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            ray.init(address="local", include_dashboard=False, object_store_memory=_STORE_BYTES, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        at = f" at {address}" if address else ""
        raise EngineError(f"no Ray cluster can be used{at}: {_last_line(error)}", hint) from None
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str, hint: str) -> None:
    """Fail at once if nothing listens there: Ray itself retries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal()):
        return
    try:
        socket.create_connection((host, int(port)), _CONNECT_S).close()
    except OSError as error:
        raise EngineError(f"there is no Ray cluster at {address} ({error.strerror or error})", hint) from None


@contextlib.contextmanager
def _probe_file(root: Path) -> Iterator[tuple[Path, str]]:
    """Write a file by which nodes recognize the shared folder; yield its path and content."""
    token = secrets.token_hex(8)
    path = root / ".locks" / f"engine-{token}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(token, encoding="utf-8")
    try:
        yield path, token
    finally:
        path.unlink(missing_ok=True)


def _file_holds(path: Path, token: str) -> bool:
    """Return whether a file exists and holds a text."""
    end_s = time.monotonic() + _FILE_VISIBLE_S
    while True:
        with contextlib.suppress(OSError):
            if path.read_text(encoding="utf-8") == token:
                return True
        if time.monotonic() > end_s:
            return False
        time.sleep(0.1)


def _resources_offered(*, egress: bool, gpu: bool = False) -> tuple[dict[str, float], int]:
    """Return what an actor requires, and how many of them fit into the cluster."""
    list_nodes: Callable[[], list[dict[str, Any]]] = ray.nodes
    nodes = [node["Resources"] for node in list_nodes() if node["Alive"]]
    required = {EGRESS: 1.0} if egress and any(EGRESS in node for node in nodes) else {}
    if gpu and any("GPU" in node for node in nodes):
        required["GPU"] = 1.0
    each = {"CPU": 1.0, **required}
    return required, sum(int(min(node.get(name, 0.0) for name in each)) for node in nodes)


def _last_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[-1].strip()
