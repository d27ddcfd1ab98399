"""The default head on small corpora of the demo's generator: against scikit-learn, and by views.

    python -m benchmarks.small_corpora build/small [--seeds 3] [--videos 12] [--draws 3] [--only NAME...]

The folder gets demo corpora of several seeds, and their features: the evaluation view and four random ones
of each clip. From these, ten sizes are drawn video by video, 5 % of the training labels made wrong, and
tested on all clips of the other videos. Three tables of Markdown come out, by name: `sklearn`, the default
against LogisticRegressionCV on the same features and folds; `views`, on which views to train; `epochs`,
what choosing the epoch by a few validation clips brings, against training on them.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch

from dancecli.core.hashing import INNER_FOLDS, assign_folds
from dancecli.core.labels import MANIFESTS
from dancecli.core.progress import SILENT
from dancecli.core.records import Subset
from dancecli.demo.choreography import STYLES
from dancecli.demo.corpus import CorpusSettings, make_corpus
from dancecli.model.dataloading.split_data import subset_groups
from dancecli.model.networks.mmaction import init_default_scope
from dancecli.model.runs.finetune import FinetuneSettings, make_job
from dancecli.model.runs.learning_curve import draw_clips
from dancecli.model.runs.plan import resolve_plan
from dancecli.model.training.features.loaders import cached_features
from dancecli.model.training.logistic import solve_head
from dancecli.report.statistics.significance import compare_models
from dancecli.storage.workspace import Workspace

SPLIT, RANDOM_VIEWS = "small", 4
# The styles of a single dancer come first.
SOLO = tuple(STYLES)[:6]
SIZES = (3, 4, 5, 8, 10, 15, 20, 30, 45, 60)
WRONG = 0.05
# Eight frames over the demo's 32: half its cost.
RECIPE = ("head=solved", "clip_len=8", "frame_interval=4")
# Name: how many of the random views, and whether the evaluation view is among the training views.
VIEWS = {
    "evaluation view": (0, True),
    "1 random": (1, False),
    "2 random": (2, False),
    "4 random": (4, False),
    "evaluation + 1": (1, True),
    "evaluation + 2": (2, True),
}
VALIDATION = (6, 12, 24, 48, 96)


@dataclass(frozen=True)
class Pool:
    """Clips to draw corpora from.

    Attributes:
        center: [clips, features], of the evaluation view.
        random: [clips, views, features].
        labels: [clips].
        groups: source video of each clip.
    """

    center: torch.Tensor
    random: torch.Tensor
    labels: torch.Tensor
    groups: list[str]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.labels.max()) + 1


def dance(root: Path, *words: str) -> None:
    """Run a command of ours in the workspace."""
    subprocess.run([sys.executable, "-m", "dancecli", *words, "--workspace", str(root)], check=True)


def make_workspace(root: Path, seeds: int, videos: int) -> None:
    """Render demo corpora of several seeds, cut their clips, and compute the features of all."""
    for seed in range(1, seeds + 1):
        site = root / f"site-{seed}"
        settings = CorpusSettings(
            videos_per_style=videos, seed=seed, width=160, height=120, faulty=False, styles=SOLO
        )
        corpus = make_corpus(site, settings)
        words = ["--annotations", str(corpus.annotations), "--labels", str(MANIFESTS / "label-sets/demo.txt")]
        dance(root, "fetch", *words, "--source", "local", "--folder", str(corpus.videos))
    dance(root, "split", "--folds", "2", "--name", SPLIT)


def read_pool(root: Path) -> Pool:
    """Read the features of all clips; those that are missing are computed."""
    workspace = Workspace(root)
    wanted = FinetuneSettings(
        pretrain="inception",
        split=SPLIT,
        recipe="demo",
        name="features",
        folds=True,
        views=RANDOM_VIEWS,
        changes=RECIPE,
    )
    plan = resolve_plan(workspace, wanted)
    job = make_job(workspace, plan)
    init_default_scope("mmaction")
    loaders = cached_features(job, None, SILENT).loaders
    views = [_rows(loaders[Subset.TRAIN].dataset, view) for view in range(RANDOM_VIEWS)]
    return Pool(
        center=_rows(loaders[Subset.TEST].dataset, 0),
        random=torch.stack(views, 1),
        labels=torch.tensor([example.label_index for example in job.data.examples[Subset.TRAIN]]),
        groups=subset_groups(workspace, job.data),
    )


def _rows(dataset: object, view: int) -> torch.Tensor:
    rows = torch.from_numpy(dataset.array[dataset.places[view]])  # type: ignore[attr-defined]
    return rows.float().reshape(len(rows), -1)


@dataclass(frozen=True)
class Corpus:
    """Clips to train on, with 5 % of their labels wrong, and all clips of the other videos."""

    size: int
    train: list[int]
    labels: torch.Tensor
    test: list[int]


def draw_corpora(pool: Pool, draws: int) -> Iterator[Corpus]:
    """Draw corpora of all sizes."""
    everything = range(len(pool.labels))
    for size in SIZES:
        for draw in range(draws):
            seed = 100 * draw + size
            names = [*map(str, everything)]
            train = draw_clips(everything, pool.labels.tolist(), pool.groups, names, size, seed)
            seen = {pool.groups[i] for i in train}
            rng = np.random.default_rng(seed)
            truth = pool.labels[train].numpy()
            wrong = rng.random(len(train)) < WRONG
            made = np.where(wrong, (truth + rng.integers(1, pool.classes, len(truth))) % pool.classes, truth)
            test = [i for i in everything if pool.groups[i] not in seen]
            yield Corpus(size, train, torch.tensor(made), test)


def solved(pool: Pool, corpus: Corpus, random: int, center: bool) -> np.ndarray:
    """Train the default head on some views, and say which test clips it gets right."""
    own = [pool.center[:, None]] if center else []
    views = torch.cat([*own, pool.random[:, :random]], 1)
    groups = [pool.groups[i] for i in corpus.train]
    head = solve_head(views[corpus.train], corpus.labels, groups, pool.classes)
    calls = (pool.center[corpus.test].double() @ head.weight.T + head.bias).argmax(1)
    right: np.ndarray = (calls == pool.labels[corpus.test]).numpy()
    return right


def scikit_learn(pool: Pool, corpus: Corpus) -> np.ndarray:
    """Do the same with scikit-learn's LogisticRegressionCV, on the same grouped folds."""
    from sklearn.linear_model import LogisticRegressionCV

    x, y = pool.center.numpy(), corpus.labels.numpy()
    fold_of = np.array(assign_folds(y.tolist(), [pool.groups[i] for i in corpus.train], INNER_FOLDS))
    folds = [(np.flatnonzero(fold_of != k), np.flatnonzero(fold_of == k)) for k in range(max(fold_of) + 1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = LogisticRegressionCV(Cs=10, cv=folds, max_iter=1000).fit(x[corpus.train], y)
    right: np.ndarray = model.predict(x[corpus.test]) == pool.labels[corpus.test].numpy()
    return right


def against_sklearn(pool: Pool, draws: int) -> None:
    """Print the default beside scikit-learn, one line per corpus."""
    print("| clips per class | test clips | default | LogisticRegressionCV | difference in points (95 %) |")
    print("|---:|---:|---:|---:|---:|")
    differences = []
    for corpus in draw_corpora(pool, draws):
        ours, theirs = solved(pool, corpus, 0, center=True), scikit_learn(pool, corpus)
        found = compare_models(theirs, ours, [pool.groups[i] for i in corpus.test])
        differences.append(100 * found.difference)
        span = f"{100 * found.difference:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f})"
        print(f"| {corpus.size} | {len(ours)} | {ours.sum()} | {theirs.sum()} | {span} |", flush=True)
    print(f"\nMean difference {np.mean(differences):+.2f} points{_spread(differences)}.\n")


def _spread(values: Sequence[float]) -> str:
    return f" ± {1.96 * np.std(values, ddof=1) / math.sqrt(len(values)):.2f}" if len(values) > 1 else ""


def by_views(pool: Pool, draws: int) -> None:
    """Print accuracies by training views, one line per size, as differences to the evaluation view alone."""
    print("| clips per class | " + " | ".join(VIEWS) + " |")
    print("|---:" * (1 + len(VIEWS)) + "|")
    rates: list[list[float]] = []
    for size, corpora in groupby(draw_corpora(pool, draws), lambda corpus: corpus.size):
        own = [
            [100 * float(solved(pool, corpus, *views).mean()) for views in VIEWS.values()]
            for corpus in corpora
        ]
        rates += own
        print(_row_of_views(str(size), own), flush=True)
    print(_row_of_views("all", rates) + "\n", flush=True)


def _row_of_views(title: str, rates: list[list[float]]) -> str:
    table = np.array(rates)
    gains = table - table[:, :1]
    cells = [f"{gains[:, k].mean():+.1f}{_spread(gains[:, k])}" for k in range(1, len(VIEWS))]
    return f"| {title} | {table[:, 0].mean():.1f} % | " + " | ".join(cells) + " |"


def train_by_epochs(
    x: torch.Tensor, y: torch.Tensor, classes: int, seed: int, score: Callable[[torch.nn.Linear], None]
) -> None:
    """Train a head as the default recipe does by epochs; `score` sees it after each."""
    torch.manual_seed(seed)
    head = torch.nn.Linear(x.shape[1], classes)
    torch.nn.init.normal_(head.weight, std=0.01)
    epochs, batch = 20, 16
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
    steps = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * -(-len(y) // batch))
    for _ in range(epochs):
        for rows in torch.randperm(len(y)).split(batch):
            loss = torch.nn.functional.cross_entropy(head(torch.dropout(x[rows], 0.5, True)), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps.step()
        score(head)


def by_epochs(pool: Pool, draws: int) -> None:
    """Print what validation clips bring: to choose the epoch by, or to train on."""
    print("| validation clips | epoch chosen by them | trained on, last epoch | trained on, head solved |")
    print("|---:|---:|---:|---:|")
    for size in VALIDATION:
        gains = []
        for corpus in draw_corpora(pool, draws):
            if corpus.size > 20:
                continue
            videos = sorted({pool.groups[i] for i in corpus.test})
            place = dict(
                zip(videos, np.random.default_rng(corpus.size).permutation(len(videos)), strict=True)
            )
            listed = sorted(corpus.test, key=lambda i: (place[pool.groups[i]], i))
            val = listed[:size]
            taken = {pool.groups[i] for i in val}
            rest = [i for i in listed if pool.groups[i] not in taken]
            gains.append(_gains(pool, corpus, val, rest))
        table = 100 * np.array(gains)
        cells = [f"{table[:, k].mean():+.2f}{_spread(table[:, k])}" for k in range(3)]
        print(f"| {size} | " + " | ".join(cells) + " |", flush=True)
    print()


def _gains(pool: Pool, corpus: Corpus, val: list[int], rest: list[int]) -> list[float]:
    """Give the accuracy on `rest` of three ways, less that of the last epoch without validation clips."""

    def right(head: torch.nn.Linear, clips: list[int]) -> float:
        with torch.no_grad():
            return float((head(pool.center[clips]).argmax(1) == pool.labels[clips]).float().mean())

    seen: list[tuple[float, float]] = []
    x, y = pool.center[corpus.train], corpus.labels
    train_by_epochs(
        x, y, pool.classes, corpus.size, lambda head: seen.append((right(head, val), right(head, rest)))
    )
    # Of equally good epochs the last.
    best = max(range(len(seen)), key=lambda epoch: (seen[epoch][0], epoch))
    more: list[float] = []
    x_more, y_more = torch.cat([x, pool.center[val]]), torch.cat([y, pool.labels[val]])
    train_by_epochs(x_more, y_more, pool.classes, corpus.size, lambda head: more.append(right(head, rest)))
    whole = Corpus(corpus.size, [*corpus.train, *val], y_more, rest)
    last = seen[-1][1]
    return [seen[best][1] - last, more[-1] - last, float(solved(pool, whole, 0, center=True).mean()) - last]


TABLES = {"sklearn": against_sklearn, "views": by_views, "epochs": by_epochs}


def main() -> None:
    """Make the corpora where they are missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--videos", type=int, default=12, help="per style and seed; each has two or three clips"
    )
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES))
    asked = parser.parse_args()
    if not Workspace(asked.folder).split(SPLIT).exists():
        make_workspace(asked.folder, asked.seeds, asked.videos)
    pool = read_pool(asked.folder)
    sizes = torch.bincount(pool.labels).tolist()
    print(f"{len(pool.groups)} clips of {len(set(pool.groups))} videos; per class {sizes}\n", flush=True)
    for name in asked.only:
        TABLES[name](pool, asked.draws)


if __name__ == "__main__":
    main()
