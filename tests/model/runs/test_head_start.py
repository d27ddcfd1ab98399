"""Where the head of a partly frozen network starts: solved, unless the recipe says otherwise."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dancecli.core.errors import ModelError, UsageError
from dancecli.core.progress import Reporter
from dancecli.core.recipe import Recipe
from dancecli.core.records import SplitClip
from dancecli.model.networks.base import build_model_config, model_base
from dancecli.model.networks.build import build_model
from dancecli.model.networks.zoo import find_entry
from dancecli.model.runs import finetune as finetune_module
from dancecli.model.runs.finetune import FinetuneSettings, finetune, make_job, make_plan
from dancecli.model.runs.plan import Execution
from dancecli.model.training import solved_head
from dancecli.model.training.distributed import RankInfo
from dancecli.storage import tables


@pytest.fixture
def settings(tmp_path, tiny_model, tiny_recipe):
    base = model_base(find_entry(str(tiny_model)))
    model = build_model(build_model_config(base, Recipe(), 400, None), 3)
    weights = tmp_path / "weights.pth"
    torch.save({"state_dict": model.state_dict()}, weights)
    # A learning rate of next to nothing leaves the start to be seen.
    return FinetuneSettings(
        pretrain=str(tiny_model),
        weights=str(weights),
        recipe=str(tiny_recipe),
        freeze="3",
        epochs=1,
        lr=1e-12,
        name="warm",
        execution=Execution(preflight=False),
    )


def classifier(workspace, run):
    state = torch.load(workspace.run(run) / "checkpoints" / "last.pth", weights_only=True)["state_dict"]
    return state["cls_head.fc_cls.weight"], state["cls_head.fc_cls.bias"]


@pytest.mark.parametrize("freeze", ["3", "1"])
def test_a_partly_frozen_network_starts_from_the_head_that_freeze_4_gives(corpus, settings, freeze):
    workspace, said = corpus(), []
    own = replace(settings, freeze=freeze)
    assert any("starts from the solution on features" in note for note in make_plan(workspace, own).notes)
    record = finetune(workspace, own, Reporter(on_message=said.append)).record
    # The recipe's two views are of training; the solution is that of the evaluation view.
    recipe = Path(settings.recipe)
    recipe.write_text(recipe.read_text().replace("views = 2\n", ""))
    whole = replace(settings, freeze="4", epochs=None, lr=None, changes=("head=solved",), name="whole")
    solved = finetune(workspace, whole).record
    for started, expected in zip(classifier(workspace, "warm"), classifier(workspace, "whole"), strict=True):
        assert torch.allclose(started, expected, atol=1e-5)
    assert record["head"] == solved["head"]
    assert record["head"]["init"] == "solved"
    assert record["recipe"]["head_init"] == "solved"
    assert record["cache"]["used"] == (freeze == "3")
    assert any("the head starts from the solution (C = " in line for line in said)


@pytest.mark.parametrize(
    ("changes", "init", "note"),
    [
        ({"recipe": "paper-optimal"}, "random", "the head starts at random, as the recipe says"),
        ({"head_init": "random"}, "random", "the head starts at random, as the recipe says"),
        ({"weights": "none"}, "random", "the head starts at random: the weights are random"),
        ({"freeze": "4"}, "random", ""),
        ({"freeze": "none"}, "random", ""),
        ({"freeze": "none", "head_init": "solved"}, "solved", "the head starts from the solution"),
    ],
)
def test_the_plan_says_where_the_head_starts(corpus, settings, changes, init, note):
    plan = make_plan(corpus(), replace(settings, **changes))
    assert plan.recipe.head_init == init
    found = [text for text in plan.notes if text.startswith("the head starts")]
    assert [text[: len(note)] for text in found] == ([note] if note else [])


@pytest.mark.parametrize("name", ["optimal", "resnet50", "scheduled", "two-stream"])
def test_no_recipe_of_the_paper_starts_solved(corpus, settings, name):
    plan = make_plan(corpus(), replace(settings, recipe=f"paper-{name}", freeze="2"))
    assert plan.recipe.head_init == "random"


def test_what_cannot_start_solved_is_refused_where_it_is_asked_for(corpus, settings, tiny_model):
    workspace = corpus()
    with pytest.raises(UsageError, match="random weights have no features to solve a head on"):
        make_plan(workspace, replace(settings, weights="none", head_init="solved"))
    text = tiny_model.read_text().replace("average_clips=None", "average_clips=None, unknown=1")
    tiny_model.write_text(text.replace("type='I3DHead'", "type='OtherHead'"))
    with pytest.raises(ModelError, match="the head cannot start solved: it is not known what a OtherHead"):
        make_plan(workspace, replace(settings, head_init="solved"))
    notes = make_plan(workspace, settings).notes
    assert any(note.startswith("the head starts at random: it is not known") for note in notes)


def test_each_fold_starts_from_a_head_that_has_not_seen_its_test_clips(corpus, settings, monkeypatch):
    from tests.model.runs.test_folds import write_folds

    workspace, seen = corpus(), []
    rows = write_folds(workspace)
    solve = solved_head.solve_head
    monkeypatch.setattr(
        solved_head,
        "solve_head",
        lambda x, y, groups, *a, **k: (seen.append(set(groups)), solve(x, y, groups, *a, **k))[1],
    )
    record = finetune(workspace, replace(settings, folds=True, split="folds")).record
    assert record["head"] == {"init": "solved"}
    assert seen == [{row.group for row in rows if row.folds != str(fold)} for fold in (1, 2, 3)]


def test_a_resumed_run_goes_on_with_the_head_that_it_has(corpus, settings, monkeypatch):
    workspace = corpus()
    longer = replace(settings, epochs=2, lr=0.05)

    def stop(now):
        if now.text.startswith("training · epoch 2/2"):
            raise KeyboardInterrupt

    whole = finetune(workspace, replace(longer, name="whole")).record
    with pytest.raises(KeyboardInterrupt):
        finetune(workspace, replace(longer, name="stopped"), Reporter(stop))
    monkeypatch.setattr(solved_head, "solve_head", None)
    record = finetune(workspace, FinetuneSettings(resume=True, name="stopped")).record
    assert record["head"] == whole["head"]
    assert torch.equal(classifier(workspace, "whole")[0], classifier(workspace, "stopped")[0])


def test_other_processes_wait_for_the_head_of_the_first(corpus, settings, monkeypatch):
    workspace = corpus()
    plan = make_plan(workspace, settings)
    job = replace(make_job(workspace, plan), rank_info=RankInfo(1, 2, "pytorch"))
    job.folder.root.mkdir(parents=True)
    monkeypatch.setattr(finetune_module, "_POLL_S", 0.01)
    file = job.folder.root / f"head-start-{finetune_module._start_digest(plan, job)}.pth"
    # A run of this name that was killed before it had a record has left the start of another recipe.
    other = make_plan(workspace, replace(settings, lr=0.5))
    (job.folder.root / f"head-start-{finetune_module._start_digest(other, job)}.pth").touch()
    (job.folder.root / "head-start.pth").touch()
    threading.Timer(0.2, file.touch).start()
    found, _ = finetune_module._with_head_start(workspace, plan, job, Reporter())
    assert file.exists()
    assert found.config["custom_hooks"][-1]["file"] == str(file)


def test_the_start_is_solved_on_the_training_clips_by_group(corpus, settings, monkeypatch):
    workspace, seen = corpus(), []
    solve = solved_head.solve_head
    monkeypatch.setattr(
        solved_head,
        "solve_head",
        lambda x, y, groups, *a, **k: (
            seen.append((x.shape[1], sorted(groups))),
            solve(x, y, groups, *a, **k),
        )[1],
    )
    finetune(workspace, settings)
    of_split = [row for row in tables.read(workspace.split("small"), SplitClip) if row.subset == "train"]
    # One view of each clip: that of evaluation.
    assert seen == [(1, sorted(row.group for row in of_split))]
