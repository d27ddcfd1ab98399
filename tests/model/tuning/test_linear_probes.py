from __future__ import annotations

import pytest
import torch
from torch import nn

from dancecli.model.tuning import linear_probes
from dancecli.model.tuning.linear_probes import LinearProbes, ProbeSettings

STEPS, CLIPS, FEATURES, CLASSES = 30, 300, 64, 5
FACTORS = [1 - 0.02 * step for step in range(STEPS)]
HEADS = [
    ProbeSettings(1e-2, 0.5, "adam", FACTORS),
    ProbeSettings(0.1, 0.5, "sgd", FACTORS, momentum=0.9, weight_decay=1e-2, label_smoothing=0.1),
    ProbeSettings(0.1, 0.2, "sgd", FACTORS, clip_grad=0.05),
    ProbeSettings(1e-3, 0.3, "adamw", FACTORS, weight_decay=0.1, label_smoothing=0.1),
    ProbeSettings(1e-2, 0.0, "adam", FACTORS, weight_decay=0.01, clip_grad=40),
    ProbeSettings(0.3, 0.7, "sgd", FACTORS, momentum=0.9, clip_grad=1),
    ProbeSettings(1e-2, 0.2, "adam", FACTORS),
]


def drawn(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.fixture(scope="module")
def data():
    truth = torch.arange(CLIPS) % CLASSES
    return drawn(CLIPS, FEATURES) + 0.3 * truth[:, None], truth, drawn(CLASSES, FEATURES) / 20, drawn(CLASSES)


def batches(x, y, batch):
    for step in range(STEPS):
        rows = [(step * batch + i) % len(x) for i in range(batch)]
        yield step, x[rows], y[rows]


def alone(head, data, batch):
    """Train one head the plain way: torch's own layers and optimizers."""
    x, y, weight, bias = data
    layer = nn.Linear(FEATURES, CLASSES)
    layer.load_state_dict({"weight": weight, "bias": bias})
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    momentum = {"momentum": head.momentum} if head.optimizer == "sgd" else {}
    optimizer = kinds[head.optimizer](
        layer.parameters(), lr=head.lr, weight_decay=head.weight_decay, **momentum
    )
    losses = []
    for step, rows, truth in batches(x, y, batch):
        torch.manual_seed(step)
        optimizer.param_groups[0]["lr"] = head.lr * head.factors[step]
        logits = layer(nn.functional.dropout(rows, head.dropout))
        loss = nn.functional.cross_entropy(logits, truth, label_smoothing=head.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        if head.clip_grad:
            nn.utils.clip_grad_norm_(layer.parameters(), head.clip_grad)
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        return losses, layer(x).softmax(1)


@pytest.mark.parametrize("batch", [16, CLIPS])
@pytest.mark.parametrize("same_draws", [True, False])
def test_batched_probes_have_the_losses_of_single_ones(data, batch, same_draws, monkeypatch):
    if not same_draws:
        monkeypatch.setattr(linear_probes, "_draws_can_be_shared", lambda _: False)
    x, y, weight, bias = data
    probes = LinearProbes(weight, bias, HEADS)
    losses = torch.stack([probes.step(rows, truth, seed) for seed, rows, truth in batches(x, y, batch)])
    scores = probes.scores(x)
    for i, head in enumerate(HEADS):
        expected, probabilities = alone(head, data, batch)
        assert losses[:, i].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-5), head
        assert torch.allclose(scores[i], probabilities, atol=1e-4), head


def test_removing_probes_does_not_change_the_others(data):
    x, y, weight, bias = data
    probes, ends = LinearProbes(weight, bias, HEADS), {}
    left = list(range(len(HEADS)))
    for seed, rows, truth in batches(x, y, 16):
        for at, keep in ((8, [0, 2, 3, 6]), (15, [1, 3])):
            if seed == at:
                probes.keep(keep)
                left = [left[i] for i in keep]
        ends = dict(zip(left, probes.step(rows, truth, seed).tolist(), strict=True))
    assert left == [2, 6]
    for i, loss in ends.items():
        assert loss == pytest.approx(alone(HEADS[i], data, 16)[0][-1], rel=1e-4)


def test_masks_are_those_of_torch_itself():
    """Where this fails, torch draws in another way, and `_draws_can_be_shared` must have noticed."""
    x = torch.ones(700, 40)
    probes = LinearProbes(drawn(3, 40), drawn(3), [ProbeSettings(0.1, 0.37, "sgd", [1.0])])
    masks = probes._draw(x, 5)
    torch.manual_seed(5)
    expected = nn.functional.dropout(x.view(700, 40, 1, 1, 1), 0.37).view(700, 40) > 0
    assert (
        not linear_probes._draws_can_be_shared(torch.device("cpu")) or ((masks > 0.37 - 1) == expected).all()
    )
