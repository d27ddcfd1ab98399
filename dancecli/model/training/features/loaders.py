"""A run's stored features: made where they are missing, and read in the place of its clips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from dancecli.model.training.features.frozen import FeatureDataset, FrozenBackbone, extract_features
from dancecli.model.training.features.remote import Source, extract_features_distributed
from dancecli.model.training.features.store import FeatureStore, entry_name, open_store, store_key

if TYPE_CHECKING:
    from dancecli.model.training.job import Job

# To be raised whenever the same settings come to give other features: those that are stored go unused then.
_FORM = 1


def feature_loaders(job: Job, frozen: FrozenBackbone | None, reporter: Reporter) -> dict[Subset, Any]:
    """Make the features that are missing, and loaders that take the place of the clips'.

    Args:
        job: the run.
        frozen: its frozen part, if somebody has built it already.
        reporter: in clips.
    """
    loaders: dict[Subset, Any] = {}
    for part in Subset:
        examples = job.data.examples[part]
        if not examples:
            continue
        loader_cfg = job.config[f"{part}_dataloader"]
        names = _entry_names(job, part)
        flat = [name for view in names for name in view]
        with _opened(job, part, reporter) as store:
            if store.missing(flat):
                frozen = _fill(job, loader_cfg, store, flat, frozen, reporter)
        files = [example.path for example in examples]
        dataset = FeatureDataset(store, names, files, [example.label_index for example in examples])
        loaders[part] = _feature_loader(dataset, part, job)
    return loaders


def _fill(
    job: Job,
    loader: dict[str, Any],
    store: FeatureStore,
    names: Sequence[str],
    frozen: FrozenBackbone | None,
    reporter: Reporter,
) -> FrozenBackbone | None:
    """Make the rows that a store misses; give the frozen part, if it was needed here."""
    if job.engine != LOCAL:
        source = Source(job.config["model"], job.recipe.frozen_stages, loader["dataset"], job.dtype)
        root, batch = job.workspace.root, job.forward_batch
        extract_features_distributed(
            job.engine, root, whole_model(job), source, store, names, batch, reporter
        )
        return frozen
    # On one machine the network has all cores already, and other processes would only share them.
    frozen = frozen or frozen_backbone(job, whole_model(job))
    extract_features(
        frozen,
        DATASETS.build(loader["dataset"]),
        store,
        names,
        batch=job.forward_batch,
        workers=loader["num_workers"],
        reporter=reporter,
    )
    return frozen


def views_to_compute(job: Job, reporter: Reporter = SILENT) -> int:
    """Count the views that the frozen part is still to look at; an evaluated clip may have several."""
    total = 0
    for part in Subset:
        if not job.data.examples[part]:
            continue
        with _opened(job, part, reporter) as store:
            views = 1 if part is Subset.TRAIN else job.recipe.num_clips * job.recipe.num_crops
            total += views * sum(len(store.missing(view)) for view in _entry_names(job, part))
    return total


def store_entries(job: Job, places: Sequence[int], rows: Tensor, reporter: Reporter) -> None:
    """Store the first view's rows, [N, views, C, t, h, w], of N training clips where there are none yet."""
    first = _entry_names(job, Subset.TRAIN)[0]
    names = [first[place] for place in places]
    with _opened(job, Subset.TRAIN, reporter) as store:
        if missing := store.missing(names):
            store.append([names[i] for i in missing], rows[missing].cpu().numpy())


def frozen_backbone(job: Job, model: Any) -> FrozenBackbone:
    """Take from a model of this run, with the weights with which it begins, what is frozen."""
    preprocessor = MODELS.build(job.config["model"]["data_preprocessor"]).to(get_device())
    return FrozenBackbone(model, preprocessor, job.recipe.frozen_stages)


@contextmanager
def _opened(job: Job, part: Subset, reporter: Reporter) -> Iterator[FeatureStore]:
    """Open the store of a part's features; two runs with the same frozen part take turns."""
    parts = _store_parts(job, job.config[f"{part}_dataloader"]["dataset"])

    def waiting() -> None:
        reporter.progress(0, 1, "features · waiting for another run that computes them")

    # What another run is at here need not be computed after it.
    with job.workspace.lock(f"features-{store_key(dtype=job.dtype, **parts)}", waiting):
        yield open_store(job.workspace.root / "cache" / "features", job.dtype, parts)


def _feature_loader(dataset: FeatureDataset, part: Subset, job: Job) -> Any:
    sampler = None
    if part is Subset.TRAIN:
        sampler = ViewSampler(dataset, views=job.recipe.views or 1, shuffle=True, seed=job.seed)
    # Reading a row costs microseconds: a worker process would only add to that.
    return DataLoader(
        dataset, batch_size=job.recipe.batch, sampler=sampler, num_workers=0, collate_fn=pseudo_collate
    )


def _store_parts(job: Job, dataset: dict[str, Any]) -> dict[str, Any]:
    """All that the features of a dataset depend on."""
    model, stage = job.config["model"], job.recipe.frozen_stages
    trained = {"frozen_stages", "norm_eval", "pretrained"}
    weights = job.start.sha256 if job.start else ""
    if not job.start or job.start.matched < job.start.total:
        # Fresh weights depend on the seed, and on how this version of torch draws.
        weights = f"{weights} random {job.seed} torch {torch.__version__}".strip()
    return {
        "form": _FORM,
        "weights": weights,
        "backbone": {key: value for key, value in model["backbone"].items() if key not in trained},
        "preprocessor": model["data_preprocessor"],
        "transform": dataset["pipeline"],
        "view_seed": dataset.get("view_seed"),
        "stage": stage,
    }


def _entry_names(job: Job, part: Subset) -> list[list[str]]:
    """Name the stored rows of a part: a list of clips for each view of theirs."""
    views = (job.recipe.views or 1) if part is Subset.TRAIN else 1
    examples = job.data.examples[part]
    return [[entry_name(e.clip_id, e.sha256, view) for e in examples] for view in range(views)]


def whole_model(job: Job) -> Any:
    """Build the model with the weights with which the run begins."""
    return build_model(job.config["model"], job.seed, job.config["load_from"]).to(get_device())
