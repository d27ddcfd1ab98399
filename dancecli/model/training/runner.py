"""One run of mmengine's Runner: from clips or cached features to predictions and checkpoints."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import dancecli.model.dataloading.datasets
import dancecli.model.networks.inception
import dancecli.model.training.components  # noqa: F401 - these register what configs name
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import Prediction, Subset
from dancecli.model.dataloading.shared_memory import check_shared_memory, loader_errors
from dancecli.model.hardware.device import use_fast_math
from dancecli.model.networks.mmaction import init_default_scope, read_checkpoint
from dancecli.model.training.distributed import (
    init_process_group,
    per_rank_batch_size,
    process_group,
    unwrapped,
    wrapper,
)
from dancecli.model.training.features.frozen import head_network_config
from dancecli.model.training.features.loaders import CachedFeatures, cached_features, views_to_compute
from dancecli.model.training.job import Job
from dancecli.model.training.preflight import run_preflight
from dancecli.model.training.probes.unknown import write_detector
from dancecli.model.training.run_hook import QuietRunner, RunHook, average_of
from dancecli.model.training.scoring import predict_subset
from dancecli.storage.runs import RunFolder


@dataclass(frozen=True)
class Outcome:
    """The result of a run.

    Attributes:
        predictions: on val, if there is one, and test.
        chosen: `best` or `last`, the checkpoint that was evaluated.
        chosen_epoch: its epoch, counted from 1.
        epochs_run: fewer than requested after early stopping.
        seconds: of `preflight`, `features`, `train` and `evaluate`.
        data_wait: seconds of all training steps, and of those spent waiting for clips.
        preflight: what the pre-flight has found; None without one.
        computed: views whose features were computed after the pre-flight; others were cached already.
        engines: by what these were computed; see `CachedFeatures`.
    """

    predictions: list[Prediction]
    chosen: str
    chosen_epoch: int
    epochs_run: int
    seconds: dict[str, float]
    params_total: int
    params_trainable: int
    data_wait: dict[str, float]
    preflight: dict[str, Any] | None = None
    computed: int = 0
    engines: dict[str, int] = field(default_factory=dict)


def run_job(job: Job, reporter: Reporter) -> Outcome:
    """Train, choose the checkpoint, evaluate it, write the checkpoints.

    Args:
        job: the run.
        reporter: gets `phase · words`, in clips of the phase.

    Raises:
        ModelError: the pre-flight check fails, or the loss or the features are not finite.
        WorkspaceError: the disk has no room for the features.
    """
    use_fast_math(job.device)
    check_shared_memory([job.config[f"{name}_dataloader"] for name in ("train", "val")])
    with silence(job.folder), loader_errors():
        init_default_scope("mmaction")
        clock = _Clock()
        first = None
        if job.preflight and not (job.resume and job.folder.resume_file.exists()):
            reporter.progress(0, 1, "pre-flight · overfitting one batch")
            first = run_preflight(job, views_to_compute(job, reporter) if job.cached else None, reporter)
            reporter.message(str(first))
            if first.workers:
                job = with_workers(job, first.workers)
        clock.lap("preflight")
        features = CachedFeatures({}, 0, {})
        if job.cached:
            features = cached_features(job, first.frozen if first else None, reporter)
        loaders = features.loaders
        clock.lap("features")
        runner, hook = _build_runner(job, loaders, reporter, first.model if first else None)
        with process_group(job.rank_info), _ending_workers(runner):
            runner.train()
        clock.lap("train")
        clock.seconds["train"] = round(clock.seconds["train"] + hook.before_s, 2)
        model = unwrapped(runner.model)
        if average := average_of(runner):
            average.swap(model)
        folder, chosen, epoch = job.folder, "last", runner.epoch
        job.save(folder.checkpoints / "last.pth", model)
        if hook.best:
            model.load_state_dict(read_checkpoint(folder.best_so_far)["state_dict"], strict=False)
            chosen, epoch = "best", hook.best["epoch"]
            job.save(folder.checkpoints / "best.pth", model)
        predictions: list[Prediction] = []
        for part in (Subset.VAL, Subset.TEST):
            if examples := job.data.examples[part]:
                loader = loaders.get(part) or runner.build_dataloader(job.config[f"{part}_dataloader"])
                predictions += predict_subset(model, loader, part.value, examples, reporter, job.precision)
        if job.cached:
            write_detector(job, loaders)
        clock.lap("evaluate")
    parameters = list(model.parameters())
    return Outcome(
        predictions=predictions,
        chosen=chosen,
        chosen_epoch=epoch,
        epochs_run=runner.epoch,
        seconds=clock.seconds,
        params_total=sum(p.numel() for p in parameters),
        params_trainable=sum(p.numel() for p in parameters if p.requires_grad),
        data_wait={"waited_s": round(hook.waited_s, 2), "of_s": round(hook.steps_s, 2)},
        preflight=first.record if first else None,
        computed=features.computed,
        engines=features.engines,
    )


def with_workers(job: Job, workers: int) -> Job:
    """Let so many processes decode in all loaders of a run."""
    loaders = {
        key: {**value, "num_workers": workers}
        for key, value in job.config.items()
        if key.endswith("_dataloader") and value and value["num_workers"]
    }
    return replace(job, config={**job.config, **loaders})


def run_worker_rank(job: Job) -> None:
    """Train this process's share of the steps of a run that rank 0 writes and evaluates."""
    use_fast_math(job.device)
    with silence(job.folder), loader_errors(), process_group(job.rank_info):
        init_default_scope("mmaction")
        runner, _ = _build_runner(job, {}, SILENT)
        with _ending_workers(runner):
            runner.train()


@contextlib.contextmanager
def _ending_workers(runner: QuietRunner) -> Iterator[None]:
    """End the processes that decode for a runner when it has trained, and not when it is collected.

    A runner refers to itself. Where the garbage collector finds a loader, it has closed the queue by which
    torch asks its processes to end: torch waits five seconds for each loader.
    """
    try:
        yield
    finally:
        for loop in (runner._train_loop, runner._val_loop):
            loader = getattr(loop, "dataloader", None)
            if loader is not None:
                loader._iterator = None


def _build_runner(
    job: Job, loaders: dict[Subset, Any], reporter: Reporter, built: Any = None
) -> tuple[QuietRunner, RunHook]:
    """Give the runner of a job, of a network that is `built` as the run begins or of a new one."""
    config, counts, recipe, here = job.config, job.data.counts, job.recipe, job.rank_info
    init_process_group(here, gpu=job.device.gpu)
    model = config["model"]
    if job.cached:
        model = head_network_config(model, recipe.frozen_stages)
    base = config["load_from"] or ""
    hook = RunHook(
        job.folder, recipe.epochs, counts["train"], counts["val"], base, reporter, recipe.patience, here
    )
    clips = {**config["train_dataloader"], "batch_size": per_rank_batch_size(recipe.batch, here.size)}
    resume = job.resume and job.folder.resume_file.exists()
    start = config["load_from"] if built is None else None
    frozen = [hook["prefixes"] for hook in config["custom_hooks"] if hook["type"] == "FreezeHook"]
    runner = QuietRunner(
        frozen=[prefix for prefixes in frozen for prefix in prefixes],
        device=job.device,
        compiled=job.compiled,
        built=built is not None,
        model=model if built is None else built,
        work_dir=str(job.folder.log),
        train_dataloader=loaders.get(Subset.TRAIN) or clips,
        val_dataloader=loaders.get(Subset.VAL) or config["val_dataloader"],
        train_cfg=config["train_cfg"],
        val_cfg=config["val_cfg"],
        val_evaluator=config["val_evaluator"],
        optim_wrapper=config["optim_wrapper"],
        param_scheduler=config["param_scheduler"],
        # Ours saves whole files only, and what can change only.
        default_hooks={**config["default_hooks"], "checkpoint": None},
        custom_hooks=[*config["custom_hooks"], hook],
        load_from=str(job.folder.resume_file) if resume else start,
        resume=resume,
        env_cfg=config["env_cfg"],
        log_processor=config["log_processor"],
        visualizer={"type": "NoVisualizer", "vis_backends": []},
        default_scope="mmaction",
        randomness=config["randomness"],
        experiment_name=job.folder.root.name,
        launcher=here.launcher,
        cfg={"model_wrapper_cfg": wrapper(gpu=job.device.gpu)} if here.size > 1 else None,
    )
    return runner, hook


@contextlib.contextmanager
def silence(folder: RunFolder) -> Iterator[None]:
    """Redirect what MMAction2 prints and warns to the run's log."""
    folder.log.mkdir(parents=True, exist_ok=True)
    with (
        (folder.log / "console.txt").open("a", encoding="utf-8") as file,
        contextlib.redirect_stdout(file),
        warnings.catch_warnings(),
    ):
        warnings.showwarning = lambda text, kind, *_, **__: print(f"{kind.__name__}: {text}", file=file)
        yield


class _Clock:
    """Seconds between laps."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name] = round(now - self._last, 2)
        self._last = now
