"""Frozen networks of attention on a CPU by OpenVINO, where it is installed: same values, sooner.

A network is compiled for one size of input, which takes seconds: that is done where it saves more. Of
convolutions torch is as fast itself (`networks.fusion`).
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from dancecli.core.progress import Reporter
from dancecli.core.text import first_line
from dancecli.model.training.features.frozen import TORCH, FrozenBackbone

# Of torch's largest value. Reviewed networks are 1e-6 to 1e-4 apart.
TOLERANCE = 1e-3
# Pixels of all views. Compiling takes 8 s of VideoMAE, and 0.3 s less per million pixels follow.
LEAST_PIXELS = 32_000_000
# A convolution's weights have axes for output, input and at least two of the kernel.
_CONVOLUTION_AXES = 4
Pass = Callable[[Tensor], Tensor]


def use_openvino(frozen: FrozenBackbone, views: int, reporter: Reporter) -> None:
    """Let OpenVINO compute the features, from the first batch on, where it can and is worth while.

    It computes in float32. If it cannot take the network, its values differ from torch's by more than
    `TOLERANCE` on the first batch, or it fails later, torch goes on.

    Args:
        frozen: the frozen part of a network; changed.
        views: how many are to be computed.
        reporter: told which of both computes.
    """
    able = frozen.device.type == "cpu" and frozen.precision is None and not frozen.compiled
    if not able or not mostly_linear(frozen.backbone) or importlib.util.find_spec("openvino") is None:
        return
    if not isinstance(frozen.forward_pass, OpenVinoPass):
        frozen.forward_pass = OpenVinoPass(frozen, reporter)
    frozen.forward_pass.expect(views)


def mostly_linear(backbone: nn.Module) -> bool:
    """Tell whether most weights are those of linear layers and of attention, and not of convolutions."""
    weights = [parameter for parameter in backbone.parameters() if parameter.ndim > 1]
    linear = sum(weight.numel() for weight in weights if weight.ndim < _CONVOLUTION_AXES)
    return 2 * linear > sum(weight.numel() for weight in weights)


class OpenVinoPass:
    """The forward pass of a frozen backbone, compiled at the first batch that is worth while."""

    def __init__(self, frozen: FrozenBackbone, reporter: Reporter) -> None:
        self._frozen, self._reporter = frozen, reporter
        self._by_torch: Pass = frozen.features_of
        self._compiled: Any = None
        self._name = ""
        self._shape: tuple[int, ...] = ()
        self._views, self._untried, self._given_up = 0, False, False

    def expect(self, views: int) -> None:
        """Make ready for so many views, of another size than those before or the same."""
        self._views, self._untried = views, not self._given_up

    def __call__(self, inputs: Tensor) -> Tensor:
        """Compute the features of inputs [N, ...]: fewer than at first are padded."""
        self._frozen.engine = TORCH
        if self._compiled is None or inputs.shape[1:] != self._shape[1:] or len(inputs) > self._shape[0]:
            found = self._by_torch(inputs)
            if self._untried and self._views * inputs[0].numel() // 3 >= LEAST_PIXELS:
                self._compiled, self._shape = self._checked(inputs, found), tuple(inputs.shape)
                self._given_up = self._compiled is None
            self._untried = False
            return found
        missing = self._shape[0] - len(inputs)
        padded = torch.cat([inputs, inputs[-1:].expand(missing, *inputs.shape[1:])]) if missing else inputs
        try:
            found = _run(self._compiled, padded)[: len(inputs)]
        except Exception as error:  # it has no family of errors of its own
            self._compiled, self._given_up = None, True
            self._reporter.message(
                f"OpenVINO failed ({first_line(error)}): torch computes the features from here on"
            )
            return self._by_torch(inputs)
        self._frozen.engine = self._name
        return found

    def _checked(self, inputs: Tensor, expected: Tensor) -> Any:
        """Compile for these inputs; None if the values are not those expected."""
        import openvino

        try:
            compiled = _compile(self._frozen, inputs)
            apart = float((_run(compiled, inputs) - expected).abs().max() / expected.abs().max())
        except Exception as error:  # a layer that it does not know raises nearly anything
            self._reporter.message(
                f"OpenVINO does not take this network ({first_line(error)}): torch computes it"
            )
            return None
        if not apart <= TOLERANCE:
            self._reporter.message(f"OpenVINO's values differ by {apart:.1g}: torch computes the features")
            return None
        self._name = f"OpenVINO {openvino.__version__.partition('-')[0]}"
        self._reporter.message(f"{self._name} computes the features, {apart:.0e} from torch's values")
        return compiled


class _Features(nn.Module):
    """The frozen part of a network as a module, with its weights."""

    def __init__(self, frozen: FrozenBackbone, forward_pass: Pass) -> None:
        super().__init__()
        self.backbone, self.head, self._pass = frozen.backbone, frozen.head, forward_pass

    def forward(self, inputs: Tensor) -> Tensor:
        """Give the features of inputs [N, V, ...]."""
        return self._pass(inputs)


def _compile(frozen: FrozenBackbone, inputs: Tensor) -> Any:
    import openvino
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    # It reads weights in the order of their axes only.
    for parameter in frozen.backbone.parameters():
        parameter.data = parameter.data.contiguous()
    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    with torch.inference_mode(mode=False), torch.no_grad(), warnings.catch_warnings():
        # A trace holds for one size of input, and this one is used for one.
        warnings.simplefilter("ignore")
        module = _Features(frozen, frozen.features_of).eval()
        # `openvino.convert_model` does the same and reports it to its makers.
        # Torch would run the network five more times to check the trace; its values are compared below.
        unchecked = {"check_trace": False}
        decoder = TorchScriptPythonDecoder(module, example_input=inputs.clone(), trace_kwargs=unchecked)
        frontend = FrontEndManager().load_by_framework("pytorch")
        model = frontend.convert(frontend.load(decoder))
    model.reshape(list(inputs.shape))
    return openvino.Core().compile_model(model, "CPU", settings)


def _run(compiled: Any, inputs: Tensor) -> Tensor:
    return torch.from_numpy(compiled([inputs.numpy()])[0].copy())
