"""Keyed draws: every choice of a demo video follows from its key alone, on any machine."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from numpy.typing import NDArray

Choice = TypeVar("Choice")


@dataclass(frozen=True)
class Dice:
    """Draws that depend on a key and the name of what is drawn, not on the order of the draws."""

    key: str

    def unit(self, name: str) -> float:
        """Draw a number of [0, 1)."""
        digest = hashlib.sha256(f"{self.key}/{name}".encode()).digest()
        return int.from_bytes(digest[:6], "big") / 2**48

    def uniform(self, name: str, low: float, high: float) -> float:
        """Draw a number between two bounds."""
        return low + (high - low) * self.unit(name)

    def chance(self, name: str, share: float) -> bool:
        """Draw yes in a share of the cases."""
        return self.unit(name) < share

    def pick(self, name: str, options: Sequence[Choice]) -> Choice:
        """Draw one of several."""
        return options[int(self.unit(name) * len(options))]

    def grain(self, name: str, height: int, width: int) -> NDArray[Any]:
        """Draw a picture of noise.

        Returns:
            float32 of shape (height, width), close to normal, mean 0 and deviation 1.
        """
        import numpy as np

        # Four bytes a pixel summed: the library's own generators may change between versions.
        raw = hashlib.shake_256(f"{self.key}/{name}".encode()).digest(4 * height * width)
        total = np.frombuffer(raw, np.uint8).reshape(4, height, width).sum(axis=0, dtype=np.float32)
        noise: NDArray[Any] = (total - 510.0) / 147.8
        return noise
