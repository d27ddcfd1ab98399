"""The model of a run as one file, in four formats."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from dancecli.core.errors import ModelError
from dancecli.core.records import Clip, Prediction
from dancecli.model.inference import export as module
from dancecli.model.inference.export import ModelForm, export_run
from dancecli.model.runs.finetune import FinetuneSettings, finetune
from dancecli.model.runs.plan import Execution
from dancecli.storage import tables


@pytest.fixture
def trained(corpus, tiny_model, tiny_recipe):
    workspace = corpus()
    settings = FinetuneSettings(
        pretrain=str(tiny_model),
        weights="none",
        freeze="4",
        recipe=str(tiny_recipe),
        name="run",
        execution=Execution(preflight=False),
    )
    finetune(workspace, settings)
    return workspace


def test_every_format_gives_the_runs_own_probabilities(trained):
    rows = {r.clip_id: r for r in tables.read(trained.run("run") / "predictions.parquet", Prediction)}
    for form in ModelForm:
        found = export_run(trained, "run", form)
        assert (found.checked, found.file.name) == (5, form.file)
        assert found.difference < 1e-5
        about = json.loads((found.folder / "model.json").read_text())
        assert about["labels"] == ["bouncing", "sliding", "turning"]
        assert about["input"]["shape"] == [1, 1, 3, 8, 64, 64]
        assert (found.folder / "config.py").exists()
        assert not list(found.folder.glob(".*part"))
    # As another program would: without a line of dance.
    import onnxruntime

    clip_id, row = next(iter(rows.items()))
    pixels = module._Views(module.open_checkpoint(_checkpoint(trained))).of(
        trained.root / next(c.path for c in tables.read(trained.clips, Clip) if c.clip_id == clip_id)
    )
    session = onnxruntime.InferenceSession(str(trained.root / "exports" / "run-onnx" / "model.onnx"))
    (scores,) = session.run(None, {"clips": pixels.numpy()})
    assert np.abs(scores[0] - row.scores).max() < 1e-5
    traced = torch.jit.load(str(trained.root / "exports" / "run-torchscript" / "model.pt"))
    assert np.abs(traced(pixels).detach().numpy()[0] - row.scores).max() < 1e-5


def test_whole_checkpoints_hold_all_weights_and_their_network(trained):
    from safetensors.torch import load_file

    state = torch.load(_checkpoint(trained), weights_only=True)["state_dict"]
    found = export_run(trained, "run", ModelForm.PTH)
    content = torch.load(found.file, weights_only=True)
    assert content["meta"]["labels"] == ["bouncing", "sliding", "turning"]
    tensors = load_file(export_run(trained, "run", ModelForm.SAFETENSORS).file)
    assert set(state) == set(content["state_dict"]) == set(tensors)
    assert all(torch.equal(state[key], tensors[key]) for key in state)


def test_a_file_that_predicts_otherwise_is_not_kept(trained, monkeypatch):
    def wrong(found, example, file):
        file.write_bytes(b"other")
        return lambda views: (1.0, 0.0, 0.0)

    monkeypatch.setitem(module._WRITERS, ModelForm.ONNX, wrong)
    with pytest.raises(ModelError, match="probabilities differ from those of run 'run'"):
        export_run(trained, "run", ModelForm.ONNX)
    assert not list((trained.root / "exports" / "run-onnx").glob("*"))


def _checkpoint(workspace):
    record = json.loads((workspace.run("run") / "run.json").read_text())
    return workspace.run("run") / "checkpoints" / f"{record['checkpoint']['name']}.pth"
