"""Poses that people have: COCO-17 keypoints as JSON, AIST++'s keypoints, MMAction2's skeleton pickles.

What a file is, its content tells. COCO's JSON is either a data set (`images`, `annotations`) or a list
of results (`image_id`, `keypoints`), as AlphaPose, MMPose and Detectron2 write them. Pickles are read
without running code. Let's Dance gives its poses as DensePose pictures, which hold no keypoints.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import InputError
from dancecli.storage.array_pickles import ArrayUnpickler

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.float32]

SUFFIXES = (".json", ".pkl", ".pickle")
AIST_FPS = 60
AIST_SIZE = (1920, 1080)
_NUM_JOINTS = 17
_TRACK_KEYS = ("track_id", "person_id", "idx")
# An hour at 30 a second; more are numbers of pictures, not of frames.
_MOST_FRAMES = 108_000
_MOST_PEOPLE = 10
_LAST_NUMBER = re.compile(r"(\d+)\D*$")
_FORMATS = "COCO-17 keypoints (JSON), AIST++ keypoints2d or an MMAction2 skeleton pickle"


@dataclass(frozen=True)
class ForeignPose:
    """The poses of one clip, as a file has them.

    Attributes:
        name: what the file calls the clip.
        kind: name of the format.
        keypoints: float32 [person, frame, 17, 2], in pixels of a picture of `size`.
        scores: float32 [person, frame, 17], 0 to 1.
        size: width and height of the picture that the pixels are of; None if the file does not say.
        camera: number of the camera, counted from 1, where a file has one recording by many; else 0.
        fps: frame rate of the poses; 0 if the file does not say.
    """

    name: str
    kind: str
    keypoints: Numbers
    scores: Numbers
    size: tuple[int, int] | None = None
    camera: int = 0
    fps: float = 0.0


@dataclass(frozen=True)
class RefusedPose:
    """An entry of a file that cannot be used, and why."""

    name: str
    reason: str


def read_poses(path: Path) -> Iterator[ForeignPose | RefusedPose]:
    """Read the poses of a file.

    Raises:
        InputError: it cannot be read, is in none of the formats, or asks for code.
    """
    if path.suffix.lower() == ".json":
        yield from _of_json(path, _json(path))
        return
    content = _unpickled(path)
    if isinstance(content, dict) and "keypoints2d" in content:
        yield from _of_aist(path, content)
    elif isinstance(content, dict) and ("annotations" in content or "keypoint" in content):
        yield from _of_mmaction(path, content.get("annotations", [content]))
    elif isinstance(content, list) and content and isinstance(content[0], dict):
        yield from _of_mmaction(path, content)
    else:
        raise InputError.at(path, None, "holds no poses in a format that is read", f"give {_FORMATS}")


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise InputError.at(path, None, f"is not readable JSON ({error})") from None


def _unpickled(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            return ArrayUnpickler(file).load()
    except OSError as error:
        raise InputError.at(path, None, f"cannot be read ({error.strerror})") from None
    except Exception as error:  # a broken pickle raises nearly anything
        raise InputError.at(
            path, None, f"is not a pickle of plain arrays ({error})", f"give {_FORMATS}"
        ) from None


def _of_aist(path: Path, content: Mapping[str, Any]) -> Iterator[ForeignPose | RefusedPose]:
    """One recording by nine cameras: keypoints2d [camera, frame, 17, 3]."""
    import numpy as np

    cameras = np.asarray(content["keypoints2d"])
    if cameras.ndim != 4 or cameras.shape[2:] != (_NUM_JOINTS, 3) or cameras.dtype.kind != "f":
        yield RefusedPose(path.stem, f"keypoints2d of shape {cameras.shape} is not [camera, frame, 17, 3]")
        return
    for number, seen in enumerate(cameras, start=1):
        points = np.nan_to_num(seen.astype(np.float32))[None]
        scores = points[..., 2].clip(0, 1)
        yield ForeignPose(
            *(path.stem, "AIST++", points[..., :2], scores, AIST_SIZE), camera=number, fps=AIST_FPS
        )


def _of_mmaction(path: Path, entries: Any) -> Iterator[ForeignPose | RefusedPose]:
    """A list of annotations: frame_dir, img_shape, keypoint [person, frame, 17, 2], keypoint_score."""
    import numpy as np

    for row, entry in enumerate(entries if isinstance(entries, list) else [], start=1):
        name = entry.get("frame_dir") or entry.get("filename") if isinstance(entry, dict) else None
        if not name:
            yield RefusedPose(f"{path.name}:{row}", "names no clip (frame_dir)")
            continue
        points = np.asarray(entry.get("keypoint"))
        if points.ndim != 4 or points.shape[2:] != (_NUM_JOINTS, 2) or points.dtype.kind != "f":
            yield RefusedPose(str(name), f"keypoint of shape {points.shape} is not [person, frame, 17, 2]")
            continue
        scores = np.asarray(entry.get("keypoint_score", np.ones(points.shape[:3], np.float32)))
        if scores.shape != points.shape[:3] or scores.dtype.kind != "f":
            yield RefusedPose(str(name), f"keypoint_score of shape {scores.shape} does not fit the keypoints")
            continue
        shape = entry.get("img_shape")
        known = isinstance(shape, tuple | list) and len(shape) == 2
        size = (int(shape[1]), int(shape[0])) if shape and known else None
        best = _best_people(np.nan_to_num(points), np.nan_to_num(scores).clip(0, 1))
        yield ForeignPose(str(name), "MMAction2", *best, size, fps=_rate(entry))


def _of_json(path: Path, content: Any) -> Iterator[ForeignPose | RefusedPose]:
    """A COCO data set or a list of results, of one clip or of many."""
    images: dict[Any, dict[str, Any]] = {}
    results, fps = content, 0.0
    if isinstance(content, dict):
        results, fps = content.get("annotations"), _rate(content) or _rate(content.get("info"))
        images = {i.get("id"): i for i in content.get("images", []) if isinstance(i, dict)}
    if not isinstance(results, list) or not all(isinstance(row, dict) for row in results):
        raise InputError.at(path, None, "holds no list of keypoints", f"give {_FORMATS}")
    clips: dict[str, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    sizes: dict[str, tuple[int, int]] = {}
    # Of a data set also the frames in which nobody was found.
    places = [_place(path, image.get("file_name", image_id)) for image_id, image in images.items()]
    numbers = [placed[1] for placed in places if placed]
    refused = 0
    for row in results:
        image = images.get(row.get("image_id"), {})
        placed = _place(path, image.get("file_name", row.get("image_id")))
        if placed is None or not _is_coco(row.get("keypoints")):
            refused += 1
            continue
        name, number = placed
        clips[name].append((number, row))
        numbers.append(number)
        if image.get("width") and image.get("height"):
            sizes[name] = (int(image["width"]), int(image["height"]))
    if refused:
        yield RefusedPose(path.name, f"{refused} entries have no frame number or not 17 keypoints")
    # All clips of a file are counted in one way, though in the first frame of some there is nobody.
    first = 1 if min(numbers, default=0) == 1 else 0
    for name, rows in clips.items():
        if max(number for number, _ in rows) > _MOST_FRAMES:
            yield RefusedPose(name, "its image ids are not numbers of frames")
            continue
        yield ForeignPose(name, "COCO-17 JSON", *_tracks(rows, first), sizes.get(name), fps=fps)


def _place(path: Path, image: Any) -> tuple[str, int] | None:
    """Read the clip and the number of a frame from the name of its picture; None if it has no number."""
    named = PurePosixPath(str(image).replace("\\", "/"))
    number = _LAST_NUMBER.search(named.stem)
    if number is None:
        return None
    return path.stem if str(named.parent) == "." else str(named.parent), int(number[1])


def _is_coco(values: Any) -> bool:
    numbers = isinstance(values, list) and all(isinstance(v, int | float) for v in values)
    return numbers and len(values) == 3 * _NUM_JOINTS


def _tracks(rows: Iterable[tuple[int, Mapping[str, Any]]], first: int) -> tuple[Numbers, Numbers]:
    """Lay rows (frame number from `first` on, entry) out as [person, frame, 17, 2] and [person, frame, 17].

    People are told apart by their track's number, or without one by their score in the frame.
    """
    import numpy as np

    frames: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for number, row in rows:
        frames[number].append(row)
    people: dict[Any, dict[int, Numbers]] = defaultdict(dict)
    for number, found in frames.items():
        ordered = sorted(found, key=lambda row: -_number(row.get("score", 0)))
        for place, row in enumerate(ordered):
            track = next((row[key] for key in _TRACK_KEYS if isinstance(row.get(key), int)), place)
            people[track][number - first] = np.array(row["keypoints"], np.float32).reshape(_NUM_JOINTS, 3)
    points = np.zeros((len(people), max(frames) + 1 - first, _NUM_JOINTS, 3), np.float32)
    for person, found_in in enumerate(people.values()):
        for number, joints in found_in.items():
            points[person, number] = joints
    scores: Numbers = points[..., 2]
    # COCO's own annotations say 0 (not there), 1 (hidden) or 2 (visible).
    if set(np.unique(scores)) <= {0.0, 1.0, 2.0} and scores.max() == 2:
        scores = scores * np.float32(0.5)
    return _best_people(points[..., :2], scores.clip(0, 1))


def _best_people(points: Numbers, scores: Numbers) -> tuple[Numbers, Numbers]:
    """Order people by their scores over all frames, and keep ten at most."""
    import numpy as np

    order = np.argsort(-scores.sum(axis=(1, 2)), kind="stable")[:_MOST_PEOPLE]
    return points[order].astype(np.float32), scores[order].astype(np.float32)


def _rate(facts: Any) -> float:
    """Read the frame rate that a file states as `fps`; 0 if it states none."""
    fps = _number(facts.get("fps")) if isinstance(facts, dict) else 0.0
    return fps if 0 < fps < math.inf else 0.0


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def files_of(path: Path) -> Sequence[Path]:
    """Return the files at a path that may hold poses, in order.

    Raises:
        InputError: there is nothing, or nothing that may hold poses.
    """
    if not path.exists():
        raise InputError.at(path, None, "there is no such file or folder")
    found = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not found:
        pictures = any(p.suffix.lower() in (".jpg", ".jpeg", ".png") for p in path.rglob("*"))
        what = "holds pictures, and no keypoints" if pictures else "holds no file of poses"
        hint = "run dance pose on the clips: Let's Dance gives its poses as pictures"
        raise InputError.at(path, None, what, hint if pictures else f"give {_FORMATS}")
    return found
