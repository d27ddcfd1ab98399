"""`train`: Inception-v1 I3D on frames, on optical flow, and the two fused (Carreira & Zisserman 2017).

A stream is a run like that of `finetune`, by the same machinery. `both` makes NAME-rgb and
NAME-flow, and NAME of the mean of their scores.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from dancecli.core.errors import ModelError
from dancecli.core.flow_format import method_mismatch
from dancecli.core.progress import OnMessage, OnProgress, Progress, Reporter, no_message, no_progress
from dancecli.model.evaluation.ensemble import EnsembleSettings, ensemble
from dancecli.model.networks.base import build_model_config
from dancecli.model.networks.weights import NO_WEIGHTS, resolve_weights
from dancecli.model.networks.zoo import fetch_checkpoint, weights_folder
from dancecli.model.runs.finetune import finetune
from dancecli.model.runs.plan import Plan
from dancecli.model.runs.two_stream_plan import (
    BOTH,
    FLOW,
    IMAGENET_URL,
    IMAGENET_WEIGHTS,
    RGB,
    TrainSettings,
    plan_streams,
)
from dancecli.storage.workspace import Workspace


@dataclass(frozen=True)
class TrainResult:
    """Streams that are done.

    Attributes:
        name: of the run: of the fused one, if there are two streams.
        records: each run's `run.json`, by `rgb`, `flow` and `both`.
        notes: what the user should know, a line each.
        fresh: False if all was done already and nothing ran.
    """

    name: str
    records: dict[str, dict[str, Any]]
    notes: tuple[str, ...]
    fresh: bool


def train(
    workspace: Workspace,
    settings: TrainSettings,
    on_progress: OnProgress = no_progress,
    say: OnMessage = no_message,
) -> TrainResult:
    """Train one stream or both, evaluate them, and fuse the scores of two.

    What can be refused is refused before the first hour: flow that is missing, weights that do
    not fit, a name that is taken, for both streams.

    Args:
        workspace: where the split is and the runs go.
        settings: what to train.
        on_progress: gets `phase · words`, in clips of the phase.
        say: gets what the user should know before the hours begin, a line each.

    Raises:
        UsageError: a setting is none of the choices, or a file starts no stream.
        WorkspaceError, InputError, ModelError, MissingDependencyError: see `finetune`.
    """
    plans = plan_streams(workspace, settings)
    for stream, plan in plans.items():
        if not plan.settings.resume:
            say(_start(stream, plan, on_progress))
    results = {
        stream: finetune(workspace, plan.settings, _about(stream, on_progress), say)
        for stream, plan in plans.items()
    }
    records = {stream: result.record for stream, result in results.items()}
    names = tuple(plan.name for plan in plans.values())
    notes = [note for result in results.values() for note in result.notes]
    fresh = any(result.fresh for result in results.values())
    if len(plans) == 1:
        return TrainResult(names[0], records, tuple(notes), fresh)
    fused = ensemble(workspace, EnsembleSettings(names, names[0].removesuffix(f"-{RGB}")))
    records[BOTH] = fused.record
    # What is to be known of the split is said by either stream.
    return TrainResult(
        fused.name, records, tuple(dict.fromkeys([*notes, *fused.notes])), fresh or fused.fresh
    )


def _start(stream: str, plan: Plan, on_progress: OnProgress) -> str:
    """Prove that a stream's weights can be had and fit, and say what they are."""
    on_progress(Progress(0, 1, f"{stream} weights · a few seconds"))
    from dancecli.model.networks.build import shapes_of

    wanted = plan.settings.weights
    if wanted == NO_WEIGHTS:
        return f"{stream} starts from random weights"
    if wanted == str(weights_folder() / IMAGENET_WEIGHTS.checkpoint):
        _fetch_imagenet(on_progress)
    shapes = shapes_of(build_model_config(plan.base, plan.recipe, len(plan.data.labels), None))
    start = resolve_weights(plan.entry, wanted, shapes, Reporter(on_progress))
    assert start is not None  # noqa: S101 - for the type checker: `none` has returned
    text = f"{stream} starts from {start.name}"
    if stream == FLOW and start.flow_method:
        mismatch = method_mismatch(plan.settings.flow_method, start.flow_method)
        return f"{text}; {mismatch}" if mismatch else text
    if stream == FLOW and wanted is None:
        return f"{text}; weights that were trained on flow can be given: --weights FILE"
    return text


def _fetch_imagenet(on_progress: OnProgress) -> None:
    try:
        fetch_checkpoint(IMAGENET_WEIGHTS, reporter=Reporter(on_progress), url=IMAGENET_URL)
    except ModelError as error:
        raise ModelError(error.message, error.hint.replace("--weights none", "--init none")) from None


def _about(stream: str, on_progress: OnProgress) -> OnProgress:
    """Say of which stream a report is."""
    return lambda now: on_progress(replace(now, text=f"{stream} {now.text}"))
