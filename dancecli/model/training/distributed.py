"""One run in several processes: on this machine by `--gpus`, on several by torchrun or Slurm.

Each process trains on its share of every batch and gradients are averaged; batch norm and dropout act
on the whole batch (`sync_layers`), so the steps are those of one process. Rank 0 alone writes, reports
and evaluates. The processes find each other by the environment variables of torchrun (RANK,
WORLD_SIZE) or of Slurm's srun (SLURM_PROCID, SLURM_STEP_NUM_TASKS).
"""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import IO, TYPE_CHECKING, Any

from dancecli.core.errors import ModelError, UsageError
from dancecli.core.text import pluralize

if TYPE_CHECKING:
    from torch import Tensor
    from torch._C._distributed_c10d import Store

# A process that failed ends the others; their own errors are not the cause.
_PATIENCE_S = 20.0
# The others wait while the first evaluates one stream before both train the next. Torch's ten minutes would
# end that; a process that has died is noticed by whoever started it.
_MEETING_S = 24 * 3600
# Distance of the ranks' seeds, larger than any number of steps.
_RANK_STRIDE = 500_000_003
# All processes train the same runs in the same order.
_groups = itertools.count()


@dataclass(frozen=True)
class RankInfo:
    """Which of a run's processes this one is.

    Attributes:
        rank: counted from 0; 0 writes.
        size: how many there are.
        launcher: what started them, as mmengine names it: `none`, `pytorch` or `slurm`.
    """

    rank: int = 0
    size: int = 1
    launcher: str = "none"

    @property
    def first(self) -> bool:
        """Whether this one writes, reports and evaluates."""
        return self.rank == 0


SINGLE_PROCESS = RankInfo()


def get_rank_info() -> RankInfo:
    """Read from the environment which process of how many this is."""
    for rank, size, launcher in (
        ("RANK", "WORLD_SIZE", "pytorch"),
        # Not SLURM_NTASKS: a job's script has it too, and is a single process until it calls srun.
        ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "slurm"),
    ):
        if int(os.environ.get(size) or 1) > 1 and rank in os.environ:
            return RankInfo(int(os.environ[rank]), int(os.environ[size]), launcher)
    return SINGLE_PROCESS


def refuse_too_many(processes: int) -> None:
    """Refuse more processes than GPUs; without GPUs they share the processor.

    Raises:
        UsageError: there are fewer GPUs.
    """
    import torch

    count = torch.cuda.device_count()
    if 0 < count < processes:
        raise UsageError(f"this machine has {count} GPUs, not {processes}", f"use --gpus {count}")


def launch(processes: int, arguments: Sequence[str]) -> int:
    """Run `dance ARGUMENTS` in several processes on this machine, and give the exit code.

    Torchrun would do it too, with forty lines of its own on a failure. Ctrl-C reaches all of them from
    the terminal.

    Args:
        processes: how many.
        arguments: without the program's name; they name the run, so that all processes use the same.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {
        **os.environ,
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        # More threads than cores only slow each other down.
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS")
        or str(max(1, (os.cpu_count() or 1) // processes)),
        # Warnings of torch are for developers; errors are still printed.
        "TORCH_CPP_LOG_LEVEL": os.environ.get("TORCH_CPP_LOG_LEVEL", "ERROR"),
    }
    command = [sys.executable, "-m", "dancecli", *arguments]
    children = [
        subprocess.Popen(
            command,
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=None if rank == 0 else subprocess.DEVNULL,
        )
        for rank in range(processes)
    ]
    return _wait(children)


@dataclass(frozen=True)
class Beside:
    """A process beside this one.

    Attributes:
        process: it.
        said: what it writes to its stderr.
    """

    process: subprocess.Popen[bytes]
    said: IO[bytes]

    def wait(self) -> str:
        """Wait until it has ended, and give the last line that it said if it failed; else nothing."""
        try:
            code = self.process.wait()
        except KeyboardInterrupt:
            # The terminal has interrupted it too.
            self.process.wait()
            raise
        with self.said:
            self.said.seek(0)
            lines = self.said.read().decode(errors="replace").strip().splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        return (errors or lines or [f"exit code {code}"])[-1].removeprefix("error: ") if code else ""


def launch_beside(processes: int, arguments: Sequence[str]) -> list[Beside]:
    """Run `dance ARGUMENTS` in further processes beside this one, each with a GPU of its own.

    This process keeps the first GPU. Without GPUs all share the processor. Two progress bars on one terminal
    could not be read: what the others say is kept apart.

    Args:
        processes: how many there are, this one included.
        arguments: without the program's name.
    """
    import torch

    count = torch.cuda.device_count()
    shown = (os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(count)))).split(",")

    def visible(rank: int) -> dict[str, str]:
        return {"CUDA_VISIBLE_DEVICES": shown[rank]} if count else {}

    command = [sys.executable, "-m", "dancecli", *arguments]
    others = []
    for rank in range(1, processes):
        said = tempfile.TemporaryFile()  # noqa: SIM115 - it is read when the process has ended
        env = {**os.environ, **visible(rank)}
        process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=said)
        others.append(Beside(process, said))
    os.environ.update(visible(0))
    return others


def _wait(children: list[subprocess.Popen[bytes]]) -> int:
    """Wait until all have ended; the first that fails gives the code, and ends the others."""
    failed = 0
    left = list(children)
    while left:
        try:
            for child in list(left):
                code = child.poll()
                if code is None:
                    continue
                left.remove(child)
                if code and not failed:
                    failed = code
                    _end(left)
            if left:
                left[0].wait(0.2)
        except subprocess.TimeoutExpired:
            continue
        except KeyboardInterrupt:
            # The terminal has sent it to them too: rank 0 saves its state.
            failed = failed or 128 + signal.SIGINT
            for child in left:
                child.send_signal(signal.SIGINT)
    return failed if failed >= 0 else 128 - failed


def _end(children: list[subprocess.Popen[bytes]]) -> None:
    """Give the others time to notice that one has ended, which rank 0 records; then end them."""
    for child in children:
        try:
            child.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            child.kill()


def init_process_group(here: RankInfo, *, gpu: bool) -> None:
    """Join the process group, once; no effect in a single process.

    Raises:
        ModelError: Slurm does not name the first node.
    """
    if here.size == 1:
        return
    import torch
    import torch.distributed as dist
    from torch.distributed.distributed_c10d import PrefixStore

    if dist.is_initialized():
        return
    if here.launcher == "slurm":
        os.environ.update(_torchrun_variables(here, torch.cuda.device_count()))
    if gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    wait = timedelta(seconds=_MEETING_S)
    # Each group under keys of its own: by those of the run before, a process that is early would find
    # connections that are closed, and all would wait forever.
    store = PrefixStore(f"run-{next(_groups)}", _meeting_store())
    backend = "nccl" if gpu else "gloo"
    dist.init_process_group(backend, timeout=wait, store=store, rank=here.rank, world_size=here.size)


@cache
def _meeting_store() -> Store:
    """Connect, once for all runs of this process, to where the processes find each other."""
    from torch.distributed.rendezvous import rendezvous

    store: Store = next(rendezvous("env://", timeout=timedelta(seconds=_MEETING_S)))[0]
    return store


def _torchrun_variables(here: RankInfo, gpus: int) -> dict[str, str]:
    """Set torchrun's variables from those of srun; an address or port that the user set is kept."""
    nodes = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_JOB_NODELIST") or ""
    address = os.environ.get("MASTER_ADDR")
    if not address:
        command = ["scontrol", "show", "hostnames", nodes]
        try:
            listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        except (OSError, subprocess.CalledProcessError):
            listed = []
        if not listed:
            raise ModelError(
                f"the first of the nodes {nodes} is unknown",
                "set MASTER_ADDR to the name of the first node",
            )
        address = listed[0]
    # Two jobs on one node must not take the same.
    port = 20_000 + int(os.environ.get("SLURM_JOB_ID") or 0) % 10_000
    # Where each process is shown a GPU of its own, that one is number 0 for all of them.
    local = int(os.environ.get("SLURM_LOCALID") or 0) % max(1, gpus)
    return {
        "RANK": str(here.rank),
        "WORLD_SIZE": str(here.size),
        "LOCAL_RANK": str(local),
        "MASTER_ADDR": address,
        "MASTER_PORT": os.environ.get("MASTER_PORT") or str(port),
    }


@contextmanager
def process_group(here: RankInfo) -> Iterator[None]:
    """Train within the process group, and leave it: what follows is for rank 0 alone.

    Raises:
        ModelError: another process has ended; its own error is the cause.
    """
    import torch.distributed as dist

    try:
        yield
        if here.size > 1:
            dist.destroy_process_group()
    except RuntimeError as error:
        if here.size == 1 or not any(word in str(error).lower() for word in ("gloo", "nccl", "peer")):
            raise
        raise ModelError("another process of this run has ended", "see its error above") from error


def per_rank_batch_size(batch: int, processes: int) -> int:
    """Return the batch size of each process.

    Raises:
        UsageError: it cannot be divided evenly.
    """
    if batch % processes:
        raise UsageError(
            f"a batch of {pluralize(batch, 'clip')} cannot be divided among {processes} processes",
            f"use a --batch that is a multiple of {processes}",
        )
    return batch // processes


def rank_seed(seed: int, rank: int) -> int:
    """Return the seed of a process: no two draw the same numbers; rank 0 keeps the seed."""
    return seed + rank * _RANK_STRIDE


def mean_over_processes(values: Sequence[float]) -> list[float]:
    """Average numbers over all processes; unchanged in a single process."""
    import torch
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return list(values)
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    tensor = torch.tensor(list(values), dtype=torch.float64, device=device)
    dist.all_reduce(tensor)
    return [float(value) / dist.get_world_size() for value in tensor]


def mean_tensors(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Average tensors of the same names over all processes, as copies; unchanged in a single process."""
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return dict(named)
    means = {name: tensor.clone() for name, tensor in named.items()}
    for tensor in means.values():
        dist.all_reduce(tensor)
        tensor.div_(dist.get_world_size())
    return means


def wrapper(*, gpu: bool) -> dict[str, Any]:
    """Configure the wrapper that averages the gradients of a model."""
    # What is frozen has no gradient, and a backbone may freeze only once it is wrapped.
    shared = {"type": "MMDistributedDataParallel", "find_unused_parameters": True}
    # mmengine would name a GPU on a machine that has none.
    return shared if gpu else {**shared, "device_ids": None}


def unwrapped(model: Any) -> Any:
    """Return the model inside the wrapper that averages its gradients."""
    return getattr(model, "module", model)
