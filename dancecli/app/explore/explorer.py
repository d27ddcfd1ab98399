"""What is computed of all clips when it is first asked for: likeness, the map, what to label next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dancecli.app.explore.background import Background
from dancecli.app.explore.clip_map import ClipMap, make_map
from dancecli.app.explore.movement import load_movement
from dancecli.app.explore.next_labels import choose_batch, open_batch, read_batch, write_batch
from dancecli.app.likeness import Likeness, load_likeness
from dancecli.core.errors import WorkspaceError
from dancecli.storage.features import feature_folders
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


class Explorer:
    """Likeness, map and choice of the clips of a catalog.

    Args:
        workspace: of the clips.
        frame: the catalog's clips, indexed by id, with `sha256`, `fps_num` and `fps_den`.
        run: whose scores tell which clips to label next; None for none.
        scores: the clips that the run scored, each once, and their probabilities, (clips, classes).
    """

    def __init__(
        self,
        workspace: Workspace,
        frame: pd.DataFrame,
        run: str | None = None,
        scores: tuple[pd.Index[Any], np.ndarray[Any, Any]] | None = None,
    ) -> None:
        self._workspace, self._run, self._scores = workspace, run, scores

        columns = [frame[name] for name in ("sha256", "fps_num", "fps_den")]

        # When they are asked for: of 100,000 clips they take a fifth of the app's start.
        def sums() -> dict[str, str]:
            return dict(zip(columns[0].index, columns[0], strict=True))

        def files() -> dict[str, tuple[str, float]]:
            of, num, den = columns
            rates = (num / den).tolist()
            return {i: (sha256, rate) for i, sha256, rate in zip(of.index, of, rates, strict=True)}

        self.look: Background[Likeness] = Background(
            "the likeness of the clips", lambda _: load_likeness(workspace, sums())
        )
        self.movement: Background[Likeness] = Background(
            "the movement of the clips", lambda reporter: load_movement(workspace, files(), reporter)
        )
        self.map: Background[ClipMap] = Background(
            "the map", lambda reporter: make_map(workspace, sums(), reporter)
        )

    @property
    def can_choose(self) -> bool:
        """Whether there are features, by which clips to label can be chosen."""
        return bool(feature_folders(self._workspace))

    def by_look(self, clips: pd.Index[Any], clip_id: str) -> list[int]:
        """Give the places of the clips that have features, those that look most like one of them first.

        Raises:
            WorkspaceError: there are no features, or none of the clip.
            UnfinishedError: they are being read.
        """
        return _nearest(self.look.get(), clips, clip_id, "features", "run dance features")

    def by_movement(self, clips: pd.Index[Any], clip_id: str) -> list[int]:
        """Give the places of the clips that have poses, those that move most like one of them first.

        Raises:
            WorkspaceError: there are no poses, or none of the clip.
            UnfinishedError: their movement is being computed.
        """
        return _nearest(self.movement.get(), clips, clip_id, "poses", "run dance pose")

    def next_to_label(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Give the clips to label next, in their order.

        They are chosen of those that nobody has looked at, stored, and chosen anew when none is left.

        Args:
            frame: the clips of the catalog, with `reviewed` and `excluded`.

        Raises:
            WorkspaceError: there are no features.
            UnfinishedError: they are being read.
        """
        unseen = set(frame.index[~(frame["reviewed"] | frame["excluded"])])
        batch = open_batch(read_batch(self._workspace, self._run), unseen)
        if not batch:
            batch = self._choose(unseen)
            write_batch(self._workspace, self._run, batch)
        return frame.loc[batch]

    def _choose(self, unseen: set[str]) -> list[str]:
        import numpy as np

        known = self.look.get()
        rows = np.flatnonzero(known.clips.isin(list(unseen)))
        ids = known.clips[rows]
        scores = None
        if self._scores is not None:
            scored, values = self._scores
            at = scored.get_indexer(ids)
            scores = np.where((at >= 0)[:, None], values[at], np.nan).astype(np.float32)
        return [str(ids[i]) for i in choose_batch(known.vectors[rows], scores)]


def _nearest(known: Likeness, clips: pd.Index[Any], clip_id: str, needed: str, hint: str) -> list[int]:
    if clip_id not in known.clips:
        raise WorkspaceError(f"no {needed} are stored of {clip_id[:80]}", hint)
    return known.nearest(clip_id, clips)
