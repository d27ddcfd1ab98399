"""Several tensors in one: what some networks hand from one stage to the next, as one row per view.

The shapes stand in front of the values, as numbers that half precision holds exactly, so that stored
rows can be read without anything else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

# Integers up to 2048 are exact in float16: a size is written as two digits of this base.
_BASE = 1024


def pack(tensors: Sequence[Tensor]) -> Tensor:
    """Join tensors of shapes [N, ...] into one of shape [N, values]."""
    header = [len(tensors)]
    for tensor in tensors:
        header.append(tensor.ndim - 1)
        for size in tensor.shape[1:]:
            header += divmod(int(size), _BASE)
    first = tensors[0]
    numbers = torch.tensor(header, dtype=first.dtype, device=first.device).expand(len(first), -1)
    return torch.cat([numbers, *(tensor.flatten(1) for tensor in tensors)], dim=1)


def unpack(packed: Tensor) -> tuple[Tensor, ...]:
    """Take apart what `pack` has joined, [N, values], which may have been stored as float16."""
    at, shapes = 1, []
    count = int(packed[0, 0])
    for _ in range(count):
        dims = int(packed[0, at])
        digits = packed[0, at + 1 : at + 1 + 2 * dims].tolist()
        shapes.append(
            [int(high) * _BASE + int(low) for high, low in zip(digits[::2], digits[1::2], strict=True)]
        )
        at += 1 + 2 * dims
    found = []
    for shape in shapes:
        size = math.prod(shape)
        found.append(packed[:, at : at + size].reshape(len(packed), *shape))
        at += size
    return tuple(found)
