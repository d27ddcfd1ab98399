"""The same command again, and what cannot be changed on the way."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dancecli.core.errors import UsageError, WorkspaceError
from dancecli.core.progress import Reporter
from dancecli.model.dataloading.split_data import load_split
from dancecli.model.runs import plan as planning
from dancecli.model.runs import resume
from dancecli.model.runs.finetune import finetune
from dancecli.model.runs.plan import Execution, FinetuneSettings
from dancecli.model.runs.resume import begun_before, plan_of_stopped_run, planned

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def settings(tiny_recipe, tiny_model) -> FinetuneSettings:
    return FinetuneSettings(
        pretrain=str(tiny_model),
        weights="none",
        freeze="4",
        recipe=str(tiny_recipe),
        execution=Execution(preflight=False),
    )


def stop_in(epoch):
    def stop(now):
        if now.text.startswith(f"training · epoch {epoch}/"):
            raise KeyboardInterrupt

    return Reporter(stop)


def times_of(workspace, run):
    rows = map(json.loads, (workspace.run(run) / "metrics.jsonl").read_text().splitlines())
    return [row["time_s"] for row in rows if row["kind"] == "train"]


def test_the_same_command_goes_on_with_what_it_began(corpus, settings, monkeypatch):
    workspace = corpus()
    with pytest.raises(KeyboardInterrupt):
        finetune(workspace, settings, stop_in(2))
    (name,) = workspace.runs()
    # It is planned once, as its record says.
    rest, _ = plan_of_stopped_run(workspace, replace(settings, name=name, resume=True))
    splits = []
    with monkeypatch.context() as counted:
        for module in (planning, resume):
            counted.setattr(module, "load_split", lambda *a, **k: splits.append(a) or load_split(*a, **k))
        assert replace(planned(workspace, settings), notes=()) == replace(rest, notes=())
    assert len(splits) == 1
    path = workspace.run(name) / "run.json"
    record = json.loads(path.read_text()) | {"created_utc": "2020-01-01T00:00:00+00:00"}
    path.write_text(json.dumps(record))
    metrics = workspace.run(name) / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace('"time_s": ', '"time_s": 1000'))
    # With other settings, or while the first one is still at it, it is another run.
    for other in (replace(settings, seed=1), replace(settings, epochs=3), replace(settings, name="new")):
        assert begun_before(workspace, other)[0] is other
    with workspace.lock(f"run-{name}"):
        assert begun_before(workspace, settings)[0] is settings
        with pytest.raises(WorkspaceError, match=f"another 'run-{name}' is at work"):
            finetune(workspace, replace(settings, name=name))
    said = []
    result = finetune(workspace, settings, Reporter(on_message=said.append))
    assert (result.name, result.record["status"]) == (name, "done")
    assert said[0] == f"resuming run {name}, started by the same command; use another --name for a new run"
    assert result.record["created_utc"] == record["created_utc"]
    assert len(result.record["resumed_utc"]) == 1
    # The training time continues too.
    assert times_of(workspace, name) == sorted(times_of(workspace, name))
    assert result.record["seconds"]["train"] >= 1000
    # What is done is done again only if nobody has named it.
    assert not finetune(workspace, replace(settings, name=name)).fresh
    assert begun_before(workspace, settings)[0] is settings


def test_a_run_that_goes_on_takes_no_other_settings(corpus, settings, dance):
    workspace = corpus()
    with pytest.raises(KeyboardInterrupt):
        finetune(workspace, settings, stop_in(1))
    for change, flag in (({"epochs": 9}, "--epochs"), ({"changes": ("ema=0.9",)}, "--set")):
        with pytest.raises(UsageError, match=f"cannot resume with another {flag}"):
            finetune(workspace, FinetuneSettings(resume=True, **change))
    same = FinetuneSettings(resume=True, freeze="4", split="small")
    flags = ("--split", "small", "--dry-run", "--json", "--workspace", str(workspace.root))
    ran = dance("finetune", "--resume", *flags)
    assert (ran.code, ran.json["run"], ran.json["epochs"]) == (0, workspace.runs()[0], 2)
    assert finetune(workspace, same).record["status"] == "done"


def keep_lines(workspace, subset, count):
    """Leave so many clips in a list, as where the others' files are lost; return its text before."""
    path = workspace.annotations("small") / f"{subset}.txt"
    before = path.read_text()
    path.write_text("".join(before.splitlines(True)[:count]))
    return before


def test_changes_of_the_recipe_in_another_order_are_the_same_run(corpus, settings):
    changes = ("label_smoothing=0.1", "ema=0.9")
    workspace, named = corpus(), replace(settings, epochs=1, name="run", changes=changes)
    assert finetune(workspace, named).fresh
    assert not finetune(workspace, replace(named, changes=changes[::-1])).fresh


def test_a_run_on_other_lists_is_neither_complete_nor_resumed(corpus, settings):
    workspace, named = corpus(), replace(settings, epochs=1, name="run")
    assert finetune(workspace, named).fresh
    assert not finetune(workspace, named).fresh
    for subset, left, was in (("train", 6, 7), ("val", 1, 2)):
        before = keep_lines(workspace, subset, left)
        with pytest.raises(WorkspaceError, match="run 'run' exists already"):
            finetune(workspace, named)
        told = rf"other {subset} clips \({left}\) than run 'run' began with \({was}\)"
        with pytest.raises(WorkspaceError, match=told):
            finetune(workspace, FinetuneSettings(resume=True, name="run"))
        (workspace.annotations("small") / f"{subset}.txt").write_text(before)
    assert not finetune(workspace, named).fresh


def test_what_a_take_down_deleted_is_made_again_without_the_clip(corpus, settings, dance):
    workspace = corpus()
    named = replace(settings, name="near", head="knn")
    assert finetune(workspace, named).record["split"]["counts"]["train"] == 7
    done = dance("remove", "vid00_0_2000", "--reason", "asked", "--workspace", str(workspace.root))
    assert done.code == 0, done.err
    again = finetune(workspace, FinetuneSettings(resume=True, name="near"))
    assert again.fresh


def test_a_stopped_run_on_other_lists_is_left_alone(corpus, settings):
    workspace = corpus()
    with pytest.raises(KeyboardInterrupt):
        finetune(workspace, settings, stop_in(1))
    keep_lines(workspace, "train", 6)
    assert begun_before(workspace, settings)[0] is settings


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_no_generator_takes_is_refused(corpus, settings, seed):
    with pytest.raises(UsageError, match=f"seed {seed} is not an integer from 0 to 4294967295"):
        finetune(corpus(), replace(settings, seed=seed))


def test_a_run_does_not_resume_on_other_initial_weights(corpus, settings, tmp_path):
    import torch

    from dancecli.core.errors import WorkspaceError
    from dancecli.model.networks.base import build_model_config, model_base
    from dancecli.model.networks.build import build_model
    from dancecli.model.networks.zoo import find_entry
    from dancecli.model.runs.plan import make_plan

    workspace, file = corpus(), tmp_path / "weights.pth"

    def write_weights(seed):
        plan = make_plan(workspace, replace(settings, name=None))
        config = build_model_config(model_base(find_entry(settings.pretrain)), plan.recipe, 3, None)
        torch.save({"state_dict": build_model(config, seed, None).state_dict()}, file)

    write_weights(1)
    begun = replace(settings, weights=str(file), name="w")
    with pytest.raises(KeyboardInterrupt):
        finetune(workspace, begun, stop_in(2))
    write_weights(2)
    with pytest.raises(WorkspaceError, match="the initial weights have changed since run 'w' was started"):
        finetune(workspace, FinetuneSettings(resume=True, name="w"))
    write_weights(1)
    assert finetune(workspace, FinetuneSettings(resume=True, name="w")).record["status"] == "done"
