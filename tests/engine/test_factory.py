from __future__ import annotations

import pytest
from helpers import video_site
from helpers.video_site import ServedVideos

from dancecli.core.errors import MissingDependencyError, UsageError
from dancecli.dataset.fetch.fetch import fetch
from dancecli.engine.factory import num_cores
from dancecli.storage.workspace import Workspace

source_video, served = video_site.source_video, video_site.served


def test_an_unavailable_engine_is_refused_in_one_line(
    served: ServedVideos, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.want("zumba,-v,1,3")
    with pytest.raises(UsageError, match=r"^--engine 'slurm' is none of local, ray$"):
        fetch(workspace, served.settings(engine="slurm"))
    monkeypatch.setattr("dancecli.engine.factory.find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match="needs Ray") as caught:
        fetch(workspace, served.settings(engine="ray"))
    assert caught.value.hint == "pip install 'dancecli[ray]'"


def test_no_more_workers_than_cores_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {3, 5, 7}, raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 128)
    assert num_cores() == 3
    monkeypatch.delattr("os.sched_getaffinity")
    assert num_cores() == 128
