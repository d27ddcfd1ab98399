"""Checksums, and keyed random draws: the same on every machine, in any order, for any Python version.

A draw depends on a key and a name alone: SHA-256 of `key/name`. Splits, views, augmentation, the
demo, bootstrap intervals and seeds of trials all draw by this one construction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal; the file is read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
