"""What has to be known about each architecture of the Hub: one row for each.

A row says which class of transformers reads it, what it sees, and what of its output describes a clip.
An architecture is added by a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

# From a network and clips [N, T, 3, H, W] to pooled features [N, C], and tokens [N, K, C].
Read = Callable[[Any, "Tensor"], tuple["Tensor", "Tensor"]]
# Single frames spread over the clip, as published systems on CLIP take them.
_SPREAD_FRAMES = 8


@dataclass(frozen=True)
class Architecture:
    """One architecture.

    Attributes:
        title: its name, for people.
        network: class of transformers, or of the architecture's own package.
        read: what of its output is used.
        frames: setting of the configuration that says how many frames a view has; empty for a network of
            single frames.
        interval: distance of these frames, as trained; None if they are spread over the clip.
        fixed_frames: it takes this number of frames and no other.
        width: setting that says how many pooled features there are.
        size: setting that says which side the network takes; empty if it takes any.
        tower: part of the configuration that describes the network; empty for all of it.
        stem, layers: names of what comes before its layers, and of the list of these.
        count: setting that says how many layers there are.
        unused: parts of the network that the features do not depend on.
        zero_shot: class that scores clips by texts; empty if there is none.
        settings: the only settings of the configuration that describe the network; empty for all.
    """

    title: str
    network: str
    read: Read
    frames: str = ""
    interval: int | None = None
    fixed_frames: bool = False
    width: str = "hidden_size"
    size: str = "image_size"
    tower: str = ""
    stem: str = "embeddings"
    layers: str = "encoder.layer"
    count: str = "num_hidden_layers"
    unused: tuple[str, ...] = ()
    zero_shot: str = ""
    settings: tuple[str, ...] = ()

    @property
    def sees_clips(self) -> bool:
        """Whether it sees several frames at once; if not, those of a view are averaged."""
        return bool(self.frames)

    def frames_of(self, config: Mapping[str, Any]) -> int:
        """Give the frames of a view, as the configuration says."""
        return int(setting(config, self.frames)) if self.frames else _SPREAD_FRAMES

    def side_of(self, config: Mapping[str, Any]) -> int:
        """Give the only side that the network takes, in pixels; 0 if it takes any."""
        side = setting(config, self.size) if self.size else 0
        return int(side[-1] if isinstance(side, list | tuple) else side)

    def parts_of(self, config: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        """Name its stem and its layers, in order."""
        count = setting(config, self.count)
        number = len(count) if isinstance(count, list | tuple) else int(count)
        return self.stem, tuple(f"{self.layers}.{i}" for i in range(number))


def setting(config: Mapping[str, Any], path: str) -> Any:
    """Read a setting by its path, such as `vision_config.num_frames`."""
    value: Any = config
    for name in path.split("."):
        value = value[name]
    return value


def _vjepa2(net: Any, clips: Tensor) -> tuple[Tensor, Tensor]:
    tokens = net(pixel_values_videos=clips, skip_predictor=True).last_hidden_state
    return tokens.mean(1), tokens


def _mean_of_tokens(net: Any, clips: Tensor) -> tuple[Tensor, Tensor]:
    tokens = net(pixel_values=clips).last_hidden_state
    return tokens.mean(1), tokens


def _class_token(net: Any, clips: Tensor) -> tuple[Tensor, Tensor]:
    tokens = net(pixel_values=clips).last_hidden_state
    return tokens[:, 0], tokens[:, 1:]


def _mean_of_frames(net: Any, clips: Tensor) -> tuple[Tensor, Tensor]:
    """Average what single frames give; class and register tokens are no patches."""
    found = net(pixel_values=clips.flatten(0, 1))
    pooled, tokens = found.pooler_output, found.last_hidden_state
    first = tokens.shape[1] - _patches(net, tokens.shape[1])
    tokens = tokens[:, first:].reshape(len(clips), -1, tokens.shape[-1])
    return pooled.reshape(len(clips), -1, pooled.shape[-1]).mean(1), tokens


def _mean_of_timm(net: Any, clips: Tensor) -> tuple[Tensor, Tensor]:
    """Average what a network of timm gives for single frames; its tokens are rows or places of a map."""
    found = net(pixel_values=clips.flatten(0, 1))
    pooled, last = found.pooler_output, found.last_hidden_state
    if last.ndim == 4:
        # Swin and its kin have their channels last.
        last = last.flatten(2).transpose(1, 2) if last.shape[1] == pooled.shape[1] else last.flatten(1, 2)
    first = int(getattr(net.timm_model, "num_prefix_tokens", 0))
    tokens = last[:, first:].reshape(len(clips), -1, last.shape[-1])
    return pooled.reshape(len(clips), -1, pooled.shape[-1]).mean(1), tokens


def _hiera_video(net: Any, clips: Tensor) -> tuple[Tensor, Tensor]:
    """Read the mean of the last tokens, normalized; the tokens are those of the last stage, as they lie."""
    pooled, stages = net(clips.transpose(1, 2), return_intermediates=True)
    return pooled, stages[-1].flatten(1, -2)


def _patches(net: Any, tokens: int) -> int:
    """Count the patches among the tokens of a frame."""
    config = net.config
    if config.model_type in ("hiera", "siglip_vision_model"):
        return tokens
    return tokens - 1 - int(getattr(config, "num_register_tokens", 0) or 0)


def _xclip(net: Any, clips: Tensor) -> tuple[Tensor, Tensor]:
    """Integrate the frames, as `get_video_features` does; the integrated frames are the tokens."""
    frames = net.vision_model(pixel_values=clips.flatten(0, 1)).pooler_output
    found = net.mit(net.visual_projection(frames).reshape(*clips.shape[:2], -1))
    return found.pooler_output, found.last_hidden_state


# The name under which transformers wraps networks of timm.
TIMM = "timm_wrapper"
# The package `hiera-transformer` saves no `model_type`.
HIERA_VIDEO = "hiera_video"
_CLIP_LAYERS = "encoder.layers"

# By `model_type` of the configuration.
ARCHITECTURES: dict[str, Architecture] = {
    "vjepa2": Architecture(
        "V-JEPA 2",
        "VJEPA2Model",
        _vjepa2,
        frames="frames_per_clip",
        size="",
        stem="encoder.embeddings",
        unused=("predictor",),
    ),
    "videomae": Architecture(
        "VideoMAE", "VideoMAEModel", _mean_of_tokens, frames="num_frames", interval=4, fixed_frames=True
    ),
    "vivit": Architecture(
        "ViViT",
        "VivitModel",
        _class_token,
        frames="num_frames",
        interval=2,
        fixed_frames=True,
        layers="layers",
        unused=("pooler",),
    ),
    "timesformer": Architecture(
        "TimeSformer",
        "TimesformerModel",
        _class_token,
        frames="num_frames",
        interval=32,
        size="",
    ),
    "xclip": Architecture(
        "X-CLIP",
        "XCLIPModel",
        _xclip,
        frames="vision_config.num_frames",
        fixed_frames=True,
        width="projection_dim",
        size="vision_config.image_size",
        stem="vision_model.embeddings",
        layers="vision_model.encoder.layers",
        count="vision_config.num_hidden_layers",
        unused=("text_model", "text_projection", "prompts_generator"),
        zero_shot="XCLIPModel",
    ),
    "dinov2": Architecture("DINOv2", "Dinov2Model", _mean_of_frames, size=""),
    "dinov2_with_registers": Architecture(
        "DINOv2 with registers", "Dinov2WithRegistersModel", _mean_of_frames, size=""
    ),
    "dinov3_vit": Architecture("DINOv3", "DINOv3ViTModel", _mean_of_frames, size="", layers="model.layer"),
    "siglip": Architecture(
        "SigLIP",
        "SiglipVisionModel",
        _mean_of_frames,
        tower="vision_config",
        layers=_CLIP_LAYERS,
        zero_shot="SiglipModel",
    ),
    "clip": Architecture(
        "CLIP",
        "CLIPVisionModel",
        _mean_of_frames,
        tower="vision_config",
        layers=_CLIP_LAYERS,
        zero_shot="CLIPModel",
    ),
    "hiera": Architecture("Hiera", "HieraModel", _mean_of_frames, layers="encoder.stages", count="depths"),
    HIERA_VIDEO: Architecture(
        "Hiera for video",
        "Hiera",
        _hiera_video,
        frames="num_frames",
        interval=4,
        fixed_frames=True,
        width="num_features",
        stem="patch_embed",
        layers="blocks",
        count="num_blocks",
        settings=(
            *("input_size", "in_chans", "embed_dim", "num_heads", "stages", "q_pool", "q_stride"),
            *("mask_unit_size", "mask_unit_attn", "dim_mul", "head_mul", "patch_kernel", "patch_stride"),
            *("patch_padding", "mlp_ratio", "norm_layer", "sep_pos_embed"),
        ),
    ),
    TIMM: Architecture(
        "timm",
        "TimmWrapperModel",
        _mean_of_timm,
        width="num_features",
        size="",
        stem="timm_model.patch_embed",
        layers="timm_model.blocks",
        count="num_blocks",
        settings=("architecture", "model_args", "num_features", "num_blocks", "num_classes"),
    ),
}


_HIERA = {"input_size", "q_stride", "mask_unit_size", "patch_stride"}


def architecture_of(config: Mapping[str, Any]) -> str:
    """Name the architecture of a repository's configuration; a key of `ARCHITECTURES` if it is known.

    timm's own configurations have no `model_type`, and name an architecture of timm; those of
    `hiera-transformer` are the arguments of its network, whose input has a time.
    """
    if not config.get("model_type") and config.keys() >= _HIERA and len(config["input_size"]) == 3:
        return HIERA_VIDEO
    if not config.get("model_type") and "pretrained_cfg" in config and "architecture" in config:
        return TIMM
    return str(config.get("model_type") or "")
