"""All that one run needs, for training, the pre-flight check and feature extraction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dancecli.core.recipe import ATTENTIVE, FREEZE_STAGES, Recipe
from dancecli.engine.factory import LOCAL
from dancecli.model.dataloading.decoding.choice import OWN, Decoder
from dancecli.model.dataloading.split_data import SplitData
from dancecli.model.hardware.device import CPU, Device, half_precision
from dancecli.model.networks.stages import LAST_STAGE
from dancecli.model.networks.weights import StartWeights, without_base
from dancecli.model.training.distributed import SINGLE_PROCESS, RankInfo
from dancecli.storage.files import save_torch
from dancecli.storage.runs import RunFolder
from dancecli.storage.workspace import Workspace


@dataclass(frozen=True)
class Job:
    """All that one run needs.

    Attributes:
        config: the run's MMAction2 config, as in its `config.py`.
        cached: train from cached features of the frozen backbone.
        cache_dtype: of these; empty for the default of the stage.
        forward_batch: clips per forward pass where no gradient is needed.
        meta: goes into the checkpoints, so that they can be used without the run's folder.
        resume: resume from `checkpoints/resume.pth` if it exists.
        device: that it computes on.
        preflight: overfit one batch before training starts.
        engine: where features are computed, see `engine.choice`.
        compiled: torch compiles the backbone.
        decoder: what decodes the clips, as in the config.
        extractors: processes that compute features, one per GPU.
        rank_info: which of the run's processes this is.
    """

    workspace: Workspace
    folder: RunFolder
    config: dict[str, Any]
    data: SplitData
    recipe: Recipe
    start: StartWeights | None
    seed: int
    cached: bool
    cache_dtype: str
    forward_batch: int
    meta: dict[str, Any]
    resume: bool
    device: Device = CPU
    preflight: bool = False
    engine: str = LOCAL
    compiled: bool = False
    decoder: Decoder = OWN
    extractors: int = 1
    rank_info: RankInfo = SINGLE_PROCESS

    @property
    def precision(self) -> str | None:
        """The half precision of forward passes; None for float32."""
        return half_precision(self.device) if self.recipe.amp else None

    @property
    def dtype(self) -> str:
        """Of the stored features: whole maps and tokens take half the room, averages are small anyway."""
        pooled = self.recipe.frozen_stages == LAST_STAGE and self.recipe.head != ATTENTIVE
        return self.cache_dtype or ("float32" if pooled else "float16")

    def save(self, path: Path, model: Any) -> None:
        """Write the checkpoint of a trained network: what was trained, with the base that completes it.

        Of a network without a frozen stage it is whole.
        """
        state, base = model.state_dict(), None
        if self.recipe.frozen_stages > FREEZE_STAGES["none"]:
            state, base = without_base(state, self.start, self.meta["pretrain"])
        save_torch(path, {"meta": self.meta | ({"base": base} if base else {}), "state_dict": state})
