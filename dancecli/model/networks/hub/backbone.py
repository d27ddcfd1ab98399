"""A network of the Hub as a backbone among MMAction2's: clips in, one vector per clip out."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from dancecli.core.errors import MissingDependencyError, ModelError
from dancecli.core.text import first_line
from dancecli.model.networks.hub.architectures import (
    ARCHITECTURES,
    HIERA_VIDEO,
    TIMM,
    Architecture,
)
from dancecli.model.networks.mmaction import MODELS

_INSTALL = "pip install 'dancecli[hub]'"
# Settings that describe no layer: names and labels of the publisher, and what would fetch or run something.
_IGNORED = (
    *("_name_or_path", "architectures", "auto_map", "id2label", "label2id", "transformers_version"),
    *("dtype", "torch_dtype", "attn_implementation", "_attn_implementation", "quantization_config"),
    *("problem_type", "custom_pipelines"),
)
# What a configuration of Hiera may leave out, and its width and depth follow from.
_HIERA_DEFAULTS = {"embed_dim": 96, "stages": [2, 3, 16, 3], "dim_mul": 2.0}


def plain_config(architecture: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Complete the configuration of a repository with its defaults, as plain data for our own config.

    Raises:
        ModelError: transformers, or the architecture's own package, does not accept it.
        MissingDependencyError: that package is not installed.
    """
    row = ARCHITECTURES[architecture]
    if architecture == TIMM:
        return _timm_config(config)
    if architecture == HIERA_VIDEO:
        return _hiera_config(config)
    full = _described(_class(row.network), row, _without(config, _IGNORED))
    found: dict[str, Any] = _without(full.to_dict(), _IGNORED)
    return found


def _timm_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Complete the configuration of a network of timm with what the network itself says: width and depth.

    Raises:
        ModelError: timm does not know the architecture, or does not accept its arguments.
    """
    timm = _package("timm")
    name, arguments = str(config["architecture"]), _timm_arguments(config)
    try:
        # Only its shape is asked for.
        with torch.device("meta"):
            net = timm.create_model(name, pretrained=False, num_classes=0, **arguments)
        width, blocks = int(net.head_hidden_size), getattr(net, "blocks", ())
    except Exception as error:  # a wrong argument raises nearly anything
        raise ModelError(
            f"timm does not accept the configuration of {name!r} ({first_line(error)})"
        ) from None
    return {
        "architecture": name,
        "model_args": arguments,
        "num_features": width,
        # Only whole blocks can be trained on their own.
        "num_blocks": len(blocks) if isinstance(blocks, nn.Sequential | nn.ModuleList) else 0,
        "num_classes": 0,
    }


def _timm_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Give the arguments of a network of timm, without its classifier."""
    given = config.get("model_args") or {}
    return {key: value for key, value in dict(given).items() if key != "num_classes"}


def _package(name: str) -> Any:
    """Import a package that an extra of its name brings.

    Raises:
        MissingDependencyError: it is not installed, or its torchvision is of another build than torch.
    """
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError) as error:
        raise MissingDependencyError(
            f"{name} cannot be imported ({first_line(error)})",
            f"pip install 'dancecli[{name}]'; torch and torchvision must come from one index",
        ) from None


def _hiera_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Complete the configuration of a Hiera for video with what follows from it: width, depth, input.

    Raises:
        ModelError: it is not one, or describes an autoencoder.
    """
    if "decoder_depth" in config:
        raise ModelError(
            "Hiera for video: these weights are those of an autoencoder, without the last layer",
            "use the fine-tuned ones, such as facebook/hiera_base_16x224.mae_k400_ft_k400",
        )
    settings = ARCHITECTURES[HIERA_VIDEO].settings
    found = {**_HIERA_DEFAULTS, **{key: config[key] for key in settings if key in config}}
    try:
        frames, _, side = (int(value) for value in found["input_size"])
        width, blocks = int(found["embed_dim"]), sum(int(count) for count in found["stages"])
        for _ in found["stages"][1:]:
            width = int(width * found["dim_mul"])
    except (TypeError, ValueError) as error:
        raise ModelError(f"Hiera for video: its configuration is not accepted ({error})") from None
    return {**found, "num_frames": frames, "image_size": side, "num_features": width, "num_blocks": blocks}


def _hiera(config: Mapping[str, Any]) -> Any:
    """Build a Hiera for video without its classifier.

    Raises:
        ModelError: the package does not accept the configuration.
        MissingDependencyError: it is not installed, or its torchvision is of another build than torch.
    """
    hiera = _package("hiera")
    row = ARCHITECTURES[HIERA_VIDEO]
    wanted = torch.get_default_device()
    try:
        # It reads numbers off tensors while it is built, which those without values do not have.
        with torch.device("cpu"):
            net = getattr(hiera, row.network)(**{key: config[key] for key in row.settings if key in config})
    except Exception as error:  # a wrong argument raises nearly anything
        raise ModelError(f"{row.title}: its configuration is not accepted ({first_line(error)})") from None
    net.head = nn.Identity()
    return net.to(wanted)


def _load_hiera(config: Mapping[str, Any], state: Mapping[str, Tensor]) -> tuple[nn.Module, set[str]]:
    """Build a Hiera for video with weights, and name those of its weights that were not found."""
    net = _hiera(config)
    own = net.state_dict()
    found = {key: value for key, value in state.items() if key in own and value.shape == own[key].shape}
    net.load_state_dict(found, strict=False)
    return net, own.keys() - found.keys()


def read_weights(folder: Path, files: Iterable[str]) -> dict[str, Tensor]:
    """Read safetensors files of a folder, joined.

    Raises:
        ModelError: one is damaged.
        MissingDependencyError: safetensors is not installed.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise MissingDependencyError(f"safetensors is not installed ({error})", _INSTALL) from None
    state: dict[str, Tensor] = {}
    for file in files:
        try:
            state |= load_file(folder / file)
        except (SafetensorError, OSError, ValueError) as error:
            raise ModelError(
                f"{folder / file}: is not a safetensors file ({error})", "remove it and try again"
            ) from None
    return state


def load_network(
    architecture: str, config: Mapping[str, Any], state: dict[str, Tensor], *, zero_shot: bool = False
) -> tuple[nn.Module, set[str]]:
    """Build a network with weights under the names with which they were published.

    Args:
        architecture: a key of `ARCHITECTURES`.
        config: as of `plain_config`; for `zero_shot` that of the whole repository.
        state: the weights.
        zero_shot: build the network that scores clips by texts, with all its parts.

    Returns:
        The network, and the names of those of its weights that were not found, which are random.

    Raises:
        ModelError: the configuration is not accepted.
    """
    if architecture == HIERA_VIDEO:
        return _load_hiera(config, state)
    row = ARCHITECTURES[architecture]
    network = _class(row.zero_shot if zero_shot else row.network)
    described = _described(network, row, _without(config, _IGNORED))
    net, told = network.from_pretrained(
        None,
        config=described,
        state_dict=state,
        dtype=torch.float32,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    if not zero_shot:
        _drop_unused(net, row)
    lost = {str(key) for key in told["missing_keys"]}
    lost |= {str(entry[0] if isinstance(entry, tuple) else entry) for entry in told["mismatched_keys"]}
    return net, lost


@MODELS.register_module(force=True)
class HubBackbone(nn.Module):
    """A network of the Hub, built from its configuration alone.

    Args:
        architecture: a key of `ARCHITECTURES`.
        config: of the network, all settings.
        source: repository and commit that it is of.
        tokens: give the tokens of a clip instead of its pooled features.

    Raises:
        ModelError: no such architecture, or the configuration is not accepted.
    """

    def __init__(
        self,
        architecture: str,
        config: Mapping[str, Any],
        source: str = "",
        tokens: bool = False,
    ) -> None:
        super().__init__()
        if architecture not in ARCHITECTURES:
            raise ModelError(
                f"{source}: architecture {architecture!r} is not known", f"known: {', '.join(ARCHITECTURES)}"
            )
        self.row = ARCHITECTURES[architecture]
        self.architecture, self.config, self.source = architecture, dict(config), source
        self.tokens = tokens
        if architecture == HIERA_VIDEO:
            self.net = _hiera(self.config)
            return
        if architecture == TIMM:
            _package("timm")
        network = _class(self.row.network)
        self.net = network(_described(network, self.row, self.config))
        _drop_unused(self.net, self.row)

    def forward(self, x: Tensor) -> Tensor:
        """Describe clips [N, 3, T, H, W]: pooled features [N, C], or tokens [N, K, C]."""
        pooled, tokens = self.describe(x)
        return tokens if self.tokens else pooled

    def describe(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Give pooled features [N, C] and tokens [N, K, C] of clips [N, 3, T, H, W].

        Raises:
            ModelError: the network takes another number of frames.
        """
        if isinstance(x, FakeTensor):
            # DINOv3 keeps coordinates for later passes: not those of a tensor without values.
            raise ModelError(f"{self.row.title} is not computed on shapes alone")
        frames, wanted = x.shape[2], self.row.frames_of(self.config)
        if self.row.fixed_frames and frames != wanted:
            raise ModelError(
                f"{self.row.title} takes {wanted} frames, not {frames}", f"use clip_len = {wanted}"
            )
        return self.row.read(self.net, x.transpose(1, 2))


def _drop_unused(net: nn.Module, row: Architecture) -> None:
    for name in row.unused:
        setattr(net, name, None)


def _class(name: str) -> Any:
    """Find a class of transformers.

    Raises:
        MissingDependencyError: transformers is not installed, or too old for it.
    """
    try:
        import transformers

        # Its bars and reports would break our lines; what is missing we count ourselves.
        transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        return getattr(transformers, name)
    except (ImportError, AttributeError) as error:
        raise MissingDependencyError(f"transformers cannot provide {name} ({error})", _INSTALL) from None


def _described(network: Any, row: Architecture, config: Mapping[str, Any]) -> Any:
    """Give the configuration as transformers has it: of the tower alone, where the network is that.

    Raises:
        ModelError: it is not accepted.
    """
    kind = network.config_class
    settings = copy.deepcopy(dict(config))
    if row.settings:
        settings = {key: settings[key] for key in row.settings if key in settings}
        settings |= {"num_classes": 0, "model_args": _timm_arguments(settings)}
    tower = settings.get(row.tower) if row.tower else None
    if isinstance(tower, dict) and kind.base_config_key == row.tower:
        settings = _without(tower, _IGNORED)
    try:
        return kind.from_dict(settings)
    except Exception as error:  # a wrong value raises nearly anything
        raise ModelError(
            f"{row.title}: transformers does not accept its configuration ({first_line(error)})"
        ) from None


def _without(value: Any, keys: Iterable[str]) -> Any:
    """Copy plain data without these keys, at any depth."""
    if isinstance(value, Mapping):
        return {str(key): _without(inner, keys) for key, inner in value.items() if key not in keys}
    return [_without(inner, keys) for inner in value] if isinstance(value, list | tuple) else value
