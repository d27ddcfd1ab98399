"""The plan of `train`: the streams, their initial weights, and which of them resume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

from dancecli.core.errors import ModelError, UsageError, WorkspaceError
from dancecli.core.flow_format import FlowMethod
from dancecli.model.evaluation.scored_runs import raise_if_exists
from dancecli.model.networks.inflation import FIRST_UNIT, FLOW_CHANNELS, NAMINGS, RGB_CHANNELS, find_naming
from dancecli.model.networks.weights import NO_WEIGHTS, read_whole, state_of
from dancecli.model.networks.zoo import DEFAULT_PRETRAIN, ZooEntry, weights_folder
from dancecli.model.runs.plan import DEFAULT_FLOW, Execution, FinetuneSettings, Plan, make_plan
from dancecli.model.runs.resume import (
    as_json,
    plan_of_stopped_run,
    record_of,
    reject_other_settings,
    same_split,
)
from dancecli.model.training.distributed import get_rank_info
from dancecli.storage import runs as rec
from dancecli.storage.workspace import Workspace

RGB, FLOW, BOTH = "rgb", "flow", "both"
STREAMS = {RGB: (RGB,), FLOW: (FLOW,), BOTH: (RGB, FLOW)}
NONE, IMAGENET, KINETICS = "none", "imagenet", "kinetics"
INITS = (NONE, IMAGENET, KINETICS)
DEFAULT_RECIPE = "paper-two-stream"
_ENTRIES = {RGB: "inception", FLOW: "inception-flow"}
_CHANNELS = {RGB: RGB_CHANNELS, FLOW: FLOW_CHANNELS}
# Dimensions of the convolution kernels in the weights file of each start.
_DIMENSIONS = {IMAGENET: 2, KINETICS: 3}

# Torchvision names a file after the first digits of its SHA-256.
IMAGENET_WEIGHTS = ZooEntry(
    name="imagenet",
    title="Inception-v1, ImageNet (torchvision)",
    checkpoint="googlenet-1378be20.pth",
    sha256_prefix="1378be20",
)
IMAGENET_URL = f"https://download.pytorch.org/models/{IMAGENET_WEIGHTS.checkpoint}"


@dataclass(frozen=True)
class TrainSettings:
    """Which streams to train, and from which weights; None takes the recipe's value.

    Attributes:
        stream: `rgb`, `flow` or `both`.
        init: initial weights of the backbones: `none`, `imagenet` (2-D, inflated) or `kinetics`.
        weights: files to use instead of the downloads of `init`; each initializes the stream with
            its number of channels, an RGB file both.
        split: name of the split; None for the latest.
        recipe: name of a recipe, or the path of a TOML file.
        name: name of the run; None gives `two-stream-<split>-<n>`, or the model's name for one stream.
        changes: other recipe keys, each as `key=value`.
        flow_method: how the flow was computed.
        processes: that share each batch; see `Execution`.
        resume: resume the run `name` (None: the latest); all other settings are that run's.
    """

    stream: str = BOTH
    init: str = NONE
    weights: tuple[str, ...] = ()
    split: str | None = None
    recipe: str = DEFAULT_RECIPE
    name: str | None = None
    seed: int = 0
    epochs: int | None = None
    lr: float | None = None
    batch: int | None = None
    changes: tuple[str, ...] = ()
    flow_method: str = DEFAULT_FLOW
    processes: int = 1
    resume: bool = False


def plan_streams(workspace: Workspace, settings: TrainSettings) -> dict[str, Plan]:
    """Resolve the settings into one plan per stream, without reading the weights; see `train`.

    With `resume`, an interrupted stream gets a plan that resumes it, a missing one a new plan.
    """
    settings = _begun_before(workspace, settings)
    if settings.resume:
        settings, single = _stopped(workspace, settings)
        if single:
            return {settings.stream: _stopped_stream(workspace, settings, single)}
    for what, value, choices in (
        ("stream", settings.stream, tuple(STREAMS)),
        ("init", settings.init, INITS),
        ("flow method", settings.flow_method, tuple(method.value for method in FlowMethod)),
    ):
        if value not in choices:
            raise UsageError(f"{what} {value!r} is not one of {', '.join(choices)}")
    weights = _weights(settings)
    split = settings.split or next(reversed(workspace.splits()), None)
    if settings.stream != BOTH:
        (stream,) = STREAMS[settings.stream]
        plan = make_plan(workspace, _stream_settings(settings, stream, weights, split))
        return {stream: replace(plan, settings=replace(plan.settings, name=plan.name))}
    base = settings.name or _free_name(workspace, split)
    if not settings.resume:
        raise_if_exists(workspace, base)
    whole = {**asdict(settings), "name": base, "split": split, "resume": False}
    plans = {}
    for stream in STREAMS[BOTH]:
        name = f"{base}-{stream}"
        if settings.resume and rec.RunFolder(workspace.run(name)).record.exists():
            stopped = FinetuneSettings(
                resume=True, name=name, execution=Execution(processes=settings.processes)
            )
            plans[stream], _ = plan_of_stopped_run(workspace, stopped)
        else:
            wanted = _stream_settings(settings, stream, weights, split)
            plans[stream] = make_plan(workspace, replace(wanted, name=name, two_stream=whole))
    return plans


def _begun_before(workspace: Workspace, settings: TrainSettings) -> TrainSettings:
    """Find the latest interrupted streams with the same settings; see `finetune`."""
    split = settings.split or next(reversed(workspace.splits()), None)
    wanted = as_json({**asdict(settings), "split": split})
    # Each of several processes would have to find the same run.
    given = settings.resume or get_rank_info().size > 1
    for run in () if given else reversed(workspace.runs()):
        record = record_of(workspace, run)
        whole = (record.get("settings") or {}).get("two_stream")
        if not whole or settings.name not in (None, whole["name"]):
            continue
        fused = rec.RunFolder(workspace.run(whole["name"])).record.exists()
        own = {"name": settings.name, "processes": settings.processes}
        same = {**whole, **own} == wanted and same_split(workspace, record)
        if same and (settings.name or not fused):
            return replace(settings, resume=True, name=whole["name"])
    return settings


def _stopped_stream(workspace: Workspace, settings: TrainSettings, name: str) -> Plan:
    """Plan the rest of a single interrupted stream."""
    weights = {settings.stream: next(iter(settings.weights), None)}
    given = _stream_settings(settings, settings.stream, weights, settings.split)
    given = replace(given, resume=True, name=name, pretrain=DEFAULT_PRETRAIN)
    if given.recipe == DEFAULT_RECIPE:
        # A default counts as not given, and `finetune` has another default.
        given = replace(given, recipe=FinetuneSettings.recipe)
    return plan_of_stopped_run(workspace, given)[0]


def _stream_settings(
    settings: TrainSettings, stream: str, weights: Mapping[str, str | None], split: str | None
) -> FinetuneSettings:
    return FinetuneSettings(
        pretrain=_ENTRIES[stream],
        split=split,
        recipe=settings.recipe,
        name=settings.name,
        weights=weights[stream],
        seed=settings.seed,
        epochs=settings.epochs,
        lr=settings.lr,
        batch=settings.batch,
        changes=settings.changes,
        flow_method=settings.flow_method,
        execution=Execution(processes=settings.processes),
    )


def _free_name(workspace: Workspace, split: str | None) -> str:
    """Return `two-stream-<split>-<n>` with the first number free for both streams and their fusion."""
    n = 1
    while any(workspace.run(f"two-stream-{split}-{n}{end}").exists() for end in ("", f"-{RGB}", f"-{FLOW}")):
        n += 1
    return f"two-stream-{split}-{n}"


def _stopped(workspace: Workspace, settings: TrainSettings) -> tuple[TrainSettings, str]:
    """Find what to resume: the settings of two streams, or the name of a single one."""
    name = settings.name or next(reversed(workspace.runs()), "")
    if not name:
        raise WorkspaceError(f"{workspace.root}: there is no run to resume", "start one without --resume")
    for candidate in (f"{name}-{RGB}", name):
        if rec.RunFolder(workspace.run(candidate)).record.exists():
            before = rec.read_record(workspace, candidate).get("settings") or {}
            if before.get("two_stream"):
                known = {field.name for field in fields(TrainSettings)}
                saved = {key: value for key, value in before["two_stream"].items() if key in known}
                lists = {key: tuple(saved[key]) for key in ("weights", "changes")}
                now = {"resume": True, "processes": settings.processes}
                begun = TrainSettings(**{**saved, **lists, **now})
                reject_other_settings(begun.name or name, settings, begun)
                return begun, ""
    before = rec.read_record(workspace, name).get("settings") or {}
    for stream, entry in _ENTRIES.items():
        if before.get("pretrain") == entry:
            scratch = before.get("weights") == NO_WEIGHTS
            if scratch and settings.init != NONE:
                raise UsageError(
                    f"run {name!r} cannot resume with another --init than it was started with",
                    "omit --init (also in dance.toml), or start a new run without --resume",
                )
            return replace(settings, stream=stream), name
    raise WorkspaceError(
        f"run {name!r} is not a run of dance train", f"try: dance finetune --resume --name {name}"
    )


def _weights(settings: TrainSettings) -> dict[str, str | None]:
    """Choose the weights of each stream as `finetune` takes them: a file, `none`, or None for the zoo's."""
    streams = STREAMS[settings.stream]
    if settings.init == NONE:
        if settings.weights:
            raise UsageError(
                "--weights does not apply to training from scratch", "add --init imagenet or kinetics"
            )
        return dict.fromkeys(streams, NO_WEIGHTS)
    channels = {path: _channels(path, settings.init) for path in settings.weights}
    default = str(weights_folder() / IMAGENET_WEIGHTS.checkpoint) if settings.init == IMAGENET else None
    chosen: dict[str, str | None] = {}
    for stream in streams:
        own = [path for path, n in channels.items() if n == _CHANNELS[stream]]
        fitting = own or [path for path, n in channels.items() if n == RGB_CHANNELS]
        if len(fitting) > 1:
            raise UsageError(f"{' and '.join(fitting)} both fit the {stream} stream", "give one of them")
        chosen[stream] = fitting[0] if fitting else default
    for path in settings.weights:
        if path not in chosen.values():
            raise UsageError(
                f"{path}: has {channels[path]} input channels, which fits no stream of this run",
                "omit it, or choose another --stream",
            )
    return chosen


def _channels(path: str, init: str) -> int:
    """Return the input channels of a weights file, and check that it fits `init`."""
    found = state_of(read_whole(path))
    named = find_naming(found)
    if named is None:
        known = ", ".join(naming.title for naming in NAMINGS)
        raise ModelError(
            f"{path}: does not hold an Inception-v1 network", f"supported parameter names: {known}"
        )
    naming, prefix = named
    kernel = found[prefix + naming.key(FIRST_UNIT, "conv.weight")]
    if kernel.ndim - 2 != _DIMENSIONS[init]:
        raise ModelError(
            f"{path}: holds a {kernel.ndim - 2}-D network, --init {init} needs a {_DIMENSIONS[init]}-D one",
            f"use --init {KINETICS if init == IMAGENET else IMAGENET}",
        )
    return kernel.shape[-2 if naming.tensorflow else 1]
