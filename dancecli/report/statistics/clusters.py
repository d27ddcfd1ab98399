"""Which clips are one piece of information: those of one source video, or of one group. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]


def join_groups(*groupings: Sequence[str]) -> tuple[str, ...]:
    """Join clips that any of several groupings puts together, so that the order of these does not matter.

    Two runs may have been made on splits that agree on their test clips, and not on what is grouped
    with what: one made before `dance dedup`, the other after it.

    Args:
        groupings: for each a group name per clip; at least one, all of the same clips.

    Returns:
        For each clip the number of the first clip that it is joined with.
    """
    root = list(range(len(groupings[0])))

    def find(i: int) -> int:
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    for names in groupings:
        first: dict[str, int] = {}
        for i, name in enumerate(names):
            one, other = find(first.setdefault(name, i)), find(i)
            root[max(one, other)] = min(one, other)
    return tuple(str(find(i)) for i in range(len(root)))


def index_of(groups: Sequence[str]) -> Ints:
    """Number the groups in the order in which they first occur, and give each clip's number."""
    import numpy as np

    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups], dtype=np.int64)


def sums(values: Floats, where: Ints) -> Floats:
    """Add up each row of values over the groups.

    Args:
        values: rows x clips.
        where: for each clip its group's number, see `index_of`.

    Returns:
        rows x groups.
    """
    import numpy as np

    count = int(where.max()) + 1
    return np.stack([np.bincount(where, weights=row, minlength=count) for row in values])
