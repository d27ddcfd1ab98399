"""The clips of a subset as MMAction2 reads them, with views that are the same everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dancecli.model.dataloading.augment
import dancecli.model.dataloading.clip_decoder
import dancecli.model.dataloading.controls
import dancecli.model.dataloading.flow
import dancecli.model.dataloading.pose  # noqa: F401 - registers itself
from dancecli.model.dataloading.views import view_key, view_random_state
from dancecli.model.networks.mmaction import DATA_SAMPLERS, DATASETS, TRANSFORMS, DefaultSampler, VideoDataset
from dancecli.storage.pose_files import pose_of

__all__ = ["DATASETS", "DATA_SAMPLERS", "TRANSFORMS", "ViewDataset", "ViewSampler"]


@DATASETS.register_module(force=True)
class ViewDataset(VideoDataset):  # type: ignore[misc]
    """A `VideoDataset` whose random crops, flips and frames depend on clip and view alone.

    Item `i` of a set of `n` clips is view `i // n` of clip `i % n`; see `ViewSampler`.

    Args:
        view_seed: seed of the views.
        poses_only: leave out the clips without poses, and augmented clips, whose poses are their parents'.
    """

    def __init__(self, *args: Any, view_seed: int = 0, poses_only: bool = False, **kwargs: Any) -> None:
        self.poses_only = poses_only
        super().__init__(*args, **kwargs)
        self.view_seed = view_seed

    def load_data_list(self) -> list[dict[str, Any]]:
        """Read the list."""
        listed: list[dict[str, Any]] = super().load_data_list()
        return [row for row in listed if not self.poses_only or pose_of(Path(row["filename"])).exists()]

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline for one view of one clip."""
        view, place = divmod(idx, len(self))
        info = self.get_data_info(place)
        clip = Path(info["filename"]).stem
        info["view_key"] = view_key(self.view_seed, clip, view)
        with view_random_state(self.view_seed, clip, view):
            return self.pipeline(info)


@DATA_SAMPLERS.register_module(force=True)
class ViewSampler(DefaultSampler):  # type: ignore[misc]
    """Shuffle the clips each epoch and choose which view of each is used.

    Args:
        views: how many views of a clip there are in turn; 0 for a new one every epoch.
    """

    def __init__(self, dataset: Any, views: int = 0, **kwargs: Any) -> None:
        super().__init__(dataset, **kwargs)
        self.views = views

    def __iter__(self) -> Iterator[int]:
        view = self.epoch % self.views if self.views else self.epoch
        return iter([place + view * len(self.dataset) for place in super().__iter__()])
