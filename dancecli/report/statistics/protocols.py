"""View protocols, and which of them can be compared.

A protocol says in words what of a clip was seen, as `64x1 frames, 1 clip x 1 center crop 224, short side
256`; that of an ensemble has a part for each that its members had, joined by ` + `. More views make the same
network more accurate, so that runs on frames are compared under one protocol only. Frames, poses and
trajectories have no views in common, and runs on them are compared as systems.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

JOINED = " + "
# Named in the protocols of what is not seen as frames, or as the fields of flow between them.
_KINDS = ("trajectories", "poses")


def comparable(one: str, other: str) -> bool:
    """Whether two protocols say the same of every kind of input that both of them have."""
    mine, theirs = _by_kind(one), _by_kind(other)
    return all(mine[kind] == theirs[kind] for kind in mine.keys() & theirs.keys())


def comparable_sets(protocols: Iterable[str]) -> list[tuple[str, ...]]:
    """Return all largest sets of protocols of which any two can be compared, in the order given."""
    every = list(dict.fromkeys(protocols))
    return [tuple(p for p in every if p in found) for found in _cliques((), every, [])]


def _by_kind(protocol: str) -> dict[str, frozenset[str]]:
    """Divide a protocol into its parts, by the kind of input."""
    found: dict[str, frozenset[str]] = {}
    for part in protocol.split(JOINED):
        kind = next((kind for kind in _KINDS if kind in part), "frames")
        found[kind] = found.get(kind, frozenset()) | {part}
    return found


def _cliques(chosen: tuple[str, ...], left: Sequence[str], gone: Sequence[str]) -> Iterator[frozenset[str]]:
    """Yield the largest sets with what was chosen (Bron & Kerbosch 1973).

    Args:
        chosen: can be compared with each other, and with all that follows.
        left: may be added.
        gone: would fit, and all sets with it were found.
    """
    if not left and not gone:
        yield frozenset(chosen)
    for i, one in enumerate(left):
        yield from _cliques(
            (*chosen, one),
            [other for other in left[i + 1 :] if comparable(one, other)],
            [other for other in (*gone, *left[:i]) if comparable(one, other)],
        )
