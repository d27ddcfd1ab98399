"""Checksums of files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes in hexadecimal; the file is read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def keyed_order(items: Iterable[Item], key: Callable[[Item], str], *, seed: int, purpose: str) -> list[Item]:
    """Shuffle items by the BLAKE2b hash of their key under a seed and a purpose.

    Args:
        items: what to order.
        key: the item's identity; two items with one key keep no defined order.
        seed: another seed gives another order.
        purpose: draws for different purposes (`subset`, `part`) are independent.
    """
    secret = hashlib.blake2b(f"{purpose}:{seed}".encode(), digest_size=32).digest()
    return sorted(items, key=lambda item: keyed_digest(key(item), secret))


def keyed_digest(text: str, secret: bytes) -> bytes:
    """Hash a text under a key of at most 64 bytes; 16 bytes come back."""
    return hashlib.blake2b(text.encode(), key=secret, digest_size=16).digest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
