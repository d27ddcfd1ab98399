"""The copies that `dance augment` makes, made of a training view's frames as they are read.

The same operations with the same ranges (`dancecli.core.augmentation`), without files. They act on the
clip's own frames, before these are resized and cropped, as they do in a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dancecli.core.augmentation import Op, draw, parse_chains
from dancecli.model.dataloading.views import view_chance
from dancecli.model.networks.mmaction import TRANSFORMS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Frame = NDArray[np.uint8]

# ITU-R BT.601: what a grey of the same luma is made of. Luma is stored in 16 to 235 and shown in 0 to 255.
_LUMA = np.array([0.299, 0.587, 0.114])
_SHOWN = 255 / 219


@TRANSFORMS.register_module(force=True)
class AugmentedCopy:
    """A transform: make of a view, by chance, what one of the copies would show.

    The clip as it is and each chain are equally likely, as they would be if the copies stood as
    files in the training list. What a view becomes depends on its `view_key` alone.

    Args:
        ops: chains, as `augmentation.parse_chains` reads them.
    """

    def __init__(self, ops: str) -> None:
        self.ops = ops
        self.choices = ((), *parse_chains(ops))

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change `imgs`, frames [h, w, 3] of RGB bytes."""
        key = results["view_key"]
        chain = self.choices[int(view_chance(key, "augment") * len(self.choices))]
        name = "+".join(chain)
        ops = draw(chain, lambda parameter: view_chance(key, f"{name} {parameter}"))
        results["imgs"] = augmented(results["imgs"], ops)
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(ops={self.ops!r})"


def augmented(frames: Sequence[Frame], ops: tuple[Op, ...]) -> list[Frame]:
    """Apply operations, one after the other, to frames [h, w, 3] of RGB bytes."""
    import cv2

    frames = list(frames)
    for op in ops:
        if op.name in ("hflip", "vflip"):
            side = 1 if op.name == "hflip" else 0
            frames = [cv2.flip(frame, side) for frame in frames]  # type: ignore[misc]
        elif op.name == "jitter":
            matrix = _jitter_matrix(op["brightness"], op["saturation"])
            frames = [cv2.transform(frame, matrix) for frame in frames]  # type: ignore[misc]
        elif op.name == "noise":
            up, down = _noise_pattern(frames[0].shape[0], frames[0].shape[1], op["sigma"], int(op["seed"]))
            # These saturate; of every pixel one of the two is 0.
            frames = [cv2.subtract(cv2.add(frame, up), down) for frame in frames]  # type: ignore[misc]
        else:
            raise ValueError(op.name)
    return frames


def _jitter_matrix(brightness: float, saturation: float) -> NDArray[np.float64]:
    """Give the [3, 4] matrix for RGB: chroma times `saturation`, then luma up by its share of 255 steps."""
    grey = np.tile(_LUMA, (3, 1))
    colours = grey + saturation * (np.eye(3) - grey)
    return np.column_stack([colours, np.full(3, 255 * brightness * _SHOWN)])


def _noise_pattern(height: int, width: int, sigma: float, seed: int) -> tuple[Frame, Frame]:
    """Draw what is added and what is taken away, [h, w, 3]; equal for the three colours, as luma is."""
    # numpy keeps what this generator draws the same in all its versions.
    drawn = np.random.RandomState(seed).standard_normal((height, width)) * sigma
    steps = np.rint(drawn * _SHOWN).astype(np.int16)[..., None].repeat(3, axis=-1)
    return np.maximum(steps, 0).astype(np.uint8), np.maximum(-steps, 0).astype(np.uint8)
