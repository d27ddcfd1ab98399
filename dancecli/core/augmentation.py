"""The augmentation operations: names, ranges of their parameters, as an ffmpeg filter and on frames.

An operation is one class, registered by its name: files, training and the command line are loops over
`OPERATIONS`. Nothing here draws by itself: chance comes in as a function, so that the caller decides
what it depends on (a clip's id and a seed, or an epoch as well).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dancecli.core.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Frame = NDArray[np.uint8]

# ITU-R BT.601: the luma of a color. Luma is stored in 16 to 235 and shown in 0 to 255.
_LUMA = (0.299, 0.587, 0.114)
_SHOWN = 255 / 219


@dataclass(frozen=True, slots=True)
class Range:
    """The values of a parameter: from `low` to `high` in steps of `step`, both ends included."""

    name: str
    low: float
    high: float
    step: float

    def at(self, fraction: float) -> float:
        """Give the value at a place of the range, from 0 up to but without 1."""
        count = round((self.high - self.low) / self.step) + 1
        return round(self.low + self.step * int(fraction * count), 6)


# Operations to be applied one after the other.
Chain = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Op:
    """One operation with the values of its parameters, such as `jitter(brightness=0.12,saturation=0.85)`."""

    name: str
    values: tuple[tuple[str, float], ...] = ()

    def __getitem__(self, parameter: str) -> float:
        return dict(self.values)[parameter]

    def __str__(self) -> str:
        if not self.values:
            return self.name
        return f"{self.name}({','.join(f'{name}={value:.12g}' for name, value in self.values)})"


# An ffmpeg filter: its name and its options.
Filter = tuple[str, dict[str, Any]]


class Operation(ABC):
    """What a clip may undergo; a subclass is made known by `@operation`.

    Attributes:
        name: as it is written in `--ops`; letters and digits.
        summary: what it does, in a few words, for the help.
        ranges: of its parameters.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    ranges: ClassVar[tuple[Range, ...]] = ()

    @abstractmethod
    def filters(self, op: Op) -> Sequence[Filter]:
        """Give the ffmpeg filters for a file, with the parameters of `op`."""

    @abstractmethod
    def apply(self, frames: Sequence[Frame], op: Op) -> list[Frame]:
        """Do the same on the fly to frames [h, w, 3] of RGB bytes."""

    def num_frames(self, count: int, op: Op) -> int:
        """Give the number of frames that are left of `count`."""
        return count


OPERATIONS: dict[str, Operation] = {}


def operation(kind: type[Operation]) -> type[Operation]:
    """Register an operation under its name."""
    OPERATIONS[kind.name] = kind()
    return kind


@operation
class HorizontalFlip(Operation):
    """Left and right change places."""

    name = "hflip"
    summary = "mirror"

    def filters(self, op: Op) -> Sequence[Filter]:
        return [("hflip", {})]

    def apply(self, frames: Sequence[Frame], op: Op) -> list[Frame]:
        import cv2

        return [cv2.flip(frame, 1) for frame in frames]  # type: ignore[misc]


@operation
class VerticalFlip(Operation):
    """Top and bottom change places."""

    name = "vflip"
    summary = "upside down"

    def filters(self, op: Op) -> Sequence[Filter]:
        return [("vflip", {})]

    def apply(self, frames: Sequence[Frame], op: Op) -> list[Frame]:
        import cv2

        return [cv2.flip(frame, 0) for frame in frames]  # type: ignore[misc]


@operation
class ColorJitter(Operation):
    """Brightness is added to the luma as a share of its full range, saturation multiplies the chroma."""

    name = "jitter"
    summary = "brightness and saturation"
    ranges = (Range("brightness", -0.15, 0.15, 0.01), Range("saturation", 0.6, 1.4, 0.01))

    def filters(self, op: Op) -> Sequence[Filter]:
        return [("eq", {"brightness": op["brightness"], "saturation": op["saturation"]})]

    def apply(self, frames: Sequence[Frame], op: Op) -> list[Frame]:
        import cv2
        import numpy as np

        # [3, 4] for RGB: chroma times the saturation, then luma up by its share of 255 steps.
        gray = np.tile(np.array(_LUMA), (3, 1))
        colors = gray + op["saturation"] * (np.eye(3) - gray)
        matrix = np.column_stack([colors, np.full(3, 255 * op["brightness"] * _SHOWN)])
        return [cv2.transform(frame, matrix) for frame in frames]  # type: ignore[misc]


@operation
class Noise(Operation):
    """Normal noise on the luma, of standard deviation `sigma` in steps of 255, one pattern for all frames.

    With a new pattern for every frame and plane a file is 9 to 14 times as large as one without noise,
    so it is 1.2 to 4.4 times.
    """

    name = "noise"
    summary = "a fixed pattern of noise"
    ranges = (Range("sigma", 3, 10, 1), Range("seed", 0, 999_999, 1))

    def filters(self, op: Op) -> Sequence[Filter]:
        # ffmpeg's strength is sqrt(3) times the standard deviation; without the flag `t` the pattern stays.
        return [("noise", {"c0_strength": round(op["sigma"] * math.sqrt(3)), "all_seed": int(op["seed"])})]

    def apply(self, frames: Sequence[Frame], op: Op) -> list[Frame]:
        import cv2
        import numpy as np

        height, width = frames[0].shape[:2]
        # numpy keeps what this generator draws the same in all its versions.
        drawn = np.random.RandomState(int(op["seed"])).standard_normal((height, width)) * op["sigma"]
        # Equal for the three colors, as luma is.
        steps = np.rint(drawn * _SHOWN).astype(np.int16)[..., None].repeat(3, axis=-1)
        up, down = np.maximum(steps, 0).astype(np.uint8), np.maximum(-steps, 0).astype(np.uint8)
        # These saturate; of every pixel one of the two is 0.
        return [cv2.subtract(cv2.add(frame, up), down) for frame in frames]  # type: ignore[misc]


@operation
class Rotation(Operation):
    """Turned clockwise about its center by `degrees`, black where nothing is left to show."""

    name = "rotate"
    summary = "by up to 10 degrees"
    ranges = (Range("degrees", -10, 10, 0.5),)

    def filters(self, op: Op) -> Sequence[Filter]:
        return [("rotate", {"angle": round(math.radians(op["degrees"]), 6), "fillcolor": "black"})]

    def apply(self, frames: Sequence[Frame], op: Op) -> list[Frame]:
        import cv2

        height, width = frames[0].shape[:2]
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -op["degrees"], 1)
        return [cv2.warpAffine(frame, matrix, (width, height)) for frame in frames]  # type: ignore[misc]


@operation
class Speed(Operation):
    """Faster or slower by `factor` at the same frame rate: frames are left out, or shown twice.

    On the fly, a view has no frames after its end, and stays on its last one.
    """

    name = "speed"
    summary = "0.8 to 1.25 times as fast"
    ranges = (Range("factor", 0.8, 1.25, 0.05),)

    def filters(self, op: Op) -> Sequence[Filter]:
        return [("setpts", {"expr": f"PTS/{op['factor']}"}), ("fps", {"fps": "source_fps"})]

    def apply(self, frames: Sequence[Frame], op: Op) -> list[Frame]:
        last = len(frames) - 1
        return [frames[min(last, int(i * op["factor"] + 0.5))] for i in range(len(frames))]

    def num_frames(self, count: int, op: Op) -> int:
        return max(1, round(count / op["factor"]))


# The four of the first version: others are named by who wants them.
DEFAULT_OPS = "hflip,vflip,jitter,noise"


def known_operations() -> str:
    """Name all operations, with what they do."""
    return ", ".join(f"{name} ({known.summary})" for name, known in OPERATIONS.items())


def parse_chains(text: str) -> tuple[Chain, ...]:
    """Read `hflip,jitter,hflip+jitter`: commas between augmented clips, `+` between what one undergoes.

    Raises:
        UsageError: an operation is unknown, or stands twice in a chain, or a chain twice.
    """
    chains = tuple(
        tuple(word.strip() for word in item.split("+")) for item in text.split(",") if item.strip()
    )
    for chain in chains:
        for name in chain:
            if name not in OPERATIONS:
                known = ", ".join(OPERATIONS)
                raise UsageError(f"there is no operation {name!r}", f"known: {known}; chained: hflip+jitter")
        if len(set(chain)) < len(chain):
            raise UsageError(f"{'+'.join(chain)} names an operation twice", "name each one once")
    if not chains:
        raise UsageError("no operation is named", f"name some of {', '.join(OPERATIONS)}")
    if len(set(chains)) < len(chains):
        raise UsageError(f"{text!r} asks for the same clip twice", "name each one once")
    return chains


def chains_text(chains: Sequence[Chain]) -> str:
    """Write chains as `parse_chains` reads them."""
    return ",".join("+".join(chain) for chain in chains)


def draw(chain: Chain, chance: Callable[[str], float]) -> tuple[Op, ...]:
    """Give a chain's operations their parameters.

    Args:
        chain: the operations' names.
        chance: gives a number from 0 up to but without 1 for a parameter, named `jitter.saturation`.
    """
    return tuple(
        Op(name, tuple((r.name, r.at(chance(f"{name}.{r.name}"))) for r in OPERATIONS[name].ranges))
        for name in chain
    )


def describe(ops: tuple[Op, ...]) -> str:
    """Write operations with their parameters: `hflip+jitter(brightness=0.12,saturation=0.85)`."""
    return "+".join(map(str, ops))


def slug(chain: Chain) -> str:
    """Give a chain the name that it has in ids and paths, which hold no `+`: `hflip-jitter`."""
    return "-".join(chain)


def operation_of(op: Op) -> Operation:
    """Give the operation of a name that was drawn or read.

    Raises:
        UsageError: there is none of that name.
    """
    found = OPERATIONS.get(op.name)
    if found is None:
        raise UsageError(f"there is no operation {op.name!r}", f"known: {', '.join(OPERATIONS)}")
    return found


def num_frames_after(count: int, ops: tuple[Op, ...]) -> int:
    """Give the number of frames of a clip of `count` frames after these operations."""
    for op in ops:
        count = operation_of(op).num_frames(count, op)
    return count
