"""Hooks that freeze: what is frozen neither learns nor drifts, whichever backbone it is."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from dancecli.core.errors import ModelError
from dancecli.model.training.components import FreezeHook, NormEvalHook, StepSeedHook, step_seed
from dancecli.model.training.distributed import RankInfo, rank_seed
from dancecli.model.training.sync_layers import SharedDropout, SharedDropPath, begin_step, share_layers


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)),
            nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)),
        )
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(x))


def train(model: nn.Module, hook, steps: int = 3) -> None:
    hook.before_train(SimpleNamespace(model=model))
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(steps):
        model.train()
        hook.before_train_iter(None, 0)
        loss = model(torch.randn(8, 4) + 3).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def test_a_frozen_part_neither_learns_nor_drifts_nor_drops():
    # With other weights every unit of a layer may happen to be off.
    torch.manual_seed(0)
    model = Network()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    train(model, FreezeHook(["backbone.0"]))
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]) is key.startswith("backbone.0"), key
    assert not model.backbone[0][2].training
    assert model.backbone[1].training
    with pytest.raises(ModelError, match="no part 'neck'"):
        FreezeHook(["neck"]).before_train(SimpleNamespace(model=model))


def test_fixed_batch_norm_learns_its_scale_and_keeps_its_statistics():
    torch.manual_seed(0)
    model = Network()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    train(model, NormEvalHook())
    after = model.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in after if "running" in key)
    assert all(not torch.equal(after[key], before[key]) for key in after if key.endswith("weight"))


def test_processes_and_steps_have_seeds_of_their_own():
    seeds = {
        rank_seed(step_seed(seed, step), rank) for seed in (0, 1) for step in range(50) for rank in range(8)
    }
    assert len(seeds) == 2 * 50 * 8
    assert rank_seed(step_seed(3, 4), 0) == step_seed(3, 4)


def test_a_step_s_seed_depends_on_run_step_and_process():
    drawn = []
    for seed, step, rank in ((0, 0, 0), (0, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 1)):
        StepSeedHook(seed).before_train_iter(
            SimpleNamespace(iter=step, rank=rank, world_size=1, model=Network()), 0
        )
        drawn.append(float(torch.rand(1)))
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 4


@pytest.mark.parametrize("layer", [nn.Dropout(0.4), "path"])
def test_the_masks_of_two_processes_are_those_of_one(layer):
    from mmcv.cnn.bricks.drop import DropPath

    whole = DropPath(0.4) if layer == "path" else layer
    whole.train()
    # Four clips of three views: process 0 has clips 0 and 2, process 1 has 1 and 3.
    x = torch.ones(4, 3, 50)
    torch.manual_seed(11)
    expected = whole(x.flatten(0, 1)).reshape(4, 3, 50)
    for rank in range(2):
        model = share_layers(nn.Sequential(whole, nn.Linear(1, 1)), RankInfo(rank, 2))
        assert isinstance(model[0], SharedDropPath if layer == "path" else SharedDropout)
        model.train()
        begin_step(model, 11, clips=2)
        found = model[0](x[rank::2].flatten(0, 1)).reshape(2, 3, 50)
        torch.testing.assert_close(found, expected[rank::2])
    assert torch.equal(model.eval()[0](x), x)
