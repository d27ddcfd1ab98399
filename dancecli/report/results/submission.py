"""A run's results as one file that others can check: predictions, lock of the split, hashes.

A submission is a zip file of three members: `submission.json` (the run's record, every figure that its
report has, and the checksums of the other two), `predictions.parquet` and `lock.csv`. Whoever reads one
believes none of its figures: all are computed again from the predictions, and the predictions are held
against a lock file of the reader's own. What no file can show is that the scores come from a model, and
what that model was trained on.
"""

from __future__ import annotations

import json
import lzma
import math
import re
import struct
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import DanceError, InputError, WorkspaceError
from dancecli.core.hashing import sha256_file
from dancecli.core.records import Prediction, SplitClip, Subset, arrow_schema
from dancecli.core.text import pluralize
from dancecli.report.results.metrics_json import document
from dancecli.report.results.run_results import RunResults, SubsetScores, check_record, results_of
from dancecli.report.results.summaries import summarize
from dancecli.storage import runs, tables
from dancecli.storage.lockfile import read_lock, split_digest, subset_digest
from dancecli.storage.removals import clip_reference
from dancecli.storage.workspace import Workspace, checked_name

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA = 1
CARD, PREDICTIONS, LOCK = "submission.json", "predictions.parquet", "lock.csv"
# What of a run's record is sent: neither the command line nor paths nor the machine's name.
KEPT = (
    "schema", "name", "group", "status", "created_utc", "finished_utc", "model", "weights", "split", "labels",
    "views", "probe", "optim", "seed", "cache", "recipe", "speed", "seconds", "evaluated", "of_run",
    "members", "baseline", "versions",
)  # fmt: skip
# 90,000 clips of 700 classes fit in without compression.
LARGEST_MEMBER = 1 << 29
# Scores that differ by no more on any clip are the same predictions, rounded or computed elsewhere.
SAME_SCORES = 1e-4
# What reading a damaged zip file may raise; for an unknown compression or a password a RuntimeError.
_UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(OSError, EOFError, ValueError, RuntimeError),
)
# A folder where a word begins: `/home/me/` of `--groups /home/me/groups.csv`, nothing of `70/10/20`.
_FOLDER = re.compile(r"(?<![^\s=,])(?:[A-Za-z]:)?[\\/](?:[^\\/\s]+[\\/])+")
# The types of what a page shows of a record that somebody else wrote; all of it may be missing.
_TYPES: dict[tuple[str, ...], type | tuple[type, ...]] = {
    ("group",): str,
    ("schema",): int,
    ("created_utc",): str,
    ("finished_utc",): str,
    ("seed",): int,
    ("model",): dict,
    ("model", "params_total"): int,
    ("model", "params_trainable"): int,
    ("model", "frozen_stages"): int,
    ("model", "members"): list,
    ("weights",): dict,
    ("optim",): dict,
    ("probe",): dict,
    ("optim", "epochs"): int,
    ("views",): dict,
    ("cache",): dict,
    ("recipe",): dict,
    ("speed",): dict,
    ("seconds",): dict,
    ("versions",): dict,
    ("split", "counts"): dict,
    ("split", "test_hash"): str,
    ("members",): list,
    ("evaluated",): dict,
    ("evaluated", "run"): str,
    ("evaluated", "trained"): dict,
    ("evaluated", "trained", "split"): str,
    ("evaluated", "trained", "hash"): str,
    ("evaluated", "trained", "counts"): list,
    ("evaluated", "overlap"): dict,
    ("evaluated", "overlap", "test"): dict,
    ("evaluated", "overlap", "test", "videos"): int,
    ("evaluated", "overlap", "val"): dict,
    ("evaluated", "overlap", "val", "videos"): int,
}


@dataclass(frozen=True)
class Submission:
    """A submission whose parts agree with each other.

    Attributes:
        name: its name on a leaderboard.
        results: as of a run of this workspace; the name is that of the submission.
        lock: the rows of its split, by clip.
        metrics: the figures that it claims, by subset.
        predictions: checksum of its table of scores.
    """

    name: str
    results: RunResults
    lock: Mapping[str, SplitClip]
    metrics: Mapping[str, Any]
    predictions: str


def write_submission(path: Path, name: str, results: RunResults, predictions: Path, lock: Path) -> None:
    """Write a run's submission; the same run gives the same bytes.

    Args:
        path: the file to write.
        name: the submission's name.
        results: the run.
        predictions: its table of scores.
        lock: the lock file of the split.
    """
    from dancecli.storage.files import atomic_file

    card = {
        "schema": SCHEMA,
        "name": name,
        "run": {key: _without_folders(results.run[key]) for key in KEPT if key in results.run},
        "metrics": figures(results),
        "sha256": {PREDICTIONS: sha256_file(predictions), LOCK: sha256_file(lock)},
    }
    members = {
        CARD: (json.dumps(card, indent=2, ensure_ascii=False) + "\n").encode(),
        PREDICTIONS: predictions.read_bytes(),
        LOCK: lock.read_bytes(),
    }
    with atomic_file(path, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            # The time of a run is in its record; that of a copy says nothing.
            info = zipfile.ZipInfo(member, (1980, 1, 1, 0, 0, 0))
            info.external_attr, info.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
            archive.writestr(info, content)


def figures(results: RunResults) -> dict[str, Any]:
    """Compute every figure of a run's report, by subset."""
    found: dict[str, Any] = document("", results, summarize(results), Subset.TEST)["subsets"]
    return found


def read_submission(path: Path) -> Submission:
    """Read a submission and check that its parts agree with each other.

    Raises:
        InputError: the file is damaged, is not a submission, or contradicts itself.
        WorkspaceError: it is from a newer version.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            return _read(path, Path(folder))
        except DanceError as error:
            # What is wrong with a member is said of the submission, not of our copy of it.
            message = error.message.replace(f"{folder}/", "").replace(f"{path}: ", "")
            raise type(error)(f"{path}: {_one_line(message)}", "") from None
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError) as error:
            # Somebody else wrote it: whatever is in it is an error of theirs, never a traceback.
            what = _one_line(f"{type(error).__name__}: {error}")
            raise InputError(f"{path}: is not a submission ({what})") from None


def _one_line(text: str) -> str:
    return " ".join(text.split("\n")).strip()


def _read(path: Path, folder: Path) -> Submission:
    _unpack(path, folder)
    card = _read_card(folder / CARD)
    for member, digest in card["sha256"].items():
        if member not in (PREDICTIONS, LOCK) or sha256_file(folder / member) != digest:
            raise InputError(f"{member} does not have the checksum in {CARD}: it was changed or damaged")
    run, name = card["run"], checked_name(card["name"], "submission")
    check_record(folder / CARD, run)
    _check_types(run)
    if run.get("status") != runs.DONE:
        raise InputError(f"its run is not complete: its status is {run.get('status')!r}")
    lock = read_lock(folder / LOCK)
    digest = split_digest(lock.values(), run["labels"])
    if digest != run["split"]["hash"]:
        raise InputError(
            f"{LOCK} has the split hash {digest[:12]}, its run names {run['split']['hash'][:12]}"
        )
    test = subset_digest((c.clip_id, c.sha256, c.label) for c in lock.values() if c.subset == Subset.TEST)
    if test != run["split"].get("test_hash", test):
        raise InputError(f"the test subset of {LOCK} does not have the hash that its run names")
    _check_table(folder / PREDICTIONS, len(lock), len(run["labels"]))
    results = results_of(run, folder / PREDICTIONS, lambda: list(lock.values()))
    if Subset.TEST not in results.subsets:
        raise InputError("it has no predictions for the test subset")
    shown = {**run, "name": name, "submitted": True}
    return Submission(name, replace(results, run=shown), lock, card["metrics"], card["sha256"][PREDICTIONS])


def _unpack(path: Path, folder: Path) -> None:
    """Write the three members into a folder; nothing else of the file is looked at."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(info.filename for info in archive.infolist())
            if names != sorted((CARD, PREDICTIONS, LOCK)):
                raise InputError(f"is not a submission: it must hold {CARD}, {PREDICTIONS} and {LOCK} alone")
            for info in archive.infolist():
                if info.file_size > LARGEST_MEMBER:
                    raise InputError(f"{info.filename} is of {info.file_size:,} bytes, too large to be read")
                (folder / info.filename).write_bytes(archive.read(info))
    except FileNotFoundError:
        raise InputError("there is no such file") from None
    except _UNREADABLE as error:
        raise InputError(f"is not a submission ({error})") from None


def _read_card(path: Path) -> dict[str, Any]:
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise InputError(f"{CARD} is not JSON ({error})") from None
    if not isinstance(card, dict) or not isinstance(schema := card.get("schema"), int):
        raise InputError(f"{CARD} has no schema")
    if schema > SCHEMA:
        raise WorkspaceError(f"written by a newer dance (schema {schema}, this one reads {SCHEMA})")
    for key, kind in (("name", str), ("run", dict), ("metrics", dict), ("sha256", dict)):
        if not isinstance(card.get(key), kind):
            raise InputError(f"{CARD} has no {key}")
    if set(card["sha256"]) != {PREDICTIONS, LOCK}:
        raise InputError(f"{CARD} must have the checksums of {PREDICTIONS} and {LOCK}")
    return card


def _check_types(run: Mapping[str, Any]) -> None:
    """Refuse a record in which what a page shows is of another type than a run's."""
    for keys, kind in _TYPES.items():
        value: Any = run
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise InputError(f"{'.'.join(keys)} of its run is {_short(value)}")
    if run.get("group"):
        checked_name(run["group"], "group")
    _check_forms(run)


def _check_forms(run: Mapping[str, Any]) -> None:
    """Refuse a record with a time that is none, that ends before it begins, or with an impossible number."""
    times = []
    for key in ("created_utc", "finished_utc"):
        if (text := run.get(key)) is not None:
            try:
                times.append(datetime.fromisoformat(text).astimezone(UTC))
            except (ValueError, TypeError, OverflowError):
                raise InputError(f"{key} of its run is {_short(text)}, which is no time") from None
    if times != sorted(times):
        raise InputError(f"its run was finished before it began ({run['created_utc']})")
    for part in ("model", "optim", "speed", "seconds"):
        for key, value in (run.get(part) or {}).items():
            if isinstance(value, int | float) and not 0 <= value < math.inf:
                raise InputError(f"{part}.{key} of its run is {_short(value)}")
    for key, least in (("schema", 1), ("seed", 0)):
        if (value := run.get(key)) is not None and value < least:
            raise InputError(f"{key} of its run is {_short(value)}")
    if run.get("schema", SCHEMA) > runs.SCHEMA:
        raise WorkspaceError(f"its run was written by a newer dance (schema {run['schema']})")


def _check_table(path: Path, clips: int, classes: int) -> None:
    """Refuse a table of other columns, or of more scores than the lock has clips for, before reading it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables.read_meta(path)
    try:
        with pq.ParquetFile(path) as file:
            meta = file.metadata
            if _columns(file.schema_arrow) != _columns(arrow_schema(Prediction)):
                raise InputError.at(path, None, "is not a table of predictions: its columns are others")
            values = [
                sum(meta.row_group(g).column(c).num_values for g in range(meta.num_row_groups))
                for c in range(meta.num_columns)
            ]
            if meta.num_rows > clips or max(values, default=0) > clips * classes:
                raise InputError.at(
                    path, None, f"holds {meta.num_rows:,} rows for the {clips:,} clips of its lock"
                )
    except (pa.ArrowException, OSError) as error:
        raise InputError.at(path, None, f"is not a readable Parquet file ({error})") from None


def _columns(schema: pa.Schema) -> list[tuple[str, str, bool]]:
    # How the elements of a list are named depends on the version of pyarrow.
    return [(f.name, re.sub(r"<.*: ", "<", str(f.type)), f.nullable) for f in schema]


def references(workspace: Workspace) -> dict[str, dict[str, SplitClip]]:
    """Read the locks that submissions are held against: those of the workspace's splits, by name.

    A workspace needs no clips for this: a lock file in `manifests/splits/` suffices.

    Raises:
        WorkspaceError: there is none.
        InputError: one is no lock.
    """
    names = workspace.split_locks()
    if not names:
        raise WorkspaceError(
            f"{workspace.root}: there is no split to hold submissions against",
            f"copy the benchmark's lock file to {workspace.split_lock('NAME')}, or run dance split",
        )
    return {name: read_lock(workspace.split_lock(name)) for name in names}


def check_submission(
    found: Submission, known: Mapping[str, Mapping[str, SplitClip]], removed: Collection[str] = ()
) -> str:
    """Hold a submission's lock against the locks that are known.

    Its test subset must be that of a known split, clip by clip, with the same labels, groups and files.
    Of val and train, clips may be missing (they may be unavailable by now) and files may differ, but
    no clip may be added, moved, relabeled or regrouped.

    Args:
        found: the submission.
        known: the known locks, at least one.
        removed: references of the clips that were removed from them by request.

    Returns:
        The name of the split that it agrees with.

    Raises:
        InputError: it agrees with none; the reason is that of the split that has most in common with it.
    """
    objections = {name: list(_objections(found.lock, lock)) for name, lock in known.items()}
    if agreed := [name for name, why in objections.items() if not why]:
        return agreed[0]
    gone = Counter(row.subset for clip, row in found.lock.items() if clip_reference(clip) in removed)
    if gone:
        counts = ", ".join(f"{pluralize(gone[s], f'{s} clip')}" for s in Subset if gone[s])
        raise InputError(
            f"it names {counts} removed by request since: its participant has to remove them too, with dance "
            "remove, and to run dance submit again, without training anew"
        )
    test = {clip for clip, row in found.lock.items() if row.subset == Subset.TEST}
    shared = {name: len(test & lock.keys()) for name, lock in known.items()}
    name = min(objections, key=lambda n: (-shared[n], len(objections[n]), n))
    if not shared[name]:
        raise InputError(f"its test clips are of no split that is known here ({', '.join(known)})")
    first, *others = objections[name]
    more = f", and {len(others)} more differences" if others else ""
    raise InputError(f"it is not of split {name!r}: {first}{more}")


def _objections(lock: Mapping[str, SplitClip], known: Mapping[str, SplitClip]) -> Iterator[str]:
    """Name every difference that matters, test first."""
    for subset in (Subset.TEST, Subset.VAL, Subset.TRAIN):
        rows = sorted(clip for clip, row in lock.items() if row.subset == subset)
        for clip in rows:
            if clip not in known:
                yield f"{subset} clip {clip} is not in the split"
                continue
            ours, theirs = lock[clip], known[clip]
            for field in ("subset", "label", "group", "folds"):
                if getattr(ours, field) != getattr(theirs, field):
                    yield (
                        f"{field} of {clip} is {getattr(ours, field)!r}, and {getattr(theirs, field)!r} "
                        "in the split"
                    )
            if subset == Subset.TEST and ours.sha256 != theirs.sha256:
                yield f"test clip {clip} is another file (its checksum differs)"
    missing = sorted(c for c, row in known.items() if row.subset == Subset.TEST and c not in lock)
    yield from (f"test clip {clip} is missing" for clip in missing)


def check_figures(found: Submission) -> None:
    """Compute every figure of a submission again and compare it with what is claimed.

    Raises:
        InputError: a figure differs.
    """
    computed = json.loads(json.dumps(figures(found.results)))
    if difference := next(_differences(found.metrics, computed, ""), None):
        raise InputError(difference)


def _differences(claimed: Any, computed: Any, where: str) -> Iterator[str]:
    """Name the figures that differ: counts and texts exactly, rates to a millionth."""
    if isinstance(computed, Mapping) and isinstance(claimed, Mapping):
        for key in computed:
            yield from _differences(claimed.get(key), computed[key], f"{where}.{key}" if where else key)
    elif isinstance(computed, list) and isinstance(claimed, list) and len(claimed) == len(computed):
        for i, pair in enumerate(zip(claimed, computed, strict=True)):
            yield from _differences(*pair, f"{where}[{i}]")
    elif not _equal(claimed, computed):
        yield f"it claims {_short(claimed)} for {where}, and its predictions give {_short(computed)}"


def _equal(claimed: Any, computed: Any) -> bool:
    if isinstance(computed, float) and isinstance(claimed, int | float):
        # The last digits of a sum differ between processors.
        return math.isclose(claimed, computed, rel_tol=1e-6, abs_tol=1e-6)
    return bool(claimed == computed)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def check_duplicates(found: Submission, others: Mapping[str, SubsetScores]) -> None:
    """Refuse predictions that are there already under another name, but for rounding.

    Args:
        found: the submission.
        others: the scores of the test clips that are there, by name.

    Raises:
        InputError: they are there.
    """
    import numpy as np

    own = found.results.subsets[Subset.TEST]
    for name, other in others.items():
        alike = name != found.name and own.clips == other.clips and own.scores.shape == other.scores.shape
        if alike and np.abs(own.scores - other.scores).max() <= SAME_SCORES:
            raise InputError(f"its predictions are those of {name}")


def _without_folders(value: Any) -> Any:
    """Cut the folders off paths in a record: they are of the machine that it was made on."""
    if isinstance(value, Mapping):
        return {key: _without_folders(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_without_folders(one) for one in value]
    return _FOLDER.sub("", value) if isinstance(value, str) else value
