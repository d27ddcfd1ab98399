"""A network's scores for many clips, computed by several processes: one per GPU, or on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dancecli.core.errors import DanceError, EngineError, ModelError
from dancecli.core.progress import Reporter
from dancecli.core.records import Prediction, Subset
from dancecli.engine.factory import LOCAL, open_pool
from dancecli.engine.worker import Acquire
from dancecli.model.dataloading.split_data import SplitData
from dancecli.model.training.scoring import as_predictions

# A worker's first clips come after it has imported everything and built the network.
_DEADLINE_S = 900.0


@dataclass(frozen=True)
class EvaluatedNetwork:
    """What a worker builds before its first clip.

    Attributes:
        model: MMAction2's config of the recognizer.
        checkpoint: file with its weights.
        locks: folder in which workers claim their GPUs.
        precision: half precision of its passes; None for that of the weights.
    """

    model: Mapping[str, Any]
    checkpoint: Path
    locks: Path
    precision: str | None = None


@dataclass(frozen=True, slots=True)
class Clips:
    """Clips of a subset that are scored together."""

    network: EvaluatedNetwork
    subset: Subset
    dataset: Mapping[str, Any]
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Scores:
    """The probabilities of each clip, or the error's message and hint."""

    rows: list[list[float]] | None
    fault: tuple[str, str] = ("", "")


# The one network that this process has built.
_BUILT: dict[Path, Any] = {}


def score_subsets_in_processes(
    root: Path,
    network: EvaluatedNetwork,
    config: Mapping[str, Any],
    data: SplitData,
    processes: int,
    reporter: Reporter,
) -> list[Prediction]:
    """Score the val and test subsets of a split, each batch of clips in one of several processes.

    Args:
        root: the workspace.
        network: what is evaluated.
        config: of a run, for its datasets and batches; see `build_config`.
        data: the split.
        processes: how many.
        reporter: in clips.

    Raises:
        ModelError: a score is not finite, or the network cannot be built.
        EngineError: clips were lost with their worker.
    """
    subsets = [subset for subset in (Subset.VAL, Subset.TEST) if data.examples[subset]]
    jobs = []
    for subset in subsets:
        loader, count = config[f"{subset}_dataloader"], len(data.examples[subset])
        batches = _batched(range(count), loader["batch_size"])
        jobs += [Clips(network, subset, loader["dataset"], indices) for indices in batches]
    # Of each subset, a clip's probabilities by its place.
    rows: dict[Subset, dict[int, list[float]]] = {subset: {} for subset in subsets}
    with open_pool(LOCAL, score_clips, processes, _DEADLINE_S, root=root) as pool:
        for finished in filter(None, pool.run(jobs)):
            subset, found = finished.job.subset, _of(finished.result, finished.detail)
            rows[subset].update(zip(finished.job.indices, found, strict=True))
            total = len(data.examples[subset])
            reporter.progress(len(rows[subset]), total, f"evaluating · {subset}")
    predictions: list[Prediction] = []
    for subset in subsets:
        scores = [rows[subset][i] for i in range(len(data.examples[subset]))]
        predictions += as_predictions(scores, subset.value, data.examples[subset])
    return predictions


def _batched(indices: Sequence[int], size: int) -> list[tuple[int, ...]]:
    """Cut indices into batches of a size; the last may be smaller."""
    return [tuple(indices[i : i + size]) for i in range(0, len(indices), size)]


def _of(result: Scores | None, detail: str) -> list[list[float]]:
    if result is None:
        raise EngineError(f"clips were lost with their worker: {detail}", "run it again")
    if result.rows is None:
        raise ModelError(*result.fault)
    return result.rows


def score_clips(job: Clips, _: Acquire) -> Scores:
    """Score some clips: what a worker process does."""
    import torch

    from dancecli.model.dataloading.datasets import DATASETS
    from dancecli.model.hardware.device import half_precision_pass
    from dancecli.model.networks.mmaction import pseudo_collate

    try:
        model = _built(job.network)
        dataset = DATASETS.build(dict(job.dataset))
        batch = pseudo_collate([dataset[i] for i in job.indices])
        device = next(model.parameters()).device
        with torch.inference_mode(), half_precision_pass(job.network.precision, device):
            samples = model.test_step(batch)
    except DanceError as error:
        return Scores(None, (error.message, error.hint))
    return Scores([sample.pred_score.double().tolist() for sample in samples])


def _built(network: EvaluatedNetwork) -> Any:
    """Build the network, unless this process has it."""
    import cv2
    import torch

    from dancecli.model.hardware.claim import claim_gpu
    from dancecli.model.networks.checkpoint import build_network
    from dancecli.model.networks.mmaction import init_default_scope
    from dancecli.model.networks.weights import read_whole, state_of

    if network.checkpoint not in _BUILT:
        # A worker has one core, or one GPU.
        torch.set_num_threads(1)
        cv2.setNumThreads(0)
        init_default_scope("mmaction")
        claim_gpu(network.locks)
        state = state_of(read_whole(network.checkpoint))
        _BUILT.clear()
        _BUILT[network.checkpoint] = build_network(dict(network.model), state, network.checkpoint)
    return _BUILT[network.checkpoint]
