"""`finetune`: train a pre-trained model on a split by a recipe; the result is a run with predictions."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import WorkspaceError
from dancecli.core.hashing import sha256_text
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.recipe import KNN, PRETRAINED, PROBES, RANDOM, SOLVED, TRAINED, VJEPA2, Recipe
from dancecli.core.records import Prediction, Subset
from dancecli.core.statistics.calibration import best_temperature
from dancecli.model.dataloading.decoding.choice import decoder_of, with_decoder
from dancecli.model.dataloading.pipelines import forward_batch, frame_sampler
from dancecli.model.dataloading.split_data import clip_files, subset_groups, write_train_list
from dancecli.model.hardware.device import current_device
from dancecli.model.networks.base import build_model_config
from dancecli.model.networks.checkpoint import is_lost
from dancecli.model.networks.head import HeadStart, start_head, with_hook
from dancecli.model.networks.stages import LAST_STAGE
from dancecli.model.networks.weights import resolve_weights
from dancecli.model.runs.movement import write_movement_detector
from dancecli.model.runs.plan import FEW_VALIDATION_CLIPS, FinetuneSettings, Plan, make_plan
from dancecli.model.runs.record import begun_record
from dancecli.model.runs.resume import planned
from dancecli.model.training.config import DataPlan, build_config, render_config
from dancecli.model.training.distributed import get_rank_info
from dancecli.model.training.flops import speed_record
from dancecli.model.training.scoring import accuracy, views_record
from dancecli.storage import runs as rec
from dancecli.storage import tables
from dancecli.storage.files import atomic_file
from dancecli.storage.workspace import Workspace

_POLL_S = 0.2

__all__ = ["FinetuneSettings", "Plan", "finetune", "make_plan"]

if TYPE_CHECKING:
    from dancecli.model.dataloading.split_data import SplitData
    from dancecli.model.training.job import Job
    from dancecli.model.training.runner import Outcome


def finetune(
    workspace: Workspace,
    settings: FinetuneSettings,
    reporter: Reporter = SILENT,
) -> rec.RunResult:
    """Fine-tune a model on a split, evaluate it on val and test, and store everything in `runs/<run>`.

    An interrupted run with the same settings resumes after its last complete epoch.

    Args:
        workspace: holds the split, and receives the run.
        settings: what to train.
        reporter: receives the progress as `phase · words` in clips of the phase, and notes.

    Raises:
        WorkspaceError: there is no such split or run, or another process trains the run.
        InputError: the recipe or the annotation lists are invalid.
        ModelError: the weights do not fit or are unavailable, or training diverged.
        MissingDependencyError: MMAction2 or a package with weights is not installed.
    """
    plan = planned(workspace, settings)
    if plan.settings.resume and not settings.resume and not _is_done(workspace, plan):
        reporter.message(
            f"resuming run {plan.name}, started by the same command; use another --name for a new run"
        )
    return finetune_plan(workspace, plan, reporter)


def finetune_plan(workspace: Workspace, plan: Plan, reporter: Reporter = SILENT) -> rec.RunResult:
    """Train the run of a plan, unless it is complete already; see `finetune`."""
    if _is_done(workspace, plan):
        record = rec.read_record(workspace, plan.name)
        # A take-down deletes it, since it holds how the clips move.
        detector = rec.RunFolder(workspace.run(plan.name)).detector
        if _needs_detector(plan) and get_rank_info().first and not detector.exists():
            with workspace.lock(f"run-{plan.name}"):
                write_movement_detector(workspace, plan.data, detector, reporter)
        return rec.RunResult(plan.name, record, ("the run is already complete",), fresh=False)
    if not get_rank_info().first:
        run_worker_rank(workspace, plan)
        return rec.RunResult(plan.name, {}, (), fresh=True)
    for note in (f"run {plan.name}: {plan.entry.title}, split {plan.data.name}", *plan.notes):
        reporter.message(note)
    with workspace.lock(f"run-{plan.name}"):
        result = run_plan(workspace, plan, reporter)
        if _needs_detector(plan):
            detector = rec.RunFolder(workspace.run(plan.name)).detector
            write_movement_detector(workspace, plan.data, detector, reporter)
        return result


def _needs_detector(plan: Plan) -> bool:
    # Not of a trial of tuning, with which nobody predicts.
    return plan.base.reads_poses and not plan.settings.folds


def _is_done(workspace: Workspace, plan: Plan) -> bool:
    if not plan.settings.resume:
        return False
    record = rec.read_record(workspace, plan.name)
    # A take-down deletes it, since it holds the clips; it is as quick to make again as it was to make.
    lost = plan.recipe.head == KNN and is_lost(workspace, plan.name, record)
    return bool(record["status"] == rec.DONE and not lost)


def run_plan(workspace: Workspace, plan: Plan, reporter: Reporter) -> rec.RunResult:
    """Run a plan whose lock is held; see `finetune`."""
    reporter.progress(0, 1, "loading the model · a few seconds")
    job, head = _begin(workspace, plan, reporter)
    before = rec.read_record(workspace, plan.name) if plan.settings.resume else {}
    if before:
        _check_weights(plan, job, before)
    folder = job.folder
    with atomic_file(folder.config) as file:
        file.write(render_config(job.config, _config_header(plan)))
    record = begun_record(plan, job) | {"head": head}
    if before:
        record["resumed_utc"] = [*before.get("resumed_utc", []), record["created_utc"]]
        record["created_utc"] = before["created_utc"]
        record["head"] = before.get("head", head)
    rec.write_record(folder, record)
    # Every dataset of mmengine collects garbage: a quarter of a second among all that was imported.
    gc.freeze()
    try:
        outcome, extra = _train(workspace, plan, job, reporter)
        record = _finish(job, plan, record | extra, outcome)
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt)
        record |= {"status": rec.INTERRUPTED if stopped else rec.FAILED, "finished_utc": rec.now_utc()}
        record["error"] = "" if stopped else str(error)
        # On a full disk, the first error is the one to report.
        with suppress(OSError):
            rec.write_record(folder, record)
        raise
    return rec.RunResult(plan.name, record, plan.notes, fresh=True)


def _config_header(plan: Plan) -> tuple[str, ...]:
    """Say in the run's configuration what MMAction2 does with it, and what of it this run used."""
    test = "  python <mmaction>/.mim/tools/test.py config.py checkpoints/last.pth"
    first = f"Run {plan.name}: {plan.entry.title}, split {plan.data.name}."
    if plan.recipe.head in PROBES:
        return (
            first,
            f"Its {plan.recipe.head} head was fitted to features of the frozen backbone: what is said of the",
            "optimizer and of epochs below was not used. MMAction2 evaluates it where dancecli is installed:",
            test,
        )
    return (
        first,
        "MMAction2's own tools accept this file where dancecli is installed:",
        "  python <mmaction>/.mim/tools/train.py config.py --work-dir DIR",
        test,
    )


def _train(workspace: Workspace, plan: Plan, job: Job, reporter: Reporter) -> tuple[Outcome, dict[str, Any]]:
    """Train what a plan asks for; return the outcome, and what else is recorded of it."""
    from dancecli.model.runs.folds import solve_folds, train_folds
    from dancecli.model.training.runner import run_job
    from dancecli.model.training.solved_head import solve_job

    if plan.recipe.head in PROBES:
        groups = subset_groups(workspace, plan.data)
        if plan.settings.folds:
            outcome, head, folds = solve_folds(job, groups, reporter)
            return outcome, {"head": head, "cross_validation": folds}
        outcome, head = solve_job(job, groups, reporter)
        return outcome, {"head": head}
    if plan.settings.folds:

        def job_of(data: SplitData, folder: rec.RunFolder) -> Job:
            own = replace(plan, data=data)
            own_job = replace(make_job(workspace, own), folder=folder, resume=True)
            return _with_head_start(workspace, own, own_job, reporter)[0]

        outcome, folds = train_folds(job, job_of, reporter)
        return outcome, {"cross_validation": folds}
    return run_job(job, reporter), {}


def _check_weights(plan: Plan, job: Job, before: Mapping[str, Any]) -> None:
    """Refuse to continue a run on other initial weights than it was started with."""
    was = (before.get("weights") or {}).get("sha256")
    now = job.start.sha256 if job.start else None
    if was != now:
        raise WorkspaceError(
            f"the initial weights have changed since run {plan.name!r} was started "
            f"(SHA-256 {str(was)[:12]}, now {str(now)[:12]})",
            "restore the weights file, or start a new run without --resume under another --name",
        )


def run_worker_rank(workspace: Workspace, plan: Plan) -> None:
    """Train in this process its share of a run that the first process writes."""
    from dancecli.model.training.runner import run_worker_rank

    run_worker_rank(_begin(workspace, plan, SILENT)[0])


def _begin(workspace: Workspace, plan: Plan, reporter: Reporter) -> tuple[Job, dict[str, Any]]:
    """Build the job, and return how its head is initialized."""
    job = make_job(workspace, plan, reporter)
    job.folder.checkpoints.mkdir(parents=True, exist_ok=True)
    if job.decoder.words:
        reporter.message(job.decoder.words)
    if job.start and job.start.matched < job.start.total:
        reporter.message(
            f"{job.start.matched} of {job.start.total} backbone weights are in {job.start.name}; "
            "the others are initialized randomly"
        )
    if plan.settings.folds:
        # Each fold's head has a start of its own, without its test clips.
        return job, {"init": plan.recipe.head_init or SOLVED}
    return _with_head_start(workspace, plan, job, reporter)


def _with_head_start(
    workspace: Workspace, plan: Plan, job: Job, reporter: Reporter
) -> tuple[Job, dict[str, Any]]:
    """Let the head of a run that is trained by epochs start as its recipe says; return the record too."""
    init = plan.recipe.head_init
    if plan.recipe.head != TRAINED or init not in (SOLVED, PRETRAINED) or not job.start:
        return job, {"init": RANDOM}
    if init == PRETRAINED:
        found = start_head(plan.entry, job.start, plan.data.labels, job.folder.root / "head-rows.pth")
    else:
        found = _solved_start(workspace, plan, job, reporter)
    if found.note:
        reporter.message(found.note)
    return replace(job, config=with_hook(job.config, found)), found.record


def _solved_start(workspace: Workspace, plan: Plan, job: Job, reporter: Reporter) -> HeadStart:
    """Solve the head on features of the training clips, as a run of a wholly frozen network does."""
    from dancecli.model.training.solved_head import save_start

    file = job.folder.root / f"head-start-{_start_digest(plan, job)}.pth"
    hook = {"type": "ClassifierWeightsHook", "file": str(file), "classes": list(range(len(plan.data.labels)))}
    if job.resume and file.exists():
        return HeadStart(hook, {}, "")
    if not job.rank_info.first:
        # The process group would not wait for as long as the features may take.
        while not file.exists():
            time.sleep(_POLL_S)
        return HeadStart(hook, {}, "")
    whole = replace(
        plan,
        recipe=replace(plan.recipe, freeze=str(LAST_STAGE), head=SOLVED, views=None),
        data=plan.data.only_train(),
        cached=True,
    )
    solving = replace(make_job(workspace, whole, reporter), folder=job.folder)
    record = save_start(solving, subset_groups(workspace, plan.data), file, reporter)
    held_out = record["held_out"]
    right = f"; in cross-validation {held_out['top1']} of {held_out['n']} training clips correct"
    note = f"the head starts from the solution (C = {record['C']:.3g}{right if held_out['n'] else ''})"
    return HeadStart(hook, record, note)


def _start_digest(plan: Plan, job: Job) -> str:
    """Name a solved start by what it depends on: a stopped run of the same name may have left another."""
    assert job.start  # noqa: S101 - for the type checker: only weights give features
    parts = {
        "model": job.config["model"],
        "weights": job.start.sha256,
        "split": plan.data.meta["split.hash"],
        "train": [asdict(example) for example in plan.data.examples[Subset.TRAIN]],
        "recipe": asdict(plan.recipe),
        "seed": job.seed,
    }
    return sha256_text(json.dumps(parts, sort_keys=True, default=list))[:12]


def make_job(workspace: Workspace, plan: Plan, reporter: Reporter = SILENT) -> Job:
    """Find and check the weights, and build the config of the run."""
    from dancecli.model.networks.build import shapes_of
    from dancecli.model.training.job import Job

    settings, recipe, data = plan.settings, plan.recipe, plan.data
    shapes = shapes_of(build_model_config(plan.base, recipe, len(data.labels), None))
    start = resolve_weights(plan.entry, settings.weights, shapes, reporter)
    write_train_list(workspace, data)
    data_plan = DataPlan(
        workspace.root,
        data.name,
        len(data.labels),
        bool(data.examples[Subset.VAL]),
        data.train_counts,
        data.lists,
    )
    device, count = current_device(), settings.execution.processes
    deterministic = not device.gpu
    config = build_config(
        plan.base, recipe, data_plan, start, settings.seed, deterministic, device, 1 if plan.cached else count
    )
    if recipe.head in PROBES:
        config = _with_probe(config, recipe, len(data.examples[Subset.TRAIN]))
    decoder = decoder_of(
        settings.execution.decoder, device.gpu, config, lambda: clip_files(workspace, data), reporter
    )
    meta = {
        "run": plan.name,
        "labels": list(data.labels),
        "pretrain": plan.entry.name,
        "split_hash": data.meta["split.hash"],
        "weights_sha256": start.sha256 if start else None,
        # These make a checkpoint usable without the run's folder.
        "model": config["model"],
        "test_pipeline": config["test_dataloader"]["dataset"]["pipeline"],
        "view_protocol": views_record(recipe, frame_sampler(plan.base, recipe), plan.cached)["test"],
        "clip_s": data.clip_s,
        "amp": recipe.amp,
    }
    return Job(
        workspace=workspace,
        folder=rec.RunFolder(workspace.run(plan.name)),
        config=with_decoder(config, decoder),
        data=data,
        recipe=recipe,
        start=start,
        seed=settings.seed,
        cached=plan.cached,
        cache_dtype=settings.cache_dtype,
        forward_batch=forward_batch(plan.base, recipe, device=device),
        meta=meta,
        resume=settings.resume,
        device=device,
        preflight=settings.execution.preflight,
        engine=settings.execution.engine,
        compiled=settings.execution.compiled,
        decoder=decoder,
        extractors=count if plan.cached else 1,
        rank_info=get_rank_info(),
    )


def _calibration(plan: Plan, predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Find the temperature of a network that was trained by epochs, if val is large enough.

    A fitted head has its own. `dance predict` applies it; the stored predictions are as the network gives
    them, like those of any later evaluation.
    """
    val = [row for row in predictions if row.subset == Subset.VAL]
    if plan.recipe.head != TRAINED or len(val) < FEW_VALIDATION_CLIPS:
        return {}
    temperature = best_temperature([row.scores for row in val], [row.label_index for row in val])
    return {"calibration": {"temperature": round(temperature, 4), "of": "val", "clips": len(val)}}


def _with_probe(config: dict[str, Any], recipe: Recipe, clips: int) -> dict[str, Any]:
    """Give the config of a run its probe, and the views that it is fitted to."""
    from dancecli.model.networks.heads.configs import with_probe
    from dancecli.model.training.probes.attentive import BLOCKS, VJEPA2_BLOCKS
    from dancecli.model.training.solved_head import use_evaluation_views

    if recipe.views is None:
        config = use_evaluation_views(config)
    if recipe.head == SOLVED:
        return config
    blocks = VJEPA2_BLOCKS if recipe.protocol == VJEPA2 else BLOCKS
    entries = clips * (recipe.views or recipe.num_clips * recipe.num_crops)
    return {**config, "model": with_probe(config["model"], recipe.head, entries=entries, blocks=blocks)}


def _finish(job: Job, plan: Plan, record: Mapping[str, Any], outcome: Outcome) -> dict[str, Any]:
    """Write the predictions, complete the record, and remove the files that only --resume needs."""
    protocol = record["views"]["test"]
    meta = {
        "run.name": plan.name,
        "split.hash": plan.data.meta["split.hash"],
        "test.hash": plan.data.test_hash,
        "view.protocol": protocol,
        "weights.sha256": job.start.sha256 if job.start else "",
        "labels": json.dumps(list(plan.data.labels), ensure_ascii=False),
    }
    tables.write(job.folder.predictions, Prediction, outcome.predictions, meta)
    results = {
        subset.value: accuracy([p for p in outcome.predictions if p.subset == subset])
        for subset in (Subset.VAL, Subset.TEST)
    }
    model = {
        **record["model"],
        "params_total": outcome.params_total,
        "params_trainable": outcome.params_trainable,
    }
    done = {
        **record,
        **_calibration(plan, outcome.predictions),
        "status": rec.DONE,
        "finished_utc": rec.now_utc(),
        "model": model,
        "seconds": outcome.seconds,
        "data_wait": outcome.data_wait,
        "speed": speed_record(outcome.seconds, outcome.computed, len(outcome.predictions), plan.cached),
        "preflight": outcome.preflight,
        **({"features": {"computed_by": outcome.engines}} if outcome.engines else {}),
        "results": results,
        "checkpoint": {
            "name": outcome.chosen or None,
            "epoch": outcome.chosen_epoch,
            "epochs_run": outcome.epochs_run,
            "averaged": bool(plan.recipe.ema),
        },
    }
    rec.write_record(job.folder, done)
    job.folder.resume_file.unlink(missing_ok=True)
    job.folder.best_so_far.unlink(missing_ok=True)
    return done
