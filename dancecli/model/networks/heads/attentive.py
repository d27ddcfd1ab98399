"""The attentive probe: a learned query looks at all tokens of a clip (V-JEPA, V-JEPA 2).

Its form and initialization are those of `AttentiveClassifier` in facebookresearch/vjepa2
(`src/models/attentive_pooler.py`): self-attention blocks over the tokens, then a block in which one
learned query attends to them, then a linear layer.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from dancecli.model.networks.mmaction import MODELS, BaseHead
from dancecli.model.networks.stages import tokens_of

_MLP_RATIO = 4
_INIT_STD = 0.02


def _mlp(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, _MLP_RATIO * width), nn.GELU(), nn.Linear(_MLP_RATIO * width, width)
    )


class _SelfBlock(nn.Module):
    """A transformer block over the tokens, normalized before each part."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj, self.mlp = nn.Linear(width, 3 * width), nn.Linear(width, width), _mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        """Transform tokens [N, tokens, width]."""
        q, k, v = self.qkv(self.norm1(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.proj(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        found: Tensor = x + self.mlp(self.norm2(x))
        return found


class _QueryBlock(nn.Module):
    """One learned query attends to the tokens.

    As the query is the same for all clips, its product with the keys' layer is formed first, and the
    values' layer is applied after the weighted mean: the same function for a fraction of the work.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Parameter(torch.zeros(width))
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.mlp: Any = _mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        """Pool tokens [N, tokens, width]: [N, width]."""
        x = self.norm1(x)
        q = self.q(self.query).view(self.heads, -1)
        key = self.k.weight.view(self.heads, -1, x.shape[2])
        # The keys' bias adds the same to all tokens, which the softmax takes away again.
        looking = torch.einsum("hd,hdc->hc", q, key) / math.sqrt(q.shape[1])
        weight = (x @ looking.T).softmax(1)
        seen = weight.transpose(1, 2) @ x
        value = torch.einsum("nhc,hdc->nhd", seen, self.v.weight.view(self.heads, -1, x.shape[2]))
        pooled = self.query + value.flatten(1) + self.v.bias
        found: Tensor = pooled + self.mlp(self.norm2(pooled))
        return found


class AttentivePooler(nn.Module):
    """Self-attention blocks, and the block that pools.

    Args:
        width: channels of the tokens.
        heads: attention heads; they divide the width.
        blocks: blocks in all; 1 pools alone.
    """

    def __init__(self, width: int, heads: int, blocks: int) -> None:
        super().__init__()
        self.blocks: Any = nn.Sequential(*(_SelfBlock(width, heads) for _ in range(blocks - 1)))
        self.pool = _QueryBlock(width, heads)
        self.reset()

    def forward(self, x: Tensor) -> Tensor:
        """Pool tokens [N, tokens, width]: [N, width]."""
        pooled: Tensor = self.pool(self.blocks(x))
        return pooled

    def reset(self) -> None:
        """Initialize as published: normal, deeper blocks scaled down."""
        nn.init.trunc_normal_(self.pool.query, std=_INIT_STD)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=_INIT_STD)
                nn.init.zeros_(layer.bias)
        with torch.no_grad():
            for number, block in enumerate(self.blocks, start=1):
                for scaled in (block.proj.weight, block.mlp[2].weight):
                    scaled.div_(math.sqrt(2 * number))
            self.pool.mlp[2].weight.div_(math.sqrt(2 * max(1, len(self.blocks))))


def attention_heads(width: int) -> int:
    """Return the number of attention heads: 16 as published, or fewer that divide the width."""
    return math.gcd(16, width)


@MODELS.register_module(force=True)
class AttentiveHead(BaseHead):  # type: ignore[misc]
    """An attentive probe over the tokens of a backbone.

    Args:
        of: type of the backbone, by which its output is read; see `stages.tokens_of`.
        blocks: attention blocks.
        frames: the network is 2-D: the tokens of all frames of a clip are taken together.
    """

    def __init__(
        self, num_classes: int, in_channels: int, *, of: str, blocks: int, frames: bool, **kwargs: Any
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        self.of, self.frames = of, frames
        self.pooler = AttentivePooler(in_channels, attention_heads(in_channels), blocks)
        self.fc_cls = nn.Linear(in_channels, num_classes)

    def forward(self, x: Any, num_segs: int = 1, **_: Any) -> Tensor:
        """Score the backbone's output, or tokens: logits [N, classes]."""
        tokens = tokens_of(self.of, x)
        if self.frames:
            tokens = tokens.reshape(-1, num_segs * tokens.shape[1], tokens.shape[2])
        scores: Tensor = self.fc_cls(self.pooler(tokens.float()))
        return scores
