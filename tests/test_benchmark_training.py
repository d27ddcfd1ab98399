"""The stock configs of the training benchmark are MMAction2's own networks, on our clips and frozen."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from benchmarks.suites.training import NETWORKS, stock_config
from dancecli.core.recipe import Recipe
from dancecli.model.networks.base import build_model_config, model_base
from dancecli.model.networks.zoo import find_entry

EPOCHS, CROP = 10, 160


@pytest.fixture(params=NETWORKS)
def case(request, tmp_path):
    """A network's name, and the config that stock MMAction2 trains it by."""
    from mmengine.config import Config

    from dancecli.model.networks.mmaction import CONFIGS

    (tmp_path / "random.base").write_text(str(CONFIGS / find_entry(request.param).config))
    path = tmp_path / "stock.py"
    path.write_text(stock_config(tmp_path, request.param, "4", EPOCHS, CROP))
    return request.param, Config.fromfile(path)


def test_stock_trains_the_network_that_dance_trains_on_the_same_frames(case):
    from dancecli.model.networks.build import shapes_of

    name, config = case
    base = model_base(find_entry(name))
    recipe = Recipe(freeze="4", crop=CROP, short_side=CROP * 8 // 7)
    ours = shapes_of(build_model_config(base, recipe, 2, None))
    stock = shapes_of(config.model.to_dict())
    assert {key: value.shape for key, value in stock.items()} == {k: v.shape for k, v in ours.items()}
    steps = {step["type"]: step for step in config.train_dataloader.dataset.pipeline}
    sampler = steps["SampleFrames"]
    assert (sampler.clip_len, sampler.frame_interval) == tuple(
        base.sampler[key] for key in ("clip_len", "frame_interval")
    )
    assert config.train_cfg.to_dict() == {"type": "EpochBasedTrainLoop", "max_epochs": EPOCHS}
    assert config.val_dataloader is None


def test_only_the_head_is_trained_by_stock(case):
    from dancecli.model.networks.build import build_model
    from dancecli.model.training.components import HOOKS

    _, config = case
    model = build_model(config.model.to_dict(), seed=0)
    model.train()
    for hook in map(HOOKS.build, config.custom_hooks):
        hook.before_train(SimpleNamespace(model=model))
        hook.before_train_iter(None, 0)
    trained = {name.partition(".")[0] for name, value in model.named_parameters() if value.requires_grad}
    assert trained == {"cls_head"}
    norms = [module for module in model.backbone.modules() if type(module).__name__ == "BatchNorm3d"]
    assert not any(module.training for module in norms)
