"""Weights of Inception-v1 under other names, 2-D or 3-D, brought to those of `InceptionI3D`.

A 2-D kernel is inflated as in Carreira & Zisserman 2017, section 2.4: repeated over time and
divided by the number of repeats, so that a video of one repeated frame gives what the frame gave.
The first kernel of an RGB network is averaged over the colors for optical flow, as TSN starts its
temporal stream (Wang et al. 2016, section 3.3, "cross modality pre-training").

Two differences that no file tells of. Our batch norm has no scale: one that is found goes into the
convolution and its average, which is the same function as long as the averages are kept
(`norm_eval`); the networks known here were trained without a scale, and hold ones. And torchvision
pads its first layer evenly, where the network it was ported from, and ours, have TensorFlow's
`SAME`: its answers are ours for a picture moved by one pixel.

Caffe's GoogLeNet has 5x5 kernels, biases and no batch norm: no weights for this network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dancecli.core.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

RGB_CHANNELS, FLOW_CHANNELS = 3, 2
FIRST_UNIT = "stem.conv_1a"
_MIXED = {
    "stage1": ("3b", "3c"),
    "stage2": ("4b", "4c", "4d"),
    "stage3": ("4e", "4f"),
    "stage4": ("5b", "5c"),
}
_STEM = ("conv_1a", "conv_2b", "conv_2c")
_UNITS = ("branch_0", "branch_1.0", "branch_1.1", "branch_2.0", "branch_2.1", "branch_3.1")
_LEAVES = ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")


@dataclass(frozen=True)
class Naming:
    """How one program names the layers of Inception-v1.

    Attributes:
        title: for messages and records.
        stem: its three convolutions.
        mixed: a mixed layer's name, by TensorFlow's number of it (`3b`).
        units: the six convolutions of a mixed layer, in the order of `_UNITS`.
        leaves: what a convolution holds, in the order of `_LEAVES`; the scale may be missing.
        prefixes: what may stand before all names.
        tensorflow: kernels have their channels last.
        kinetics: such files are DeepMind's Kinetics weights, whose flow was TV-L1.
    """

    title: str
    stem: tuple[str, str, str]
    mixed: Mapping[str, str]
    units: tuple[str, ...]
    leaves: tuple[str, ...]
    prefixes: tuple[str, ...] = ("",)
    tensorflow: bool = False
    kinetics: bool = False

    def key(self, unit: str, leaf: str) -> str:
        """Give the name of one tensor; `unit` and `leaf` are ours."""
        separator = "/" if self.tensorflow else "."
        return f"{self._unit(unit)}{separator}{self.leaves[_LEAVES.index(leaf)]}"

    def _unit(self, ours: str) -> str:
        stage, layer, *rest = ours.split(".", 2)
        if stage == "stem":
            return self.stem[_STEM.index(layer)]
        number = layer.removeprefix("mixed_")
        unit = self.units[_UNITS.index(rest[0])]
        if self.tensorflow and number == "5b" and rest[0] == "branch_2.1":
            # A slip in the original that every checkpoint of it has.
            unit = unit.replace("0b", "0a")
        return f"{self.mixed[number]}{'/' if self.tensorflow else '.'}{unit}"


def _tensorflow(dimensions: int, title: str, leaves: tuple[str, ...], prefixes: tuple[str, ...]) -> Naming:
    conv = f"Conv{dimensions}d"
    branches = ("0/%s_0a_1x1", "1/%s_0a_1x1", "1/%s_0b_3x3", "2/%s_0a_1x1", "2/%s_0b_3x3", "3/%s_0b_1x1")
    return Naming(
        title=title,
        stem=(f"{conv}_1a_7x7", f"{conv}_2b_1x1", f"{conv}_2c_3x3"),
        mixed={number: f"Mixed_{number}" for numbers in _MIXED.values() for number in numbers},
        units=tuple(f"Branch_{branch % conv}" for branch in branches),
        leaves=leaves,
        prefixes=prefixes,
        tensorflow=True,
        kinetics=dimensions == 3,
    )


_OURS = Naming(
    title="InceptionI3D",
    stem=("stem.conv_1a", "stem.conv_2b", "stem.conv_2c"),
    mixed={number: f"{stage}.mixed_{number}" for stage, numbers in _MIXED.items() for number in numbers},
    units=_UNITS,
    leaves=_LEAVES,
    prefixes=("", "backbone."),
)
NAMINGS = (
    _OURS,
    Naming(
        title="torchvision's googlenet",
        stem=("conv1", "conv2", "conv3"),
        # It counts from a where TensorFlow, whose a is the pool, counts from b.
        mixed={n: f"inception{n[0]}{chr(ord(n[1]) - 1)}" for numbers in _MIXED.values() for n in numbers},
        units=("branch1", "branch2.0", "branch2.1", "branch3.0", "branch3.1", "branch4.1"),
        leaves=_LEAVES,
    ),
    Naming(
        title="pytorch-i3d",
        stem=("Conv3d_1a_7x7", "Conv3d_2b_1x1", "Conv3d_2c_3x3"),
        mixed={number: f"Mixed_{number}" for numbers in _MIXED.values() for number in numbers},
        units=("b0", "b1a", "b1b", "b2a", "b2b", "b3b"),
        leaves=("conv3d.weight", *_LEAVES[1:]),
        kinetics=True,
    ),
    Naming(
        title="kinetics_i3d_pytorch",
        stem=("conv3d_1a_7x7", "conv3d_2b_1x1", "conv3d_2c_3x3"),
        mixed={number: f"mixed_{number}" for numbers in _MIXED.values() for number in numbers},
        units=_UNITS,
        leaves=("conv3d.weight", *(leaf.replace("bn", "batch3d") for leaf in _LEAVES[1:])),
        kinetics=True,
    ),
    _tensorflow(
        2,
        "TF-Slim's InceptionV1",
        ("weights", *(f"BatchNorm/{n}" for n in ("gamma", "beta", "moving_mean", "moving_variance"))),
        ("InceptionV1/",),
    ),
    _tensorflow(
        3,
        "kinetics-i3d",
        ("conv_3d/w", *(f"batch_norm/{n}" for n in ("gamma", "beta", "moving_mean", "moving_variance"))),
        ("RGB/inception_i3d/", "Flow/inception_i3d/"),
    ),
)


@dataclass(frozen=True)
class Inception:
    """The weights of an Inception-v1 as `InceptionI3D` takes them.

    Attributes:
        state: by the names of `InceptionI3D`, every key that holds a learned value.
        how: what was done to them, for the record; empty if nothing.
        flow_method: the optical flow they were trained on; empty for RGB, or if it is not known.
    """

    state: dict[str, Tensor]
    how: str
    flow_method: str


def unit_names() -> Iterator[str]:
    """Name the 57 convolutions of `InceptionI3D`, in their order."""
    yield from (f"stem.{name}" for name in _STEM)
    for stage, numbers in _MIXED.items():
        for number in numbers:
            yield from (f"{stage}.mixed_{number}.{unit}" for unit in _UNITS)


def find_naming(found: Mapping[str, Tensor]) -> tuple[Naming, str] | None:
    """Say whose names these are, and what stands before them; None if they are not of an Inception-v1."""
    for naming in NAMINGS:
        for prefix in naming.prefixes:
            # The middle of the network tells two networks with the same stem apart.
            wanted = [
                naming.key(unit, "conv.weight") for unit in ("stem.conv_1a", "stage2.mixed_4c.branch_0")
            ]
            if all(prefix + key in found and found[prefix + key].ndim in (4, 5) for key in wanted):
                return naming, prefix
    return None


def as_inception(found: Mapping[str, Tensor], in_channels: int, where: str) -> Inception | None:
    """Bring weights to the names and shapes of `InceptionI3D(in_channels)`.

    Args:
        found: a state dict, or TensorFlow's variables by their names.
        in_channels: 3 for RGB, 2 for optical flow.
        where: what they are, for messages.

    Returns:
        None if they are not of an Inception-v1 that is known here.

    Raises:
        ModelError: they are, but one is missing or has another shape, or they are for other input.
    """
    named = find_naming(found)
    if named is None:
        return None
    naming, prefix = named
    first = found[prefix + naming.key(FIRST_UNIT, "conv.weight")]
    channels = first.shape[-2 if naming.tensorflow else 1]
    if channels not in (in_channels, RGB_CHANNELS):
        raise ModelError(
            f"{where}: are weights for {channels} channels, the network has {in_channels}",
            "weights of an RGB network can start both streams, those of a flow network only flow",
        )
    units = {unit: _unit_tensors(found, naming, prefix, unit, where) for unit in unit_names()}
    flat = any(tensors["conv.weight"].ndim == 4 for tensors in units.values())
    state: dict[str, Tensor] = {}
    for unit, tensors in units.items():
        state |= _unit_state(unit, tensors, naming.tensorflow)
    how = [] if naming is _OURS else [f"named as {naming.title}"]
    how += ["inflated from 2-D"] if flat else []
    if channels != in_channels:
        first_kernel = f"{FIRST_UNIT}.conv.weight"
        state[first_kernel] = over_channels(state[first_kernel], in_channels)
        how.append("the first layer averaged over the colors")
    method = "tvl1" if naming.kinetics and channels == FLOW_CHANNELS else ""
    return Inception(state, ", ".join(how), method)


def inflate(kernel: Tensor) -> Tensor:
    """Repeat a 2-D kernel [out, in, k, k] over time, each a k-th of it: [out, in, k, k, k]."""
    depth = kernel.shape[-1]
    return kernel.unsqueeze(2).repeat(1, 1, depth, 1, 1) / depth


def over_channels(kernel: Tensor, channels: int) -> Tensor:
    """Average a first kernel, [out, in, t, h, w], over `in` and give each of `channels` that average."""
    return kernel.mean(dim=1, keepdim=True).repeat(1, channels, 1, 1, 1)


def _unit_tensors(
    found: Mapping[str, Tensor], naming: Naming, prefix: str, unit: str, where: str
) -> dict[str, Tensor]:
    """Take one convolution with its batch norm out of a state dict, by our names."""
    names = {leaf: prefix + naming.key(unit, leaf) for leaf in _LEAVES}
    tensors = {leaf: found[name] for leaf, name in names.items() if name in found}
    lost = [name for leaf, name in names.items() if leaf not in tensors and leaf != "bn.weight"]
    hint = "the file was cut, or made by another program: take the whole state dict"
    if lost:
        raise ModelError(f"{where}: {lost[0]} is missing among weights of {naming.title}", hint)
    weight = tensors["conv.weight"]
    outputs = weight.shape[-1 if naming.tensorflow else 0] if weight.ndim in (4, 5) else 0
    if any(value.numel() != outputs for leaf, value in tensors.items() if leaf != "conv.weight"):
        raise ModelError(f"{where}: {names['conv.weight']} and its batch norm do not fit together", hint)
    return tensors


def _unit_state(unit: str, tensors: Mapping[str, Tensor], tensorflow: bool) -> dict[str, Tensor]:
    """One convolution with its batch norm, the scale in the convolution."""
    weight = tensors["conv.weight"].float()
    if tensorflow:
        weight = weight.permute(*(-1, -2), *range(weight.ndim - 2))
    if weight.ndim == 4:
        weight = inflate(weight)
    norm = {leaf: tensors[leaf].float().reshape(-1) for leaf in _LEAVES[1:] if leaf in tensors}
    mean = norm["bn.running_mean"]
    if (scale := norm.get("bn.weight")) is not None:
        weight = weight * scale.view(-1, 1, 1, 1, 1)
        mean = mean * scale
    kept = {
        "conv.weight": weight.contiguous(),
        "bn.bias": norm["bn.bias"].clone(),
        "bn.running_mean": mean.clone(),
        "bn.running_var": norm["bn.running_var"].clone(),
    }
    return {f"{unit}.{leaf}": value for leaf, value in kept.items()}
