"""Checksums, and keyed random draws: the same on every machine, in any order, for any Python version.

A draw depends on a key and a name alone: SHA-256 of `key/name`. Splits, views, augmentation, the
demo, bootstrap intervals, folds and seeds of trials all draw by this one construction.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")

# Of the cross-validation inside a training subset, by which a head on stored features chooses its settings.
INNER_FOLDS = 5
_WHOLE_BYTES, _PIECE_BYTES, _NUM_PIECES = 8 << 20, 1 << 16, 64
_CONTENT_DIGEST = re.compile(r".+-([0-9a-f]{12})")


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal; the file is read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_digest(path: Path) -> str:
    """Hash a file's size and bytes; of a large one, 64 pieces that are spread over it.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.blake2b(str(size).encode(), digest_size=6)
        if size <= _WHOLE_BYTES:
            digest.update(file.read())
        else:
            for piece in range(_NUM_PIECES):
                file.seek(piece * (size - _PIECE_BYTES) // (_NUM_PIECES - 1))
                digest.update(file.read(_PIECE_BYTES))
    return digest.hexdigest()


def digest_in(video_id: str) -> str | None:
    """Return the `content_digest` that the id of an own video ends in; None of another video's."""
    match = _CONTENT_DIGEST.fullmatch(video_id)
    return match[1] if match else None


def sha256_text(text: str) -> str:
    """Return the SHA-256 of a text's UTF-8 bytes in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_lines(lines: Iterable[str]) -> str:
    """Return the SHA-256 of lines joined by newlines, as `sha256_text`, without holding them all."""
    digest = hashlib.sha256()
    for i, line in enumerate(lines):
        digest.update(f"\n{line}".encode() if i else line.encode())
    return digest.hexdigest()


def keyed_digest(key: str, name: str) -> bytes:
    """Return the 32 bytes from which all draws are derived."""
    return hashlib.sha256(f"{key}/{name}".encode()).digest()


def keyed_uniform(key: str, name: str) -> float:
    """Draw a number from [0, 1)."""
    # As many bits as a float holds exactly, so that the result stays below 1.
    return (int.from_bytes(keyed_digest(key, name)[:8]) >> 11) / 2**53


def keyed_bytes(key: str, name: str, count: int) -> bytes:
    """Draw `count` random bytes (SHAKE-256)."""
    return hashlib.shake_256(f"{key}/{name}".encode()).digest(count)


def keyed_order(items: Iterable[Item], key: Callable[[Item], str], *, seed: int, purpose: str) -> list[Item]:
    """Shuffle items by the keyed digest of their identity.

    An added or removed item does not change the order of the others.

    Args:
        items: what to order.
        key: the item's identity; the order of two items with one identity is undefined.
        seed: another seed gives another order.
        purpose: draws for different purposes (`subset`, `fetch`) are independent.
    """
    return sorted(items, key=lambda item: keyed_digest(f"{purpose}/{seed}", key(item)))


def classes_in_few_folds(labels: Sequence[str], fold_of: Sequence[object]) -> dict[str, int]:
    """Find the classes that some fold of a cross-validation lacks.

    Where a fold tests such a class, its share of the training clips is smaller than in the folds that
    lack it. So it is missed more often, and the pooled accuracy is below that of the models: by 2 to 4
    points in simulations with six groups a class in ten folds, by 6 to 10 with three or four.

    Args:
        labels: class of each clip.
        fold_of: fold of each clip.

    Returns:
        For each such class the number of folds that have it, the fewest first.
    """
    folds = len(set(fold_of))
    of_class: dict[str, set[object]] = {}
    for label, fold in zip(labels, fold_of, strict=True):
        of_class.setdefault(label, set()).add(fold)
    few = {label: len(found) for label, found in of_class.items() if len(found) < folds}
    return dict(sorted(few.items(), key=lambda item: (item[1], item[0])))


def uneven_folds_note(few: Mapping[str, int], folds: int) -> str:
    """Say what classes that some folds lack do to the pooled accuracy; see `classes_in_few_folds`."""
    label, least = next(iter(few.items()))
    note = (
        f"{len(few)} of the classes {'is' if len(few) == 1 else 'are'} not in each of the {folds} folds "
        f"({label} in {least}): they are rarer in the training clips where they are tested, which makes the "
        "pooled accuracy too low, and its interval with it"
    )
    return f"{note}; --folds {least} has them in each" if least > 1 else note


def assign_folds(labels: Sequence[Hashable], groups: Sequence[str], folds: int, seed: int = 0) -> list[int]:
    """Assign clips to the folds of a cross-validation: whole groups, with the classes spread evenly.

    The largest groups come first, those of one size in an order that the seed gives. Each goes to the
    fold where its classes are rarest, and of these to the smallest.

    Args:
        labels: class of each clip.
        groups: group of each clip; clips of a group are in one fold.
        folds: how many; there are never more than groups.
        seed: another seed gives other folds.

    Returns:
        The fold of each clip, from 0; all 0 if there is one group only.
    """
    members: dict[str, list[Hashable]] = {}
    for label, group in zip(labels, groups, strict=True):
        members.setdefault(group, []).append(label)
    folds = min(folds, len(members))
    if folds < 2:
        return [0] * len(labels)
    order = sorted(
        keyed_order(members, str, seed=seed, purpose="folds"), key=lambda group: -len(members[group])
    )
    counts: list[Counter[Hashable]] = [Counter() for _ in range(folds)]
    sizes = [0] * folds
    chosen: dict[str, int] = {}
    for group in order:
        alike = [sum(count[label] for label in members[group]) for count in counts]
        fold = min(range(folds), key=lambda f: (alike[f], sizes[f], f))
        chosen[group] = fold
        sizes[fold] += len(members[group])
        counts[fold].update(members[group])
    return [chosen[group] for group in groups]
