"""The plan of a run: its settings, resolved and checked against the workspace before any work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dancecli.core.errors import ModelError, UsageError, WorkspaceError
from dancecli.core.flow_format import FlowMethod, method_mismatch
from dancecli.core.hashing import uneven_folds_note
from dancecli.core.recipe import (
    ATTENTIVE,
    AUTO,
    EPOCH_KEYS,
    FULL,
    MTEB,
    PRETRAINED,
    PROBES,
    PROTOCOL_HEADS,
    RANDOM,
    SOLVED,
    TRAINED,
    Recipe,
    read_recipe,
)
from dancecli.core.records import Subset
from dancecli.engine.factory import LOCAL, check_engine
from dancecli.model.dataloading.decoding.choice import AUTO as AUTO_DECODER
from dancecli.model.dataloading.decoding.choice import check_decoder
from dancecli.model.dataloading.pipelines import frame_sampler, refuse_unused_keys
from dancecli.model.dataloading.pose_data import with_input
from dancecli.model.dataloading.split_data import SplitData, few_folds, load_split
from dancecli.model.dataloading.timing import timing_notes
from dancecli.model.networks import stages
from dancecli.model.networks.base import FLOW, FRAMES, ModelBase, at_its_size, has_dropout, model_base
from dancecli.model.networks.weights import NO_WEIGHTS
from dancecli.model.networks.zoo import DEFAULT_PRETRAIN, ZooEntry, find_entry
from dancecli.model.training.distributed import get_rank_info, per_rank_batch_size
from dancecli.storage import runs as rec
from dancecli.storage.workspace import Workspace, checked_name

DEFAULT_FLOW = FlowMethod.DIS.value
# From this stage on the frozen backbone is most of the work, and its features are small enough.
_CACHE_FROM_STAGE = 3
_DEFAULT_CACHED_VIEWS = 2
# Fewer validation clips than these cannot tell epochs that differ by a few points apart.
FEW_VALIDATION_CLIPS = 50
# The range of numpy's generator.
SEEDS = range(2**32)
_RECIPE_FLAGS = (
    "freeze",
    "head",
    "protocol",
    "epochs",
    "lr",
    "batch",
    "views",
    "num_clips",
    "augment",
    "amp",
    "head_init",
)


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a run is executed: nothing here changes what is trained.

    Attributes:
        preflight: overfit one batch and estimate the duration before training starts.
        cache: train on cached features of the frozen backbone; None does so where it saves time.
        processes: number of processes, one per GPU or on the CPU: they compute the features where these
            are cached, and share each batch where they are not.
        engine: where features are extracted, `local` or `ray`, see `engine.factory`.
        compiled: torch compiles the backbone: minutes at first, faster steps after.
        decoder: of clips, `auto`, `ffmpeg` or `torchcodec`; see `decoding.choice`.
    """

    preflight: bool = True
    cache: bool | None = None
    processes: int = 1
    engine: str = LOCAL
    compiled: bool = False
    decoder: str = AUTO_DECODER


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings:
    """What to train; None takes the recipe's value.

    Attributes:
        pretrain: name of a zoo model, `hf:REPO@REVISION`, or the path of an MMAction2 config.
        split: name of the split; None for the latest.
        recipe: name of a recipe, or the path of a TOML file.
        name: name of the run; None gives `<pretrain>-<split>-<n>`.
        weights: None for the model's own weights, `none` for random ones, or a file.
        head: `solved`, or another probe of a wholly frozen backbone.
        protocol: how the probe is fitted: `full`, or a published one.
        augment: augmentation chains for training views, as in `dance augment`.
        amp: automatic mixed precision.
        changes: other recipe keys, each as `key=value`; the attributes above take precedence.
        group: name of a group of runs with several seeds.
        cache_dtype: `float16` or `float32`; empty for the default of the stage.
        flow_method: how the input of an optical-flow model was computed.
        input: what a model of frames sees: `frames`, or `skeletons` drawn from the poses.
        head_init: where training by epochs starts the head: `solved`, `random` or `pretrained`.
        two_stream: settings of `dance train --stream both`, for one of its streams.
        execution: how the run is executed, which does not change what it trains.
        folds: cross-validate on the folds of the split; of a split with several repeats, on those of
            the repeat `seed`.
        resume: resume the run `name` (None: the latest); all other settings are that run's.
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
    head: str | None = None
    protocol: str | None = None
    augment: str | None = None
    amp: bool | None = None
    changes: tuple[str, ...] = ()
    group: str | None = None
    cache_dtype: str = ""
    flow_method: str = DEFAULT_FLOW
    input: str = FRAMES
    head_init: str | None = None
    two_stream: dict[str, Any] | None = None
    folds: bool = False
    execution: Execution = Execution()
    resume: bool = False


@dataclass(frozen=True)
class Plan:
    """A checked plan of a run; nothing is written yet."""

    name: str
    settings: FinetuneSettings
    entry: ZooEntry
    base: ModelBase
    recipe: Recipe
    data: SplitData
    cached: bool
    notes: tuple[str, ...]


def make_plan(workspace: Workspace, settings: FinetuneSettings) -> Plan:
    """Resolve the settings and check everything that needs no model; see `finetune`."""
    if settings.name is not None:
        checked_name(settings.name, "run")
    return name_run(workspace, resolve_plan(workspace, settings), settings)


def resolve_plan(workspace: Workspace, settings: FinetuneSettings) -> Plan:
    """Make a plan without regard to the name of its run; see `make_plan`."""
    given = _given_keys(settings)
    recipe = (
        read_recipe(settings.recipe)
        .with_set(settings.changes)
        .with_changes(
            freeze=settings.freeze,
            head=settings.head or PROTOCOL_HEADS.get(settings.protocol or ""),
            protocol=settings.protocol,
            epochs=settings.epochs,
            lr=settings.lr,
            batch=settings.batch,
            views=settings.views,
            num_clips=settings.num_clips,
            augment=settings.augment,
            amp=settings.amp,
            head_init=settings.head_init,
        )
    )
    if settings.weights == NO_WEIGHTS:
        # A network that is frozen at random, or with untrained batch norm statistics, learns nothing.
        recipe = replace(
            recipe,
            freeze=recipe.freeze if "freeze" in given else "none",
            norm_eval=recipe.norm_eval if "norm_eval" in given else False,
        )
    entry = find_entry(settings.pretrain)
    if entry.hub is not None:
        # A branch moves; the run records the commit that it was.
        settings = replace(settings, pretrain=entry.hub.repository.reference)
    if _averaged_from_rgb(entry, settings) and "freeze" not in given:
        recipe = replace(recipe, freeze="none")
    epoch_keys = sorted(given & EPOCH_KEYS - ({"head_init"} if recipe.head_init == SOLVED else set()))
    by_epochs = ""
    if named := settings.protocol or settings.head:
        _refuse_epoch_keys(named, recipe, epoch_keys)
    elif recipe.head == SOLVED and epoch_keys and "head" not in given:
        recipe = replace(recipe, head=TRAINED)
        by_epochs = f"{', '.join(epoch_keys)} given: the head is trained by epochs instead of solved"
    if settings.seed not in SEEDS:
        raise UsageError(f"seed {settings.seed} is not an integer from 0 to {SEEDS[-1]}")
    if settings.weights == NO_WEIGHTS and recipe.head_init in (PRETRAINED, SOLVED):
        lacking = {PRETRAINED: "pre-trained classifier", SOLVED: "features to solve a head on"}
        raise UsageError(f"random weights have no {lacking[recipe.head_init]}", f"use --head-init {RANDOM}")
    data = load_split(workspace, settings.split, folds=settings.folds)
    plan = plan_with(workspace, settings.name or "", settings, entry, recipe, data)
    notes = [by_epochs] if by_epochs else []
    return replace(plan, notes=(*plan.notes, *notes, *_rate_notes(settings, recipe)))


def _refuse_epoch_keys(named: str, recipe: Recipe, keys: Sequence[str]) -> None:
    """Refuse what a probe that was named does not take.

    Raises:
        UsageError: a key of training by epochs is given; an attentive probe takes the batch.
    """
    taken = {"batch"} if recipe.head == ATTENTIVE else set[str]()
    if recipe.head in PROBES and (surplus := [key for key in keys if key not in taken]):
        raise UsageError(f"{named} does not take {', '.join(surplus)}", "omit one of them")


def name_run(workspace: Workspace, plan: Plan, settings: FinetuneSettings) -> Plan:
    """Give the plan of a new run the name that the settings say, or a free one.

    Raises:
        WorkspaceError: there is a run of this name.
    """
    settings = replace(settings, pretrain=plan.settings.pretrain)
    if settings.name is None:
        name = rec.free_run_name(workspace, plan.entry.name, plan.data.name)
        return replace(plan, name=name, settings=settings)
    name = checked_name(settings.name, "run")
    # The first process may have created its folder already; a kill at the start also leaves one.
    if get_rank_info().first and rec.RunFolder(workspace.run(name)).record.exists():
        raise WorkspaceError(
            f"run {name!r} exists already",
            f"choose another --name, or resume it: --resume --name {name}",
        )
    return replace(plan, name=name, settings=settings)


def _given_keys(settings: FinetuneSettings) -> set[str]:
    """Return the recipe keys that the user gave, as a flag or by --set."""
    named = {key for key in _RECIPE_FLAGS if getattr(settings, key) is not None}
    return named | {text.partition("=")[0].strip() for text in settings.changes}


def _rate_notes(settings: FinetuneSettings, recipe: Recipe) -> Iterator[str]:
    """Warn if the learning rate belongs to a recipe that freezes more stages."""
    before = read_recipe(settings.recipe)
    given = "lr" in _given_keys(settings)
    if settings.weights != NO_WEIGHTS and not given and recipe.frozen_stages < before.frozen_stages:
        yield (
            f"learning rate {recipe.lr:g} was chosen for --freeze {before.freeze}; with "
            f"--freeze {recipe.freeze} a smaller one, such as --lr 1e-4, often works better"
        )


def plan_with(
    workspace: Workspace,
    name: str,
    settings: FinetuneSettings,
    entry: ZooEntry,
    recipe: Recipe,
    data: SplitData,
) -> Plan:
    """Build a plan from resolved settings, with notes for the user.

    Raises:
        UsageError: an engine or several processes do not apply to such a run.
        ModelError: the model does not support the settings, or clips have no flow.
    """
    base, recipe = model_base(entry), at_its_size(entry, recipe)
    base, data = with_input(workspace, base, data, entry.modality, settings.flow_method, settings.input)
    refuse_unused_keys(base, recipe)
    # A backbone with unknown stages is rejected before its weights are downloaded.
    stages.prefixes(base.model["backbone"], recipe.frozen_stages)
    cached = _use_cache(settings.execution.cache, base, recipe)
    per_rank_batch_size(recipe.batch, 1 if cached else settings.execution.processes)
    check_engine(settings.execution.engine)
    check_decoder(settings.execution.decoder, decoded=base.skeleton is None and not (base.flow or base.drawn))
    if settings.execution.engine != LOCAL and not cached:
        raise UsageError(
            f"--engine {settings.execution.engine} computes cached features, and this run caches none",
            "freeze more stages (--freeze 4), or omit --engine",
        )
    recipe, unsolved = _with_head(recipe, cached, base.model)
    _check_probe(recipe, base.model, data)
    recipe, started = _with_head_start(recipe, base.model, settings)
    data, held_in = _with_validation(recipe, data)
    if cached and recipe.views is None and recipe.head == TRAINED:
        recipe = replace(recipe, views=max(_DEFAULT_CACHED_VIEWS, 1 + len(recipe.chains)))
    if cached and settings.group and settings.weights != NO_WEIGHTS and recipe.view_seed is None:
        # Otherwise the features would be computed for each seed.
        recipe = replace(recipe, view_seed=0)
    notes = [
        *base.notes,
        *data.notes,
        *_class_notes(data),
        *timing_notes(data.lengths, frame_sampler(base, recipe)),
    ]
    if _averaged_from_rgb(entry, settings):
        notes.append(
            f"{entry.name} starts from the RGB Kinetics network, its first layer averaged over the colors: "
            "it has not seen flow, and the published accuracy is not its own; --weights takes a trained file"
        )
    if entry.modality == FLOW and entry.checkpoint and not settings.weights:
        notes += filter(None, [method_mismatch(settings.flow_method)])
    if settings.weights == NO_WEIGHTS:
        notes.append(f"random weights; freeze: {recipe.freeze}")
    notes += _process_notes(settings.execution.processes, recipe, cached)
    if recipe.dropout and not has_dropout(base.model["cls_head"]):
        notes.append(f"the head of {entry.name} has no dropout: the recipe's {recipe.dropout:g} is ignored")
    notes += [*unsolved, *started, *held_in, *_recipe_notes(recipe, data, cached)]
    if recipe.frozen_stages >= _CACHE_FROM_STAGE and not cached and settings.execution.cache is None:
        notes += _uncached_notes(base, recipe)
    notes += _group_notes(settings, data, recipe)
    return Plan(name, settings, entry, base, recipe, data, cached, tuple(notes))


def _process_notes(count: int, recipe: Recipe, cached: bool) -> Iterator[str]:
    """Say what several processes do."""
    if count > 1 and cached:
        yield f"{count} processes compute the features"
    elif count > 1:
        yield f"{count} processes share each batch of {recipe.batch}; features are not cached"


def _averaged_from_rgb(entry: ZooEntry, settings: FinetuneSettings) -> bool:
    """Whether a flow network starts from RGB weights, as none that saw flow are available."""
    return entry.modality == FLOW and not entry.checkpoint and not settings.weights


def _class_notes(data: SplitData) -> Iterator[str]:
    """Name the classes without clips in train, or in another subset that has clips."""
    for subset, why in (
        (Subset.TRAIN, "they cannot be predicted"),
        (Subset.VAL, "the choice of the epoch ignores them"),
        (Subset.TEST, "the accuracy does not cover them"),
    ):
        examples = data.examples[subset]
        present = {example.label_index for example in examples}
        absent = [label for i, label in enumerate(data.labels) if i not in present]
        if examples and absent:
            shown = ", ".join(absent[:5]) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
            share = f"{len(absent)} of {len(data.labels)} classes"
            yield f"{share} have no clip in {subset.value} ({shown}): {why}"


def _group_notes(settings: FinetuneSettings, data: SplitData, recipe: Recipe) -> Iterator[str]:
    """Say what the folds train, or how the runs of several seeds differ."""
    if settings.folds:
        yield from _fold_notes(data, recipe)
    elif not settings.group:
        return
    elif recipe.protocol == MTEB:
        yield "each seed is a draw of 8 clips per class"
    elif recipe.head in PROBES and recipe.head != ATTENTIVE:
        yield f"a {recipe.head} head does not depend on the seed: all seeds give the same result"
    elif recipe.view_seed is not None:
        yield "all seeds train on the same views: they differ in head initialization, shuffling and dropout"


def _fold_notes(data: SplitData, recipe: Recipe) -> Iterator[str]:
    """Say what a cross-validation trains."""
    folds = max(data.folds[0].values())
    yield (
        f"cross-validation: {folds} models, each trained on {folds - 1} folds and tested on the other; their "
        f"predictions of all {len(data.examples[Subset.TEST])} clips are pooled"
    )
    if few := few_folds(data, 0):
        yield uneven_folds_note(few, folds)
    if recipe.head in PROBES:
        yield "the checkpoint is a further model, trained on all clips, whose accuracy the folds estimate"
    else:
        yield "a cross-validation by epochs keeps no model of all clips, so no checkpoint for dance predict"


def _with_head(recipe: Recipe, cached: bool, model: dict[str, Any]) -> tuple[Recipe, list[str]]:
    """Train the head by epochs if it cannot be solved; return the reason too."""
    whole = cached and recipe.frozen_stages == stages.LAST_STAGE
    if recipe.head == TRAINED or (whole and (recipe.head != SOLVED or stages.has_one_layer(model))):
        return recipe, []
    if recipe.head != SOLVED or recipe.protocol != FULL:
        obstacle = stages.why_not_cut(model, stages.LAST_STAGE) or "use --freeze 4, and omit --no-cache"
        raise UsageError(
            f"a {recipe.head} head is a probe of a wholly frozen backbone on cached features", obstacle
        )
    more = recipe.frozen_stages < stages.LAST_STAGE
    why = "more than the head is trained" if more else "features are not cached"
    if whole:
        why = f"a {model['cls_head']['type']} is more than one linear layer"
    return replace(recipe, head=TRAINED), [f"the head is trained by epochs instead of solved: {why}"]


def _with_head_start(
    recipe: Recipe, model: dict[str, Any], settings: FinetuneSettings
) -> tuple[Recipe, list[str]]:
    """Resolve where training by epochs starts the head; return what to say of it.

    Raises:
        ModelError: it is to start from a solved head, and none can be solved.
    """
    if recipe.head != TRAINED:
        return recipe, []
    partly = 0 <= recipe.frozen_stages < stages.LAST_STAGE
    asked = recipe.head_init or (SOLVED if partly else RANDOM)
    why = ""
    if asked == SOLVED and settings.weights == NO_WEIGHTS:
        why = "the weights are random"
    elif asked == SOLVED:
        why = stages.why_not_cut(model, stages.LAST_STAGE)
        if not why and not stages.has_one_layer(model):
            why = f"a {model['cls_head']['type']} is more than one linear layer"
    if why and recipe.head_init == SOLVED:
        raise ModelError(f"the head cannot start solved: {why}", f"use --head-init {RANDOM}")
    if why:
        return replace(recipe, head_init=RANDOM), [f"the head starts at random: {why}"]
    if asked == SOLVED:
        note = (
            "the head starts from the solution on features of the network as it is at the start (logistic "
            "regression, as --freeze 4 gives it): one pass on the evaluation view of each training clip"
        )
        return replace(recipe, head_init=SOLVED), [note]
    notes = ["the head starts at random, as the recipe says"] if partly and asked == RANDOM else []
    return replace(recipe, head_init=asked), notes


def _with_validation(recipe: Recipe, data: SplitData) -> tuple[SplitData, list[str]]:
    """Add a validation subset that is too small to choose by to the training clips; return what to say."""
    num_val = len(data.examples[Subset.VAL])
    if recipe.validation != AUTO or recipe.protocol != FULL or not 0 < num_val < FEW_VALIDATION_CLIPS:
        return data, []
    note = (
        f"the validation subset has {num_val} clips, each worth {100 / num_val:.1f} points: too few to "
        "choose by, so nothing is chosen by them and they are trained on (--set validation=held-out keeps "
        "them apart)"
    )
    return data.with_validation(), [note]


def _check_probe(recipe: Recipe, model: dict[str, Any], data: SplitData) -> None:
    """Refuse a probe that the model or the views do not allow.

    Raises:
        ModelError: an attentive probe of a model without tokens.
        UsageError: MTEB's protocol with several views, or with a training clip of fewer than two classes.
    """
    if recipe.head == ATTENTIVE and (why := stages.why_no_tokens(model)):
        raise ModelError(f"an attentive probe needs tokens, and {why}", "use --head linear, knn or prototype")
    if recipe.protocol != MTEB:
        return
    if recipe.views is not None or recipe.num_clips * recipe.num_crops > 1:
        raise UsageError("protocol mteb sees one view of each clip", "omit --views and --num-clips")
    if len({example.label_index for example in data.examples[Subset.TRAIN]}) < 2:
        raise UsageError("protocol mteb needs training clips of two classes or more")


def _probe_notes(recipe: Recipe, data: SplitData) -> Iterator[str]:
    """Say how a probe is fitted."""
    clips = len(data.examples[Subset.TRAIN])
    if recipe.protocol == MTEB:
        yield (
            "protocol mteb: scikit-learn's logistic regression on 8 clips of each class, drawn by the seed; "
            "its result is the mean of 10 draws"
        )
    elif recipe.head == SOLVED:
        yield (
            "the head is solved on cached features (logistic regression, regularization chosen by grouped "
            "cross-validation in train)"
        )
    elif recipe.head == ATTENTIVE:
        from dancecli.model.training.probes.attentive import DECAYS, EPOCHS, RATES

        yield (
            f"attentive probes with {len(RATES)} learning rates x {len(DECAYS)} weight decays are trained "
            f"side by side on stored tokens ({EPOCHS} epochs); one is chosen by a grouped fifth of the "
            f"{clips} training clips, and trained again on all"
        )
    else:
        yield (
            f"the {recipe.head} probe is fitted to cached features, and calibrated by grouped "
            "cross-validation in train"
        )


def _recipe_notes(recipe: Recipe, data: SplitData, cached: bool) -> Iterator[str]:
    """Yield the notes of a recipe."""
    if recipe.head in PROBES:
        yield from _probe_notes(recipe, data)
        if recipe.views is None:
            yield "the frozen backbone runs once, on the evaluation view of each training clip"
            return
    elif recipe.update_batch != recipe.lr_batch:
        clips = f"{recipe.accumulate} x {recipe.batch}" if recipe.accumulate > 1 else f"{recipe.batch}"
        yield (
            f"learning rate {recipe.lr:g} is for batches of {recipe.lr_batch}: "
            f"scaled to {recipe.scaled_lr():g} for {clips}"
        )
    if recipe.chains:
        choices = " or ".join("+".join(chain) for chain in recipe.chains)
        yield f"each training view is the original clip or {choices}, equally likely"
        if data.num_copies:
            yield (
                f"{data.num_copies} of the training clips were augmented by dance augment already and are "
                "augmented again; dance annotate --no-augmented excludes them"
            )
    if recipe.ema:
        yield f"EMA weights (decay {recipe.ema:g}) are evaluated and saved"
    num_val = len(data.examples[Subset.VAL])
    if recipe.head == TRAINED and 0 < num_val < FEW_VALIDATION_CLIPS:
        yield (
            f"the epoch is chosen by {num_val} validation clips, each worth {100 / num_val:.1f} points: too "
            "few to tell epochs apart (a solved head, the default with --freeze 4, chooses nothing by them)"
        )
    if recipe.patience and not num_val:
        yield "no early stopping without a validation subset: all epochs are trained"
    if cached:
        views = "1 cached view" if recipe.views == 1 else f"{recipe.views} cached views"
        yield f"the frozen backbone runs once, on {views} of each training clip"


def _uncached_notes(base: ModelBase, recipe: Recipe) -> Iterator[str]:
    """Say why the frozen layers run in every epoch, and what that costs."""
    if obstacle := stages.why_not_cut(base.model, recipe.frozen_stages):
        yield (
            f"features cannot be cached: {obstacle}; the frozen layers run in each of the {recipe.epochs} "
            f"epochs, {recipe.epochs} times the computation of --freeze 4"
        )


def _use_cache(wanted: bool | None, base: ModelBase, recipe: Recipe) -> bool:
    if get_rank_info().size > 1:
        # Processes that torchrun or Slurm has started are to share the batches.
        if wanted:
            raise UsageError("--cache trains in one process", "omit --cache, or start one process")
        return False
    obstacle = stages.why_not_cut(base.model, recipe.frozen_stages)
    if wanted and obstacle:
        raise ModelError(f"features cannot be cached: {obstacle}", "use --no-cache")
    return not obstacle and (wanted or (wanted is None and recipe.frozen_stages >= _CACHE_FROM_STAGE))
