"""Which clips resemble each other: vectors of clips, to compare one clip with all others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dancecli.core.statistics.vectors import normalize, shorten
from dancecli.storage.features import clip_features
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd


@dataclass(frozen=True)
class Likeness:
    """Vectors of clips; clips that resemble each other have vectors of one direction.

    Attributes:
        model: what the vectors are of: the model whose features they are, or `movement`.
        clips: their ids, in the order of the vectors.
        vectors: float32 (clips, n), of length 1.
    """

    model: str
    clips: pd.Index[Any]
    vectors: npt.NDArray[np.float32]

    def nearest(self, clip_id: str, among: pd.Index[Any]) -> list[int]:
        """Return the places of clips in a list, those most like one of them first, which is itself.

        Args:
            clip_id: a clip with a vector.
            among: ids of the clips to order; those without a vector are left out.
        """
        import numpy as np

        rows = self.clips.get_indexer(among)
        known = np.flatnonzero(rows >= 0)
        cosines = (self.vectors @ self.vectors[self.clips.get_loc(clip_id)])[rows[known]]
        found: list[int] = known[np.argsort(-cosines, kind="stable")].tolist()
        return found


def load_likeness(workspace: Workspace, checksums: Mapping[str, str]) -> Likeness:
    """Load how alike clips look: the features of the backbone that most clips have features of, shortened.

    Args:
        workspace: whose feature cache.
        checksums: of the clips' files, by id.

    Raises:
        WorkspaceError: there are no features of two clips.
    """
    import pandas as pd

    features = clip_features(workspace, checksums)
    return Likeness(features.model, pd.Index(features.clips), normalize(shorten(features.values)))
