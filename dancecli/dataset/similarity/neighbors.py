"""Near-duplicates: nearest neighbors among perceptual hashes, in near-linear time.

Candidates come from sorted neighborhoods (after Manku et al. 2007, "Detecting near-duplicates
for web crawling", section 4): clips are sorted again and again by different bits of their hashes,
and each is compared with its few neighbors in that order. Work and memory are tables x clips x
neighbors whatever the hashes are, so that ten thousand clips of one stage do no harm. Candidates
are then confirmed by the distance over all hashes of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, TypeAlias

from dancecli.core.hashing import keyed_order
from dancecli.video.phash import LARGE, MOST_FRAMES, SMALL, PerceptualHashes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Words: TypeAlias = NDArray[np.uint64]
    Indices: TypeAlias = NDArray[np.int64]
    Shares: TypeAlias = NDArray[np.float32]

# Shares of differing bits. Over 900 synthetic videos, 99.1 of 100 transformed clips lie below 0.255
# (shifted in time and cropped, 96.3), and no two clips of different videos. Over 300 videos that it was
# not chosen on: 99.0 of 100, and the clips of two of the videos, out of 45 thousand pairs of videos.
SAME_PICTURE = 0.255
_WORTH_COMPARING = 0.38
_TABLES = 512
_NEIGHBORS = 8
_KEY_BITS = 32
_LAGS = range(-4, 5)
_FEWEST_FRAMES = 4
# A hash with a smaller share of bits set is of a flat picture.
_FLAT_BITS = 0.25
_CHUNK = 1 << 16
_PIECE = 1 << 12


@dataclass(frozen=True)
class HashArrays:
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
    def empty(cls, n: int) -> HashArrays:
        """Allocate zeros for n clips."""
        import numpy as np

        wide, long = LARGE * LARGE // 64, MOST_FRAMES
        mean, motion, frames, changes = (
            np.zeros((n, width), np.uint64) for width in (wide, wide, long, long)
        )
        return cls(mean, motion, frames, changes, np.zeros(n, np.int64))

    @classmethod
    def of(cls, hashes: Sequence[PerceptualHashes]) -> HashArrays:
        """Pack hashes."""
        import numpy as np

        arrays = cls.empty(len(hashes))
        columns = ([getattr(one, name) for one in hashes] for name in ("mean", "motion", "frames", "changes"))
        arrays.put(np.arange(len(hashes)), *columns)
        return arrays

    def put(
        self,
        rows: Indices,
        mean: Sequence[bytes],
        motion: Sequence[bytes],
        frames: Sequence[bytes],
        changes: Sequence[bytes],
    ) -> None:
        """Fill rows with the hashes of as many clips, as `dancecli.video.phash` returns them."""
        self.mean[rows] = _words(mean, LARGE * LARGE // 64)
        self.motion[rows] = _words(motion, LARGE * LARGE // 64)
        self.frames[rows] = _words(frames, MOST_FRAMES)
        self.changes[rows] = _words(changes, MOST_FRAMES)
        self.lengths[rows] = [min(len(one) // 8, MOST_FRAMES) for one in frames]

    def joined(self, other: HashArrays) -> HashArrays:
        """Return the hashes of these clips, and behind them those of others."""
        import numpy as np

        pairs = ((getattr(self, field.name), getattr(other, field.name)) for field in fields(self))
        return HashArrays(*(np.concatenate(pair) for pair in pairs))

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def flat(self) -> NDArray[np.bool_]:
        """The clips whose mean image is one tone (black, gray, white), shape (n,).

        Half the bits of a picture's hash are set; those of a flat one are all equal but for a few, so
        that all flat pictures have one hash.
        """
        return _is_flat(self.mean)

    @property
    def static(self) -> NDArray[np.bool_]:
        """The clips in which nothing moves, shape (n,): their motion image is flat."""
        return _is_flat(self.motion)


def near_pairs(arrays: HashArrays, most: float = SAME_PICTURE) -> tuple[Indices, Indices]:
    """Find the pairs of near-duplicates; a flat clip shows nothing to compare, and has none.

    Args:
        arrays: of n clips.
        most: the largest distance.

    Returns:
        First and second index of each pair, first < second, in order.
    """
    import numpy as np

    first, second = candidates(arrays)
    near = np.zeros(len(first), bool)
    for at in range(0, len(first), _PIECE):
        piece = slice(at, at + _PIECE)
        near[piece] = compare(arrays, first[piece], second[piece])[0] <= most
    flat = arrays.flat
    near &= ~(flat[first] | flat[second])
    return first[near], second[near]


def candidates(arrays: HashArrays) -> tuple[Indices, Indices]:
    """Return the pairs that may be near-duplicates, each once, in order."""
    import numpy as np

    n = len(arrays)
    low, words = _mirror_invariant_bits(arrays)
    found = np.zeros(0, np.int64)
    fresh: list[Indices] = []
    for table in range(_TABLES):
        order = _order(low, table)
        fresh += _close_neighbors(words[:, order], order)
        if sum(map(len, fresh)) > len(found) + _CHUNK or table == _TABLES - 1:
            found = np.concatenate([found, *fresh])
            fresh = []
            found = _distinct(found)
    return found // max(n, 1), found % max(n, 1)


def _order(bits: NDArray[np.uint8], table: int) -> Indices:
    """Sort the clips by some of their bits, in an order of its own for each table."""
    import numpy as np

    key = np.zeros(bits.shape[1], np.uint64)
    for place in keyed_order(range(len(bits)), str, seed=table, purpose="neighbors")[:_KEY_BITS]:
        key = (key << np.uint64(1)) | bits[place].astype(np.uint64)
    # The clip's own index below its key makes the order one and the same everywhere.
    key = (key << np.uint64(32)) | np.arange(len(key), dtype=np.uint64)
    key.sort()
    return (key & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _close_neighbors(words: Words, order: Indices) -> list[Indices]:
    """Compare each clip with those that follow it; a pair is first * n + second.

    Args:
        words: the bits that mirroring does not change, (words, n), in the order.
        order: indices of the clips.
    """
    import numpy as np

    n = len(order)
    most = int(_WORTH_COMPARING * LARGE * LARGE)
    found = []
    # Piece by piece, so that what is compared again and again stays in the processor's cache.
    for at in range(0, n, _PIECE):
        for step in range(1, _NEIGHBORS + 1):
            stop = min(at + _PIECE, n - step)
            if stop <= at:
                break
            apart = np.zeros(stop - at, np.uint16)
            for word in words:
                apart += np.bitwise_count(word[at:stop] ^ word[at + step : stop + step])
            close = at + np.flatnonzero(apart <= most)
            one, other = order[close], order[close + step]
            found.append(np.minimum(one, other) * n + np.maximum(one, other))
    return found


def compare(arrays: HashArrays, first: Indices, second: Indices) -> tuple[Shares, Shares]:
    """Compare pairs, each as it is and mirrored, whichever is closer.

    Returns:
        Twice float32 of shape (pairs,). The distance: the mean of the shares of bits that differ
        in the mean image, in the motion image, in the frames (which tell most, and count
        twice) and in their changes; of two static clips, in the mean image and the frames alone. And
        the changes alone, which two moments of one place do not share.
    """
    import numpy as np

    plain, mirrored = (_compare(arrays, first, second, flip) for flip in (False, True))
    closer = plain[0] <= mirrored[0]
    distance, changes = (np.where(closer, one, other) for one, other in zip(plain, mirrored, strict=True))
    return distance, changes


def connected(n: int, first: Indices, second: Indices) -> list[int]:
    """Find connected components: for each of n items the smallest index in its group."""
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


def _compare(arrays: HashArrays, first: Indices, second: Indices, mirrored: bool) -> tuple[Shares, Shares]:
    import numpy as np

    flip = ~_even_columns(SMALL) if mirrored else np.uint64(0)
    lengths = arrays.lengths[first], arrays.lengths[second]
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
            for words in (arrays.frames, arrays.changes)
        )
        # A few frames in common would fit by chance.
        enough = common >= (np.maximum(_FEWEST_FRAMES, np.minimum(*lengths) / 2) if lag else 1)
        better = enough & (2 * frame_share + change_share < best)
        best = np.where(better, 2 * frame_share + change_share, best)
        changes = np.where(better, change_share, changes)
    total = _far(arrays.mean, first, second, mirrored) + best
    moving = total + _far(arrays.motion, first, second, mirrored)
    # What does not move is equal in all static clips, and says nothing of two of them.
    still = arrays.static[first] & arrays.static[second]
    distance: Shares = np.where(still, (total - changes) / np.float32(3), moving / np.float32(5))
    return distance, changes


def _is_flat(words: Words) -> NDArray[np.bool_]:
    import numpy as np

    flat: NDArray[np.bool_] = np.bitwise_count(words).sum(axis=1) < _FLAT_BITS * 64 * words.shape[1]
    return flat


def _mirror_invariant_bits(arrays: HashArrays) -> tuple[NDArray[np.uint8], Words]:
    """The bits that mirroring does not change, those in even columns of the mean and motion images.

    Returns:
        Those of low frequencies, which transformations hardly change, one row per bit, (62, n); and all
        256 as machine words, (4, n).
    """
    import numpy as np

    n = len(arrays)
    rows, columns = np.divmod(np.arange(LARGE * LARGE) % (LARGE * LARGE // 2), LARGE // 2)
    # The lowest of all is always set.
    is_low = (rows < LARGE // 2) & (columns < LARGE // 4) & (rows + columns > 0)
    low = np.zeros((int(is_low.sum()), n), np.uint8)
    packed = np.zeros((LARGE * LARGE // 64, n), np.uint64)
    for at in range(0, n, _PIECE):
        piece = slice(at, at + _PIECE)
        halves = []
        for words in (arrays.mean[piece], arrays.motion[piece]):
            grid = np.unpackbits(words.astype(">u8").view(np.uint8), axis=1)
            halves.append(grid.reshape(-1, LARGE, LARGE)[:, :, ::2].reshape(-1, LARGE * LARGE // 2))
        bits = np.concatenate(halves, axis=1)
        low[:, piece] = bits.T[is_low]
        packed[:, piece] = np.packbits(bits, axis=1).view(np.uint64).T
    return low, packed


def _distinct(values: Indices) -> Indices:
    import numpy as np

    values.sort()
    distinct: Indices = values[np.diff(values, prepend=-1) != 0]
    return distinct


def _even_columns(size: int) -> np.uint64:
    import numpy as np

    # The first column stands in the highest bit of a row.
    row = sum(1 << (size - 1 - column) for column in range(0, size, 2))
    return np.uint64(sum(row << shift for shift in range(0, 64, size)))


def _words(rows: Sequence[bytes], width: int) -> Words:
    """Lay hashes out as machine words, zero behind the last of each row."""
    import numpy as np

    together = b"".join(row[: 8 * width].ljust(8 * width, b"\0") for row in rows)
    return np.frombuffer(together, dtype=">u8").astype(np.uint64).reshape(len(rows), width)
