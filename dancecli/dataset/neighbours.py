"""Which clips look the same: near neighbours among hashes, in near-linear time.

Candidates come from sorted neighbourhoods (after Manku et al. 2007, "Detecting near-duplicates
for web crawling", section 4): clips are sorted again and again by different bits of their hashes,
and each is compared with the few that stand next to it. Work and memory are tables x clips x
neighbours whatever the hashes are, so that ten thousand clips of one stage do no harm. Candidates
are then proven by the distance of everything that is known of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from dancecli.dataset.order import keyed_order
from dancecli.media.fingerprint import LARGE, MOST_FRAMES, SMALL, Looks

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Words: TypeAlias = NDArray[np.uint64]
    Indices: TypeAlias = NDArray[np.int64]
    Shares: TypeAlias = NDArray[np.float32]

# Shares of differing bits. Over 300 films and 1,500 disguised copies, unrelated clips differ in
# 0.46 with a deviation of 0.02.
SAME_PICTURE = 0.285
_WORTH_PROVING = 0.40
_TABLES = 128
_NEIGHBOURS = 8
_KEY_BITS = 32
_LAGS = range(-2, 3)
_FEWEST_FRAMES = 2
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Sketches:
    """The hashes of n clips as machine words.

    Attributes:
        mean, motion: (n, 4).
        frames, changes: (n, MOST_FRAMES), zero behind the last.
        lengths: (n,), how many there are.
    """

    mean: Words
    motion: Words
    frames: Words
    changes: Words
    lengths: Indices

    @classmethod
    def of(cls, looks: Sequence[Looks]) -> Sketches:
        """Pack hashes."""
        import numpy as np

        n = len(looks)
        return cls(
            mean=_words("".join(one.mean for one in looks)).reshape(n, LARGE * LARGE // 64),
            motion=_words("".join(one.motion for one in looks)).reshape(n, LARGE * LARGE // 64),
            frames=_padded([one.frames for one in looks]),
            changes=_padded([one.changes for one in looks]),
            lengths=np.array([len(one.frames) // 16 for one in looks], dtype=np.int64),
        )

    def __len__(self) -> int:
        return len(self.lengths)


def near_pairs(sketches: Sketches, most: float = SAME_PICTURE) -> tuple[Indices, Indices]:
    """Find the pairs of clips that look the same.

    Args:
        sketches: of n clips.
        most: the largest distance.

    Returns:
        First and second index of each pair, first < second, in order.
    """
    import numpy as np

    first, second = candidates(sketches)
    near = np.zeros(len(first), bool)
    for at in range(0, len(first), _CHUNK):
        piece = slice(at, at + _CHUNK)
        near[piece] = compare(sketches, first[piece], second[piece])[0] <= most
    return first[near], second[near]


def candidates(sketches: Sketches) -> tuple[Indices, Indices]:
    """Give the pairs that may look the same, each once, in order."""
    import numpy as np

    n = len(sketches)
    bits = _stable_bits(sketches)
    even = _even_columns(LARGE)
    still = np.concatenate([sketches.mean & even, sketches.motion & even], axis=1)
    most = int(_WORTH_PROVING * LARGE * LARGE)
    found = np.zeros(0, np.int64)
    fresh: list[Indices] = []
    for table in range(_TABLES):
        chosen = keyed_order(range(bits.shape[1]), str, seed=table, purpose="neighbours")[:_KEY_BITS]
        key = np.zeros(n, np.uint32)
        for place in chosen:
            key = (key << np.uint32(1)) | bits[:, place]
        order = np.argsort(key, kind="stable")
        for step in range(1, min(_NEIGHBOURS, n - 1) + 1):
            one, other = order[:-step], order[step:]
            apart = np.zeros(n - step, np.uint16)
            for word in range(still.shape[1]):
                apart += np.bitwise_count(still[one, word] ^ still[other, word])
            close = apart <= most
            low, high = np.minimum(one[close], other[close]), np.maximum(one[close], other[close])
            fresh.append(low * n + high)
        if sum(map(len, fresh)) > len(found) + _CHUNK or table == _TABLES - 1:
            found = np.unique(np.concatenate([found, *fresh]))
            fresh = []
    return found // max(n, 1), found % max(n, 1)


def compare(sketches: Sketches, first: Indices, second: Indices) -> tuple[Shares, Shares]:
    """Compare pairs, each as it is and mirrored, whichever is closer.

    Returns:
        Twice float32 of shape (pairs,). The distance: the mean of the shares of bits that differ
        in the mean picture, in the motion picture, in the frames (which tell most, and count
        twice) and in their changes. And the last of these alone, which two moments of one place
        do not share.
    """
    import numpy as np

    plain, mirrored = (_compare(sketches, first, second, flip) for flip in (False, True))
    closer = plain[0] <= mirrored[0]
    distance, changes = (np.where(closer, one, other) for one, other in zip(plain, mirrored, strict=True))
    return distance, changes


def joined(n: int, first: Indices, second: Indices) -> list[int]:
    """Join pairs into groups: for each of n items the smallest index in its group."""
    parent = list(range(n))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    for i, j in zip(first.tolist(), second.tolist(), strict=True):
        a, b = root(i), root(j)
        parent[max(a, b)] = min(a, b)
    return [root(i) for i in range(n)]


def _far(words: Words, first: Indices, second: Indices, mirrored: bool) -> Shares:
    import numpy as np

    flip = ~_even_columns(LARGE) if mirrored else np.uint64(0)
    apart = np.bitwise_count(words[first] ^ words[second] ^ flip).sum(axis=1, dtype=np.float32)
    share: Shares = apart / np.float32(64 * words.shape[1])
    return share


def _compare(sketches: Sketches, first: Indices, second: Indices, mirrored: bool) -> tuple[Shares, Shares]:
    import numpy as np

    flip = ~_even_columns(SMALL) if mirrored else np.uint64(0)
    lengths = sketches.lengths[first], sketches.lengths[second]
    # Worse than any; a clip has at least one frame, so that the lag 0 betters it.
    best = np.full(len(first), 3, np.float32)
    changes = np.ones(len(first), np.float32)
    for lag in _LAGS:
        a, b = slice(max(0, lag), MOST_FRAMES + min(0, lag)), slice(max(0, -lag), MOST_FRAMES - max(0, lag))
        common = np.minimum(lengths[0] - max(0, lag), lengths[1] - max(0, -lag))
        there = np.arange(MOST_FRAMES - abs(lag)) < common[:, None]
        num_bits = 64 * np.maximum(common, 1).astype(np.float32)
        frame_share, change_share = (
            (np.bitwise_count(words[first, a] ^ words[second, b] ^ flip) * there).sum(
                axis=1, dtype=np.float32
            )
            / num_bits
            for words in (sketches.frames, sketches.changes)
        )
        # A few frames in common would fit by chance.
        enough = common >= (np.maximum(_FEWEST_FRAMES, np.minimum(*lengths) / 2) if lag else 1)
        better = enough & (2 * frame_share + change_share < best)
        best = np.where(better, 2 * frame_share + change_share, best)
        changes = np.where(better, change_share, changes)
    still = _far(sketches.mean, first, second, mirrored) + _far(sketches.motion, first, second, mirrored)
    distance: Shares = (still + best) / np.float32(5)
    return distance, changes


def _stable_bits(sketches: Sketches) -> NDArray[np.uint32]:
    """The bits to sort by: low frequencies, which disguises hardly move, in even columns, which
    mirroring leaves alone; without the first one, which is always set.
    """
    import numpy as np

    columns = []
    for words in (sketches.mean, sketches.motion):
        grid = np.unpackbits(words.astype(">u8").view(np.uint8), axis=1)
        low = grid.reshape(-1, LARGE, LARGE)[:, : LARGE // 2, : LARGE // 2 : 2]
        columns.append(low.reshape(len(sketches), LARGE * LARGE // 8)[:, 1:])
    return np.concatenate(columns, axis=1).astype(np.uint32)


def _even_columns(size: int) -> np.uint64:
    import numpy as np

    # The first column stands in the highest bit of a row.
    row = sum(1 << (size - 1 - column) for column in range(0, size, 2))
    return np.uint64(sum(row << shift for shift in range(0, 64, size)))


def _words(text: str) -> Words:
    import numpy as np

    return np.frombuffer(bytes.fromhex(text), dtype=">u8").astype(np.uint64)


def _padded(rows: Sequence[str]) -> Words:
    return _words("".join(row[: 16 * MOST_FRAMES].ljust(16 * MOST_FRAMES, "0") for row in rows)).reshape(
        len(rows), MOST_FRAMES
    )
