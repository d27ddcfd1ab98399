"""Whether published figures can be what they say, from the figures alone. Pure.

*GRIM* (N. J. L. Brown, J. Heathers, Soc. Psychol. Personal. Sci. 8, 2017): an accuracy is a count of n
clips, so for a given n most percentages are impossible. *GRIMMER* (J. Anaya, PeerJ Preprints 4, 2016):
the same for a standard deviation beside a mean of whole numbers. *Constant steps*: what was measured
does not change by the same amount every time.

An impossible count is no proof of an error: a mean of the accuracies of batches of unequal size is no
count either, see `batch_means`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_UP, Decimal, InvalidOperation
from itertools import pairwise

from dancecli.core.errors import InputError
from dancecli.report.statistics.intervals import Proportion

# A figure may have been rounded in any of these ways, or cut off.
_ROUNDINGS = (ROUND_HALF_UP, ROUND_HALF_EVEN, ROUND_DOWN, ROUND_UP)
_MOST_CLIPS = 10_000_000
# Nobody prints more, and decimal arithmetic ends at 28 digits.
_MOST_DECIMALS = 12
# A smaller set than this is no wonder: accuracies of two decimals need some clips.
_FEW_CLIPS = 1000
_LEAST_STEPS = 5
# Endings of columns that stand beside another one.
_BESIDE = ("_text", "_sd")


@dataclass(frozen=True)
class Reported:
    """A published per cent figure against a number of clips.

    Attributes:
        counts: the counts k for which k of n, rounded to the figure's decimals in any usual way,
            is the figure; empty where no count is.
        nearest: the count that comes closest.
    """

    text: str
    n: int
    counts: tuple[int, ...]
    nearest: Proportion


def check_reported(text: str, n: int) -> Reported:
    """Find the counts that a published percentage can stand for.

    Args:
        text: the figure as printed, in per cent: its decimals matter.
        n: clips that it is said to be of.

    Raises:
        InputError: the figure is no percentage, or n is not a number of clips.
    """
    figure = _percentage(text)
    if figure is None:
        raise InputError(f"{text!r} is not a percentage from 0 to 100", "type it as printed: 86.31")
    if not 1 <= n <= _MOST_CLIPS:
        raise InputError(f"{n} is not a number of clips", "give the size of the test set: --n 58")
    step = Decimal(1).scaleb(min(0, int(figure.as_tuple().exponent)))
    centre = int(figure * n / 100)
    # Rounding moves a figure by a step at most; n / 100 counts fit into one per cent.
    reach = int(step * n / 100) + 2
    near = range(max(0, centre - reach), min(n, centre + reach + 1) + 1)
    counts = tuple(
        k for k in near if k <= n and any(_rate(k, n).quantize(step, r) == figure for r in _ROUNDINGS)
    )
    nearest = min((k for k in near if k <= n), key=lambda k: abs(_rate(k, n) - figure))
    return Reported(text, n, counts, Proportion(nearest, n))


def _rate(k: int, n: int) -> Decimal:
    return Decimal(100 * k) / n


def possible_sizes(figures: Sequence[str], most: int) -> list[int]:
    """List the numbers of clips, up to `most`, of which every one of the figures can be.

    Raises:
        InputError: a figure is no percentage.
    """
    scaled = []
    for figure in figures:
        check_reported(figure, 1)
        value = Decimal(figure.strip().removesuffix("%").strip())
        digits = max(0, -int(value.as_tuple().exponent))
        scaled.append((int(value.scaleb(digits)), 100 * 10**digits))

    def can_be(figure: int, scale: int, n: int) -> bool:
        """Tell whether some k / n lies less than one printed step from the figure."""
        least = max(0, (figure - 1) * n // scale + 1)
        return least <= n and least * scale < (figure + 1) * n

    return [n for n in range(1, most + 1) if all(can_be(figure, scale, n) for figure, scale in scaled)]


@dataclass(frozen=True)
class BatchMean:
    """Right answers in all full batches and in the last one, whose mean of accuracies is a figure."""

    batch: int
    full: int
    last: int
    right_in_full: int
    right_in_last: int


def batch_means(text: str, n: int, most: int = 64) -> list[BatchMean]:
    """Find batch sizes for which a figure is the unweighted mean of the batches' accuracies.

    Training loops that average per batch report this. It is no count of n where the last batch is
    smaller than the others.

    Args:
        text: the figure as printed, in per cent.
        n: clips.
        most: the largest batch to try.

    Returns:
        One example per batch size, the smallest batch first.

    Raises:
        InputError: the figure is no percentage, or n is not a number of clips.
    """
    check_reported(text, n)
    figure = Decimal(text.strip().removesuffix("%").strip())
    step = Decimal(1).scaleb(min(0, int(figure.as_tuple().exponent)))
    found = []
    for batch in range(2, min(most, n - 1) + 1):
        full, last = divmod(n, batch)
        if not last:
            continue
        for right_in_last in range(last, -1, -1):
            rest = figure / 100 * (full + 1) - Decimal(right_in_last) / last
            right = int((rest * batch).to_integral_value(ROUND_HALF_EVEN))
            mean = 100 * (Decimal(right) / batch + Decimal(right_in_last) / last) / (full + 1)
            if 0 <= right <= full * batch and mean.quantize(step, ROUND_HALF_UP) == figure:
                found.append(BatchMean(batch, full, last, right, right_in_last))
                break
    return found


def deviation_is_possible(mean: str, deviation: str, n: int) -> bool:
    """Tell whether n whole numbers can have this mean and sample standard deviation (GRIMMER).

    Args:
        mean: as printed.
        deviation: as printed.
        n: how many numbers, at least 2.
    """
    middle, spread = Decimal(mean), Decimal(deviation)
    steps = [Decimal(1).scaleb(min(0, int(v.as_tuple().exponent))) for v in (middle, spread)]
    low, high = (max(Decimal(0), spread + s * steps[1]) ** 2 * (n - 1) for s in (-1, 1))
    first = int(((middle - steps[0]) * n).to_integral_value(ROUND_DOWN)) - 1
    for total in range(first, int((middle + steps[0]) * n) + 2):
        if abs(Decimal(total) / n - middle) >= steps[0]:
            continue
        least = Decimal(total) ** 2 / n
        ends = int((least + low).to_integral_value(ROUND_UP)), int(least + high)
        # A sum of squares is odd where the sum is.
        if any(squares % 2 == total % 2 for squares in range(ends[0], min(ends[1], ends[0] + 1) + 1)):
            return True
    return False


def constant_step(values: Sequence[str]) -> tuple[Decimal, Decimal] | None:
    """Give the smallest and largest step of a series that changes by one amount, as printed; else None.

    Measured losses do not: five steps or more that differ by two printed digits at most are a finding.

    Args:
        values: as printed, in their order.
    """
    numbers = [Decimal(value) for value in values]
    steps = [b - a for a, b in pairwise(numbers)]
    if len(steps) < _LEAST_STEPS or not any(steps):
        return None
    digit = max(Decimal(1).scaleb(int(v.as_tuple().exponent)) for v in numbers)
    spread = max(steps) - min(steps)
    return (min(steps), max(steps)) if spread <= 2 * digit and abs(steps[0]) > 2 * digit else None


@dataclass(frozen=True)
class TableFinding:
    """Something in a published table that cannot be, or is not likely: the columns, and what it is."""

    columns: tuple[str, ...]
    kind: str
    text: str


def check_table(table: Mapping[str, Sequence[str]], most: int = 10_000) -> list[TableFinding]:
    """Check a published table from its numbers alone.

    Columns whose name holds `acc`, `top` or `%` are accuracies in per cent: they must exist together for
    some number of clips. Every column of numbers is checked for constant steps. `NAME_text` beside `NAME`
    is what the text states of it. `NAME_sd` beside `NAME`, where the column `n` has the count, is checked
    by GRIMMER. Empty cells are left out, and a per cent sign counts for nothing.

    Args:
        table: columns of printed figures, of which `find_bad_cell` finds none that is bad.
        most: the largest number of clips to try.
    """
    found: list[TableFinding] = []
    for name in columns_of_numbers(table):
        if name.endswith(_BESIDE):
            continue
        cells = [str(_number(cell)) for cell in table[name] if cell.strip()]
        if _is_accuracy(name):
            found += _joint(name, cells, most)
        if name.lower() not in {"n", "epoch", "step", "trial"} and (steps := constant_step(cells)):
            low, high = steps
            size = f"{low}" if low == high else f"{low} to {high}"
            text = f"changes by {size} in each of {len(cells) - 1} steps"
            found.append(TableFinding((name,), "constant steps", text))
    for name in table:
        found += _text_against_table(name, table) + _deviations(name, table)
    return found


def columns_of_numbers(table: Mapping[str, Sequence[str]]) -> list[str]:
    """Name the columns that hold numbers, and nothing else but empty cells."""
    found = []
    for name, cells in table.items():
        numbers = [_number(cell) for cell in cells if cell.strip()]
        if numbers and None not in numbers:
            found.append(name)
    return found


@dataclass(frozen=True)
class BadCell:
    """A cell that should hold a figure: its column, its place in it from 0, and what it should hold."""

    column: str
    row: int
    wanted: str


def find_bad_cell(table: Mapping[str, Sequence[str]]) -> BadCell | None:
    """Find a cell that `check_table` would have to leave out, though its column is to be checked.

    Args:
        table: columns of printed figures.
    """
    for name, cells in table.items():
        # A column of words may be named `top dancer`.
        figures = _is_accuracy(name) and any(cell.strip()[:1].isdigit() for cell in cells)
        for i, cell in enumerate(cells):
            if figures and not name.endswith(_BESIDE) and cell.strip() and _percentage(cell) is None:
                return BadCell(name, i, "a percentage from 0 to 100")
        for used in ((name, f"{name}_text"), (name, f"{name}_sd", "n")):
            for i, together in enumerate(zip(*(table.get(column, ()) for column in used), strict=False)):
                if all(cell.strip() for cell in together):
                    for column, cell in zip(used, together, strict=True):
                        if _number(cell) is None:
                            return BadCell(column, i, "a number")
                        if column == "n" and not _is_count(cell):
                            return BadCell(column, i, "a whole number of 2 or more")
    return None


def _is_accuracy(name: str) -> bool:
    return any(word in name.lower() for word in ("acc", "top", "%"))


def _joint(name: str, cells: Sequence[str], most: int) -> list[TableFinding]:
    distinct = list(dict.fromkeys(cells))
    sizes = possible_sizes(distinct, most)
    if len(distinct) < 2 or (sizes and sizes[0] <= _FEW_CLIPS):
        return []
    least = f"fewer than {sizes[0]:,} clips" if sizes else f"up to {most:,} clips"
    return [
        TableFinding(
            (name,), "accuracies", f"its {len(distinct)} values exist together for no set of {least}"
        )
    ]


def _text_against_table(name: str, table: Mapping[str, Sequence[str]]) -> list[TableFinding]:
    other = f"{name}_text"
    return [
        TableFinding((name, other), "text against table", f"the table has {cell}, the text {stated}")
        for cell, stated in zip(table[name], table.get(other, ()), strict=False)
        if cell.strip() and stated.strip() and _number(cell) != _number(stated)
    ]


def _deviations(name: str, table: Mapping[str, Sequence[str]]) -> list[TableFinding]:
    other = f"{name}_sd"
    return [
        TableFinding(
            (name, other), "deviation", f"{n} whole numbers cannot have mean {mean} and deviation {sd}"
        )
        for mean, sd, n in zip(table[name], table.get(other, ()), table.get("n", ()), strict=False)
        if mean.strip() and sd.strip() and n.strip()
        if not deviation_is_possible(str(_number(mean)), str(_number(sd)), int(n))
    ]


def _number(cell: str) -> Decimal | None:
    """Read a printed figure, with or without a per cent sign; None if it is none."""
    try:
        found = Decimal(cell.strip().removesuffix("%").strip())
    except InvalidOperation:
        return None
    return found if found.is_finite() and abs(int(found.as_tuple().exponent)) <= _MOST_DECIMALS else None


def _percentage(text: str) -> Decimal | None:
    found = _number(text)
    return found if found is not None and 0 <= found <= 100 else None


def _is_count(cell: str) -> bool:
    return cell.strip().isdecimal() and 2 <= int(cell) <= _MOST_CLIPS
