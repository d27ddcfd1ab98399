"""A validation subset that is too small to choose by: nothing is chosen by it, and it is trained on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dancecli.core.records import Prediction, Subset
from dancecli.model.dataloading.split_data import load_split
from dancecli.model.evaluation.evaluate import find_overlap
from dancecli.model.runs import plan as plan_module
from dancecli.model.runs.features import FeatureForm, FeatureSettings, export_features
from dancecli.model.runs.finetune import FinetuneSettings, finetune, make_plan
from dancecli.model.runs.plan import Execution
from dancecli.model.training import solved_head
from dancecli.model.tuning.plan import TuneSettings, plan_study
from dancecli.report.report import ReportSettings, report
from dancecli.storage import tables


@pytest.fixture
def settings(tiny_model, tiny_recipe):
    text = tiny_recipe.read_text().replace("validation = 'held-out'\n", "").replace("views = 2\n", "")
    tiny_recipe.write_text(text)
    return FinetuneSettings(
        pretrain=str(tiny_model),
        weights="none",
        freeze="4",
        recipe=str(tiny_recipe),
        name="run",
        changes=("head=solved",),
        execution=Execution(preflight=False),
    )


def test_the_head_is_solved_on_train_and_validation_clips_which_is_recorded_and_reported(
    corpus, settings, monkeypatch
):
    workspace, seen = corpus(), []
    solve = solved_head.solve_head
    monkeypatch.setattr(
        solved_head,
        "solve_head",
        lambda x, y, groups, *a, **k: (seen.extend(groups), solve(x, y, groups, *a, **k))[1],
    )
    plan = make_plan(workspace, settings)
    assert any(
        note.startswith("the validation subset has 2 clips, each worth 50.0 points: too few to choose by")
        for note in plan.notes
    )
    record = finetune(workspace, settings).record
    whole = load_split(workspace, "small")
    used = [example for subset in (Subset.TRAIN, Subset.VAL) for example in whole.examples[subset]]
    assert sorted(seen) == sorted(example.clip_id[:5] for example in used)
    assert record["split"]["val_in_train"] == 2
    assert record["split"]["counts"] == {"train": 9, "val": 0, "test": 3}
    assert record["results"]["val"] is None
    listed = (workspace.annotations("small") / "train-and-val.txt").read_text().splitlines()
    assert listed == [f"{example.path} {example.label_index}" for example in used]
    assert (
        str(workspace.annotations("small") / "train-and-val.txt")
        in (workspace.run("run") / "config.py").read_text()
    )
    found = report(workspace, ReportSettings(run="run"))
    assert (
        "trained on 9 clips of split “small” (with the 2 of its validation subset" in found.page.read_text()
    )
    # Evaluated again, these clips are known to have been trained on.
    overlap = find_overlap(workspace, record, whole)
    assert overlap["val"] == {"clips": 2, "n": 2, "videos": 2}


def test_the_epoch_is_the_last_one_and_patience_has_nothing_to_go_by(corpus, settings):
    workspace = corpus()
    trained = replace(settings, changes=("head=trained", "patience=1"), views=1)
    record = finetune(workspace, trained).record
    assert record["checkpoint"]["name"] == "last"
    assert record["checkpoint"]["epochs_run"] == 2
    rows = tables.read(workspace.run("run") / "predictions.parquet", Prediction)
    assert {row.subset for row in rows} == {"test"}


def test_a_larger_one_and_one_that_is_held_out_are_not_trained_on(corpus, settings, monkeypatch):
    workspace = corpus()
    held_out = replace(settings, changes=("head=solved", "validation=held-out"))
    assert make_plan(workspace, held_out).data.counts == {"train": 7, "val": 2, "test": 3}
    monkeypatch.setattr(plan_module, "FEW_VALIDATION_CLIPS", 2)
    plan = make_plan(workspace, settings)
    assert plan.data.counts == {"train": 7, "val": 2, "test": 3}
    assert finetune(workspace, settings).record["results"]["val"]["n"] == 2


def test_a_study_chooses_by_the_validation_subset_and_features_are_exported_under_its_name(
    corpus, settings, tmp_path
):
    workspace = corpus()
    own = {key: getattr(settings, key) for key in ("pretrain", "weights", "freeze", "recipe", "execution")}
    study = plan_study(workspace, TuneSettings(**own, changes=("head=trained",), views=1))
    assert study.base.data.counts["val"] == 2
    assert study.sequential == ""
    to = tmp_path / "features.npy"
    export_features(
        workspace,
        FeatureSettings(
            pretrain=settings.pretrain, weights="none", recipe=settings.recipe, form=FeatureForm.NPY, to=to
        ),
    )
    rows = to.with_suffix(".csv").read_text().splitlines()[1:]
    assert sum(row.split(",")[1] == "val" for row in rows) == 2


def test_a_resumed_run_trains_on_the_same_clips(corpus, settings):
    from dancecli.core.progress import Reporter

    workspace = corpus()
    trained = replace(settings, changes=("head=trained",), views=1, name="stopped")

    def stop(now):
        if now.text.startswith("training · epoch 2/2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(workspace, trained, Reporter(stop))
    record = finetune(workspace, FinetuneSettings(resume=True, name="stopped")).record
    assert record["split"]["val_in_train"] == 2
