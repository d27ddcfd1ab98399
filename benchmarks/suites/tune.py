"""Trials of a head on stored features: one stack of them against one after another.

    python -m benchmarks.suites.tune [--rounds 3] [--steps 100] [--threads 2] [--quick]

Trials from the paper's space (--trials) take full-batch steps (--steps) on 1,395 x 2,048 features of
19 classes. Against them: the same trials one by one in plain PyTorch (nn.Linear, dropout,
cross-entropy, torch.optim), with the same random masks and so the same losses, which are compared
step by step; and the same heads in batches of 16 with as many passes. Of these two, whose trials
do not know of each other, a few spread over the space are timed and taken times their number.
The ways take turns, a round after another, and are compared by the clock, since a stack can use all
cores where a small step uses one; the machine is to be quiet. --quick only shows that the script works.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from benchmarks.lib.compare import Bar, Cost, figures, middle, take_turns, tell, timed, times_as_fast
from dancecli.model.tuning.head_trials import BATCHED_TRIALS
from dancecli.model.tuning.linear_probes import LinearProbes, ProbeSettings

CLASSES = 19
BATCH = 16


@dataclass(frozen=True)
class Size:
    """How much is measured: `of_loop` and `of_batches` are the trials that are timed one by one."""

    clips: int
    features: int
    trials: int
    steps: int
    of_loop: int
    of_batches: int


FULL = Size(clips=1395, features=2048, trials=200, steps=100, of_loop=8, of_batches=2)
QUICK = Size(clips=200, features=256, trials=24, steps=6, of_loop=3, of_batches=1)


def make_data(size: Size) -> tuple[Tensor, Tensor]:
    """Make features as a network's last average gives them: positive, many small, and of their class."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.arange(size.clips) % CLASSES
    centres = torch.randn(CLASSES, size.features, generator=generator)
    noise = torch.randn(size.clips, size.features, generator=generator)
    return (0.3 * centres[truth] + noise).relu(), truth


def make_heads(size: Size) -> list[ProbeSettings]:
    """Draw trials from the paper's space, with a cosine to zero."""
    draw = random.Random(0)
    factors = [0.5 * (1 + math.cos(math.pi * step / size.steps)) for step in range(size.steps)]
    return [
        ProbeSettings(
            lr=10 ** draw.uniform(-5, -2),
            dropout=draw.uniform(0.2, 0.7),
            optimizer=draw.choice(["adam", "sgd"]),
            factors=factors,
            momentum=0.9,
        )
        for _ in range(size.trials)
    ]


def stacked(x: Tensor, y: Tensor, start: nn.Linear, heads: list[ProbeSettings], together: int) -> Tensor:
    """Train all heads on full batches, so many in a stack; give their losses [steps, heads]."""
    found = []
    for first in range(0, len(heads), together):
        stack = LinearProbes(start.weight, start.bias, heads[first : first + together])
        found.append(torch.stack([stack.step(x, y, step) for step in range(len(heads[0].factors))]))
    return torch.cat(found, dim=1)


def alone(x: Tensor, y: Tensor, start: nn.Linear, head: ProbeSettings, batch: int) -> list[float]:
    """Train one head in plain PyTorch, as many passes as it has factors; give its losses."""
    layer = nn.Linear(x.shape[1], CLASSES)
    layer.load_state_dict(start.state_dict())
    kind = torch.optim.Adam if head.optimizer == "adam" else torch.optim.SGD
    more = {} if head.optimizer == "adam" else {"momentum": head.momentum}
    optimizer = kind(layer.parameters(), lr=head.lr, **more)
    losses = []
    for number, factor in enumerate(head.factors):
        optimizer.param_groups[0]["lr"] = head.lr * factor
        for place in range(0, len(x), batch):
            torch.manual_seed(number)
            logits = layer(nn.functional.dropout(x[place : place + batch], head.dropout))
            loss = nn.functional.cross_entropy(logits, y[place : place + batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


def floor(x: Tensor, size: Size) -> float:
    """Time the products alone, forward and for the gradient, with no mask and no optimizer."""
    weight, slope = torch.randn(CLASSES, x.shape[1]), torch.randn(len(x), CLASSES)
    calls = 20

    def products() -> None:
        for _ in range(calls):
            x @ weight.T
            slope.T @ x

    products()
    return timed(products).cpu_s / calls * size.trials * size.steps


def times(cost: Cost, factor: float) -> Cost:
    """Take a cost so often."""
    return Cost(cost.cpu_s * factor, cost.clock_s * factor)


def main() -> int:
    """Measure, and say which bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, help="fewer than 100 cost less, with the same ratios")
    parser.add_argument("--trials", type=int, help="fewer than 200 cost less")
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    rounds = 1 if asked.quick else asked.rounds
    size = QUICK if asked.quick else FULL
    size = replace(size, steps=asked.steps or size.steps, trials=asked.trials or size.trials)
    x, y = make_data(size)
    torch.manual_seed(0)
    start = nn.Linear(size.features, CLASSES)
    nn.init.normal_(start.weight, std=0.01)
    heads = make_heads(size)
    apart = [heads[i * size.trials // size.of_loop] for i in range(size.of_loop)]
    places = [heads.index(head) for head in apart]
    losses: dict[str, Tensor] = {}

    def keep(name: str, found: Tensor) -> None:
        losses[name] = found

    all_alone = {
        "stack": lambda: timed(lambda: keep("stack", stacked(x, y, start, heads, size.trials))),
        f"batches of {BATCHED_TRIALS}": lambda: timed(
            lambda: keep("groups", stacked(x, y, start, heads, BATCHED_TRIALS))
        ),
        "loop": lambda: times(
            timed(lambda: keep("loop", torch.tensor([alone(x, y, start, h, size.clips) for h in apart]).T)),
            size.trials / size.of_loop,
        ),
        "batches of 16": lambda: times(
            timed(lambda: [alone(x, y, start, h, BATCH) for h in apart[: size.of_batches]]),
            size.trials / size.of_batches,
        ),
    }
    costs = take_turns(all_alone, rounds)
    gap = max(float((losses[name][:, places] - losses["loop"]).abs().max()) for name in ("stack", "groups"))
    least = floor(x, size)
    ratio = {name: times_as_fast(costs[name], costs["stack"]) for name in costs}
    clock = {
        name: statistics.median(
            s.clock_s / f.clock_s for s, f in zip(costs[name], costs["stack"], strict=True)
        )
        for name in costs
    }
    what = f"{size.trials} trials x {size.steps} full-batch steps on {size.clips} x {size.features}"
    bars = [
        Bar(f"{what}, batched against a loop, at least 4", f"{clock['loop']:.1f}", clock["loop"] >= 4),
        Bar(
            "against mini-batches of 16 with as many passes, at least 15",
            f"{clock['batches of 16']:.1f}",
            clock["batches of 16"] >= 15,
        ),
        Bar("largest loss difference from the loop, at most 1e-4", f"{gap:.1e}", gap <= 1e-4),
    ]
    rows = []
    for name, found in costs.items():
        cost = middle(found)
        ratios = (f"{ratio[name]:.1f}", f"{clock[name]:.1f}")
        rows.append((name, f"{cost.cpu_s:.1f}", f"{cost.clock_s:.1f}", *ratios))
    share = f"{least / middle(costs['stack']).cpu_s:.2f}"
    rows.append(("the matrix products alone", f"{least:.1f}", "", share, ""))
    measured = {
        "size": vars(size),
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "ways": {name: figures(middle(found)) for name, found in costs.items()},
        "times_the_stack_cpu": {name: round(value, 2) for name, value in ratio.items()},
        "times_the_stack_clock": {name: round(value, 2) for name, value in clock.items()},
        "products_alone_cpu_s": round(least, 2),
        "greatest_loss_difference": gap,
    }
    columns = ("way", "cpu s", "clock s", "x batched, cpu", "x batched, clock")
    status = tell("tune", measured, bars, columns, rows)
    return 0 if asked.quick else status


if __name__ == "__main__":
    raise SystemExit(main())
