"""The network cut where it is frozen: a frozen backbone computes features, a head network trains on them.

A frozen backbone gives the same output for the same view in every epoch. So it is run once per view
(`extract_features`), and a `HeadNetwork` trains the rest on what is stored, in the same mmengine
Runner, with the same batches in the same order. With the whole backbone frozen the cut is before the
head, and what the head pools is stored; `networks.stages` knows both cuts of every type.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.data import DataLoader, Dataset, Subset

from dancecli.core.errors import ModelError
from dancecli.core.progress import Reporter
from dancecli.core.text import rate
from dancecli.model.dataloading.shared_memory import LOADER_TIMEOUT_S
from dancecli.model.hardware.allocator import return_freed_memory
from dancecli.model.hardware.device import copy_without_waiting, half_precision_pass, halve_if_too_large
from dancecli.model.networks.fusion import inference_copy
from dancecli.model.networks.mmaction import (
    DATASETS,
    MODELS,
    ActionDataSample,
    BaseDataPreprocessor,
    Recognizer3D,
    pseudo_collate,
)
from dancecli.model.networks.stages import LAST_STAGE, head_row, run_lower, run_upper
from dancecli.model.training.features.store import FeatureStore

# What computes features where nothing faster does.
TORCH = "torch"
# Batches that may wait to be written: their features stay in the memory of the device.
_BATCHES_BEHIND = 2


def head_network_config(model: dict[str, Any], stage: int) -> dict[str, Any]:
    """Write the config of the model that trains on the output of the frozen part of `model`."""
    preprocessor = {"type": "FeaturePreprocessor"}
    return {**model, "type": "HeadNetwork", "stage": stage, "data_preprocessor": preprocessor}


class FrozenBackbone:
    """The frozen part of a network, with the weights with which a run begins.

    Args:
        model: the recognizer; its backbone is copied, so that training can use the original.
        preprocessor: MMAction2's, for views as a data loader collates them.
        stage: the last frozen stage.
        precision: half precision to compute in; None for that of the weights.
        compiled: torch compiles it, where it is cut before the head.
    """

    def __init__(
        self,
        model: Any,
        preprocessor: Any,
        stage: int,
        precision: str | None = None,
        *,
        compiled: bool = False,
    ) -> None:
        self.backbone = inference_copy(model.backbone)
        self.head = model.cls_head
        self.preprocessor = preprocessor
        self.stage = stage
        self.precision = precision
        self.compiled = compiled
        # From inputs [N, V, ...] to features, and what computes them; see `fast_cpu`.
        self.forward_pass: Callable[[Tensor], Tensor] = self.features_of
        self.engine = TORCH
        # Views that each has computed.
        self.computed: Counter[str] = Counter()
        if compiled:
            self.backbone.compile()
        self.device = next(self.backbone.parameters()).device
        if self.device.type == "cuda":
            copy_without_waiting(preprocessor)

    def features(self, batch: dict[str, Any]) -> Tensor:
        """Compute the features of views.

        Args:
            batch: as `pseudo_collate` gives it, N clips of V views (or frames, of a 2-D network).

        Returns:
            Of shape [N, V, ...]; of a head that averages the frames first, [N, 1, ...].

        Raises:
            ModelError: they are not finite.
        """
        found = self.compute(batch)
        check_finite(found, batch["data_samples"])
        return found

    def compute(self, batch: dict[str, Any]) -> Tensor:
        """Compute as `features` does and do not wait for a GPU: the values are not checked.

        A batch that is too large for its memory is computed in halves.

        Args:
            batch: as of `features`, N clips.

        Returns:
            Of shape [N, V, ...].
        """
        pairs = list(zip(batch["inputs"], batch["data_samples"], strict=True))
        return halve_if_too_large(self._compute, pairs, torch.cat)

    def _compute(self, pairs: list[Any]) -> Tensor:
        batch = {"inputs": [one for one, _ in pairs], "data_samples": [sample for _, sample in pairs]}
        with torch.inference_mode(), half_precision_pass(self.precision, self.device):
            found = self.forward_pass(self.preprocessor(batch, training=False)["inputs"]).float()
        self.computed[self.engine] += len(found)
        return found

    @property
    def frames_averaged(self) -> bool:
        """Whether all frames of all crops of a clip give one vector."""
        return self.stage == LAST_STAGE and head_row(self.head).frames_averaged

    def shape_of(self, view: Sequence[int]) -> tuple[int, ...]:
        """Give the shape of the features of one view, [V, ...], without computing them where torch can.

        Args:
            view: shape of a view as a dataset gives it: clips or frames, channels, ...
        """
        device = self.device
        with torch.inference_mode():
            try:
                with FakeTensorMode(allow_non_fake_inputs=True):
                    return tuple(self.features_of(torch.empty((1, *view), device=device)).shape[1:])
            except Exception:  # a layer that asks for values raises nearly anything
                return tuple(self.features_of(torch.zeros((1, *view), device=device)).shape[1:])

    def features_of(self, inputs: Tensor) -> Tensor:
        """Compute features with torch.

        Args:
            inputs: normalized, of shape [N, V, ...].

        Returns:
            Of shape [N, V, ...]; of a head that averages the frames first, [N, 1, ...].
        """
        x = inputs.flatten(0, 1)
        if self.stage < LAST_STAGE:
            found = run_lower(self.backbone, x, self.stage)
        else:
            head = getattr(self.head, "base", self.head)
            found = head_row(head).pool(head, self.backbone(x))
        # Temporal pooling inside a network leaves fewer frames than went in.
        found = found.reshape(len(inputs), -1, *found.shape[1:])
        whole: Tensor = found.mean(dim=1, keepdim=True) if self.frames_averaged else found
        return whole.contiguous()


def check_finite(found: Tensor, samples: Sequence[Any]) -> None:
    """Refuse features of shape [N, ...] that are not finite.

    Raises:
        ModelError: they are not; the message names the clips.
    """
    if not torch.isfinite(found).all():
        bad = ", ".join(sample.filename for sample in samples)
        raise ModelError(f"the frozen layers gave values that are not finite for {bad}")


@MODELS.register_module(force=True)
class HeadNetwork(Recognizer3D):  # type: ignore[misc]
    """A recognizer, 2-D or 3-D, whose input is the features of its frozen part.

    It has all layers of the whole model, so its weights have the same names, and the random
    numbers of its new head are the same.

    Args:
        stage: the last frozen stage.
    """

    def __init__(self, *args: Any, stage: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stage = stage

    def extract_feat(self, inputs: Tensor, **_: Any) -> tuple[Any, dict[str, Any]]:
        """Run the rest of the backbone over features of shape [N, V, ...]; give what the head takes."""
        x = inputs.flatten(0, 1)
        if self.stage < LAST_STAGE:
            found = run_upper(self.backbone, x, self.stage)
        else:
            found = head_row(self.cls_head).restore(getattr(self.cls_head, "base", self.cls_head), x)
        return found, {"num_segs": inputs.shape[1]}


@MODELS.register_module(force=True)
class FeaturePreprocessor(BaseDataPreprocessor):  # type: ignore[misc]
    """Stack stored features into a float32 batch on the model's device."""

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:  # noqa: ARG002
        """Take what `pseudo_collate` made: a list of features and a list of samples."""
        data = self.cast_data(data)
        # One by one: autocast on a CPU cannot stack what is stored as float16.
        stacked = torch.stack([features.float() for features in data["inputs"]])
        return {"inputs": stacked, "data_samples": data["data_samples"]}


@DATASETS.register_module(force=True)
class FeatureDataset(Dataset[dict[str, Any]]):
    """Stored features in the place of a `ViewDataset`: view `i // n` of clip `i % n` is item `i`.

    Args:
        store: the features.
        names: of the entry of each view of each clip, one list per view.
        files: each clip's path, for messages.
        labels: each clip's class.
    """

    metainfo: dict[str, Any] = {}  # noqa: RUF012 - mmengine reads it

    def __init__(
        self, store: FeatureStore, names: Sequence[Sequence[str]], files: Sequence[str], labels: Sequence[int]
    ) -> None:
        self.array = store.array()
        self.places = [[store.entries[name] for name in view] for view in names]
        self.samples = [_sample(file, label) for file, label in zip(files, labels, strict=True)]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        view, clip = divmod(index, len(self))
        features = torch.from_numpy(self.array[self.places[view][clip]].copy())
        return {"inputs": features, "data_samples": self.samples[clip].clone()}


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
    start_method: str | None = None,
    reporter: Reporter,
) -> None:
    """Compute and store the features of every item of a dataset that has no entry yet.

    Args:
        frozen: the frozen part of the network.
        dataset: gives item `i` for `names[i]`.
        store: gets the features.
        names: of the entries.
        batch: clips per forward pass.
        workers: decoding processes.
        start_method: how these are started; None for torch's.
        reporter: of progress in clips.

    Raises:
        ModelError: a clip's features are not finite, or not in the store's precision.
        WorkspaceError: the disk has no room for all of them.
    """
    pending = store.missing(names)
    loader = DataLoader(
        Subset(dataset, pending),
        batch_size=batch,
        num_workers=workers,
        timeout=LOADER_TIMEOUT_S if workers else 0,
        collate_fn=pseudo_collate,
        worker_init_fn=_one_thread if workers else None,
        pin_memory=frozen.device.type == "cuda",
        multiprocessing_context=start_method if workers else None,
    )
    if workers:
        return_freed_memory()
    began, taken, done = time.monotonic(), 0, 0
    waiting: deque[Future[int]] = deque()

    def write(found: Tensor, entries: list[str], samples: Sequence[Any]) -> int:
        check_finite(found, samples)
        store.append(entries, found.cpu().numpy())
        return len(entries)

    def finish_one() -> None:
        nonlocal done
        done += waiting.popleft().result()
        pace = done / (time.monotonic() - began)
        reporter.progress(done, len(pending), f"features · {rate(pace, 'clip')}")

    # While a batch is checked and written, the next one is computed.
    with ThreadPoolExecutor(1) as writer:
        for data in loader:
            found = frozen.compute(data)
            entries = [names[i] for i in pending[taken : taken + len(found)]]
            taken += len(found)
            waiting.append(writer.submit(write, found, entries, data["data_samples"]))
            while len(waiting) > _BATCHES_BEHIND:
                finish_one()
        while waiting:
            finish_one()


def _one_thread(_: int) -> None:
    import cv2

    cv2.setNumThreads(0)
