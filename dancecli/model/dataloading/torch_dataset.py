"""A subset of a split as a plain torch dataset, for training loops of one's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from dancecli.core.recipe import read_recipe
from dancecli.core.records import Subset
from dancecli.model.dataloading.datasets import ViewDataset
from dancecli.model.dataloading.pipelines import test_pipeline, train_pipeline
from dancecli.model.dataloading.split_data import load_split
from dancecli.model.networks.base import INCEPTION
from dancecli.model.networks.mmaction import init_default_scope
from dancecli.storage.workspace import Workspace


class ClipDataset(Dataset[tuple[Tensor, int]]):
    """Clips of one subset: item i is (video uint8 [3, T, H, W] in RGB order, class index).

    Frames are chosen and cropped as for Inception I3D under the recipe: at random for `train`, from
    the center for `val` and `test`. A random view depends on clip, seed and epoch alone.

    Args:
        workspace: where the split is.
        split: name of the split; None for the latest.
        subset: `train`, `val` or `test`.
        recipe: name of a built-in recipe, or a TOML file.
        seed: random seed of the training views.

    Attributes:
        classes: names of the classes, by index.
        clip_ids: the clips, in the order of the items.

    Raises:
        UsageError: there is no such recipe.
        WorkspaceError: there is no such split, or a clip is missing.
        InputError: an annotation list does not match the split.
    """

    def __init__(
        self, workspace: Workspace, split: str | None, subset: str, recipe: str = "default", seed: int = 0
    ) -> None:
        init_default_scope("mmaction")
        data = load_split(workspace, split)
        settings = replace(read_recipe(recipe), num_clips=1, num_crops=1)
        training = Subset(subset) is Subset.TRAIN
        pipeline = train_pipeline(INCEPTION, settings) if training else test_pipeline(INCEPTION, settings)
        self.classes = data.labels
        self.clip_ids = tuple(example.clip_id for example in data.examples[Subset(subset)])
        self._views: Any = ViewDataset(
            ann_file=str(workspace.annotations(data.name) / f"{subset}.txt"),
            pipeline=pipeline,
            data_prefix={"video": str(workspace.root)},
            test_mode=not training,
            view_seed=seed,
        )
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the training views: another epoch has other ones."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self.clip_ids)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        item = self._views[index + self._epoch * len(self)]
        return item["inputs"][0], int(item["data_samples"].gt_label)
