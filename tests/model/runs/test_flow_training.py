"""What training reads is the flow that was stored: the fields, their order, their signs."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dancecli.core.errors import ModelError
from dancecli.core.flow_format import FlowMethod, flow_of, method_mismatch
from dancecli.core.records import Flow
from dancecli.core.video_files import clip_path
from dancecli.model.dataloading.flow import read_fields
from dancecli.model.dataloading.flow_data import require_flow
from dancecli.model.networks.base import flow_preprocessor
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace
from dancecli.video.optical_flow import StoredFlow, write_flow

FIELDS = 40


def field(number: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A field that says its number: u over all of it, v on its left half alone."""
    made = np.zeros((height, width, 2), np.float32)
    made[..., 0] = number / 4
    made[:, : width // 2, 1] = -number / 8
    return made


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip's path, whose flow is there and whose film is not needed."""
    path = tmp_path_factory.mktemp("space") / clip_path("clips", "abc_0_2000.mp4")
    store(flow_of(path, "dis"), [field(i) for i in range(FIELDS)])
    return path


def store(target: Path, fields: list[np.ndarray]) -> StoredFlow:
    """Store these fields as the flow of a film of as many frames, and one more."""
    from dancecli.video import optical_flow

    target.parent.mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optical_flow, "gray_frames", lambda *_: iter(range(len(fields) + 1)))
        patch.setattr(optical_flow, "estimator", lambda _: lambda one, _: fields[one])
        work = write_flow(Path("film.mp4"), len(fields) + 1, Fraction(25), FlowMethod.DIS, target)
        while True:
            try:
                next(work)
            except StopIteration as end:
                stored: StoredFlow = end.value
                return stored


def pipeline(*steps: dict[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    from dancecli.model.networks.mmaction import TRANSFORMS, init_default_scope

    init_default_scope("mmaction")
    built = [TRANSFORMS.build(step) for step in steps]

    def run(results: dict[str, Any]) -> dict[str, Any]:
        for step in built:
            results = step(results)
        return results

    return run


def test_fields_come_in_the_order_they_are_asked_for(clip: Path) -> None:
    # As of a picture whose short side is 256, and within the bound.
    expected = [(field(i) * 256 / 48).clip(-20, 20) for i in range(FIELDS)]
    for wanted in ([0], [FIELDS - 1], [0, 2], [38, 2, 2, 17, 16, 15], list(range(FIELDS))):
        for number, found in zip(wanted, read_fields(flow_of(clip, "dis"), wanted), strict=True):
            assert np.abs(found - expected[number]).mean() < 0.1


def test_large_fields_are_taken_as_they_are(tmp_path: Path) -> None:
    made = [field(i, 256, 300) for i in range(3)]
    stored = store(tmp_path / "x.dis.mp4", made)
    assert (stored.frames, stored.width, stored.height) == (3, 300, 256)
    found = np.array(read_fields(tmp_path / "x.dis.mp4", [0, 1, 2]))
    assert np.abs(found - np.array(made)).mean() < 0.02


def test_a_clip_comes_in_the_shape_that_networks_take(clip: Path) -> None:
    from mmengine.registry import init_default_scope

    from dancecli.model.networks.mmaction import MODELS

    init_default_scope("mmaction")
    frames = {"type": "SampleFrames", "clip_len": 8, "frame_interval": 1, "num_clips": 1, "test_mode": True}
    shared = ({"type": "FlowInit", "method": "dis"}, frames, {"type": "FlowDecode"})
    resized = ({"type": "Resize", "scale": (-1, 32)}, {"type": "CenterCrop", "crop_size": 32})
    for shape, expected, channels in (("NCTHW", (1, 2, 8, 32, 32), 2), ("NCHW", (1, 16, 32, 32), 16)):
        run = pipeline(*shared, *resized, {"type": "FormatShape", "input_format": shape})
        results = run({"filename": str(clip), "start_index": 0, "modality": "RGB"})
        assert results["total_frames"] == FIELDS
        assert results["imgs"].shape == expected
        assert results["imgs"].dtype == np.float32
        import torch

        preprocessor = MODELS.build(flow_preprocessor(channels, shape))
        batch = preprocessor({"inputs": [torch.from_numpy(results["imgs"])], "data_samples": None})["inputs"]
        u, v = (batch[0, 0, 0], batch[0, 0, 1]) if shape == "NCTHW" else (batch[0, 0, ::2], batch[0, 0, 1::2])
        first = int(results["frame_inds"][0])
        assert float(u[0].median()) == pytest.approx(min(20, first / 4 * 256 / 48) / 20, abs=0.02)
        assert float(v[0, :, :8].median()) == pytest.approx(max(-20, -first / 8 * 256 / 48) / 20, abs=0.02)
        assert float(v[0, :, -8:].abs().max()) < 0.02


def test_a_mirrored_field_moves_the_other_way(clip: Path) -> None:
    sample = {"type": "SampleFrames", "clip_len": 4, "frame_interval": 1, "num_clips": 1, "test_mode": True}
    plain = pipeline({"type": "FlowInit"}, sample, {"type": "FlowDecode"})
    results = plain({"filename": str(clip), "start_index": 0})
    before = np.array(results["imgs"])
    after = np.array(pipeline({"type": "FlowFlip", "flip_ratio": 1.0})(results)["imgs"])
    np.testing.assert_array_equal(after[..., 0], -before[:, :, ::-1, 0])
    np.testing.assert_array_equal(after[..., 1], before[:, :, ::-1, 1])
    untouched = pipeline({"type": "FlowFlip", "flip_ratio": 0.0})({"imgs": list(before)})
    np.testing.assert_array_equal(untouched["imgs"], before)


def test_what_is_missing_or_no_flow_is_said(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"abc_0_2000.tvl1.mp4: no such flow file"):
        pipeline({"type": "FlowInit", "method": "tvl1"})({"filename": str(clip)})
    with pytest.raises(ModelError, match="has no field 40"):
        read_fields(flow_of(clip, "dis"), [3, FIELDS])
    broken = tmp_path / "x.dis.mp4"
    broken.write_bytes(flow_of(clip, "dis").read_bytes()[:600])
    with pytest.raises(ModelError, match=r"x.dis.mp4: "):
        read_fields(broken, [0])


def test_training_does_not_begin_without_all_flow(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with pytest.raises(ModelError, match="2 of 2 clips have no dis flow, a is the first") as caught:
        require_flow(workspace, {"a": "1", "b": "2"}, "dis")
    assert caught.value.hint == "run dance flow --method dis"
    row = Flow("a", "dis", "flow/a.dis.mp4", "", 1, "1", 9, 64, 48, 1.0, 25, 20, 0.01, "")
    tables.write(workspace.flows, Flow, [row])
    require_flow(workspace, {"a": "1"}, "dis")
    for clips, method in (({"a": "1"}, "tvl1"), ({"a": "another file"}, "dis")):
        with pytest.raises(ModelError, match="1 of 1"):
            require_flow(workspace, clips, method)


def test_another_method_than_the_weights_is_said() -> None:
    assert method_mismatch("tvl1") == ""
    assert "trained on tvl1 flow, and this is dis flow" in method_mismatch("dis")
