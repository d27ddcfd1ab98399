"""The frozen part of a network run over a pool of workers, such as the cores of a cluster.

Each worker builds the network once, from weights that lie in the workspace, and is told which views
to look at; what comes back are their rows, which are a thousandth of the pictures. The store has one
writer, the command.
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
from dancecli.model.training.features.store import FeatureStore
from dancecli.storage.files import save_torch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dancecli.model.training.features.frozen import FrozenBackbone

# A worker's first batch comes after it has imported everything and built the network.
_DEADLINE_S = 900.0


@dataclass(frozen=True)
class Source:
    """What a worker needs to know before the first view, plain data all of it.

    Attributes:
        model: MMAction2's config of the recognizer.
        stage: the frozen stage.
        dataset: config of the views.
        dtype: of the rows.
    """

    model: Mapping[str, Any]
    stage: int
    dataset: Mapping[str, Any]
    dtype: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Views to be looked at together.

    Attributes:
        weights: a file with all weights of the recognizer, which every worker sees.
        places: of the views in the dataset.
    """

    source: Source
    weights: Path
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """What a batch gave: rows as they are stored, [views, ...]; or why there are none."""

    features: NDArray[np.float16 | np.float32] | None
    fault: tuple[str, str] = ("", "")


# The one frozen part that this process has built, with the dataset of its views.
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
) -> None:
    """Do as `boundary.extract_features` with an engine's workers, one for each core.

    Args:
        engine: see `engine.choice`.
        root: the workspace, which all workers see under the same path.
        model: the recognizer, with its weights.
        source: what it is, and of which views.
        store: gets the rows.
        names: the rows; `names[i]` is of item `i` of the dataset.
        batch: views a forward pass.
        reporter: in views.

    Raises:
        ModelError: the features of a view are not finite.
        EngineError: the cluster cannot be used, or a batch was lost; what was stored stays.
        WorkspaceError: there is no room for all of them.
    """
    todo = store.missing(names)
    began, done = time.monotonic(), 0
    with _shared(root, model) as weights:
        jobs = [Batch(source, weights, tuple(todo[i : i + batch])) for i in range(0, len(todo), batch)]
        with open_pool(engine, look, 0, _DEADLINE_S, root=root) as pool:
            for finished in filter(None, pool.run(jobs)):
                rows = finished.result
                if rows is None:
                    raise EngineError(
                        f"a batch of {len(finished.job.places)} clips was lost: {finished.detail}",
                        "run it again: what was computed is kept",
                    )
                if rows.features is None:
                    raise ModelError(*rows.fault)
                store.append([names[place] for place in finished.job.places], rows.features)
                if done == 0:
                    store.check_room(len(todo) - len(rows.features))
                done += len(rows.features)
                pace = done / (time.monotonic() - began)
                reporter.progress(done, len(todo), f"features · {engine} · {rate(pace, 'clip')}")


def look(batch: Batch, _: Acquire) -> Rows:
    """Give the rows of a batch of views: what a worker process does."""
    from dancecli.model.networks.mmaction import pseudo_collate

    try:
        frozen, dataset = _built(batch.source, batch.weights)
        rows = frozen.rows(pseudo_collate([dataset[place] for place in batch.places]))
    except DanceError as error:
        return Rows(None, (error.message, error.hint))
    return Rows(rows.cpu().numpy().astype(batch.source.dtype))


def _built(source: Source, weights: Path) -> tuple[FrozenBackbone, Any]:
    """Build the frozen part and the dataset, unless this process has them."""
    import cv2
    import torch

    from dancecli.model.dataloading.datasets import DATASETS
    from dancecli.model.networks.build import MODELS, build_model
    from dancecli.model.networks.mmaction import get_device
    from dancecli.model.training.features.frozen import FrozenBackbone

    if weights not in _BUILT:
        # A worker has one core.
        torch.set_num_threads(1)
        cv2.setNumThreads(0)
        _BUILT.clear()
        model = build_model(dict(source.model), 0, str(weights)).to(get_device())
        preprocessor = MODELS.build(source.model["data_preprocessor"]).to(get_device())
        part = FrozenBackbone(model, preprocessor, source.stage)
        _BUILT[weights] = part, DATASETS.build(dict(source.dataset))
    return _BUILT[weights]


@contextmanager
def _shared(root: Path, model: Any) -> Iterator[Path]:
    """Put the weights where all workers see them, for as long as they are needed."""
    path = root / "cache" / "features" / f"weights-{secrets.token_hex(8)}.pth"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        save_torch(path, {"state_dict": model.state_dict()})
        yield path
    finally:
        path.unlink(missing_ok=True)
