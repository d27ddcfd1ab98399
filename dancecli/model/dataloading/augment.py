"""What `dance augment` makes as files, made on the fly of a training view's frames.

The same operations with the same ranges (`dancecli.core.augmentation`). They act on the clip's own
frames, before these are resized and cropped, as they do in a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dancecli.core.augmentation import Op, draw, operation_of, parse_chains
from dancecli.model.dataloading.views import view_chance
from dancecli.model.networks.mmaction import TRANSFORMS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    Frame = NDArray[np.uint8]


@TRANSFORMS.register_module(force=True)
class AugmentedView:
    """A transform: make of a view, by chance, what one of the augmented clips would show.

    The clip as it is and each chain are equally likely, as they would be if the augmented
    clips were files in the training list. What a view becomes depends on its `view_key` alone.

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
    """Apply operations, one after the other, to frames [h, w, 3] of RGB bytes.

    Raises:
        UsageError: an operation is unknown.
    """
    frames = list(frames)
    for op in ops:
        frames = operation_of(op).apply(frames, op)
    return frames
