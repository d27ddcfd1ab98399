"""`dance reproduce`: the commands that a user would type, one after the other, and a page in the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dancecli.core.errors import DanceError, ModelError, WorkspaceError
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import Clip
from dancecli.core.text import time_words
from dancecli.demo.corpus import make_corpus
from dancecli.demo.pipeline import SITE_FOLDER, fetch_command, refuse_other_dataset, require_packages, run
from dancecli.demo.video_site import VideoSite
from dancecli.model.runs.two_stream import fetch_imagenet
from dancecli.model.runs.two_stream_plan import IMAGENET, NONE
from dancecli.report.pages.reproduction_page import write_reproduction
from dancecli.report.pages.run_page import without_workspace
from dancecli.report.results.paper import Experiment, read_experiments
from dancecli.report.results.reproduction import Reproduced, read_ran
from dancecli.reproduction.cost import measured_pace, seconds
from dancecli.reproduction.plan import (
    ONE_RUN,
    OURS,
    PUBLISHED,
    Trial,
    at,
    flow_command,
    plan_trials,
    report_command,
    split_command,
    train_command,
    write_lock_with_val,
)
from dancecli.reproduction.quick import CLIPS, CORPUS, LABELS, differences, has_clips, write_quick_recipe
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace

Command = tuple[str, ...]


@dataclass(frozen=True)
class ReproduceSettings:
    """How much is reproduced.

    Attributes:
        quick: on the demo's dancers, offline, in minutes.
        only: names of the paper's experiments; none for all.
        quiet_stdout: what the commands print goes to stderr, as `--json` wants it.
    """

    quick: bool = False
    only: tuple[str, ...] = ()
    quiet_stdout: bool = False


@dataclass(frozen=True)
class ReproduceResult:
    """What came out.

    Attributes:
        commands: what was run now, without the program's name.
        document: what `reproduction.json` holds.
        failed: the experiments whose commands failed, each with the reason.
    """

    page: Path
    commands: tuple[Command, ...]
    seconds: float
    document: dict[str, Any]
    failed: dict[str, str]


@dataclass(frozen=True)
class Preview:
    """What a reproduction would do: its commands, and about how long the runs take."""

    commands: tuple[Command, ...]
    seconds: float
    left_out: dict[str, str]


def reproduce(
    workspace: Workspace,
    settings: ReproduceSettings,
    reporter: Reporter = SILENT,
) -> ReproduceResult:
    """Run the paper's experiments as published and under our protocol, and write `reports/reproduction/`.

    What an earlier call finished is not done again. The page is drawn after every run, so that one
    that is stopped leaves a page of what it had. An experiment whose commands fail does not stop the
    others. Two streams that cannot have the paper's ImageNet weights start from random ones, under
    other names.

    Args:
        workspace: one with clips; for the quick form a new folder, or that of an earlier demo.
        settings: how much.
        reporter: of the cost, of each command before it runs, and of the videos that the quick form draws.

    Raises:
        UsageError: one of `only` is no experiment.
        WorkspaceError: there are no clips, or runs of these names are of something else.
        DanceError: the quick form's clips could not be made.
    """
    began = time.monotonic()
    done: list[Command] = []
    failed: dict[str, str] = {}

    def do(command: Command) -> None:
        run(command, reporter, quiet=settings.quiet_stdout)
        done.append(command)

    with workspace.lock("reproduce"):
        if settings.quick:
            _have_dancers(workspace, reporter, do)
        init = _available_init(workspace, settings, reporter)
        trials, left_out = _trials(workspace, settings, init)
        for name, why in left_out.items():
            reporter.message(f"not reproduced: {name}: {why}")
        if still := [trial for trial in trials if trial.status != "done"]:
            cost = seconds(still, _num_clips(workspace, settings), measured_pace())
            reporter.message(f"the remaining runs take about {time_words(cost)} on this machine")
        if settings.quick:
            for recipe in {trial.experiment.recipe: None for trial in trials}:
                write_quick_recipe(workspace, recipe)
        for trial, command in _commands(workspace, trials, write=True):
            name = trial.experiment.name
            # Splits and flow serve other experiments too.
            if name in failed and command[0] not in ("split", "flow"):
                continue
            try:
                do(command)
            except DanceError as error:
                failed[name] = error.message
                reporter.message(f"not reproduced: {name}: {error.message}; going on with the others")
            if command == report_command(workspace, trial):
                _draw(workspace, settings, init, failed)
        page, document = _draw(workspace, settings, init, failed)
    return ReproduceResult(page, tuple(done), time.monotonic() - began, document, failed)


def _available_init(workspace: Workspace, settings: ReproduceSettings, reporter: Reporter) -> str:
    """Fetch the paper's initial weights of two streams where they are needed; `none` if that fails."""
    trials, _ = _trials(workspace, settings)
    if not any(trial.two_stream and trial.init == IMAGENET and trial.status == "" for trial in trials):
        return IMAGENET
    try:
        fetch_imagenet(reporter)
    except ModelError as error:
        reporter.message(
            f"{error.message}: the two streams start from random weights instead, and are not the paper's; "
            f"{error.hint}"
        )
        return NONE
    return IMAGENET


def preview(workspace: Workspace, settings: ReproduceSettings) -> Preview:
    """Say what a reproduction would do, and write nothing.

    Raises:
        UsageError: one of `only` is no experiment.
        WorkspaceError: there are no clips to split.
    """
    trials, left_out = _trials(workspace, settings)
    still = [trial for trial in trials if trial.status != "done"]
    commands = [command for _, command in _commands(workspace, trials, write=False)]
    if settings.quick and not has_clips(workspace):
        commands.insert(0, fetch_command(workspace, "http://127.0.0.1:PORT/v/{video_id}.mp4", LABELS))
    cost = seconds(still, _num_clips(workspace, settings), measured_pace()) if still else 0.0
    return Preview(tuple(commands), cost, left_out)


def _trials(
    workspace: Workspace, settings: ReproduceSettings, init: str = IMAGENET
) -> tuple[list[Trial], dict[str, str]]:
    clips = _num_clips(workspace, settings)
    experiments = read_experiments()
    return plan_trials(
        workspace, experiments, quick=settings.quick, clips=clips, only=settings.only, init=init
    )


def _num_clips(workspace: Workspace, settings: ReproduceSettings) -> int:
    if workspace.clips.exists():
        return sum(not clip.parent_id for clip in tables.read(workspace.clips, Clip))
    if not settings.quick:
        raise WorkspaceError(
            f"{workspace.root}: there are no clips to reproduce the paper on",
            "dance fetch first; or dance reproduce --quick, which makes its own",
        )
    return CLIPS


def _have_dancers(
    workspace: Workspace,
    reporter: Reporter,
    do: Callable[[Command], None],
) -> None:
    """Draw, serve and fetch the quick form's corpus, unless a demo's clips are there already."""
    refuse_other_dataset(workspace)
    require_packages()
    if has_clips(workspace):
        return
    corpus = make_corpus(workspace.root / SITE_FOLDER, CORPUS, reporter)
    reporter.message(f"corpus: {corpus.rows} segments of procedural dancers in {corpus.videos}")
    with VideoSite(corpus.videos, corpus.faults) as site:
        do(fetch_command(workspace, site.url_template, LABELS))


def _commands(
    workspace: Workspace, trials: Sequence[Trial], *, write: bool
) -> Iterator[tuple[Trial, Command]]:
    """Give each command when its turn comes: our split is made from what the published one became."""
    given: set[Command] = set()
    for trial in trials:
        split, flow = split_command(workspace, trial), flow_command(workspace, trial)
        waits = trial.status != "done"
        if split not in given and not _is_settled(workspace, trial, trials):
            # Without the published split the command fails for want of the lock, and the others go on.
            if trial.protocol == OURS and write and workspace.split(trial.base_split).exists():
                write_lock_with_val(workspace, trial.base_split)
            yield trial, split
            given.add(split)
        if waits and trial.two_stream and flow not in given:
            yield trial, flow
            given.add(flow)
        if waits:
            yield trial, train_command(workspace, trial)
        if waits or not _is_newer(_page(workspace, trial), _predictions(workspace, trial)):
            yield trial, report_command(workspace, trial)


def _is_settled(workspace: Workspace, trial: Trial, trials: Sequence[Trial]) -> bool:
    """Tell whether a trial's split is there, made of the clips as they are, and all its runs are done."""
    waiting = any(one.status != "done" for one in trials if one.split == trial.split)
    return not waiting and _is_newer(workspace.split(trial.split), workspace.clips)


def _page(workspace: Workspace, trial: Trial) -> Path:
    return workspace.report(trial.run) / "index.html"


def _predictions(workspace: Workspace, trial: Trial) -> Path:
    return workspace.run(trial.run) / "predictions.parquet"


def _is_newer(path: Path, than: Path) -> bool:
    return path.exists() and path.stat().st_mtime_ns >= than.stat().st_mtime_ns


def _draw(
    workspace: Workspace, settings: ReproduceSettings, init: str, failed: Mapping[str, str]
) -> tuple[Path, dict[str, Any]]:
    trials, left_out = _trials(workspace, settings, init)
    found = [_reproduced(workspace, one, trials, left_out, failed) for one in read_experiments()]
    # The page says what makes the runs, whatever was there already when it was drawn.
    fresh = [replace(trial, status="") for trial in trials]
    commands = [_inside(workspace, command) for _, command in _commands(workspace, fresh, write=False)]
    return write_reproduction(workspace, found, commands, quick=differences() if settings.quick else "")


def _reproduced(
    workspace: Workspace,
    one: Experiment,
    trials: Sequence[Trial],
    left_out: Mapping[str, str],
    failed: Mapping[str, str],
) -> Reproduced:
    """Read what came of an experiment so far."""
    if one.name in left_out:
        return Reproduced(one, why=left_out[one.name])
    done = {t.protocol: t.run for t in trials if t.experiment.name == one.name and t.status == "done"}
    if ONE_RUN in done:
        run = done[ONE_RUN]
        return Reproduced(one, read_ran(workspace, run, one.subset), read_ran(workspace, run))
    published, ours = (read_ran(workspace, done[way]) if way in done else None for way in (PUBLISHED, OURS))
    why = failed.get(one.name, "its turn has not come yet")
    return Reproduced(one, published, ours, "" if published and ours else why)


def _inside(workspace: Workspace, command: Command) -> list[str]:
    """Write a command as it is typed in the workspace's folder."""
    root = at(workspace)[1] + "/"
    return [word.removeprefix(root) for word in without_workspace(list(command))]
