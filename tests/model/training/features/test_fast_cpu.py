"""Features by OpenVINO: torch's values, or torch."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from dancecli.core.progress import Reporter
from dancecli.model.training.features import fast_cpu
from dancecli.model.training.features.fast_cpu import use_openvino

ATTENTION = {
    "type": "SwinTransformer3D",
    "arch": {"embed_dims": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2]},
    "patch_size": (2, 4, 4),
    "window_size": (8, 7, 7),
    "pretrained": None,
    "pretrained2d": False,
}
CONVOLUTIONS = {"type": "ResNet3d", "depth": 18, "base_channels": 16, "pretrained": None}


def network_of(backbone):
    from dancecli.model.networks.build import build_model

    preprocessor = {"type": "ActionDataPreprocessor", "mean": [128.0] * 3, "std": [64.0] * 3}
    return build_model(
        {
            "type": "Recognizer3D",
            "backbone": backbone,
            "cls_head": {"type": "I3DHead", "num_classes": 3, "in_channels": 128},
            "data_preprocessor": {**preprocessor, "format_shape": "NCTHW"},
        },
        seed=3,
    )


@pytest.fixture(scope="module")
def network():
    return network_of(ATTENTION)


def frozen_of(network, stage):
    from dancecli.model.training.features.frozen import FrozenBackbone

    return FrozenBackbone(network, network.data_preprocessor, stage)


def batch_of(n):
    generator = torch.Generator().manual_seed(n)
    views = torch.randint(0, 256, (n, 1, 3, 8, 64, 64), dtype=torch.uint8, generator=generator)
    return {"inputs": list(views), "data_samples": [SimpleNamespace(filename=f"{i}") for i in range(n)]}


@pytest.mark.parametrize("stage", [3, 4])
def test_the_features_are_those_of_torch_for_whole_and_short_batches(network, stage, monkeypatch):
    monkeypatch.setattr(fast_cpu, "LEAST_PIXELS", 0)
    by_torch, fast, said = frozen_of(network, stage), frozen_of(network, stage), []
    use_openvino(fast, 10, Reporter(on_message=said.append))
    # The first batch is computed by both; then torch is not asked.
    for n, asked in ((3, True), (3, False), (2, False), (4, True)):
        called = []
        inner = fast.forward_pass._by_torch
        monkeypatch.setattr(
            fast.forward_pass, "_by_torch", lambda x, f=inner, c=called: (c.append(1), f(x))[1]
        )
        found, wanted = fast.features(batch_of(n)), by_torch.features(batch_of(n))
        assert found.shape == wanted.shape
        assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max()
        assert bool(called) is asked
    (message,) = said
    assert message.startswith("OpenVINO 20")
    assert "computes the features" in message


@pytest.mark.parametrize("fault", ["other values", "cannot", "not a number"])
def test_torch_computes_what_openvino_cannot(network, fault, monkeypatch):
    def compile_badly(frozen, inputs):
        if fault == "cannot":
            raise RuntimeError("No conversion rule for aten::foo\nmore")
        wrong = frozen.features_of(inputs) * (1.01 if fault == "other values" else float("nan"))
        return lambda values: [wrong.numpy()]

    monkeypatch.setattr(fast_cpu, "LEAST_PIXELS", 0)
    monkeypatch.setattr(fast_cpu, "_compile", compile_badly)
    frozen, said = frozen_of(network, 4), []
    use_openvino(frozen, 10, Reporter(on_message=said.append))
    for _ in range(2):
        found = frozen.features(batch_of(2))
        assert torch.equal(found, frozen_of(network, 4).features(batch_of(2)))
    assert len(said) == 1
    assert "torch computes" in said[0]


def test_torch_continues_where_openvino_fails_later(network, monkeypatch):
    def compile_for_two(frozen, inputs):
        passes = iter([1, 1])

        def compute(values):
            if not next(passes, 0):
                raise RuntimeError("out of threads\nmore")
            return [frozen.features_of(torch.from_numpy(values[0])).numpy()]

        return compute

    monkeypatch.setattr(fast_cpu, "LEAST_PIXELS", 0)
    monkeypatch.setattr(fast_cpu, "_compile", compile_for_two)
    frozen, said = frozen_of(network, 4), []
    use_openvino(frozen, 10, Reporter(on_message=said.append))
    for n in (3, 2, 3, 2):
        assert torch.allclose(frozen.features(batch_of(n)), frozen_of(network, 4).features(batch_of(n)))
    assert said[1:] == ["OpenVINO failed (out of threads): torch computes the features from here on"]
    # The first batch is torch's, and one was OpenVINO's.
    (name,) = set(frozen.computed) - {"torch"}
    assert name.startswith("OpenVINO 20")
    assert frozen.computed == {"torch": 3 + 3 + 2, name: 2}
    # It is not tried again for the clips of the next subset.
    use_openvino(frozen, 10, Reporter(on_message=said.append))
    frozen.features(batch_of(2))
    assert len(said) == 2


def test_the_next_subset_is_computed_by_what_was_compiled_for_the_first(network, monkeypatch):
    compiled = []
    real = fast_cpu._compile
    monkeypatch.setattr(fast_cpu, "_compile", lambda *a: (compiled.append(1), real(*a))[1])
    monkeypatch.setattr(fast_cpu, "LEAST_PIXELS", 0)
    frozen = frozen_of(network, 4)
    for n in (3, 3, 2):
        use_openvino(frozen, 3, Reporter())
        frozen.features(batch_of(n))
    assert len(compiled) == 1
    assert sum(frozen.computed.values()) - frozen.computed["torch"] == 5


def test_little_work_and_other_devices_are_left_to_torch(network, monkeypatch):
    monkeypatch.setattr(fast_cpu, "_compile", None)
    frozen = frozen_of(network, 4)
    pixels = 8 * 64 * 64
    use_openvino(frozen, fast_cpu.LEAST_PIXELS // pixels - 1, Reporter())
    frozen.features(batch_of(1))
    for changes in ({"precision": "bfloat16"}, {"compiled": True}, {"device": torch.device("cuda")}):
        other = frozen_of(network, 4)
        other.__dict__.update(changes)
        use_openvino(other, 10**9, Reporter())
        assert other.forward_pass == other.features_of
    # Of convolutions torch is as fast itself.
    other = frozen_of(network_of(CONVOLUTIONS), 4)
    use_openvino(other, 10**9, Reporter())
    assert other.forward_pass == other.features_of
    monkeypatch.setattr(fast_cpu.importlib.util, "find_spec", lambda _: None)
    other = frozen_of(network, 4)
    use_openvino(other, 10**9, Reporter())
    assert other.forward_pass == other.features_of
