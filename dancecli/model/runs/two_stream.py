"""`train`: two-stream Inception I3D on frames and optical flow, with late fusion.

Each stream is a run like that of `finetune`. `both` creates NAME-rgb, NAME-flow, and NAME from the
mean of their scores (Carreira & Zisserman 2017).
"""

from __future__ import annotations

from dataclasses import replace

from dancecli.core.errors import ModelError
from dancecli.core.flow_format import method_mismatch
from dancecli.core.progress import SILENT, Reporter, no_message
from dancecli.model.evaluation.ensemble import EnsembleSettings, ensemble
from dancecli.model.networks.base import build_model_config
from dancecli.model.networks.weights import NO_WEIGHTS, resolve_weights
from dancecli.model.networks.zoo import fetch_checkpoint, weights_folder
from dancecli.model.runs.finetune import finetune_plan
from dancecli.model.runs.plan import Plan
from dancecli.model.runs.two_stream_plan import (
    BOTH,
    DEFAULT_RECIPE,
    FLOW,
    IMAGENET_URL,
    IMAGENET_WEIGHTS,
    RGB,
    TrainSettings,
    plan_streams,
)
from dancecli.model.training.distributed import get_rank_info
from dancecli.storage.runs import RunResult
from dancecli.storage.workspace import Workspace


def train(
    workspace: Workspace,
    settings: TrainSettings,
    reporter: Reporter = SILENT,
) -> RunResult:
    """Train one stream or both, evaluate them, and fuse the scores of two.

    Missing flow, weights that do not fit and a name that exists are errors before training
    starts, for both streams.

    Args:
        workspace: holds the split, and receives the runs.
        settings: what to train.
        reporter: receives the progress as `phase · words` in clips of the phase, and notes.

    Raises:
        UsageError: a setting is invalid, or a weights file fits no stream.
        WorkspaceError, InputError, ModelError, MissingDependencyError: see `finetune`.
    """
    plans = plan_streams(workspace, settings)
    for stream, plan in plans.items():
        if not plan.settings.resume:
            reporter.message(_start(stream, plan, reporter))
    results = {
        stream: finetune_plan(workspace, plan, _of_stream(stream, reporter)) for stream, plan in plans.items()
    }
    records = {stream: result.record for stream, result in results.items()}
    names = tuple(plan.name for plan in plans.values())
    notes = [note for result in results.values() for note in result.notes]
    fresh = any(result.fresh for result in results.values())
    if len(plans) == 1 or not get_rank_info().first:
        return RunResult(names[0], next(iter(records.values())), tuple(notes), fresh, records)
    fused = ensemble(workspace, EnsembleSettings(names, names[0].removesuffix(f"-{RGB}")))
    # Both streams have the notes of the split.
    all_notes = tuple(dict.fromkeys([*notes, *fused.notes]))
    members = {**records, BOTH: fused.record}
    return RunResult(fused.name, fused.record, all_notes, fresh or fused.fresh, members)


def _start(stream: str, plan: Plan, reporter: Reporter) -> str:
    """Check that the weights of a stream are available and fit, and describe them."""
    reporter.progress(0, 1, f"{stream} weights · a few seconds")
    from dancecli.model.networks.build import shapes_of

    # The caller prints one line on the start; what is found on the way to it is part of that line.
    silent = replace(reporter, on_message=no_message)
    wanted = plan.settings.weights
    if wanted == NO_WEIGHTS:
        paper = plan.settings.recipe == DEFAULT_RECIPE
        other = "; the paper's start is inflated ImageNet weights: --init imagenet" if paper else ""
        return f"{stream} starts from random weights{other}"
    if wanted == str(weights_folder() / IMAGENET_WEIGHTS.checkpoint):
        fetch_imagenet(silent)
    shapes = shapes_of(build_model_config(plan.base, plan.recipe, len(plan.data.labels), None))
    start = resolve_weights(plan.entry, wanted, shapes, silent)
    assert start is not None  # noqa: S101 - for the type checker: `none` has returned
    text = f"{stream} starts from {start.name}"
    if stream == FLOW and start.flow_method:
        mismatch = method_mismatch(plan.settings.flow_method, start.flow_method)
        return f"{text}; {mismatch}" if mismatch else text
    if stream == FLOW and wanted is None:
        return f"{text}; to use weights trained on flow: --weights FILE"
    return text


def fetch_imagenet(reporter: Reporter = SILENT) -> None:
    """Download the ImageNet weights that both streams are inflated from, unless they are there.

    Raises:
        ModelError: they could not be downloaded, or the file is another.
    """
    try:
        fetch_checkpoint(IMAGENET_WEIGHTS, reporter=reporter, url=IMAGENET_URL)
    except ModelError as error:
        raise ModelError(error.message, error.hint.replace("--weights none", "--init none")) from None


def _of_stream(stream: str, reporter: Reporter) -> Reporter:
    """Name the stream in each report of progress."""
    return replace(
        reporter, on_progress=lambda now: reporter.on_progress(replace(now, text=f"{stream} {now.text}"))
    )
