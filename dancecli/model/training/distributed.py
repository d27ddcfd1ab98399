"""One run in several processes: on this machine by `--gpus`, on several by torchrun or Slurm.

Each process sees its share of every batch and the gradients are averaged, so the steps are those
of one process with the whole batch. The first process alone writes, reports and evaluates. The
processes know of each other from the environment, as torchrun (RANK, WORLD_SIZE) and Slurm's
srun (SLURM_PROCID, SLURM_STEP_NUM_TASKS) set it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import ModelError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

# A process that has failed takes the others with it; what they say about that is not the cause.
_PATIENCE_S = 20.0
# Apart from one another in the seeds of a run's steps, whatever their number.
_RANK_STRIDE = 500_000_003


@dataclass(frozen=True)
class RankInfo:
    """Which of a run's processes this one is.

    Attributes:
        rank: counted from 0; 0 writes.
        size: how many there are.
        launcher: who started them, as mmengine names it: `none`, `pytorch` or `slurm`.
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
        # Not SLURM_NTASKS: a job's script has it too, and is alone until it calls srun.
        ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "slurm"),
    ):
        if int(os.environ.get(size) or 1) > 1 and rank in os.environ:
            return RankInfo(int(os.environ[rank]), int(os.environ[size]), launcher)
    return SINGLE_PROCESS


def refuse_too_many(processes: int) -> None:
    """Let no two processes share a GPU; where there is none, they share the processor.

    Raises:
        UsageError: there are fewer GPUs.
    """
    import torch

    count = torch.cuda.device_count()
    if 0 < count < processes:
        raise UsageError(f"this machine has {count} GPUs, not {processes}", f"use --gpus {count}")


def launch(processes: int, arguments: Sequence[str]) -> int:
    """Run `dance ARGUMENTS` in several processes on this machine, and give the exit code.

    Torchrun would do it too, and tells of a failure in forty lines of its own. Ctrl-C reaches all
    of them from the terminal.

    Args:
        processes: how many.
        arguments: without the program's name; they name the run, since all must mean the same one.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {
        **os.environ,
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        # Threads of one process only hinder those of the others.
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS")
        or str(max(1, (os.cpu_count() or 1) // processes)),
        # What torch warns of is for who writes the model; errors still come through.
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
            # The terminal has told them too: the first one writes down where it was.
            failed = failed or 128 + signal.SIGINT
            for child in left:
                child.send_signal(signal.SIGINT)
    return failed if failed >= 0 else 128 - failed


def _end(children: list[subprocess.Popen[bytes]]) -> None:
    """Let the others notice by themselves that one is gone, which the first writes down; then end them."""
    for child in children:
        try:
            child.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            child.kill()


def init_process_group(here: RankInfo, *, gpu: bool) -> None:
    """Meet the other processes, once; nothing for a run of one.

    Raises:
        ModelError: Slurm does not say where they meet.
    """
    if here.size == 1:
        return
    import torch
    import torch.distributed as dist

    if dist.is_initialized():
        return
    if here.launcher == "slurm":
        os.environ.update(_torchrun_variables(here, torch.cuda.device_count()))
    if gpu:
        from dancecli.model.networks.mmaction import init_dist

        init_dist("pytorch", "nccl")
    else:
        # mmengine's own would ask for a GPU's number.
        dist.init_process_group("gloo")


def _torchrun_variables(here: RankInfo, gpus: int) -> dict[str, str]:
    """Say in torchrun's words what srun has told; an address or a port that the user has set is kept."""
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
                f"it cannot be told which of the nodes {nodes} is the first",
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
    """Train with the others, and part from them: what follows is for the first process alone.

    Raises:
        ModelError: one of them has gone; what it said itself is the cause.
    """
    import torch.distributed as dist

    try:
        yield
        if here.size > 1:
            dist.destroy_process_group()
    except RuntimeError as error:
        if here.size == 1 or not any(word in str(error).lower() for word in ("gloo", "nccl", "peer")):
            raise
        raise ModelError("another process of this run has ended", "what it said stands above") from error


def per_rank_batch_size(batch: int, processes: int) -> int:
    """Give a process's share of a batch.

    Raises:
        UsageError: it cannot be divided evenly.
    """
    if batch % processes:
        raise UsageError(
            f"a batch of {batch} clips cannot be shared by {processes} processes",
            f"give a --batch that {processes} divides",
        )
    return batch // processes


def rank_seed(seed: int, rank: int) -> int:
    """Set a process's seed apart, so that no two drop the same units; the first one keeps it."""
    return seed + rank * _RANK_STRIDE


def mean_over_processes(values: Sequence[float]) -> list[float]:
    """Average numbers over all processes; the same ones in a run of one."""
    import torch
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return list(values)
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    tensor = torch.tensor(list(values), dtype=torch.float64, device=device)
    dist.all_reduce(tensor)
    return [float(value) / dist.get_world_size() for value in tensor]


def mean_tensors(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Average tensors of the same names over all processes, as copies; a run of one has them back."""
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return dict(named)
    means = {name: tensor.clone() for name, tensor in named.items()}
    for tensor in means.values():
        dist.all_reduce(tensor)
        tensor.div_(dist.get_world_size())
    return means


def wrapper(*, gpu: bool) -> dict[str, Any]:
    """Configure what shares the gradients of a model."""
    # What is frozen has no gradient, and a backbone may freeze only once it is wrapped.
    shared = {"type": "MMDistributedDataParallel", "find_unused_parameters": True}
    # mmengine would name a GPU on a machine that has none.
    return shared if gpu else {**shared, "device_ids": None}


def unwrapped(model: Any) -> Any:
    """Take a model out of what shares its gradients."""
    return getattr(model, "module", model)
