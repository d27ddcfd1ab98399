"""Multinomial logistic regression on stored features: the best head of a frozen backbone.

With a frozen backbone, training the head is a convex problem. It is solved to convergence with
L-BFGS (Liu & Nocedal 1989), for a path of regularization strengths and all folds at once. The
strength is chosen by the accuracy of a cross-validation that keeps each group (source video) in one
fold, the strongest of those that are alike; the scores are calibrated by temperature scaling (Guo et
al. 2017) on the held-out clips. There is no random number in it: the same features give the same head.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from dancecli.core.hashing import INNER_FOLDS, assign_folds
from dancecli.core.statistics.calibration import TEMPERATURES

# Inverse strengths as in scikit-learn's LogisticRegressionCV, for features of unit scale.
STRENGTHS = tuple(10.0 ** (i / 2) for i in range(-8, 5))
# Where the clips do not tell which to choose: the strongest regularization with classes of equal weight,
# close to the nearest class mean. With other weights the bias, which is not regularized, calls the largest
# class.
DEFAULT_STRENGTH = STRENGTHS[0]
# Strengths whose accuracies differ by less than so many standard errors are alike, and the strongest of
# them is taken. In 34 small corpora of the demo's clips, 5 % of the labels wrong, 70.6 % of the test clips
# are right with 0.5, 70.2 with 0 and 69.2 with 1; with 45 clips per class 87.4, 83.2 and 86.2.
_ALIKE = 0.5
_MEMORY, _STEPS = 10, 300
# Largest component of the gradient of the mean loss: while choosing, and for the head itself.
_COARSE, _FINE = 1e-4, 1e-7
Evaluate = Callable[[Tensor], tuple[Tensor, Tensor]]
# Products per evaluation of the loss, above which several threads pay.
_LARGE = 10**8


@dataclass(frozen=True)
class SolvedHead:
    """A linear classifier.

    Attributes:
        weight: [classes, features], float64.
        bias: [classes], float64.
        strength: the chosen inverse regularization strength C.
        temperature: the logits were divided by it.
        folds: number of folds it was chosen by; 0 if the default strength was taken.
        held_out: clips that were scored by a model that had not seen their group.
        held_out_correct: those of them that were classified correctly.
    """

    weight: Tensor
    bias: Tensor
    strength: float
    temperature: float
    folds: int
    held_out: int
    held_out_correct: int


def solve_head(
    features: Tensor,
    labels: Tensor,
    groups: Sequence[str],
    classes: int,
    *,
    balanced: bool = False,
    strengths: Sequence[float] = STRENGTHS,
) -> SolvedHead:
    """Fit a head to the features of training clips.

    Args:
        features: [clips, views, features]; each view counts as a part of its clip.
        labels: [clips], class indices.
        groups: group of each clip; clips of a group are never on both sides of a fold.
        classes: number of classes, also those without a clip.
        balanced: weight classes by the inverse of their frequency; always done where the clips do not tell
            which strength to choose.
        strengths: inverse regularization strengths to choose from.
    """
    clips, views, width = features.shape
    with _few_threads(clips * views * width * classes):
        return _solve_head(features, labels, groups, classes, balanced, strengths)


@contextmanager
def _few_threads(size: int) -> Iterator[None]:
    """Use one thread for a small problem: waiting for the others took 20 times as long as computing."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if size < _LARGE else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _solve_head(
    features: Tensor,
    labels: Tensor,
    groups: Sequence[str],
    classes: int,
    balanced: bool,
    strengths: Sequence[float],
) -> SolvedHead:
    clips, views, width = features.shape
    x = features.double().reshape(clips * views, width)
    center = x.mean(0)
    x = x - center
    scale = x.square().mean().sqrt().clamp(min=1e-12)
    # The solution lies in the span of the clips: a rotation to it changes nothing but the size.
    _, _, basis = torch.linalg.svd(x / scale, full_matrices=False)
    x = (x / scale) @ basis.T
    y = labels.repeat_interleave(views)
    sample = _class_weights(labels, classes, balanced).repeat_interleave(views) / views
    fold_of = assign_folds(labels.tolist(), groups, INNER_FOLDS)
    folds = max(fold_of) + 1 if fold_of else 0
    strength, temperature, correct, held_out = DEFAULT_STRENGTH, 1.0, 0, 0
    if folds > 1:
        of_rows = torch.tensor(fold_of).repeat_interleave(views)
        strength, temperature, held_out, correct = _choose(
            x, y, sample, of_rows, folds, classes, views, strengths
        )
    if not held_out:
        sample = _class_weights(labels, classes, balanced=True).repeat_interleave(views) / views
    start = x.new_zeros(1, x.shape[1] + 1, classes)
    for step in [c for c in strengths if c < strength] + [strength]:
        start = _solve(x, y, sample[None], step, start, _FINE if step == strength else _COARSE)
    weight, bias = start[0, :-1] / temperature, start[0, -1] / temperature
    weight = (basis.T @ weight).T / scale
    return SolvedHead(
        weight=weight,
        bias=bias - weight @ center,
        strength=strength,
        temperature=temperature,
        folds=folds if held_out else 0,
        held_out=held_out,
        held_out_correct=correct,
    )


def _class_weights(labels: Tensor, classes: int, balanced: bool) -> Tensor:
    if not balanced:
        return torch.ones(len(labels), dtype=torch.float64)
    counts = torch.bincount(labels, minlength=classes).double()
    weights = len(labels) / (counts.clamp(min=1) * (counts > 0).sum())
    return weights[labels]


def _choose(
    x: Tensor,
    y: Tensor,
    sample: Tensor,
    fold_of: Tensor,
    folds: int,
    classes: int,
    views: int,
    strengths: Sequence[float],
) -> tuple[float, float, int, int]:
    """Return the best strength, its temperature, and the numbers of held-out clips and of correct ones.

    Clips of a class that the training clips of their fold lack are not scored; if these are more than
    half of all, nothing is chosen and no clip counts as held out. Nor is it if every strength gets as many
    clips right, and no more than the largest class has: no strength learned what another one did not.
    """
    trained = torch.stack([sample * (fold_of != fold) for fold in range(folds)])
    known = torch.stack([torch.bincount(y[w > 0], minlength=classes) > 0 for w in trained])
    scored = known[fold_of, y]
    clip_scored = scored.view(-1, views)[:, 0]
    if 2 * int(clip_scored.sum()) < len(clip_scored):
        return DEFAULT_STRENGTH, 1.0, 0, 0
    truth = y.view(-1, views)[:, 0]
    params = x.new_zeros(folds, x.shape[1] + 1, classes)
    tried: list[tuple[float, float, int]] = []
    for strength in sorted(strengths):
        params = _solve(x, y, trained, strength, params, _COARSE)
        logits = _held_out_logits(x, params, fold_of)
        losses = [_log_loss(logits / t, truth, views, clip_scored) for t in TEMPERATURES]
        scores = logits.softmax(-1).view(-1, views, classes).mean(1)
        correct = int((scores.argmax(-1) == truth)[clip_scored].sum())
        tried.append((strength, TEMPERATURES[losses.index(min(losses))], correct))
    count, found = int(clip_scored.sum()), {correct for *_, correct in tried}
    most = max(found)
    if len(tried) > 1 and len(found) == 1 and most <= int(torch.bincount(truth[clip_scored]).max()):
        return DEFAULT_STRENGTH, 1.0, 0, 0
    least = most - _ALIKE * math.sqrt(most * (count - most) / count)
    strength, temperature, correct = next(row for row in tried if row[2] >= least)
    return strength, temperature, count, correct


def _held_out_logits(x: Tensor, params: Tensor, fold_of: Tensor) -> Tensor:
    logits = x.new_empty(len(x), params.shape[2])
    for fold in range(len(params)):
        rows = fold_of == fold
        logits[rows] = x[rows] @ params[fold, :-1] + params[fold, -1]
    return logits


def _log_loss(logits: Tensor, truth: Tensor, views: int, scored: Tensor) -> float:
    """Mean log loss of clips whose probabilities are averaged over their views."""
    scores = logits.softmax(-1).view(len(truth), views, -1).mean(1)
    of_truth = scores.gather(1, truth[:, None])[:, 0][scored]
    return float(of_truth.clamp(min=1e-12).log().neg().mean())


def _solve(x: Tensor, y: Tensor, sample: Tensor, strength: float, start: Tensor, tolerance: float) -> Tensor:
    """Minimize the regularized log loss of several problems that differ by their sample weights.

    Args:
        x: [rows, features].
        y: [rows].
        sample: [problems, rows], weights of the rows; 0 leaves a row out.
        strength: inverse regularization strength: the sum of losses times this, plus half the squared
            norm of the weights without the bias, as in scikit-learn.
        start: [problems, features + 1, classes]; the last row is the bias.
        tolerance: largest component of the gradient at the minimum.

    Returns:
        The minima in the form of `start`.
    """
    problems, _, classes = start.shape
    rows, width = x.shape
    hot = torch.nn.functional.one_hot(y, classes).to(x)[:, None]
    total = sample.sum(1).clamp(min=1)
    share = (sample / total[:, None]).T[..., None]
    decay = 1 / (strength * total)
    across = x.T.contiguous()

    def evaluate(flat: Tensor) -> tuple[Tensor, Tensor]:
        params = flat.view(start.shape)
        weight, bias = params[:, :-1], params[:, -1]
        # One product for all problems: a product for each, of few classes, takes four times as long.
        side_by_side = weight.transpose(0, 1).reshape(width, -1)
        log_p = ((x @ side_by_side).view(rows, problems, classes) + bias).log_softmax(-1)
        loss = -(hot * log_p * share).sum((0, 2)) + 0.5 * decay * weight.square().sum((1, 2))
        slope = (log_p.exp() - hot) * share
        of_weight = (across @ slope.view(rows, -1)).view(width, problems, classes).transpose(0, 1)
        grad = torch.cat([of_weight + decay[:, None, None] * weight, slope.sum(0)[:, None]], 1)
        return loss, grad.reshape(problems, -1)

    return _lbfgs(evaluate, start.reshape(problems, -1), tolerance).view(start.shape)


class _Memory:
    """The last steps and changes of the gradient of several problems, for L-BFGS directions."""

    def __init__(self) -> None:
        self._pairs: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, step: Tensor, change: Tensor) -> None:
        """Remember a step [problems, size]; a problem without curvature in it skips the pair."""
        curvature = (step * change).sum(1)
        useful = curvature > 1e-12 * change.square().sum(1)
        inverse = torch.where(useful, 1 / torch.where(useful, curvature, 1), 0)
        self._pairs = [*self._pairs[-(_MEMORY - 1) :], (step, change, inverse)]

    def direction(self, grad: Tensor) -> Tensor:
        """Apply the two-loop recursion to gradients [problems, size]."""
        found, factors = grad.clone(), []
        for step, change, inverse in reversed(self._pairs):
            factor = inverse * (step * found).sum(1)
            found -= factor[:, None] * change
            factors.append(factor)
        if self._pairs:
            _, change, inverse = self._pairs[-1]
            square = change.square().sum(1)
            gamma = torch.where(inverse > 0, 1 / (inverse * square).clamp(min=1e-300), 1)
            found *= torch.where(gamma.isfinite(), gamma, 1)[:, None]
        for (step, change, inverse), factor in zip(self._pairs, reversed(factors), strict=True):
            found += (factor - inverse * (change * found).sum(1))[:, None] * step
        return -found


def _lbfgs(evaluate: Evaluate, start: Tensor, tolerance: float) -> Tensor:
    """Minimize several smooth convex problems at once; a problem that has converged stands still."""
    point, memory = start, _Memory()
    loss, grad = evaluate(point)
    for _ in range(_STEPS):
        active = grad.abs().amax(1) > tolerance
        if not bool(active.any()):
            break
        direction = memory.direction(grad)
        slope = (direction * grad).sum(1)
        # A direction that does not descend is replaced by that of the steepest descent.
        direction = torch.where((slope < 0)[:, None], direction, -grad)
        slope = (direction * grad).sum(1)
        size = active.double()
        for _ in range(30):
            trial = point + size[:, None] * direction
            new_loss, new_grad = evaluate(trial)
            short = (new_loss > loss + 1e-4 * size * slope + 1e-15) & (size > 0)
            if not bool(short.any()):
                break
            size = torch.where(short, size / 2, size)
        memory.add(trial - point, new_grad - grad)
        point, loss, grad = trial, new_loss, new_grad
    return point
