"""Fine-tuning from stored features against stock MMAction2, whole processes, first pass included.

    python -m benchmarks.suites.training [--network slowfast] [--clips 80] [--epochs 1 3 10] [--freeze 4 3]
                                         [--crop 224] [--quick]

Ours has costs that no number of clips changes (start, pre-flight, building the network twice), so the
bars are told where there is enough work: for ResNet-50 30 clips of full size or more, for the others
the sizes of `benchmarks.run`. Below that the ratios only show that it works and how they grow with the
epochs.

Both train one network with the same frozen stages on the same clips, frames, batches and epochs, one
after the other. Stock is MMAction2's own config under MMAction2's own `tools/train.py`, with data,
classes, frozen stages and epochs filled in, and without its validation, its mixed labels and its heavy
augmentation; our compatibility layer is imported there too, since MMAction2 1.2.0 cannot be imported on
today's Python without it, and where a network of MMAction2 has no setting that freezes all of it, our
hook does.
dance is `dance finetune --views 1`. The weights are random, with batch norms fitted to them: they do not
show learning, and cost the same.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.lib.compare import Bar, Cost, Plot, figures, middle, run_again, run_child, take_turns, tell
from dancecli.video.ffmpeg import run_ffmpeg


@dataclass(frozen=True, slots=True)
class Network:
    """A network of the zoo, as it is frozen in MMAction2's own config.

    Attributes:
        title: for the table.
        clip_len, frame_interval: frames of a view, as in that config.
        backbone: settings of the backbone there; `{freeze}` is the last frozen stage.
        hooked: it has no setting that freezes all of it, and a hook does.
        has_data: its config has training data, of another form than ours.
        bars: by frozen stages, how many times as fast as stock ten epochs are to be.
        least_clips, least_crop: for which work these bars are stated.
    """

    title: str
    clip_len: int
    frame_interval: int
    backbone: str
    bars: dict[str, float]
    hooked: bool = False
    has_data: bool = True
    least_clips: int = 16
    least_crop: int = 160


_I3D = "frozen_stages={freeze}, norm_eval=True, pretrained=None, pretrained2d=False"
NETWORKS = {
    "resnet50": Network("I3D ResNet-50", 32, 2, _I3D, {"4": 8.0, "3": 2.5}, least_clips=30, least_crop=224),
    "nonlocal": Network("I3D NonLocal", 32, 2, _I3D, {"4": 8.0}, least_clips=30, least_crop=224),
    # Its own setting leaves the first lateral convolution trainable, and most of the backward pass with it.
    "slowfast": Network("SlowFast", 32, 2, "", {"4": 5.0}, hooked=True),
    "mvit-small": Network(
        "MViTv2", 16, 4, "pretrained=None, pretrained_type=None", {"4": 5.0}, hooked=True
    ),
    "videomae-base": Network("VideoMAE", 16, 4, "", {"4": 5.0}, hooked=True, has_data=False),
}  # fmt: skip
STOCK = """
_base_ = ['{base}']
custom_imports = dict(imports=['dancecli.model.training.components'], allow_failed_imports=False)
model = dict(backbone=dict({backbone}), cls_head=dict(num_classes=2), data_preprocessor=dict(blending=None))
train_pipeline = [
    dict(type='DecordInit', io_backend='disk'),
    dict(type='SampleFrames', clip_len={clip_len}, frame_interval={frame_interval}, num_clips=1),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(-1, {short_side})),
    dict(type='MultiScaleCrop', input_size={crop}, scales=(1, 0.8), random_crop=False, max_wh_scale_gap=0),
    dict(type='Resize', scale=({crop}, {crop}), keep_ratio=False),
    dict(type='Flip', flip_ratio=0.5),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')]
train_dataloader = dict({replace}batch_size=8, num_workers=1, persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True), dataset=dict(type='VideoDataset',
    ann_file='{lists}/train.txt', data_prefix=dict(video='{root}'), pipeline=train_pipeline))
val_dataloader = val_cfg = val_evaluator = test_dataloader = test_cfg = test_evaluator = None
train_cfg = dict({replace}type='EpochBasedTrainLoop', max_epochs={epochs})
optim_wrapper = dict({replace}optimizer=dict(type='SGD', lr=1e-4, momentum=0.9, weight_decay=1e-4))
param_scheduler = None
auto_scale_lr = dict(enable=False)
load_from = '{weights}'
default_hooks = dict(checkpoint=dict(interval=1000))
custom_hooks = {hooks}
"""
RECIPE = """
clip_len = {clip_len}
frame_interval = {frame_interval}
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


def furnish(root: Path, clips: int, crop: int, name: str) -> Path:
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
    network = NETWORKS[name]
    recipe = root / "bench.toml"
    view = {"clip_len": network.clip_len, "frame_interval": network.frame_interval}
    recipe.write_text(RECIPE.format(crop=crop, short_side=crop * 8 // 7, **view))
    return recipe


def write_weights(path: Path, crop: int, name: str) -> None:
    """Save random weights whose batch norms have the averages of what goes through them: of clips.

    Fitted to noise, they let the scores of real clips grow until most gradients are too small for a
    normal float, and a processor takes ten times as long for such a step, now and then.
    """
    import torch

    from dancecli.core.recipe import Recipe
    from dancecli.model.networks.base import build_model_config, model_base
    from dancecli.model.networks.build import build_model
    from dancecli.model.networks.mmaction import CONFIGS
    from dancecli.model.networks.zoo import find_entry

    entry = find_entry(name)
    built = build_model(build_model_config(model_base(entry), Recipe(freeze="none"), 400, None), seed=0)
    norms = [module for module in built.modules() if isinstance(module, torch.nn.BatchNorm3d)]
    if norms:
        for module in norms:
            module.momentum = 1.0
            module.train()
        with torch.no_grad():
            built.backbone(some_frames(path.parent / "films", max(crop, 112), NETWORKS[name].clip_len))
    torch.save({"state_dict": built.state_dict()}, path)
    path.with_suffix(".base").write_text(str(CONFIGS / str(entry.config)))


def some_frames(films: Path, side: int, length: int) -> Any:
    """Read a stretch of each of four films as the network is given it: [4, 3, length, side, side]."""
    import av
    import torch

    clips = []
    for film in sorted(films.rglob("*.mp4"))[:4]:
        with av.open(str(film)) as container:
            pictures = [
                f.to_ndarray(format="rgb24", width=side, height=side) for f in container.decode(video=0)
            ]
        frames = torch.stack([torch.from_numpy(picture) for picture in pictures[: 2 * length : 2]])
        clips.append((frames.permute(3, 0, 1, 2).float() - 120) / 58)
    return torch.stack(clips)


def stock_config(root: Path, name: str, freeze: str, epochs: int, crop: int) -> str:
    """Write MMAction2's own config of a network for our clips and classes, with as much frozen."""
    network, stages = NETWORKS[name], -1 if freeze == "none" else int(freeze)
    hooks = [{"type": "FreezeHook", "prefixes": ["backbone"]}] if network.hooked and freeze == "4" else []
    return STOCK.format(
        base=(root / "random.base").read_text(), backbone=network.backbone.format(freeze=stages),
        clip_len=network.clip_len, frame_interval=network.frame_interval, epochs=epochs, crop=crop,
        short_side=crop * 8 // 7, lists=root / "annotations" / "all", root=root, hooks=hooks,
        weights=root / "random.pth", replace="_delete_=True, " if network.has_data else "",
    )  # fmt: skip


def measure(root: Path, name: str, freeze: str, epochs: int, crop: int, rounds: int) -> dict[str, list[Cost]]:
    """Let both train, turn by turn; every turn begins without stored features."""
    config = root / f"stock-{freeze}-{epochs}.py"
    config.write_text(stock_config(root, name, freeze, epochs, crop))
    tool = Path((root / "random.base").read_text()).parents[3] / "tools" / "train.py"
    turns = iter(range(1000))

    def stock() -> Cost:
        work = root / f"work{next(turns)}"
        return run_child([sys.executable, str(tool), str(config), "--work-dir", str(work)], stderr=sys.stderr)

    def ours() -> Cost:
        run = f"f{freeze}-e{epochs}-{next(turns)}"
        cache = root / "cache"
        if cache.exists():
            cache.rename(root / f"old-{run}")
        flags = ("--freeze", freeze, "--epochs", str(epochs), "--recipe", "bench.toml", "--name", run)
        weights = ("--pretrain", name, "--weights", "random.pth", "--cache")
        return dance(root, "finetune", *weights, *flags)

    return take_turns({"stock": stock, "ours": ours}, rounds)


def phases(root: Path, freeze: str, epochs: int) -> dict[str, float]:
    """Read how long the phases of our last run of a case took, in seconds."""
    runs = (root / "runs").glob(f"f{freeze}-e{epochs}-*/run.json")
    last = max(runs, key=lambda path: path.stat().st_mtime)
    seconds: dict[str, float] = json.loads(last.read_text(encoding="utf-8"))["seconds"]
    return seconds


def bar(asked: argparse.Namespace, freeze: str, epochs: int, ratio: float) -> Bar | None:
    """Hold a ratio against what is to be reached, where there is work enough for that to be stated."""
    network = NETWORKS[asked.network]
    least = network.bars.get(freeze)
    small = asked.clips < network.least_clips or asked.crop < network.least_crop
    if epochs != 10 or small or least is None:
        return None
    what = f"{network.title}, freeze {freeze}: ten epochs at least {least:g} times as fast as stock"
    return Bar(what, f"{ratio:.2f}", ratio >= least)


def main() -> int:
    """Measure every freeze and number of epochs that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, default="resnet50")
    parser.add_argument("--clips", type=int, default=80)
    parser.add_argument("--epochs", type=int, nargs="+", default=[1, 3, 10, 30])
    parser.add_argument("--freeze", nargs="+", default=["4", "3"])
    parser.add_argument("--crop", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="few clips, small: shows that it works")
    parser.add_argument("--weights-to", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.weights_to:
        write_weights(asked.weights_to, asked.crop, asked.network)
        return 0
    if asked.quick:
        asked.clips, asked.epochs, asked.freeze, asked.crop = 6, [2], ["4"], 64
    title = NETWORKS[asked.network].title
    rows, measured, bars, points = [], [], [], {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        furnish(root, asked.clips, asked.crop, asked.network)
        size = ("--crop", asked.crop, "--network", asked.network)
        run_again(__file__, "--weights-to", root / "random.pth", *size)
        for freeze in asked.freeze:
            for epochs in asked.epochs:
                costs = measure(root, asked.network, freeze, epochs, asked.crop, asked.rounds)
                stock, ours = middle(costs["stock"]), middle(costs["ours"])
                ratio = stock.clock_s / ours.clock_s
                took = phases(root, freeze, epochs)
                once_s = took["features"]
                case = {"network": asked.network, "freeze": freeze, "epochs": epochs}
                case |= {"clips": asked.clips, "crop": asked.crop, "ratio": round(ratio, 2)}
                measured.append(case | {"stock": figures(stock), "ours": figures(ours), "of_ours_s": took})
                shown = (stock.clock_s, ours.clock_s, once_s, ratio, stock.cpu_s / ours.cpu_s)
                row = f"{title}, freeze {freeze}, {epochs} epochs"
                rows.append((row, *(f"{value:.1f}" for value in shown)))
                for way, cost in (("stock", stock), ("ours", ours)):
                    points.setdefault(f"{way}, freeze {freeze}", []).append((epochs, cost.clock_s))
                if found := bar(asked, freeze, epochs, ratio):
                    bars.append(found)
    floor = (
        "one pass of every clip through the network, which is the column 'frozen backbone, once'; "
        "stock makes such a pass in every epoch"
    )
    plots = [Plot("training", "epochs", "seconds", points)] if len(asked.epochs) > 1 else []
    columns = ("", "stock s", "dance s", "of which frozen backbone, once", "ratio", "by CPU")
    return tell("training", measured, bars, columns, rows, floor=floor, plots=plots)


if __name__ == "__main__":
    raise SystemExit(main())
