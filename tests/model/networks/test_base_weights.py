"""Checkpoints of partly frozen networks: what was trained, and the base that completes it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from dancecli.core.errors import ModelError
from dancecli.core.hashing import sha256_file
from dancecli.core.records import Prediction, Subset
from dancecli.model.evaluation.evaluate import EvaluateSettings, evaluate
from dancecli.model.networks import weights as module
from dancecli.model.networks.weights import StartWeights, read_whole, without_base
from dancecli.model.networks.zoo import find_entry, weights_folder
from dancecli.model.runs.finetune import FinetuneSettings, finetune
from dancecli.model.runs.plan import Execution
from dancecli.storage import tables

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def settings(tiny_model, tiny_recipe, tmp_path):
    """A run with frozen stages, from a weights file."""
    from dancecli.model.networks.base import model_base
    from dancecli.model.networks.build import build_model

    file = tmp_path / "given.pth"
    base = model_base(find_entry(str(tiny_model))).model
    base["backbone"]["pretrained"] = None
    torch.save({"state_dict": build_model(base, 7).state_dict()}, file)
    return FinetuneSettings(
        pretrain=str(tiny_model),
        weights=str(file),
        freeze="3",
        recipe=str(tiny_recipe),
        epochs=1,
        name="run",
        execution=Execution(preflight=False, cache=False),
    )


def of(workspace, run, file="best"):
    return workspace.run(run) / "checkpoints" / f"{file}.pth"


def scores(workspace, run):
    rows = tables.read(workspace.run(run) / "predictions.parquet", Prediction)
    return np.array([row.scores for row in rows if row.subset == Subset.TEST])


def test_a_partly_frozen_run_holds_what_it_trained_and_names_its_base(corpus, settings, tmp_path):
    workspace = corpus()
    finetune(workspace, settings)
    given = torch.load(settings.weights, weights_only=True)["state_dict"]
    for file in ("best", "last"):
        content = torch.load(of(workspace, "run", file), weights_only=True)
        kept, base = content["state_dict"], content["meta"]["base"]
        assert {key.split(".")[1] for key in kept if key.startswith("backbone.")} == {"layer4"}
        assert {"cls_head.fc_cls.weight", "cls_head.fc_cls.bias"} <= set(kept)
        assert base["sha256"] == sha256_file(tmp_path / "given.pth")
        assert (base["model"], base["weights"]) == ("tiny_i3d", "given")
        whole = read_whole(of(workspace, "run", file))["state_dict"]
        assert set(whole) == set(given)
        for key, value in whole.items():
            assert torch.equal(value, kept.get(key, given[key])), key
    # The file that was given is kept in the folder of the weights.
    (tmp_path / "given.pth").unlink()
    evaluate(workspace, EvaluateSettings(run="run", name="again"))
    assert np.abs(scores(workspace, "again") - scores(workspace, "run")).max() < 1e-5
    kept_file = weights_folder() / base["file"]
    kept_file.rename(tmp_path / "away.pth")
    named = rf"those of tiny_i3d \(given, SHA-256 {base['sha256'][:16]}\), and .* is missing"
    with pytest.raises(ModelError, match=named):
        evaluate(workspace, EvaluateSettings(run="run", name="missing"))
    torch.save({"state_dict": {key: value + 1 for key, value in given.items()}}, kept_file)
    with pytest.raises(ModelError, match="holds others"):
        evaluate(workspace, EvaluateSettings(run="run", name="other"))


@pytest.mark.parametrize("changes", [{"freeze": "none"}, {"freeze": "stem", "weights": "none"}])
def test_where_all_is_trained_or_nothing_was_loaded_it_is_whole(corpus, settings, changes):
    workspace = corpus()
    finetune(workspace, replace(settings, **changes))
    content = torch.load(of(workspace, "run"), weights_only=True)
    assert "base" not in content["meta"]
    assert set(content["state_dict"]) == set(torch.load(settings.weights, weights_only=True)["state_dict"])


def test_a_run_goes_on_from_such_a_checkpoint(corpus, settings):
    workspace = corpus()
    finetune(workspace, settings)
    first = of(workspace, "run")
    finetune(workspace, replace(settings, weights=str(first), name="next"))
    record = json.loads((workspace.run("next") / "run.json").read_text())
    assert record["weights"]["matched_keys"] == record["weights"]["total_keys"]
    before, after = (read_whole(of(workspace, run))["state_dict"] for run in ("run", "next"))
    # It went on from the trained fourth stage, and not from the base's.
    key = "backbone.layer4.0.conv1.conv.weight"
    given = torch.load(settings.weights, weights_only=True)["state_dict"]
    assert 0 < (after[key] - before[key]).abs().max() < (after[key] - given[key]).abs().max()
    assert torch.equal(after["backbone.conv1.conv.weight"], given["backbone.conv1.conv.weight"])


def some_start(**changes):
    return replace(StartWeights("some", "some.pth", "ab" * 32, "", "", 1, 1), **changes)


def test_what_starts_from_such_a_checkpoint_has_the_same_base(tmp_path):
    file, first = tmp_path / "w.pth", tmp_path / "first.pth"
    torch.save({"state_dict": {"backbone.a": torch.ones(2), "backbone.b": torch.ones(2)}}, file)
    state = {"backbone.a": torch.ones(2), "backbone.b": torch.zeros(2)}
    kept, base = without_base(state, some_start(load_from=str(file)), "own")
    torch.save({"meta": {"base": base}, "state_dict": kept}, first)
    again, same = without_base(state, some_start(load_from=str(first), sha256="cd" * 32), "other")
    assert (set(again), same) == ({"backbone.b"}, base)


def test_weights_of_the_zoo_are_downloaded_again_where_they_are_missing(tmp_path, monkeypatch):
    entry = find_entry("slowfast")
    file = weights_folder() / entry.checkpoint
    file.parent.mkdir(parents=True)
    state = {"backbone.a": torch.arange(3.0), "cls_head.b": torch.ones(2)}
    torch.save({"state_dict": {**state, "cls_head.b": torch.zeros(2)}}, file)
    kept, base = without_base(state, some_start(load_from=str(file)), "slowfast")
    assert (set(kept), base["file"], base["keys"]) == ({"cls_head.b"}, entry.checkpoint, ["backbone.a"])
    path = tmp_path / "cut.pth"
    torch.save({"meta": {"base": base}, "state_dict": kept}, path)
    fetched = file.rename(tmp_path / "fetched.pth")
    monkeypatch.setattr(module, "fetch_checkpoint", lambda asked: {"slowfast": fetched}[asked.name])
    assert torch.equal(read_whole(path)["state_dict"]["backbone.a"], state["backbone.a"])


def test_the_base_that_comes_as_a_package_needs_no_file(tmp_path):
    from dancecli.model.networks.inception_weights import CHECKPOINT_SHA256, kinetics_weights

    whole = {f"backbone.{key}": value for key, value in kinetics_weights().state_dict.items()}
    state = {**whole, "cls_head.fc_cls.weight": torch.ones(3, 1024)}
    start = some_start(sha256=CHECKPOINT_SHA256, pretrained="kinetics400")
    kept, base = without_base(state, start, "inception")
    assert (set(kept), base["file"]) == ({"cls_head.fc_cls.weight"}, "")
    path = tmp_path / "cut.pth"
    torch.save({"meta": {"base": base}, "state_dict": kept}, path)
    assert path.stat().st_size < 100_000
    assert set(read_whole(path)["state_dict"]) == set(state)


def test_what_differs_in_type_or_value_is_kept(tmp_path):
    file = tmp_path / "w.pth"
    base = {"backbone.a": torch.ones(2), "backbone.b": torch.ones(2), "backbone.c": torch.ones(2)}
    torch.save({"state_dict": base}, file)
    state = {**base, "backbone.b": torch.ones(2).double(), "backbone.c": torch.tensor([1.0, 2.0])}
    start = some_start(load_from=str(file))
    kept, found = without_base(state, start, "own")
    assert (set(kept), found["keys"]) == ({"backbone.b", "backbone.c"}, ["backbone.a"])
    assert without_base({"backbone.c": state["backbone.c"]}, start, "own")[1] is None


def test_a_file_that_is_written_to_again_does_not_take_the_checkpoint_with_it(tmp_path):
    file, path = tmp_path / "w.pth", tmp_path / "cut.pth"
    state = {"backbone.a": torch.ones(2), "cls_head.b": torch.ones(2)}
    torch.save({"state_dict": {"backbone.a": torch.ones(2)}}, file)
    kept, base = without_base(state, some_start(load_from=str(file)), "own")
    torch.save({"meta": {"base": base}, "state_dict": kept}, path)
    torch.save({"state_dict": {"backbone.a": torch.zeros(2)}}, file)
    assert torch.equal(read_whole(path)["state_dict"]["backbone.a"], torch.ones(2))
    assert [found.name for found in weights_folder().iterdir()] == [base["file"]]


def test_without_a_folder_to_keep_the_base_in_the_checkpoint_is_whole(tmp_path, monkeypatch):
    file = tmp_path / "w.pth"
    torch.save({"state_dict": {"backbone.a": torch.ones(2)}}, file)
    (tmp_path / "no-folder").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "no-folder"))
    state = {"backbone.a": torch.ones(2)}
    assert without_base(state, some_start(load_from=str(file)), "own") == (state, None)


def test_a_foreign_checkpoint_leads_to_no_file_elsewhere(tmp_path):
    secret = tmp_path / "secret.pth"
    torch.save({"state_dict": {"backbone.a": torch.ones(2)}}, secret)
    base = dict.fromkeys(("model", "weights", "source", "sha256", "tensors_sha256"), "x")
    path = tmp_path / "cut.pth"
    torch.save({"meta": {"base": {**base, "file": str(secret), "keys": []}}, "state_dict": {}}, path)
    with pytest.raises(ModelError, match=rf"{weights_folder() / 'secret.pth'} is missing"):
        read_whole(path)
    torch.save({"meta": {"base": {**base, "file": 3, "keys": []}}, "state_dict": {"a": torch.ones(1)}}, path)
    assert set(read_whole(path)["state_dict"]) == {"a"}
