"""Features of a backbone as files for other programs."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from dancecli.core.errors import UsageError
from dancecli.core.progress import Reporter
from dancecli.core.recipe import read_recipe
from dancecli.model.networks.base import build_model_config, model_base
from dancecli.model.networks.build import build_model
from dancecli.model.networks.zoo import find_entry
from dancecli.model.runs.features import FeatureForm, FeatureSettings, export_features
from dancecli.model.runs.finetune import FinetuneSettings, finetune
from dancecli.model.runs.plan import Execution


@pytest.fixture
def weights(tmp_path, tiny_model, tiny_recipe):
    base, recipe = model_base(find_entry(str(tiny_model))), read_recipe(str(tiny_recipe))
    model = build_model(build_model_config(base, recipe, 3, None), seed=5)
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    return str(tmp_path / "weights.pth")


@pytest.mark.parametrize("name", ["x.csv", "x.CSV"])
def test_an_array_is_not_overwritten_by_the_clips_of_its_rows(name):
    with pytest.raises(UsageError, match="the clips of the array's rows"):
        FeatureSettings(form=FeatureForm.NPY, to=Path(name))
    FeatureSettings(form=FeatureForm.PARQUET, to=Path(name))


def test_two_processes_export_the_features_of_one(corpus, tiny_model, tiny_recipe, weights):
    workspace = corpus()
    of = {"pretrain": str(tiny_model), "recipe": str(tiny_recipe), "weights": weights}
    found, said = [], []
    for processes in (1, 2):
        settings = FeatureSettings(**of, form=FeatureForm.NPY, processes=processes)
        found.append(
            np.load(export_features(workspace, settings, Reporter(lambda p: said.append(p.text))).file)
        )
        (workspace.root / "cache").rename(workspace.root / f"cache-{processes}")
    assert found[0].shape == (12, 1, 64)
    assert np.abs(found[0] - found[1]).max() < 1e-4 * np.abs(found[0]).max()
    assert any(text.startswith("features · local") for text in said)


def test_features_are_those_that_the_head_of_the_run_takes(corpus, tiny_model, tiny_recipe, weights):
    workspace = corpus()
    of = {"pretrain": str(tiny_model), "recipe": str(tiny_recipe), "weights": weights}
    found = export_features(workspace, FeatureSettings(**of))
    assert (found.clips, found.shape) == (12, (1, 64))
    table = pq.read_table(found.file)
    assert table.column_names == ["clip_id", "subset", "label", "features"]
    assert sorted(set(table["subset"].to_pylist())) == ["test", "train", "val"]
    # The scores of a run are its classifier on them.
    run = FinetuneSettings(
        **of, name="run", freeze="4", changes=("head=solved",), execution=Execution(preflight=False)
    )
    finetune(workspace, run)
    state = torch.load(workspace.run("run") / "checkpoints" / "last.pth", weights_only=True)["state_dict"]
    x = torch.tensor(np.stack(table["features"].to_numpy()))
    scores = (x @ state["cls_head.fc_cls.weight"].T + state["cls_head.fc_cls.bias"]).softmax(-1)
    own = {
        row["clip_id"]: row["scores"]
        for row in pq.read_table(workspace.run("run") / "predictions.parquet").to_pylist()
    }
    for clip, row in zip(table["clip_id"].to_pylist(), scores, strict=True):
        if clip in own:
            assert row.tolist() == pytest.approx(own[clip], abs=1e-4)
    again = export_features(workspace, FeatureSettings(run="run", form=FeatureForm.NPY))
    array = np.load(again.file)
    assert array.shape == (12, 1, 64)
    with again.file.with_suffix(".csv").open() as file:
        assert [row["clip_id"] for row in csv.DictReader(file)] == table["clip_id"].to_pylist()
    assert np.allclose(array[:, 0], x)


def test_features_of_a_run_are_of_its_own_views_whatever_its_recipe_says_now(
    corpus, tiny_model, tiny_recipe, weights
):
    workspace = corpus()
    of = {"pretrain": str(tiny_model), "recipe": str(tiny_recipe), "weights": weights}
    changes = ("head=solved", "num_crops=3", "clip_len=6", "short_side=64")
    run = FinetuneSettings(
        **of, name="run", freeze="4", changes=changes, execution=Execution(preflight=False)
    )
    record = finetune(workspace, run).record
    Path(tiny_recipe).write_text("clip_len = 2\n")
    found = export_features(workspace, FeatureSettings(run="run"))
    assert found.views == record["views"]["test"]
