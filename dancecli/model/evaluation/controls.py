"""`evaluate --control`: a run's weights on test clips from which something was taken away.

Nothing is trained: one model meets inputs unlike those that it was trained on. What it still gets right
it can tell from what is left; what it loses it needed, or it is put off by the change itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dancecli.core import hashing
from dancecli.core.errors import ModelError, UsageError, WorkspaceError
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import Control, Prediction, Subset
from dancecli.core.text import pluralize
from dancecli.model.dataloading.controls import BY_POSE, controlled, parts_of
from dancecli.model.dataloading.pose_data import with_poses
from dancecli.model.dataloading.shared_memory import check_shared_memory, loader_errors
from dancecli.model.dataloading.split_data import Example, SplitData
from dancecli.model.evaluation.evaluate import TrainedRun, read_trained
from dancecli.model.hardware.device import current_device
from dancecli.model.networks.checkpoint import build_network, run_checkpoint
from dancecli.model.networks.weights import read_whole, state_of
from dancecli.model.training.config import amp_dtype
from dancecli.model.training.scoring import predict_subset
from dancecli.storage import tables
from dancecli.storage.runs import RunFolder, read_record
from dancecli.storage.workspace import Workspace


@dataclass(frozen=True)
class ControlSettings:
    """Which weights to evaluate under which controls.

    Attributes:
        run: whose weights; None for the latest run that has any.
        controls: at least one.
    """

    run: str | None
    controls: tuple[Control, ...]


@dataclass(frozen=True)
class ControlResult:
    """What was evaluated.

    Attributes:
        run: the run.
        computed: the controls that were evaluated now; the others' scores were there.
    """

    run: str
    computed: tuple[Control, ...]


# Scores clips under a control.
Score = Callable[[Control, Sequence[Example]], list[Prediction]]


@dataclass(frozen=True)
class ControlledModel:
    """A run's model, and the split whose test clips are changed.

    Attributes:
        name: of the run.
        data: its split.
        evidence: what scores depend on beside the clips and the control, such as the checksum of the weights.
        load: loads the model.
    """

    name: str
    data: SplitData
    evidence: Mapping[str, str]
    load: Callable[[], Score]


def evaluate_controls(
    workspace: Workspace, settings: ControlSettings, reporter: Reporter = SILENT, *, dry_run: bool = False
) -> ControlResult:
    """Score a run's test clips under controls, into `controls/` of the run's folder.

    The views are the run's own, so that its predictions are what the scores are compared with.

    Args:
        workspace: where the run, its split, and for some controls the poses are.
        settings: what to evaluate.
        reporter: in clips.
        dry_run: only check, and tell what would be evaluated.

    Raises:
        WorkspaceError: there is no such run, it has no weights, it is cross-validated, or its split has
            changed.
        UsageError: the model sees no frames.
        ModelError: a control needs poses, and some clips have none yet.
    """
    name = settings.run or run_checkpoint(workspace, None)[0]
    _refuse_folds(name, read_record(workspace, name))
    of = read_trained(workspace, name)
    _refuse_unfit(of)
    evidence = {"checkpoint.sha256": hashing.sha256_file(of.checkpoint), "view.protocol": of.views["test"]}
    model = ControlledModel(of.name, of.data, evidence, lambda: _Scorer(workspace, of, reporter))
    return score_controls(workspace, model, of.record, settings.controls, reporter, dry_run=dry_run)


def score_controls(
    workspace: Workspace,
    of: ControlledModel,
    record: Mapping[str, Any],
    controls: Sequence[Control],
    reporter: Reporter,
    *,
    dry_run: bool,
) -> ControlResult:
    """Score the test clips of a run's split under the controls whose scores are not there yet.

    Args:
        workspace: where the split, and for some controls the poses are.
        of: the model.
        record: the `run.json` of its run.
        controls: at least one.
        reporter: in clips.
        dry_run: only check, and tell what would be evaluated.

    Raises:
        WorkspaceError: the split has changed, or clips of it are lost.
        ModelError: a control needs poses, and some clips have none yet.
    """
    if of.data.meta["split.hash"] != record["split"]["hash"]:
        raise WorkspaceError(
            f"split {of.data.name!r} has changed since run {of.name} was evaluated on it",
            "controls are compared with the run's own predictions: make the old split again",
        )
    if of.data.test_hash != record["split"]["test_hash"]:
        before, now = record["results"]["test"]["n"], len(of.data.examples[Subset.TEST])
        raise WorkspaceError(
            f"the lists of split {of.data.name!r} are of other test clips ({now}) than run {of.name} was "
            f"evaluated on ({before})",
            f"bring lost clips back (dance fetch, dance import, a backup), then dance annotate --split "
            f"{of.data.name}",
        )
    examples = {control: _examples(workspace, of.data, control) for control in controls}
    folder = RunFolder(workspace.run(of.name))
    meta = {control: _meta(of, control, examples[control]) for control in controls}
    pending = [c for c in controls if not _is_there(folder.controlled(c), meta[c])]
    if dry_run or not pending:
        return ControlResult(of.name, tuple(pending))
    for control in pending:
        if left_out := len(of.data.examples[Subset.TEST]) - len(examples[control]):
            reporter.message(f"{control}: {pluralize(left_out, 'test clip')} without poses left out")
    reporter.progress(0, 1, "loading the model · a few seconds")
    score = of.load()
    with workspace.lock(f"run-{of.name}"):
        for control in pending:
            found = score(control, examples[control])
            path = folder.controlled(control)
            path.parent.mkdir(exist_ok=True)
            tables.write(path, Prediction, found, meta[control])
    return ControlResult(of.name, tuple(pending))


def _refuse_folds(name: str, record: Mapping[str, Any]) -> None:
    if "cross_validation" in record:
        raise WorkspaceError(
            f"run {name!r} is cross-validated, without a test subset that its one model has not seen",
            "controls need a run with a test subset: dance split --ratios 50/50 --name NAME, "
            "dance finetune --split NAME",
        )


def _refuse_unfit(of: TrainedRun) -> None:
    if of.base.flow or of.base.skeleton is not None or of.base.drawn:
        raise UsageError(
            f"run {of.name} sees flow or poses, and controls change frames", "name a run on frames"
        )


def _examples(workspace: Workspace, data: SplitData, control: Control) -> tuple[Example, ...]:
    """List the test clips that a control can be applied to."""
    listed = data.examples[Subset.TEST]
    if control not in BY_POSE:
        return listed
    # As training clips, of which those without poses are left out.
    taken = {Subset.TRAIN: listed, Subset.VAL: (), Subset.TEST: ()}
    try:
        return with_poses(workspace, replace(data, examples=taken)).examples[Subset.TRAIN]
    except ModelError as error:
        raise ModelError(f"control {control}: {error.message}", error.hint) from None


def _meta(of: ControlledModel, control: Control, examples: Sequence[Example]) -> dict[str, str]:
    """Say all that the scores depend on; the checksum of an example is that of its poses where they count."""
    return {
        "run.name": of.name,
        "control": control.value,
        **of.evidence,
        "test.hash": of.data.test_hash,
        "inputs.sha256": hashing.sha256_lines(f"{e.clip_id} {e.sha256}" for e in examples),
        "labels": json.dumps(list(of.data.labels), ensure_ascii=False),
    }


def _is_there(path: Path, meta: dict[str, str]) -> bool:
    return path.exists() and meta.items() <= tables.read_meta(path).items()


class _Scorer:
    """Scores clips under controls with one network, loaded once."""

    def __init__(self, workspace: Workspace, of: TrainedRun, reporter: Reporter) -> None:
        device = current_device()
        self.config = of.config(workspace, device)
        self.precision = amp_dtype(of.recipe, device)
        self.listed = of.data.examples[Subset.TEST]
        self.reporter = reporter
        self.model = build_network(self.config["model"], state_of(read_whole(of.checkpoint)), of.checkpoint)

    def __call__(self, control: Control, examples: Sequence[Example]) -> list[Prediction]:
        """Score clips, averaged over the parts of the control."""
        import numpy as np

        parts = [self._scores(control, examples, part) for part in range(parts_of(control))]
        mean = np.mean([[p.scores for p in part] for part in parts], axis=0)
        return [
            replace(p, subset=Subset.TEST.value, scores=tuple(row))
            for p, row in zip(parts[0], mean.tolist(), strict=True)
        ]

    def _scores(self, control: Control, examples: Sequence[Example], part: int) -> list[Prediction]:
        import dancecli.model.dataloading.datasets  # noqa: F401 - registers what the config names
        from dancecli.model.networks.mmaction import Runner

        settings: dict[str, Any] = dict(self.config["test_dataloader"])
        wanted = {example.clip_id for example in examples}
        indices = [i for i, example in enumerate(self.listed) if example.clip_id in wanted]
        pipeline = controlled(settings["dataset"]["pipeline"], control, part)
        settings["dataset"] = {**settings["dataset"], "pipeline": pipeline, "indices": indices}
        title = f"{control}" if parts_of(control) == 1 else f"{control}, {part + 1} of {parts_of(control)}"
        check_shared_memory([settings])
        with loader_errors():
            loader = Runner.build_dataloader(settings)
            chosen = [self.listed[i] for i in indices]
            return predict_subset(self.model, loader, title, chosen, self.reporter, self.precision)
