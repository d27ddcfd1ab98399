"""Commands that write clips, killed in turn at random moments: nothing is lost, nothing is done twice.

`DANCE_KILLS=100 pytest tests/dataset/upkeep/test_killed.py` kills as often as one likes.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from helpers import clip_workspace, video_site
from helpers.video_site import ServedVideos

from dancecli.core.records import Clip, OutcomeClass
from dancecli.dataset.fetch.fetch import fetch
from dancecli.dataset.ingest.import_folder import ImportSettings, import_folder
from dancecli.dataset.ingest.merge import MergeSettings, merge
from dancecli.dataset.quality.audit import AuditSettings, audit
from dancecli.dataset.split.split import SplitSettings, split
from dancecli.dataset.upkeep.clean import CleanSettings, Kind, clean
from dancecli.dataset.upkeep.remove import remove
from dancecli.storage import ledger, tables
from dancecli.storage.removals import read_removals
from dancecli.storage.workspace import Workspace

source_video, served = video_site.source_video, video_site.served
clip_files = clip_workspace.clip_files
KILLS = int(os.environ.get("DANCE_KILLS", "10"))
FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload([__name__])
UNNEEDED = CleanSettings((Kind.UNFINISHED, Kind.ORPHANS))


@dataclass
class Stage:
    """The workspace, what is given to the commands, and the clips that they must make of it."""

    served: ServedVideos
    workspace: Workspace
    tapes: Path
    lets_dance: Path
    clip_files: list[Path]
    rows: list[str] = field(default_factory=list)
    expected: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)

    def more(self, turn: int) -> None:
        """Give all commands something new."""
        for i in range(3):
            self.rows.append(f"zumba,f{turn}x{i},{turn % 4},{turn % 4 + 1}")
            self.expected.add(f"f{turn}x{i}_{turn % 4 * 1000}_{turn % 4 * 1000 + 1000}")
        self.served.want(*self.rows)
        for i in range(2):
            name = f"i{turn:04d}x{i:05d}"
            self._write(self.tapes / "zumba" / f"{name}_000000_000001.mp4", turn + i, name)
            self.expected.add(f"{name}_0_1000")
        name = f"l{turn:04d}xxxxxx"
        self._write(self.lets_dance / "tango" / f"{name}_010.mp4", turn, name)

    def _write(self, path: Path, which: int, mark: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Players ignore what follows the last box of a file, and no two have equal bytes.
        end = b"\0\0\0\x14free" + mark.encode()[:12].ljust(12, b"_")
        path.write_bytes(self.clip_files[which % len(self.clip_files)].read_bytes() + end)

    def commands(self) -> dict[str, Sequence[tuple[Callable[..., object], tuple[object, ...]]]]:
        """Give the calls, each with its arguments; the two shards run beside each other."""
        settings, link = self.served.settings(), ImportSettings(self.tapes)
        link = replace(link, options=replace(link.options, link=True, workers=2))
        mixed = MergeSettings((self.lets_dance,))
        mixed = replace(mixed, options=replace(mixed.options, link=True, workers=2))
        out = sorted(self.removed)
        return {
            "fetch": [(fetch, (self.workspace, settings))],
            "shards": [(fetch, (self.workspace, replace(settings, shard=(i, 2)))) for i in (1, 2)],
            "import": [(import_folder, (self.workspace, link))],
            "merge": [(merge, (self.workspace, mixed))],
            "remove": [(remove, (self.workspace, out, "a request"))] if out else [],
        }


@pytest.mark.timeout(0)
def test_commands_that_are_killed_lose_nothing(
    served: ServedVideos, workspace: Workspace, tmp_path: Path, clip_files: list[Path]
) -> None:
    stage = Stage(served, workspace, tmp_path / "tapes", tmp_path / "lets", clip_files)
    chance, killed, turn = random.Random(KILLS), 0, 0
    while killed < KILLS:
        stage.more(turn)
        for name in stage.commands():
            if name == "remove":
                known = sorted(stage.expected & ledger.latest(workspace.root).keys())
                if not known:
                    continue
                stage.removed.add(chance.choice(known))
                stage.expected -= stage.removed
            calls = stage.commands()[name]
            processes = [FORK.Process(target=call, args=arguments) for call, arguments in calls]
            for process in processes:
                process.start()
            for process in processes:
                process.join(chance.uniform(0.05, 2.5))
                if process.is_alive():
                    process.kill()
                    killed += 1
            for process in processes:
                process.join()
        turn += 1
    for name in ("shards", "remove", "fetch", "import", "merge"):
        for call, arguments in stage.commands()[name]:
            call(*arguments)
    check(stage)


def check(stage: Stage) -> None:
    """Every clip is there once, as recorded, and nothing else is."""
    workspace = stage.workspace
    clips = {clip.clip_id: clip for clip in tables.read(workspace.clips, Clip)}
    assert len(clips) == len(tables.read(workspace.clips, Clip))
    done = {i for i, known in ledger.latest(workspace.root).items() if known.outcome is OutcomeClass.DONE}
    assert done == clips.keys()
    assert {i for i in clips if not i.startswith("l")} == stage.expected
    assert set(read_removals(workspace).rows) == stage.removed
    for clip_id in stage.expected:
        outcomes = [attempt.outcome for attempt in ledger.history(workspace.root, clip_id)]
        assert outcomes.count(OutcomeClass.DONE) == 1, clip_id
    assert clean(workspace, UNNEEDED).items == ()
    shutil.rmtree(workspace.root / "manifests" / "splits", ignore_errors=True)
    split(workspace, SplitSettings(ratios="60/20/20", name="last"))
    assert audit(workspace, AuditSettings()).findings == ()
