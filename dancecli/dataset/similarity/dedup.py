"""Group near-duplicates, and clips of one source video, so that a split keeps them in one subset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from dancecli.core.errors import WorkspaceError
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import NEAR_DUPLICATE, Clip, Group
from dancecli.dataset.groups import read_groups, replace_groups
from dancecli.dataset.similarity.hashes import compute_hashes, load_hashes, read_originals
from dancecli.dataset.similarity.neighbors import connected, near_pairs
from dancecli.engine.factory import LOCAL, check_engine
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace
from dancecli.video.contact_sheet import Cell, write_sheet

if TYPE_CHECKING:
    import pyarrow as pa

    from dancecli.dataset.similarity.neighbors import Indices

_SHEET_ROWS = 40
_SHEET_COLUMNS = 6


@dataclass(frozen=True)
class DedupSettings:
    """How to look for duplicates.

    Attributes:
        workers: processes; 0 for one per core, of this machine or of the cluster.
        dry_run: group the clips that are hashed already, and change nothing.
        engine: computes the hashes, `local` or `ray`, see `engine.factory`.
    """

    workers: int = 0
    dry_run: bool = False
    engine: str = LOCAL


@dataclass(frozen=True)
class DedupResult:
    """The groups of near-duplicates.

    Attributes:
        num_clips: clips, without augmented ones.
        num_pending: of these, those that are not hashed, in a dry run.
        num_groups: groups; a clip without a near-duplicate is one.
        near_duplicates: the groups with clips of several videos, by group, the largest first.
        conflicts: of these, those whose clips have several labels: group and labels.
        unreadable: clips that do not decode, with the reason.
        changed: False if the very same groups existed already.
        shown: groups on the contact sheet.
    """

    num_clips: int
    num_pending: int
    num_groups: int
    near_duplicates: dict[str, tuple[str, ...]]
    conflicts: dict[str, tuple[str, ...]]
    unreadable: dict[str, str]
    changed: bool
    shown: int


def dedup(workspace: Workspace, settings: DedupSettings, reporter: Reporter = SILENT) -> DedupResult:
    """Group the workspace's clips; write `manifests/groups.parquet` and a contact sheet.

    Clips are held as columns, not as records, so that many hundred thousand of them fit.

    Raises:
        WorkspaceError: there are no clips, or another dedup is at work.
    """
    check_engine(settings.engine)
    clips = read_originals(workspace)
    if not len(clips):
        raise WorkspaceError(
            f"{workspace.root}: there are no clips to compare", "run dance fetch or dance import"
        )
    unreadable: dict[str, str] = {}
    if not settings.dry_run:
        unreadable = compute_hashes(workspace, clips, settings.workers, reporter, settings.engine)
    rows, arrays = load_hashes(workspace, clips)
    clips = clips.select(("clip_id", "video_id", "label"))
    first, second = near_pairs(arrays)
    del arrays  # the largest of all
    groups = grouped(clips["video_id"].to_pylist(), rows[first], rows[second])
    seen = frozenset(rows.tolist())
    members = _members(clips, groups)
    ids, labels = clips["clip_id"].to_pylist(), clips["label"].to_pylist()
    near_duplicates = {name: tuple(ids[row] for row in found) for name, found in members.items()}
    named = {name: tuple(sorted({labels[row] for row in found})) for name, found in members.items()}
    rows_found = {Group(clip_id, group, NEAR_DUPLICATE) for clip_id, group in zip(ids, groups, strict=True)}
    before = (row for row in read_groups(workspace) if row.kind == NEAR_DUPLICATE)
    changed, shown = rows_found != set(before), 0
    if not settings.dry_run:
        if changed:
            replace_groups(workspace, NEAR_DUPLICATE, rows_found)
        shown = min(len(near_duplicates), _SHEET_ROWS)
        if changed or not workspace.group_sheet.exists():
            hashed = ([ids[row] for row in found if row in seen] for found in members.values())
            shown = _draw(workspace, list(islice(hashed, _SHEET_ROWS)))
    return DedupResult(
        num_clips=len(clips),
        num_pending=len(clips) - len(seen) - len(unreadable),
        num_groups=len(set(groups)),
        near_duplicates=near_duplicates,
        conflicts={name: several for name, several in named.items() if len(several) > 1},
        unreadable=unreadable,
        changed=changed,
        shown=shown,
    )


def near_among(workspace: Workspace, clip_ids: Collection[str]) -> list[tuple[str, str]]:
    """Find the near-duplicates of different videos among some clips, by the hashes that are stored.

    Returns:
        Pairs of ids, in order.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    clips = read_originals(workspace)
    clips = clips.filter(pc.is_in(clips["clip_id"], pa.array(sorted(clip_ids), pa.string())))
    rows, arrays = load_hashes(workspace, clips)
    first, second = near_pairs(arrays)
    ids, videos = clips["clip_id"].to_pylist(), clips["video_id"].to_pylist()
    pairs = zip(rows[first].tolist(), rows[second].tolist(), strict=True)
    return [(ids[i], ids[j]) for i, j in pairs if videos[i] != videos[j]]


def grouped(videos: Sequence[str], first: Indices, second: Indices) -> list[str]:
    """Assign every clip to a group: near-duplicates, and clips of one source video.

    Args:
        videos: the source video of each clip.
        first: with `second`, pairs of near-duplicates.
        second: see `first`.

    Returns:
        A name for each clip: the smallest id of its group's source videos.
    """
    import numpy as np

    names = sorted(set(videos))
    place = {video: i for i, video in enumerate(names)}
    at = np.fromiter((place[video] for video in videos), np.int64, len(videos))
    roots = connected(len(names), at[first], at[second])
    return [names[roots[i]] for i in at.tolist()]


def _members(clips: pa.Table, groups: Sequence[str]) -> dict[str, list[int]]:
    """Return the rows of the groups with several videos, the largest group first."""
    group_of = dict(zip(clips["video_id"].to_pylist(), groups, strict=True))
    num_videos = Counter(group_of.values())
    found: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        if num_videos[group] > 1:
            found.setdefault(group, []).append(row)
    return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))


def _draw(workspace: Workspace, groups: Sequence[Sequence[str]]) -> int:
    """Draw groups of clips, one per row, a clip of each of their videos first."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pa.array([clip_id for found in groups for clip_id in found], pa.string())
    names = ("clip_id", "video_id", "label", "path")
    clips = tables.read_table(workspace.clips, Clip, names)
    shown = clips.filter(pc.is_in(clips["clip_id"], wanted))
    records = {record["clip_id"]: record for record in shown.to_pylist()}
    rows = []
    for found in groups:
        known = [records[clip_id] for clip_id in found if clip_id in records]
        firsts = {record["video_id"]: record for record in reversed(known)}
        others = [record for record in known if firsts[record["video_id"]] is not record]
        chosen = [*sorted(firsts.values(), key=_by_id), *others][:_SHEET_COLUMNS]
        rows.append([_cell(workspace, record) for record in chosen])
    if rows:
        write_sheet(workspace.group_sheet, rows)
    else:
        workspace.group_sheet.unlink(missing_ok=True)
    return len(rows)


def _by_id(record: Mapping[str, str]) -> str:
    return record["clip_id"]


def _cell(workspace: Workspace, record: Mapping[str, str]) -> Cell:
    return Cell(workspace.root / record["path"], f"{record['clip_id']} {record['label']}")
