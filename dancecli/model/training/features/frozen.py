"""The network cut at the freeze boundary: features from below it, training above it.

What is frozen gives the same output for the same view in every epoch. So it is run once
(`extract_features`), and a `HeadNetwork` trains what remains from the stored features,
in the same mmengine Runner, with the same batches in the same order.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from dancecli.core.errors import ModelError
from dancecli.core.progress import Reporter
from dancecli.core.text import rate
from dancecli.model.networks.fusion import fuse_conv_bn
from dancecli.model.networks.mmaction import (
    DATASETS,
    MODELS,
    ActionDataSample,
    BaseDataPreprocessor,
    Recognizer3D,
    pseudo_collate,
)
from dancecli.model.networks.stages import LAST_STAGE, run_lower, run_upper
from dancecli.model.training.features.store import FeatureStore


def head_network_config(model: dict[str, Any], stage: int) -> dict[str, Any]:
    """Write the config of the model that goes on where the frozen part of `model` ends."""
    preprocessor = {"type": "FeaturePreprocessor"}
    return {**model, "type": "HeadNetwork", "stage": stage, "data_preprocessor": preprocessor}


class FrozenBackbone:
    """What lies below the freeze boundary, with the weights with which a run begins.

    Args:
        model: the recognizer; its backbone is copied, so that training may go on with it.
        preprocessor: MMAction2's, for views as a data loader collates them.
        stage: the frozen stage.
    """

    def __init__(self, model: Any, preprocessor: Any, stage: int) -> None:
        self.backbone = fuse_conv_bn(model.backbone)
        self.preprocessor = preprocessor
        self.stage = stage

    def rows(self, batch: dict[str, Any]) -> Tensor:
        """Run views [N, views, C, T, H, W] up to the boundary, to rows [N, views, C, t, h, w].

        With the whole backbone frozen, only its average over time and space is kept, which is all
        that the head looks at.

        Raises:
            ModelError: they are not finite.
        """
        with torch.inference_mode():
            inputs = self.preprocessor(batch, training=False)["inputs"]
            rows = run_lower(self.backbone, inputs.flatten(0, 1), self.stage)
            if self.stage == LAST_STAGE:
                rows = rows.mean(dim=(2, 3, 4), keepdim=True)
        if not torch.isfinite(rows).all():
            bad = ", ".join(sample.filename for sample in batch["data_samples"])
            raise ModelError(f"the frozen layers gave numbers that are not finite for {bad}")
        return rows.reshape(*inputs.shape[:2], *rows.shape[1:]).contiguous()


@MODELS.register_module(force=True)
class HeadNetwork(Recognizer3D):  # type: ignore[misc]
    """A `Recognizer3D` whose input is what its frozen part gave.

    It has all layers of the whole model, so its weights have the same names, and the random
    numbers of its fresh head are the same.

    Args:
        stage: the frozen stage.
    """

    def __init__(self, *args: Any, stage: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stage = stage

    def extract_feat(self, inputs: Tensor, **_: Any) -> tuple[Tensor, dict[str, Any]]:
        """Run the rest of the backbone over [N, views, C, t, h, w]."""
        return run_upper(self.backbone, inputs.flatten(0, 1), self.stage), {}


@MODELS.register_module(force=True)
class FeaturePreprocessor(BaseDataPreprocessor):  # type: ignore[misc]
    """Stack stored features into a float32 batch on the model's device."""

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:  # noqa: ARG002
        """Take what `pseudo_collate` made: a list of features and a list of samples."""
        data = self.cast_data(data)
        # One by one: autocast on a CPU cannot stack what is stored as float16.
        rows = torch.stack([row.float() for row in data["inputs"]])
        return {"inputs": rows, "data_samples": data["data_samples"]}


@DATASETS.register_module(force=True)
class FeatureDataset(Dataset[dict[str, Any]]):
    """Stored features in the place of a `ViewDataset`: view `i // n` of clip `i % n` is item `i`.

    Args:
        store: the features.
        names: the row of each view of each clip, a list a view.
        files: each clip's path, for messages.
        labels: each clip's class.
    """

    metainfo: dict[str, Any] = {}  # noqa: RUF012 - mmengine reads it

    def __init__(
        self, store: FeatureStore, names: Sequence[Sequence[str]], files: Sequence[str], labels: Sequence[int]
    ) -> None:
        self.array = store.array()
        self.places = [[store.rows[name] for name in view] for view in names]
        self.samples = [_sample(file, label) for file, label in zip(files, labels, strict=True)]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        view, clip = divmod(index, len(self))
        row = torch.from_numpy(self.array[self.places[view][clip]].copy())
        return {"inputs": row, "data_samples": self.samples[clip].clone()}


def _sample(file: str, label: int) -> Any:
    sample = ActionDataSample()
    sample.set_gt_label(label)
    sample.set_metainfo({"filename": file})
    return sample


def extract_features(
    frozen: FrozenBackbone,
    dataset: Any,
    store: FeatureStore,
    names: Sequence[str],
    *,
    batch: int,
    workers: int,
    reporter: Reporter,
) -> None:
    """Run the frozen part over every item of a dataset that has no row yet, and store the result.

    Args:
        frozen: the network up to the boundary.
        dataset: gives item `i` for `names[i]`.
        store: gets the rows, [views, C, t, h, w].
        names: the rows.
        batch: clips a forward pass.
        workers: decoding processes.
        reporter: in clips.

    Raises:
        ModelError: a clip's features are not finite.
        WorkspaceError: there is no room for all of them.
    """
    todo = store.missing(names)
    loader = DataLoader(
        Subset(dataset, todo),
        batch_size=batch,
        num_workers=workers,
        collate_fn=pseudo_collate,
        worker_init_fn=_one_thread if workers else None,
    )
    began, done = time.monotonic(), 0
    for data in loader:
        rows = frozen.rows(data)
        store.append([names[i] for i in todo[done : done + len(rows)]], rows.cpu().numpy())
        if done == 0:
            store.check_room(len(todo) - len(rows))
        done += len(rows)
        pace = done / (time.monotonic() - began)
        reporter.progress(done, len(todo), f"features · {rate(pace, 'clip')}")


def _one_thread(_: int) -> None:
    import cv2

    cv2.setNumThreads(0)
