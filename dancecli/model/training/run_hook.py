"""Runner hooks: a record of every step, checkpoints that survive a kill, a quiet terminal."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dancecli.core.errors import ModelError
from dancecli.core.progress import Reporter
from dancecli.model.hardware.device import CPU, Device, prepare_for_training
from dancecli.model.networks.mmaction import VISUALIZERS, Hook, Runner, Visualizer, silence
from dancecli.model.networks.weights import read_whole, state_of
from dancecli.model.training.components import freeze_parameters
from dancecli.model.training.distributed import (
    SINGLE_PROCESS,
    RankInfo,
    mean_over_processes,
    mean_tensors,
    unwrapped,
)
from dancecli.model.training.ema import WeightAverageHook, trained_state
from dancecli.model.training.sync_layers import share_layers
from dancecli.storage.files import save_torch
from dancecli.storage.runs import RunFolder, append_metrics, trim_metrics


class QuietRunner(Runner):  # type: ignore[misc]
    """A Runner that logs to its file only, and does not write the run's config.

    Args:
        frozen: prefixes of what hooks will freeze; see `FreezeHook`.
        device: that it computes on.
        compiled: torch compiles the backbone.
        built: the model has the weights with which the run begins.
    """

    def __init__(
        self,
        *args: Any,
        frozen: Sequence[str] = (),
        device: Device = CPU,
        compiled: bool = False,
        built: bool = False,
        **kwargs: Any,
    ) -> None:
        self._frozen, self._device, self._compiled, self._built = frozen, device, compiled, built
        super().__init__(*args, **kwargs)

    def build_logger(self, *args: Any, **kwargs: Any) -> Any:
        """Build the usual logger without its console."""
        logger = super().build_logger(*args, **kwargs)
        silence(logger)
        return logger

    def wrap_model(self, model_wrapper_cfg: Any, model: Any) -> Any:
        """Let layers that act on a whole batch do so where several processes share it.

        What is frozen is so before that: gradients that never come would be sent around.
        """
        prepare_for_training(model, self._device)
        if self._compiled:
            # In place: its weights keep their names.
            model.backbone.compile()
        if self.world_size > 1:
            model = share_layers(model, RankInfo(self.rank, self.world_size))
            freeze_parameters(model, self._frozen)
            # Backbones with a setting of their own freeze what it says here.
            model.train()
        return super().wrap_model(model_wrapper_cfg, model)

    def _init_model_weights(self) -> None:
        if not self._built:
            super()._init_model_weights()

    def dump_config(self) -> None:
        """Write nothing: the config is in the run's folder already."""


@VISUALIZERS.register_module(force=True)
class NoVisualizer(Visualizer):  # type: ignore[misc]
    """A visualizer that draws nothing, without the figures that load Matplotlib."""

    def __init__(self, name: str, **_: Any) -> None:
        # Past the constructor that makes figures.
        super(Visualizer, self).__init__(name)
        self._dataset_meta: Any = None
        self._vis_backends: dict[str, Any] = {}


class RunHook(Hook):  # type: ignore[misc]
    """Writes `metrics.jsonl` and the checkpoints of a run, reports progress, stops at NaN.

    Args:
        folder: the run's.
        epochs: number of epochs of the whole run.
        patience: early-stopping patience in epochs; 0 for none.
        train_clips, val_clips: number of clips per epoch.
        base: the weights that were loaded before training, which a resumed run needs again.
        reporter: in clips that went through the network, validation included.
        rank_info: which of the run's processes this is; rank 0 alone writes.
    """

    # After the schedulers have stepped: what is saved is the state in which the next epoch begins.
    priority = "VERY_LOW"

    def __init__(
        self,
        folder: RunFolder,
        epochs: int,
        train_clips: int,
        val_clips: int,
        base: str,
        reporter: Reporter,
        patience: int = 0,
        rank_info: RankInfo = SINGLE_PROCESS,
    ) -> None:
        self.folder, self.epochs, self.base, self.reporter = folder, epochs, base, reporter
        self.patience = patience
        self.rank_info = rank_info
        self.train_clips, self.val_clips = train_clips, val_clips
        self.total = epochs * (train_clips + val_clips)
        self.done = 0
        # Seconds that the epochs before a resumed run's have taken.
        self.before_s = 0.0
        self.best: dict[str, Any] = {}
        self._sums = (0, 0.0, 0.0)
        self._lr = 0.0
        self._val_text = ""
        # Seconds of all training steps so far, and of them without clips to compute with.
        self.steps_s = self.waited_s = 0.0
        self._step_began = self._data_s = 0.0

    def before_train(self, runner: Any) -> None:
        """Begin or resume: metrics of epochs that are run again are removed."""
        if self.rank_info.first:
            self.before_s = trim_metrics(self.folder.metrics, runner.epoch)
        self.done = runner.epoch * (self.train_clips + self.val_clips)
        self._began = time.monotonic() - self.before_s
        self._stop_if_enough(runner)

    def before_train_epoch(self, runner: Any) -> None:  # noqa: ARG002
        """Reset the epoch's averages."""
        self._sums = (0, 0.0, 0.0)
        self._step_began = time.monotonic()

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:  # noqa: ARG002
        """Record the wait for this step's clips, and its learning rate, before the scheduler changes it."""
        self._data_s = time.monotonic() - self._step_began
        self._lr = float(runner.optim_wrapper.param_groups[0]["lr"])

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,  # noqa: ARG002
        data_batch: Any = None,
        outputs: Any = None,
    ) -> None:
        """Record the step; stop if the loss is not finite.

        Raises:
            ModelError: it is not finite; the message names the clips.
        """
        loss, top1 = outputs["loss"].item(), float(outputs.get("top1_acc", math.nan))
        clips = len(data_batch["data_samples"])
        if not math.isfinite(loss):
            names = ", ".join(Path(sample.filename).stem for sample in data_batch["data_samples"])
            raise ModelError(
                f"the loss became {loss} in epoch {runner.epoch + 1}, step {runner.iter + 1}; clips: {names}",
                "use a lower --lr; if it is the first step, check these clips",
            )
        loss, top1 = mean_over_processes((loss, top1))
        clips *= self.rank_info.size
        row = {
            "kind": "train",
            "epoch": runner.epoch + 1,
            "step": runner.iter + 1,
            "loss": loss,
            "top1": top1,
            "lr": self._lr,
            "time_s": round(time.monotonic() - self._began, 3),
            "data_s": round(self._data_s, 4),
        }
        self._write(row)
        n, losses, hits = self._sums
        self._sums = (n + clips, losses + clips * loss, hits + clips * top1)
        now = time.monotonic()
        self.steps_s, self.waited_s = self.steps_s + now - self._step_began, self.waited_s + self._data_s
        self._report(runner.epoch + 1, clips)
        self._step_began = now

    def after_val_iter(
        self,
        runner: Any,
        batch_idx: int,  # noqa: ARG002
        data_batch: Any = None,
        outputs: Any = None,  # noqa: ARG002
    ) -> None:
        """Count the clips."""
        self._report(runner.epoch, len(data_batch["data_samples"]) * self.rank_info.size)

    def after_train_epoch(self, runner: Any) -> None:
        """Save the state, if no validation follows."""
        if not self.val_clips:
            self._save(runner, runner.epoch + 1)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Record the accuracy and save the state; of equally good epochs the later one is kept."""
        found = metrics or {}
        row = {
            "kind": "val",
            "epoch": runner.epoch,
            "loss": None,
            "top1": float(found["acc/top1"]),
            "top5": float(found["acc/top5"]),
            "n": self.val_clips,
        }
        self._write(row)
        hits = round(row["top1"] * self.val_clips)
        self._val_text = f" · val {row['top1']:.0%} ({hits}/{self.val_clips})"
        before = self.best.get("top1", -1.0)
        if row["top1"] >= before:
            # An epoch as good as the best is kept, and is no progress.
            risen = runner.epoch if row["top1"] > before else self.best.get("risen", runner.epoch)
            self.best = {"epoch": runner.epoch, "top1": row["top1"], "risen": risen}
            best = {"state_dict": trained_state(unwrapped(runner.model))}
            if average := average_of(runner):
                average.before_save_checkpoint(runner, best)
            if self.rank_info.first:
                save_torch(self.folder.best_so_far, {"state_dict": best["state_dict"]})
        self._save(runner, runner.epoch)
        self._stop_if_enough(runner)

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Restore the frozen weights, which a resume file omits."""
        if "dance" not in checkpoint:
            return
        self.best = checkpoint["dance"]["best"]
        parameters = dict(unwrapped(runner.model).named_parameters())
        for name, gradient in checkpoint["dance"].get("gradients", {}).items():
            parameters[name].grad = gradient.to(parameters[name].device)
        if self.base:
            for key, value in state_of(read_whole(self.base)).items():
                if key.startswith("backbone."):
                    checkpoint["state_dict"].setdefault(key, value)

    def _save(self, runner: Any, epochs: int) -> None:
        """Save what mmengine's `Runner.resume` reads, as of the end of this many epochs."""
        gradients = mean_tensors(_pending_gradients(runner))
        if not self.rank_info.first:
            return
        content = {
            "meta": {"epoch": epochs, "iter": epochs * len(runner.train_dataloader), "seed": runner.seed},
            "state_dict": trained_state(unwrapped(runner.model)),
            "optimizer": runner.optim_wrapper.state_dict(),
            "param_schedulers": [scheduler.state_dict() for scheduler in runner.param_schedulers or []],
            # The histories are in metrics.jsonl, and would grow with every epoch.
            "message_hub": {"log_scalars": {}, "runtime_info": {}, "resumed_keys": {}},
            # Each process has its own; resumed, they give the same step only as their mean.
            "dance": {"best": self.best, "gradients": gradients},
        }
        if average := average_of(runner):
            average.before_save_checkpoint(runner, content)
        save_torch(self.folder.resume_file, content)

    def _stop_if_enough(self, runner: Any) -> None:
        """Stop early if the last epochs brought no progress."""
        if (
            self.patience
            and self.best
            and runner.epoch - self.best.get("risen", runner.epoch) >= self.patience
        ):
            runner.train_loop.stop_training = True

    def _write(self, row: dict[str, Any]) -> None:
        if self.rank_info.first:
            append_metrics(self.folder.metrics, [row])

    def _report(self, epoch: int, clips: int) -> None:
        self.done += clips
        n, losses, hits = self._sums
        words = f"training · epoch {epoch}/{self.epochs} · loss {losses / n:.3f} · top-1 {hits / n:.0%}"
        words += f" · data wait {self.waited_s / self.steps_s:.0%}"
        self.reporter.progress(self.done, self.total, words + self._val_text)


def average_of(runner: Any) -> WeightAverageHook | None:
    """Find the hook that averages the weights, if this run has one."""
    return next((hook for hook in runner.hooks if isinstance(hook, WeightAverageHook)), None)


def _pending_gradients(runner: Any) -> dict[str, Any]:
    """Collect accumulated gradients that are not applied yet: an epoch may end between two updates."""
    if runner.optim_wrapper.should_update():
        return {}
    named = unwrapped(runner.model).named_parameters()
    return {name: p.grad for name, p in named if p.grad is not None}
