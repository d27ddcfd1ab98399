"""One clip and all its augmented clips: what a worker process of `dance augment` does.

It writes nothing but files under their final names, each validated first, so it may be killed at
any moment.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dancecli.core.augmentation import Op, describe, num_frames_after
from dancecli.core.errors import MediaError
from dancecli.core.hashing import sha256_file
from dancecli.core.records import Clip
from dancecli.engine.worker import Acquire
from dancecli.storage.files import commit_file
from dancecli.video.augment import augment_args
from dancecli.video.decode import decode
from dancecli.video.ffmpeg import run_ffmpeg

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class AugmentTarget:
    """An augmented clip to make: its id, its path in the workspace, what it undergoes."""

    clip_id: str
    path: str
    ops: tuple[Op, ...]


@dataclass(frozen=True, slots=True)
class AugmentJob:
    """A clip and the augmented clips to make of it.

    Attributes:
        root: the workspace's folder.
        temp: a folder for this clip alone, on the workspace's file system.
    """

    root: Path
    temp: Path
    parent: Clip
    wanted: tuple[AugmentTarget, ...]


@dataclass(frozen=True, slots=True)
class AugmentJobResult:
    """What became of a job.

    Attributes:
        made: the augmented clips that are committed.
        failed: the ids of the others, with the reason.
        disk_full: it stopped because there is no space.
    """

    made: tuple[Clip, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    disk_full: bool = False


def work(job: AugmentJob, _: Acquire) -> AugmentJobResult:
    """Make the augmented clips of a clip in one run of ffmpeg; validate and commit each."""
    made, failed = [], []
    try:
        job.temp.mkdir(parents=True, exist_ok=True)
        for wanted, outcome in make_augmented(job):
            if isinstance(outcome, str):
                failed.append((wanted.clip_id, outcome))
                continue
            commit_file(job.temp / f"{wanted.clip_id}.mp4", job.root / wanted.path)
            made.append(outcome)
    except MediaError as error:
        return AugmentJobResult(failed=tuple((wanted.clip_id, error.message) for wanted in job.wanted))
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        return AugmentJobResult(tuple(made), tuple(failed), disk_full=True)
    finally:
        shutil.rmtree(job.temp, ignore_errors=True)
    return AugmentJobResult(tuple(made), tuple(failed))


def make_augmented(job: AugmentJob) -> Iterator[tuple[AugmentTarget, Clip | str]]:
    """Write the augmented clips into the temporary folder and validate them: a record or a reason each.

    Raises:
        MediaError: the parent is not the file that was committed, or ffmpeg failed.
    """
    parent = job.root / job.parent.path
    if not parent.is_file() or sha256_file(parent) != job.parent.sha256:
        raise MediaError(f"{job.parent.path} is missing or was changed since it was committed")
    targets = [(wanted.ops, job.temp / f"{wanted.clip_id}.mp4") for wanted in job.wanted]
    run_ffmpeg(augment_args(parent, targets), folder=job.temp)
    for wanted, (_, target) in zip(job.wanted, targets, strict=True):
        try:
            yield wanted, _validated(job.parent, wanted, target)
        except MediaError as error:
            yield wanted, error.message


def _validated(parent: Clip, wanted: AugmentTarget, target: Path) -> Clip:
    """Decode an augmented clip in full and compare it with its parent, frame count and picture size.

    Raises:
        MediaError: it does not decode, or has not the length or the size that its operations give.
    """
    facts = decode(target)
    found = (facts.num_frames, facts.width, facts.height)
    expected = (num_frames_after(parent.num_frames, wanted.ops), parent.width, parent.height)
    # Where frames are left out or repeated, the last one depends on rounding.
    slack = 0 if expected[0] == parent.num_frames else 1
    if abs(found[0] - expected[0]) > slack or found[1:] != expected[1:]:
        raise MediaError(
            f"{wanted.clip_id}: it holds {found[0]} frames of {found[1]}x{found[2]}, "
            f"not {expected[0]} of {expected[1]}x{expected[2]}"
        )
    return replace(
        parent,
        clip_id=wanted.clip_id,
        path=wanted.path,
        num_frames=facts.num_frames,
        has_audio=facts.has_audio,
        num_bytes=target.stat().st_size,
        sha256=sha256_file(target),
        parent_id=parent.clip_id,
        op=describe(wanted.ops),
    )
