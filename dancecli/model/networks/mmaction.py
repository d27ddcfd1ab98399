"""MMAction2 compatibility layer: the only module that imports MMAction2 and mmengine.

Importing this module makes MMAction2 1.2.0 work on today's Python and torch. Our own classes
register themselves where they are defined; a generated config lists their modules under
`custom_imports`, so that it runs under MMAction2's own `tools/train.py` and `tools/test.py`. The
import takes seconds: import it inside the function that uses it.

It provides `mmaction.models` without the subpackages that cannot be imported (mmaction2#2714), the
name `np.Inf`, which NumPy 2 dropped, to the skeleton transforms,
configs and tools by path, since `mmaction::` names need the removed `pkg_resources`, and checkpoints
read without running a pickle's code (mmengine#1655).
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import pickle
import sys
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dancecli.core.errors import MissingDependencyError, ModelError
from dancecli.core.text import first_line
from dancecli.model.hardware.allocator import keep_freed_memory

_INSTALL = "pip install 'dancecli[train]'; on ARM also pip install --no-deps mmaction2==1.2.0"
try:
    import numpy as np
    import torch
except ImportError as error:
    raise MissingDependencyError(f"torch is not installed ({error})", _INSTALL) from error

# Without `localizers` (a module is missing from the wheel) and `multimodal` (wants transformers).
_MODEL_PARTS = (
    "common",
    "data_preprocessors",
    "backbones",
    "necks",
    "losses",
    "heads",
    "recognizers",
    "utils",
)


# Modules that MMAction2 imports and nothing here uses, at the price of seconds: packages that it does without
# where they are missing, and modules with the only name that is asked of them.
_OPTIONAL = ("transformers", "torch.distributed.optim")
_UNUSED = {
    "mmengine.runner._flexible_runner": "FlexibleRunner",
    "mmengine.model.wrappers.fully_sharded_distributed": "MMFullyShardedDataParallel",
}


class _OldNumpy(types.ModuleType):
    """NumPy with the name for infinity that version 2 dropped."""

    Inf = float("inf")

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


def _mode(*args: Any, **kwargs: Any) -> Any:
    from scipy.stats import mode

    return mode(*args, **kwargs)


@contextlib.contextmanager
def _unused_left_out() -> Iterator[None]:
    """Import MMAction2 without what nothing here uses; what is imported already stays."""
    stats: Any = types.ModuleType("scipy.stats")
    stats.mode = _mode
    hidden = dict.fromkeys(_OPTIONAL) | {"scipy.stats": stats}
    hidden = {name: module for name, module in hidden.items() if name not in sys.modules}
    # None says that there is no such module.
    modules: dict[str, Any] = sys.modules
    modules |= hidden
    for name, asked in _UNUSED.items():
        if name not in modules:
            modules[name] = types.ModuleType(name)
            setattr(modules[name], asked, None)
    try:
        yield
    finally:
        for name in hidden:
            modules.pop(name, None)


def _open_mmaction() -> Path:
    """Import what can be imported of MMAction2, and return the package's folder."""
    spec = importlib.util.find_spec("mmaction")
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError("MMAction2 is not installed", _INSTALL)
    package = Path(next(iter(spec.submodule_search_locations)))
    with warnings.catch_warnings(), _unused_left_out():
        # mmcv-lite warns that it is not mmcv; nothing used here needs the difference.
        warnings.simplefilter("ignore")
        if "mmaction.models" not in sys.modules:
            importlib.import_module("mmaction")
            # A bare module with the right path: importing a part then skips `models/__init__.py`.
            bare = types.ModuleType("mmaction.models")
            bare.__path__ = [str(package / "models")]
            bare.__spec__ = importlib.util.spec_from_loader("mmaction.models", loader=None, is_package=True)
            sys.modules["mmaction.models"] = bare
            for part in _MODEL_PARTS:
                importlib.import_module(f"mmaction.models.{part}")
        for part in ("datasets", "engine", "evaluation", "structures", "visualization"):
            importlib.import_module(f"mmaction.{part}")
        skeletons: Any = importlib.import_module("mmaction.datasets.transforms.pose_transforms")
        skeletons.np = _OldNumpy("numpy")
    return package


keep_freed_memory()
try:
    MMACTION = _open_mmaction()
except ImportError as error:
    raise MissingDependencyError(f"MMAction2 cannot be imported ({error})", _INSTALL) from error
CONFIGS = MMACTION / ".mim" / "configs"
TOOLS = MMACTION / ".mim" / "tools"

from mmaction.datasets import VideoDataset  # noqa: E402 - only after the shim
from mmaction.evaluation import AccMetric  # noqa: E402
from mmaction.models.backbones.mvit import resize_pos_embed  # noqa: E402
from mmaction.models.heads import BaseHead  # noqa: E402
from mmaction.models.recognizers import Recognizer3D  # noqa: E402
from mmaction.registry import (  # noqa: E402
    DATA_SAMPLERS,
    DATASETS,
    HOOKS,
    LOOPS,
    METRICS,
    MODELS,
    OPTIM_WRAPPERS,
    TRANSFORMS,
    VISUALIZERS,
)
from mmaction.structures import ActionDataSample  # noqa: E402
from mmcv.cnn import ConvModule  # noqa: E402
from mmcv.cnn.bricks.wrappers import Conv3d, Linear  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.dataset import DefaultSampler, pseudo_collate  # noqa: E402
from mmengine.device import get_device  # noqa: E402
from mmengine.hooks import Hook  # noqa: E402
from mmengine.logging import HistoryBuffer, MMLogger  # noqa: E402
from mmengine.model import BaseDataPreprocessor, BaseModule, base_module, weight_init  # noqa: E402
from mmengine.optim import OptimWrapper  # noqa: E402
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope  # noqa: E402
from mmengine.runner import CheckpointLoader, Runner, ValLoop, set_random_seed  # noqa: E402
from mmengine.runner.checkpoint import (  # noqa: E402
    _load_checkpoint_to_model as load_checkpoint_to_model,
)
from mmengine.visualization import Visualizer  # noqa: E402

__all__ = [
    "CONFIGS",
    "DATASETS",
    "DATA_SAMPLERS",
    "HOOKS",
    "LOOPS",
    "METRICS",
    "MODELS",
    "OPTIM_WRAPPERS",
    "PARAM_SCHEDULERS",
    "TOOLS",
    "TRANSFORMS",
    "VISUALIZERS",
    "AccMetric",
    "ActionDataSample",
    "BaseDataPreprocessor",
    "BaseHead",
    "CheckpointLoader",
    "Config",
    "Conv3d",
    "ConvModule",
    "DefaultSampler",
    "Hook",
    "Linear",
    "MMLogger",
    "OptimWrapper",
    "Recognizer3D",
    "Runner",
    "ValLoop",
    "VideoDataset",
    "Visualizer",
    "get_device",
    "init_default_scope",
    "load_checkpoint_to_model",
    "pseudo_collate",
    "read_checkpoint",
    "read_config",
    "resize_pos_embed",
    "set_random_seed",
    "silence",
]

# mmengine reads all weights again after every layer that it fills, to log which have changed: of a
# transformer that takes longer than to fill them.
base_module.update_init_info = weight_init.update_init_info = lambda *_, **__: None
BaseModule._dump_init_info = lambda _: None


def _statistics_method(owner: Any, name: Any) -> Any:
    """Replace the `getattr` that a pickled `HistoryBuffer` calls; allow nothing else."""
    if owner is not HistoryBuffer or name not in ("min", "max", "mean", "current"):
        raise pickle.UnpicklingError(f"asks for getattr({owner!r}, {name!r})")
    return getattr(HistoryBuffer, name)


_MULTIARRAY = importlib.import_module("numpy._core.multiarray")
_NUMPY_TYPES = (np.float64, np.float32, np.int64, np.int32, np.bool_)
# What mmengine itself puts into a checkpoint beside tensors; each is data without a side effect.
torch.serialization.add_safe_globals(
    [
        HistoryBuffer,
        (_statistics_method, "builtins.getattr"),
        np.ndarray,
        np.dtype,
        *(type(np.dtype(kind)) for kind in _NUMPY_TYPES),
        *(
            (getattr(_MULTIARRAY, name), f"{module}.multiarray.{name}")
            for name in ("_reconstruct", "scalar")
            for module in ("numpy.core", "numpy._core")
        ),
    ]
)


def read_config(path: Path) -> dict[str, Any]:
    """Read an MMAction2 config, its `_base_` files merged in, as plain dicts.

    A config is Python and is run: only those of MMAction2 itself, and those that the user names.

    Raises:
        ModelError: there is no such file, or it is not a config.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such MMAction2 config", "name one by its path")
    try:
        config = Config.fromfile(str(path))
    except Exception as error:
        raise ModelError(f"{path}: is not an MMAction2 config ({first_line(error)})") from error
    plain: dict[str, Any] = config.to_dict()
    return plain


def read_checkpoint(path: Path | str) -> dict[str, Any]:
    """Read a checkpoint or state dict without running any code that its pickle asks for.

    Raises:
        ModelError: no such file; not a torch file; or it asks for anything but tensors and
            plain data, as a hostile file does.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise ModelError(f"{path}: no such weights file", "give the path of a .pth or .pt file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path}: contains more than weights and was not loaded ({_blocked(error)})",
            "save its state dict alone: torch.save(model.state_dict(), FILE)",
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, AttributeError, TypeError):
        # The unpickler meets bytes that are no pickle with nearly any of these.
        raise ModelError(f"{path}: is not a PyTorch weights file", "give a .pth or .pt file") from None
    if not isinstance(content, dict):
        raise ModelError(f"{path}: holds a {type(content).__name__}, not a state dict")
    return content


def silence(logger: logging.Logger) -> None:
    """Remove the console handler of a logger of mmengine's; its file stays."""
    for handler in list(logger.handlers):
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            logger.removeHandler(handler)


def _blocked(error: Exception) -> str:
    found = [line for line in str(error).splitlines() if "GLOBAL" in line]
    return found[0].partition(" whose ")[0].strip()[:160] if found else "it is not in PyTorch's format"
