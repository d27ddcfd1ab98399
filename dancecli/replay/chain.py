"""`dance replay`: the commands that a user would type, one after the other, and a page in the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dancecli import manifest
from dancecli.demo.chain import SITE_FOLDER, fetch_command, refuse_other_dataset, require_parts, run
from dancecli.demo.corpus import CorpusSettings, make_corpus
from dancecli.demo.server import VideoSite
from dancecli.errors import WorkspaceError
from dancecli.replay.plan import (
    OURS,
    PUBLISHED,
    Trial,
    at,
    finetune_command,
    measured_pace,
    plan_trials,
    seconds,
    split_command,
    write_lock_with_val,
    write_quick_recipe,
)
from dancecli.report.page import without_workspace
from dancecli.report.paper import read_experiments
from dancecli.report.replay import Replayed, read_ran
from dancecli.report.replay_page import write_replay
from dancecli.schema import Clip, OnProgress, Say, no_progress
from dancecli.workspace import Workspace

Command = tuple[str, ...]


@dataclass(frozen=True)
class ReplaySettings:
    """How much is replayed.

    Attributes:
        quick: on the demo's dancers, offline, in minutes.
        quiet_stdout: what the commands print goes to stderr, as `--json` wants it.
    """

    quick: bool = False
    quiet_stdout: bool = False

    @property
    def corpus(self) -> CorpusSettings:
        """What the quick form draws."""
        return CorpusSettings(videos_per_style=12, width=160, height=120, faulty=False)


@dataclass(frozen=True)
class ReplayResult:
    """What came out.

    Attributes:
        commands: what was run now, without the program's name.
        document: what `replay.json` holds.
    """

    page: Path
    commands: tuple[Command, ...]
    seconds: float
    document: dict[str, Any]


@dataclass(frozen=True)
class Preview:
    """What a replay would do: its commands, and about how long the runs take."""

    commands: tuple[Command, ...]
    seconds: float
    left_out: dict[str, str]


def replay(
    workspace: Workspace,
    settings: ReplaySettings,
    say: Say,
    on_progress: OnProgress = no_progress,
) -> ReplayResult:
    """Run the paper's experiments as published and under our protocol, and write `reports/replay/`.

    What an earlier call finished is not done again.

    Args:
        workspace: one with clips; for the quick form a new folder, or that of an earlier demo.
        settings: how much.
        say: hears of the cost, and of each command before it runs.
        on_progress: of the videos that the quick form draws.

    Raises:
        WorkspaceError: there are no clips, or runs of these names are of something else.
        DanceError: a command failed; it has said why.
    """
    began = time.monotonic()
    done: list[Command] = []

    def do(command: Command) -> None:
        run(command, say, quiet=settings.quiet_stdout)
        done.append(command)

    with workspace.lock("replay"):
        if settings.quick:
            _have_dancers(workspace, settings, say, on_progress, do)
        plan = preview(workspace, settings)
        for name, why in plan.left_out.items():
            say(f"not replayed: {name}: {why}")
        say(f"the runs that are still to be made take about {_long(plan.seconds)} on this machine")
        trials, _ = _trials(workspace, settings)
        if settings.quick:
            for trial in trials:
                write_quick_recipe(workspace, trial.experiment.recipe)
        for command in _commands(workspace, trials, write=True):
            do(command)
        page, document = _draw(workspace, settings)
    return ReplayResult(page, tuple(done), time.monotonic() - began, document)


def preview(workspace: Workspace, settings: ReplaySettings) -> Preview:
    """Say what a replay would do, and write nothing.

    Raises:
        WorkspaceError: there are no clips to split.
    """
    trials, left_out = _trials(workspace, settings)
    still = [trial for trial in trials if trial.status != "done"]
    commands = tuple(_commands(workspace, trials, write=False))
    if settings.quick and not workspace.clips.exists():
        commands = (fetch_command(workspace, "http://127.0.0.1:PORT/v/{video_id}.mp4"), *commands)
    cost = seconds(still, _num_clips(workspace, settings), measured_pace()) if still else 0.0
    return Preview(commands, cost, left_out)


def _trials(workspace: Workspace, settings: ReplaySettings) -> tuple[list[Trial], dict[str, str]]:
    clips = _num_clips(workspace, settings)
    return plan_trials(workspace, read_experiments(), quick=settings.quick, clips=clips)


def _num_clips(workspace: Workspace, settings: ReplaySettings) -> int:
    if workspace.clips.exists():
        return sum(not clip.parent_id for clip in manifest.read(workspace.clips, Clip))
    if not settings.quick:
        raise WorkspaceError(
            f"{workspace.root}: there are no clips to replay the paper on",
            "dance fetch first; or dance replay --quick, which makes its own",
        )
    # Two or three of each video.
    return round(2.5 * 6 * settings.corpus.videos_per_style)


def _have_dancers(
    workspace: Workspace,
    settings: ReplaySettings,
    say: Say,
    on_progress: OnProgress,
    do: Callable[[Command], None],
) -> None:
    """Draw, serve and fetch the quick form's corpus, unless a demo's clips are there already."""
    refuse_other_dataset(workspace)
    require_parts()
    if workspace.clips.exists():
        return
    corpus = make_corpus(workspace.root / SITE_FOLDER, settings.corpus, on_progress)
    say(f"corpus: {corpus.rows} segments of procedural dancers in {corpus.videos}")
    with VideoSite(corpus.videos, corpus.faults) as site:
        do(fetch_command(workspace, site.url_template))


def _commands(workspace: Workspace, trials: Sequence[Trial], *, write: bool) -> Iterator[Command]:
    """Give each command when its turn comes: our split is made from what the published one became."""
    made: set[str] = set()
    for trial in trials:
        if trial.split not in made:
            if trial.protocol == OURS and write:
                write_lock_with_val(workspace, trial.base_split)
            yield split_command(workspace, trial)
            made.add(trial.split)
        if trial.status != "done":
            yield finetune_command(workspace, trial)
        yield ("report", *at(workspace), "--run", trial.run)


def _draw(workspace: Workspace, settings: ReplaySettings) -> tuple[Path, dict[str, Any]]:
    trials, left_out = _trials(workspace, settings)
    runs = {(trial.experiment.name, trial.protocol): trial.run for trial in trials}
    found = []
    for one in read_experiments():
        if one.name in left_out:
            found.append(Replayed(one, why=left_out[one.name]))
        else:
            published, ours = (
                read_ran(workspace, runs[one.name, protocol]) for protocol in (PUBLISHED, OURS)
            )
            found.append(Replayed(one, published, ours))
    # The page says what makes the runs, whatever was there already when it was drawn.
    fresh = [replace(trial, status="") for trial in trials]
    commands = [_inside(workspace, command) for command in _commands(workspace, fresh, write=False)]
    return write_replay(workspace, found, commands, quick=settings.quick)


def _inside(workspace: Workspace, command: Command) -> list[str]:
    """Write a command as it is typed in the workspace's folder."""
    root = at(workspace)[1] + "/"
    return [word.removeprefix(root) for word in without_workspace(list(command))]


def _long(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds / 10)) * 10} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
