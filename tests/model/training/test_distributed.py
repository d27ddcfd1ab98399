"""A run in two processes does the steps of a run in one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dancecli.core.errors import ModelError, UsageError
from dancecli.model.networks.mmaction import read_checkpoint
from dancecli.model.runs.plan import Execution, FinetuneSettings, make_plan
from dancecli.model.training import distributed
from dancecli.storage import runs as rec


def dance(root: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dancecli", *words, "--workspace", str(root)],
        env={**os.environ, **env}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def losses(workspace, run):
    rows = map(json.loads, rec.RunFolder(workspace.run(run)).metrics.read_text().splitlines())
    return [row["loss"] for row in rows if row["kind"] == "train"]


@pytest.mark.parametrize("dropout", [0, 0.5])
def test_two_processes_that_train_batch_norm_do_the_steps_of_one(corpus, tiny_recipe, tiny_model, dropout):
    workspace = corpus(val=2, test=2)
    model = ("--pretrain", str(tiny_model), "--weights", "none", "--freeze", "none", "--no-cache")
    settings = ("ema=0.9", "norm_eval=false", "epochs=5", "lr=0.001", f"dropout={dropout}")
    recipe = ("--recipe", str(tiny_recipe), "--no-preflight", *(w for s in settings for w in ("--set", s)))
    flags = (*model, *recipe)
    one = dance(workspace.root, "finetune", *flags, "--name", "one", OMP_NUM_THREADS="1")
    assert one.returncode == 0, one.stderr
    two = dance(workspace.root, "finetune", *flags, "--name", "two", "--gpus", "2", "--json")
    assert two.returncode == 0, two.stderr
    record = json.loads(two.stdout)
    assert record["optim"]["processes"] == 2
    assert two.stderr.count("run two:") == 1
    assert "Warning" not in two.stderr
    apart = [abs(a - b) / a for a, b in zip(losses(workspace, "one"), losses(workspace, "two"), strict=True)]
    assert len(apart) == 10
    assert max(apart) < 1e-3
    states = [
        read_checkpoint(workspace.run(n) / "checkpoints" / "last.pth")["state_dict"] for n in ("one", "two")
    ]
    assert all(states[0][key].allclose(states[1][key], atol=1e-4) for key in states[0])
    results = [rec.read_record(workspace, run)["results"] for run in ("one", "two")]
    assert results[0] == results[1]


def test_a_batch_that_cannot_be_shared_and_a_cache_are_refused(corpus, tiny_recipe, tiny_model, monkeypatch):
    workspace = corpus()
    common = {"pretrain": str(tiny_model), "weights": "none", "recipe": str(tiny_recipe)}
    with pytest.raises(UsageError, match="a batch of 4 clips cannot be divided among 3 processes"):
        make_plan(workspace, FinetuneSettings(**common, execution=Execution(processes=3)))
    # Where features are cached, the processes compute these, and one trains.
    cached = FinetuneSettings(**common, execution=Execution(processes=3), freeze="4")
    plan = make_plan(workspace, cached)
    assert plan.cached
    assert "3 processes compute the features" in plan.notes
    # Those of torchrun share the batches.
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    shared = FinetuneSettings(**common, execution=Execution(processes=2), freeze="4")
    assert not make_plan(workspace, shared).cached
    with pytest.raises(UsageError, match="trains in one process"):
        make_plan(
            workspace, FinetuneSettings(**common, execution=Execution(processes=2, cache=True), freeze="4")
        )


def test_features_computed_by_two_processes_are_those_of_one(corpus, tiny_recipe, tiny_model):
    workspace = corpus(val=2, test=2)
    flags = ("--pretrain", str(tiny_model), "--weights", "none", "--freeze", "3")
    flags = (*flags, "--recipe", str(tiny_recipe))
    found = []
    for name, gpus in (("one", "1"), ("two", "2")):
        done = dance(workspace.root, "finetune", *flags, "--no-preflight", "--name", name, "--gpus", gpus)
        assert done.returncode == 0, done.stderr
        (workspace.root / "cache").rename(workspace.root / f"cache-{name}")
        found.append(losses(workspace, name))
    assert found[0] == pytest.approx(found[1], abs=1e-4)
    assert "2 processes compute the features" in done.stderr


@pytest.mark.parametrize(
    ("env", "found"),
    [
        ({}, distributed.RankInfo()),
        ({"RANK": "1", "WORLD_SIZE": "2"}, distributed.RankInfo(1, 2, "pytorch")),
        ({"RANK": "0", "WORLD_SIZE": "1"}, distributed.RankInfo()),
        ({"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4"}, distributed.RankInfo(3, 4, "slurm")),
        # The script of a job of four tasks, which has not called srun.
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, distributed.RankInfo()),
    ],
)
def test_the_environment_says_which_process_this_is(monkeypatch, env, found):
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert distributed.get_rank_info() == found


def test_a_process_that_fails_gives_its_code_and_ends_the_others(monkeypatch, tmp_path):
    script = tmp_path / "dancecli.py"
    script.write_text("import os, sys, time\nsys.exit(7) if os.environ['RANK'] == '1' else time.sleep(300)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(distributed, "_PATIENCE_S", 0.1)
    assert distributed.launch(2, []) == 7


@pytest.mark.parametrize("shown", ["", "4,6"])
def test_each_process_beside_this_one_is_shown_a_gpu_of_its_own(monkeypatch, tmp_path, shown):
    script = tmp_path / "dancecli.py"
    script.write_text(
        "import os, sys\nprint('error: no room on', os.environ['CUDA_VISIBLE_DEVICES'], file=sys.stderr)\n"
        "print('  hint: free some', file=sys.stderr)\nsys.exit(1 if sys.argv[1] == 'fail' else 0)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    first, second = shown.split(",") if shown else ("0", "1")
    (failed,) = distributed.launch_beside(2, ["fail"])
    assert os.environ["CUDA_VISIBLE_DEVICES"] == first
    assert failed.wait() == f"no room on {second}"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    (done,) = distributed.launch_beside(2, ["work"])
    assert done.wait() == ""


MEETING = """
import time, torch, torch.distributed as dist
from dancecli.model.training.distributed import init_process_group, mean_tensors, get_rank_info
here = get_rank_info()
# A network keeps hold of the group that it was trained in while it is evaluated.
networks = []
for run in range(2):
    init_process_group(here, gpu=False)
    networks = [torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(1, 1))]
    found = torch.tensor([here.rank + 1.0])
    dist.all_reduce(found)
    pending = {"weight": torch.tensor([1.0, 10.0]) * (here.rank + 1)}
    print(found.item(), mean_tensors(pending)["weight"].tolist(), pending["weight"].tolist())
    # As every run does at its end: without it gloo's threads may end the process before it has printed.
    dist.destroy_process_group()
    # The first evaluates a run while the others wait for it to begin the next.
    time.sleep(2 * here.first)
"""


def meet(environments, timeout_s=60):
    """What each of some processes prints that train two runs one after the other."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", MEETING],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for env in environments
    ]
    try:
        told = [child.communicate(timeout=timeout_s) for child in children]
    finally:
        for child in children:
            child.kill()
    mean = "3.0 [1.5, 15.0]"
    assert [out for out, _ in told] == [f"{mean} [1.0, 10.0]\n" * 2, f"{mean} [2.0, 20.0]\n" * 2], told


def plain_environment():
    return {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "MASTER_"))}


def test_processes_of_srun_meet_without_a_gpu_at_the_first_node(tmp_path):
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(
        "#!/bin/sh\n[ $3 = 'localhost,node[7-8]' ] && printf 'localhost\\nnode7\\nnode8\\n'\n"
    )
    scontrol.chmod(0o755)
    common = {
        **plain_environment(), "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NODELIST": "localhost,node[7-8]", "SLURM_JOB_ID": str(os.getpid()),
    }  # fmt: skip
    meet([{**common, "SLURM_PROCID": str(rank)} for rank in range(2)])


def test_processes_that_train_a_second_run_meet_again():
    """A process that is early must not take the addresses of the run before: both would wait forever."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    common = {**plain_environment(), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    meet([{**common, "RANK": str(rank)} for rank in range(2)])


@pytest.mark.parametrize("gpu", [False, True])
def test_the_others_wait_while_the_first_evaluates_a_stream(monkeypatch, gpu):
    import torch.distributed as dist

    waits = []
    monkeypatch.setattr(dist, "init_process_group", lambda *_, **options: waits.append(options["timeout"]))
    monkeypatch.setattr(distributed, "_meeting_store", dist.HashStore)
    monkeypatch.setattr("torch.cuda.set_device", lambda _: None)
    monkeypatch.setenv("LOCAL_RANK", "1")
    distributed.init_process_group(distributed.RankInfo(1, 2, "pytorch"), gpu=gpu)
    assert [wait.total_seconds() for wait in waits] == [86400]


def test_where_slurm_cannot_be_asked_the_address_is_to_be_given(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.setenv("SLURM_STEP_NODELIST", "n[1-2]")
    with pytest.raises(ModelError, match=r"the first of the nodes n\[1-2\] is unknown") as caught:
        distributed.init_process_group(distributed.RankInfo(0, 2, "slurm"), gpu=False)
    assert "MASTER_ADDR" in caught.value.hint
