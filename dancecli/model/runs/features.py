"""`dance features`: what a frozen backbone gives for the clips of a split, as files for other programs."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from dancecli.core.errors import ModelError, UsageError
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.recipe import HELD_OUT, SOLVED, parse_recipe
from dancecli.core.records import Subset
from dancecli.model.dataloading.decoding.choice import AUTO
from dancecli.model.dataloading.split_data import Example, count_repeats, load_split
from dancecli.model.networks.base import FRAMES
from dancecli.model.networks.checkpoint import run_checkpoint
from dancecli.model.networks.stages import LAST_STAGE
from dancecli.model.networks.zoo import find_entry
from dancecli.model.runs.finetune import make_job
from dancecli.model.runs.plan import Execution, FinetuneSettings, Plan, plan_with, resolve_plan
from dancecli.storage.files import atomic_file
from dancecli.storage.runs import RunFolder
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rows = list[tuple[str, Subset, Example]]

# Of the file beside an array that names the clips of its rows.
_CLIPS = ".csv"


class FeatureForm(StrEnum):
    """The formats of exported features."""

    PARQUET = "parquet"
    NPY = "npy"


@dataclass(frozen=True, kw_only=True)
class FeatureSettings:
    """Which features to export.

    Attributes:
        run: take the backbone, weights and views of this run; None for those that follow.
        pretrain, weights, recipe, split: see `FinetuneSettings`.
        form: of the file.
        to: the file; None for `exports/features-<model>-<split>.<form>` in the workspace.
        processes: that compute features; one per GPU, or on the CPU.
        decoder: of clips, see `decoding.choice`.

    Raises:
        UsageError: the array would have the name of the file beside it.
    """

    run: str | None = None
    pretrain: str = FinetuneSettings.pretrain
    weights: str | None = None
    recipe: str = FinetuneSettings.recipe
    split: str | None = None
    form: FeatureForm = FeatureForm.PARQUET
    to: Path | None = None
    processes: int = 1
    decoder: str = AUTO

    def __post_init__(self) -> None:
        if self.form is FeatureForm.NPY and self.to and self.to.suffix.lower() == _CLIPS:
            raise UsageError(
                f"{self.to}: the clips of the array's rows are written to the file of this name",
                f"name the array: --to {self.to.with_suffix('.npy')}",
            )


@dataclass(frozen=True)
class FeatureExport:
    """What was written.

    Attributes:
        file: the features.
        model, split, views: what they are of.
        clips: number of clips.
        shape: of the features of a clip, [views, values].
    """

    file: Path
    model: str
    split: str
    views: str
    clips: int
    shape: tuple[int, int]


def export_features(
    workspace: Workspace, settings: FeatureSettings, reporter: Reporter = SILENT
) -> FeatureExport:
    """Compute the features of all clips of a split where they are not cached, and write them.

    Args:
        workspace: holds the split, and the cache.
        settings: which features, and where to.
        reporter: receives the progress as `phase · words`, and notes.

    Raises:
        WorkspaceError: there is no such split or run, or no room for the features.
        ModelError: the features of such a model cannot be cached.
    """
    import numpy as np

    from dancecli.model.networks.mmaction import init_default_scope
    from dancecli.model.training.features.loaders import cached_features
    from dancecli.model.training.runner import silence

    plan = _plan(workspace, settings)
    folder = RunFolder(workspace.root / "cache" / "features-export")
    folder.root.mkdir(parents=True, exist_ok=True)
    job = replace(make_job(workspace, plan, reporter), folder=folder)
    if job.decoder.words:
        reporter.message(job.decoder.words)
    with silence(folder):
        init_default_scope("mmaction")
        loaders = cached_features(job, None, reporter).loaders
    rows: Rows = []
    found = []
    # In a cross-validation, training and test clips are the same.
    for subset in (Subset.TEST,) if plan.data.folds else Subset:
        if examples := plan.data.examples[subset]:
            dataset = loaders[subset].dataset
            values = dataset.array[dataset.places[0]]
            found.append(values.reshape(len(examples), values.shape[1], -1).astype(np.float32))
            rows += [(plan.data.labels[example.label_index], subset, example) for example in examples]
    features = np.concatenate(found)
    default = workspace.root / "exports" / f"features-{plan.entry.name}-{plan.data.name}.{settings.form}"
    file = settings.to or default
    views = str(job.meta["view_protocol"])
    (_write_parquet if settings.form is FeatureForm.PARQUET else _write_npy)(
        file, rows, features, {"dance.model": plan.entry.name, "dance.views": views}
    )
    shape = (features.shape[1], features.shape[2])
    return FeatureExport(file, plan.entry.name, plan.data.name, views, len(rows), shape)


def _plan(workspace: Workspace, settings: FeatureSettings) -> Plan:
    """Plan a solved head on the features, which is never trained: on the views of evaluation."""
    wanted = FinetuneSettings(
        pretrain=settings.pretrain,
        weights=settings.weights,
        recipe=settings.recipe,
        split=settings.split,
        freeze=str(LAST_STAGE),
        changes=(f"head={SOLVED}", f"validation={HELD_OUT}"),
        execution=Execution(processes=settings.processes, decoder=settings.decoder),
    )
    if settings.run is None:
        plan = resolve_plan(workspace, replace(wanted, folds=count_repeats(workspace, wanted.split) > 0))
    else:
        plan = _plan_of_run(workspace, settings.run, wanted)
    if not plan.cached or plan.recipe.frozen_stages != LAST_STAGE:
        raise ModelError(f"the features of {plan.entry.name} cannot be cached", "; ".join(plan.notes[-1:]))
    recipe_of_views = replace(plan.recipe, views=None, head=SOLVED)
    return replace(plan, recipe=recipe_of_views, name="features")


def _plan_of_run(workspace: Workspace, run: str, wanted: FinetuneSettings) -> Plan:
    """Plan the same of a run, by the recipe that it recorded: its file may be another by now."""
    name, record, path = run_checkpoint(workspace, run)
    saved, recorded = record["settings"], record["recipe"]
    wanted = replace(
        wanted,
        pretrain=saved["pretrain"],
        weights=saved["weights"] if recorded["freeze"] == str(LAST_STAGE) else str(path),
        split=wanted.split or record["split"]["name"],
        flow_method=saved["flow_method"],
        input=saved.get("input", FRAMES),
    )
    wanted = replace(wanted, folds=count_repeats(workspace, wanted.split) > 0)
    recipe = parse_recipe(
        {key: value for key, value in recorded.items() if value is not None},
        RunFolder(workspace.run(name)).record,
    )
    recipe = replace(
        recipe, freeze=str(LAST_STAGE), head=SOLVED, head_init=None, validation=HELD_OUT, views=None
    )
    data = load_split(workspace, wanted.split, folds=wanted.folds)
    return plan_with(workspace, name, wanted, find_entry(wanted.pretrain), recipe, data)


def _write_parquet(file: Path, rows: Rows, features: NDArray[np.float32], meta: dict[str, str]) -> None:
    """Write one row per clip: clip_id, subset, label, and the mean over its views as a list."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    mean = features.mean(axis=1)
    table = pa.table(
        {
            "clip_id": [example.clip_id for _, _, example in rows],
            "subset": [subset.value for _, subset, _ in rows],
            "label": [label for label, _, _ in rows],
            "features": pa.FixedSizeListArray.from_arrays(pa.array(mean.ravel()), mean.shape[1]),
        }
    )
    with atomic_file(file, "wb") as out:
        pq.write_table(table.replace_schema_metadata(meta), out)


def _write_npy(file: Path, rows: Rows, features: NDArray[np.float32], meta: dict[str, str]) -> None:  # noqa: ARG001 - as the other writer
    """Write [clips, views, values], and the clips of its rows beside it as CSV."""
    import numpy as np

    with atomic_file(file, "wb") as out:
        np.save(out, features)
    with atomic_file(file.with_suffix(_CLIPS)) as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("clip_id", "subset", "label"))
        writer.writerows(_named(rows))


def _named(rows: Rows) -> Iterator[tuple[str, str, str]]:
    return ((example.clip_id, subset.value, label) for label, subset, example in rows)
