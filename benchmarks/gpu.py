"""One GPU: feature extraction, training and prediction, beside stock MMAction2 with mixed precision.

    python -m benchmarks.gpu [--clips 96] [--crop 224] [--batch 16] [--minutes 8] [--dry-run]

Prints clips per second of both, the GPU's utilization as nvidia-smi reports it, and how long training
waited for clips. Rates of training are those of its steps, without the first ones; those of features
include building the network, those of prediction the whole process. It ends within the minutes given:
what does not fit is told as not run. A network of random weights (an I3D ResNet-50) costs what a
trained one does. `--dry-run` does all of it at toy size on any machine, to show that it works.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.lib.compare import run_child, tell
from benchmarks.suites.training import furnish, stock_config

NETWORK = "resnet50"
FREEZES = ("none", "3", "4")
# Steps at the beginning that are not counted: the first batches are decoded while nothing computes.
_WARM_STEPS = 3


class OutOfTimeError(Exception):
    """The minutes are over."""


@dataclass
class Clock:
    """The time that is left for all cases together."""

    minutes: float
    began: float = field(default_factory=time.monotonic)

    def run(self, arguments: Sequence[object], cwd: Path) -> float:
        """Run a program, and give its seconds.

        Raises:
            OutOfTimeError: it did not end in time.
            SystemExit: it failed.
        """
        left = 60 * self.minutes - (time.monotonic() - self.began)
        if left < 1:
            raise OutOfTimeError
        began = time.monotonic()
        words = [str(word) for word in arguments]
        # Both ways import the package from here.
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        try:
            done = subprocess.run(
                words, cwd=cwd, env=env, capture_output=True, text=True, timeout=left, check=False
            )
        except subprocess.TimeoutExpired:
            raise OutOfTimeError from None
        if done.returncode:
            raise SystemExit(f"{' '.join(words)}: ended with {done.returncode}\n{done.stderr[-2000:]}")
        return time.monotonic() - began


class Utilization:
    """Asks nvidia-smi twice a second, until it is closed, how busy the first GPU is."""

    def __init__(self) -> None:
        self.shares: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Utilization:
        if shutil.which("nvidia-smi"):
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def __str__(self) -> str:
        busy = [share for share in self.shares if share > 0]
        return f"{statistics.median(busy):.0f} %" if busy else "no GPU"

    def _watch(self) -> None:
        query = ["nvidia-smi", "-i", "0", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        while not self._ended.wait(0.5):
            done = subprocess.run(query, capture_output=True, text=True, check=False)
            if done.stdout.strip().isdigit():
                self.shares.append(float(done.stdout))


@dataclass
class Bench:
    """Both ways on the same clips.

    Attributes:
        root: a workspace with clips, a recipe and weights.
        epochs: of every training.
        batch: clips per step.
        gpu: there is one, so that both compute in half precision.
    """

    root: Path
    clock: Clock
    recipe: Path
    epochs: int
    batch: int
    crop: int
    gpu: bool

    def ours(self, freeze: str) -> dict[str, float]:
        """Train, with stored features where more than two stages are frozen."""
        name = f"ours-{freeze}"
        shutil.rmtree(self.root / "cache", ignore_errors=True)
        flags = ("--freeze", freeze, "--epochs", self.epochs, "--recipe", self.recipe, "--name", name)
        more = ("--batch", self.batch, "--no-preflight", *(("--amp",) if self.gpu else ()))
        weights = ("--pretrain", NETWORK, "--weights", self.root / "random.pth")
        self.clock.run([sys.executable, "-m", "dancecli", "finetune", *weights, *flags, *more], self.root)
        folder = self.root / "runs" / name
        record = json.loads((folder / "run.json").read_text())
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        rows = [row for row in map(json.loads, lines) if row["kind"] == "train"]
        found = {"training": self._rate([row["time_s"] for row in rows])}
        found["data wait"] = record["data_wait"]["waited_s"] / max(record["data_wait"]["of_s"], 1e-9)
        if freeze != "none":
            found["features"] = sum(record["split"]["counts"].values()) / record["seconds"]["features"]
        return found

    def stock(self, freeze: str) -> dict[str, float]:
        """Train with MMAction2's own tool, whose frozen layers run in every epoch."""
        base = Path((self.root / "random.base").read_text())
        config = self._stock_config(freeze)
        work = self.root / f"stock-{freeze}"
        tool = base.parents[3] / "tools" / "train.py"
        amp = ["--amp"] if self.gpu else []
        self.clock.run([sys.executable, tool, config, "--work-dir", work, *amp], self.root)
        (log,) = work.glob("*/vis_data/scalars.json")
        rows = [json.loads(line) for line in log.read_text().splitlines() if '"time"' in line]
        ends, total = [], 0.0
        for row in rows:
            total += row["time"]
            ends.append(total)
        waited, spent = (sum(row[key] for row in rows[_WARM_STEPS:]) for key in ("data_time", "time"))
        return {"training": self._rate(ends), "data wait": waited / max(spent, 1e-9)}

    def predict(self) -> float:
        """Score the films window by window; give windows per second."""
        words = ["predict", self.root / "films", "--run", "ours-4", "--json"]
        seconds = self.clock.run([sys.executable, "-m", "dancecli", *words], self.root)
        (document,) = (self.root / "reports").glob("predict-films*/prediction.json")
        windows = sum(len(video["windows"]) for video in json.loads(document.read_text())["videos"])
        return windows / seconds

    def predict_stock(self) -> float:
        """Score the clips by MMAction2's own tool; give clips per second."""
        base = Path((self.root / "random.base").read_text())
        config = self.root / "stock-test.py"
        config.write_text(self._stock_config("4").read_text() + TEST.format(**self._facts()))
        tool = base.parents[3] / "tools" / "test.py"
        words = [sys.executable, tool, config, self.root / "random.pth", "--work-dir", self.root / "test"]
        seconds = self.clock.run(words, self.root)
        listed = (self.root / "annotations" / "all" / "train.txt").read_text().splitlines()
        return len(listed) / seconds

    def _facts(self) -> dict[str, Any]:
        lists = self.root / "annotations" / "all"
        return {"lists": lists, "root": self.root, "crop": self.crop, "short_side": self.crop * 8 // 7}

    def _stock_config(self, freeze: str) -> Path:
        path = self.root / f"stock-{freeze}.py"
        text = stock_config(self.root, NETWORK, freeze, self.epochs, self.crop)
        # Each step is logged; workers as MMAction2's config has them, eight.
        text += "default_hooks = dict(checkpoint=dict(interval=1000), logger=dict(interval=1))\n"
        workers = max(1, min(8, (os.cpu_count() or 2) - 1))
        text += f"train_dataloader.update(batch_size={self.batch}, num_workers={workers})\n"
        path.write_text(text)
        return path

    def _rate(self, ends: Sequence[float]) -> float:
        """Give the clips per second of steps that ended at these times."""
        first = min(_WARM_STEPS, len(ends) - 2)
        return self.batch * (len(ends) - 1 - first) / max(ends[-1] - ends[first], 1e-9)


TEST = """
test_pipeline = [
    dict(type='DecordInit', io_backend='disk'),
    dict(type='SampleFrames', clip_len=32, frame_interval=2, num_clips=1, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(-1, {short_side})),
    dict(type='CenterCrop', crop_size={crop}),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')]
test_dataloader = dict(batch_size=1, num_workers=1, persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False), dataset=dict(_delete_=True, type='VideoDataset',
    ann_file='{lists}/train.txt', data_prefix=dict(video='{root}'), pipeline=test_pipeline, test_mode=True))
test_cfg = dict(type='TestLoop')
test_evaluator = dict(type='AccMetric')
"""


def measure(bench: Bench) -> tuple[list[tuple[object, ...]], dict[str, Any]]:
    """Run every case until the time is over; give the table and the figures."""
    rows: list[tuple[object, ...]] = []
    figures: dict[str, Any] = {}
    for freeze in FREEZES:
        name = f"training, freeze {freeze}"
        try:
            with Utilization() as used:
                ours = bench.ours(freeze)
            busy = str(used)
            with Utilization() as used:
                stock = bench.stock(freeze)
        except OutOfTimeError:
            rows.append((name, "not run", "", "", "", "", ""))
            continue
        figures[freeze] = {"ours": ours, "stock": stock}
        waits = (f"{100 * way['data wait']:.0f} %" for way in (ours, stock))
        ratio = ours["training"] / stock["training"]
        rates = (f"{way['training']:.1f}" for way in (ours, stock))
        rows.append((name, *rates, f"{ratio:.1f}", f"{busy} / {used}", *waits))
        if "features" in ours:
            rows.append((f"features, freeze {freeze}", f"{ours['features']:.1f}", "", "", busy, "", ""))
    try:
        with Utilization() as used:
            mine = bench.predict()
        theirs = bench.predict_stock()
        figures["predict"] = {"ours": mine, "stock": theirs}
        rates = (f"{rate:.1f}" for rate in (mine, theirs))
        rows.append(("prediction, whole process", *rates, f"{mine / theirs:.1f}", str(used), "", ""))
    except (OutOfTimeError, SystemExit) as error:
        rows.append(("prediction", f"not run {error}".strip(), "", "", "", "", ""))
    return rows, figures


def has_gpu() -> bool:
    """Ask torch in a process of its own: this one is to stay small."""
    asked = "import torch, sys; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0


def main() -> int:
    """Make clips and weights, and measure all cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clips", type=int, default=96)
    parser.add_argument("--crop", type=int, default=224)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--dry-run", action="store_true", help="toy size, on any machine")
    asked = parser.parse_args()
    if asked.dry_run:
        asked.clips, asked.crop, asked.batch, asked.epochs = 8, 32, 2, 1
    clock, gpu = Clock(asked.minutes), has_gpu()
    if not gpu and not asked.dry_run:
        print("no GPU here: --dry-run shows that it works", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        recipe = furnish(root, asked.clips, asked.crop, NETWORK)
        words = ["--weights-to", str(root / "random.pth"), "--crop", str(asked.crop)]
        run_child([sys.executable, "-m", "benchmarks.suites.training", *words])
        # As many workers as the machine suggests.
        recipe.write_text(recipe.read_text().replace("workers = 1\n", ""))
        bench = Bench(root, clock, recipe, asked.epochs, asked.batch, asked.crop, gpu)
        rows, figures = measure(bench)
    columns = (
        "",
        "dance clips/s",
        "stock clips/s",
        "ratio",
        "GPU busy",
        "dance waits",
        "stock waits",
    )
    return tell("gpu", figures | {"minutes": (time.monotonic() - clock.began) / 60}, [], columns, rows)


if __name__ == "__main__":
    raise SystemExit(main())
