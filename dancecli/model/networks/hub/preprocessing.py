"""What a network of the Hub expects of its frames, read from the repository's own preprocessor file.

The image processors themselves are not used: their steps become those of our pipelines, which decode,
resize and crop as for every other model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dancecli.core.errors import ModelError
from dancecli.model.networks.hub.architectures import HIERA_VIDEO, TIMM, architecture_of
from dancecli.model.networks.hub.repository import CONFIG, Repository

# The names under which preprocessors have been saved, the most specific first; the last holds several.
_FILES = ("video_preprocessor_config.json", "preprocessor_config.json", "processor_config.json")
_NESTED = ("video_processor", "image_processor")
# Pillow's filters, by its numbers, as our Resize step calls them.
_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
_WHITE = 255.0
# Of timm, where a model says nothing.
_TIMM_CROP = 0.875


@dataclass(frozen=True)
class FrameSettings:
    """What is between a decoded frame and a network.

    Attributes:
        file: that says so.
        short_side: of the resized frame, in pixels.
        crop: side of the square that the network sees.
        squashed: the whole frame is resized to that square, whatever its shape.
        interpolation: of resizing.
        mean, std: per channel, on the scale of 0 to 255.
        num_frames: frames per view; None if the file does not say.
        fps: rate at which they are taken; None if the file does not say.
    """

    file: str
    short_side: int
    crop: int
    squashed: bool
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    num_frames: int | None = None
    fps: float | None = None

    def __str__(self) -> str:
        """Describe them for the plan of a run."""
        resized = f"resized to {self.crop} x {self.crop}" if self.squashed else (
            f"short side {self.short_side}, center crop {self.crop}"
        )  # fmt: skip
        mean, std = (" ".join(f"{value / _WHITE:.3g}" for value in found) for found in (self.mean, self.std))
        return f"{resized}, {self.interpolation}; mean {mean}, std {std}"


def read_frame_settings(repository: Repository) -> FrameSettings:
    """Read the preprocessor file of a repository.

    Raises:
        ModelError: it has none, or one that our steps cannot follow.
    """
    published = repository.read_json(CONFIG)
    if architecture_of(published) == TIMM:
        try:
            return _timm_settings(published["pretrained_cfg"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{repository.reference}: its {CONFIG} cannot be followed ({error})", "use another revision"
            ) from None
    for file in _FILES:
        found = repository.read_json(file)
        inner = next((found[key] for key in _NESTED if isinstance(found.get(key), dict)), found)
        if "image_mean" in inner or "size" in inner:
            try:
                return _settings(inner, file)
            except (KeyError, TypeError, ValueError) as error:
                raise ModelError(
                    f"{repository.reference}: its {file} cannot be followed ({error})", "use another revision"
                ) from None
    if architecture_of(published) == HIERA_VIDEO:
        return _hiera_settings(published)
    raise ModelError(
        f"{repository.reference} has no {_FILES[1]}: size and normalization of its frames are not known",
        "add the file that the model was published with",
    )


def _timm_settings(found: Mapping[str, Any]) -> FrameSettings:
    """Read the `pretrained_cfg` of timm: its own transform of evaluation, `timm.data.create_transform`."""
    colors, height, width = (int(side) for side in found["input_size"])
    if colors != 3 or height != width:
        raise ValueError(f"frames of {colors} x {height} x {width} are no squares of three colors")
    share, mode = float(found.get("crop_pct") or _TIMM_CROP), found.get("crop_mode") or "center"
    if mode not in ("center", "squash") or not 0 < share <= 1:
        raise ValueError(f"crop_mode {mode!r} with crop_pct {share:g}")
    mean, std = _normalization({"image_mean": found["mean"], "image_std": found["std"]})
    resized = int(height / share)
    if mode == "squash" and resized != height:
        raise ValueError("a crop of a squashed frame")
    named = str(found.get("interpolation"))
    return FrameSettings(
        file=CONFIG,
        short_side=resized,
        crop=height,
        squashed=mode == "squash",
        interpolation=named if named in _FILTERS.values() else "bicubic",
        mean=mean,
        std=std,
    )


def _hiera_settings(config: Mapping[str, Any]) -> FrameSettings:
    """Give what the weights of Hiera for video were trained with: that of PySlowFast, which no file says."""
    side = int(config["input_size"][-1])
    mean, std = _normalization({"image_mean": [0.45] * 3, "image_std": [0.225] * 3})
    return FrameSettings(
        CONFIG, round(side * 256 / 224), side, squashed=False, interpolation="bilinear", mean=mean, std=std
    )


def _settings(found: Mapping[str, Any], file: str) -> FrameSettings:
    crop, short_side, squashed = _sizes(found)
    mean, std = _normalization(found)
    frames, fps = found.get("num_frames"), found.get("fps")
    return FrameSettings(
        file=file,
        short_side=short_side,
        crop=crop,
        squashed=squashed,
        interpolation=_FILTERS.get(found.get("resample") or 2, "bilinear"),
        mean=mean,
        std=std,
        num_frames=int(frames) if frames else None,
        fps=float(fps) if fps else None,
    )


def _sizes(found: Mapping[str, Any]) -> tuple[int, int, bool]:
    """Give the crop, the short side before it, and whether the frame is squashed into a square."""
    size = found["size"]
    if isinstance(size, Mapping) and "shortest_edge" in size:
        short_side, squashed = int(size["shortest_edge"]), False
    elif isinstance(size, Mapping):
        short_side, squashed = _side(size), True
    else:
        # Older files give one number: the short side where a crop follows, else a square.
        short_side, squashed = int(size), not found.get("do_center_crop", False)
    crops = found.get("do_center_crop", "crop_size" in found) and "crop_size" in found
    crop = _side(found["crop_size"]) if crops else short_side
    if crop > short_side:
        raise ValueError(f"a crop of {crop} from {short_side} pixels")
    # A square of the whole frame and a smaller crop of that do not occur; the crop decides.
    return crop, short_side, squashed and crop == short_side


def _side(size: Any) -> int:
    """Return the side of a square that is given as a number, or as height and width."""
    if not isinstance(size, Mapping):
        return int(size)
    if size["height"] != size["width"]:
        raise ValueError(f"{size['height']} x {size['width']} pixels are no square")
    return int(size["height"])


def _normalization(found: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Give mean and deviation on the scale of 0 to 255: what rescaling and normalizing are together."""
    scale = float(found.get("rescale_factor", 1 / _WHITE)) if found.get("do_rescale", True) else 1.0
    # ViViT moves the scaled values down by one before it normalizes them.
    shift = 1.0 if found.get("offset") else 0.0
    normalized = found.get("do_normalize", True)
    mean = found.get("image_mean", [0.0] * 3) if normalized else [0.0] * 3
    std = found.get("image_std", [1.0] * 3) if normalized else [1.0] * 3
    if len(mean) != 3 or len(std) != 3 or not all(value > 0 for value in std) or scale <= 0:
        raise ValueError("mean and deviation of three colors are needed")
    return tuple((shift + value) / scale for value in mean), tuple(value / scale for value in std)
