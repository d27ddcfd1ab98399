"""Which clips to label next: those that would teach a model most, and differ from each other.

The choice is BADGE (Ash et al., "Deep batch active learning by diverse, uncertain gradient lower bounds",
ICLR 2020): a clip stands for the gradient of the loss with respect to the last layer, if the label that the
run thinks likeliest were the true one, (p - onehot(argmax p)) x h. Its length grows with the doubt of the
run, and k-means++ draws clips whose gradients are long and far apart. Here h is the stored feature vector,
shortened to 64 directions and of length 1, and distances are computed from the two factors, so the product
is never stored. Unlike there, the first clip is the one in most doubt, and no gradient at all counts as
chosen before, so that no draw is spent on clips without doubt. Without a run the gradients are the features
alone: the clips that differ most. Draws are keyed, so the same clips give the same choice.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from dancecli.core.hashing import keyed_uniform
from dancecli.storage.files import atomic_file
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

BATCH = 20
_FILE = "next.json"


def choose_batch(features: Floats, scores: Floats | None, count: int = BATCH) -> list[int]:
    """Choose clips to label.

    Args:
        features: (clips, n), of length 1.
        scores: (clips, classes), a run's probabilities, with NaN for clips that it did not score: of these
            all classes are taken to be as likely; None without a run.
        count: how many.

    Returns:
        Their places, in the order of the draws; fewer if there are fewer that differ.
    """
    import numpy as np

    doubt = _doubt(scores) if scores is not None else np.ones((len(features), 1), np.float32)
    squares = np.einsum("ij,ij->i", doubt, doubt) * np.einsum("ij,ij->i", features, features)
    chosen: list[int] = []
    # From no gradient at all.
    nearest = squares.astype(np.float64)
    while len(chosen) < min(count, len(features)) and nearest.max() > 0:
        # The first is the one with the longest gradient.
        at = _drawn(nearest, len(chosen)) if chosen else int(nearest.argmax())
        products = (doubt @ doubt[at]) * (features @ features[at])
        nearest = np.minimum(nearest, np.maximum(squares + squares[at] - 2 * products, 0))
        chosen.append(at)
        nearest[chosen] = 0
    return chosen


def _doubt(scores: Floats) -> Floats:
    """Return p - onehot(argmax p) of each clip."""
    import numpy as np

    known = np.where(np.isnan(scores), np.float32(1 / scores.shape[1]), scores).astype(np.float32)
    known[np.arange(len(known)), known.argmax(axis=1)] -= 1
    return known


def _drawn(weights: npt.NDArray[np.float64], step: int) -> int:
    """Draw a place, each as likely as its weight."""
    import numpy as np

    upto = np.cumsum(weights)
    return int(np.searchsorted(upto, keyed_uniform("next to label", str(step)) * upto[-1], side="right"))


def read_batch(workspace: Workspace, run: str | None) -> list[str]:
    """Read the clips that were last chosen by a run, or without one; empty if there are none."""
    try:
        stored = json.loads(workspace.app_cache(_FILE).read_text(encoding="utf-8"))
        return [str(clip_id) for clip_id in stored["clips"]] if stored["run"] == run else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


def write_batch(workspace: Workspace, run: str | None, clips: Sequence[str]) -> None:
    """Store the clips that were chosen, so that a new start of the app shows the same ones.

    Raises:
        OSError: the disk is full or read-only.
    """
    with atomic_file(workspace.app_cache(_FILE)) as file:
        json.dump({"run": run, "clips": list(clips)}, file)


def open_batch(batch: Sequence[str], candidates: Collection[str]) -> list[str]:
    """Return what is left of a batch: the clips that nobody has looked at since."""
    return [clip_id for clip_id in batch if clip_id in candidates]
