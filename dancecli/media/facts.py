"""What is known of a video and of a clip, and how many frames a stretch of it has."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What the header of a source video says.

    Attributes:
        fps: its frame rate; of a variable one, the rate that its times are multiples of.
        duration_ms: of the picture; 0 if the header does not say.
        longest_frame_s: how long one frame may stay on the screen, as far as can be told.
    """

    fps: Fraction
    duration_ms: int
    has_audio: bool
    longest_frame_s: Fraction


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """What a full decode of a clip found; sizes in pixels as shown."""

    num_frames: int
    fps: Fraction
    width: int
    height: int
    has_audio: bool


def frames_in(duration_ms: int, fps: Fraction) -> int:
    """Number of frames of a stretch at a constant frame rate, at least one."""
    return max(1, round(Fraction(duration_ms, 1000) * fps))
