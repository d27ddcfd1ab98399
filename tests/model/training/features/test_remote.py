"""Features over a pool of workers are those that one process computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dancecli.core.errors import ModelError, UsageError
from dancecli.core.progress import SILENT, Progress, Reporter
from dancecli.model.runs.finetune import FinetuneSettings, make_job, make_plan
from dancecli.model.runs.plan import Execution

Filled = tuple[dict[str, Any], Any, list[Progress]]


@pytest.fixture
def fill(corpus, tiny_recipe, tiny_model) -> Callable[[], Filled]:
    """Give the rows of all training views by name, as one process and as a pool of workers makes them."""

    def made() -> Filled:
        from dancecli.model.networks.mmaction import DATASETS
        from dancecli.model.training.features.frozen import extract_features
        from dancecli.model.training.features.loaders import frozen_backbone, whole_model
        from dancecli.model.training.features.remote import Source, extract_features_distributed
        from dancecli.model.training.features.store import open_store

        workspace = corpus()
        settings = FinetuneSettings(
            pretrain=str(tiny_model), weights="none", freeze="3", recipe=str(tiny_recipe)
        )
        job = make_job(workspace, make_plan(workspace, settings))
        model, dataset = whole_model(job), job.config["train_dataloader"]["dataset"]
        names = [f"view-{i}" for i in range(2 * len(job.data.examples["train"]))]
        here, there = (open_store(workspace.root / "made", "float16", {"by": by}) for by in "ab")
        extract_features(
            frozen_backbone(job, model), DATASETS.build(dataset), here, names,
            batch=4, workers=0, reporter=SILENT,
        )  # fmt: skip
        seen: list[Progress] = []
        source = Source(job.config["model"], 3, dataset)
        extract_features_distributed(
            "local", workspace.root, model, source, there, names, 4, Reporter(seen.append)
        )
        assert not list((workspace.root / "cache" / "features").glob("weights-*"))
        return {name: here.array()[here.entries[name]] for name in names}, there, seen

    return made


def test_each_view_has_the_features_that_one_process_computes(fill):
    wanted, store, seen = fill()
    rows = store.array()
    assert set(store.entries) == set(wanted)
    assert all(
        abs(rows[store.entries[name]] - row).max() < 2e-3 * abs(row).max() for name, row in wanted.items()
    )
    assert len({row.tobytes() for row in rows}) == len(wanted)
    assert (seen[-1].done, seen[-1].total) == (len(wanted), len(wanted))


def test_an_error_in_a_worker_is_the_command_s(fill, monkeypatch, clip_files, tmp_path):
    from dancecli.model.training.features import remote

    monkeypatch.setattr(remote, "compute_batch", complain)
    with pytest.raises(ModelError, match="not finite for a_0_1"):
        fill()


def complain(batch: Any, _: Any) -> Any:
    from dancecli.model.training.features.remote import Features

    return Features(None, ("not finite for a_0_1", ""))


def test_an_engine_without_stored_features_is_refused(corpus, tiny_recipe, tiny_model):
    settings = FinetuneSettings(
        pretrain=str(tiny_model), weights="none", recipe=str(tiny_recipe), execution=Execution(engine="ray")
    )
    with pytest.raises(UsageError, match="this run caches none"):
        make_plan(corpus(), settings)
    with pytest.raises(UsageError, match="none of local, ray"):
        make_plan(
            corpus(),
            FinetuneSettings(pretrain=str(tiny_model), freeze="4", execution=Execution(engine="slurm")),
        )


def test_each_worker_claims_a_gpu_of_its_own(monkeypatch, tmp_path):
    import filelock
    import torch

    from dancecli.model.hardware import claim

    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    # Where one GPU is shown to each process, as Ray does it, there is nothing to choose.
    assert claim.claim_gpu(tmp_path) is None
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(claim, "_CLAIMED", [])
    other = filelock.FileLock(tmp_path / f".gpu-{claim.platform.node()}-0.lock")
    with other:
        assert claim.claim_gpu(tmp_path) == 1
    for lock in claim._CLAIMED:
        lock.release()
    assert chosen == [1]
