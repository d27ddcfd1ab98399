"""Backbones of the Hub as every other: stored features, each probe, evaluation, prediction, over HTTP too."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.fake_hub import COMMIT, FakeHub
from helpers.hub_models import TINY

from dancecli.core.errors import ModelError, UsageError
from dancecli.core.hashing import sha256_file
from dancecli.core.records import Prediction
from dancecli.model.runs.plan import FinetuneSettings, make_plan
from dancecli.storage import runs as rec
from dancecli.storage import tables

Saved = Callable[[str], Path]
pytestmark = pytest.mark.usefixtures("own_cache")
PROBES = ("attentive", "knn", "prototype")
EVERY_DAY = {"vjepa2", "dinov3_vit"}


def finetune(workspace, **settings):
    from dancecli.model.runs.finetune import finetune
    from dancecli.model.runs.plan import Execution

    return finetune(workspace, FinetuneSettings(**settings, execution=Execution(preflight=False)))


@pytest.mark.parametrize("architecture", sorted(TINY))
def test_each_stores_features_fits_each_probe_and_evaluates(
    corpus, saved_models: Saved, architecture: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    if architecture not in EVERY_DAY and not os.environ.get("DANCE_NIGHTLY"):
        pytest.skip("runs where DANCE_NIGHTLY is set")
    from dancecli.model.evaluation.evaluate import EvaluateSettings, evaluate
    from dancecli.model.inference.predict import PredictSettings, predict
    from dancecli.model.training.probes import attentive

    monkeypatch.setattr(attentive, "EPOCHS", 2)
    workspace, reference = corpus(), f"hf:{saved_models(architecture)}"
    run = finetune(workspace, pretrain=reference)
    record = rec.read_record(workspace, run.name)
    assert record["status"] == rec.DONE
    assert record["results"]["test"]["n"] == 3
    assert record["weights"]["files"]["model.safetensors"] == record["weights"]["sha256"]
    assert record["versions"]["transformers"]
    (store,) = (workspace.root / "cache" / "features").glob("*/key.json")
    key = json.loads(store.read_text())
    assert key["backbone"]["source"] == reference.removeprefix("hf:")
    assert key["weights"] == record["weights"]["sha256"]
    probes = {"linear": run}
    probes |= {head: finetune(workspace, pretrain=reference, head=head) for head in PROBES}
    probes |= {name: finetune(workspace, pretrain=reference, protocol=name) for name in ("mteb", "vjepa2")}
    for name, probe in probes.items():
        assert probe.record["results"]["test"]["n"] == 3
        assert name in probe.record["probe"].values()
    again = evaluate(workspace, EvaluateSettings(run.name))
    assert again.record["results"]["test"]["top1"] == record["results"]["test"]["top1"]
    # The stored features of one and the same network serve all probes that pool; two need its tokens.
    assert len(list((workspace.root / "cache" / "features").glob("*/key.json"))) == 2
    _check_mteb(workspace, reference, probes["mteb"], tmp_path / "features.npy")
    # What was saved is loaded, and scores a clip as it was scored.
    for probe in (run, probes["mteb"], probes["vjepa2"]):
        row = tables.read(workspace.run(probe.name) / "predictions.parquet", Prediction)[0]
        found = predict(workspace, PredictSettings((workspace.clip(row.clip_id),), run=probe.name))
        assert found.document["videos"][0]["scores"] == pytest.approx(row.scores, abs=2e-3)


def _check_mteb(workspace, reference: str, run, file: Path) -> None:
    """A run of protocol mteb predicts each clip as scikit-learn's own logistic regression does."""
    from sklearn.linear_model import LogisticRegression

    from dancecli.model.runs.features import FeatureForm, FeatureSettings, export_features

    export_features(workspace, FeatureSettings(pretrain=reference, form=FeatureForm.NPY, to=file))
    with file.with_suffix(".csv").open() as rows:
        clips = list(csv.DictReader(rows))
    features = np.load(file)[:, 0]
    train = [i for i, clip in enumerate(clips) if clip["subset"] == "train"]
    y = [run.record["labels"].index(clips[i]["label"]) for i in train]
    # Fewer than eight of each class: every draw is all of them, in an order.
    model = LogisticRegression(max_iter=100).fit(features[train], y)
    expected = dict(zip((clip["clip_id"] for clip in clips), model.predict(features).tolist(), strict=True))
    found = tables.read(workspace.run(run.name) / "predictions.parquet", Prediction)
    assert {row.clip_id: int(np.argmax(row.scores)) for row in found}.items() <= expected.items()
    assert len(found) >= 3


def test_the_run_names_its_commit_and_runs_again_without_the_hub(
    corpus, dance: Callable[..., object], fake_hub: FakeHub, saved_models: Saved, tmp_path: Path
):
    fake_hub.repos["someone/tiny-net"] = saved_models("vjepa2")
    workspace = corpus()
    env = {
        "HF_ENDPOINT": fake_hub.endpoint, "HF_HOME": str(tmp_path / "hf"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"), "DANCE_WORKSPACE": str(workspace.root),
    }  # fmt: skip
    ran = dance("finetune", "--pretrain", "hf:someone/tiny-net@main", "--name", "over-http", **env)
    assert ran.code == 0, ran.err
    record = rec.read_record(workspace, "over-http")
    assert record["settings"]["pretrain"] == f"hf:someone/tiny-net@{COMMIT}"
    assert record["weights"]["source"] == f"hf:someone/tiny-net@{COMMIT}"
    assert record["weights"]["sha256"] == sha256_file(saved_models("vjepa2") / "model.safetensors")
    assert f"V-JEPA 2, hf:someone/tiny-net @ {COMMIT[:8]}" in ran.err
    assert "by its preprocessor_config.json: short side 36, center crop 32" in " ".join(ran.err.split())
    asked = len(fake_hub.asked)
    pinned = f"hf:someone/tiny-net@{COMMIT}"
    offline = dance("features", "--pretrain", pinned, "--format", "npy", HF_HUB_OFFLINE="1", **env)
    assert offline.code == 0, offline.err
    assert len(fake_hub.asked) == asked
    assert np.load(workspace.root / "exports" / "features-tiny-net-small.npy").shape == (12, 1, 48)


def test_features_depend_on_the_weights(corpus, hub_folder: Saved):
    from dancecli.model.runs.features import FeatureSettings, export_features

    workspace, folder = corpus(), hub_folder("vjepa2")
    settings = FeatureSettings(pretrain=f"hf:{folder}")
    first = _features_of(export_features(workspace, settings).file)
    again = _features_of(export_features(workspace, settings).file)
    assert np.array_equal(first, again)
    import torch
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    moved = {key: value + 0.1 * torch.ones_like(value) for key, value in load_file(file).items()}
    save_file(moved, file, metadata={"format": "pt"})
    assert not np.allclose(first, _features_of(export_features(workspace, settings).file))


def _features_of(file: Path):
    import pyarrow.parquet as pq

    return np.array(pq.read_table(file)["features"].to_pylist())


def test_whole_frames_are_squashed_where_the_preprocessor_does_so(corpus, saved_models: Saved):
    from dancecli.model.dataloading.pipelines import test_pipeline

    plan = make_plan(corpus(), FinetuneSettings(pretrain=f"hf:{saved_models('siglip')}"))
    resize = next(step for step in test_pipeline(plan.base, plan.recipe) if step["type"] == "Resize")
    assert resize == {
        "type": "Resize", "scale": (32, 32), "keep_ratio": False, "interpolation": "bicubic"
    }  # fmt: skip
    plan = make_plan(corpus(), FinetuneSettings(pretrain=f"hf:{saved_models('vjepa2')}"))
    assert (plan.recipe.short_side, plan.recipe.crop) == (36, 32)


def test_its_last_layers_are_trained_if_asked_for(corpus, saved_models: Saved):
    run = finetune(
        corpus(),
        pretrain=f"hf:{saved_models('vjepa2')}",
        freeze="3",
        epochs=1,
        batch=4,
        changes=("workers=0",),
    )
    assert 0 < run.record["model"]["params_trainable"] < run.record["model"]["params_total"]


def test_an_absent_library_is_one_line(corpus, saved_models: Saved, monkeypatch: pytest.MonkeyPatch):
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    from dancecli.core.errors import MissingDependencyError

    with pytest.raises(MissingDependencyError, match="transformers cannot provide VJEPA2Model") as raised:
        make_plan(corpus(), FinetuneSettings(pretrain=f"hf:{saved_models('vjepa2')}"))
    assert raised.value.hint == "pip install 'dancecli[hub]'"


def test_what_does_not_apply_is_refused(corpus, saved_models: Saved):
    workspace = corpus()
    settings = FinetuneSettings(pretrain=f"hf:{saved_models('vjepa2')}")
    with pytest.raises(ModelError, match=r"the classifier of hf:.* is not read"):
        finetune(workspace, pretrain=settings.pretrain, changes=("head_init=pretrained",))
    with pytest.raises(UsageError, match="does not take the recipe's frame_interval"):
        make_plan(workspace, replace(settings, changes=("frame_interval=2",)))


def test_its_weights_are_converted_again_where_the_weights_folder_was_emptied(corpus, hub_folder: Saved):
    from dancecli.model.evaluation.evaluate import EvaluateSettings, evaluate
    from dancecli.model.networks.weights import read_whole
    from dancecli.model.networks.zoo import weights_folder

    workspace, folder = corpus(), hub_folder("vjepa2")
    run = finetune(workspace, pretrain=f"hf:{folder}")
    (converted,) = weights_folder().glob("backbone-*.pth")
    converted.unlink()
    again = evaluate(workspace, EvaluateSettings(run.name))
    assert again.record["results"]["test"] == run.record["results"]["test"]
    assert converted.is_file()
    # Other weights under the same name are not those that it was trained on.
    converted.unlink()
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    save_file({key: value + 1 for key, value in load_file(file).items()}, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"its frozen layers are those of vjepa2-tiny .* is missing"):
        evaluate(workspace, EvaluateSettings(run.name, name="other"))
    file.unlink()
    with pytest.raises(ModelError, match=r"holds only what was trained; .* has no model"):
        read_whole(next((workspace.run(run.name) / "checkpoints").glob("*.pth")))
