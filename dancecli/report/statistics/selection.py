"""What may be said of the best of many: multiple comparisons with a selected maximum. Pure.

The best of K trials is the best because it is: a test of it against another that takes no account of
the selection calls equally good trials worse in a third of the studies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dancecli.report.statistics.clusters import index_of, sums

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Flags = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float64]

PERMUTATIONS = 1000
# Numbers that are held at once, so few that they stay in the processor's cache, and that are computed in all.
_BLOCK = 100_000
_MOST_WORK = 6_000_000_000


def compare_with_best(flags: Flags, best: int, groups: Sequence[str]) -> list[float]:
    """Test every trial against the one that was selected for being the best.

    The statistic of a pair is that of McNemar's test by source video, the square of the net gain over
    the sum of squared gains. It is compared with the largest of all pairs when the trials are permuted
    within each video (P. H. Westfall, S. S. Young, Resampling-Based Multiple Testing, 1993), so whichever
    trial is selected, the chance that equally good trials are called worse is at most 5 %. A p from a
    finite number of permutations is itself uncertain: what is returned is its upper limit (Clopper and
    Pearson, 97.5 % one-sided), so that no trial is called worse by an accident of the permutations.
    `python -m benchmarks.simulations tune` measures how often some of equally good trials is.

    Args:
        flags: trials x clips.
        best: the trial that was selected.
        groups: one source video per clip.

    Returns:
        For each trial the adjusted p; 1 for the best.
    """
    import numpy as np
    from scipy.special import betaincinv

    counts = sums(flags.astype(float), index_of(groups)).T  # videos x trials
    videos, trials = counts.shape
    rounds = max(200, min(PERMUTATIONS, _MOST_WORK // max(1, videos * trials * trials)))
    rng = np.random.default_rng(0)
    seen = _statistics(counts[None])[0, best]
    above, block = np.zeros(trials), max(1, _BLOCK // (videos * trials + trials * trials))
    for start in range(0, rounds, block):
        size = min(block, rounds - start)
        shuffled = rng.permuted(np.broadcast_to(counts, (size, videos, trials)), axis=2)
        largest = _statistics(shuffled).max(axis=(1, 2))
        # Sums of the same numbers in another order differ by a hair.
        above += (largest[:, None] >= seen[None] - 1e-9).sum(axis=0)
    found = np.where(above < rounds, betaincinv(above + 1, np.maximum(rounds - above, 1), 0.975), 1.0)
    found[best] = 1.0
    return [float(p) for p in found]


def _statistics(counts: Floats) -> Floats:
    """Give (net gain)^2 / sum of squared gains of each pair, or 0: rounds x trials x trials."""
    import numpy as np

    products = counts.transpose(0, 2, 1) @ counts
    own = np.diagonal(products, axis1=1, axis2=2)
    squares = own[:, :, None] + own[:, None, :] - 2 * products
    totals = counts.sum(axis=1)
    gains = totals[:, :, None] - totals[:, None, :]
    found: Floats = gains * gains / np.maximum(squares, 0.5)  # whole numbers: below 1 is 0
    return found
