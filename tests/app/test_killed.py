"""The server killed among writes: every correction that was acknowledged is there, and there once."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import clip_workspace
from helpers.predicted import make_recording, predicted

from benchmarks.lib.app_killed import kill_while_writing
from dancecli.storage.workspace import Workspace

clip_files, populated = clip_workspace.clip_files, clip_workspace.populated
KILLS = 10


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_recording(tmp_path_factory.mktemp("films") / "evening.mp4")


def test_nothing_that_was_acknowledged_is_lost_or_doubled(populated: Workspace, film: Path) -> None:
    predicted(populated, film)
    tally = kill_while_writing(populated, KILLS)
    assert tally.kills == KILLS
    assert len(tally.acknowledged) >= KILLS
    # Each kill cut off at least one writer.
    assert len(tally.unanswered) >= KILLS
    assert (tally.lost, tally.doubled) == ([], [])
