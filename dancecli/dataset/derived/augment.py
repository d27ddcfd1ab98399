"""Augmented clips of a split's training clips, as files.

They stand beside the clips, with `parent_id` and `op` in the manifest, and belong to the subset of
their parent: annotation lists name them for training only. What an augmented clip undergoes depends
on the seed, the clip's id and the operation, never on the order of the work.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from dancecli.core.augmentation import DEFAULT_OPS, Chain, describe, draw, parse_chains, slug
from dancecli.core.errors import UsageError
from dancecli.core.hashing import keyed_uniform
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import Clip, SplitClip, Subset
from dancecli.core.video_files import sizes_in
from dancecli.dataset.clips import remember_copies
from dancecli.dataset.derived.augment_log import Logged, log_of
from dancecli.dataset.derived.augment_worker import AugmentJob, AugmentJobResult, AugmentTarget, work
from dancecli.dataset.job_log import JobLog, JobOutcome, ResumableJob
from dancecli.engine.factory import LOCAL, check_engine
from dancecli.engine.pool import Finished
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace
from dancecli.video.augment import ENCODING
from dancecli.video.ffmpeg import find_ffmpeg

# For the augmented clips of one clip; a clip of ten seconds takes one or two.
_DEADLINE_S = 600.0


@dataclass(frozen=True)
class AugmentSettings:
    """Which augmented clips to make.

    Attributes:
        split: its training clips are augmented; None for the latest.
        ops: as `augmentation.parse_chains` reads them.
        subset: only `train` is accepted.
        seed: another seed gives other parameters.
        workers: processes; 0 for one per core, of this machine or of the cluster.
        dry_run: change nothing.
        engine: `local` or `ray`, see `engine.factory`.
    """

    split: str | None = None
    ops: str = DEFAULT_OPS
    subset: str = Subset.TRAIN
    seed: int = 0
    workers: int = 0
    dry_run: bool = False
    engine: str = LOCAL


@dataclass(frozen=True)
class AugmentResult:
    """What became of the augmented clips that were requested.

    Attributes:
        num_parents: training clips of the split.
        asked: augmented clips by operation.
        made: of them, what this run made, or under a dry run would make.
        failed: those that could not be made, with the reason; all others exist.
        num_bytes: of the augmented clips that exist.
        parent_bytes: of the training clips.
    """

    split: str
    num_parents: int
    asked: dict[str, int]
    made: dict[str, int]
    failed: tuple[tuple[str, str], ...] = ()
    num_bytes: int = 0
    parent_bytes: int = 0
    seconds: float = 0.0


def augment(workspace: Workspace, settings: AugmentSettings, reporter: Reporter = SILENT) -> AugmentResult:
    """Make the augmented clips that do not exist yet; those of other operations stay.

    Args:
        workspace: gets `augmented/`, and rows in its manifest of clips.
        settings: which ones.
        reporter: told after every clip.

    Raises:
        UsageError: an operation is unknown, or the subset is not train.
        WorkspaceError: there is no such split, or another augment is at work.
        OSError: the disk is full; what was made is kept.
        MissingDependencyError: there is no ffmpeg.
    """
    started_s = time.monotonic()
    check_engine(settings.engine)
    chains = parse_chains(settings.ops)
    parents, lost = training_clips(workspace, settings)
    name = workspace.find_split(settings.split)
    why = "its parent is not among the clips"
    lost_clips = [(augmented_id(clip_id, chain), why) for clip_id in lost for chain in chains]
    wanted = {p.clip_id: targets_of(workspace, p, chains, settings.seed) for p in parents}
    num_parents = len(parents) + len(lost)
    asked = {slug(chain): num_parents for chain in chains}
    step = _step(workspace)
    if settings.dry_run:
        jobs = list(_jobs(workspace, parents, wanted, step.log.read()))
        would = Counter(w.clip_id.rpartition(".")[2] for job in jobs for w in job.wanted)
        return AugmentResult(name, num_parents, asked, {op: would[op] for op in asked}, tuple(lost_clips))
    find_ffmpeg()
    made: list[Logged] = []
    failed = dict(lost_clips)
    with step.exclusively():
        logged = step.log.read()
        jobs = list(_jobs(workspace, parents, wanted, logged))
        run = step.run(jobs, engine=settings.engine, workers=settings.workers, reporter=reporter)
        try:
            with closing(run) as outcomes:
                for outcome in outcomes:
                    made += outcome.made
                    failed |= dict(outcome.failed)
        finally:
            logged |= {row.clip.clip_id: row for row in made}
            _settle(workspace, step.log, logged, failed, changed=bool(made or failed))
    ids = {w.clip_id for targets in wanted.values() for w in targets}
    new = Counter(row.clip.clip_id.rpartition(".")[2] for row in made)
    return AugmentResult(
        split=name,
        num_parents=num_parents,
        asked=asked,
        made={op: new[op] for op in asked},
        failed=tuple(sorted(failed.items())),
        num_bytes=sum(row.clip.num_bytes for clip_id, row in logged.items() if clip_id in ids),
        parent_bytes=sum(clip.num_bytes for clip in parents),
        seconds=time.monotonic() - started_s,
    )


def training_clips(workspace: Workspace, settings: AugmentSettings) -> tuple[list[Clip], list[str]]:
    """Give the training clips of the split, and the ids of those that are not among the clips.

    Raises:
        UsageError: another subset was requested.
        WorkspaceError: there is no such split.
    """
    if settings.subset != Subset.TRAIN:
        raise UsageError(
            f"the {settings.subset} subset is not augmented: models are evaluated on its clips",
            "augment train, which is the default",
        )
    path = workspace.split(workspace.find_split(settings.split))
    ids = [row.clip_id for row in tables.read(path, SplitClip) if row.subset == Subset.TRAIN]
    clips = {clip.clip_id: clip for clip in tables.read(workspace.clips, Clip)}
    return [clips[i] for i in ids if i in clips], [i for i in ids if i not in clips]


def targets_of(
    workspace: Workspace, parent: Clip, chains: tuple[Chain, ...], seed: int
) -> tuple[AugmentTarget, ...]:
    """Draw what each augmented clip undergoes, and give its path."""
    return tuple(
        AugmentTarget(
            clip_id=augmented_id(parent.clip_id, chain),
            path=workspace.augmented(parent.clip_id, slug(chain)).relative_to(workspace.root).as_posix(),
            ops=draw(chain, _chance(parent.clip_id, chain, seed)),
        )
        for chain in chains
    )


def augmented_id(parent_id: str, chain: Chain) -> str:
    """`<parent's id>.<operations>`."""
    return f"{parent_id}.{slug(chain)}"


def _chance(clip_id: str, chain: Chain, seed: int) -> Callable[[str], float]:
    key = f"augment/{seed}/{clip_id}/{'+'.join(chain)}"
    return lambda parameter: keyed_uniform(key, parameter)


def _jobs(
    workspace: Workspace,
    parents: list[Clip],
    wanted: Mapping[str, tuple[AugmentTarget, ...]],
    logged: Mapping[str, Logged],
) -> Iterator[AugmentJob]:
    """Give a job for every clip that lacks an augmented clip, or has one that was made otherwise."""
    sizes = sizes_in(workspace.root / "augmented")
    for parent in parents:
        missing = tuple(
            w
            for w in wanted[parent.clip_id]
            if not (
                (row := logged.get(w.clip_id))
                and (row.parent_sha256, row.encoding, row.clip.op)
                == (parent.sha256, ENCODING, describe(w.ops))
                and sizes.get(Path(w.path).name) == row.clip.num_bytes
            )
        )
        if missing:
            yield AugmentJob(workspace.root, _temp(workspace) / parent.clip_id, parent, missing)


def _step(workspace: Workspace) -> ResumableJob[AugmentJob, Logged]:
    return ResumableJob(
        workspace, "augment", log_of(workspace), work, _DEADLINE_S, _outcome, temp=_temp(workspace)
    )


def _outcome(finished: Finished[AugmentJob, AugmentJobResult]) -> JobOutcome[Logged]:
    job, result = finished.job, finished.result
    if result is None:
        why = finished.detail or finished.lost
        return JobOutcome(failed=tuple((target.clip_id, why) for target in job.wanted))
    made = tuple(Logged(clip, job.parent.sha256, ENCODING) for clip in result.made)
    return JobOutcome(made, result.failed, result.disk_full)


def _settle(
    workspace: Workspace,
    log: JobLog[Logged],
    logged: Mapping[str, Logged],
    failed: Mapping[str, str],
    *,
    changed: bool,
) -> None:
    """Update the manifest of clips and the log to the files that exist now."""
    parents = {clip.clip_id: clip for clip in tables.read(workspace.clips, Clip) if not clip.parent_id}
    sizes = sizes_in(workspace.root / "augmented")
    current = [
        row
        for clip_id, row in sorted(logged.items())
        if clip_id not in failed
        and sizes.get(Path(row.clip.path).name) == row.clip.num_bytes
        and (parent := parents.get(row.clip.parent_id)) is not None
        and parent.sha256 == row.parent_sha256
    ]
    remember_copies(workspace, (_as_labeled(row.clip, parents[row.clip.parent_id]) for row in current))
    if changed or len(current) < len(logged):
        log.rewrite(current, sorted(failed.items()))


def _as_labeled(clip: Clip, parent: Clip) -> Clip:
    """Give an augmented clip its parent's present label: a corrected list needs no new files."""
    return replace(clip, label=parent.label, official_split=parent.official_split, dataset=parent.dataset)


def _temp(workspace: Workspace) -> Path:
    # Not in the workspace's own temporary folder, which a fetch sweeps.
    return workspace.root / "augmented" / ".tmp"
