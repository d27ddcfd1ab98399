"""What a run will be: the settings resolved and checked against the workspace, before any work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from dancecli.engine.choice import LOCAL, check_engine
from dancecli.errors import ModelError, UsageError, WorkspaceError
from dancecli.flowform import FlowMethod, method_mismatch
from dancecli.model import record as rec
from dancecli.model.config import model_base
from dancecli.model.distributed import place, share_of
from dancecli.model.flowing import FLOW, with_flow
from dancecli.model.head import PRETRAINED, RANDOM
from dancecli.model.pipelines import ModelBase
from dancecli.model.preflight import SplitData, load_split
from dancecli.model.recipe import Recipe, parse_recipe, read_recipe
from dancecli.model.weights import NO_WEIGHTS
from dancecli.model.zoo import ZooEntry, find_entry
from dancecli.schema import PartName
from dancecli.workspace import Workspace, checked_name

DEFAULT_PRETRAIN = "inception"
DEFAULT_FLOW = FlowMethod.DIS.value
# From here on the frozen part is most of the work, and what it gives is small enough to keep.
_CACHE_FROM_STAGE = 3
_DEFAULT_STORED_VIEWS = 2


@dataclass(frozen=True)
class FinetuneSettings:
    """What to train; None takes the recipe's value.

    Attributes:
        pretrain: a name of the zoo, or the path of an MMAction2 config.
        split: its name; None for the one made last.
        recipe: a name, or the path of a TOML file.
        name: of the run; None gives `<pretrain>-<split>-<n>`.
        weights: None for the model's own, `none` for random ones, or a file.
        augment: chains that training views may undergo, as `dance augment` names them.
        amp: half precision where that is safe.
        changes: other keys of the recipe, each as `key=value`; what is named above wins over them.
        group: the name that runs of several seeds have in common.
        preflight: learn one batch by heart before the hours begin, and tell how many they will be.
        cache: train from stored features of the frozen part; None does where it pays.
        cache_dtype: `float16` or `float32`; empty for the default of the stage.
        flow_method: of a model of optical flow: how the flow it sees was computed.
        head_init: `random`, or `pretrained` for the old rows of the classes that the weights' head knows.
        two_stream: of a stream of `dance train --stream both`: the settings of the whole.
        processes: how many share each batch; one a GPU, or of the CPU.
        engine: where features that are stored are computed, `local` or `ray`, see `engine.choice`.
        resume: go on with the run `name` (None: the one made last); all else is as that run has it.
    """

    pretrain: str = DEFAULT_PRETRAIN
    split: str | None = None
    recipe: str = "default"
    name: str | None = None
    weights: str | None = None
    seed: int = 0
    freeze: str | None = None
    epochs: int | None = None
    lr: float | None = None
    batch: int | None = None
    views: int | None = None
    num_clips: int | None = None
    augment: str | None = None
    amp: bool | None = None
    changes: tuple[str, ...] = ()
    group: str | None = None
    preflight: bool = True
    cache: bool | None = None
    cache_dtype: str = ""
    flow_method: str = DEFAULT_FLOW
    head_init: str = RANDOM
    two_stream: dict[str, Any] | None = None
    processes: int = 1
    engine: str = LOCAL
    resume: bool = False


@dataclass(frozen=True)
class Plan:
    """A run as it will be, checked against the workspace; nothing is written yet."""

    name: str
    settings: FinetuneSettings
    entry: ZooEntry
    base: ModelBase
    recipe: Recipe
    data: SplitData
    cached: bool
    notes: tuple[str, ...]


def make_plan(workspace: Workspace, settings: FinetuneSettings) -> Plan:
    """Resolve the settings and check what can be checked without the model; see `finetune`."""
    recipe = read_recipe(settings.recipe).with_set(settings.changes)
    frozen_by_user = settings.freeze is not None or any(
        text.partition("=")[0].strip() == "freeze" for text in settings.changes
    )
    recipe = recipe.with_changes(
        freeze=settings.freeze,
        epochs=settings.epochs,
        lr=settings.lr,
        batch=settings.batch,
        views=settings.views,
        num_clips=settings.num_clips,
        augment=settings.augment,
        amp=settings.amp,
    )
    if settings.weights == NO_WEIGHTS and not frozen_by_user:
        # Frozen at random, or with averages that nothing was trained for, a network learns nothing.
        recipe = replace(recipe, freeze="none", norm_eval=False)
    if settings.head_init not in (RANDOM, PRETRAINED):
        raise UsageError(f"head init {settings.head_init!r} is not {RANDOM} or {PRETRAINED}")
    if settings.head_init == PRETRAINED and settings.weights == NO_WEIGHTS:
        raise UsageError("random weights have no head to start from", f"use --head-init {RANDOM}")
    entry = find_entry(settings.pretrain)
    data = load_split(workspace, settings.split)
    if settings.name is not None:
        name = checked_name(settings.name, "run")
        # The first process may have made its folder already, and a kill at the very start leaves one.
        if place().first and rec.RunFolder(workspace.run(name)).record.exists():
            raise WorkspaceError(
                f"run {name!r} exists already",
                f"take another --name, or --resume --name {name} to go on with it",
            )
    else:
        name = rec.free_run_name(workspace, entry.name, data.name)
    plan = _planned(workspace, name, settings, entry, recipe, data)
    return replace(plan, notes=(*plan.notes, *_rate_notes(settings, recipe)))


def _rate_notes(settings: FinetuneSettings, recipe: Recipe) -> Iterator[str]:
    """Say so if the learning rate is of a recipe that froze more than is frozen now."""
    before = read_recipe(settings.recipe)
    given = settings.lr is not None or any(
        text.partition("=")[0].strip() == "lr" for text in settings.changes
    )
    if settings.weights != NO_WEIGHTS and not given and recipe.frozen_stages < before.frozen_stages:
        yield (
            f"learning rate {recipe.lr:g} is that of a backbone frozen up to {before.freeze}; with one "
            f"frozen up to {recipe.freeze} a smaller one, such as --lr 1e-4, often learns better"
        )


def at_its_size(entry: ZooEntry, recipe: Recipe) -> Recipe:
    """Crop to the size that a model needs, of as much of the frame as the recipe would take."""
    if not entry.crop or recipe.crop == entry.crop:
        return recipe
    side = round(recipe.short_side * entry.crop / recipe.crop)
    return replace(recipe, crop=entry.crop, short_side=side)


def _planned(
    workspace: Workspace,
    name: str,
    settings: FinetuneSettings,
    entry: ZooEntry,
    recipe: Recipe,
    data: SplitData,
) -> Plan:
    base, recipe = model_base(entry), at_its_size(entry, recipe)
    if entry.modality == FLOW:
        base = replace(base, flow=settings.flow_method)
        data = with_flow(workspace, data, settings.flow_method)
    share_of(recipe.batch, settings.processes)
    cached = _use_cache(settings.cache, base, recipe, settings.processes)
    check_engine(settings.engine)
    if settings.engine != LOCAL and not cached:
        raise UsageError(
            f"--engine {settings.engine} computes features that are stored, and this run stores none",
            "freeze more (--freeze 4), or leave out --engine",
        )
    if cached and recipe.views is None:
        recipe = replace(recipe, views=max(_DEFAULT_STORED_VIEWS, 1 + len(recipe.chains)))
    if cached and settings.group and settings.weights != NO_WEIGHTS and recipe.view_seed is None:
        # What is computed once and stored would otherwise be computed for each seed.
        recipe = replace(recipe, view_seed=0)
    notes = list(data.notes)
    if entry.modality == FLOW and entry.checkpoint and not settings.weights:
        notes += filter(None, [method_mismatch(settings.flow_method)])
    if settings.weights == NO_WEIGHTS:
        notes.append(f"weights: random; the backbone is frozen up to: {recipe.freeze}")
    if settings.processes > 1:
        notes.append(f"{settings.processes} processes share each batch of {recipe.batch}; nothing is stored")
    notes += _recipe_notes(recipe, data, cached)
    if settings.group and recipe.view_seed is not None:
        notes.append(
            "all seeds train on the same views: their spread is that of the fresh head, the order and dropout"
        )
    return Plan(name, settings, entry, base, recipe, data, cached, tuple(notes))


def _recipe_notes(recipe: Recipe, data: SplitData, cached: bool) -> Iterator[str]:
    """Say what of a recipe the user should know."""
    if recipe.update_batch != recipe.lr_batch:
        clips = f"{recipe.accumulate} x {recipe.batch}" if recipe.accumulate > 1 else f"{recipe.batch}"
        yield (
            f"learning rate {recipe.lr:g} is for batches of {recipe.lr_batch}: "
            f"scaled to {recipe.scaled_lr():g} for {clips}"
        )
    if recipe.chains:
        choices = " or ".join("+".join(chain) for chain in recipe.chains)
        yield f"each training view is the clip as it is or {choices}, equally likely"
        if data.num_copies:
            yield (
                f"{data.num_copies} of the training clips are copies of dance augment already: "
                "they are augmented once more; dance annotate --no-augmented leaves them out"
            )
    if recipe.ema:
        yield f"evaluated and kept: the running average of the weights (decay {recipe.ema:g})"
    if recipe.patience and not data.examples[PartName.VAL]:
        yield "without a validation part nothing stops the run early: all epochs are run"
    if cached:
        views = "1 stored view" if recipe.views == 1 else f"{recipe.views} stored views"
        yield f"the frozen part runs once, on {views} of each training clip"


def _use_cache(wanted: bool | None, base: ModelBase, recipe: Recipe, processes: int) -> bool:
    from dancecli.model.boundary import can_split

    if processes > 1:
        if wanted:
            raise UsageError("--cache trains in one process", "leave out --gpus, or --cache")
        return False
    possible = recipe.frozen_stages >= 0 and can_split(base.model)
    if wanted and not possible:
        raise ModelError(
            "nothing is frozen whose output could be stored"
            if recipe.frozen_stages < 0
            else f"a {base.model['backbone']['type']} model cannot be cut at its freeze boundary",
            "use --no-cache",
        )
    return possible and (wanted or (wanted is None and recipe.frozen_stages >= _CACHE_FROM_STAGE))


def plan_of_stopped_run(workspace: Workspace, settings: FinetuneSettings) -> tuple[Plan, dict[str, Any]]:
    """Make the plan of a run that was begun, from its own record; return the record too.

    Raises:
        WorkspaceError: there is no such run, or its split has changed since.
    """
    runs = workspace.runs()
    if not runs:
        raise WorkspaceError(f"{workspace.root}: there is no run to go on with", "start one without --resume")
    name = settings.name or runs[-1]
    before = rec.read_record(workspace, name)
    if "settings" not in before:
        raise WorkspaceError(
            f"run {name!r} trained nothing that could be gone on with",
            "name one that was trained: --name RUN",
        )
    folder = rec.RunFolder(workspace.run(name))
    known = {field.name for field in fields(FinetuneSettings)}
    saved = FinetuneSettings(**{k: v for k, v in before["settings"].items() if k in known})
    # The steps are the same, however many processes share them.
    saved = replace(
        saved,
        name=name,
        resume=True,
        split=before["split"]["name"],
        processes=settings.processes,
        engine=settings.engine,
    )
    recipe = parse_recipe(_without_none(before["recipe"]), folder.record)
    data = load_split(workspace, saved.split)
    if data.meta["split.hash"] != before["split"]["hash"] or data.test_hash != before["split"]["test_hash"]:
        raise WorkspaceError(
            f"split {data.name!r} has changed since run {name!r} began", "start a new run on the new split"
        )
    return _planned(workspace, name, saved, find_entry(saved.pretrain), recipe, data), before


def _without_none(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value is not None}
