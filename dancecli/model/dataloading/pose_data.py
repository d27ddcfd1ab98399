"""What a run on poses changes: the steps from a clip to its views, and the clips that it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dancecli.core.errors import ModelError, UsageError
from dancecli.core.records import ClipPose, Subset
from dancecli.model.dataloading.flow_data import with_flow
from dancecli.model.dataloading.split_data import Example, SplitData
from dancecli.model.networks.base import FLOW, FRAMES, POSE, SKELETONS, ModelBase, SkeletonSteps
from dancecli.storage import tables
from dancecli.storage.pose_files import pose_of
from dancecli.storage.workspace import Workspace

# What `PoseInit` does instead.
_READING = ("DecompressPose",)


def skeleton_steps(
    skeleton: SkeletonSteps, sampler: Mapping[str, Any], *, training: bool, flip: bool
) -> list[dict[str, Any]]:
    """Give the pipeline from a clip's poses to a view: the network's own steps, with our sampler.

    Args:
        skeleton: the network's own steps.
        sampler: in the place of its own.
        training: whether it is a training view.
        flip: whether half of the training views are mirrored.
    """
    steps: list[dict[str, Any]] = [{"type": "PoseInit"}]
    for step in skeleton.train if training else skeleton.test:
        if step["type"] in _READING:
            continue
        if "Sample" in step["type"]:
            steps.append(dict(sampler))
        elif step["type"] == "PackActionInputs":
            steps.append({"type": "PackActionInputs", "meta_keys": ("filename",)})
        elif step["type"] != "Flip" or flip:
            steps.append(dict(step))
    return steps


def on_skeletons(steps: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Convert a pipeline on frames into one on the skeletons of the same frames, drawn.

    Raises:
        ModelError: it augments frames, which skeletons do not support.
    """
    if any(step["type"] == "AugmentedView" for step in steps):
        raise ModelError("drawn skeletons do not support augmentation", "omit --augment")
    return [{"type": "DrawPoses"} if step["type"] == "ClipDecode" else dict(step) for step in steps]


def with_input(
    workspace: Workspace,
    base: ModelBase,
    data: SplitData,
    modality: str,
    flow_method: str,
    shown: str = FRAMES,
) -> tuple[ModelBase, SplitData]:
    """Check that a split has what a model reads beside the clips: flow, or poses.

    Args:
        workspace: where they are.
        base: the model.
        data: the split.
        modality: the model's input, `rgb`, `flow` or `pose`.
        flow_method: how the flow should have been computed.
        shown: what a model of frames sees, `frames` or `skeletons`.

    Raises:
        ModelError: some clips lack it; the hint makes it.
        UsageError: a model of flow or poses is to see something else.
    """
    if shown not in (FRAMES, SKELETONS):
        raise UsageError(f"input {shown!r} is not {FRAMES} or {SKELETONS}")
    if shown == SKELETONS and modality in (FLOW, POSE):
        raise UsageError(f"this model sees {modality}, and no drawn skeletons", "omit --input")
    if shown == SKELETONS:
        return replace(base, drawn=True), with_poses(workspace, data)
    if modality == FLOW:
        return replace(base, flow=flow_method), with_flow(workspace, data, flow_method)
    if modality == POSE:
        return base, with_poses(workspace, data)
    return base, data


def with_poses(workspace: Workspace, data: SplitData) -> SplitData:
    """Check that the poses of a split were looked for, and use the checksums of their files.

    Clips in which nobody was found are left out of train, and stay in val and test, where an empty
    skeleton stands for them: a system that cannot see a clip answers too. Augmented clips are left out.

    Raises:
        ModelError: some clips were not looked at yet; the hint does it.
    """
    stored = tables.read(workspace.poses, ClipPose) if workspace.poses.exists() else []
    rows = {row.clip_id: row for row in stored}
    originals = {subset: [e for e in data.examples[subset] if "." not in e.clip_id] for subset in Subset}
    every = [example for listed in originals.values() for example in listed]
    unknown = sorted(e.clip_id for e in every if not _is_known(workspace, rows.get(e.clip_id), e))
    if unknown:
        raise ModelError(
            f"{len(unknown)} of {len(every)} clips have no poses, {unknown[0]} is the first", "run dance pose"
        )
    without = {e.clip_id for e in every if rows[e.clip_id].reason}
    examples = {
        subset: tuple(
            replace(e, sha256=rows[e.clip_id].sha256 or e.sha256)
            for e in listed
            if subset is not Subset.TRAIN or e.clip_id not in without
        )
        for subset, listed in originals.items()
    }
    if not examples[Subset.TRAIN]:
        raise ModelError("no training clip has poses", "run dance pose, and see its reasons")
    return replace(data, examples=examples, notes=(*data.notes, *_notes(data, originals, without)))


def _is_known(workspace: Workspace, row: ClipPose | None, example: Example) -> bool:
    """Whether a clip's present file was looked at, and its poses are where they are read."""
    if row is None or row.of_sha256 != example.sha256:
        return False
    # A file that is gone would be taken for a clip without poses.
    return bool(row.reason) or pose_of(workspace.root / example.path).is_file()


def _notes(data: SplitData, originals: Mapping[Subset, list[Example]], without: set[str]) -> list[str]:
    notes = []
    for subset, listed in originals.items():
        count = sum(example.clip_id in without for example in listed)
        if count and subset is Subset.TRAIN:
            notes.append(f"{count} of {len(listed)} training clips have no poses and are left out")
        elif count:
            what = f"{count} of {len(listed)} {subset} clips have no poses"
            notes.append(f"{what}: an empty skeleton is evaluated")
    if data.num_copies:
        notes.append(f"{data.num_copies} augmented clips are left out: poses are augmented by themselves")
    return notes
