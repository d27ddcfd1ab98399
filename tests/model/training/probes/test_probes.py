"""Probes of stored features: fitted, recorded, and the same through the whole network."""

from __future__ import annotations

import csv
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from dancecli.core.errors import ModelError, UsageError, WorkspaceError
from dancecli.core.progress import SILENT
from dancecli.core.records import Prediction
from dancecli.model.evaluation.evaluate import EvaluateSettings, evaluate
from dancecli.model.networks.build import MODELS
from dancecli.model.networks.checkpoint import build_network, open_checkpoint, run_checkpoint
from dancecli.model.runs.features import FeatureForm, FeatureSettings, export_features
from dancecli.model.runs.finetune import FinetuneSettings, finetune, make_plan
from dancecli.model.training.logistic import solve_head
from dancecli.model.training.probes import attentive
from dancecli.model.training.probes.attentive import Tokens, fit_attentive
from dancecli.model.training.probes.mteb import DRAWS, draw, solve_as_mteb
from dancecli.model.training.probes.neighbors import fit_neighbors, fit_prototypes
from dancecli.storage import tables


@pytest.fixture
def settings(tiny_model, tiny_recipe):
    text = tiny_recipe.read_text()
    tiny_recipe.write_text("".join(line for line in text.splitlines(True) if not line.startswith("views")))
    return FinetuneSettings(
        pretrain=str(tiny_model), weights="none", freeze="4", recipe=str(tiny_recipe), name="probed"
    )


def test_neighbors_whose_checkpoint_a_removal_deleted_are_kept_again(corpus, settings):
    workspace = corpus()
    settings = replace(settings, head="knn")
    finetune(workspace, settings)
    path = run_checkpoint(workspace, "probed")[2]
    for again in (settings, FinetuneSettings(name="probed", resume=True)):
        path.unlink()
        with pytest.raises(WorkspaceError, match="deleted: that of --head knn") as error:
            run_checkpoint(workspace, "probed")
        assert error.value.hint == "train it again: dance finetune --name probed --resume"
        assert finetune(workspace, again).fresh
        assert path.exists()
        assert not finetune(workspace, again).fresh


def mteb_by_hand(train, labels, test):
    """Ten experiments as `AbsTaskClassification` of mteb runs them, with scikit-learn alone."""
    order = np.arange(len(labels))
    for _ in range(10):
        np.random.RandomState(42).shuffle(order)
        taken = [i for i in order if list(labels[order[: list(order).index(i)]]).count(labels[i]) < 8]
        model = LogisticRegression(max_iter=100, random_state=42).fit(train[taken], labels[taken])
        yield model.predict(test)


def test_protocol_mteb_equals_scikit_learn_to_the_clip():
    rng = np.random.default_rng(0)
    means = rng.normal(0, 0.35, (6, 48))
    labels, truth = rng.integers(0, 6, 150), rng.integers(0, 6, 300)
    train = (means[labels] + rng.normal(0, 1, (150, 48))).astype(np.float32)
    test = (means[truth] + rng.normal(0, 1, (300, 48))).astype(np.float32)
    expected = list(mteb_by_hand(train, labels, test))
    for number in range(DRAWS):
        chosen = draw(labels.tolist(), number)
        head = solve_as_mteb(torch.from_numpy(train[chosen]), torch.from_numpy(labels[chosen]), 6)
        found = (torch.from_numpy(test).double() @ head.weight.T + head.bias).argmax(1)
        assert found.tolist() == expected[number].tolist()
    # The draws differ, and the classes overlap.
    assert 0.2 < np.mean(expected[0] == truth) < 0.9
    assert any((a != b).any() for a, b in itertools.pairwise(expected))


def test_mteb_of_two_classes_and_of_a_class_without_clips():
    x = torch.tensor([[0.0, 1], [0.2, 1], [2, 0], [2.1, 0.1]])
    head = solve_as_mteb(x, torch.tensor([0, 0, 2, 2]), 4)
    assert (x.double() @ head.weight.T + head.bias).argmax(1).tolist() == [0, 0, 2, 2]
    assert head.bias[[1, 3]].tolist() == [-1e4, -1e4]


def test_a_run_of_protocol_mteb_predicts_as_scikit_learn_on_its_stored_features(corpus, settings, tmp_path):
    workspace = corpus()
    record = finetune(workspace, replace(settings, protocol="mteb")).record
    assert record["probe"] == {"protocol": "mteb", "head": "linear"}
    file = tmp_path / "features.npy"
    export_features(workspace, FeatureSettings(run="probed", form=FeatureForm.NPY, to=file))
    features = np.load(file)[:, 0]
    with file.with_suffix(".csv").open() as rows:
        clips = list(csv.DictReader(rows))
    labels = record["labels"]
    train = [i for i, clip in enumerate(clips) if clip["subset"] == "train"]
    y = np.array([labels.index(clips[i]["label"]) for i in train])
    # Fewer than eight of each class: every draw is all of them.
    model = LogisticRegression(max_iter=100).fit(features[train], y)
    expected = {
        clips[i]["clip_id"]: int(model.predict(features[i : i + 1])[0])
        for i in range(len(clips))
        if i not in train
    }
    rows = tables.read(workspace.run("probed") / "predictions.parquet", Prediction)
    assert {row.clip_id: int(np.argmax(row.scores)) for row in rows} == expected


@pytest.mark.parametrize("head", ["knn", "prototype", "attentive"])
def test_the_checkpoint_of_a_probe_scores_clips_as_the_run_did(corpus, settings, head, monkeypatch):
    monkeypatch.setattr(attentive, "EPOCHS", 2)
    workspace = corpus()
    record = finetune(workspace, replace(settings, head=head)).record
    assert record["head"]["probe"] == record["probe"]["head"] == head
    assert record["cache"]["dtype"] == ("float16" if head == "attentive" else "float32")
    from dancecli.model.dataloading.datasets import DATASETS
    from dancecli.model.networks.mmaction import pseudo_collate, read_config

    found = open_checkpoint(workspace.run("probed") / "checkpoints" / "last.pth")
    model = build_network(found.model, found.state, found.path)
    dataset = DATASETS.build(read_config(workspace.run("probed") / "config.py")["test_dataloader"]["dataset"])
    rows = [
        r
        for r in tables.read(workspace.run("probed") / "predictions.parquet", Prediction)
        if r.subset == "test"
    ]
    with torch.inference_mode():
        samples = model.test_step(pseudo_collate([dataset[i] for i in range(len(dataset))]))
    for row, sample in zip(rows, samples, strict=True):
        assert sample.pred_score.tolist() == pytest.approx(row.scores, abs=2e-3)


def test_pooled_probes_share_the_features_of_the_linear_one(corpus, settings):
    workspace = corpus()
    for head in ("solved", "knn", "prototype"):
        finetune(workspace, replace(settings, head=head, name=head))
    assert len(list((workspace.root / "cache" / "features").glob("*/key.json"))) == 1


def test_a_probe_refuses_what_does_not_apply(corpus, settings):
    workspace = corpus()
    with pytest.raises(UsageError, match="probe of a wholly frozen backbone"):
        make_plan(workspace, replace(settings, head="knn", freeze="3"))
    with pytest.raises(UsageError, match="knn does not take epochs"):
        make_plan(workspace, replace(settings, head="knn", epochs=3))
    with pytest.raises(UsageError, match="protocol mteb has the head solved, not knn"):
        make_plan(workspace, replace(settings, head="knn", protocol="mteb"))
    with pytest.raises(UsageError, match="sees one view"):
        make_plan(workspace, replace(settings, protocol="mteb", num_clips=2))
    with pytest.raises(ModelError, match="needs tokens, and a C3D gives one vector per view, already pooled"):
        make_plan(workspace, replace(settings, pretrain="c3d", head="attentive"))


def blobs(classes=4, per_class=15, width=12, spread=1.0):
    generator = torch.Generator().manual_seed(0)
    means = 2 * torch.randn(classes, width, generator=generator)
    labels = torch.arange(classes).repeat(per_class)
    x = means[labels] + spread * torch.randn(len(labels), width, generator=generator)
    return x[:, None], labels, [f"video{i // 2}" for i in range(len(labels))]


def test_fitted_neighbors_and_means_separate_what_is_apart():
    x, labels, groups = blobs()
    near, means = fit_neighbors(x, labels, groups, 5), fit_prototypes(x, labels, groups, 5)
    assert near.choice.correct == near.choice.held_out == 60
    assert means.choice.correct == 60
    assert means.known.tolist() == [True] * 4 + [False]
    one = fit_neighbors(x, labels, ["one video"] * 60, 5)
    assert (one.choice.folds, one.neighbors) == (0, 1)


def test_the_number_of_neighbors_is_chosen_by_clips_of_other_groups():
    # Each clip has a twin in its group, with another label than most around it: one neighbor is right
    # of the twin, and of nothing else.
    x, labels, groups = blobs(classes=2, per_class=40, spread=0.1)
    labels[::10] = 1 - labels[::10]
    found = fit_neighbors(x, labels, groups, 2)
    assert found.neighbors > 1
    assert found.choice.correct >= 70


class _Stored:
    """Stored tokens in memory."""

    def __init__(self, array):
        self.array = array


def test_an_attentive_probe_finds_the_one_token_that_the_mean_hides(monkeypatch):
    monkeypatch.setattr(attentive, "RATES", (0.005, 0.0001))
    monkeypatch.setattr(attentive, "DECAYS", (0.01,))
    monkeypatch.setattr(attentive, "EPOCHS", 20)
    rng = np.random.default_rng(0)
    labels = torch.arange(120) % 3
    # The class is the sign pattern of the one token that a mark tells from fifteen louder others.
    tokens = rng.normal(0, 1, (120, 1, 16, 16)).astype(np.float16)
    for clip, label in enumerate(labels.tolist()):
        place = rng.integers(16)
        tokens[clip, 0, place, :4] = 4
        tokens[clip, 0, place, 4:8] = np.eye(3, 4)[label] * 4
    groups = [str(i) for i in range(120)]
    torch.manual_seed(0)
    head = MODELS.build(
        {
            "type": "AttentiveHead",
            "num_classes": 3,
            "in_channels": 16,
            "of": "ResNet3d",
            "blocks": 1,
            "frames": False,
        }
    )
    stored = Tokens(_Stored(tokens), range(120), labels, groups)
    found = fit_attentive(stored, head, 1, batch=8, seed=0, reporter=SILENT)
    assert (found.lr, found.choice.held_out) == (0.005, 24)
    assert found.choice.correct >= 20
    mean = torch.from_numpy(tokens).float().mean(2)
    assert solve_head(mean, labels, groups, 3).held_out_correct < 90
    monkeypatch.setattr(attentive, "EPOCHS", 1)
    once = fit_attentive(stored, head, 1, batch=8, seed=0, reporter=SILENT)
    again = fit_attentive(stored, head, 1, batch=8, seed=0, reporter=SILENT)
    assert all(torch.equal(again.state[key], value) for key, value in once.state.items())


def test_a_probe_is_evaluated_again_with_its_own_head(corpus, settings):
    workspace = corpus()
    finetune(workspace, replace(settings, head="knn"))
    record = evaluate(workspace, EvaluateSettings(run="probed", num_clips=1)).record
    assert record["probe"] == {"protocol": "full", "head": "knn"}
    again, first = (
        tables.read(workspace.run(name) / "predictions.parquet", Prediction)
        for name in (record["name"], "probed")
    )
    for one, other in zip(again, first, strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-3)
