"""Learning curves: the accuracy of a solved head by the number of training clips per class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from dancecli.core.errors import UsageError
from dancecli.core.hashing import keyed_order
from dancecli.core.progress import Reporter
from dancecli.core.recipe import FULL, SOLVED
from dancecli.core.records import SplitClip, Subset
from dancecli.core.topk import top_k_correct
from dancecli.model.dataloading.pipelines import frame_sampler
from dancecli.model.dataloading.split_data import split_record, subset_groups
from dancecli.model.networks.mmaction import init_default_scope
from dancecli.model.runs.finetune import make_job
from dancecli.model.runs.folds import folds_of
from dancecli.model.runs.plan import FinetuneSettings, Plan, resolve_plan
from dancecli.model.training.runner import silence
from dancecli.model.training.scoring import views_record
from dancecli.model.training.solved_head import HeadSolver
from dancecli.storage import tables
from dancecli.storage.runs import RunFolder
from dancecli.storage.workspace import Workspace

ALL = 0
_FEWEST = 2


@dataclass(frozen=True)
class CurvePoint:
    """The models of one size.

    Attributes:
        per_class: training clips per class, without augmented ones; `ALL` for all.
        clips: mean number of training clips, likewise.
        hits: for each draw, whether each tested clip was classified correctly.
    """

    per_class: int
    clips: float
    hits: tuple[tuple[bool, ...], ...]


@dataclass(frozen=True)
class Curve:
    """A learning curve.

    Attributes:
        points: by size.
        groups: of each tested clip.
        classes: number of classes.
        facts: what was trained and tested, as plain data.
    """

    points: tuple[CurvePoint, ...]
    groups: tuple[str, ...]
    classes: int
    facts: Mapping[str, Any]


def parse_sizes(text: str) -> tuple[int, ...]:
    """Read clips per class such as `5,10,20,all`; `all` becomes `ALL`, and comes last.

    Raises:
        UsageError: a word is neither a number from 1 on nor `all`, or there are fewer than two.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not all(word == "all" or (word.isascii() and word.isdigit() and int(word)) for word in words):
        raise UsageError(
            f"--learning-curve {text!r} is not a list of clips per class", "for example 5,10,20,50,all"
        )
    sizes = sorted({int(word) for word in words if word != "all"})
    if len(set(words)) < _FEWEST:
        raise UsageError("a learning curve needs two sizes or more", "for example 5,10,20,50,all")
    return (*sizes, ALL) if "all" in words else tuple(sizes)


def learning_curve(
    workspace: Workspace,
    settings: FinetuneSettings,
    sizes: Sequence[int],
    draws: int,
    reporter: Reporter,
) -> Curve:
    """Train heads on growing subsets of the training clips, and test each on the same clips.

    The subsets of a draw are nested. With `settings.folds`, each fold is tested by a model that is
    trained on so many clips of the others, and the folds are pooled.

    Args:
        workspace: holds the split.
        settings: what to train; its head must be solved.
        sizes: clips per class, ascending; `ALL` for all.
        draws: number of draws of each size.
        reporter: receives the progress as `phase · words`, and notes.

    Raises:
        UsageError: the head of such a run is trained by epochs, or no class has clips for two sizes.
    """
    plan = resolve_plan(workspace, settings)
    if plan.recipe.protocol != FULL:
        raise UsageError(
            f"protocol {plan.recipe.protocol} says itself what it is fitted to", "omit --protocol"
        )
    if plan.recipe.head != SOLVED:
        why = next((note for note in plan.notes if "instead of solved" in note), "the recipe says epochs")
        raise UsageError(
            f"a learning curve needs a head that is solved on cached features: {why}",
            "use --freeze 4 and the default recipe, or --set head=solved",
        )
    for note in plan.notes:
        # No model of a curve is kept.
        if not note.startswith("the checkpoint"):
            reporter.message(note)
    plan = replace(plan, name="learning-curve")
    folder = RunFolder(workspace.root / "cache" / "learning-curve")
    folder.root.mkdir(parents=True, exist_ok=True)
    job = replace(make_job(workspace, plan, reporter), folder=folder)
    groups = subset_groups(workspace, plan.data)
    examples = plan.data.examples[Subset.TRAIN]
    labels = [example.label_index for example in examples]
    # Augmented copies are trained on with their clip, and are none to count: nobody can collect more of them.
    originals = [example.clip_id.partition(".")[0] for example in examples]
    kept = _useful(sizes, list(dict(zip(originals, labels, strict=True)).values()), reporter)
    with silence(folder):
        init_default_scope("mmaction")
        solver = HeadSolver(job, reporter)
        parts = list(_parts(plan))
        points, done, total = [], 0, sum(_draws(size, draws) for size in kept)
        for size in kept:
            hits, counts = [], []
            for draw in range(_draws(size, draws)):
                reporter.progress(done, total, f"learning curve · {size or 'all'} clips per class")
                draw_of = partial(
                    draw_clips, labels=labels, groups=groups, originals=originals, size=size, seed=draw
                )
                found, trained = _test(solver, parts, draw_of, groups, originals)
                hits.append(found)
                counts.append(trained)
                done += 1
            points.append(CurvePoint(size, sum(counts) / len(counts), tuple(hits)))
        reporter.progress(total, total, "learning curve · done")
    tested = [example.clip_id for example in plan.data.examples[Subset.TEST]]
    group_of = {row.clip_id: row.group for row in tables.read(workspace.split(plan.data.name), SplitClip)}
    views = views_record(plan.recipe, frame_sampler(plan.base, plan.recipe), plan.cached)
    facts = {
        "model": {"pretrain": plan.entry.name, "title": plan.entry.title},
        "split": split_record(plan.data),
        "views": views["test"],
        "draws": draws,
        **({"copies": plan.data.num_copies} if plan.data.num_copies else {}),
    }
    return Curve(tuple(points), tuple(group_of[clip] for clip in tested), len(plan.data.labels), facts)


def draw_clips(
    clips: Iterable[int],
    labels: Sequence[int],
    groups: Sequence[str],
    originals: Sequence[str],
    size: int,
    seed: int,
) -> list[int]:
    """Draw clips per class, group by group; a smaller draw of a seed lies within a larger one.

    Args:
        clips: indices to draw from.
        labels: class of each clip.
        groups: group of each clip.
        originals: the clip that each is, or is an augmented copy of: copies go with it, and do not count.
        size: clips of each class, or as many as there are; `ALL` for all.
        seed: another seed gives another draw.
    """
    chosen = list(clips)
    if size == ALL:
        return chosen
    place = {
        group: i
        for i, group in enumerate(
            keyed_order({groups[i] for i in chosen}, str, seed=seed, purpose="learning curve")
        )
    }
    with_copies: dict[str, list[int]] = {}
    for i in chosen:
        with_copies.setdefault(originals[i], []).append(i)
    taken: dict[int, int] = {}
    found: list[int] = []
    for same in sorted(with_copies.values(), key=lambda same: (place[groups[same[0]]], same[0])):
        label = labels[same[0]]
        if taken.get(label, 0) < size:
            taken[label] = taken.get(label, 0) + 1
            found += same
    return sorted(found)


def _useful(sizes: Sequence[int], labels: Sequence[int], reporter: Reporter) -> list[int]:
    """Leave out sizes that no class reaches, which would be all clips again.

    Raises:
        UsageError: a single size is left: one point is no curve.
    """
    largest = max(labels.count(label) for label in set(labels))
    kept = [size for size in sizes if size != ALL and size < largest]
    if dropped := [size for size in sizes if size != ALL and size >= largest]:
        shown = ", ".join(map(str, dropped))
        reporter.message(f"no class has more than {largest} training clips: {shown} per class is all of them")
    kept = list(dict.fromkeys([*kept, *([ALL] if dropped or ALL in sizes else [])]))
    if len(kept) < 2:
        raise UsageError(
            f"a learning curve needs two sizes, and no class has more than {largest} training clips",
            f"give sizes below {largest}, and all, such as --learning-curve 1,2,all",
        )
    return kept


def _draws(size: int, draws: int) -> int:
    return 1 if size == ALL else draws


def _parts(plan: Plan) -> Iterator[tuple[list[int] | range, list[int] | range]]:
    """Yield the indices of the clips to train on and to test: of each fold, or of the split."""
    data = plan.data
    if not data.folds:
        yield range(len(data.examples[Subset.TRAIN])), range(len(data.examples[Subset.TEST]))
        return
    folds = folds_of(data, plan.settings.seed)
    for number in folds.numbers:
        yield folds.trained(number), folds.tested(number)


def _test(
    solver: HeadSolver,
    parts: Sequence[tuple[Sequence[int], Sequence[int]]],
    draw_of: Callable[[Sequence[int]], list[int]],
    groups: Sequence[str],
    originals: Sequence[str],
) -> tuple[tuple[bool, ...], float]:
    """Train on a draw, and test; return the hits in the order of the clips, and the number trained on."""
    hits: dict[int, bool] = {}
    trained = 0
    for train, test in parts:
        chosen = draw_of(train)
        solver.solve(groups, chosen)
        trained += len({originals[i] for i in chosen})
        for clip, row in zip(test, solver.predict(Subset.TEST, test), strict=True):
            hits[clip] = top_k_correct(row.scores, row.label_index, 1)
    return tuple(hits[clip] for clip in sorted(hits)), trained / len(parts)
