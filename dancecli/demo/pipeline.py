"""`dance demo`: render a corpus, serve it, and run the commands that a user would type.

Each step is a process of the `dance` command itself, so that the demo tests what users run.
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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dancecli.core.errors import DanceError, InputError, MissingDependencyError, WorkspaceError
from dancecli.core.labels import MANIFESTS
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.text import pluralize
from dancecli.demo.choreography import SEPARABLE
from dancecli.demo.corpus import (
    LIST,
    MISLEADING,
    Corpus,
    CorpusSettings,
    listed_ids,
    make_corpus,
    plan,
)
from dancecli.demo.video_site import VideoSite
from dancecli.storage.workspace import Workspace

LABELS = MANIFESTS / "label-sets" / "demo.txt"
# Of the variants: only the styles that differ clearly, so that what is lost is lost to the variant.
VARIANT_LABELS = MANIFESTS / "label-sets" / "separable.txt"
SITE_FOLDER = "demo-site"
SPLIT = "demo"
RATIOS = "70/10/20"
MODEL, RECIPE = "inception", "demo"
# The settings of the demo's run: as its recipe says, no other stages frozen.
_OWN = (MODEL, RECIPE, None)
WRONG_LABELS = 0.05
_HIDDEN_LIMBS = "hidden-limbs"
# By name, what it does.
VARIANTS = {
    MISLEADING: "each style has a moving screen of its own in train and val, and another style's in test",
    _HIDDEN_LIMBS: "boards hide half of every limb",
}
MISSING = 3  # exit code of a command that finished with something missing


@dataclass(frozen=True)
class DemoSettings:
    """Size of the demo.

    Attributes:
        quick: use a corpus too small to learn from; a minute's check that every step works.
        seed: random seed of the corpus.
        quiet_stdout: send the commands' output to stderr, as `--json` requires.
        variant: which of `VARIANTS` to draw instead; empty for none.
    """

    quick: bool = False
    seed: int = 0
    quiet_stdout: bool = False
    variant: str = ""

    def __post_init__(self) -> None:
        if self.variant and self.variant not in VARIANTS:
            raise InputError(f"unknown variant {self.variant!r}", f"known: {', '.join(VARIANTS)}")

    @property
    def labels(self) -> Path:
        """The label file of the styles that are drawn."""
        return VARIANT_LABELS if self.variant else LABELS

    @property
    def corpus(self) -> CorpusSettings:
        """Settings of the corpus."""
        if self.variant:
            size = CorpusSettings(videos_per_style=10, seed=self.seed, styles=tuple(SEPARABLE))
            if self.quick:
                size = replace(size, videos_per_style=4, width=160, height=120)
            if self.variant == _HIDDEN_LIMBS:
                return replace(size, boards=True)
            return replace(size, backgrounds=self.variant)
        if self.quick:
            return CorpusSettings(
                videos_per_style=2, seed=self.seed, width=160, height=120, wrong_labels=WRONG_LABELS
            )
        return CorpusSettings(videos_per_style=18, seed=self.seed, wrong_labels=WRONG_LABELS)


@dataclass(frozen=True)
class DemoResult:
    """Result of the demo.

    Attributes:
        run: name of the trained run.
        page: path of the report.
        headline: its metrics in one line.
        commands: the commands that were run, without the program's name.
        seconds: wall time from the first video to the report.
        document: content of the report's `metrics.json`.
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
    reporter: Reporter = SILENT,
) -> DemoResult:
    """Render a corpus, serve it locally with faults, and fetch, split, augment, fine-tune and report.

    Finished steps of an earlier call are skipped.

    Args:
        workspace: a new folder, or that of an earlier demo.
        settings: size of the demo.
        reporter: receives each command before it runs, and the progress of rendering.

    Raises:
        WorkspaceError: the workspace holds another dataset, or a demo of other videos.
        MissingDependencyError: a package that one of the steps needs is not installed.
        DanceError: a command failed; it has printed why.
    """
    from dancecli.report.report import ReportSettings, report

    refuse_other_dataset(workspace)
    refuse_other_demo(workspace, settings)
    require_packages()
    started = time.monotonic()
    with workspace.lock("demo"):
        corpus = make_corpus(workspace.root / SITE_FOLDER, settings.corpus, reporter)
        reporter.message(describe(corpus, settings))
        commands = []
        with VideoSite(corpus.videos, corpus.faults) as site:
            for step in STEPS:
                command = step(workspace, settings, site.url_template)
                if command:
                    run(command, reporter, quiet=settings.quiet_stdout)
                    commands.append(command)
        name = trained_run(workspace)[0]
        result = report(workspace, ReportSettings(run=name), dry_run=True)
    seconds = time.monotonic() - started
    return DemoResult(
        result.run, result.page, result.headline, tuple(commands), seconds, dict(result.document)
    )


def require_packages() -> None:
    """Check at once what would otherwise fail after minutes.

    Raises:
        MissingDependencyError: a package that one of the steps needs is not installed.
    """
    from platformdirs import user_cache_path

    from dancecli.model.networks import inception_weights

    for module in ("cv2", "torch", "mmaction", "mmengine", "mmcv"):
        if importlib.util.find_spec(module) is None:
            raise MissingDependencyError(
                f"the demo renders videos and trains, and the package {module!r} is not installed",
                "pip install 'dancecli[train]'",
            )
    cached = user_cache_path("dancecli") / "weights" / f"{inception_weights.NAME}.pt"
    if not cached.exists():
        inception_weights.find_checkpoint()


def refuse_other_dataset(workspace: Workspace) -> None:
    """Accept only a new folder or that of an earlier demo.

    Raises:
        WorkspaceError: the folder holds another dataset.
    """
    if workspace.segments.exists() and not (workspace.root / SITE_FOLDER).is_dir():
        raise WorkspaceError(
            f"{workspace.root}: holds another dataset, and the demo would add its clips to it",
            "choose a new folder: dance demo --workspace DIR",
        )


def refuse_other_demo(workspace: Workspace, settings: DemoSettings) -> None:
    """Accept only a folder of the same videos: clips of two corpora would be one dataset.

    Raises:
        WorkspaceError: the folder holds the demo of other settings.
    """
    listed = workspace.root / SITE_FOLDER / LIST
    if listed.exists() and listed_ids(listed) != {video.video_id for video in plan(settings.corpus)}:
        raise WorkspaceError(
            f"{workspace.root}: holds a demo of other videos (another --variant, --seed or --quick)",
            "choose a new folder: dance demo --workspace DIR",
        )


def describe(corpus: Corpus, settings: DemoSettings) -> str:
    """Describe the corpus in one line."""
    made = settings.corpus
    variant = f" ({settings.variant}: {VARIANTS[settings.variant]})" if settings.variant else ""
    wrong = (
        f"; {pluralize(corpus.mislabeled, 'video')} ({made.wrong_labels:.0%} of those that are whole) "
        f"{'has' if corpus.mislabeled == 1 else 'have'} a wrong label"
    )
    new = f"{corpus.rendered} rendered now" if corpus.rendered else "all already rendered"
    return (
        f"corpus{variant}: {corpus.rows} segments of {len(list(corpus.videos.glob('*.mp4')))} videos, "
        f"{made.width}x{made.height} at {made.fps} fps ({new}); "
        f"{corpus.missing} segments are unavailable, as one video is gone, one is cut off during "
        f"transfer and one is too short{wrong if made.wrong_labels else ''}"
    )


def planned(workspace: Workspace, settings: DemoSettings) -> list[tuple[str, ...]]:
    """List the commands that `demo` would run, with a placeholder for the port."""
    template = "http://127.0.0.1:PORT/v/{video_id}.mp4"
    commands = (step(workspace, settings, template) for step in STEPS)
    return [command for command in commands if command]


def fetch_command(workspace: Workspace, url_template: str, labels: Path = LABELS) -> tuple[str, ...]:
    """Give the command that fetches the corpus, in the classes of a label file."""
    annotations = workspace.root / SITE_FOLDER / LIST
    return (
        *("fetch", *_at(workspace), "--annotations", _short(annotations)),
        *("--labels", _short(labels), "--url-template", url_template),
    )


def split_step(workspace: Workspace, settings: DemoSettings, _: str) -> tuple[str, ...]:
    """Split the clips, or keep the subsets of the list where test is made otherwise than train."""
    if settings.variant == MISLEADING:
        return ("split", *_at(workspace), "--keep-official", "--name", SPLIT)
    return ("split", *_at(workspace), "--ratios", RATIOS, "--stratify", "--name", SPLIT)


def augment_step(workspace: Workspace, settings: DemoSettings, _: str) -> tuple[str, ...]:
    """Augment the training clips by color jitter; the recipe itself flips and crops.

    Not those of a variant: jitter would blur what it plants.
    """
    if settings.variant:
        return ()
    return ("augment", *_at(workspace), "--split", SPLIT, "--ops", "jitter")


def finetune_step(workspace: Workspace, settings: DemoSettings, _: str) -> tuple[str, ...]:
    """Train, or resume training; nothing if a run on the same split is complete."""
    name, status = trained_run(workspace)
    if status == "done":
        return ()
    if name:
        return ("finetune", *_at(workspace), "--resume", "--name", name)
    quick = ("--epochs", "3") if settings.quick else ()
    return (
        *("finetune", *_at(workspace), "--pretrain", MODEL),
        # One cached view per clip: an original and its augmented clip are two.
        *("--split", SPLIT, "--recipe", RECIPE, "--views", "1", *quick),
    )


def report_step(workspace: Workspace, _: DemoSettings, __: str) -> tuple[str, ...]:
    """Write the report of the run."""
    name, _status = trained_run(workspace)
    return ("report", *_at(workspace), *(("--run", name) if name else ()))


def fetch_step(workspace: Workspace, settings: DemoSettings, url_template: str) -> tuple[str, ...]:
    """Fetch the clips."""
    return fetch_command(workspace, url_template, settings.labels)


STEPS = (fetch_step, split_step, augment_step, finetune_step, report_step)


def trained_run(workspace: Workspace) -> tuple[str, str]:
    """Find the demo's own run on its current split: its name and status, or two empty strings."""
    from dancecli.storage import tables
    from dancecli.storage.runs import read_records

    path = workspace.split(SPLIT)
    if not path.exists():
        return "", ""
    digest = tables.read_meta(path)["split.hash"]
    for name, record in reversed(read_records(workspace)[0].items()):
        settings = record.get("settings") or {}
        # The user may have trained others in this folder since.
        mine = (settings.get("pretrain"), settings.get("recipe"), settings.get("freeze")) == _OWN
        if mine and (record.get("split") or {}).get("hash") == digest:
            return name, record["status"]
    return "", ""


def run(command: Sequence[str], reporter: Reporter, *, quiet: bool = False) -> None:
    """Run `dance COMMAND` in its own process, passing its output through.

    Raises:
        DanceError: the command failed.
        KeyboardInterrupt: the command, or this process, was interrupted.
    """
    reporter.message(f"$ dance {shlex.join(command)}")
    sys.stdout.flush()
    output = sys.stderr.fileno() if quiet else None
    process = subprocess.Popen([sys.executable, "-m", "dancecli", *command], stdout=output)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        _wait_for_exit(process)
        raise
    if code == 128 + signal.SIGINT:
        raise KeyboardInterrupt
    # A fetch from a site with faults misses some clips and reports it by this code.
    if code != 0 and not (code == MISSING and command[0] == "fetch"):
        raise DanceError(
            f"`dance {command[0]}` failed with exit code {code}; see its output above",
            "fix the problem and rerun the command: it resumes",
        )


def _wait_for_exit(process: subprocess.Popen[bytes]) -> None:
    """Give an interrupted command time to shut down: the terminal interrupted it too."""
    for timeout_s, stop in ((5, process.terminate), (10, process.kill)):
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            stop()
        else:
            return
    process.wait()


def _at(workspace: Workspace) -> tuple[str, str]:
    return "--workspace", _short(workspace.root)


def _short(path: Path) -> str:
    """Write a path as a user would type it: relative where that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)
