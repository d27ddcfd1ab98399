"""A model of the Hub for a run: what it is, what it sees, and its weights."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import ModelError
from dancecli.core.hashing import sha256_file
from dancecli.model.networks.hub.architectures import (
    ARCHITECTURES,
    HIERA_VIDEO,
    TIMM,
    Architecture,
    architecture_of,
    setting,
)
from dancecli.model.networks.hub.preprocessing import FrameSettings, read_frame_settings
from dancecli.model.networks.hub.repository import (
    CONFIG,
    PREFIX,
    Repository,
    open_repository,
    weight_names,
)

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class HubModel:
    """A model of the Hub, its weights not yet read.

    Attributes:
        repository: its files.
        architecture: a key of `ARCHITECTURES`.
        frames: what it expects of its frames.
    """

    repository: Repository
    architecture: str
    frames: FrameSettings

    @property
    def row(self) -> Architecture:
        """What is known of its architecture."""
        return ARCHITECTURES[self.architecture]

    @property
    def packages(self) -> tuple[str, ...]:
        """What its features depend on beside torch."""
        if self.architecture == HIERA_VIDEO:
            return ("hiera-transformer", "timm")
        return ("transformers", "timm") if self.architecture == TIMM else ("transformers",)

    @property
    def name(self) -> str:
        """A short name, for runs and files."""
        last = re.split(r"[/\\]", self.repository.name)[-1]
        return re.sub(r"[^A-Za-z0-9_-]", "-", last)[:60].strip("-") or self.architecture

    @property
    def title(self) -> str:
        """What it is, for people."""
        commit = f" @ {self.repository.commit[:8]}" if self.repository.commit else ""
        return f"{self.row.title}, {PREFIX}{self.repository.name}{commit}"


def open_model(reference: str) -> HubModel:
    """Find a model of the Hub by the whole text that `--pretrain` was given.

    Raises:
        InputError: it is no reference, or names no revision.
        ModelError: it cannot be reached, has no safe weights, or is of an architecture that is not known.
    """
    repository = open_repository(reference.removeprefix(PREFIX))
    config = repository.read_json(CONFIG)
    kind = architecture_of(config)
    if config.get("auto_map"):
        raise ModelError(
            f"{repository.reference} needs code of its own ({kind or 'no model_type'}), which is not run",
            "use a repository that transformers reads by itself; docs/howto/hub.md lists the architectures",
        )
    if kind not in ARCHITECTURES:
        raise ModelError(
            f"{repository.reference} is of architecture {kind or 'unknown'!r}, which is not supported",
            f"supported: {', '.join(ARCHITECTURES)}",
        )
    model = HubModel(repository, kind, read_frame_settings(repository))
    side = model.row.side_of(network_config(model))
    if side and side != model.frames.crop:
        raise ModelError(
            f"{repository.reference}: its {model.frames.file} makes squares of {model.frames.crop} pixels, "
            f"and the network takes {side}",
            "use another revision",
        )
    return model


def network_config(model: HubModel) -> dict[str, Any]:
    """Return the whole configuration of a model's network, as plain data."""
    from dancecli.model.networks.hub.backbone import plain_config

    return plain_config(model.architecture, model.repository.read_json(CONFIG))


def recognizer(model: HubModel) -> dict[str, Any]:
    """Write the config of a video classifier on a model: its network, one linear layer, its normalization."""
    config = network_config(model)
    return {
        "type": "Recognizer3D",
        "backbone": {
            "type": "HubBackbone",
            "architecture": model.architecture,
            "config": config,
            "source": model.repository.reference.removeprefix(PREFIX),
        },
        "cls_head": {
            "type": "TimeSformerHead",
            "num_classes": 400,
            "in_channels": int(setting(config, model.row.width)),
            "dropout_ratio": 0.5,
            "average_clips": "prob",
        },
        "data_preprocessor": {
            "type": "ActionDataPreprocessor",
            "mean": list(model.frames.mean),
            "std": list(model.frames.std),
            "format_shape": "NCTHW",
        },
    }


def sampler(model: HubModel) -> dict[str, Any]:
    """Write the transform that chooses frames: at their distance in training, or spread over the clip."""
    frames = model.frames.num_frames
    if frames is None or model.row.fixed_frames:
        frames = model.row.frames_of(network_config(model))
    if model.frames.fps:
        return {
            "type": "SampleFrames",
            "clip_len": frames,
            "frame_interval": 1,
            "num_clips": 1,
            "target_fps": model.frames.fps,
        }
    if model.row.interval is None:
        return {"type": "UniformSample", "clip_len": frames, "num_clips": 1}
    return {"type": "SampleFrames", "clip_len": frames, "frame_interval": model.row.interval, "num_clips": 1}


def describe_views(model: HubModel) -> str:
    """Say in the plan of a run what the network sees, and what says so."""
    taken, said = sampler(model), model.frames
    if fps := taken.get("target_fps"):
        times = f"at {fps:g} per second, as its {said.file} says"
    elif "frame_interval" in taken:
        times = f"{taken['frame_interval']} apart, as {model.row.title} was trained"
    else:
        times = "spread over the clip"
    averaged = "" if model.row.sees_clips else "; the features of single frames are averaged"
    source = "as it was trained" if model.architecture == HIERA_VIDEO else f"by its {said.file}"
    return f"{source}: {said}; {taken['clip_len']} frames {times}{averaged}"


def file_hashes(model: HubModel) -> dict[str, str]:
    """Return the SHA-256 of the files that describe a model's network and its frames."""
    return {name: sha256_file(model.repository.folder / name) for name in (CONFIG, model.frames.file)}


def load_state(model: HubModel) -> dict[str, Tensor]:
    """Read the weights of a model, under the names that they have in our recognizer.

    Raises:
        ModelError: they cannot be read.
    """
    from dancecli.model.networks.hub.backbone import load_network, read_weights

    state = read_weights(model.repository.folder, weight_names(model.repository))
    net, lost = load_network(model.architecture, model.repository.read_json(CONFIG), state)
    return {f"backbone.net.{key}": value for key, value in net.state_dict().items() if key not in lost}
