"""Random views of a clip that are the same wherever and whenever they are made."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def view_random_state(seed: int, clip: str, view: int) -> Iterator[None]:
    """Draw all randomness of one view of one clip from a keyed hash, and leave no trace.

    A view is the same whichever worker makes it, in whatever order, on any machine.
    """
    digest = hashlib.sha256(f"{seed}/{clip}/{view}".encode()).digest()
    before, before_np = random.getstate(), np.random.get_state()
    random.seed(digest)
    np.random.seed(int.from_bytes(digest[:4], "little"))
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(before_np)
