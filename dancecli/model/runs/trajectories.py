"""`train --model idt` and `--model bag`: a linear SVM on what the trajectories of a clip are encoded as.

`idt` is Wang & Schmid (2013): improved dense trajectories as Fisher vectors. `bag` is the dense bag of
features of Wang et al. (2011): histograms of visual words under a chi-square kernel. Both are runs like
those of `finetune`, without epochs, whose model is one file of arrays in the place of a checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import MissingDependencyError, UsageError
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import Prediction, Subset
from dancecli.model.dataloading.split_data import Example, load_split, split_record
from dancecli.model.encoding import fisher, words
from dancecli.model.encoding.classifier import STRENGTH, train_svm
from dancecli.model.encoding.clips import TrackedSplit, tracked_split
from dancecli.model.encoding.model_file import (
    BAG,
    IDT,
    PROTOCOL,
    TrajectoryClassifier,
    TrajectoryFile,
    read_classifier,
    write_classifier,
)
from dancecli.model.evaluation.evaluate import (
    find_overlap,
    overlap_notes,
    refuse_other_labels,
    trained_on,
)
from dancecli.model.evaluation.scored_runs import find_existing, new_run, write_evaluation_run
from dancecli.model.training.scoring import as_predictions
from dancecli.storage import runs as rec
from dancecli.storage.runs import RunResult
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GAUSSIANS, WORDS = "gaussians", "words"
_TITLES = {
    IDT: "Improved dense trajectories, Fisher vectors of {size} Gaussians, linear SVM",
    BAG: "Dense bag of features, {size} words of each kind, chi-square kernel, SVM",
}
_SIZES = {IDT: GAUSSIANS, BAG: WORDS}
# What decides the number of descriptors that are fitted to.
_PER_UNIT = {IDT: fisher.PER_GAUSSIAN, BAG: words.PER_WORD}


@dataclass(frozen=True)
class TrajectoryModel:
    """Which model of trajectories to train.

    Attributes:
        kind: `idt` or `bag`.
        split: name of the split; None for the latest.
        name: of the run; None gives `<kind>-<split>-<n>`.
        size: Gaussians of `idt`, words of `bag`; None for as many as the training clips allow.
        seed: of the descriptors that are drawn, and of the start of mixtures and vocabularies.
    """

    kind: str = IDT
    split: str | None = None
    name: str | None = None
    size: int | None = None
    seed: int = 0


def size_of(kind: str, changes: Sequence[str]) -> int | None:
    """Read the number of Gaussians or words from `--set`; None if it is not given.

    Raises:
        UsageError: another key is set, or not to a number above 1.
    """
    wanted, found = _SIZES[kind], None
    for change in changes:
        key, _, value = change.partition("=")
        if key.strip() != wanted:
            raise UsageError(f"--model {kind} has no setting {key.strip()!r}", f"known: {wanted}=N")
        if not value.strip().isdecimal() or int(value) < 2:
            raise UsageError(
                f"--set {change}: {value.strip()!r} is not a whole number from 2", f"{wanted}=64"
            )
        found = int(value)
    return found


def default_size(kind: str, clips: int) -> int:
    """Choose as many Gaussians or words as so many training clips allow, at most as many as published."""
    if kind == BAG:
        return min(words.PUBLISHED, max(2, 4 * clips))
    # The largest power of two that leaves four clips to each.
    return min(fisher.PUBLISHED, max(2, 1 << max(0, (clips // 4).bit_length() - 1)))


def check_training(workspace: Workspace, settings: TrajectoryModel) -> str:
    """Check at once what would otherwise fail after all clips were tracked.

    Returns:
        The name of the split.

    Raises:
        WorkspaceError, InputError: there is no such split, it cannot be read, or the run's name is invalid.
        MissingDependencyError: scikit-learn is not installed.
    """
    _require_sklearn()
    if settings.name is not None:
        workspace.run(settings.name)
    return load_split(workspace, settings.split).name


def train_on_trajectories(
    workspace: Workspace, settings: TrajectoryModel, reporter: Reporter = SILENT, *, dry_run: bool = False
) -> RunResult:
    """Train a model of trajectories, score val and test, and keep the result as a run.

    The same model of the same trajectories is not trained twice: the existing run is returned.

    Args:
        workspace: holds the split and the trajectories, and receives the run.
        settings: what to train.
        reporter: receives the progress as `phase · words`.
        dry_run: only plan; the result's record describes what would be trained.

    Raises:
        WorkspaceError: there is no such split, or the name is taken.
        ModelError: clips of the split were not tracked, or nothing moves in any.
        MissingDependencyError: scikit-learn is not installed.
    """
    began, created = time.monotonic(), rec.now_utc()
    _require_sklearn()
    tracked = tracked_split(workspace, load_split(workspace, settings.split))
    data = tracked.data
    size = settings.size or default_size(settings.kind, len(data.examples[Subset.TRAIN]))
    evidence = {
        "kind": settings.kind,
        _SIZES[settings.kind]: size,
        "method": next(iter(tracked.rows.values())).method,
        "trajectories_sha256": tracked.digest,
        "split_hash": data.meta["split.hash"],
        "seed": settings.seed,
    }
    if there := find_existing(workspace, settings.name, "trajectories", evidence):
        return there
    with new_run(workspace, settings.name, f"{settings.kind}-{data.name}", dry_run=dry_run) as name:
        if dry_run:
            return RunResult(name, {**evidence, "counts": data.counts}, data.notes)
        model, vectors = _train(workspace, tracked, settings, size, reporter)
        fitted = time.monotonic()
        predictions = _score(workspace, tracked, model, reporter)
        svm = model.svm
        facts = {
            "created_utc": created,
            "model": _model_record(settings.kind, size),
            "weights": None,
            "split": split_record(data),
            "labels": list(data.labels),
            "views": {"train": PROTOCOL, "test": PROTOCOL},
            "optim": {"optimizer": f"SVM, one class against the rest, C = {STRENGTH:g}"},
            "seed": settings.seed,
            "trajectories": evidence,
            "svm": {
                "temperature": round(svm.temperature, 4),
                "held_out": {"n": svm.held_out, "top1": svm.held_out_correct},
                "scikit_learn": version("scikit-learn"),
            },
            "settings": asdict(settings),
            "seconds": {"fit": round(fitted - began, 2), "evaluate": round(time.monotonic() - fitted, 2)},
        }
        folder = rec.RunFolder(workspace.run(name))
        folder.root.mkdir(parents=True, exist_ok=True)
        write_classifier(folder.trajectory_model, model)
        if not _write_detector(workspace, folder, tracked, model, vectors):
            data = replace(data, notes=(*data.notes, "without torch, dance predict --unknown cannot use it"))
        record = write_evaluation_run(workspace, name, facts, predictions)
    return RunResult(name, record, data.notes)


def is_trajectory_run(record: Mapping[str, Any]) -> bool:
    """Tell whether a run was made by `train_on_trajectories`, and not from another run's model."""
    return "trajectories" in record


def read_model(workspace: Workspace, run: str) -> TrajectoryFile:
    """Read the model of a run on trajectories.

    Raises:
        ModelError: it is missing or broken.
        MissingDependencyError: scikit-learn is not installed.
    """
    _require_sklearn()
    return read_classifier(rec.RunFolder(workspace.run(run)).trajectory_model)


def evaluate_trajectories(
    workspace: Workspace,
    run: str,
    split: str | None = None,
    name: str | None = None,
    reporter: Reporter = SILENT,
    *,
    dry_run: bool = False,
) -> RunResult:
    """Evaluate the model of a run on the tracked clips of a split, as a run of its own.

    Args:
        workspace: holds the run, the split and the trajectories.
        run: whose model.
        split: whose val and test clips to evaluate; None for the run's own split.
        name: of the new run; None gives `<run>-eval-<n>`.
        reporter: in clips.
        dry_run: only plan; the result's record describes what would be evaluated.

    Raises:
        WorkspaceError: there is no such run or split.
        ModelError: the run's labels are not the split's, its model is missing, or clips were not tracked, or
            in another way than those that it was trained on.
    """
    began, created = time.monotonic(), rec.now_utc()
    trained, found = rec.read_record(workspace, run), read_model(workspace, run)
    tracked = tracked_split(workspace, load_split(workspace, split or trained["split"]["name"]))
    data = tracked.data
    refuse_other_labels(run, trained["labels"], data)
    tracked.refuse_other_method(found.model.method)
    overlap = find_overlap(workspace, trained, data)
    for note in (f"run {run}, {found.path.name}, on split {data.name}", *overlap_notes(run, overlap)):
        reporter.message(note)
    evidence = {
        "run": run,
        "checkpoint": found.path.name,
        "checkpoint_sha256": found.sha256,
        "trajectories_sha256": tracked.digest,
        "split_hash": data.meta["split.hash"],
        "val_hash": data.val_hash,
        "test_hash": data.test_hash,
        "view_protocol": PROTOCOL,
        "overlap": overlap,
        "trained": trained_on(workspace, trained),
    }
    if there := find_existing(workspace, name, "evaluated", evidence):
        return there
    with new_run(workspace, name, f"{run}-eval", dry_run=dry_run) as new:
        if dry_run:
            return RunResult(new, evidence, data.notes)
        predictions = _score(workspace, tracked, found.model, reporter)
        facts = {
            "created_utc": created,
            "model": {**trained["model"], "of_run": run},
            "weights": None,
            "split": split_record(data),
            "labels": trained["labels"],
            "views": {"train": None, "test": PROTOCOL},
            "optim": trained["optim"],
            "seed": trained["seed"],
            "evaluated": evidence,
            "seconds": {"evaluate": round(time.monotonic() - began, 2)},
        }
        record = write_evaluation_run(workspace, new, facts, predictions)
    return RunResult(new, record, data.notes)


def _require_sklearn() -> None:
    try:
        import sklearn.svm  # noqa: F401 - only whether it is there
    except ImportError:
        raise MissingDependencyError(
            "models of trajectories need scikit-learn, which is not installed", "pip install 'dancecli[idt]'"
        ) from None


def _train(
    workspace: Workspace, tracked: TrackedSplit, settings: TrajectoryModel, size: int, reporter: Reporter
) -> tuple[TrajectoryClassifier, NDArray[np.float32]]:
    """Fit the encoder to descriptors of the training clips, and the SVM to these clips.

    Returns:
        The model, and the encoded training clips, [clips, width].

    Raises:
        UsageError: there are fewer descriptors than Gaussians or words.
    """
    drawn = tracked.draw(workspace, size * _PER_UNIT[settings.kind], settings.seed)
    if len(drawn["shape"]) < size:
        raise UsageError(
            f"{len(drawn['shape'])} trajectories are too few for {_SIZES[settings.kind]}={size}",
            f"--set {_SIZES[settings.kind]}=N with a smaller N",
        )
    fit = fisher.fit_fisher if settings.kind == IDT else words.fit_words
    encoder = fit(drawn, size, settings.seed, reporter)
    data, train = tracked.data, tracked.data.examples[Subset.TRAIN]
    vectors = _encoded(workspace, tracked, encoder, train, reporter)
    svm = train_svm(
        vectors,
        [example.label_index for example in train],
        [tracked.groups[example.clip_id] for example in train],
        len(data.labels),
    )
    method = next(iter(tracked.rows.values())).method
    return TrajectoryClassifier(settings.kind, tuple(data.labels), method, data.clip_s, encoder, svm), vectors


def _write_detector(
    workspace: Workspace,
    folder: rec.RunFolder,
    tracked: TrackedSplit,
    model: TrajectoryClassifier,
    vectors: NDArray[np.float32],
) -> bool:
    """Write what tells clips of no known class by their vectors; False without torch, which fits it."""
    try:
        import torch
    except ImportError:
        return False
    from dancecli.model.networks.heads.unknown import fit_reduced_detector
    from dancecli.model.training.probes.unknown import save_detector

    train, val = (tracked.data.examples[subset] for subset in (Subset.TRAIN, Subset.VAL))
    if len(train) < 2:
        return True
    held_out = _encoded(workspace, tracked, model.encoder, val, SILENT) if val else vectors[:0]
    save_detector(
        folder.detector,
        torch.from_numpy(vectors),
        torch.tensor([example.label_index for example in train]),
        [tracked.groups[example.clip_id] for example in train],
        torch.from_numpy(held_out),
        [tracked.groups[example.clip_id] for example in val],
        fit_reduced_detector,
    )
    return True


def _encoded(
    workspace: Workspace,
    tracked: TrackedSplit,
    encoder: fisher.FisherEncoder | words.WordEncoder,
    listed: Sequence[Example],
    reporter: Reporter,
) -> NDArray[np.float32]:
    """Encode clips: [clips, width]."""
    import numpy as np

    found = np.zeros((len(listed), 0), np.float32)
    for i, example in enumerate(listed):
        vector = encoder.encode(tracked.descriptors(workspace, example))
        # Once, and never a second copy: those of ten thousand clips are gigabytes.
        found = found if i else np.empty((len(listed), len(vector)), np.float32)
        found[i] = vector
        reporter.progress(i + 1, len(listed), "encoding")
    return found


def _score(
    workspace: Workspace, tracked: TrackedSplit, model: TrajectoryClassifier, reporter: Reporter
) -> list[Prediction]:
    """Score the clips of val and test."""
    examples = tracked.data.examples
    total = len(examples[Subset.VAL]) + len(examples[Subset.TEST])
    found: list[Prediction] = []
    for subset in (Subset.VAL, Subset.TEST):
        rows = []
        for example in examples[subset]:
            rows.append(model.score(tracked.descriptors(workspace, example)))
            reporter.progress(len(found) + len(rows), total, "scoring")
        found += as_predictions(rows, subset.value, examples[subset])
    return found


def _model_record(kind: str, size: int) -> Mapping[str, Any]:
    return {
        "pretrain": kind,
        "title": _TITLES[kind].format(size=size),
        "backbone": None,
        "frozen_stages": None,
        "params_total": None,
        "params_trainable": None,
    }
