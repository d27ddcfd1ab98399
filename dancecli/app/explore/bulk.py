"""One correction of many clips at once, and taking it back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from dancecli.storage.corrections import Correction, Field

# What many clips may be given at once: what is said of one clip alone, such as new times, is not among them.
BULK_FIELDS = (Field.LABEL, Field.EXCLUDE, Field.CONFIRMED, Field.GROUP)
# Of milliseconds, as digits: no video lasts for years.
_LONGEST_TIME = 12


def check_value(field: Field, new: str, labels: Collection[str]) -> None:
    """Refuse what a field cannot be set to; empty takes an earlier correction back.

    Raises:
        ValueError: it is no label of the dataset, no time, or no `yes`.
    """
    if not new:
        return
    if field is Field.LABEL and new not in labels:
        raise ValueError(f"{new!r} is not a label of this dataset")
    if field in (Field.EXCLUDE, Field.CONFIRMED) and new != "yes":
        raise ValueError(f"{field} must be yes, or empty")
    if field in (Field.START_MS, Field.END_MS) and not (new.isdecimal() and len(new) < _LONGEST_TIME):
        raise ValueError(f"{field} must be whole milliseconds")


def old_and_new(mine: Mapping[str, str], field: Field, listed: str, new: str) -> tuple[str, str]:
    """Give what a correction says was, and is now; to go back to the listed label is to take one back.

    Args:
        mine: the clip's corrections in force.
        field: what is set.
        listed: the label that the clip came with.
        new: the value; empty to take an earlier correction back.
    """
    if field is not Field.LABEL:
        return mine.get(field, ""), new
    return mine.get(field, listed), "" if new == listed else new


def bulk_rows(
    clips: Iterable[tuple[str, str]],
    changes: Mapping[str, Mapping[str, str]],
    field: Field,
    new: str,
    *,
    who: str,
    why: str,
) -> list[Correction]:
    """Give the corrections that set one field of many clips; clips that have the value already have none.

    Args:
        clips: id and listed label of each clip.
        changes: the corrections in force; see `corrections.current`.
        field: what is set.
        new: its value; empty to take earlier corrections back.
        who: the person.
        why: the reason.
    """
    # One moment for all: by it the whole can be taken back.
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    rows = []
    for clip_id, listed in clips:
        mine = changes.get(clip_id, {})
        old, value = old_and_new(mine, field, listed, new)
        if value != mine.get(field, ""):
            rows.append(Correction(clip_id, field, old, value, who, now, why))
    return rows


def undo_rows(rows: Sequence[Correction], moment: str, who: str) -> tuple[list[Correction], int]:
    """Give the corrections that take a correction of many clips back.

    Args:
        rows: all corrections, oldest first.
        moment: `when_utc` of the correction to take back.
        who: the person.

    Returns:
        The rows, and the number of clips that somebody has corrected since: those are left as they are.
    """
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    before: dict[tuple[str, str], str] = {}
    undone: dict[tuple[str, str], Correction] = {}
    since: set[tuple[str, str]] = set()
    for row in rows:
        key = (row.clip_id, row.field)
        if row.when_utc == moment:
            undone[key] = Correction(*key, row.new, before.get(key, ""), who, now, "undo")
        elif key in undone:
            since.add(key)
        else:
            before[key] = row.new
    return [row for key, row in undone.items() if key not in since], len(since)
