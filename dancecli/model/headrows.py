"""The start of a head from rows that are known: as a hook, so that MMAction2's own tools do it too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dancecli.core.errors import ModelError
from dancecli.model.distributed import unwrapped
from dancecli.model.mmaction import HOOKS, Hook, read_checkpoint


class HeadRowsHook(Hook):  # type: ignore[misc]
    """Put known rows into the last layer before the first step; a run that goes on has them already.

    Args:
        file: holds `weight` [rows, features] and `bias` [rows].
        places: the class that each row is for.
    """

    # Before what takes a copy of the weights.
    priority = "VERY_HIGH"

    def __init__(self, file: str, places: Sequence[int]) -> None:
        self.file, self.places = file, list(places)

    def before_train(self, runner: Any) -> None:
        """Put the rows in.

        Raises:
            ModelError: the file is not of this head.
        """
        if runner.iter > 0:
            return
        rows, layer = read_checkpoint(Path(self.file)), unwrapped(runner.model).cls_head.fc_cls
        if rows["weight"].shape[1:] != layer.weight.shape[1:]:
            raise ModelError(f"{self.file}: its rows are not those of this head")
        with torch.no_grad():
            layer.weight[self.places] = rows["weight"].to(layer.weight)
            layer.bias[self.places] = rows["bias"].to(layer.bias)


HOOKS.register_module(module=HeadRowsHook, force=True)
