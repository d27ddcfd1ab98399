"""Fine-tuning from stored features against stock MMAction2, whole processes, first pass included.

    python -m benchmarks.suites.training [--clips 80] [--epochs 1 3 10] [--freeze 4 3] [--crop 224] [--quick]

Ours has costs that no number of clips changes (start, pre-flight, building the network twice), so the
bars are told where there are 30 clips of full size or more; below that the ratios only show
that it works and how they grow with the epochs.

Both train an I3D ResNet-50 with the same frozen stages on the same clips, batches and epochs, one
after the other. Stock is MMAction2's own config under MMAction2's own `tools/train.py`, with data,
classes, frozen stages and epochs filled in; our compatibility layer is imported there too, since
MMAction2 1.2.0 cannot be imported on today's Python without it. dance is `dance finetune --views
1`. The weights are random, with batch norms fitted to them: they do not show learning, and cost the
same.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.lib.compare import Bar, Cost, Plot, figures, middle, run_again, run_child, take_turns, tell
from dancecli.video.ffmpeg import run_ffmpeg

# For what a bar is stated: training clips, and the side of what the network sees.
LEAST_CLIPS, FULL_CROP = 30, 224
MODEL = "recognition/i3d/i3d_imagenet-pretrained-r50_8xb8-32x2x1-100e_kinetics400-rgb.py"
STOCK = """
_base_ = ['{base}']
custom_imports = dict(imports=['dancecli.model.networks.mmaction'], allow_failed_imports=False)
model = dict(backbone=dict(frozen_stages={freeze}, norm_eval=True, pretrained=None, pretrained2d=False),
             cls_head=dict(num_classes=2))
train_pipeline = [
    dict(type='DecordInit', io_backend='disk'),
    dict(type='SampleFrames', clip_len=32, frame_interval=2, num_clips=1),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(-1, {short_side})),
    dict(type='MultiScaleCrop', input_size={crop}, scales=(1, 0.8), random_crop=False, max_wh_scale_gap=0),
    dict(type='Resize', scale=({crop}, {crop}), keep_ratio=False),
    dict(type='Flip', flip_ratio=0.5),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')]
train_dataloader = dict(batch_size=8, num_workers=1, persistent_workers=True, dataset=dict(
    ann_file='{lists}/train.txt', data_prefix=dict(video='{root}'), pipeline=train_pipeline))
val_dataloader = val_cfg = val_evaluator = test_dataloader = test_cfg = test_evaluator = None
train_cfg = dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs={epochs})
optim_wrapper = dict(optimizer=dict(type='SGD', lr=1e-4, momentum=0.9, weight_decay=1e-4))
load_from = '{weights}'
default_hooks = dict(checkpoint=dict(interval=1000))
"""
RECIPE = """
clip_len = 32
frame_interval = 2
short_side = {short_side}
crop = {crop}
batch = 8
lr = 1e-4
lr_batch = 8
optimizer = "sgd"
weight_decay = 1e-4
schedule = "constant"
views = 1
workers = 1
"""


def dance(root: Path, *words: str) -> Cost:
    """Run a command of ours in the workspace."""
    return run_child([sys.executable, "-m", "dancecli", *words], cwd=root)


def furnish(root: Path, clips: int, crop: int) -> Path:
    """Make clips of ten seconds in two classes, nine in ten for training; return where the recipe is."""
    for i in range(round(clips / 0.9)):
        path = root / "films" / ("waltz", "tango")[i % 2] / f"film{i}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = f"testsrc2=size=340x256:rate=25,hue=h={7 * i},scroll=h=0.00{i % 9}1,noise=alls=6:allf=t"
        run_ffmpeg(
            ["-f", "lavfi", "-i", picture, "-t", "10", "-pix_fmt", "yuv420p", "-threads", "2", str(path)]
        )
    dance(root, "import", "films")
    dance(root, "split", "--ratios", "90/10", "--stratify", "--name", "all")
    recipe = root / "bench.toml"
    recipe.write_text(RECIPE.format(crop=crop, short_side=crop * 8 // 7))
    return recipe


def write_weights(path: Path, crop: int) -> None:
    """Save random weights whose batch norms have the averages of what goes through them: of clips.

    Fitted to noise, they let the scores of real clips grow until most gradients are too small for a
    normal float, and a processor takes ten times as long for such a step, now and then.
    """
    import torch

    from dancecli.model.networks.build import build_model
    from dancecli.model.networks.mmaction import CONFIGS, read_config

    model = read_config(CONFIGS / MODEL)["model"]
    model["backbone"] |= {"pretrained": None, "pretrained2d": False}
    built = build_model(model, seed=0)
    for module in built.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.momentum = 1.0
    with torch.no_grad():
        built.train()
        built.backbone(some_frames(path.parent / "films", max(crop, 112)))
    torch.save({"state_dict": built.state_dict()}, path)
    path.with_suffix(".base").write_text(str(CONFIGS / MODEL))


def some_frames(films: Path, side: int) -> Any:
    """Read a stretch of each of four films as the network is given it: [4, 3, 16, side, side]."""
    import av
    import torch

    clips = []
    for film in sorted(films.rglob("*.mp4"))[:4]:
        with av.open(str(film)) as container:
            pictures = [
                f.to_ndarray(format="rgb24", width=side, height=side) for f in container.decode(video=0)
            ]
        frames = torch.stack([torch.from_numpy(picture) for picture in pictures[:32:2]])
        clips.append((frames.permute(3, 0, 1, 2).float() - 120) / 58)
    return torch.stack(clips)


def measure(root: Path, recipe: Path, freeze: int, epochs: int, rounds: int) -> dict[str, list[Cost]]:
    """Let both train, turn by turn; every turn begins without stored features."""
    weights = root / "random.pth"
    base = Path((root / "random.base").read_text())
    crop = int(recipe.read_text().split("crop = ")[1].split()[0])
    config = root / f"stock-{freeze}-{epochs}.py"
    config.write_text(
        STOCK.format(
            base=base, freeze=freeze, epochs=epochs, crop=crop, short_side=crop * 8 // 7,
            lists=root / "annotations" / "all", root=root, weights=weights,
        )
    )  # fmt: skip
    tool = base.parents[3] / "tools" / "train.py"
    turns = iter(range(1000))

    def stock() -> Cost:
        work = root / f"work{next(turns)}"
        return run_child([sys.executable, str(tool), str(config), "--work-dir", str(work)], stderr=sys.stderr)

    def ours() -> Cost:
        name = f"f{freeze}-e{epochs}-{next(turns)}"
        cache = root / "cache"
        if cache.exists():
            cache.rename(root / f"old-{name}")
        flags = ("--freeze", str(freeze), "--epochs", str(epochs), "--recipe", str(recipe), "--name", name)
        return dance(root, "finetune", "--pretrain", "resnet50", "--weights", str(weights), "--cache", *flags)

    return take_turns({"stock": stock, "ours": ours}, rounds)


def phases(root: Path, freeze: int, epochs: int) -> dict[str, float]:
    """Read how long the phases of our last run of a case took, in seconds."""
    runs = (root / "runs").glob(f"f{freeze}-e{epochs}-*/run.json")
    last = max(runs, key=lambda path: path.stat().st_mtime)
    seconds: dict[str, float] = json.loads(last.read_text(encoding="utf-8"))["seconds"]
    return seconds


def main() -> int:
    """Measure every freeze and number of epochs that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clips", type=int, default=80)
    parser.add_argument("--epochs", type=int, nargs="+", default=[1, 3, 10, 30])
    parser.add_argument("--freeze", type=int, nargs="+", default=[4, 3])
    parser.add_argument("--crop", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="few clips, small: shows that it works")
    parser.add_argument("--weights-to", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.weights_to:
        write_weights(asked.weights_to, asked.crop)
        return 0
    if asked.quick:
        asked.clips, asked.epochs, asked.freeze, asked.crop = 6, [2], [4], 56
    rows, measured, bars, points = [], [], [], {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        recipe = furnish(root, asked.clips, asked.crop)
        run_again(__file__, "--weights-to", root / "random.pth", "--crop", asked.crop)
        for freeze in asked.freeze:
            for epochs in asked.epochs:
                costs = measure(root, recipe, freeze, epochs, asked.rounds)
                stock, ours = middle(costs["stock"]), middle(costs["ours"])
                ratio = stock.clock_s / ours.clock_s
                once_s = phases(root, freeze, epochs)["features"]
                case = {"freeze": freeze, "epochs": epochs, "clips": asked.clips, "crop": asked.crop}
                costs_of = {"stock": figures(stock), "ours": figures(ours), "of_ours_features_s": once_s}
                measured.append(case | {"ratio": round(ratio, 2)} | costs_of)
                shown = (stock.clock_s, ours.clock_s, once_s, ratio, stock.cpu_s / ours.cpu_s)
                rows.append((f"freeze {freeze}, {epochs} epochs", *(f"{value:.1f}" for value in shown)))
                for way, cost in (("stock", stock), ("ours", ours)):
                    points.setdefault(f"{way}, freeze {freeze}", []).append((epochs, cost.clock_s))
                if epochs == 10 and asked.clips >= LEAST_CLIPS and asked.crop == FULL_CROP:
                    least = {4: 8.0, 3: 2.5}[freeze]
                    what = f"freeze {freeze}: ten epochs at least {least:g} times as fast as stock"
                    bars.append(Bar(what, f"{ratio:.1f}", ratio >= least))
    floor = (
        "one pass of every clip through the network, which is the column 'frozen backbone, once'; "
        "stock makes such a pass in every epoch"
    )
    plots = [Plot("training", "epochs", "seconds", points)] if len(asked.epochs) > 1 else []
    columns = ("", "stock s", "dance s", "of which frozen backbone, once", "ratio", "by CPU")
    return tell("training", measured, bars, columns, rows, floor=floor, plots=plots)


if __name__ == "__main__":
    raise SystemExit(main())
