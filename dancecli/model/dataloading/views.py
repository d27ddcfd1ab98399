"""Random views of a clip that are the same wherever and whenever they are made."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from dancecli.core.hashing import keyed_digest, keyed_uniform


def view_key(seed: int, clip: str, view: int) -> str:
    """Name one view of one clip, for all that is drawn for it."""
    return f"{seed}/{clip}/{view}"


def view_chance(key: str, what: str) -> float:
    """Draw a number from 0 up to but without 1 for something about a view; see `view_key`."""
    return keyed_uniform(key, what)


@contextmanager
def view_random_state(seed: int, clip: str, view: int) -> Iterator[None]:
    """Draw all randomness of one view of one clip from a keyed hash, and leave no trace.

    A view is the same whichever worker makes it, in whatever order, on any machine.
    """
    digest = keyed_digest(f"{seed}/{clip}", str(view))
    before, before_np = random.getstate(), np.random.get_state()
    random.seed(digest)
    np.random.seed(int.from_bytes(digest[:4], "little"))
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(before_np)
