"""A run's network as one file for other programs, checked against the run's own predictions.

`pth` and `safetensors` hold all weights, for MMAction2 and for whoever builds the network. `torchscript`
and `onnx` hold the network too: from the pixels of a clip's views to the probabilities of its classes.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import MissingDependencyError, ModelError, WorkspaceError
from dancecli.core.hashing import keyed_order
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import Clip, Prediction, Subset
from dancecli.core.text import first_line
from dancecli.model.networks.checkpoint import Checkpoint, build_network, open_checkpoint, run_checkpoint
from dancecli.storage import tables
from dancecli.storage.files import atomic_file, commit_file, save_torch
from dancecli.storage.runs import RunFolder
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    from torch import Tensor

CHECKED_CLIPS = 10
# Of the run's probabilities.
TOLERANCE = 1e-4
_INSTALL = "pip install 'dancecli[export]'"
Score = Callable[["Tensor"], Sequence[float]]


class ModelForm(StrEnum):
    """The formats of an exported model."""

    PTH = "pth"
    SAFETENSORS = "safetensors"
    TORCHSCRIPT = "torchscript"
    ONNX = "onnx"

    @property
    def file(self) -> str:
        """The name of the file."""
        return "model.pt" if self is ModelForm.TORCHSCRIPT else f"model.{self}"


@dataclass(frozen=True)
class ModelExport:
    """What was written.

    Attributes:
        run: whose model.
        folder: holds `file`, `model.json` (labels, input and views) and the run's `config.py`.
        file: the model's file.
        checked: clips whose probabilities were compared with the run's.
        difference: the largest difference among them.
    """

    run: str
    folder: Path
    file: Path
    checked: int
    difference: float


def export_run(
    workspace: Workspace,
    run: str | None,
    form: ModelForm,
    to: Path | None = None,
    reporter: Reporter = SILENT,
) -> ModelExport:
    """Write the model of a run, read it back and compare its predictions.

    Args:
        workspace: holds the run.
        run: its name; None for the latest with weights.
        form: the format.
        to: the folder; None for `exports/<run>-<form>` in the workspace.
        reporter: in clips that were compared.

    Raises:
        WorkspaceError: there is no such run, or none of its tested clips is left to compare with.
        ModelError: the network cannot be written in this format, or what was written predicts otherwise.
        MissingDependencyError: the package of the format is not installed.
    """
    name, record, path = run_checkpoint(workspace, run)
    if record["model"].get("flow") or record["model"].get("pose"):
        raise ModelError(f"run {name!r} reads optical flow or poses", "export a run on RGB frames")
    found = open_checkpoint(path)
    clips = _clips_to_check(workspace, name)
    views = _Views(found)
    folder = to or workspace.root / "exports" / f"{name}-{form}"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / form.file
    part = file.with_name(f".{file.name}.part")
    example = views.of(workspace.root / clips[0][0].path)
    reporter.progress(0, len(clips), f"writing {file.name}")
    score = _WRITERS[form](found, example, part)
    # The predictions of a cross-validation are those of its folds, not of its checkpoint.
    own = _whole(found, found.state, path) if record.get("cross_validation") else None
    difference = 0.0
    for done, (clip, expected) in enumerate(clips, start=1):
        pixels = views.of(workspace.root / clip.path)
        wanted = own(pixels) if own else expected.scores
        difference = max(difference, *(abs(a - b) for a, b in zip(score(pixels), wanted, strict=True)))
        reporter.progress(done, len(clips), f"comparing · {difference:.1e} apart")
    if not difference <= TOLERANCE:
        part.unlink()
        raise ModelError(
            f"the exported model's probabilities differ from those of run {name!r} by {difference:.2g}",
            "report it, with the command; the run itself is unchanged",
        )
    commit_file(part, file)
    _describe(folder, name, record, found, example)
    source = RunFolder(workspace.run(name)).config
    if source.exists():
        with atomic_file(folder / "config.py") as copy:
            copy.write(source.read_text(encoding="utf-8"))
    return ModelExport(name, folder, file, len(clips), difference)


def _clips_to_check(workspace: Workspace, run: str) -> list[tuple[Clip, Prediction]]:
    """Choose evaluated clips whose files are there: test before val, by a hash of their ids."""
    rows = tables.read(RunFolder(workspace.run(run)).predictions, Prediction)
    clips = {clip.clip_id: clip for clip in tables.read(workspace.clips, Clip)}
    there = [r for r in rows if r.clip_id in clips and (workspace.root / clips[r.clip_id].path).is_file()]
    order = keyed_order(there, lambda row: row.clip_id, seed=0, purpose="export")
    order.sort(key=lambda row: row.subset != Subset.TEST)
    if not order:
        raise WorkspaceError(f"none of the evaluated clips of run {run!r} has its file", "fetch them again")
    return [(clips[row.clip_id], row) for row in order[:CHECKED_CLIPS]]


class _Views:
    """The views of evaluation of a clip, as pixel values."""

    def __init__(self, found: Checkpoint) -> None:
        import dancecli.model.dataloading.datasets  # noqa: F401 - registers the steps
        from dancecli.model.networks.mmaction import TRANSFORMS, init_default_scope

        init_default_scope("mmaction")
        self._steps = [TRANSFORMS.build(step) for step in found.pipeline]

    def of(self, path: Path) -> Tensor:
        """Return the views of a clip: [1, views, ...], float32 from 0 to 255."""
        results: Any = {"filename": str(path), "start_index": 0, "modality": "RGB", "label": -1}
        for step in self._steps:
            results = step(results)
        views: Tensor = results["inputs"].float()[None]
        return views


def _scored(model: Any) -> Any:
    """Wrap a recognizer as a module from pixels to probabilities."""
    import torch

    class Scored(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            normalize = model.data_preprocessor
            self.mean = torch.nn.Buffer(normalize.mean.clone())
            self.std = torch.nn.Buffer(normalize.std.clone())

        def forward(self, clips: Tensor) -> Tensor:
            """Give [1, classes] for views of shape [1, views, ...]."""
            features, facts = self.model.extract_feat((clips - self.mean) / self.std, test_mode=True)
            scores = self.model.cls_head(features, **facts)
            found: Tensor = scores.softmax(-1).mean(0, keepdim=True)
            return found

    return Scored().cpu().eval()


def _whole(found: Checkpoint, state: Any, path: Path) -> Score:
    """Score with a network that has these weights."""
    module = _scored(build_network(found.model, state, path))
    return lambda views: _row(module, views)


def _row(module: Any, views: Tensor) -> list[float]:
    import torch

    with torch.inference_mode():
        (row,) = module(views).double().tolist()
    scores: list[float] = row
    return scores


def _write_pth(found: Checkpoint, example: Tensor, file: Path) -> Score:  # noqa: ARG001 - as all writers
    from dancecli.model.networks.mmaction import read_checkpoint
    from dancecli.model.networks.weights import state_of

    meta = {key: value for key, value in read_checkpoint(found.path)["meta"].items() if key != "base"}
    save_torch(file, {"meta": meta, "state_dict": dict(found.state)})
    return _whole(found, state_of(read_checkpoint(file)), file)


def _write_safetensors(found: Checkpoint, example: Tensor, file: Path) -> Score:  # noqa: ARG001 - as all writers
    try:
        from safetensors.torch import load_file, save_file
    except ModuleNotFoundError as error:
        raise MissingDependencyError("safetensors is not installed", _INSTALL) from error
    meta = {"labels": json.dumps(list(found.labels)), "model": json.dumps(found.model, default=list)}
    save_file({key: value.clone().contiguous() for key, value in found.state.items()}, file, meta)
    return _whole(found, load_file(file), file)


def _write_torchscript(found: Checkpoint, example: Tensor, file: Path) -> Score:
    import torch

    module = _scored(build_network(found.model, found.state, found.path))
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            traced = torch.jit.trace(module, example, check_trace=False)  # type: ignore[no-untyped-call]
        except Exception as error:  # a network that cannot be traced raises nearly anything
            raise ModelError(f"the network cannot be traced ({first_line(error)})", _OTHER) from error
        torch.jit.save(traced, str(file))
        loaded = torch.jit.load(str(file))  # type: ignore[no-untyped-call]
    return lambda views: _row(loaded, views)


def _write_onnx(found: Checkpoint, example: Tensor, file: Path) -> Score:
    import torch

    try:
        import onnx  # noqa: F401 - torch's exporter needs it
        import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"{error.name} is not installed", _INSTALL) from error
    module = _scored(build_network(found.model, found.state, found.path))
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                module,
                (example,),
                str(file),
                input_names=["clips"],
                output_names=["probabilities"],
                dynamo=False,
            )
        except Exception as error:  # a layer that ONNX lacks raises nearly anything
            raise ModelError(
                f"the network cannot be written as ONNX ({first_line(error)})", _OTHER
            ) from error
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])

    def score(views: Tensor) -> Sequence[float]:
        (found,) = session.run(None, {"clips": views.numpy()})
        row: list[float] = found[0].tolist()
        return row

    return score


_OTHER = "export its weights alone: --format safetensors or pth"
_WRITERS: dict[ModelForm, Callable[[Checkpoint, Tensor, Path], Score]] = {
    ModelForm.PTH: _write_pth,
    ModelForm.SAFETENSORS: _write_safetensors,
    ModelForm.TORCHSCRIPT: _write_torchscript,
    ModelForm.ONNX: _write_onnx,
}


def _describe(folder: Path, run: str, record: Any, found: Checkpoint, example: Tensor) -> None:
    """Write what a program needs to use the model: labels, input and views."""
    about = {
        "run": run,
        "labels": list(found.labels),
        "input": {"name": "clips", "shape": list(example.shape), "dtype": "float32", "range": [0, 255]},
        "output": {"name": "probabilities", "shape": [1, len(found.labels)]},
        "views": found.protocol,
        "pipeline": found.pipeline,
        "checkpoint_sha256": found.sha256,
        "weights": record.get("weights"),
        "split": record["split"],
    }
    with atomic_file(folder / "model.json") as file:
        file.write(json.dumps(about, indent=2, ensure_ascii=False, default=list) + "\n")


def document_of(found: ModelExport) -> dict[str, Any]:
    """Return the export as plain data."""
    return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(found).items()}
