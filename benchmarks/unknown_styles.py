"""Which score tells clips of a style that was not trained on: each style withheld in turn.

    dance demo --workspace W
    dance features --workspace W --run inception-demo-1 --to W/features.parquet
    python -m benchmarks.unknown_styles W/features.parquet W/manifests/splits/demo.parquet [--styles FILE]
    dance pose --workspace W
    python -m benchmarks.unknown_styles W W/manifests/splits/demo.parquet   # by how people move

Only training clips are used; of a workspace all with poses, since nothing was fitted to them. For each
withheld style and seed the other clips are divided into five grouped folds; a score is fitted to four of them
and computed for the fifth and for the withheld style. The threshold for a fold is the one of 5 % false alarms
on the other folds. Each line is one score: the withheld clips beyond the threshold in per cent (mean, then
style by style), the false alarms, and the area under the curve.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from scipy.special import logsumexp
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.preprocessing import normalize
from sklearn.svm import OneClassSVM

from dancecli.core.hashing import assign_folds
from dancecli.core.labels import LabelSet
from dancecli.core.records import Clip, ClipPose, SplitClip
from dancecli.core.statistics.calibration import group_threshold
from dancecli.model.encoding.movement import movement_vector
from dancecli.model.networks.heads.unknown import fit_detector, fit_neighbors
from dancecli.storage import tables
from dancecli.storage.pose_files import read_pose
from dancecli.storage.workspace import Workspace

FOLDS, RATE = 5, 0.05
# Of clips [N, channels]; larger is farther.
Score = Callable[[np.ndarray], np.ndarray]
Fit = Callable[[np.ndarray, np.ndarray], Score]
# Of features before ASH and SCALE: about that of the features of ReLU networks.
_LENGTH = 30.0


def detector(residual: float) -> Fit:
    """The score of `dance predict --unknown`: the cosine, and so much of the residual."""

    def fit(x: np.ndarray, y: np.ndarray) -> Score:
        found = fit_detector(torch.from_numpy(x), torch.from_numpy(y), residual)
        return lambda z: found.distance(torch.from_numpy(z)).numpy()

    return fit


def nearest(x: np.ndarray, y: np.ndarray) -> Score:
    """The score of `dance predict --unknown` of runs on poses."""
    found = fit_neighbors(torch.from_numpy(x), torch.from_numpy(y))
    return lambda z: found.distance(torch.from_numpy(z)).numpy()


def scaled(x: np.ndarray, y: np.ndarray) -> Score:
    """Measures in their standard deviations inside the classes, at most four, of unit length."""
    center = x.mean(axis=0)
    inside = x - np.stack([x[y == label].mean(axis=0) for label in np.unique(y)])[y]
    spread = np.sqrt((inside**2).mean(axis=0))
    spread[spread < 1e-6] = np.inf
    return lambda z: normalize(np.clip((z - center) / spread, -4, 4))


def whitened(x: np.ndarray, y: np.ndarray) -> Score:
    """Features of unit length after `fit_detector`'s whitening."""
    found = fit_detector(torch.from_numpy(x), torch.from_numpy(y))
    return lambda z: found.white(torch.from_numpy(z)).numpy()


def mahalanobis(relative: bool) -> Fit:
    """Mahalanobis distance to the nearest class, covariance by Ledoit and Wolf; less that to all clips."""

    def fit(x: np.ndarray, y: np.ndarray) -> Score:
        means = np.stack([x[y == label].mean(axis=0) for label in np.unique(y)])
        inside = LedoitWolf(assume_centered=True).fit(x - means[y]).get_precision()
        whole = LedoitWolf().fit(x) if relative else None

        def score(z: np.ndarray) -> np.ndarray:
            away = z[:, None] - means
            nearest = np.einsum("nkc,cd,nkd->nk", away, inside, away, optimize=True).min(axis=1)
            return nearest - whole.mahalanobis(z) if whole else nearest

        return score

    return fit


def unprepared(*_: np.ndarray) -> Score:
    """Features of unit length."""
    return normalize


def neighbors(k: int, prepare: Fit = unprepared) -> Fit:
    """Distance to the k-th neighbor of features of unit length (Sun et al. 2022)."""

    def fit(x: np.ndarray, y: np.ndarray) -> Score:
        unit = prepare(x, y)
        found = NearestNeighbors(n_neighbors=k).fit(unit(x))
        return lambda z: found.kneighbors(unit(z))[0][:, -1]

    return fit


def logits(kind: str) -> Fit:
    """Energy, largest probability or logit of logistic regression; ViM, its residual (Wang et al. 2022)."""

    def fit(x: np.ndarray, y: np.ndarray) -> Score:
        center, scale = x.mean(axis=0), x.std(axis=0) + 1e-6
        head = LogisticRegression(C=0.01, max_iter=300).fit((x - center) / scale, y)
        rest = np.linalg.svd(x - center, full_matrices=True)[2][64:]

        def residual(z: np.ndarray) -> np.ndarray:
            return np.linalg.norm((z - center) @ rest.T, axis=1)

        def values(z: np.ndarray) -> np.ndarray:
            return head.decision_function((z - center) / scale)

        weight = values(x).max(axis=1).mean() / residual(x).mean()
        return {
            "energy": lambda z: -logsumexp(values(z), axis=1),
            "probability": lambda z: -head.predict_proba((z - center) / scale).max(axis=1),
            "logit": lambda z: -values(z).max(axis=1),
            "residual": residual,
            "vim": lambda z: weight * residual(z) - logsumexp(values(z), axis=1),
        }[kind]

    return fit


def outliers(kind: str) -> Fit:
    """One-class SVM or local outlier factor of whitened features."""

    def fit(x: np.ndarray, y: np.ndarray) -> Score:
        unit = whitened(x, y)
        made = OneClassSVM(nu=0.1, gamma=2) if kind == "svm" else LocalOutlierFactor(20, novelty=True)
        found = made.fit(unit(x))
        return lambda z: -found.score_samples(unit(z))

    return fit


def reduced(count: int, inner: Fit, prepare: Score = np.asarray) -> Fit:
    """Another score in the so many directions in which clips vary most."""

    def fit(x: np.ndarray, y: np.ndarray) -> Score:
        found = PCA(min(count, len(x) - 1), svd_solver="full").fit(prepare(x))
        score = inner(found.transform(prepare(x)), y)
        return lambda z: score(found.transform(prepare(z)))

    return fit


def mean_neighbors(k: int) -> Fit:
    """Mean cosine with the k nearest clips, whitened."""

    def fit(x: np.ndarray, y: np.ndarray) -> Score:
        unit = whitened(x, y)
        known = normalize(unit(x))
        return lambda z: -np.sort(normalize(unit(z)) @ known.T, axis=1)[:, -k:].mean(axis=1)

    return fit


def guided(k: int) -> Fit:
    """NNGuide (Park et al. 2023): the energy, times cosines with the k nearest clips times their energies."""

    def fit(x: np.ndarray, y: np.ndarray) -> Score:
        energy = logits("energy")(x, y)
        known = normalize(x) * -energy(x)[:, None]
        return lambda z: energy(z) * np.sort(normalize(z) @ known.T, axis=1)[:, -k:].mean(axis=1)

    return fit


def shaped(kind: str, percentile: float) -> Fit:
    """Energy of shaped features: ASH-S (Djurisic et al. 2023), SCALE (Xu et al. 2024), ReAct (Sun 2021)."""

    def fit(x: np.ndarray, y: np.ndarray) -> Score:
        ready = np.asarray if kind == "react" else lambda z: normalize(z) * _LENGTH
        head = LogisticRegression(max_iter=500).fit(ready(x), y)
        most = np.percentile(x, percentile)

        def shape(z: np.ndarray) -> np.ndarray:
            if kind == "react":
                return np.minimum(z, most)
            z = ready(z)
            kept = np.where(z >= np.percentile(z, percentile, axis=1, keepdims=True), z, 0)
            factor = np.exp(z.sum(axis=1, keepdims=True) / kept.sum(axis=1, keepdims=True))
            return (kept if kind == "ash" else z) * factor

        return lambda z: -logsumexp(head.decision_function(shape(z)), axis=1)

    return fit


SCORES: dict[str, Fit] = {
    "cosine with a class, whitened": detector(0.0),
    **{f"cosine and {share:g} of the residual": detector(share) for share in (0.25, 0.5, 1.0, 2.0)},
    "Mahalanobis, Ledoit-Wolf": mahalanobis(relative=False),
    "relative Mahalanobis, Ledoit-Wolf": mahalanobis(relative=True),
    "neighbor 3, measures scaled, 40 directions": nearest,
    **{f"neighbor {k}, measures scaled": neighbors(k, scaled) for k in (1, 3, 5)},
    **{f"neighbor {k}": neighbors(k) for k in (1, 10, 20)},
    **{f"neighbor {k}, whitened": neighbors(k, whitened) for k in (1, 10, 20)},
    "one-class SVM, whitened": outliers("svm"),
    "local outlier factor, whitened": outliers("lof"),
    "residual subspace": logits("residual"),
    "ViM": logits("vim"),
    "energy": logits("energy"),
    "largest logit": logits("logit"),
    "largest probability": logits("probability"),
    **{f"cosine and 0.5, {count} directions": reduced(count, detector(0.5)) for count in (32, 64, 128)},
    **{f"mean of {k} neighbors, whitened": mean_neighbors(k) for k in (1, 5, 20)},
    **{
        f"{name}Mahalanobis++, {count} directions": reduced(count, mahalanobis(relative), normalize)
        for name, relative in (("", False), ("relative ", True))
        for count in (16, 32, 64)
    },
    **{f"NNGuide, {k}": guided(k) for k in (1, 5, 20)},
    **{
        f"{kind}, {share}th percentile": shaped(kind, share)
        for kind in ("ash", "scale")
        for share in (65, 85)
    },
    **{f"react, {share}th percentile": shaped("react", share) for share in (90, 95, 99)},
}


def measure(
    fit: Fit,
    x: np.ndarray,
    y: np.ndarray,
    groups: np.ndarray,
    withheld: int,
    seed: int,
) -> tuple[float, float, float]:
    """Withhold a class: the share of its clips that is found, the false alarms, and the area."""
    inside = y != withheld
    known, of, other = x[inside], groups[inside], x[~inside]
    label = np.unique(y[inside], return_inverse=True)[1]
    fold = np.array(assign_folds(label.tolist(), of.tolist(), FOLDS, seed))
    near, far = np.zeros(len(known)), []
    for i in range(FOLDS):
        score = fit(known[fold != i], label[fold != i])
        near[fold == i] = score(known[fold == i])
        far.append(score(other))
    found, alarms, area = [], 0, []
    for i in range(FOLDS):
        own, rest = near[fold == i], fold != i
        limit = group_threshold(near[rest].tolist(), of[rest].tolist(), 1 - RATE)
        found.append((far[i] > limit).mean())
        alarms += (own > limit).sum()
        truth = np.repeat([0, 1], [len(own), len(other)])
        area.append(roc_auc_score(truth, np.concatenate([own, far[i]])))
    return float(np.mean(found)), alarms / len(known), float(np.mean(area))


def exported(path: Path) -> list[tuple[str, str, np.ndarray]]:
    """Give id, label and features of the training clips of a file of `dance features`."""
    rows = [row for row in pq.read_table(path).to_pylist() if row["subset"] == "train"]
    return [(row["clip_id"], row["label"], np.array(row["features"], dtype=float)) for row in rows]


def moving(folder: Path) -> list[tuple[str, str, np.ndarray]]:
    """Give id, label and movement of the clips of a workspace whose dancer was found."""
    workspace = Workspace(folder)
    clips = {clip.clip_id: clip for clip in tables.read(workspace.clips, Clip)}
    found = []
    for row in tables.read(workspace.poses, ClipPose):
        if not row.path:
            continue
        clip = clips[row.clip_id]
        vector = movement_vector(read_pose(folder / row.path), clip.fps_num / clip.fps_den)
        if vector is not None:
            found.append((clip.clip_id, clip.label, vector))
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path)
    parser.add_argument("split", type=Path)
    parser.add_argument("--styles", type=Path, help="label file: only these styles")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    clips = moving(options.features) if options.features.is_dir() else exported(options.features)
    if options.styles:
        clips = [one for one in clips if one[1] in LabelSet.read(options.styles)]
    group_of = {row.clip_id: row.group for row in tables.read(options.split, SplitClip)}
    x = np.stack([vector for *_, vector in clips])
    groups = np.array([group_of[clip_id] for clip_id, *_ in clips])
    styles, y = np.unique([label for _, label, _ in clips], return_inverse=True)
    print(f"{len(clips)} clips, {len(set(groups))} videos; withheld: {', '.join(styles)}")
    for name, fit in SCORES.items():
        by = np.array(
            [[measure(fit, x, y, groups, i, s) for s in range(options.seeds)] for i in range(len(styles))]
        )
        shares = " ".join(f"{100 * share:3.0f}" for share in by[:, :, 0].mean(axis=1))
        found, alarms, area = by.mean(axis=(0, 1))
        print(
            f"{name:42s} {100 * found:3.0f} | {shares} | alarms {100 * alarms:.1f} | area {area:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
