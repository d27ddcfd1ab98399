"""Grad-CAM: the heat is where the evidence is, and it is the trained weights' own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dancecli.core.errors import DanceError, ModelError
from dancecli.model.evaluation.gradcam import GradcamSettings, gradcam, heat_of, strip
from dancecli.model.networks.mmaction import ActionDataSample
from dancecli.model.runs.finetune import FinetuneSettings, finetune

SIDE, FRAMES = 64, 4
# The only place where the two classes differ.
PLACE = (slice(None), slice(32, 64), slice(0, 32))


class Head(torch.nn.Module):
    """What MMAction2's I3D head does: the mean over time and place, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.fc(x.mean(dim=(2, 3, 4)))
        return scores


class Scaling(torch.nn.Module):
    def forward(self, data: dict[str, Any], training: bool) -> dict[str, Any]:
        return {"inputs": (torch.stack(data["inputs"]).float() - 100) / 60}


class Recognizer3D(torch.nn.Module):
    """A network of two layers, with the parts that MMAction2's recognizers have."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.data_preprocessor = Scaling()
        self.backbone: torch.nn.Module = torch.nn.Sequential(
            torch.nn.Conv3d(3, 8, 3, stride=(1, 4, 4), padding=1),
            torch.nn.ReLU(),
            torch.nn.Conv3d(8, 8, 3, stride=(2, 2, 2), padding=1),
            torch.nn.ReLU(),
        )
        self.cls_head = Head()


def clip(kind: int, number: int) -> dict[str, Any]:
    """Noise; of class 1, with a bright square that blinks."""
    rng = np.random.default_rng([kind, number])
    frames = rng.integers(60, 130, (FRAMES, SIDE, SIDE, 3), dtype=np.uint8)
    if kind:
        frames[:, 40:56, 8:24] = 230
        frames[::3, 40:56, 8:24, 1:] = 20
    inputs = torch.from_numpy(frames).permute(3, 0, 1, 2)[None]
    return {"inputs": [inputs], "data_samples": [ActionDataSample().set_gt_label(kind)]}


def train(model: Any, steps: int) -> None:
    optimizer = torch.optim.Adam(model.parameters(), 0.003)
    truth = torch.tensor([0, 1] * 3)
    for step in range(steps):
        batches = [clip(i % 2, 6 * step + i) for i in range(6)]
        inputs = torch.cat(
            [model.data_preprocessor(b, training=False)["inputs"].flatten(0, 1) for b in batches]
        )
        loss = torch.nn.functional.cross_entropy(model.cls_head(model.backbone(inputs)), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def inside(heat: Any) -> float:
    """The share of the heat that lies in the quarter that tells the classes apart."""
    wide = torch.from_numpy(heat)[None, None]
    full = torch.nn.functional.interpolate(wide, (FRAMES, SIDE, SIDE), mode="trilinear")[0, 0].numpy()
    return float(full[PLACE].sum() / full.sum())


def test_heat_is_where_the_only_evidence_is_and_goes_with_the_weights() -> None:
    model = Recognizer3D(0)
    train(model, 60)
    trained = [heat_of(model, clip(1, 900 + i), 1) for i in range(3)]
    assert min(inside(heat) for heat in trained) > 0.6  # of a quarter of the picture
    assert all(heat.max() == pytest.approx(1) for heat in trained)
    # J. Adebayo et al., "Sanity checks for saliency maps", 2018: other weights, another map.
    others = [heat_of(Recognizer3D(seed), clip(1, 900), 1).ravel() for seed in (1, 2, 3)]
    likeness = [np.corrcoef(other, trained[0].ravel())[0, 1] for other in others if other.any()]
    assert not likeness or np.mean(likeness) < 0.5


@pytest.mark.parametrize(
    "config",
    [
        "x3d/x3d_m_16x5x1_facebook-kinetics400-rgb.py",
        "c2d/c2d_r50-in1k-pre_8xb32-8x8x1-100e_kinetics400-rgb.py",
    ],
)
def test_backbones_of_other_layouts_have_a_map(config: str) -> None:
    from dancecli.core.recipe import Recipe
    from dancecli.model.networks.base import build_model_config, model_base
    from dancecli.model.networks.build import build_model
    from dancecli.model.networks.mmaction import CONFIGS
    from dancecli.model.networks.zoo import find_entry

    base = model_base(find_entry(str(CONFIGS / "recognition" / config)))
    model = build_model(build_model_config(base, Recipe(), 2, None), seed=0).eval()
    heat = heat_of(model, clip(1, 900), 1)
    assert heat.ndim == 3
    assert heat.shape[1] == heat.shape[2] > 1
    assert 0 <= heat.min() <= heat.max() <= 1


def test_a_network_without_a_map_is_refused() -> None:
    model = Recognizer3D(0)

    class Tokens(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1)

    model.backbone = Tokens()
    with pytest.raises(ModelError, match="Tokens has no feature map over time and space"):
        heat_of(model, clip(1, 0), 1)


def test_a_strip_shows_the_frames_with_heat_and_leaves_cold_places_as_they_are() -> None:
    frames = np.full((FRAMES, SIDE, SIDE, 3), 100, np.uint8)
    heat = np.zeros((2, 4, 4), np.float32)
    heat[:, 3, 0] = 1
    picture = strip(frames, heat, [1, 3])
    assert picture.shape == (SIDE, 2 * SIDE + 3, 3)
    assert picture[4, 60].tolist() == [100, 100, 100]
    assert picture[60, 4, 0] > 190


def test_pictures_of_a_run_are_drawn_once(
    corpus: Any, tiny_recipe: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = corpus()
    finetune(
        workspace,
        FinetuneSettings(
            pretrain=str(tiny_model), recipe=str(tiny_recipe), weights="none", epochs=1, name="a"
        ),
    )
    clips = tuple((i, 1) for i in sorted(p.stem for p in (workspace.root / "clips").rglob("*.mp4"))[:2])
    result = gradcam(workspace, GradcamSettings("a", clips))
    assert result.drawn == 2
    told = json.loads((result.folder / "index.json").read_text())
    assert [row["clip_id"] for row in told["clips"]] == [clip for clip, _ in clips]
    with Image.open(result.folder / f"{clips[0][0]}.jpg") as picture:
        assert picture.size == (6 * 64 + 5 * 3, 64)
    before = {path: path.read_bytes() for path in result.folder.iterdir()}
    monkeypatch.setattr(
        "dancecli.model.evaluation.gradcam.build_network", None
    )  # nothing is left to do for it
    assert gradcam(workspace, GradcamSettings("a", clips)).drawn == 0
    assert {path: path.read_bytes() for path in result.folder.iterdir()} == before
    with pytest.raises(DanceError, match="there is no clip 'x'"):
        gradcam(workspace, GradcamSettings("a", (("x", 0),)))
