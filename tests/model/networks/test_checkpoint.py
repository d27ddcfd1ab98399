from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from dancecli.core.errors import ModelError, WorkspaceError
from dancecli.core.recipe import Recipe
from dancecli.model.dataloading.pipelines import test_pipeline as pipeline_of
from dancecli.model.networks.base import build_model_config, model_base
from dancecli.model.networks.checkpoint import build_network, open_checkpoint, run_checkpoint
from dancecli.model.networks.zoo import find_entry, read_zoo
from dancecli.model.runs.finetune import FinetuneSettings, finetune

LABELS = ["bouncing", "sliding", "turning"]


@pytest.fixture
def saved(tmp_path, tiny_model):
    """Write a checkpoint, with changes."""

    def save(**changes) -> Path:
        from dancecli.model.networks.build import build_model

        base, recipe = model_base(find_entry(str(tiny_model))), Recipe(clip_len=8, short_side=64, crop=64)
        model = build_model_config(base, recipe, 3, None)
        meta = {"labels": LABELS, "model": model, "test_pipeline": pipeline_of(base, recipe), "clip_s": 3}
        path = tmp_path / "some.pth"
        state = build_model(model, 0).state_dict()
        torch.save({"meta": {**meta, **changes.pop("meta", {})}, "state_dict": state, **changes}, path)
        return path

    return save


def test_a_run_s_checkpoint_can_be_used_without_the_run(corpus, tiny_recipe, tiny_model, tmp_path):
    workspace = corpus()
    settings = FinetuneSettings(pretrain=str(tiny_model), weights="none", freeze="4", recipe=str(tiny_recipe))
    finetune(workspace, settings)
    name, record, path = run_checkpoint(workspace, None)
    assert (name, path.name) == ("tiny_i3d-small-1", "best.pth")
    elsewhere = path.rename(tmp_path / "alone.pth")
    found = open_checkpoint(elsewhere)
    assert found.labels == ("bouncing", "sliding", "turning")
    assert (found.protocol, found.clip_s) == (record["views"]["test"], 2.0)
    with torch.inference_mode():
        scores = build_network(found.model, found.state, elsewhere)(
            torch.zeros(1, 1, 3, 8, 64, 64), mode="tensor"
        )
    assert scores.shape[0] == 1
    with pytest.raises(WorkspaceError, match="no run with weights"):
        run_checkpoint(workspace, None)
    with pytest.raises(WorkspaceError, match=f"checkpoint of run '{name}' was deleted"):
        run_checkpoint(workspace, name)


@pytest.mark.parametrize("missing", ["labels", "model", "test_pipeline"])
def test_what_a_checkpoint_does_not_say_is_named(saved, missing):
    words = {"labels": "labels", "model": "network", "test_pipeline": "views"}
    with pytest.raises(ModelError, match=f"does not contain its {words[missing]}"):
        open_checkpoint(saved(meta={missing: None}))


@pytest.mark.parametrize(
    "part",
    [
        {"type": "subprocess.check_output"},
        {"type": "mmengine.fileio.load"},
        {"type": "I3DHead", "loss_cls": {"type": "os.system"}},
        {"type": "I3DHead", "_scope_": "os"},
    ],
)
def test_a_checkpoint_that_names_code_to_run_is_not_built(saved, part):
    model = {"type": "Recognizer3D", "backbone": {"type": "ResNet3d"}, "cls_head": part}
    with pytest.raises(ModelError, match="which is not allowed"):
        open_checkpoint(saved(meta={"model": model}))


def test_a_checkpoint_s_views_are_of_a_video_alone(saved):
    steps = [{"type": "LoadRGBFromFile", "io_backend": "http"}]
    with pytest.raises(ModelError, match="need the step 'LoadRGBFromFile'"):
        open_checkpoint(saved(meta={"test_pipeline": steps}))


def test_what_names_files_is_taken_away(saved):
    path = saved()
    content = torch.load(path, weights_only=True)
    content["meta"]["model"]["backbone"]["pretrained"] = "http://127.0.0.1:9/evil.pth"
    torch.save(content, path)
    assert open_checkpoint(path).model["backbone"]["pretrained"] is None


def test_a_hostile_pickle_runs_nothing(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    path = tmp_path / "hostile.pth"
    torch.save({"meta": {"labels": Hostile()}, "state_dict": {}}, path)
    with pytest.raises(ModelError, match="was not loaded"):
        open_checkpoint(path)
    path.write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(ModelError):
        open_checkpoint(path)
    assert not (tmp_path / "ran").exists()


def test_weights_of_another_network_are_refused(saved):
    state = {"backbone.conv1.conv.weight": torch.zeros(8, 3, 5, 7, 7)}
    with pytest.raises(ModelError, match=r"only 1 of \d+ weights of its network"):
        found = open_checkpoint(saved(state_dict=state))
        build_network(found.model, found.state, found.path)


@pytest.mark.parametrize("name", [*read_zoo()])
def test_every_network_of_the_zoo_passes(saved, name):
    base = model_base(find_entry(name))
    recipe = Recipe()
    model = build_model_config(base, recipe, 3, None)
    path = saved(meta={"model": model, "test_pipeline": pipeline_of(base, recipe)})
    found = open_checkpoint(path)
    assert found.reads_poses is (base.skeleton is not None)
    assert found.model["cls_head"]["num_classes"] == 3
