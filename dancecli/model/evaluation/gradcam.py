"""Grad-CAM over time and space, drawn on the frames of the view.

R. R. Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based
localization", ICCV 2017, with time as a third axis of the map. Slopes are multiplied with the map
place by place and not averaged first (R. L. Draelos, L. Carin, "Use HiResCAM instead of Grad-CAM",
2020): before the last stage an average would spread heat over places without influence. On the last
map of a network that averages it, the two are the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import ModelError, WorkspaceError
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import Clip
from dancecli.model.networks.checkpoint import build_network, open_checkpoint, run_checkpoint
from dancecli.storage import tables
from dancecli.storage.files import atomic_file
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Pictures = npt.NDArray[np.uint8]
    Heat = npt.NDArray[np.float32]

SCHEMA = 1
SHOWN_FRAMES = 6
# The last stage's map is a few cells wide; the one before it has four times as many.
MAP_STAGE = 3
# Pictures that were made in another way are made again.
METHOD = f"HiResCAM before stage {MAP_STAGE + 1}, {SHOWN_FRAMES} frames"
# Where there is no heat the frame is left alone; the hottest place is tinted this far.
_DEEPEST = 0.7


@dataclass(frozen=True)
class GradcamSettings:
    """Which clips to explain.

    Attributes:
        run: a run with weights of its own.
        clips: clip ids, each with the class to explain.
    """

    run: str
    clips: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Drawn:
    """One clip's picture: frames side by side, with heat.

    Attributes:
        class_index: the class that it explains.
        frames: which frames of the view they are.
        cells: of the map: time, height, width.
    """

    clip_id: str
    class_index: int
    frames: tuple[int, ...]
    cells: tuple[int, int, int]


@dataclass(frozen=True)
class GradcamResult:
    """The folder with one JPEG per clip and `index.json`, and how many were drawn now."""

    folder: Path
    drawn: int


def gradcam(workspace: Workspace, settings: GradcamSettings, reporter: Reporter = SILENT) -> GradcamResult:
    """Draw `runs/<run>/gradcam/<clip>.jpg` for each clip that is not drawn yet.

    Raises:
        WorkspaceError: there is no such run, it is not done, has no weights, or a clip is not there.
        ModelError: its network has no feature map over time and space.
    """
    import torch

    name, record, path = run_checkpoint(workspace, settings.run)
    if record.get("cross_validation"):
        raise ModelError(
            f"run {name!r} is a cross-validation, and the models that scored its clips are not kept",
            "report without --grad-cam, or train a run on an ordinary split",
        )
    folder = workspace.run(settings.run) / "gradcam"
    found = open_checkpoint(path)
    known = _read_index(folder / "index.json", found.sha256)
    todo = [(clip, of) for clip, of in settings.clips if _class_of(known.get(clip)) != of]
    files = {clip.clip_id: workspace.root / clip.path for clip in tables.read(workspace.clips, Clip)}
    for clip, _ in todo:
        if clip not in files:
            raise WorkspaceError(
                f"there is no clip {clip!r} in {workspace.root}", "dance verify lists the clips"
            )
    if todo:
        torch.manual_seed(0)
        model = build_network(found.model, found.state, found.path)
        read = _reader(found.pipeline)
    for done, (clip, of) in enumerate(todo):
        reporter.progress(done, len(todo), f"Grad-CAM · {clip}")
        frames, batch = read(files[clip])
        heat = heat_of(model, batch, of)
        chosen = _spread(len(frames), SHOWN_FRAMES)
        _save(folder / f"{clip}.jpg", strip(frames, heat, chosen))
        drawn = Drawn(clip, of, tuple(chosen), (heat.shape[0], heat.shape[1], heat.shape[2]))
        known[clip] = asdict(drawn)
        # After every clip: what is drawn stays drawn.
        with atomic_file(folder / "index.json") as file:
            head = {"schema": SCHEMA, "method": METHOD, "checkpoint_sha256": found.sha256}
            json.dump({**head, "clips": [known[name] for name in sorted(known)]}, file, indent=2)
            file.write("\n")
    reporter.progress(len(todo), len(todo))
    return GradcamResult(folder, len(todo))


def heat_of(model: Any, batch: Mapping[str, Any], class_index: int) -> Heat:
    """Compute the evidence for a class over time and space, scaled to a maximum of 1.

    Args:
        model: a recognizer in evaluation mode.
        batch: one clip, as `pseudo_collate` gives it; its first view is used.
        class_index: whose evidence.

    Returns:
        t x h x w, from 0 to 1; all 0 where there is no evidence for the class.

    Raises:
        ModelError: the backbone has no feature map over time and space.
    """
    import torch

    from dancecli.model.networks.stages import BACKBONES, Backbone, run_lower, run_upper

    inputs = model.data_preprocessor(batch, training=False)["inputs"].flatten(0, 1)[:1].float()
    if type(model).__name__ != "Recognizer3D" or inputs.shape[1] != 3:
        raise ModelError("Grad-CAM needs a 3-D network on RGB frames", "omit --grad-cam")
    splits = BACKBONES.get(type(model.backbone).__name__, Backbone()).steps is not None
    with torch.no_grad():
        maps = run_lower(model.backbone, inputs, MAP_STAGE) if splits else model.backbone(inputs)
    if not isinstance(maps, torch.Tensor) or maps.ndim != 5:
        name = type(model.backbone).__name__
        raise ModelError(f"{name} has no feature map over time and space", "omit --grad-cam")
    maps = maps.detach().requires_grad_()
    with torch.enable_grad():
        upper = run_upper(model.backbone, maps, MAP_STAGE) if splits else maps
        score = model.cls_head(upper)[0, class_index]
        (slope,) = torch.autograd.grad(score, maps)
    heat = (slope * maps.detach()).sum(dim=1)[0].clamp(min=0)
    top = heat.max()
    found: Heat = (heat / top if top > 0 else heat).cpu().numpy()
    return found


def strip(frames: Pictures, heat: Heat, chosen: Sequence[int]) -> Pictures:
    """Lay some frames side by side, each tinted where the heat is.

    Args:
        frames: T x H x W x 3.
        heat: t x h x w, from 0 to 1.
        chosen: places of the frames to show.
    """
    import numpy as np
    import torch
    from torch.nn.functional import interpolate

    size = (len(frames), *frames.shape[1:3])
    smooth = interpolate(torch.from_numpy(heat)[None, None], size, mode="trilinear", align_corners=False)
    shares = smooth[0, 0].numpy()[list(chosen)][..., None]
    # From red to yellow: on skin, floor and dark alike it is seen.
    tint = np.concatenate([np.full_like(shares, 255), 40 + 190 * shares, np.full_like(shares, 30)], axis=-1)
    gray = frames[list(chosen)].mean(axis=-1, keepdims=True)
    plain = 0.55 * frames[list(chosen)] + 0.45 * gray
    mixed = plain + _DEEPEST * shares**1.2 * (tint - plain)
    gap = np.full((mixed.shape[1], 3, 3), 255.0)
    row = [part for picture in mixed for part in (picture, gap)][:-1]
    found: Pictures = np.concatenate(row, axis=1).clip(0, 255).round().astype(np.uint8)
    return found


def _reader(pipeline: Sequence[dict[str, Any]]) -> Any:
    """Make a function from a clip's file to the frames of its first view, and a batch of it."""
    from dancecli.model.dataloading.datasets import TRANSFORMS
    from dancecli.model.networks.mmaction import pseudo_collate

    steps = [TRANSFORMS.build(step) for step in pipeline]

    def read(path: Path) -> tuple[Pictures, dict[str, Any]]:
        results: Any = {"filename": str(path), "label": 0, "start_index": 0, "modality": "RGB"}
        for step in steps:
            results = step(results)
        frames = results["inputs"][0].permute(1, 2, 3, 0).numpy()
        return frames, pseudo_collate([results])

    return read


def _spread(total: int, count: int) -> list[int]:
    """Choose so many of `total` places, each in the middle of its stretch."""
    count = min(count, total)
    return [(2 * i + 1) * total // (2 * count) for i in range(count)]


def _class_of(row: Mapping[str, Any] | None) -> int | None:
    return row["class_index"] if row else None


def _read_index(path: Path, sha256: str) -> dict[str, dict[str, Any]]:
    """Read what was drawn before; nothing if that was of other weights or by another method."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    if not isinstance(told, dict) or (told.get("method"), told.get("checkpoint_sha256")) != (METHOD, sha256):
        return {}
    return {row["clip_id"]: row for row in told["clips"]}


def _save(path: Path, picture: Pictures) -> None:
    from PIL import Image

    with atomic_file(path, "wb") as file:
        Image.fromarray(picture).save(file, "JPEG", quality=82)
