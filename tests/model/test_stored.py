"""Two runs with the same frozen part, side by side."""

from __future__ import annotations

from dancecli.model.plan import FinetuneSettings, make_plan
from dancecli.model.train import make_job
from dancecli.schema import no_progress


def test_a_run_waits_for_another_that_computes_its_features(corpus, tiny_recipe, tiny_model, monkeypatch):
    import filelock

    from dancecli.model import stored

    workspace = corpus()
    settings = FinetuneSettings(
        pretrain=str(tiny_model), weights="none", freeze="4", recipe=str(tiny_recipe), cache=True
    )
    job = make_job(workspace, make_plan(workspace, settings), no_progress)
    views = stored.unstored_views(job)
    others = [filelock.FileLock(path) for path in (workspace.root / ".locks").glob("features-*.lock")]
    assert others
    for lock in others:
        lock.acquire()
    monkeypatch.setattr(stored, "_SAY_EVERY_S", 0.05)
    said = []

    def the_other_ends(now):
        said.append(now.text)
        for lock in others:
            lock.release()

    assert stored.unstored_views(job, the_other_ends) == views
    assert said == ["features · waiting for another run that computes them"]
