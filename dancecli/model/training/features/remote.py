"""Distributed extraction: the frozen backbone run over a pool of workers, such as the cores of a cluster.

Each worker builds the network once, from weights in the workspace, and is told which views to
compute; what comes back are their features, a thousandth of the frames. The store has one writer,
the command.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import DanceError, EngineError, ModelError
from dancecli.core.progress import Reporter
from dancecli.core.text import rate
from dancecli.engine.factory import open_pool
from dancecli.engine.worker import Acquire
from dancecli.model.hardware.claim import claim_gpu
from dancecli.model.training.features.store import FeatureStore
from dancecli.storage.files import save_torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dancecli.model.training.features.frozen import FrozenBackbone

# A worker's first batch comes after it has imported everything and built the network.
_DEADLINE_S = 900.0


@dataclass(frozen=True)
class Source:
    """What a worker needs to know before the first view, all of it plain data.

    Attributes:
        model: MMAction2's config of the recognizer.
        stage: the last frozen stage.
        dataset: config of the views.
        precision: half precision to compute in; None for that of the weights.
    """

    model: Mapping[str, Any]
    stage: int
    dataset: Mapping[str, Any]
    precision: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Views to be computed together.

    Attributes:
        weights: a file with all weights of the recognizer, which every worker can read.
        indices: of the views in the dataset.
    """

    source: Source
    weights: Path
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Features:
    """The result of a batch: float32, [N, views, ...]; or the error's message and hint."""

    features: NDArray[Any] | None
    fault: tuple[str, str] = ("", "")


# The one frozen backbone that this process has built, with the dataset of its views.
_BUILT: dict[Path, tuple[FrozenBackbone, Any]] = {}


def extract_features_distributed(
    engine: str,
    root: Path,
    model: Any,
    source: Source,
    store: FeatureStore,
    names: Sequence[str],
    batch: int,
    reporter: Reporter,
    workers: int = 0,
) -> None:
    """Do as `extract_features` with an engine's workers: one per GPU, or per core where there is none.

    Args:
        engine: see `engine.factory`.
        root: the workspace, which all workers see under the same path.
        model: the recognizer, with its weights.
        source: what it is, and of which views.
        store: gets the features.
        names: of the entries; `names[i]` is of item `i` of the dataset.
        batch: views per forward pass.
        reporter: of progress in views.
        workers: their number; 0 for all that the engine has.

    Raises:
        ModelError: the features of a view are not finite.
        EngineError: the cluster cannot be used, or a batch was lost; what was stored stays.
    """
    pending = store.missing(names)
    began, done = time.monotonic(), 0
    with _shared(root, model) as weights:
        jobs = [Batch(source, weights, tuple(pending[i : i + batch])) for i in range(0, len(pending), batch)]
        with open_pool(engine, compute_batch, workers, _DEADLINE_S, root=root, gpu=True) as pool:
            for finished in filter(None, pool.run(jobs)):
                result = finished.result
                if result is None:
                    raise EngineError(
                        f"a batch of {len(finished.job.indices)} clips was lost: {finished.detail}",
                        "run it again: the features computed so far are kept",
                    )
                if result.features is None:
                    raise ModelError(*result.fault)
                store.append([names[i] for i in finished.job.indices], result.features)
                done += len(result.features)
                pace = done / (time.monotonic() - began)
                reporter.progress(done, len(pending), f"features · {engine} · {rate(pace, 'clip')}")


def compute_batch(batch: Batch, _: Acquire) -> Features:
    """Compute the features of a batch of views: what a worker process does."""
    from dancecli.model.networks.mmaction import pseudo_collate

    try:
        frozen, dataset = _built(batch.source, batch.weights)
        found = frozen.features(pseudo_collate([dataset[i] for i in batch.indices]))
    except DanceError as error:
        return Features(None, (error.message, error.hint))
    return Features(found.cpu().numpy())


def _built(source: Source, weights: Path) -> tuple[FrozenBackbone, Any]:
    """Build the frozen backbone and the dataset, unless this process has them."""
    import cv2
    import torch

    from dancecli.model.dataloading.datasets import DATASETS
    from dancecli.model.networks.build import MODELS, build_model
    from dancecli.model.networks.mmaction import get_device
    from dancecli.model.training.features.frozen import FrozenBackbone

    if weights not in _BUILT:
        # A worker has one core, or one GPU.
        torch.set_num_threads(1)
        claim_gpu(weights.parent)
        cv2.setNumThreads(0)
        _BUILT.clear()
        model = build_model(dict(source.model), 0, str(weights)).to(get_device())
        preprocessor = MODELS.build(source.model["data_preprocessor"]).to(get_device())
        frozen = FrozenBackbone(model, preprocessor, source.stage, source.precision)
        _BUILT[weights] = frozen, DATASETS.build(dict(source.dataset))
    return _BUILT[weights]


@contextmanager
def _shared(root: Path, model: Any) -> Iterator[Path]:
    """Put the weights where all workers can read them, for as long as they are needed."""
    path = root / "cache" / "features" / f"weights-{secrets.token_hex(8)}.pth"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        save_torch(path, {"state_dict": model.state_dict()})
        yield path
    finally:
        path.unlink(missing_ok=True)
