"""Two runs with the same frozen part, side by side."""

from __future__ import annotations

from dataclasses import replace

from dancecli.core.progress import Reporter
from dancecli.model.runs.finetune import make_job
from dancecli.model.runs.plan import Execution, FinetuneSettings, make_plan


def test_a_run_waits_for_another_that_computes_its_features(corpus, tiny_recipe, tiny_model, monkeypatch):
    import filelock

    from dancecli.model.training.features import loaders

    workspace = corpus()
    settings = FinetuneSettings(
        pretrain=str(tiny_model),
        weights="none",
        freeze="4",
        recipe=str(tiny_recipe),
        execution=Execution(cache=True),
    )
    job = make_job(workspace, make_plan(workspace, settings))
    views = loaders.views_to_compute(job)
    others = [filelock.FileLock(path) for path in (workspace.root / ".locks").glob("features-*.lock")]
    assert others
    for lock in others:
        lock.acquire()
    monkeypatch.setattr("dancecli.storage.workspace._WAITING_S", 0.05)
    said = []

    def the_other_ends(now):
        said.append(now.text)
        for lock in others:
            lock.release()

    assert loaders.views_to_compute(job, Reporter(the_other_ends)) == views
    assert said == ["features · waiting for another run that computes them"]


def test_features_of_weights_that_lack_some_are_those_of_one_seed(corpus, tiny_recipe, tiny_model, tmp_path):
    from dancecli.model.networks.build import build_model
    from dancecli.model.training.features import loaders
    from dancecli.storage.files import save_torch

    workspace = corpus()
    settings = FinetuneSettings(pretrain=str(tiny_model), weights="none", freeze="4", recipe=str(tiny_recipe))
    job = make_job(workspace, make_plan(workspace, settings))
    state = build_model(job.config["model"], 0).state_dict()
    whole, cut = tmp_path / "whole.pth", tmp_path / "cut.pth"
    save_torch(whole, {"state_dict": state})
    save_torch(
        cut, {"state_dict": {key: value for key, value in state.items() if ".layer1.0.conv1.bn" not in key}}
    )
    parts = []
    for path, same in ((whole, True), (cut, False)):
        given = replace(settings, weights=str(path))
        jobs = [make_job(workspace, make_plan(workspace, replace(given, seed=seed))) for seed in (0, 1)]
        keys = [loaders._store_parts(job, {"pipeline": []}) for job in jobs]
        assert (keys[0] == keys[1]) is same
        parts.append(keys[0])
    # Other weights, which a file of the same name may hold later, give other features.
    state["backbone.conv1.conv.weight"] += 1
    save_torch(whole, {"state_dict": state})
    job = make_job(workspace, make_plan(workspace, replace(settings, weights=str(whole))))
    assert loaders._store_parts(job, {"pipeline": []}) != parts[0]


def test_features_depend_on_everything_that_is_seen_and_on_nothing_that_is_trained(
    corpus, tiny_recipe, tiny_model
):
    from dancecli.model.training.features import loaders
    from dancecli.model.training.features.store import store_key

    workspace = corpus()
    settings = FinetuneSettings(pretrain=str(tiny_model), weights="none", freeze="4", recipe=str(tiny_recipe))

    def key(**changes: object) -> str:
        changed = tuple(f"{name}={value}" for name, value in changes.items())
        plan = make_plan(workspace, replace(settings, changes=changed))
        job = make_job(workspace, plan)
        return store_key(**loaders._store_parts(job, job.config["train_dataloader"]["dataset"]))

    seen = [
        key(),
        key(crop=32),
        key(flip="false"),
        key(train_crop="resized"),
        key(augment="hflip"),
        key(clip_len=4),
        key(view_seed=5),
        key(short_side=72),
    ]
    assert len(set(seen)) == len(seen)
    assert key(lr=0.5) == key(dropout=0.1) == key(epochs=9) == seen[0]
    before = tiny_model.read_text()
    tiny_model.write_text(before.replace("std=[64.]", "std=[63.]"))
    assert key() not in seen


def test_the_size_is_told_and_refused_before_the_first_clip(corpus, tiny_recipe, tiny_model, monkeypatch):
    import shutil

    import pytest

    from dancecli.core.errors import WorkspaceError
    from dancecli.model.training.features import loaders, store

    workspace = corpus()
    settings = FinetuneSettings(pretrain=str(tiny_model), weights="none", freeze="3", recipe=str(tiny_recipe))
    job = make_job(
        workspace, make_plan(workspace, replace(settings, execution=Execution(cache=True, preflight=False)))
    )
    said = []
    real = shutil.disk_usage
    monkeypatch.setattr(store.shutil, "disk_usage", lambda path: real(path)._replace(free=1 << 30))
    with pytest.raises(WorkspaceError, match=r"the features of \d+ views need .* GB, and 1\.1 GB are free"):
        loaders.cached_features(job, None, Reporter(on_message=said.append))
    monkeypatch.undo()
    assert not list((workspace.root / "cache" / "features").glob("*/features.bin"))
    pending = loaders.views_to_compute(job)
    found = loaders.cached_features(job, None, Reporter(on_message=said.append))
    written = sum(
        path.stat().st_size for path in (workspace.root / "cache" / "features").glob("*/features.bin")
    )
    shown = f"{max(written, 1e5) / 1e6:.1f} MB"
    assert [line.split(" in /")[0] for line in said] == [
        f"features of {pending.views} views take {shown}"
    ] * 2
    assert len(found.loaders) == 3
    assert (found.computed, found.engines) == (pending.views, {"torch": pending.views})
    again = loaders.cached_features(job, None)
    assert (again.computed, again.engines) == (0, {})
