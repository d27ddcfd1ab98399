"""Keyed random draws: every choice of a demo video depends on its key alone, on any machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from dancecli.core.hashing import keyed_bytes, keyed_uniform

if TYPE_CHECKING:
    from numpy.typing import NDArray

Choice = TypeVar("Choice")


@dataclass(frozen=True)
class KeyedRandom:
    """Random draws that depend on a key and the name of the draw, not on the order of the draws."""

    key: str

    def random(self, name: str) -> float:
        """Draw a number from [0, 1)."""
        return keyed_uniform(self.key, name)

    def uniform(self, name: str, low: float, high: float) -> float:
        """Draw a number between two bounds."""
        return low + (high - low) * self.random(name)

    def chance(self, name: str, probability: float) -> bool:
        """Draw True with the given probability."""
        return self.random(name) < probability

    def choice(self, name: str, options: Sequence[Choice]) -> Choice:
        """Draw one of several options."""
        return options[int(self.random(name) * len(options))]

    def noise(self, name: str, height: int, width: int) -> NDArray[Any]:
        """Draw an image of noise.

        Returns:
            float32 of shape (height, width), close to normal with mean 0 and standard deviation 1.
        """
        import numpy as np

        # The sum of four bytes per pixel: NumPy's generators may change between versions.
        raw = keyed_bytes(self.key, name, 4 * height * width)
        total = np.frombuffer(raw, np.uint8).reshape(4, height, width).sum(axis=0, dtype=np.float32)
        noise: NDArray[Any] = (total - 510.0) / 147.8
        return noise
