"""Clips that somebody should look at again.

Probably wrong labels, near-duplicates that disagree, clips that look like no other, empty pictures, and clips
in which no dancer was found.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dancecli.core.errors import DanceError, InputError, UsageError, WorkspaceError
from dancecli.core.records import (
    NEAR_DUPLICATE,
    Clip,
    ClipPose,
    Prediction,
    Subset,
    Suspect,
    near_duplicates,
)
from dancecli.core.statistics.left_out import left_out_discriminant, left_out_scores
from dancecli.core.statistics.outliers import far_out
from dancecli.core.statistics.vectors import neighbor_distances, normalize, shorten
from dancecli.core.text import agreeing, pluralize
from dancecli.dataset.groups import join_groups, read_all_groups, read_groups
from dancecli.dataset.similarity.dedup import near_among
from dancecli.model.evaluation.evaluate import used_sources
from dancecli.report.statistics.label_noise import (
    LabelNoise,
    choose_suspects,
    fit_label_noise,
    label_likelihood,
)
from dancecli.storage import tables
from dancecli.storage.content import CONDITIONS, conditions_of
from dancecli.storage.corrections import (
    Correction,
    Field,
    append_corrections,
    apply_corrections,
    current,
    read_corrections,
)
from dancecli.storage.features import ClipFeatures, clip_features
from dancecli.storage.runs import RunFolder, read_record
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

LABEL, OUTLIER = "label", "outlier"
_SCORED = (Subset.VAL, Subset.TEST)
# Conditions in which nobody can see which dance it is.
_UNSEEN = ("black", "static")
# Below this many clips two parameters cannot be fitted.
_FEWEST = 30
# An outlier is far from so many clips of other groups: a few that are alike do not hide each other.
_NEIGHBOR = 5
# A class of fewer groups is not learned from the others when one of them is left out.
_FEWEST_GROUPS = 3
# From features that stand for themselves to those that share nearly everything.
_RIDGES = tuple(10.0 ** (i / 2) for i in range(-4, 3))
# So often, clips count for the others as much as their labels are probably right. In drawn corpora a third
# time found no more.
_ROUNDS = 2


@dataclass(frozen=True)
class SuspectSettings:
    """How to look for suspects.

    Attributes:
        run: whose predictions tell wrong labels; None for the stored features, or the run that scored the
            most clips if it scored more than have features.
        max_false: largest share of the label suspects whose labels may be right, at 90 % confidence.
    """

    run: str | None = None
    max_false: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.max_false < 1:
            raise UsageError("the share of false alarms must be between 0 and 1", "such as --max-false 0.2")


@dataclass(frozen=True)
class SuspectsResult:
    """The suspects of a workspace.

    Attributes:
        suspects: that should be looked at, the most probable first; those that somebody confirmed, and
            excluded clips, are left out.
        run: whose predictions were used; None if none were.
        scored_by: who scored the clips: `run`, or a classifier on the stored features; None if nobody did.
        num_scored: clips that were scored without having been trained on.
        num_trained_on: clips whose scores by the run were left out, because it was trained on them.
        unknown: runs whose scores were left out, because nobody knows which clips they were trained on.
        num_clips: original clips that no correction excludes.
        noise_rate: estimated share of wrong labels among the scored clips; None without scores.
        expected_false: expected number of label suspects whose labels are right.
        num_reviewed: suspects left out because somebody confirmed the label.
    """

    suspects: tuple[Suspect, ...]
    run: str | None
    scored_by: str | None
    num_scored: int
    num_trained_on: int
    unknown: tuple[str, ...]
    num_clips: int
    noise_rate: float | None
    expected_false: float
    num_reviewed: int


@dataclass(frozen=True)
class _Scored:
    """Clips with the scores of a model that was not trained on them, in the order of `labels`."""

    by: str
    labels: tuple[str, ...]
    scores: Mapping[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class _HeldOut:
    """Of the clips that a run scored, the number of those it was trained on, and the others."""

    run: str
    trained_on: int
    clips: frozenset[str]


def find_suspects(workspace: Workspace, settings: SuspectSettings) -> SuspectsResult:
    """Look for suspects, and write them to `manifests/suspects.parquet` for `dance app`.

    Raises:
        WorkspaceError: there are no clips, no such run, or nobody knows what the named run was trained on.
        InputError: a table is damaged.
    """
    changes = current(read_corrections(workspace))
    stored = tables.read(workspace.clips, Clip) if workspace.clips.exists() else []
    clips = apply_corrections([clip for clip in stored if not clip.parent_id], changes).clips
    if not clips:
        raise WorkspaceError(f"{workspace.root}: there are no clips yet", "run dance fetch or dance import")
    features = _read_features(workspace, clips)
    group_of = join_groups(clips, read_all_groups(workspace, changes))
    held_out, unknown = _read_held_out(workspace, settings.run, clips, group_of)
    scored = _scores_of(workspace, held_out) if held_out else None
    by_features = _score_features(clips, features, group_of) if features and not settings.run else None
    if by_features and len(by_features.scores) >= (len(scored.scores) if scored else 0):
        scored, held_out = by_features, None
    rows: list[Suspect] = []
    noise = None
    if scored:
        rows, noise = _by_scores(clips, scored, settings.max_false)
    rows += [*_by_near_duplicates(workspace, clips), *_by_content(clips)]
    rows += [*_by_pose(workspace, clips), *(_by_features(clips, features, group_of) if features else ())]
    confirmed = {clip_id for clip_id, fields in changes.items() if Field.CONFIRMED in fields}
    reviewed = sum(row.queued and row.clip_id in confirmed for row in rows)
    rows = [replace(row, queued=row.queued and row.clip_id not in confirmed) for row in rows]
    rows.sort(key=lambda row: (-row.queued, -row.probability, row.kind, row.clip_id))
    meta = {"suspects.scored_by": scored.by if scored else "", "suspects.max_false": str(settings.max_false)}
    tables.write(workspace.suspects, Suspect, rows, meta)
    return SuspectsResult(
        suspects=tuple(row for row in rows if row.queued),
        run=held_out.run if held_out else None,
        scored_by=scored.by if scored else None,
        num_scored=len(scored.scores) if scored else 0,
        num_trained_on=held_out.trained_on if held_out else 0,
        unknown=unknown,
        num_clips=len(clips),
        noise_rate=noise.rate if noise else None,
        expected_false=sum(1 - row.probability for row in rows if row.queued and row.kind == LABEL),
        num_reviewed=reviewed,
    )


def accept_suspects(workspace: Workspace, result: SuspectsResult, who: str) -> int:
    """Relabel every label suspect as suggested, as corrections that can be taken back.

    Args:
        workspace: whose corrections are written.
        result: the suspects.
        who: whose corrections they are.

    Returns:
        How many clips were relabeled.
    """
    rows = [
        Correction(
            one.clip_id,
            Field.LABEL,
            one.label,
            one.suggested,
            who,
            why=f"suspect accepted unseen: {one.detail}",
        )
        for one in result.suspects
        if one.kind == LABEL and one.suggested
    ]
    if rows:
        append_corrections(workspace, rows)
    return len(rows)


def _read_held_out(
    workspace: Workspace, run: str | None, clips: Sequence[Clip], group_of: Mapping[str, str]
) -> tuple[_HeldOut | None, tuple[str, ...]]:
    """Find the clips that a run scored and was not trained on: of the run with most unless one is named.

    Returns:
        The run, None if there is none, and the runs of which it is unknown what they were trained on.
    """
    have = [name for name in workspace.runs() if RunFolder(workspace.run(name)).predictions.exists()]
    if run and run not in workspace.runs():
        raise WorkspaceError(
            f"there is no run {run!r}", f"known runs: {', '.join(workspace.runs()) or 'none'}"
        )
    if run and run not in have:
        raise WorkspaceError(f"run {run!r} has no predictions", "finish it: dance finetune")
    found, unknown = [], []
    # Of all clips: a run may have been trained on some that are excluded now.
    video_of = dict(tables.read_columns(workspace.clips, Clip, ("clip_id", "video_id")))
    for name in [run] if run else have:
        sources = _used_sources(workspace, name, video_of)
        if sources is None:
            unknown.append(name)
        else:
            found.append(_held_out(workspace, name, sources, clips, group_of))
    if run and unknown:
        raise WorkspaceError(
            f"it is unknown which clips run {run!r} was trained on, so its scores tell no wrong labels",
            "name a run whose split is still there: dance suspects RUN",
        )
    # Of runs that scored as many, the latest.
    best = max(enumerate(found), key=lambda one: (len(one[1].clips), one[0]), default=(0, None))[1]
    return best, tuple(unknown)


def _used_sources(
    workspace: Workspace, run: str, video_of: Mapping[str, str]
) -> dict[Subset, set[str]] | None:
    """Name what a run's clips of val, and of test, may not be of: empty for clips held out by its own split.

    Returns:
        Source videos and groups; None if nobody knows.
    """
    try:
        record = read_record(workspace, run)
        if members := record.get("members"):
            of_members = [_used_sources(workspace, member["run"], video_of) for member in members]
            known = [of_member for of_member in of_members if of_member is not None]
            unknown = len(known) < len(of_members)
            return None if unknown else {s: set().union(*(one[s] for one in known)) for s in _SCORED}
        evaluated = record.get("evaluated")
        overlap = evaluated and evaluated["overlap"]
        if evaluated and (overlap is None or any(count["clips"] for count in overlap.values())):
            return used_sources(workspace, read_record(workspace, evaluated["run"]), video_of)
    except (DanceError, LookupError, TypeError):
        # The run, or one that it was made of, is gone or damaged.
        return None
    return {subset: set() for subset in _SCORED}


def _held_out(
    workspace: Workspace,
    run: str,
    sources: Mapping[Subset, set[str]],
    clips: Sequence[Clip],
    group_of: Mapping[str, str],
) -> _HeldOut:
    """Tell the clips that a run scored and shares no source with from those that it was trained on."""
    # Groups may have been joined since.
    joined = {
        subset: names | {group_of[clip.clip_id] for clip in clips if clip.video_id in names}
        for subset, names in sources.items()
    }
    video_of = {clip.clip_id: clip.video_id for clip in clips}
    path = RunFolder(workspace.run(run)).predictions
    scored, used = set(), set()
    for clip_id, subset in tables.read_columns(path, Prediction, ("clip_id", "subset")):
        if clip_id in video_of:
            scored.add(clip_id)
            if not joined[Subset(subset)].isdisjoint((video_of[clip_id], group_of[clip_id])):
                used.add(clip_id)
    return _HeldOut(run, len(used), frozenset(scored - used))


def _scores_of(workspace: Workspace, held_out: _HeldOut) -> _Scored:
    """Read a run's scores of clips, averaged where a clip was scored several times."""
    import numpy as np

    path = RunFolder(workspace.run(held_out.run)).predictions
    table = tables.read_table(path, Prediction, ("clip_id", "scores"))
    labels = tuple(json.loads(tables.read_meta(path)["labels"]))
    found: defaultdict[str, list[npt.NDArray[np.float64]]] = defaultdict(list)
    for clip_id, scores in zip(table.column(0).to_pylist(), table.column(1).to_numpy(), strict=True):
        if len(scores) != len(labels):
            raise InputError.at(path, None, "has scores of another number of classes than labels")
        if clip_id in held_out.clips:
            found[clip_id].append(scores)
    return _Scored(held_out.run, labels, {clip_id: np.mean(rows, axis=0) for clip_id, rows in found.items()})


def _read_features(workspace: Workspace, clips: Sequence[Clip]) -> ClipFeatures | None:
    try:
        return clip_features(workspace, {clip.clip_id: clip.sha256 for clip in clips})
    except WorkspaceError:
        return None


def _score_features(
    clips: Sequence[Clip], features: ClipFeatures, group_of: Mapping[str, str]
) -> _Scored | None:
    """Score the clips that have features, and a label that enough groups have."""
    import numpy as np

    label_of = {clip.clip_id: clip.label for clip in clips}
    having: defaultdict[str, set[str]] = defaultdict(set)
    for clip_id in features.clips:
        having[label_of[clip_id]].add(group_of[clip_id])
    names = tuple(sorted(label for label, groups in having.items() if len(groups) >= _FEWEST_GROUPS))
    rows = [i for i, clip_id in enumerate(features.clips) if label_of[clip_id] in names]
    if len(rows) < _FEWEST or len(names) < 2:
        return None
    ids = [features.clips[i] for i in rows]
    labels = np.array([names.index(label_of[clip_id]) for clip_id in ids])
    groups = np.unique([group_of[clip_id] for clip_id in ids], return_inverse=True)[1]
    scores = score_left_out(features.values[rows], labels, groups)
    return _Scored(
        f"a classifier on features of {features.model}", names, dict(zip(ids, scores, strict=True))
    )


def score_left_out(
    features: npt.NDArray[np.floating], labels: npt.NDArray[np.int64], groups: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Score every clip by classifiers that have not seen its group, and that believe no probably wrong label.

    Args:
        features: [clips, features].
        labels: [clips] index of the label that each clip has; every label is that of several groups.
        groups: [clips] group of each clip, such as its source video.

    Returns:
        [clips, classes] probabilities of the classes.
    """
    import numpy as np

    scores = _fit_left_out(features, labels, groups, np.ones(len(labels)))
    for _ in range(_ROUNDS):
        scores = _fit_left_out(features, labels, groups, 1 - fit_label_noise(scores, labels).wrong)
    return scores


def _fit_left_out(
    features: npt.NDArray[np.floating],
    labels: npt.NDArray[np.int64],
    groups: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Score every clip at the strength of regularization whose scores tell the labels best."""
    import numpy as np
    from scipy.special import softmax

    tried = [
        softmax(left_out_discriminant(outputs, labels, groups, weights), axis=1)
        for outputs in left_out_scores(
            features, np.eye(int(labels.max()) + 1)[labels], groups, weights, _RIDGES
        )
    ]
    # Not by accuracy: some labels are wrong.
    return max(tried, key=lambda scores: label_likelihood(scores, labels))


def _by_scores(
    clips: Sequence[Clip], scored: _Scored, max_false: float
) -> tuple[list[Suspect], LabelNoise | None]:
    """Rank the labels of the clips that were scored; none if they are too few."""
    import numpy as np

    index = {label: i for i, label in enumerate(scored.labels)}
    mine = [clip for clip in clips if clip.clip_id in scored.scores and clip.label in index]
    if len(mine) < _FEWEST or len(index) < 2:
        return [], None
    labels = np.array([index[clip.label] for clip in mine])
    noise = fit_label_noise(np.stack([scored.scores[clip.clip_id] for clip in mine]), labels)
    queued = set(choose_suspects(noise, max_false).tolist())
    rows = []
    for i, clip in enumerate(mine):
        suggested = scored.labels[int(noise.suggested[i])]
        score = scored.scores[clip.clip_id]
        detail = (
            f"{scored.by} gives {suggested} {100 * score[index[suggested]]:.0f} % and "
            f"{clip.label} {100 * score[index[clip.label]]:.0f} %"
        )
        rows.append(
            Suspect(clip.clip_id, LABEL, clip.label, suggested, float(noise.wrong[i]), i in queued, detail)
        )
    return rows, noise


def _by_near_duplicates(workspace: Workspace, clips: Sequence[Clip]) -> Iterator[Suspect]:
    """Name the clips whose label is not that of most of their near-duplicates.

    A group of dedup holds all clips of its videos, which may be of several styles: the near-duplicates
    among them are looked up again.
    """
    label_of = {clip.clip_id: clip.label for clip in clips}
    grouped = near_duplicates(read_groups(workspace), {clip.clip_id: clip.video_id for clip in clips})
    labels_of: defaultdict[str, set[str]] = defaultdict(set)
    for clip_id, group in grouped.items():
        labels_of[group].add(label_of[clip_id])
    torn = [clip_id for clip_id, group in grouped.items() if len(labels_of[group]) > 1]
    near: defaultdict[str, set[str]] = defaultdict(set)
    for one, two in near_among(workspace, torn) if torn else ():
        near[one].add(two)
        near[two].add(one)
    for clip_id, others in sorted(near.items()):
        label = label_of[clip_id]
        counts = Counter([label, *(label_of[other] for other in sorted(others))]).most_common()
        majority = counts[0][0] if len(counts) == 1 or counts[0][1] > counts[1][1] else ""
        if label != majority:
            words = ", ".join(f"{n} as {name}" for name, n in counts)
            detail = f"its near-duplicates have other labels, with its own: {words}"
            yield Suspect(clip_id, NEAR_DUPLICATE, label, majority, 1.0, True, detail)


def _by_content(clips: Sequence[Clip]) -> Iterator[Suspect]:
    """Name the clips in which nothing can be seen."""
    assert set(_UNSEEN) <= set(CONDITIONS)  # noqa: S101 - names of another module
    for clip in clips:
        for condition in conditions_of(clip):
            if condition in _UNSEEN:
                yield Suspect(
                    clip.clip_id, condition, clip.label, "", 1.0, True, f"most of it is {condition}"
                )


def _by_pose(workspace: Workspace, clips: Sequence[Clip]) -> Iterator[Suspect]:
    """Name the clips in which `dance pose` found no dancer that it could follow."""
    if not workspace.poses.exists():
        return
    label_of = {(clip.clip_id, clip.sha256): clip.label for clip in clips}
    columns = ("clip_id", "of_sha256", "reason")
    for clip_id, sha256, reason in tables.read_columns(workspace.poses, ClipPose, columns):
        label = label_of.get((clip_id, sha256))
        if reason and label is not None:
            yield Suspect(clip_id, "no-pose", label, "", 1.0, True, f"no poses: {reason}")


def _by_features(clips: Sequence[Clip], features: ClipFeatures, group_of: Mapping[str, str]) -> list[Suspect]:
    """Name the clips whose stored features are far from those of the clips of every class."""
    import numpy as np

    if len(features.clips) < _FEWEST:
        return []
    by_id = {clip.clip_id: clip for clip in clips}
    mine = [by_id[clip_id] for clip_id in features.clips]
    groups = np.unique([group_of[clip.clip_id] for clip in mine], return_inverse=True)[1]
    distances = neighbor_distances(normalize(shorten(features.values)), groups, _NEIGHBOR)
    rank = distances.argsort().argsort()
    usual = float(np.median(distances))
    return [
        Suspect(
            mine[i].clip_id,
            OUTLIER,
            mine[i].label,
            "",
            float(rank[i] / len(mine)),
            True,
            f"it looks like no other clip: by the features of {features.model} {distances[i] / usual:.1f} "
            "times as far from the nearest as usual",
        )
        for i in far_out(distances).tolist()
    ]


def describe(result: SuspectsResult, max_false: float) -> list[str]:
    """Say in lines what was found, and on what it rests."""
    counts = Counter(one.kind for one in result.suspects)
    kinds = ", ".join(f"{n} by {kind}" for kind, n in counts.most_common())
    found = pluralize(len(result.suspects), "suspect")
    lines = [f"{found} among {pluralize(result.num_clips, 'clip')}" + (f": {kinds}" if kinds else "")]
    if result.noise_rate is not None:
        false = f"{result.expected_false:.{1 if result.expected_false < 9.95 else 0}f}"
        lines.append(
            f"labels: about {100 * result.noise_rate:.1f} % wrong of "
            f"{pluralize(result.num_scored, 'clip')} scored by "
            f"{result.scored_by}; of the {counts[LABEL]} listed about {false} are right, "
            f"and at most {100 * max_false:.0f} % at 90 % confidence"
        )
    elif result.scored_by:
        lines.append(
            f"labels: {result.scored_by} scored {result.num_scored} of these clips without having been "
            f"trained on them; {_FEWEST} are needed"
        )
    else:
        other = "other " if result.unknown else ""
        lines.append(f"labels: no {other}run has predictions yet, and no features are stored")
    if result.num_trained_on:
        lines.append(
            f"left out: the scores of {pluralize(result.num_trained_on, 'clip')} of videos that "
            f"{result.run} was trained on or chose its epoch by"
        )
    if result.unknown:
        lines.append(
            f"left out: the scores of {', '.join(result.unknown)}; it is unknown which clips their weights "
            "were trained on"
        )
    if result.num_scored < result.num_clips:
        lines.append(
            f"{agreeing(result.num_clips - result.num_scored, 'clip', 'has')} no score by a model "
            f"that was not trained on "
            "them: a cross-validation scores all (dance split --folds 5, dance finetune --folds)"
        )
    if result.num_reviewed:
        lines.append(f"{result.num_reviewed} left out: somebody confirmed their labels")
    if not result.suspects:
        lines.append(
            "nothing to look at; dance status names the next step"
            if result.noise_rate is not None
            else "wrong labels were not looked for: run dance features, then dance suspects again (it takes "
            f"{_FEWEST} clips of labels that {_FEWEST_GROUPS} groups or more have)"
        )
    return lines
