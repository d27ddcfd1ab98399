"""What a run will be: the settings resolved and checked against the workspace, before any work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from dancecli.core.errors import ModelError, UsageError, WorkspaceError
from dancecli.core.flow_format import FlowMethod, method_mismatch
from dancecli.core.recipe import Recipe, read_recipe
from dancecli.core.records import Subset
from dancecli.engine.factory import LOCAL, check_engine
from dancecli.model.dataloading.flow_data import with_flow
from dancecli.model.dataloading.split_data import SplitData, load_split
from dancecli.model.networks import stages
from dancecli.model.networks.base import FLOW, ModelBase, at_its_size, has_dropout, model_base
from dancecli.model.networks.head import PRETRAINED, RANDOM
from dancecli.model.networks.weights import NO_WEIGHTS
from dancecli.model.networks.zoo import DEFAULT_PRETRAIN, ZooEntry, find_entry
from dancecli.model.training.distributed import get_rank_info, per_rank_batch_size
from dancecli.storage import runs as rec
from dancecli.storage.workspace import Workspace, checked_name

DEFAULT_FLOW = FlowMethod.DIS.value
# From here on the frozen part is most of the work, and what it gives is small enough to keep.
_CACHE_FROM_STAGE = 3
_DEFAULT_STORED_VIEWS = 2
# Those that numpy's generator takes.
SEEDS = range(2**32)


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
    if settings.seed not in SEEDS:
        raise UsageError(f"seed {settings.seed} is not a whole number from 0 to {SEEDS[-1]}")
    if settings.head_init not in (RANDOM, PRETRAINED):
        raise UsageError(f"head init {settings.head_init!r} is not {RANDOM} or {PRETRAINED}")
    if settings.head_init == PRETRAINED and settings.weights == NO_WEIGHTS:
        raise UsageError("random weights have no head to start from", f"use --head-init {RANDOM}")
    entry = find_entry(settings.pretrain)
    data = load_split(workspace, settings.split)
    if settings.name is not None:
        name = checked_name(settings.name, "run")
        # The first process may have made its folder already, and a kill at the very start leaves one.
        if get_rank_info().first and rec.RunFolder(workspace.run(name)).record.exists():
            raise WorkspaceError(
                f"run {name!r} exists already",
                f"take another --name, or --resume --name {name} to go on with it",
            )
    else:
        name = rec.free_run_name(workspace, entry.name, data.name)
    plan = plan_with(workspace, name, settings, entry, recipe, data)
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


def plan_with(
    workspace: Workspace,
    name: str,
    settings: FinetuneSettings,
    entry: ZooEntry,
    recipe: Recipe,
    data: SplitData,
) -> Plan:
    """Put a plan together of what is resolved already, and say what the user should know.

    Raises:
        UsageError: an engine or several processes have nothing to do in such a run.
        ModelError: it asks for what this model cannot do, or clips have no flow.
    """
    base, recipe = model_base(entry), at_its_size(entry, recipe)
    if entry.modality == FLOW:
        base = replace(base, flow=settings.flow_method)
        data = with_flow(workspace, data, settings.flow_method)
    per_rank_batch_size(recipe.batch, settings.processes)
    # A backbone whose stages are not known is refused before its weights are fetched.
    stages.prefixes(base.model["backbone"], recipe.frozen_stages)
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
    if recipe.dropout and not has_dropout(base.model["cls_head"]):
        notes.append(
            f"the head of {entry.name} has no dropout: the recipe's {recipe.dropout:g} is left aside"
        )
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
    if recipe.patience and not data.examples[Subset.VAL]:
        yield "without a validation part nothing stops the run early: all epochs are run"
    if cached:
        views = "1 stored view" if recipe.views == 1 else f"{recipe.views} stored views"
        yield f"the frozen part runs once, on {views} of each training clip"


def _use_cache(wanted: bool | None, base: ModelBase, recipe: Recipe, processes: int) -> bool:
    from dancecli.model.networks.stages import can_split

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
