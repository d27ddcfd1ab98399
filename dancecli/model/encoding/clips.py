"""The clips of a split with their trajectories: checked, read, and drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dancecli.core.errors import InputError, ModelError
from dancecli.core.hashing import sha256_lines
from dancecli.core.records import SplitClip, Subset, Trajectories
from dancecli.model.dataloading.split_data import Example, SplitData
from dancecli.storage import tables
from dancecli.storage.trajectory_files import WIDTHS, no_descriptors, read_trajectories
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rows = NDArray[np.float32]


@dataclass(frozen=True)
class TrackedSplit:
    """A split whose clips have trajectories, or a reason for none.

    Attributes:
        data: the split without augmented clips; without training clips that have no trajectories.
        groups: group of each clip, by clip id.
        rows: record of each clip's trajectories, by clip id.
    """

    data: SplitData
    groups: Mapping[str, str]
    rows: Mapping[str, Trajectories]

    @property
    def digest(self) -> str:
        """SHA-256 of what the model reads: the clips with the checksums of their trajectories."""
        return sha256_lines(f"{name} {row.sha256}" for name, row in sorted(self.rows.items()))

    def refuse_other_method(self, method: str) -> None:
        """Refuse trajectories that were computed in another way than this.

        Raises:
            ModelError: those of a clip were.
        """
        for name, row in sorted(self.rows.items()):
            if row.method != method:
                raise ModelError(
                    f"the trajectories of clip {name} are {row.method!r}, and the model was trained on "
                    f"{method!r}",
                    "evaluate again, which computes them as the model needs them",
                )

    def descriptors(self, workspace: Workspace, example: Example) -> dict[str, Rows]:
        """Read a clip's descriptors, for each kind [n, width]; n is 0 where it has none.

        Raises:
            ModelError: its file is broken.
        """
        row = self.rows[example.clip_id]
        if row.reason:
            return no_descriptors()
        try:
            return read_trajectories(workspace.root / row.path)
        except InputError as error:
            raise ModelError(error.message, error.hint) from None

    def draw(self, workspace: Workspace, most: int, seed: int) -> dict[str, Rows]:
        """Draw descriptors of all training clips, as many of each as far as it has them.

        Args:
            workspace: where they are.
            most: how many at most.
            seed: of the draw.

        Returns:
            For each kind [n, width].
        """
        import numpy as np

        examples = self.data.examples[Subset.TRAIN]
        share = -(-most // len(examples))
        random = np.random.default_rng(seed)
        drawn: dict[str, list[Rows]] = {kind: [] for kind in WIDTHS}
        for example in examples:
            found = self.descriptors(workspace, example)
            places = random.permutation(len(found["shape"]))[:share]
            for kind, rows in found.items():
                drawn[kind].append(rows[places])
        return {kind: np.concatenate(rows) for kind, rows in drawn.items()}


def tracked_split(workspace: Workspace, data: SplitData) -> TrackedSplit:
    """Check that the clips of a split were tracked, and leave out what cannot be trained on.

    Clips in which nothing moves are left out of train, and stay in val and test: a system that sees nothing
    in a clip answers too.

    Raises:
        ModelError: some clips were not tracked yet, or no training clip has trajectories.
    """
    stored = tables.read(workspace.trajectories, Trajectories) if workspace.trajectories.exists() else []
    known = {row.clip_id: row for row in stored}
    originals = {subset: [e for e in data.examples[subset] if "." not in e.clip_id] for subset in Subset}
    every = [example for listed in originals.values() for example in listed]
    lacking = [e.clip_id for e in every if e.clip_id not in known or known[e.clip_id].of_sha256 != e.sha256]
    if lacking:
        raise ModelError(
            f"{len(lacking)} of {len(every)} clips have no trajectories, {lacking[0]} is the first",
            "dance verify tells which clips are missing or changed",
        )
    rows = {example.clip_id: known[example.clip_id] for example in every}
    train = tuple(e for e in originals[Subset.TRAIN] if not rows[e.clip_id].reason)
    if not train:
        raise ModelError("nothing moves in any training clip", "train a model of frames")
    examples = {**{subset: tuple(listed) for subset, listed in originals.items()}, Subset.TRAIN: train}
    split_clips = tables.read(workspace.split(data.name), SplitClip)
    return TrackedSplit(
        data=replace(data, examples=examples, notes=(*data.notes, *_notes(data, originals, rows))),
        groups={clip.clip_id: clip.group for clip in split_clips},
        rows=rows,
    )


def _notes(
    data: SplitData, originals: Mapping[Subset, Sequence[Example]], rows: Mapping[str, Trajectories]
) -> list[str]:
    notes = []
    for subset, listed in originals.items():
        count = sum(bool(rows[example.clip_id].reason) for example in listed)
        if count:
            done = "are left out" if subset is Subset.TRAIN else "are classified without any"
            notes.append(f"{count} of {len(listed)} {subset} clips have no trajectories and {done}")
    if data.num_copies:
        notes.append(f"{data.num_copies} augmented clips are left out: trajectories are of original clips")
    return notes
