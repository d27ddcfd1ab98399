"""Which clips are selected for Grad-CAM, and the pictures that came of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dancecli.core.errors import InputError
from dancecli.report.results.run_results import RunResults, SubsetScores, read_run_results
from dancecli.report.statistics.metrics import predicted, true_ranks
from dancecli.storage.workspace import Workspace

SCHEMA = 1
# Of the clips that are looked into, those that were named wrong; the rest shows what works.
WRONG_SHARE = 2 / 3
_JPEG = b"\xff\xd8\xff"


@dataclass(frozen=True)
class GradcamPicture:
    """Where the network looked in one clip.

    Attributes:
        truth, called: class indices; the picture is of the results for `called`.
        score: of `called`.
        source: the picture as a data address.
    """

    clip_id: str
    truth: int
    called: int
    score: float
    source: str


def pick_clips(workspace: Workspace, run: str, subset: str, count: int) -> tuple[tuple[str, int], ...]:
    """Choose clips to look into, each with the class it was called: the worst mistakes, and some right ones.

    Raises:
        DanceError: there is no such run or subset, or its files contradict each other.
    """
    results = read_run_results(workspace, run)
    if subset not in results.subsets:
        raise InputError(f"run {run!r} has no predictions for subset {subset!r}")
    return picked(results.subsets[subset], count)


def picked(scores: SubsetScores, count: int) -> tuple[tuple[str, int], ...]:
    """Choose clips: wrong ones by how much surer the wrong class was, right ones the surest of each class."""
    calls, ranks = predicted(scores.scores, scores.truth), true_ranks(scores.scores, scores.truth)
    places = range(len(scores.clips))
    own = scores.scores[places, scores.truth]
    gaps = own - scores.scores[places, calls]
    wrong = sorted((i for i in places if ranks[i] > 1), key=lambda i: (gaps[i], i))
    sure: dict[int, int] = {}
    for i in sorted((i for i in places if ranks[i] == 1), key=lambda i: (-own[i], i)):
        sure.setdefault(int(scores.truth[i]), i)
    right = sorted(sure.values(), key=lambda i: (-own[i], i))
    few = max(round(count * WRONG_SHARE), count - len(right))
    chosen = wrong[:few]
    chosen += right[: count - len(chosen)]
    return tuple((scores.clips[i], int(calls[i])) for i in chosen)


def read_gradcam(workspace: Workspace, results: RunResults) -> dict[str, list[GradcamPicture]]:
    """Read the pictures of a run, one list per subset: mistakes first; those of other answers are left out.

    Raises:
        InputError: the index or a picture is damaged.
    """
    folder = workspace.run(str(results.run["name"])) / "gradcam"
    rows = _rows(folder / "index.json")
    return {key: _pictures(folder, subset, rows) for key, subset in results.subsets.items()}


def _pictures(folder: Path, subset: SubsetScores, rows: Mapping[str, int]) -> list[GradcamPicture]:
    calls = predicted(subset.scores, subset.truth)
    found = [
        GradcamPicture(
            clip,
            int(subset.truth[i]),
            int(calls[i]),
            float(subset.scores[i, calls[i]]),
            _source(folder, clip),
        )
        for i, clip in enumerate(subset.clips)
        if rows.get(clip) == calls[i]
    ]
    return sorted(found, key=lambda p: (p.truth == p.called, -p.score, p.clip_id))


def _rows(path: Path) -> dict[str, int]:
    try:
        told: Any = json.loads(path.read_text(encoding="utf-8"))
        rows = {str(row["clip_id"]): int(row["class_index"]) for row in told["clips"]}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError):
        raise InputError.at(path, None, "is not the index of a run's pictures", "remove its folder") from None
    return rows


def _source(folder: Path, clip: str) -> str:
    path = folder / f"{clip}.jpg"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        content = b""
    if not content.startswith(_JPEG):
        raise InputError.at(path, None, "is not there, or no JPEG", "remove its folder and draw it again")
    return "data:image/jpeg;base64," + base64.b64encode(content).decode()
