"""The heads of probes: what they compute, against plain formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import cosine_similarity, scaled_dot_product_attention

from dancecli.core.errors import ModelError
from dancecli.model.networks.build import build_model
from dancecli.model.networks.heads.attentive import AttentivePooler
from dancecli.model.networks.heads.configs import with_probe
from dancecli.model.networks.heads.pooled import vote
from dancecli.model.networks.mmaction import MODELS
from dancecli.model.networks.stages import HEADS, head_row, tokens_of, why_no_tokens


def test_one_query_attends_as_attention_with_separate_keys_and_values_does():
    torch.manual_seed(0)
    pool = AttentivePooler(32, 4, 1).pool
    with torch.no_grad():
        for parameter in pool.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x = torch.randn(3, 7, 32)
    normed = pool.norm1(x)
    q = pool.q(pool.query).expand(3, 1, 32).unflatten(2, (4, 8)).transpose(1, 2)
    k, v = (layer(normed).unflatten(2, (4, 8)).transpose(1, 2) for layer in (pool.k, pool.v))
    seen = scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)[:, 0]
    expected = pool.query + seen
    expected = expected + pool.mlp(pool.norm2(expected))
    assert torch.allclose(pool(x), expected, atol=1e-5)


def test_the_weights_begin_as_published():
    torch.manual_seed(0)
    pooler = AttentivePooler(256, 16, 4)
    deep = [block.mlp[2].weight.std().item() for block in pooler.blocks]
    assert deep == pytest.approx([0.02 / math.sqrt(2 * n) for n in (1, 2, 3)], rel=0.03)
    assert pooler.pool.mlp[2].weight.std().item() == pytest.approx(0.02 / math.sqrt(6), rel=0.03)
    assert pooler.blocks[0].qkv.weight.std().item() == pytest.approx(0.02, rel=0.03)


def test_the_nearest_vote_by_their_similarity():
    torch.manual_seed(1)
    bank, rows, labels = torch.randn(40, 8), torch.randn(5, 8), torch.arange(40) % 3
    similarity = torch.stack([cosine_similarity(row[None], bank) for row in rows])
    found = vote(similarity, labels, 3, 7)
    for row, scores in zip(similarity, found, strict=True):
        near = sorted(range(40), key=lambda i: -row[i])[:7]
        votes = [sum(math.exp(row[i] / 0.07) for i in near if labels[i] == c) for c in range(3)]
        expected = [math.log(v / sum(votes) + 1e-3) for v in votes]
        assert scores.tolist() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("kind", "head", "output"),
    [
        ("ResNet3d", {"type": "I3DHead", "in_channels": 6}, torch.randn(2, 6, 2, 3, 3)),
        (
            "ResNet3dSlowFast",
            {"type": "SlowFastHead", "in_channels": 6},
            (torch.randn(2, 4, 2, 3, 3), torch.randn(2, 2, 8, 3, 3)),
        ),
        ("X3D", {"type": "X3DHead", "in_channels": 6}, torch.randn(2, 6, 2, 3, 3)),
        ("ResNet", {"type": "TSNHead", "in_channels": 6}, torch.randn(4, 6, 3, 3)),
    ],
)
def test_the_tokens_of_a_map_have_its_pooled_features_as_mean(kind, head, output):
    built = MODELS.build({**head, "num_classes": 2})
    pooled = HEADS[head["type"]].pool(built, output)
    tokens = tokens_of(kind, output)
    assert torch.allclose(tokens.mean(1), pooled.flatten(1), atol=1e-6)
    assert tokens_of(kind, tokens) is tokens
    assert head_row(built) is HEADS[head["type"]]


def test_the_tokens_of_mvit_leave_out_its_class_token():
    patches, token = torch.randn(2, 6, 2, 3, 3), torch.randn(2, 6)
    assert torch.equal(tokens_of("MViT", ([None, None], [patches, token])), tokens_of("ResNet3d", patches))


@pytest.mark.parametrize("kind", ["TimeSformer", "C3D", "UniFormerV2", "UniFormer"])
def test_a_backbone_that_pools_says_so(kind):
    assert (
        why_no_tokens({"backbone": {"type": kind}}) == f"a {kind} gives one vector per view, already pooled"
    )
    with pytest.raises(ModelError, match="gives no tokens"):
        tokens_of(kind, torch.randn(2, 6))


def test_videomae_gives_its_tokens_where_its_vector_is_their_mean():
    """Its own head takes the mean of the tokens; with the probe's config, the backbone gives them all."""
    model = {
        "type": "Recognizer3D",
        "backbone": {
            "type": "VisionTransformer", "img_size": 32, "patch_size": 16, "embed_dims": 24, "depth": 2,
            "num_heads": 2, "mlp_ratio": 2, "num_frames": 4, "norm_cfg": {"type": "LN", "eps": 1e-6},
        },
        "cls_head": {"type": "TimeSformerHead", "num_classes": 3, "in_channels": 24, "average_clips": "prob"},
        "data_preprocessor": {"type": "ActionDataPreprocessor", "format_shape": "NCTHW"},
    }  # fmt: skip
    clips = torch.randn(2, 3, 4, 32, 32)
    own = build_model(model, 0).backbone.eval()
    probed = build_model(with_probe(model, "attentive"), 0).backbone.eval()
    probed.load_state_dict(own.state_dict())
    tokens = tokens_of("VisionTransformer", probed(clips))
    assert tokens.shape == (2, 8, 24)
    assert torch.allclose(own.fc_norm(tokens.mean(1)), own(clips), atol=1e-5)
