"""How videos are read by a trained network: plain data, which processes can be sent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dancecli.model.dataloading.decoding.choice import OWN, Decoder
from dancecli.model.inference.calibration import Calibration

if TYPE_CHECKING:
    from dancecli.model.encoding.tracking import TracksOf
    from dancecli.model.inference.predictor import PosesOf


@dataclass(frozen=True)
class Reading:
    """How videos are read.

    Attributes:
        weights: the file of the model.
        window_s: length of a window, in seconds.
        calibration: how its scores are read.
        poses_of: finds the poses of a video, for a network on poses; a function of a module.
        tracks_of: opens a video for tracking, for a model of trajectories; a function of a module.
        decoder: of the videos.
    """

    weights: Path
    window_s: float
    calibration: Calibration
    poses_of: PosesOf | None = None
    tracks_of: TracksOf | None = None
    decoder: Decoder = OWN
