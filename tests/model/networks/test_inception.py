"""The network: its arithmetic against the original's, and its manners as a backbone.

The golden values were computed by the weights' own package; `tests/golden/make_inception_gold.py`
says how, and makes them again.
"""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dancecli.core.errors import MissingDependencyError, ModelError
from dancecli.core.labels import MANIFESTS, LabelSet
from dancecli.model.networks.inception import InceptionI3D, InceptionLogits, ShiftBatchNorm3d, same_padding
from dancecli.model.networks.inception_weights import PretrainedWeights, kinetics_weights
from dancecli.model.networks.stages import run_lower, run_upper

GOLD = Path(__file__).parents[2] / "golden"
STAGE_PARTS = ["stem", "stage1", "stage2", "stage3", "stage4"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> PretrainedWeights:
    try:
        return kinetics_weights(tmp_path_factory.mktemp("cache"))
    except MissingDependencyError as error:
        pytest.skip(f"{error.message}: {error.hint}")


@pytest.fixture(scope="module")
def lively() -> InceptionI3D:
    """A network whose batch norm has something to do."""
    torch.manual_seed(7)
    net = InceptionI3D()
    for module in net.modules():
        if isinstance(module, ShiftBatchNorm3d):
            nn.init.normal_(module.bias, std=0.3)
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return net.eval()


def pattern(frames: int, height: int, width: int) -> torch.Tensor:
    """The golden values' input, as [1, 3, T, H, W]."""
    make = runpy.run_path(str(GOLD / "make_inception_gold.py"))["pattern"]
    return torch.from_numpy(make(frames, height, width)).permute(0, 4, 1, 2, 3)


@torch.inference_mode()
def test_logits_agree_with_the_package_that_carries_the_weights(
    weights: PretrainedWeights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / name)
    net, head = InceptionI3D(pretrained="kinetics400"), InceptionLogits()
    net.init_weights()
    head.load_state_dict(weights.logits)
    logits = head.eval()(net.eval()(pattern(16, 224, 224)))[0].numpy()

    gold = np.load(GOLD / "inception_k400_logits.npy")
    assert np.abs(logits - gold).max() < 1e-3
    assert len(LabelSet.read(MANIFESTS / "label-sets" / "kinetics400.txt")) == len(logits)


@torch.inference_mode()
def test_odd_sizes_are_padded_as_the_original_pads_them(weights: PretrainedWeights) -> None:
    net = InceptionI3D().eval()
    net.load_state_dict(weights.state_dict)
    features = net(pattern(9, 75, 101))

    assert features.shape == (1, 1024, 2, 3, 4)
    gold = np.load(GOLD / "inception_k400_odd_means.npy")
    assert np.abs(features.mean(dim=(0, 2, 3, 4)).numpy() - gold).max() < 1e-3


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "expected"),
    [(224, 7, 2, (2, 3)), (225, 7, 2, (3, 3)), (112, 3, 2, (0, 1)), (7, 3, 1, (1, 1)), (8, 1, 1, (0, 0)),
     (14, 2, 2, (0, 0)), (7, 2, 2, (0, 1)), (1, 7, 2, (3, 3))],
)  # fmt: skip
def test_the_extra_row_of_padding_goes_to_the_end(
    size: int, kernel: int, stride: int, expected: tuple[int, int]
) -> None:
    assert same_padding(size, kernel, stride) == expected


@torch.inference_mode()
@pytest.mark.parametrize("stage", [-1, 0, 1, 2, 3, 4])
def test_the_network_can_be_cut_after_any_stage(lively: InceptionI3D, stage: int) -> None:
    x = torch.rand(1, 3, 8, 48, 48) * 2 - 1
    assert torch.equal(run_upper(lively, run_lower(lively, x, stage), stage), lively(x))


@torch.inference_mode()
def test_a_cut_keeps_what_is_smallest(lively: InceptionI3D) -> None:
    x = torch.zeros(1, 3, 16, 64, 64)
    shapes = [tuple(run_lower(lively, x, stage).shape[1:]) for stage in range(5)]
    assert shapes == [(192, 8, 8, 8), (480, 4, 4, 4), (512, 4, 4, 4), (832, 2, 2, 2), (1024, 2, 2, 2)]


@pytest.mark.parametrize("frozen", [-1, 0, 2, 4])
def test_frozen_stages_neither_learn_nor_drift(frozen: int) -> None:
    net = InceptionI3D(frozen_stages=frozen).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    features = net(torch.rand(2, 3, 8, 32, 32) * 2 - 1)
    if features.requires_grad:
        features.square().mean().backward()

    assert features.requires_grad == (frozen < 4)
    for place, name in enumerate(STAGE_PARTS):
        learns = place > frozen
        part = net.get_submodule(name)
        assert all(p.requires_grad == learns for p in part.parameters()), name
        assert all((p.grad is not None) == learns for p in part.parameters()), name
        assert all(m.training == learns for m in part.modules()), name
        means = [key for key in before if key.startswith(name) and key.endswith("running_mean")]
        assert all(torch.equal(before[key], net.state_dict()[key]) != learns for key in means), name


def test_a_last_batch_of_one_small_view_can_be_trained_on() -> None:
    net = InceptionI3D().train()
    features = net(torch.rand(1, 3, 8, 32, 32) * 2 - 1)
    features.square().mean().backward()
    assert features.shape[2:] == (1, 1, 1)
    assert torch.isfinite(features).all()


def test_norm_eval_keeps_the_averages_and_trains_the_rest() -> None:
    net = InceptionI3D(norm_eval=True).train()
    norms = [module for module in net.modules() if isinstance(module, ShiftBatchNorm3d)]
    assert len(norms) == 57
    assert not any(module.training for module in norms)
    assert all(p.requires_grad for p in net.parameters())
    assert net.stage4.training


def test_fresh_weights_keep_the_signal_alive() -> None:
    net = InceptionI3D(in_channels=2).train()
    net.init_weights()
    assert 0.1 < net(torch.rand(2, 2, 8, 64, 64) * 2 - 1).std() < 10


def test_weights_for_other_channels_are_refused() -> None:
    with pytest.raises(ModelError, match="'kinetics400' for 2 channels"):
        InceptionI3D(in_channels=2, pretrained="kinetics400")
    with pytest.raises(ModelError, match="'imagenet' for 3 channels"):
        InceptionI3D(pretrained="imagenet")


def test_a_stage_that_is_not_there_is_refused() -> None:
    with pytest.raises(ModelError, match="frozen_stages 5"):
        InceptionI3D(frozen_stages=5)


@torch.inference_mode()
def test_the_head_takes_maps_smaller_than_its_window() -> None:
    assert InceptionLogits(num_classes=19).eval()(torch.rand(2, 1024, 1, 4, 4)).shape == (2, 19)
