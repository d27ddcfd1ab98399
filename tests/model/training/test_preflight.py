"""One batch is overfitted before training starts, and leaves no trace."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from dancecli.core.errors import ModelError
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.recipe import Recipe
from dancecli.model.runs.finetune import FinetuneSettings, finetune, make_job, make_plan
from dancecli.model.runs.plan import Execution


@pytest.mark.parametrize(("freeze", "cache"), [("4", True), ("3", True), ("3", False)])
def test_a_run_is_bit_for_bit_what_it_is_without(corpus, tiny_recipe, tiny_model, freeze, cache):
    import torch

    workspace = corpus()
    settings = FinetuneSettings(
        pretrain=str(tiny_model),
        weights="none",
        recipe=str(tiny_recipe),
        freeze=freeze,
        execution=Execution(cache=cache),
        epochs=1,
    )
    found = []
    said: list[str] = []
    for preflight in (True, False):
        name = f"with-{preflight}"
        record = finetune(
            workspace,
            replace(settings, name=name, execution=replace(settings.execution, preflight=preflight)),
            Reporter(on_message=said.append),
        ).record
        folder = workspace.run(name)
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        state = torch.load(folder / "checkpoints" / "last.pth", weights_only=True)["state_dict"]
        found.append(([(row.get("loss"), row["top1"]) for row in rows], state))
        assert (record["preflight"] is not None) == preflight
        if preflight:
            assert record["preflight"]["loss_after"] < record["preflight"]["loss_before"]
            expected = record["preflight"]["expected_s"]
            assert (expected["features"] > 0) == cache
            # Each is rounded to hundredths.
            assert expected["total"] >= expected["features"] + expected["epoch"] - 0.02
            assert expected["total"] > 0
    assert found[0][0] == found[1][0]
    assert all(torch.equal(value, found[1][1][key]) for key, value in found[0][1].items())
    assert sum(line.startswith("about ") and " per epoch " in line for line in said) == 1


class Stub:
    """A recognizer of one weight, whose loss is that weight's square, times `slope`, plus one."""

    def __new__(cls, slope=1.0, classes=3, start=1.0):
        import torch

        class Model(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = torch.nn.Parameter(torch.tensor(start))

            def data_preprocessor(self, batch, training):
                random.random(), np.random.rand(), torch.rand(1)
                return {}

            def forward(self, mode):
                return 1 + slope * self.weight**2

            def parse_losses(self, losses):
                return losses, {}

            def test_step(self, batch):
                return [SimpleNamespace(pred_score=torch.zeros(classes))]

        return Model()


BATCH = {"inputs": [], "data_samples": [SimpleNamespace(filename="clips/a_0_1.mp4")]}


def test_a_batch_whose_loss_does_not_fall_is_refused():
    from dancecli.model.training.overfit import overfit_one_batch

    done = overfit_one_batch(Stub(), BATCH, 3)
    assert (done.clips, done.loss_before) == (1, 2.0)
    assert done.loss_after < 2.0
    for model, sentence in [
        (Stub(slope=0.0), "the loss on one batch of 1 clip did not fall in 10 steps"),
        (Stub(start=float("nan")), "the loss is nan before the first step; clips: a_0_1"),
        (Stub(classes=400), "head has 400 classes, the split has 3"),
    ]:
        with pytest.raises(ModelError) as caught:
            overfit_one_batch(model, BATCH, 3)
        assert sentence in caught.value.message


def test_random_states_are_put_back(corpus, tiny_recipe, tiny_model):
    import torch

    from dancecli.model.training.preflight import run_preflight

    def drawn():
        return random.random(), np.random.rand(), torch.rand(1).item()

    settings = FinetuneSettings(pretrain=str(tiny_model), weights="none", freeze="4", recipe=str(tiny_recipe))
    workspace = corpus()
    job = make_job(workspace, make_plan(workspace, settings))
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    before = drawn()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    from dancecli.model.training.features.loaders import PendingFeatures

    assert run_preflight(job, PendingFeatures(14, {})).overfit.clips == 4
    assert drawn() == before


def test_a_view_that_the_network_does_not_take_is_reported_as_such(corpus, tiny_recipe, tiny_model):
    from dancecli.model.training.preflight import run_preflight

    narrow = tiny_model.read_text().replace("depth=18,", "depth=18, in_channels=2,")
    tiny_model.write_text(narrow)
    settings = FinetuneSettings(pretrain=str(tiny_model), weights="none", recipe=str(tiny_recipe))
    workspace = corpus()
    job = make_job(workspace, make_plan(workspace, settings))
    with pytest.raises(ModelError, match="the network does not take views of 1 x 3 x 8 x 64 x 64"):
        run_preflight(job, None)


def test_features_of_the_first_batch_are_not_computed_again(corpus, tiny_recipe, tiny_model):
    from dancecli.model.training.features.loaders import cached_features, views_to_compute
    from dancecli.model.training.preflight import run_preflight

    settings = FinetuneSettings(pretrain=str(tiny_model), weights="none", freeze="4", recipe=str(tiny_recipe))
    workspace = corpus()
    job = make_job(workspace, make_plan(workspace, settings))
    before = views_to_compute(job)
    seen = []
    first = run_preflight(job, before)
    assert views_to_compute(job).views == before.views - 4
    found = cached_features(job, first.frozen, Reporter(lambda p: seen.append((p.done, p.total))))
    loaders = found.loaders
    assert (found.computed, found.engines) == (before.views - 4, {"torch": before.views - 4})
    assert {total for _, total in seen} == {before.views - 4 - 2 - 3, 2, 3}
    assert views_to_compute(job).views == 0
    # Each stored row is its own clip's, whoever has stored it.
    alone = [row["inputs"] for row in loaders["train"].dataset]
    (workspace.root / "cache" / "features").rename(workspace.root / "elsewhere")
    again = [row["inputs"] for row in cached_features(job, None, SILENT).loaders["train"].dataset]
    assert all((a - b).abs().max() < 1e-5 for a, b in zip(alone, again, strict=True))


@pytest.mark.parametrize("cached", [True, False])
def test_what_a_run_will_take_is_added_up_from_what_a_clip_takes(cached):
    from dancecli.model.training.overfit import OverfitCheck
    from dancecli.model.training.preflight import expect

    job = SimpleNamespace(
        recipe=Recipe(epochs=2, num_clips=2, num_crops=1),
        cached=cached,
        data=SimpleNamespace(counts={"train": 10, "val": 5, "test": 2}),
    )
    # Four clips: 1.25 s a clip to train, 0.3 to evaluate; a view costs 2 s and 1 s to decode.
    found = expect(job, OverfitCheck(4, 3, 2.0, 1.0, 5.0, 1.2), view_s=2.0, decode_s=1.0, pending=10)
    assert (found.features_s, found.epoch_s, found.total_s) == pytest.approx(
        (30.0, 15.5, 30 + 2 * 15.5 + 14 * 0.3) if cached else (0.0, 22.5 + 13, 2 * 35.5 + 14 * 1.3)
    )


def test_a_gpu_gets_the_workers_that_it_needs_unless_the_recipe_says_how_many():
    from dataclasses import replace
    from types import SimpleNamespace

    from dancecli.core.recipe import Recipe
    from dancecli.model.hardware.device import CPU, Device
    from dancecli.model.training.preflight import _workers

    loader = {"train_dataloader": {"num_workers": 12}}
    job = SimpleNamespace(device=Device(gpu=True), recipe=Recipe(), config=loader)
    assert _workers(job, 0.03, 0.01) == 4
    assert _workers(job, 0.03, 0.001) == 12
    job.recipe = replace(job.recipe, workers=2)
    assert _workers(job, 0.03, 0.01) is None
    job.recipe, job.device = Recipe(), CPU
    assert _workers(job, 0.03, 0.01) is None


def test_the_workers_of_all_loaders_are_changed_and_those_without_any_stay():
    from types import SimpleNamespace

    from dancecli.model.training import runner

    config = {
        "train_dataloader": {"num_workers": 12},
        "val_dataloader": None,
        "test_dataloader": {"num_workers": 0},
    }
    changed = {}

    def replace(job, **values):
        changed.update(values["config"])
        return job

    original, runner.replace = runner.replace, replace
    try:
        runner.with_workers(SimpleNamespace(config=config), 5)
    finally:
        runner.replace = original
    assert changed == {**config, "train_dataloader": {"num_workers": 5}}
