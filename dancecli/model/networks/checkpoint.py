"""Self-contained checkpoints: labels, network and views are stored inside.

A checkpoint's description of its network is untrusted, and MMAction2's registries would import and
call any dotted name under `type`. So only plain names are accepted, and nothing that names a file.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core import hashing
from dancecli.core.errors import ModelError, WorkspaceError
from dancecli.core.recipe import KNN
from dancecli.storage import runs as rec
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    from torch import Tensor

DEFAULT_CLIP_S = 10.0
# Steps that may be between a file and a network in evaluation.
_STEPS = {
    *("ClipInit", "ClipDecode", "DecordInit", "DecordDecode"),
    *("SampleFrames", "UniformSample", "Resize"),
    *("CenterCrop", "ThreeCrop", "FormatShape", "PackActionInputs"),
}
# Those of a skeleton network, and of one on drawn skeletons, which begin with the poses of a video.
_SKELETON_STEPS = {
    *("PoseInit", "DrawPoses", "UniformSampleFrames", "PoseDecode", "PoseCompact", "GeneratePoseTarget"),
    *("PreNormalize2D", "GenSkeFeat", "FormatGCNInput"),
}
# Keys that name files or addresses, which would be read while the network is built.
_FILES = ("init_cfg", "pretrained", "checkpoint", "load_from")
_OURS = "use a checkpoint of dance finetune: runs/RUN/checkpoints/best.pth"


@dataclass(frozen=True)
class Checkpoint:
    """A trained network with all that is needed for inference.

    Attributes:
        path, sha256: the file.
        labels: class names in the order of the scores.
        model: MMAction2's config of the network.
        pipeline: from a file to the views of evaluation.
        protocol: description of these views.
        clip_s: median length of the clips that it was trained on, in seconds.
        state: its weights.
        amp: it was trained and evaluated in half precision.
    """

    path: Path
    sha256: str
    labels: tuple[str, ...]
    model: dict[str, Any]
    pipeline: list[dict[str, Any]]
    protocol: str
    clip_s: float
    state: Mapping[str, Tensor]
    amp: bool = False

    @property
    def reads_poses(self) -> bool:
        """Whether its input is the poses of people, or drawings of them."""
        return any(step["type"] in ("PoseInit", "DrawPoses") for step in self.pipeline)


def open_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint without running any code in it, and validate its contents.

    Raises:
        ModelError: it is not a checkpoint, or lacks labels, network or views, or they are not such as
            `dance finetune` writes; or its base is missing, see `weights.read_whole`.
    """
    from dancecli.model.networks.weights import read_whole, state_of

    content = read_whole(path)
    meta = content.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    labels, model, pipeline = (meta.get(key) for key in ("labels", "model", "test_pipeline"))
    for what, value in (("labels", labels), ("network", model), ("views", pipeline)):
        if not value:
            raise ModelError(f"{path}: does not contain its {what}", _OURS)
    if not (isinstance(labels, list) and all(isinstance(name, str) for name in labels)):
        raise ModelError(f"{path}: its labels are not a list of names", _OURS)
    protocol, clip_s = meta.get("view_protocol", ""), meta.get("clip_s", DEFAULT_CLIP_S)
    return Checkpoint(
        path=path,
        sha256=hashing.sha256_file(path),
        labels=tuple(labels),
        model=_checked_model(model, path),
        pipeline=_checked_pipeline(pipeline, path),
        protocol=str(protocol),
        clip_s=float(clip_s) if isinstance(clip_s, int | float) and clip_s > 0 else DEFAULT_CLIP_S,
        state=state_of(content),
        amp=meta.get("amp") is True,
    )


def run_checkpoint(workspace: Workspace, run: str | None) -> tuple[str, dict[str, Any], Path]:
    """Find the checkpoint of a completed run: the run's name, its record, the file.

    Args:
        workspace: where the run is.
        run: its name; None for the latest with weights of its own and RGB input.

    Raises:
        WorkspaceError: no such run, it is not complete, or has no weights.
        InputError: its record is broken.
    """
    names = [run] if run is not None else list(reversed(workspace.runs()))
    for name in names:
        record = rec.read_record(workspace, name)
        path = _file_of(workspace, name, record)
        reads_clips = not (record["model"].get("flow") or record["model"].get("pose"))
        if path is not None and (run is not None or reads_clips):
            return name, record, path
        if run is not None:
            status = record.get("status")
            if status != rec.DONE:
                raise WorkspaceError(
                    f"run {name!r} is not complete (its status is {status!r})",
                    f"complete it: dance finetune --resume --name {name}",
                )
            arrays = rec.RunFolder(workspace.run(name)).trajectory_model
            if arrays.is_file():
                raise WorkspaceError(
                    f"run {name!r} is a model of dense trajectories, and no network",
                    f"name a run of dance finetune, or copy {arrays}: numpy.load and dance predict "
                    "--checkpoint read it",
                )
            if is_lost(workspace, name, record):
                raise _lost_error(name, record)
            if record.get("cross_validation"):
                raise WorkspaceError(
                    f"run {name!r} is a cross-validation by epochs, which keeps no model of all clips",
                    "train one: dance split --ratios 90/10 --name all, then dance finetune --split all; or "
                    "cross-validate a solved head (dance finetune --folds --head linear), which keeps one",
                )
            raise WorkspaceError(
                f"run {name!r} has no weights of its own (it is of kind {record['model']['pretrain']!r})",
                "name a run of dance finetune",
            )
    raise WorkspaceError(
        f"{workspace.root}: no run with weights",
        "train one: dance finetune; dance predict also takes --checkpoint FILE",
    )


def build_network(config: dict[str, Any], state: Mapping[str, Tensor], path: Path) -> Any:
    """Build a network with its weights, for evaluation, on the best available device.

    Args:
        config: MMAction2's, of the network.
        state: all its weights.
        path: the file they are from, for messages.

    Raises:
        ModelError: they are not those of this network.
    """
    from dancecli.model.networks.build import MODELS
    from dancecli.model.networks.mmaction import MMLogger, init_default_scope, silence

    init_default_scope("mmaction")
    silence(MMLogger.get_current_instance())
    try:
        model = MODELS.build(config)
    except Exception as error:  # a config that fits no class raises nearly anything
        raise ModelError(f"{path}: its network cannot be built ({error})", _OURS) from None
    wanted = {key: value for key, value in model.state_dict().items() if _is_trained(key)}
    fits = [key for key, value in wanted.items() if _shape(state.get(key)) == value.shape]
    if len(fits) < len(wanted):
        raise ModelError(f"{path}: contains only {len(fits)} of {len(wanted)} weights of its network", _OURS)
    model.load_state_dict(state, strict=False)
    return for_evaluation(model)


def for_evaluation(model: Any) -> Any:
    """Prepare a network for inference, on the best available device."""
    from dancecli.model.hardware.device import current_device, use_fast_math
    from dancecli.model.networks.fusion import inference_copy
    from dancecli.model.networks.mmaction import get_device

    use_fast_math(current_device())
    # As features are computed for training: the same values within 1e-4.
    model.backbone = inference_copy(model.backbone)
    return model.to(get_device()).eval()


def _file_of(workspace: Workspace, name: str, record: Mapping[str, Any]) -> Path | None:
    """The checkpoint that was evaluated; None if the file is gone."""
    path = _chosen(workspace, name, record)
    return path if path is not None and path.is_file() else None


def is_lost(workspace: Workspace, name: str, record: Mapping[str, Any]) -> bool:
    """Return whether the checkpoint that the record of a completed run names is gone."""
    path = _chosen(workspace, name, record)
    return path is not None and not path.is_file()


def _chosen(workspace: Workspace, name: str, record: Mapping[str, Any]) -> Path | None:
    chosen = (record.get("checkpoint") or {}).get("name")
    if record.get("status") != rec.DONE or not isinstance(chosen, str):
        return None
    return rec.RunFolder(workspace.run(name)).checkpoints / f"{Path(chosen).name}.pth"


def _lost_error(name: str, record: Mapping[str, Any]) -> WorkspaceError:
    if (record.get("recipe") or {}).get("head") == KNN:
        return WorkspaceError(
            f"the checkpoint of run {name!r} was deleted: that of --head knn holds the features of every "
            "clip, and goes with a clip that dance remove removes",
            f"train it again: dance finetune --name {name} --resume",
        )
    return WorkspaceError(
        f"the checkpoint of run {name!r} was deleted",
        "restore the file, or name another run of dance finetune",
    )


def _checked_model(model: Any, path: Path) -> dict[str, Any]:
    plain = copy.deepcopy(model)
    if not isinstance(plain, dict) or not isinstance(plain.get("cls_head"), dict):
        raise ModelError(f"{path}: its network is not a video classifier", _OURS)
    _refuse_foreign(plain, path)
    return plain


def _refuse_foreign(value: Any, path: Path) -> None:
    """Refuse types that are more than names, and remove keys that name files."""
    if isinstance(value, dict):
        for key in _FILES:
            if key in value:
                value[key] = None
        kind = value.get("type", "x")
        if not (isinstance(kind, str) and kind.isidentifier()) or "_scope_" in value:
            raise ModelError(f"{path}: its network uses {str(kind)[:60]!r}, which is not allowed", _OURS)
    items = value.values() if isinstance(value, dict) else value
    if isinstance(value, dict | list | tuple):
        for item in items:
            _refuse_foreign(item, path)


def _checked_pipeline(pipeline: Any, path: Path) -> list[dict[str, Any]]:
    if not isinstance(pipeline, list) or not all(isinstance(step, dict) for step in pipeline):
        raise ModelError(f"{path}: its views are not a list of steps", _OURS)
    for step in pipeline:
        kind = str(step.get("type"))
        if kind not in _STEPS | _SKELETON_STEPS:
            raise ModelError(
                f"{path}: its views need the step {kind[:60]!r}, which a video alone cannot give",
                "dance predict supports networks on RGB frames and on poses",
            )
    return copy.deepcopy(pipeline)


def _is_trained(key: str) -> bool:
    return not key.endswith("num_batches_tracked")


def _shape(tensor: Tensor | None) -> Any:
    return None if tensor is None else tensor.shape
