"""Whether the record of a submission says what its lock, its predictions and the host's lock say.

What these decide is refused where it differs: counts and hashes of the subsets, folds, the views of the
test. What they cannot decide is the participant's word: model, weights, training and what it took.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from dancecli.core.errors import InputError
from dancecli.core.records import SplitClip, Subset
from dancecli.report.results.submission import Submission
from dancecli.storage.lockfile import subset_digest

# What the text of a view protocol says, as `model.training.scoring.views_record` writes it.
_VIEWS = {
    "clip_len": re.compile(r"^(\d+)(?:x\d+ frames| frames| poses)|stacks of (\d+) fields"),
    "frame_interval": re.compile(r"^\d+x(\d+) frames"),
    "num_clips": re.compile(r", (\d+) clips?\b"),
    "num_crops": re.compile(r" x (\d+) (?:center )?crops?\b"),
    "crop": re.compile(r"\bcrops? (\d+)"),
    "short_side": re.compile(r"\bshort side (\d+)"),
}


def check_record(found: Submission, lock: Mapping[str, SplitClip], removed: Mapping[str, int]) -> None:
    """Hold what a submission's record says of its split and its views against what decides it.

    Args:
        found: the submission; its lock agrees with that of the host.
        lock: the lock of the host.
        removed: how many clips of each subset were removed from that by request.

    Raises:
        InputError: something differs.
    """
    try:
        _check_split(found, lock, removed)
        _check_views(found.results.run, found.results.predictions)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        # Somebody else wrote it.
        raise InputError(f"its run is no record of dance ({type(error).__name__}: {error})") from None


def _check_split(found: Submission, lock: Mapping[str, SplitClip], removed: Mapping[str, int]) -> None:
    split = found.results.run["split"]
    rows = list(found.lock.values())
    folds = [row.folds.split("/") for row in rows if row.folds]
    _require("split.folds", split.get("folds"), max((int(of[0]) for of in folds), default=None))
    _require("split.repeats", split.get("repeats"), len(folds[0]) if folds else None)
    # Clips that it lacks: some were removed by request, before it was trained or since, others are missing.
    absent = Counter(row.subset for row in lock.values())
    absent.update(removed)
    absent.subtract(row.subset for row in rows)
    before = _counts(split, "removed")
    for name, count in before.items():
        _require_range(f"split.removed.{name}", count, 0, absent[name])
    own = {subset: [row for row in rows if row.subset == subset] for subset in Subset}
    if folds:
        own[Subset.TRAIN] = own[Subset.TEST]
    since = {name: absent[name] - before.get(name, 0) for name in Subset}
    for name, count in _counts(split, "removed_since").items():
        _require_range(f"split.removed_since.{name}", count, 0, since[Subset(name)])
    _check_subsets(split, own, since)


def _check_subsets(
    split: Mapping[str, Any], own: Mapping[Subset, list[SplitClip]], since: Mapping[Subset, int]
) -> None:
    """Check counts and hashes of the subsets as they were trained and evaluated.

    Args:
        split: of the record.
        own: the clips of each subset of its lock.
        since: how many of each it may have lost by requests since it was trained.
    """
    held_in, augmented = (_number(split, key) for key in ("val_in_train", "augmented"))
    val, room = own[Subset.VAL], {subset: len(own[subset]) + since[subset] for subset in Subset}
    _require_range("split.val_in_train", held_in, 0, room[Subset.VAL])
    counts = _counts(split, "counts")
    if not counts:
        return
    test = len(own[Subset.TEST])
    _require_range("split.counts.test", counts.get("test", 0), test, room[Subset.TEST])
    _require_range("split.counts.val", counts.get("val", 0), 0, 0 if held_in else room[Subset.VAL])
    originals = counts.get("train", 0) - augmented
    _require_range("split.counts.train", originals, held_in, room[Subset.TRAIN] + held_in)
    _check_hash(split, "val_hash", counts.get("val", 0), [] if held_in else val, since[Subset.VAL])
    trained = [*own[Subset.TRAIN], *(val if held_in else [])]
    if augmented and split.get("train_hash") == _digest(trained):
        _require("split.augmented", augmented, None)
    if not augmented:
        lost = since[Subset.TRAIN] + (since[Subset.VAL] if held_in else 0)
        _check_hash(split, "train_hash", originals, trained, lost)
        if held_in and split.get("train_hash") == _digest(trained):
            _require("split.val_in_train", held_in, len(val))


def _check_hash(split: Mapping[str, Any], key: str, count: int, own: list[SplitClip], since: int) -> None:
    """Check that a subset has its lock's hash if it has as many clips, and another if it has not."""
    stated = split.get(key)
    if stated is None:
        return
    same = stated == _digest(own)
    if same and count != len(own):
        _require(f"split.counts.{key.removesuffix('_hash')}", count, len(own))
    if not same and count == len(own) and not since:
        _require(f"split.{key}", stated, _digest(own))


def _digest(rows: list[SplitClip]) -> str:
    return subset_digest((row.clip_id, row.sha256, row.label) for row in rows)


def _check_views(run: Mapping[str, Any], predictions: Mapping[str, str]) -> None:
    """Check that a record says of the views of the test what its predictions and its other parts say."""
    views, weights = run.get("views") or {}, run.get("weights") or {}
    protocol = predictions.get("view.protocol", "")
    _require("views.test", views.get("test"), protocol)
    for key, pattern in _VIEWS.items():
        if (match := pattern.search(protocol)) and key in views:
            _require(f"views.{key}", views[key], int(next(filter(None, match.groups()))))
    if (checksum := predictions.get("weights.sha256")) and "sha256" in weights:
        _require("weights.sha256", weights["sha256"], checksum)
    evaluated, members = run.get("evaluated") or {}, run.get("members") or ()
    if "view_protocol" in evaluated:
        _require("evaluated.view_protocol", evaluated["view_protocol"], protocol)
    if members:
        shared = " + ".join(dict.fromkeys(str(member["view_protocol"]) for member in members))
        _require("members.view_protocol", shared, protocol)
        _require("model.members", (run.get("model") or {}).get("members"), [one["run"] for one in members])


def _counts(split: Mapping[str, Any], key: str) -> dict[str, int]:
    """Read numbers by subset."""
    found = split.get(key) or {}
    if odd := sorted(set(found) - set(Subset)):
        raise InputError(f"split.{key} of its run names a subset {odd[0]!r}")
    return {name: _number(found, name) for name in found}


def _number(table: Mapping[str, Any], key: str) -> int:
    value = table.get(key, 0)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InputError(f"{key} of its run is {value!r}, which is no number of clips")
    return value


def _require(what: str, stated: object, known: object) -> None:
    if stated != known or isinstance(stated, bool):
        told = "nothing" if known is None else repr(known)
        raise InputError(f"{what} of its run is {stated!r}, its lock and predictions give {told}")


def _require_range(what: str, stated: int, low: int, high: int) -> None:
    if not low <= stated <= high:
        told = str(low) if low == high else f"{low} to {high}"
        raise InputError(f"{what} of its run is {stated}, its lock gives {told}")
