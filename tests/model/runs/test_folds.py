"""Cross-validation: shared features, pooled predictions, and what reads such runs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dancecli.core.errors import UsageError, WorkspaceError
from dancecli.core.hashing import assign_folds
from dancecli.core.progress import Reporter
from dancecli.core.records import Clip, Control, Prediction, SplitClip, Subset
from dancecli.core.video_files import clip_path
from dancecli.model.dataloading.split_data import count_repeats, load_split
from dancecli.model.evaluation.controls import ControlSettings, evaluate_controls
from dancecli.model.networks.checkpoint import run_checkpoint
from dancecli.model.runs.finetune import FinetuneSettings, finetune
from dancecli.model.runs.folds import folds_of
from dancecli.model.runs.plan import Execution
from dancecli.model.runs.seeds import finetune_seeds
from dancecli.model.tuning.plan import TuneSettings, plan_study
from dancecli.report.compare import CompareSettings, compare
from dancecli.report.report import ReportSettings, report
from dancecli.storage import tables

LABELS = ("bouncing", "sliding", "turning")
FOLDS = 3


def write_folds(workspace, name="folds", repeats=1):
    """Divide the corpus as `dance split --folds` does, with its lists."""
    clips = sorted(tables.read(workspace.clips, Clip))
    labels, groups = [c.label for c in clips], [c.video_id for c in clips]
    drawn = [assign_folds(labels, groups, FOLDS, seed) for seed in range(repeats)]
    rows = [
        SplitClip(c.clip_id, "test", c.video_id, c.label, c.sha256, "/".join(str(d[i] + 1) for d in drawn))
        for i, c in enumerate(clips)
    ]
    meta = {
        "split.name": name,
        "split.hash": "0" * 64,
        "split.seed": "0",
        "split.ratios": "3 folds",
        "split.labels": json.dumps(LABELS),
    }
    tables.write(workspace.split(name), SplitClip, rows, meta)
    folder = workspace.annotations(name)
    lists = {"train": [], "val": [], "test": rows}
    for fold in range(1, FOLDS + 1):
        lists[f"fold{fold}/train"] = [r for r in rows if r.folds != str(fold)]
        lists[f"fold{fold}/test"] = [r for r in rows if r.folds == str(fold)]
    for file, listed in lists.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        lines = [f"{clip_path('clips', f'{r.clip_id}.mp4')} {LABELS.index(r.label)}\n" for r in listed]
        (folder / f"{file}.txt").write_text("".join(lines))
    (folder / "label_map.txt").write_text("".join(f"{label}\n" for label in LABELS))
    return rows


@pytest.fixture
def settings(tiny_model, tiny_recipe):
    text = tiny_recipe.read_text()
    tiny_recipe.write_text("".join(line for line in text.splitlines(True) if not line.startswith("views")))
    return FinetuneSettings(
        pretrain=str(tiny_model),
        weights="none",
        freeze="4",
        recipe=str(tiny_recipe),
        name="cv",
        split="folds",
        folds=True,
        changes=("head=solved",),
        execution=Execution(preflight=False),
    )


def test_every_clip_is_scored_once_by_a_model_that_was_not_trained_on_its_fold(corpus, settings, monkeypatch):
    from dancecli.model.training import solved_head

    workspace, trained = corpus(), []
    rows = write_folds(workspace)
    solve = solved_head.solve_head
    monkeypatch.setattr(
        solved_head,
        "solve_head",
        lambda x, y, groups, *a, **k: (trained.append(set(groups)), solve(x, y, groups, *a, **k))[1],
    )
    said: list[str] = []
    record = finetune(workspace, settings, Reporter(on_message=said.append)).record
    found = tables.read(workspace.run("cv") / "predictions.parquet", Prediction)
    assert sorted(row.clip_id for row in found) == sorted(row.clip_id for row in rows)
    assert {row.subset for row in found} == {"test"}
    for fold in range(1, FOLDS + 1):
        assert trained[fold - 1] == {row.group for row in rows if row.folds != str(fold)}
    # The checkpoint's model has seen all of them.
    assert trained[FOLDS] == {row.group for row in rows}
    of_fold = record["cross_validation"]["of_fold"]
    assert sum(row["n"] for row in of_fold) == record["results"]["test"]["n"] == len(rows)
    assert sum(row["top1"] for row in of_fold) == record["results"]["test"]["top1"]
    assert (record["split"]["folds"], record["checkpoint"]["name"]) == (FOLDS, "last")
    # Training and test clips are the same views: each is computed once.
    assert any(f"features of {len(rows)} views" in line for line in said)
    assert not finetune(workspace, settings).fresh


def test_a_fold_is_scored_as_by_a_run_on_that_division(corpus, settings):
    workspace = corpus()
    rows = write_folds(workspace)
    finetune(workspace, settings)
    found = tables.read(workspace.run("cv") / "predictions.parquet", Prediction)
    scores = {row.clip_id: row.scores for row in found}
    ordinary = [replace(row, subset="test" if row.folds == "1" else "train", folds="") for row in rows]
    meta = tables.read_meta(workspace.split("folds"))
    tables.write(workspace.split("one"), SplitClip, ordinary, {k: v for k, v in meta.items() if "split" in k})
    for subset in ("train", "val", "test"):
        source = workspace.annotations("folds") / "fold1" / f"{subset}.txt"
        (workspace.annotations("one")).mkdir(parents=True, exist_ok=True)
        text = source.read_text() if source.exists() else ""
        (workspace.annotations("one") / f"{subset}.txt").write_text(text)
    label_map = (workspace.annotations("folds") / "label_map.txt").read_text()
    (workspace.annotations("one") / "label_map.txt").write_text(label_map)
    finetune(workspace, replace(settings, split="one", name="one", folds=False))
    own = tables.read(workspace.run("one") / "predictions.parquet", Prediction)
    assert len(own) == sum(row.folds == "1" for row in rows)
    for row in own:
        assert row.scores == pytest.approx(scores[row.clip_id], abs=1e-5)


def test_training_by_epochs_keeps_complete_folds_when_interrupted(corpus, settings, dance):
    workspace = corpus()
    write_folds(workspace)
    by_epochs = replace(settings, changes=("head=trained",), name="epochs")

    def stop(now):
        if (workspace.run("epochs") / "folds" / "2" / "metrics.jsonl").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(workspace, by_epochs, Reporter(stop))
    first = (workspace.run("epochs") / "folds" / "1" / "predictions.parquet").stat().st_mtime_ns
    record = finetune(workspace, by_epochs).record
    assert (workspace.run("epochs") / "folds" / "1" / "predictions.parquet").stat().st_mtime_ns == first
    assert record["results"]["test"]["n"] == 12
    assert record["checkpoint"]["name"] is None
    assert len(record["cross_validation"]["of_fold"]) == FOLDS
    with pytest.raises(WorkspaceError, match="cross-validation by epochs, which keeps no model of all clips"):
        run_checkpoint(workspace, "epochs")
    done = dance("finetune", "--resume", "--name", "epochs", "--workspace", str(workspace.root))
    assert "checkpoint: none for dance predict" in done.out


def test_repeats_are_a_group_of_runs_that_report_and_compare_take(corpus, settings):
    workspace = corpus()
    write_folds(workspace, repeats=2)
    assert count_repeats(workspace, "folds") == 2
    data = load_split(workspace, "folds", folds=True)
    # Each clip is in train and in test, and is counted once.
    assert len(data.lengths) == len(data.examples[Subset.TEST])
    assert folds_of(data, 0).of_clip != folds_of(data, 1).of_clip
    group = finetune_seeds(workspace, replace(settings, seed=0), 2)
    assert [r["cross_validation"]["repeat"] for r in group.records] == [1, 2]
    found = report(workspace, ReportSettings(run="cv"))
    assert "top-1 over 2 seeds" in found.headline
    single = report(workspace, ReportSettings(run="cv-seed0"))
    page = single.page.read_text()
    assert "cross-validated in 3 folds on 12 clips" in page
    assert "share training clips, so that their standard deviation is no standard error" in page
    assert "none of which is in two folds" in page
    assert single.document["subsets"]["test"]["videos_also_in_training"] == 0
    compared = compare(workspace, CompareSettings(first="cv-seed0", second="cv-seed1"))
    assert compared.comparison.paired.n == 12


def test_a_group_in_two_folds_is_reported_as_a_leak(corpus, settings):
    workspace = corpus()
    rows = write_folds(workspace)
    finetune(workspace, settings)
    torn = [replace(row, group="same") if row.clip_id[:5] in ("vid00", "vid01") else row for row in rows]
    assert len({row.folds for row in torn if row.group == "same"}) == 2
    meta = tables.read_meta(workspace.split("folds"))
    tables.write(workspace.split("folds"), SplitClip, torn, {k: v for k, v in meta.items() if "split" in k})
    found = report(workspace, ReportSettings(run="cv"))
    assert found.document["subsets"]["test"]["videos_also_in_training"] == 1


def test_folds_and_ordinary_splits_are_not_mixed_up(corpus, settings):
    workspace = corpus()
    write_folds(workspace)
    with pytest.raises(WorkspaceError, match="split 'small' has no folds"):
        finetune(workspace, replace(settings, split="small"))
    with pytest.raises(WorkspaceError, match="is one of cross-validation") as error:
        finetune(workspace, replace(settings, folds=False))
    assert "dance finetune --folds --split folds" in error.value.hint
    finetune(workspace, settings)
    with pytest.raises(UsageError, match="cannot resume with another --split"):
        finetune(workspace, replace(settings, resume=True, split="small"))


def test_what_needs_subsets_says_so_of_folds(corpus, settings):
    workspace = corpus()
    write_folds(workspace)
    finetune(workspace, settings)
    for run in ("cv", None):
        with pytest.raises(WorkspaceError, match="run 'cv' is cross-validated") as error:
            evaluate_controls(workspace, ControlSettings(run, (Control.STILL,)))
        assert error.value.hint == (
            "controls need a run with a test subset: dance split --ratios 50/50 --name NAME, "
            "dance finetune --split NAME"
        )
    with pytest.raises(WorkspaceError, match="split 'folds' is one of cross-validation") as error:
        plan_study(workspace, TuneSettings(pretrain=settings.pretrain, weights="none", split="folds"))
    assert "--split with a train and a val subset" in error.value.hint


@pytest.mark.parametrize("folds", [False, True])
def test_a_learning_curve_has_nested_draws_and_tests_the_same_clips(corpus, settings, folds):
    from dancecli.model.runs.learning_curve import ALL, learning_curve
    from dancecli.report.learning import write_learning_curve

    workspace = corpus()
    write_folds(workspace)
    own = replace(settings, name=None, folds=folds, split="folds" if folds else "small")
    said: list[str] = []
    curve = learning_curve(workspace, own, (1, 2, 50, ALL), 2, Reporter(on_message=said.append))
    tested = 12 if folds else 3
    assert [(p.per_class, len(p.hits)) for p in curve.points] == [(1, 2), (2, 2), (ALL, 1)]
    assert {len(hits) for point in curve.points for hits in point.hits} == {tested}
    assert [p.clips for p in curve.points] == ([3, 6, 8] if folds else [3, 6, 7])
    assert any("50 per class is all of them" in line for line in said)
    assert workspace.runs() == []
    points = [(p.per_class, p.clips, p.hits) for p in curve.points]
    found = write_learning_curve(workspace, "curve", points, curve.groups, curve.facts)
    best = sum(curve.points[-1].hits[0])
    assert ("more training clips" if best < tested else "all tested clips are right") in found.advice
    assert [p["per_class"] for p in found.document["points"]] == [1, 2, "all"]
    assert found.document["tested"]["clips"] == tested
    assert "forecast" in found.page.read_text()


def test_smaller_draws_lie_within_larger_ones():
    from dancecli.model.runs.learning_curve import ALL, draw_clips

    labels, groups = [i % 3 for i in range(60)], [f"g{i // 2}" for i in range(60)]
    names = [f"clip{i}" for i in range(60)]
    five, ten = (draw_clips(range(60), labels, groups, names, size, seed=4) for size in (5, 10))
    assert set(five) < set(ten)
    assert [sum(labels[i] == c for i in five) for c in range(3)] == [5, 5, 5]
    assert draw_clips(range(60), labels, groups, names, 5, seed=5) != five
    assert draw_clips(range(60), labels, groups, names, ALL, seed=5) == list(range(60))
    # Augmented copies stand behind all clips in the list: they go with theirs, and do not count.
    twice = draw_clips(range(120), labels * 2, groups * 2, names * 2, 5, seed=4)
    assert twice == [*five, *(60 + i for i in five)]


def test_a_learning_curve_of_one_point_is_none(corpus, settings):
    from dancecli.model.runs.learning_curve import ALL, learning_curve

    own = replace(settings, name=None, folds=False, split="small")
    with pytest.raises(UsageError, match="no class has more than"):
        learning_curve(corpus(), own, (20, 50, ALL), 2, Reporter())


def test_sizes_are_read_and_refused_with_an_example():
    from dancecli.model.runs.learning_curve import ALL, parse_sizes

    assert parse_sizes("20,5,all") == (5, 20, ALL)
    for text in ("5,x", "0,5", "5", ""):
        with pytest.raises(UsageError):
            parse_sizes(text)


def test_a_learning_curve_needs_a_solved_head(corpus, settings):
    from dancecli.model.runs.learning_curve import learning_curve

    with pytest.raises(UsageError, match="more than the head is trained"):
        learning_curve(
            corpus(), replace(settings, folds=False, split="small", freeze="3"), (1, 2), 2, Reporter()
        )


def test_a_heat_map_of_another_model_than_scored_the_clips_is_refused(corpus, settings):
    from dancecli.core.errors import ModelError
    from dancecli.model.evaluation.gradcam import GradcamSettings, gradcam

    workspace = corpus()
    write_folds(workspace)
    finetune(workspace, settings)
    with pytest.raises(ModelError, match="the models that scored its clips are not kept"):
        gradcam(workspace, GradcamSettings("cv", ()))


def test_a_validation_subset_too_small_to_choose_by_is_named(corpus, settings):
    from dancecli.model.runs.plan import make_plan

    workspace = corpus()
    ordinary = replace(settings, name=None, folds=False, split="small")
    chosen = "the epoch is chosen by 2 validation clips, each worth 50.0 points"
    assert not any(chosen in note for note in make_plan(workspace, ordinary).notes)
    trained = make_plan(workspace, replace(ordinary, changes=("head=trained",)))
    assert any(chosen in note for note in trained.notes)
