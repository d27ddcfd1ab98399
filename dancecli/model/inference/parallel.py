"""Videos scored by several processes: one per GPU, or on the CPU; each reads one video at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import DanceError, EngineError, MediaError, ModelError
from dancecli.core.progress import SILENT, Reporter
from dancecli.engine.factory import LOCAL, open_pool
from dancecli.engine.worker import Acquire
from dancecli.model.inference.reading import Reading

if TYPE_CHECKING:
    from dancecli.model.inference.predictor import Predictor

# A film takes as long as it takes, as in one process.
_NO_DEADLINE_S = math.inf


@dataclass(frozen=True, slots=True)
class Video:
    """A video that one of the processes scores.

    Attributes:
        place: which of those that were named.
        path: the file or folder.
        reading: how it is read.
        locks: folder in which the processes claim their GPUs.
    """

    place: int
    path: Path
    reading: Reading
    locks: Path


@dataclass(frozen=True, slots=True)
class VideoScores:
    """What was found, or the message and hint of the error.

    Attributes:
        unreadable: the error is the video's, not that of the network.
    """

    facts: dict[str, Any] | None
    fault: tuple[str, str] = ("", "")
    unreadable: bool = False


# The one network that this process has built.
_BUILT: dict[Path, Predictor] = {}


def score_videos_in_processes(
    root: Path, reading: Reading, paths: Sequence[Path], processes: int, reporter: Reporter
) -> Iterator[tuple[int, dict[str, Any] | MediaError]]:
    """Score videos, each in one of several processes, and give them as they are done.

    Args:
        root: the workspace.
        reading: how they are read.
        paths: the videos.
        processes: how many; no more than there are videos.
        reporter: in videos.

    Returns:
        For each video its place, and its facts, or why it cannot be read.

    Raises:
        ModelError: the network cannot be built, or its scores are not finite.
        EngineError: a process ended while it read a video.
    """
    locks = root / ".locks"
    locks.mkdir(exist_ok=True)
    jobs = [Video(i, path, reading, locks) for i, path in enumerate(paths)]
    words = f"predicting · {min(processes, len(jobs))} processes"
    reporter.progress(0, len(jobs), words)
    with open_pool(LOCAL, score_video, processes, _NO_DEADLINE_S, root=root) as pool:
        for done, finished in enumerate(filter(None, pool.run(jobs)), 1):
            reporter.progress(done, len(jobs), words)
            yield finished.job.place, _of(finished.job, finished.result, finished.detail)


def _of(job: Video, result: VideoScores | None, detail: str) -> dict[str, Any] | MediaError:
    if result is None:
        raise EngineError(
            f"{job.path}: was lost with its process: {detail.splitlines()[0]}",
            "run it again: results so far are kept",
        )
    if result.facts is not None:
        return result.facts
    if result.unreadable:
        return MediaError(*result.fault)
    raise ModelError(*result.fault)


def score_video(job: Video, _: Acquire) -> VideoScores:
    """Score one video: what a worker process does."""
    from dancecli.model.inference.video_facts import video_facts

    try:
        return VideoScores(video_facts(_built(job), job.reading, job.path, SILENT))
    except DanceError as error:
        return VideoScores(None, (error.message, error.hint), isinstance(error, MediaError))


def _built(job: Video) -> Predictor:
    """Build the network, unless this process has it."""
    import cv2
    import torch

    from dancecli.model.hardware.claim import claim_gpu
    from dancecli.model.inference.predictor import Predictor
    from dancecli.model.networks.checkpoint import open_checkpoint

    weights = job.reading.weights
    if weights not in _BUILT:
        # A worker has one core, or one GPU.
        torch.set_num_threads(1)
        cv2.setNumThreads(0)
        claim_gpu(job.locks)
        _BUILT.clear()
        _BUILT[weights] = Predictor(open_checkpoint(weights), job.reading.calibration)
    return _BUILT[weights]
