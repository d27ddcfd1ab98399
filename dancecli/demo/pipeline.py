"""`dance demo`: a corpus, a site that serves it, and then the commands that a user would type.

The steps are processes of the `dance` command itself, so that whatever is wrong with one of
them is wrong here too.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dancecli.core.errors import DanceError, MissingDependencyError, WorkspaceError
from dancecli.core.labels import MANIFESTS
from dancecli.core.progress import OnMessage, OnProgress, no_progress
from dancecli.demo.corpus import Corpus, CorpusSettings, make_corpus
from dancecli.demo.video_site import VideoSite
from dancecli.storage.workspace import Workspace

LABELS = MANIFESTS / "label-sets" / "demo.txt"
SITE_FOLDER = "demo-site"
SPLIT = "demo"
RATIOS = "70/10/20"
MISSING = 3  # exit code of a command that ended, but could not have all


@dataclass(frozen=True)
class DemoSettings:
    """How much the demo does.

    Attributes:
        quick: a corpus too small to learn from, in a minute: it shows that all parts work.
        seed: of the corpus; another seed is another set of videos.
        quiet_stdout: what the commands print goes to stderr, as `--json` wants it.
    """

    quick: bool = False
    seed: int = 0
    quiet_stdout: bool = False

    @property
    def corpus(self) -> CorpusSettings:
        """What is drawn."""
        if self.quick:
            return CorpusSettings(videos_per_style=3, seed=self.seed, width=160, height=120)
        return CorpusSettings(seed=self.seed)


@dataclass(frozen=True)
class DemoResult:
    """What came out.

    Attributes:
        run: the run that the report is of.
        page: the report.
        headline: its figures in one line.
        commands: what was run, without the program's name.
        seconds: from the first video to the page.
        document: what the report's `metrics.json` holds.
    """

    run: str
    page: Path
    headline: str
    commands: tuple[tuple[str, ...], ...]
    seconds: float
    document: dict[str, Any]


def demo(
    workspace: Workspace,
    settings: DemoSettings,
    say: OnMessage,
    on_progress: OnProgress = no_progress,
) -> DemoResult:
    """Make a corpus, serve it on loopback with faults, and fetch, split, augment, fine-tune and report.

    What an earlier call finished is not done again.

    Args:
        workspace: a new folder, or that of an earlier demo.
        settings: how much.
        say: hears of each command before it runs.
        on_progress: of the videos that are drawn.

    Raises:
        WorkspaceError: the workspace holds another dataset.
        MissingDependencyError: a package that one of the steps needs is not installed.
        DanceError: a command failed; it has said why.
    """
    from dancecli.report.report import ReportSettings, report

    refuse_other_dataset(workspace)
    require_parts()
    began = time.monotonic()
    with workspace.lock("demo"):
        corpus = make_corpus(workspace.root / SITE_FOLDER, settings.corpus, on_progress)
        say(describe(corpus, settings))
        commands = []
        with VideoSite(corpus.videos, corpus.faults) as site:
            for step in STEPS:
                command = step(workspace, settings, site.url_template)
                if command:
                    run(command, say, quiet=settings.quiet_stdout)
                    commands.append(command)
        name = trained_run(workspace)[0]
        result = report(workspace, ReportSettings(run=name), dry_run=True)
    seconds = time.monotonic() - began
    return DemoResult(
        result.run, result.page, result.headline, tuple(commands), seconds, dict(result.document)
    )


def require_parts() -> None:
    """Say now what would otherwise fail after minutes.

    Raises:
        MissingDependencyError: a package that one of the steps needs is not installed.
    """
    from platformdirs import user_cache_path

    from dancecli.model.networks import inception_weights

    for module in ("cv2", "torch", "mmaction", "mmengine", "mmcv"):
        if importlib.util.find_spec(module) is None:
            raise MissingDependencyError(
                f"the demo draws and trains, and the package of {module!r} is not installed",
                "pip install 'dancecli[train]'",
            )
    kept = user_cache_path("dancecli") / "weights" / f"{inception_weights.NAME}.pt"
    if not kept.exists():
        inception_weights.find_checkpoint()


def refuse_other_dataset(workspace: Workspace) -> None:
    """Let a new folder and an earlier demo's through.

    Raises:
        WorkspaceError: it is the workspace of something else.
    """
    if workspace.segments.exists() and not (workspace.root / SITE_FOLDER).is_dir():
        raise WorkspaceError(
            f"{workspace.root}: holds another dataset, which the demo would mix its clips into",
            "give a new folder: dance demo --workspace DIR",
        )


def describe(corpus: Corpus, settings: DemoSettings) -> str:
    """Say in a line what was made."""
    made = settings.corpus
    new = f"{corpus.rendered} drawn now" if corpus.rendered else "all there already"
    return (
        f"corpus: {corpus.rows} segments of {len(list(corpus.videos.glob('*.mp4')))} videos, "
        f"{made.width}x{made.height} at {made.fps} frames/s ({new}); "
        f"{corpus.missing} segments cannot be had: a dead video, one cut short, one too short"
    )


def planned(workspace: Workspace, settings: DemoSettings) -> list[tuple[str, ...]]:
    """List the commands that `demo` would run, with a port that is not known yet."""
    template = "http://127.0.0.1:PORT/v/{video_id}.mp4"
    commands = (step(workspace, settings, template) for step in STEPS)
    return [command for command in commands if command]


def fetch_command(workspace: Workspace, url_template: str) -> tuple[str, ...]:
    """The command that has the corpus's clips."""
    annotations = workspace.root / SITE_FOLDER / "annotations.csv"
    return (
        *("fetch", *_at(workspace), "--annotations", _near(annotations)),
        *("--labels", _near(LABELS), "--url-template", url_template),
    )


def split_step(workspace: Workspace, _: DemoSettings, __: str) -> tuple[str, ...]:
    """Divide them."""
    return ("split", *_at(workspace), "--ratios", RATIOS, "--stratify", "--name", SPLIT)


def augment_step(workspace: Workspace, _: DemoSettings, __: str) -> tuple[str, ...]:
    """Make copies of the training clips in other light; mirroring and cropping the recipe does itself."""
    return ("augment", *_at(workspace), "--split", SPLIT, "--ops", "jitter")


def finetune_step(workspace: Workspace, settings: DemoSettings, _: str) -> tuple[str, ...]:
    """Train, or go on training; nothing if a run on this very split is done."""
    name, status = trained_run(workspace)
    if status == "done":
        return ()
    if name:
        return ("finetune", *_at(workspace), "--resume", "--name", name)
    quick = ("--epochs", "3") if settings.quick else ()
    return (
        *("finetune", *_at(workspace), "--pretrain", "inception"),
        # One stored view of each: a clip and its copy are two.
        *("--split", SPLIT, "--recipe", "demo", "--views", "1", *quick),
    )


def report_step(workspace: Workspace, _: DemoSettings, __: str) -> tuple[str, ...]:
    """Draw the page of the run."""
    name, _status = trained_run(workspace)
    return ("report", *_at(workspace), *(("--run", name) if name else ()))


def fetch_step(workspace: Workspace, _: DemoSettings, url_template: str) -> tuple[str, ...]:
    """Have the clips."""
    return fetch_command(workspace, url_template)


STEPS = (fetch_step, split_step, augment_step, finetune_step, report_step)


def trained_run(workspace: Workspace) -> tuple[str, str]:
    """Find the last run on the demo's split as it is now: its name and status, or two empty texts."""
    import json

    from dancecli.storage import tables

    path = workspace.split(SPLIT)
    if not path.exists():
        return "", ""
    digest = tables.read_meta(path)["split.hash"]
    for name in reversed(workspace.runs()):
        record = json.loads((workspace.run(name) / "run.json").read_text(encoding="utf-8"))
        if record["split"]["hash"] == digest:
            return name, record["status"]
    return "", ""


def run(command: Sequence[str], say: OnMessage, *, quiet: bool = False) -> None:
    """Run `dance COMMAND` as a process of its own, its output passed through.

    Raises:
        DanceError: it failed.
        KeyboardInterrupt: it, or this process, was interrupted.
    """
    say(f"$ dance {shlex.join(command)}")
    sys.stdout.flush()
    output = sys.stderr.fileno() if quiet else None
    process = subprocess.Popen([sys.executable, "-m", "dancecli", *command], stdout=output)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        _let_end(process)
        raise
    if code == 128 + signal.SIGINT:
        raise KeyboardInterrupt
    # A fetch from a site with faults cannot have everything, and says so by this code.
    if code != 0 and not (code == MISSING and command[0] == "fetch"):
        raise DanceError(
            f"`dance {command[0]}` ended with code {code}; what it said stands above",
            "the same command goes on from here",
        )


def _let_end(process: subprocess.Popen[bytes]) -> None:
    """Give an interrupted command time to put its things in order: the terminal told it too."""
    for patience_s, stop in ((5, process.terminate), (10, process.kill)):
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            stop()
        else:
            return
    process.wait()


def _at(workspace: Workspace) -> tuple[str, str]:
    return "--workspace", _near(workspace.root)


def _near(path: Path) -> str:
    """Write a path as a user here would: relative where that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)
