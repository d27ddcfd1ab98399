"""Augmentations by name: what there is, the ranges of their parameters, and drawing them.

On the ground, so that any floor may share the names and ranges. Nothing here draws by itself:
chance comes in as a function, so that the caller decides what it depends on (a clip's id and a
seed, or an epoch as well).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dancecli.core.errors import UsageError


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


# `jitter`: brightness is added to the luma as a share of its full range, saturation multiplies the
# chroma. `noise`: normal, on the luma, of standard deviation `sigma` in steps of 255, one pattern for
# all frames: with a new pattern for every frame and plane a copy is 9 to 14 times as large as one
# without noise, so it is 1.2 to 4.4 times.
OPS: dict[str, tuple[Range, ...]] = {
    "hflip": (),
    "vflip": (),
    "jitter": (Range("brightness", -0.15, 0.15, 0.01), Range("saturation", 0.6, 1.4, 0.01)),
    "noise": (Range("sigma", 3, 10, 1), Range("seed", 0, 999_999, 1)),
}
DEFAULT_OPS = "hflip,vflip,jitter,noise"

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


def parse_chains(text: str) -> tuple[Chain, ...]:
    """Read `hflip,jitter,hflip+jitter`: commas between copies, `+` between what one copy undergoes.

    Raises:
        UsageError: an operation is unknown, or stands twice in a chain, or a chain twice.
    """
    chains = tuple(
        tuple(word.strip() for word in item.split("+")) for item in text.split(",") if item.strip()
    )
    for chain in chains:
        for name in chain:
            if name not in OPS:
                known = ", ".join(OPS)
                raise UsageError(f"there is no operation {name!r}", f"known: {known}; chained: hflip+jitter")
        if len(set(chain)) < len(chain):
            raise UsageError(f"{'+'.join(chain)} names an operation twice", "name each one once")
    if not chains:
        raise UsageError("no operation is named", f"name some of {', '.join(OPS)}")
    if len(set(chains)) < len(chains):
        raise UsageError(f"{text!r} asks for the same copy twice", "name each one once")
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
        Op(name, tuple((r.name, r.at(chance(f"{name}.{r.name}"))) for r in OPS[name])) for name in chain
    )


def describe(ops: tuple[Op, ...]) -> str:
    """Write operations with their parameters: `hflip+jitter(brightness=0.12,saturation=0.85)`."""
    return "+".join(map(str, ops))


def slug(chain: Chain) -> str:
    """Give a chain the name that it has in ids and paths, which hold no `+`: `hflip-jitter`."""
    return "-".join(chain)
