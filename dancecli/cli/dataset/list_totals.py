"""How `fetch` and `plan` show what became of the rows of the lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dancecli.cli.console import info, print_result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dancecli.dataset.fetch.totals import RowTotals

_SHOWN = 3


def show_rows(rows: RowTotals) -> None:
    """Print the totals on stdout."""
    counts = {
        "over the limit": rows.over_limit,
        "of other shards": rows.other_shards,
        "of other labels": rows.other_labels,
        "repeated": rows.repeated,
        "refused": rows.refused,
    }
    more = "".join(f" + {count:,} {what}" for what, count in counts.items() if count)
    print_result(f"rows given: {rows.given:,} = {rows.asked:,} asked for{more}")
    if rows.commonest:
        names = ", ".join(f"{label} ({count:,})" for label, count in list(rows.commonest.items())[:_SHOWN])
        print_result(f"commonest other labels: {names}")


def tell_rows(rows: RowTotals) -> None:
    """Print on stderr what the user should know of the lists: guesses, conflicts, refused rows."""
    for note in rows.notes:
        info(note)
    if rows.spelled:
        names = ", ".join(f"{pair} ({count:,})" for pair, count in list(rows.spelled.items())[:_SHOWN])
        info(f"labels spelled otherwise: {names}")
    _tell_missing(rows)
    _tell(rows.conflicts, "listed under two labels or in two subsets; the first row counts")
    _tell([str(row) for row in rows.refused_rows], "refused")


def _tell_missing(rows: RowTotals) -> None:
    if not rows.missing_labels:
        return
    near = [f"{name!r} (did you mean {near!r}?)" for name, near in rows.missing_labels.items() if near]
    others = [repr(name) for name, near in rows.missing_labels.items() if not near]
    shown = near + others[: max(0, _SHOWN - len(near))]
    more = len(near) + len(others) - len(shown)
    info(f"labels without a row in the lists: {', '.join(shown)}{f' and {more} more labels' if more else ''}")


def _tell(lines: Sequence[str], what: str) -> None:
    if lines:
        info(f"{len(lines):,} {'row is' if len(lines) == 1 else 'rows are'} {what}:")
        for line in lines[:_SHOWN]:
            info(f"  {line}")
        if len(lines) > _SHOWN:
            info(f"  and {len(lines) - _SHOWN:,} more (all of them: --json)")
