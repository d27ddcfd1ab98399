"""One clip, all its augmented copies: what a worker process of `dance augment` does.

It writes nothing but copies under their final names, each proven first, so it may be killed at
any moment.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dancecli.core.augmentation import Op, describe
from dancecli.core.errors import MediaError
from dancecli.core.hashing import sha256_file
from dancecli.core.records import Clip
from dancecli.engine.worker import Acquire
from dancecli.storage.files import commit_file
from dancecli.video.augment import copies_args
from dancecli.video.decode import decode
from dancecli.video.ffmpeg import run_ffmpeg

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A copy that is to be made: its id, its path in the workspace, what it undergoes."""

    clip_id: str
    path: str
    ops: tuple[Op, ...]


@dataclass(frozen=True, slots=True)
class CopyJob:
    """A clip and the copies that are wanted of it.

    Attributes:
        root: the workspace's folder.
        temp: a folder for this clip alone, on the workspace's file system.
    """

    root: Path
    temp: Path
    parent: Clip
    wanted: tuple[Wanted, ...]


@dataclass(frozen=True, slots=True)
class CopyResult:
    """What became of a job.

    Attributes:
        made: the copies that are published.
        failed: the ids of the others, with the reason.
        disk_full: it stopped because there is no space.
    """

    made: tuple[Clip, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    disk_full: bool = False


def work(job: CopyJob, _: Acquire) -> CopyResult:
    """Make the copies of a clip in one run of ffmpeg; prove and publish each."""
    made, failed = [], []
    try:
        job.temp.mkdir(parents=True, exist_ok=True)
        for wanted, outcome in make_copies(job):
            if isinstance(outcome, str):
                failed.append((wanted.clip_id, outcome))
                continue
            commit_file(job.temp / f"{wanted.clip_id}.mp4", job.root / wanted.path)
            made.append(outcome)
    except MediaError as error:
        return CopyResult(failed=tuple((wanted.clip_id, error.message) for wanted in job.wanted))
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        return CopyResult(tuple(made), tuple(failed), disk_full=True)
    finally:
        shutil.rmtree(job.temp, ignore_errors=True)
    return CopyResult(tuple(made), tuple(failed))


def make_copies(job: CopyJob) -> Iterator[tuple[Wanted, Clip | str]]:
    """Write the copies into the temporary folder and prove them; each with its record, or a reason.

    Raises:
        MediaError: the parent is not the file that was published, or ffmpeg failed.
    """
    parent = job.root / job.parent.path
    if not parent.is_file() or sha256_file(parent) != job.parent.sha256:
        raise MediaError(f"{job.parent.path} is missing or was changed since it was published")
    targets = [(wanted.ops, job.temp / f"{wanted.clip_id}.mp4") for wanted in job.wanted]
    run_ffmpeg(copies_args(parent, targets))
    for wanted, (_, target) in zip(job.wanted, targets, strict=True):
        try:
            yield wanted, _proven(job.parent, wanted, target)
        except MediaError as error:
            yield wanted, error.message


def _proven(parent: Clip, wanted: Wanted, target: Path) -> Clip:
    """Decode a copy in full and hold it against its parent, frame count and picture size.

    Raises:
        MediaError: it does not decode, or is not as long or as large as its parent.
    """
    facts = decode(target)
    found = (facts.num_frames, facts.width, facts.height)
    expected = (parent.num_frames, parent.width, parent.height)
    if found != expected:
        raise MediaError(
            f"{wanted.clip_id}: the copy holds {found[0]} frames of {found[1]}x{found[2]}, "
            f"its parent {expected[0]} of {expected[1]}x{expected[2]}"
        )
    return replace(
        parent,
        clip_id=wanted.clip_id,
        path=wanted.path,
        has_audio=facts.has_audio,
        num_bytes=target.stat().st_size,
        sha256=sha256_file(target),
        parent_id=parent.clip_id,
        op=describe(wanted.ops),
    )
