"""The table of clips, `clips.parquet`: rows that changed are merged into it, the others are copied.

The table is sorted by clip id. `.locks/clips.json` says how far the ledgers are in it; only clips with
later rows are looked up. Without that file, or if a ledger, the table or what it was made from is
another one, everything is looked up. The callers hold the lock of the manifests.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dancecli.core.records import Clip, Segment
from dancecli.storage import ledger, tables
from dancecli.storage.files import NO_FILE, atomic_file, file_state
from dancecli.storage.removals import read_removals, removals_file
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa

_LABELS = ("label", "official_split", "dataset")


@dataclass(frozen=True)
class _State:
    """What the table was made from: the ledgers up to their marks, and files by size and time."""

    marks: dict[str, ledger.Mark]
    table: tuple[int, int]
    segments: tuple[int, int]
    removals: tuple[int, int]


def update_clips(workspace: Workspace) -> None:
    """Merge what is new in the ledgers into the table, and give clips the labels of their segments."""
    state = _read_state(workspace)
    marks = ledger.marks(workspace.root)
    changed = ledger.changed_since(workspace.root, state.marks) if state else None
    segments, removals = file_state(workspace.segments), file_state(removals_file(workspace))
    if state and changed == set() and (state.segments, state.removals) == (segments, removals):
        return
    relabels = state is None or state.segments != segments or changed != set()
    changes = ledger.last_clips(workspace.root, changed)
    labels = _Labels(workspace) if relabels else None
    removed = sorted(read_removals(workspace).rows)
    _write(workspace, _settled(_merged(workspace, changes), labels, removed))
    _write_state(workspace, _State(marks, file_state(workspace.clips), segments, removals))


def replace_augmented(workspace: Workspace, clips: Sequence[Clip]) -> None:
    """Make these the only augmented clips of the table; they are sorted."""
    import pyarrow.compute as pc

    state = _read_state(workspace)
    originals = (piece.filter(pc.equal(piece["parent_id"], "")) for piece in _stored(workspace))
    _write(workspace, _inserted(originals, ((clip.clip_id, clip) for clip in clips)))
    if state:
        _write_state(
            workspace, _State(state.marks, file_state(workspace.clips), state.segments, state.removals)
        )


class _UnchangedError(Exception):
    """The table would be written as it is."""


def _write(workspace: Workspace, pieces: Iterable[pa.Table]) -> None:
    """Write the table, unless it holds just these rows."""
    before = _Expected(_stored(workspace), changed=not workspace.clips.exists())

    def compared() -> Iterator[pa.Table]:
        for piece in pieces:
            before.compare(piece)
            yield piece
        if before.ends_here():
            raise _UnchangedError

    with suppress(_UnchangedError):
        tables.write_pieces(workspace.clips, Clip, compared())


class _Expected:
    """The rows of the table as it is, held against other rows in pieces of any length."""

    def __init__(self, pieces: Iterator[pa.Table], *, changed: bool) -> None:
        self._pieces, self._changed = pieces, changed
        self._rest: pa.Table | None = None

    def compare(self, piece: pa.Table) -> None:
        """Hold the next rows against those of the table."""
        while not self._changed and len(piece):
            if self._rest is None or not len(self._rest):
                self._rest = next(self._pieces, None)
            if self._rest is None:
                self._changed = True
                return
            length = min(len(self._rest), len(piece))
            self._changed = not self._rest.slice(0, length).equals(piece.slice(0, length))
            self._rest, piece = self._rest.slice(length), piece.slice(length)

    def ends_here(self) -> bool:
        """Return whether all rows were the same, and the table has no more."""
        more = self._rest is not None and len(self._rest) > 0
        return not self._changed and not more and next(self._pieces, None) is None


def _stored(workspace: Workspace) -> Iterator[pa.Table]:
    return tables.read_pieces(workspace.clips, Clip) if workspace.clips.exists() else iter(())


def _merged(workspace: Workspace, changes: Iterable[tuple[str, Clip | None]]) -> Iterator[pa.Table]:
    return _inserted(_stored(workspace), changes)


def _inserted(stored: Iterable[pa.Table], changes: Iterable[tuple[str, Clip | None]]) -> Iterator[pa.Table]:
    """Put sorted changes into sorted pieces: a clip replaces the row with its id, None deletes it."""
    import pyarrow.compute as pc

    ahead = _Ahead(changes)
    for piece in stored:
        rest, last = piece, piece["clip_id"][-1].as_py()
        # In steps: of a first update, all changes may belong into one piece.
        while some := ahead.up_to(last):
            bound = some[-1][0]
            yield _with_changes(rest.filter(pc.less_equal(rest["clip_id"], bound)), some)
            rest = rest.filter(pc.greater(rest["clip_id"], bound))
        yield rest
    while some := ahead.up_to(None):
        yield _with_changes(tables.to_table(Clip, ()), some)


class _Ahead:
    """Changes that are taken a few at a time, in their order."""

    def __init__(self, changes: Iterable[tuple[str, Clip | None]]) -> None:
        self._following = iter(changes)
        self._next = next(self._following, None)

    def up_to(self, last: str | None) -> list[tuple[str, Clip | None]]:
        """Take the next changes whose id is not after this one; any, if it is None."""
        found: list[tuple[str, Clip | None]] = []
        while self._next and len(found) < tables.PIECE and (last is None or self._next[0] <= last):
            found.append(self._next)
            self._next = next(self._following, None)
        return found


def _with_changes(piece: pa.Table, changes: Sequence[tuple[str, Clip | None]]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    named = pc.is_in(piece["clip_id"], value_set=pa.array([name for name, _ in changes], pa.string()))
    new = tables.to_table(Clip, [clip for _, clip in changes if clip is not None])
    kept = piece.filter(pc.invert(named))
    return pa.concat_tables([_bare(kept), _bare(new)]).sort_by("clip_id").combine_chunks()


def _bare(table: pa.Table) -> pa.Table:
    return table.replace_schema_metadata(None)


def _settled(
    pieces: Iterable[pa.Table], labels: _Labels | None, removed: Sequence[str]
) -> Iterator[pa.Table]:
    """Leave removed clips out, and give the others the labels of their segments."""
    import pyarrow as pa
    import pyarrow.compute as pc

    gone = pa.array(removed, pa.string())

    def kept(piece: pa.Table) -> pa.Table:
        named = (pc.is_in(piece[name], value_set=gone) for name in ("clip_id", "parent_id"))
        return piece.filter(pc.invert(pc.or_(*named))) if removed else piece

    for piece in map(kept, pieces):
        yield labels.put(piece) if labels else piece


class _Labels:
    """Label, official split and dataset of each segment, in the order of the clip ids."""

    def __init__(self, workspace: Workspace) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        self._rows: pa.Table | None = None
        if workspace.segments.exists():
            names = ("video_id", "start_ms", "end_ms", *_LABELS)
            rows = tables.read_table(workspace.segments, Segment, names)
            times = (pc.cast(rows[name], pa.string()) for name in ("start_ms", "end_ms"))
            ids = pc.binary_join_element_wise(rows["video_id"], *times, "_")
            self._rows = (
                rows.select(_LABELS).append_column("clip_id", ids).sort_by("clip_id").combine_chunks()
            )

    def put(self, piece: pa.Table) -> pa.Table:
        """Give the clips of a sorted piece their labels; those without a segment keep theirs."""
        import pyarrow.compute as pc

        if self._rows is None or not len(piece):
            return piece
        ids = self._rows["clip_id"]
        first, last = (piece["clip_id"][i].as_py() for i in (0, -1))
        begin = bisect_left(range(len(ids)), first, key=lambda i: ids[i].as_py())
        end = bisect_right(range(len(ids)), last, key=lambda i: ids[i].as_py())
        own = self._rows.slice(begin, end - begin)
        at = pc.index_in(piece["clip_id"], value_set=own["clip_id"].combine_chunks())
        for name in _LABELS:
            place = piece.schema.get_field_index(name)
            values = pc.coalesce(own[name].take(at), piece[name])
            piece = piece.set_column(place, piece.schema.field(place), values)
        return piece


def _state_file(workspace: Workspace) -> Path:
    return workspace.root / ".locks" / "clips.json"


def _read_state(workspace: Workspace) -> _State | None:
    """Read what the table was made from; None if that is not known, or the table is another one."""
    try:
        text = json.loads(_state_file(workspace).read_text(encoding="utf-8"))
        marks = {name: ledger.Mark(*mark) for name, mark in text["marks"].items()}
        files = (tuple(text[name]) for name in ("table", "segments", "removals"))
        state = _State(marks, *files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return state if state.table == file_state(workspace.clips) != NO_FILE else None


def _write_state(workspace: Workspace, state: _State) -> None:
    with atomic_file(_state_file(workspace)) as file:
        json.dump(
            {
                "marks": state.marks,
                "table": state.table,
                "segments": state.segments,
                "removals": state.removals,
            },
            file,
        )
