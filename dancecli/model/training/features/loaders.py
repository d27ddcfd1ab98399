"""A run's cached features: computed where they are missing, and read in the place of its clips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import Subset
from dancecli.engine.factory import LOCAL
from dancecli.model.dataloading.datasets import DATASETS, ViewSampler
from dancecli.model.networks.build import MODELS, build_model
from dancecli.model.networks.mmaction import get_device, pseudo_collate
from dancecli.model.networks.stages import pooling_type
from dancecli.model.training.features.fast_cpu import use_openvino
from dancecli.model.training.features.frozen import TORCH, FeatureDataset, FrozenBackbone, extract_features
from dancecli.model.training.features.remote import Source, extract_features_distributed
from dancecli.model.training.features.store import (
    FeatureStore,
    check_disk_space,
    entry_name,
    open_store,
    store_key,
)
from dancecli.storage.features import entry_bytes

if TYPE_CHECKING:
    from dancecli.model.training.job import Job

# To be raised whenever the same settings give other features: those that are stored go unused then.
_FORM = 2


@dataclass(frozen=True)
class CachedFeatures:
    """The features of a run.

    Attributes:
        loaders: of each subset, in the place of its clips'.
        computed: views that were missing, and that were computed now; those of the pre-flight were not.
        engines: entries of the store that were computed now, one per training view or evaluated clip, by
            what computed them: `torch`, `OpenVINO 2026.4`.
    """

    loaders: dict[Subset, Any]
    computed: int
    engines: dict[str, int]


def cached_features(job: Job, frozen: FrozenBackbone | None, reporter: Reporter = SILENT) -> CachedFeatures:
    """Compute the features that are missing, and give loaders that take the place of the clips'.

    Args:
        job: the run.
        frozen: its frozen backbone, if the pre-flight has built it, and checked the room.
        reporter: of progress in clips.

    Raises:
        ModelError: features are not finite.
        WorkspaceError: the disk has no room for them.
    """
    loaders: dict[Subset, Any] = {}
    pending = views_to_compute(job, reporter)
    if pending.views and frozen is None:
        frozen = frozen_backbone(job, whole_model(job))
        check_room(job, pending, frozen, reporter)
    # The pre-flight has computed with the same backbone.
    before = Counter(frozen.computed) if frozen else Counter()
    engines: Counter[str] = Counter()
    for subset in Subset:
        examples = job.data.examples[subset]
        if not examples:
            continue
        loader_cfg = job.config[f"{subset}_dataloader"]
        names = _entry_names(job, subset)
        flat = [name for view in names for name in view]
        with _opened(job, subset, reporter) as store:
            if store.missing(flat):
                frozen = frozen or frozen_backbone(job, whole_model(job))
                engines += _fill(job, loader_cfg, store, flat, frozen, reporter)
        files = [example.path for example in examples]
        dataset = FeatureDataset(store, names, files, [example.label_index for example in examples])
        loaders[subset] = _feature_loader(dataset, subset, job)
    return CachedFeatures(
        loaders, pending.views, dict(engines + (frozen.computed - before if frozen else Counter()))
    )


def _fill(
    job: Job,
    loader: dict[str, Any],
    store: FeatureStore,
    names: Sequence[str],
    frozen: FrozenBackbone,
    reporter: Reporter,
) -> Counter[str]:
    """Compute the entries that a store misses; count those that other processes computed."""
    if job.engine != LOCAL or job.extractors > 1:
        source = Source(job.config["model"], job.recipe.frozen_stages, loader["dataset"], job.precision)
        root, batch = job.workspace.root, job.forward_batch
        # All of a cluster, or as many of this machine as were asked for.
        workers = 0 if job.engine != LOCAL else job.extractors
        missing = len(store.missing(names))
        extract_features_distributed(
            job.engine, root, whole_model(job), source, store, names, batch, reporter, workers
        )
        return Counter({TORCH: missing})
    use_openvino(frozen, len(store.missing(names)), reporter)
    # On one machine the network uses all cores already, and other processes would only share them.
    extract_features(
        frozen,
        DATASETS.build(loader["dataset"]),
        store,
        names,
        batch=job.forward_batch,
        workers=loader["num_workers"],
        start_method=loader.get("multiprocessing_context"),
        reporter=reporter,
    )
    return Counter()


@dataclass(frozen=True)
class PendingFeatures:
    """The features of a run that are still to be computed.

    Attributes:
        views: forward passes; an evaluated clip may have several.
        entries: of the store, one per training view or evaluated clip, by subset.
    """

    views: int
    entries: dict[Subset, int]


def views_to_compute(job: Job, reporter: Reporter = SILENT) -> PendingFeatures:
    """Count the views that the frozen backbone still has to process."""
    entries, total = {}, 0
    # In cross-validation, training and test clips are the same.
    counted: set[tuple[str, str]] = set()
    for subset in Subset:
        if not job.data.examples[subset]:
            continue
        with _opened(job, subset, reporter) as store:
            names = [name for view in _entry_names(job, subset) for name in view]
            found = {(store.folder.name, names[i]) for i in store.missing(names)} - counted
        counted |= found
        entries[subset] = len(found)
        views = 1 if subset is Subset.TRAIN else job.recipe.num_clips * job.recipe.num_crops
        total += views * entries[subset]
    return PendingFeatures(total, entries)


def check_room(job: Job, pending: PendingFeatures, frozen: FrozenBackbone, reporter: Reporter) -> None:
    """Report how large the missing features will be, and refuse if the disk has no room for all of them.

    Raises:
        WorkspaceError: they do not fit.
    """
    if not pending.views:
        return
    view = DATASETS.build(job.config["train_dataloader"]["dataset"])[0]["inputs"]
    shape = frozen.shape_of(view.shape)
    crops = 1 if frozen.frames_averaged else job.recipe.num_clips * job.recipe.num_crops
    size = sum(
        count * (1 if subset is Subset.TRAIN else crops) * entry_bytes(shape, job.dtype)
        for subset, count in pending.entries.items()
    )
    folder = job.workspace.root / "cache" / "features"
    words = f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(size, 1e5) / 1e6:.1f} MB"
    reporter.message(f"features of {pending.views} views take {words} in {folder}")
    check_disk_space(folder, pending.views, size)


def store_entries(job: Job, indices: Sequence[int], features: Tensor, reporter: Reporter) -> None:
    """Store features of shape [N, views, ...]: the first views of N training clips without an entry."""
    first = _entry_names(job, Subset.TRAIN)[0]
    names = [first[i] for i in indices]
    with _opened(job, Subset.TRAIN, reporter) as store:
        if missing := store.missing(names):
            store.append([names[i] for i in missing], features[missing].cpu().numpy())


def frozen_backbone(job: Job, model: Any) -> FrozenBackbone:
    """Take the frozen part from a model of this run, with the weights with which it begins."""
    preprocessor = MODELS.build(job.config["model"]["data_preprocessor"]).to(get_device())
    stage = job.recipe.frozen_stages
    return FrozenBackbone(model, preprocessor, stage, job.precision, compiled=job.compiled)


@contextmanager
def _opened(job: Job, subset: Subset, reporter: Reporter) -> Iterator[FeatureStore]:
    """Open the store of a subset's features; two runs with the same frozen backbone take turns."""
    parts = _store_parts(job, job.config[f"{subset}_dataloader"]["dataset"])

    def waiting() -> None:
        reporter.progress(0, 1, "features · waiting for another run that computes them")

    # What another run is computing need not be computed after it.
    with job.workspace.lock(f"features-{store_key(dtype=job.dtype, **parts)}", waiting):
        yield open_store(job.workspace.root / "cache" / "features", job.dtype, parts)


def _feature_loader(dataset: FeatureDataset, subset: Subset, job: Job) -> Any:
    sampler = None
    if subset is Subset.TRAIN:
        sampler = ViewSampler(dataset, views=job.recipe.views or 1, shuffle=True, seed=job.seed)
    # Reading an entry costs microseconds: a worker process would only add to that.
    return DataLoader(
        dataset, batch_size=job.recipe.batch, sampler=sampler, num_workers=0, collate_fn=pseudo_collate
    )


def _store_parts(job: Job, dataset: dict[str, Any]) -> dict[str, Any]:
    """All that the features of a dataset depend on."""
    model, stage = job.config["model"], job.recipe.frozen_stages
    trained = {"frozen_stages", "norm_eval", "pretrained"}
    weights = job.start.sha256 if job.start else ""
    if not job.start or job.start.matched < job.start.total:
        # Random weights depend on the seed, and on how this version of torch draws.
        weights = f"{weights} random {job.seed} torch {torch.__version__}".strip()
    return {
        "form": _FORM,
        "weights": weights,
        "backbone": {key: value for key, value in model["backbone"].items() if key not in trained},
        "head": pooling_type(model["cls_head"]),
        "preprocessor": model["data_preprocessor"],
        # Which files torchcodec does not read follows from the files.
        "transform": [{k: v for k, v in step.items() if k != "left"} for step in dataset["pipeline"]],
        "view_seed": dataset.get("view_seed"),
        "stage": stage,
        **({"precision": job.precision} if job.precision else {}),
    }


def _entry_names(job: Job, subset: Subset) -> list[list[str]]:
    """Name the entries of a subset: one list of clips for each of their views."""
    views = (job.recipe.views or 1) if subset is Subset.TRAIN else 1
    examples = job.data.examples[subset]
    return [[entry_name(e.clip_id, e.sha256, view) for e in examples] for view in range(views)]


def whole_model(job: Job) -> Any:
    """Build the model with the weights with which the run begins."""
    return build_model(job.config["model"], job.seed, job.config["load_from"]).to(get_device())
