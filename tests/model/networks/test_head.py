from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
import torch

from dancecli.core.errors import InputError, ModelError, UsageError, WorkspaceError
from dancecli.core.labels import LabelSet
from dancecli.core.progress import Reporter
from dancecli.core.recipe import Recipe, read_recipe
from dancecli.core.records import Prediction
from dancecli.core.video_files import clip_path
from dancecli.model.evaluation.baseline import BaselineSettings, baseline
from dancecli.model.networks import head
from dancecli.model.networks.base import build_model_config, model_base
from dancecli.model.networks.weights import weights_from_file
from dancecli.model.networks.zoo import find_entry
from dancecli.model.runs.finetune import FinetuneSettings, finetune
from dancecli.model.runs.plan import Execution
from dancecli.storage import tables
from dancecli.storage.runs import RunFolder, write_record

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def theirs(tmp_path, monkeypatch) -> tuple[str, ...]:
    """Kinetics-400 as if two of our labels were classes of it."""
    names = [f"class {i}" for i in range(400)]
    names[7], names[300] = "turning", "Bouncing"
    path = tmp_path / "names.txt"
    path.write_text("\n".join(names))
    monkeypatch.setattr(head, "KINETICS400_LABELS", path)
    return tuple(names)


@pytest.fixture
def whole(tmp_path, tiny_model, theirs):
    """Write pre-trained weights with their head, and say in `meta` what they are."""

    def save(**meta):
        from dancecli.model.networks.build import build_model

        base = model_base(find_entry(str(tiny_model)))
        model = build_model(build_model_config(base, Recipe(), 400, None), 3)
        path = tmp_path / "whole.pth"
        torch.save({"meta": {"labels": list(theirs), **meta}, "state_dict": model.state_dict()}, path)
        return path

    return save


def read_head(path, tiny_model, **entry):
    from dancecli.model.networks.build import shapes_of

    found = replace(find_entry(str(tiny_model)), **entry)
    shapes = shapes_of(build_model_config(model_base(found), Recipe(), 3, None))
    return head.pretrained_head(found, weights_from_file(path, found.name, shapes))


def test_our_list_of_kinetics_is_the_one_the_networks_were_trained_with():
    # data/label_map.txt of kinetics-i3d and label_map_k400.txt of MMAction2 are this very text.
    labels = LabelSet.read(head.KINETICS400_LABELS)
    assert labels.digest == "a8dafb93a1204d4ecfa904f943ce5ee0c62ddeeb1df71aa1f96983fca17d777e"
    assert labels.names[6] == "arm wrestling"
    paper = LabelSet.read(head.KINETICS400_LABELS.with_name("dance19.txt"))
    assert len(head.match_labels(paper.names, labels.names)) == 15


def test_labels_match_by_name_whatever_their_case():
    found = head.match_labels(
        ("Tap_Dancing", "polka", "robot-dancing"), ("robot dancing", "x", "tap dancing")
    )
    assert found == {0: 2, 2: 0}


@pytest.mark.parametrize("where", ["labels", "CLASSES", "dataset_meta"])
def test_a_head_s_classes_are_those_it_names(whole, tiny_model, theirs, where):
    named = {"labels": None, where: {"classes": theirs} if where == "dataset_meta" else theirs}
    assert read_head(whole(**named), tiny_model).labels == theirs


def test_four_hundred_classes_in_another_order_are_refused(whole, tiny_model, theirs):
    swapped = list(theirs)
    swapped[2], swapped[7] = swapped[7], swapped[2]
    with pytest.raises(ModelError, match="another order") as caught:
        read_head(whole(labels=swapped), tiny_model)
    assert "class 2 is 'turning', not 'class 2'" in caught.value.message
    with pytest.raises(ModelError, match="names 399 classes, and its classifier has 400"):
        read_head(whole(labels=swapped[1:]), tiny_model)


def test_a_head_without_names_is_known_by_the_zoo_s_checksum_alone(whole, tiny_model, theirs):
    import hashlib

    path = whole(labels=None)
    with pytest.raises(ModelError, match="does not name the"):
        read_head(path, tiny_model)
    prefix = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    assert read_head(path, tiny_model, sha256_prefix=prefix).labels == theirs
    with pytest.raises(ModelError, match="does not name the"):
        read_head(path, tiny_model, sha256_prefix="00000000")


def test_the_baseline_says_known_labels_by_their_rows_and_the_others_never(
    corpus, whole, tiny_model, tiny_recipe
):
    workspace = corpus(test=6)
    settings = BaselineSettings(str(tiny_model), str(whole()), recipe=str(tiny_recipe))
    said = []
    result = baseline(workspace, settings, Reporter(on_message=said.append))
    record = json.loads((workspace.run("kinetics400-baseline-small-1") / "run.json").read_text())
    assert record["model"]["pretrain"] == "kinetics400-baseline"
    assert record["model"]["params_trainable"] == 0
    assert record["baseline"]["classes"] == {"bouncing": "Bouncing", "turning": "turning"}
    assert record["baseline"]["unknown"] == ["sliding"]
    assert record["baseline"]["ceiling"]["test"] == {"n": 6, "top1": 4}
    assert any("at most 4/6" in line for line in said)
    rows = tables.read(workspace.run(result.name) / "predictions.parquet", Prediction)
    assert all(row.scores[1] == 0 and sum(row.scores) == pytest.approx(1) for row in rows)
    assert record["results"]["test"]["n"] == 6
    # The same network with its 400 classes agrees on which of the two is likelier.
    expected = scores_of_400(workspace, whole(), tiny_model, tiny_recipe, [row.clip_id for row in rows])
    for row, scores in zip(rows, expected, strict=True):
        two = torch.stack([scores[300], scores[7]]) / (scores[300] + scores[7])
        assert row.scores[0] == pytest.approx(two[0].item(), abs=1e-4)
    assert not baseline(workspace, settings).fresh


def test_the_baseline_takes_the_views_of_a_run(corpus, whole, tiny_model, tiny_recipe):
    workspace = corpus(test=6)
    recipe = replace(read_recipe(str(tiny_recipe)), clip_len=4, num_crops=3)
    run = {"schema": 1, "name": "mine", "status": "done", "recipe": asdict(recipe)}
    for name, record in (("mine", run), ("fused", {**run, "name": "fused", "recipe": None})):
        write_record(RunFolder(workspace.run(name)), record)
    settings = BaselineSettings(str(tiny_model), str(whole()), recipe="mine")
    record = baseline(workspace, settings, dry_run=True).record
    assert record["view_protocol"] == "4x1 frames, 1 clip x 3 crops 64, short side 64"
    seeds = {**run, "group": "many"}
    for seed in (0, 1):
        write_record(RunFolder(workspace.run(f"many-seed{seed}")), {**seeds, "name": f"many-seed{seed}"})
    group = baseline(workspace, replace(settings, recipe="many"), dry_run=True).record
    assert group["view_protocol"] == record["view_protocol"]
    one = baseline(workspace, replace(settings, num_crops=1), dry_run=True).record
    assert one["view_protocol"] == "4x1 frames, 1 clip x 1 center crop 64, short side 64"
    with pytest.raises(UsageError, match="run 'fused' has no recipe"):
        baseline(workspace, replace(settings, recipe="fused"))
    with pytest.raises(InputError, match="no recipe 'nobody'"):
        baseline(workspace, replace(settings, recipe="nobody"))


def scores_of_400(workspace, weights, tiny_model, tiny_recipe, clips):
    from dancecli.model.dataloading.pipelines import test_pipeline as pipeline_of
    from dancecli.model.networks.build import build_model
    from dancecli.model.networks.mmaction import DATASETS, pseudo_collate

    base, recipe = model_base(find_entry(str(tiny_model))), read_recipe(str(tiny_recipe))
    model = build_model(build_model_config(base, recipe, 400, None), 0, str(weights)).eval()
    lines = workspace.root / "all.txt"
    lines.write_text("".join(f"{clip_path('clips', f'{clip}.mp4')} 0\n" for clip in clips))
    data = DATASETS.build(
        {"type": "VideoDataset", "ann_file": str(lines), "data_prefix": {"video": str(workspace.root)},
         "pipeline": pipeline_of(base, recipe), "test_mode": True}
    )  # fmt: skip
    with torch.inference_mode():
        return [model.test_step(pseudo_collate([data[i]]))[0].pred_score for i in range(len(clips))]


def test_what_can_be_no_baseline_is_refused(corpus, tiny_model, whole, monkeypatch, tmp_path):
    workspace = corpus()
    with pytest.raises(UsageError, match="needs pre-trained weights"):
        baseline(workspace, BaselineSettings(weights="none"))
    with pytest.raises(ModelError, match="no weights are known"):
        baseline(workspace, BaselineSettings(pretrain=str(tiny_model)))
    with pytest.raises(WorkspaceError, match="no split 'other'"):
        baseline(workspace, BaselineSettings(split="other"))
    strange = tmp_path / "strange.txt"
    strange.write_text("archery\nabseiling\n")
    monkeypatch.setattr(head, "KINETICS400_LABELS", strange)
    with pytest.raises(ModelError, match="none of the 3 labels of split 'small' is a class of Kinetics-400"):
        baseline(workspace, BaselineSettings(pretrain=str(tiny_model)))


def head_of(workspace, run, name="last"):
    state = torch.load(workspace.run(run) / "checkpoints" / f"{name}.pth", weights_only=True)["state_dict"]
    return state["cls_head.fc_cls.weight"], state["cls_head.fc_cls.bias"]


@pytest.mark.parametrize("cache", [True, False])
def test_known_classes_start_from_their_old_rows(corpus, tiny_recipe, tiny_model, whole, cache):
    workspace, path = corpus(), whole()
    # A learning rate of next to nothing leaves the start to be seen.
    settings = FinetuneSettings(
        pretrain=str(tiny_model), weights=str(path), recipe=str(tiny_recipe), freeze="4",
        execution=Execution(cache=cache),
        lr=1e-12, epochs=1, name="warm", head_init="pretrained",
    )  # fmt: skip
    assert finetune(workspace, settings).record["head"] == {
        "init": "pretrained",
        "rows": {"bouncing": "Bouncing", "turning": "turning"},
        "fresh": ["sliding"],
    }
    rows = torch.load(path, weights_only=True)["state_dict"]
    weight, bias = head_of(workspace, "warm")
    assert torch.allclose(weight[[0, 2]], rows["cls_head.fc_cls.weight"][[300, 7]], atol=1e-6)
    assert torch.allclose(bias[[0, 2]], rows["cls_head.fc_cls.bias"][[300, 7]], atol=1e-6)
    if cache:
        record = finetune(workspace, replace(settings, name="cold", head_init="random")).record
        assert record["head"] == {"init": "random"}
        assert torch.allclose(weight[1], head_of(workspace, "cold")[0][1], atol=1e-6)


def test_a_resumed_run_keeps_what_its_head_has_is_trained(corpus, tiny_recipe, tiny_model, whole):
    workspace = corpus()
    settings = FinetuneSettings(
        pretrain=str(tiny_model), weights=str(whole()), recipe=str(tiny_recipe), freeze="4",
        head_init="pretrained", name="whole",
    )  # fmt: skip

    def stop(now):
        if now.text.startswith("training · epoch 2/2"):
            raise KeyboardInterrupt

    finetune(workspace, settings)
    with pytest.raises(KeyboardInterrupt):
        finetune(workspace, replace(settings, name="stopped"), Reporter(stop))
    finetune(workspace, FinetuneSettings(resume=True, name="stopped"))
    assert torch.equal(head_of(workspace, "whole")[0], head_of(workspace, "stopped")[0])


def test_a_head_of_which_no_class_is_known_starts_at_random_and_says_so(
    corpus, tiny_recipe, tiny_model, whole, tmp_path
):
    other = [f"other {i}" for i in range(400)]
    path = whole()
    content = torch.load(path, weights_only=True)
    content["meta"]["labels"] = other[:12]
    for key in ("weight", "bias"):
        content["state_dict"][f"cls_head.fc_cls.{key}"] = content["state_dict"][f"cls_head.fc_cls.{key}"][:12]
    torch.save(content, path)
    workspace, said = corpus(), []
    settings = FinetuneSettings(
        pretrain=str(tiny_model), weights=str(path), recipe=str(tiny_recipe), freeze="4", epochs=1,
        head_init="pretrained", name="cold",
    )  # fmt: skip
    record = finetune(workspace, settings, Reporter(on_message=said.append)).record
    assert record["head"]["rows"] == {}
    assert any("none of the 3 labels" in line for line in said)
    with pytest.raises(UsageError, match="random weights have no pre-trained classifier"):
        finetune(workspace, replace(settings, weights="none", name="none"))
