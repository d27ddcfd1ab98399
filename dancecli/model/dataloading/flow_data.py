"""What a run on optical flow changes: the steps from a clip to its views, and the required files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dancecli.core.errors import ModelError
from dancecli.core.records import Flow
from dancecli.model.dataloading.split_data import SplitData
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace


def on_flow(steps: Sequence[Mapping[str, Any]], method: str) -> list[dict[str, Any]]:
    """Convert a pipeline on frames into one on the stored flow of the same clips.

    Raises:
        ModelError: it augments frames, which flow does not support.
    """
    instead: dict[str, dict[str, Any]] = {
        "ClipInit": {"type": "FlowInit", "method": method},
        "ClipDecode": {"type": "FlowDecode"},
    }
    found: list[dict[str, Any]] = []
    for step in steps:
        if step["type"] == "AugmentedView":
            raise ModelError("optical flow does not support augmentation", "omit --augment")
        if step["type"] == "Flip":
            found.append({**step, "type": "FlowFlip"})
        else:
            found.append(instead.get(step["type"], dict(step)))
    return found


def with_flow(workspace: Workspace, data: SplitData, method: str) -> SplitData:
    """Check that every clip of a split has its flow, and use the checksums of the flow files.

    What is made of the clips from here on (stored features) then depends on their flow; the test
    set's hash, which identifies what was evaluated, stays that of the clips.

    Raises:
        ModelError: some clips have no flow of this method; the hint makes it.
    """
    every = [example for examples in data.examples.values() for example in examples]
    require_flow(workspace, {example.clip_id: example.sha256 for example in every}, method)
    rows = tables.read(workspace.flows, Flow)
    sha256 = {row.clip_id: row.sha256 for row in rows if row.method == method}
    examples = {
        subset: tuple(replace(example, sha256=sha256[example.clip_id]) for example in listed)
        for subset, listed in data.examples.items()
    }
    return replace(data, examples=examples)


def require_flow(workspace: Workspace, clips: Mapping[str, str], method: str) -> None:
    """Check that clips have their flow, before training starts.

    Args:
        workspace: holds `manifests/flow.parquet`.
        clips: the SHA-256 of each clip's file, by clip id; flow of another file does not count.
        method: how the flow should have been computed.

    Raises:
        ModelError: some have none; the message counts them.
    """
    rows = tables.read(workspace.flows, Flow) if workspace.flows.exists() else []
    there = {row.clip_id: row.of_sha256 for row in rows if row.method == method}
    missing = sorted(clip_id for clip_id, sha256 in clips.items() if there.get(clip_id) != sha256)
    if missing:
        raise ModelError(
            f"{len(missing)} of {len(clips)} clips have no {method} flow, {missing[0]} is the first",
            f"run dance flow --method {method}",
        )
