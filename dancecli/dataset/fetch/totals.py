"""What became of every row of the annotation lists: totals that add up to the rows given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dancecli.core.labels import LabelSet
from dancecli.core.records import Segment
from dancecli.sources.kinetics import Listing
from dancecli.sources.list_format import RefusedRow

_COMMONEST = 10


@dataclass(frozen=True)
class RowTotals:
    """The rows of the lists, accounted for: `given` is the sum of the six counts after it.

    Attributes:
        given: rows of all lists.
        asked: rows whose clips this command asks for.
        over_limit: rows beyond `--limit`.
        other_shards: rows of the other shards.
        other_labels: rows whose label was not requested.
        repeated: rows whose clip was listed before; those that contradict it are in `conflicts`.
        refused: rows that cannot be used; see `refused_rows`.
        commonest: the commonest of the other labels, with their rows.
        missing_labels: requested labels that no list has, each with the nearest one; empty for none.
        spelled: rows whose label is spelled otherwise, by `theirs -> ours`.
        notes: what was inferred about the lists, in sentences.
        conflicts: clips under two labels or in two subsets, as sentences; the first row counts.
        refused_rows: the rows that cannot be used, with their place and reason.
    """

    given: int = 0
    asked: int = 0
    over_limit: int = 0
    other_shards: int = 0
    other_labels: int = 0
    repeated: int = 0
    refused: int = 0
    commonest: Mapping[str, int] = field(default_factory=dict)
    missing_labels: Mapping[str, str] = field(default_factory=dict)
    spelled: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    refused_rows: tuple[RefusedRow, ...] = ()


def count_rows(
    listing: Listing, labels: LabelSet, requested: Sequence[Segment], chosen: Sequence[Segment]
) -> RowTotals:
    """Account for the rows of a listing.

    Args:
        listing: what the lists held.
        labels: the requested labels.
        requested: the segments that are left of it under the limit.
        chosen: of these, the segments of this shard.
    """
    return RowTotals(
        given=listing.num_rows,
        asked=len(chosen),
        over_limit=len(listing.segments) - len(requested),
        other_shards=len(requested) - len(chosen),
        other_labels=listing.other_labels.total(),
        repeated=listing.num_repeated,
        refused=len(listing.refused),
        commonest=dict(listing.other_labels.most_common(_COMMONEST)),
        missing_labels=listing.missing_labels(labels),
        spelled={f"{theirs} -> {ours}": n for (theirs, ours), n in listing.spelled.most_common()},
        notes=tuple(listing.notes),
        conflicts=tuple(listing.conflicts),
        refused_rows=tuple(listing.refused),
    )
