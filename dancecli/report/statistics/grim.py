"""Whether a published accuracy can be what it says: some count of n clips, rounded. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_UP, Decimal, InvalidOperation

from dancecli.core.errors import InputError
from dancecli.report.statistics.intervals import Proportion

# A figure may have been rounded in any of these ways, or cut off.
_ROUNDINGS = (ROUND_HALF_UP, ROUND_HALF_EVEN, ROUND_DOWN, ROUND_UP)
_MOST_CLIPS = 10_000_000


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
    try:
        figure = Decimal(text.strip().removesuffix("%").strip())
    except InvalidOperation:
        figure = Decimal(-1)
    if not figure.is_finite() or not 0 <= figure <= 100:
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
    return [n for n in range(1, most + 1) if all(check_reported(figure, n).counts for figure in figures)]
