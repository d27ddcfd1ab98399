"""The programs that compute a network: LiteRT where it is installed, else OpenCV's classic engine.

LiteRT (`ai-edge-litert`) is Google's own and two to three times as fast; the person detector runs on it
alone, as OpenCV lacks an operator (DENSIFY). On the landmark network the two differ by 0.0004 pixels.
OpenCV has a newer engine, which it prefers, and which reads that network and fails or computes points
that are hundreds of pixels off: so the engine is named here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dancecli.core.errors import MissingDependencyError, ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.float32]

INSTALL = "pip install 'dancecli[pose]'"
# cv2.dnn.ENGINE_CLASSIC
_CLASSIC = 1
_OUTPUTS = ("Identity", "Identity_1")


class Runtime(Protocol):
    """What computes a network.

    Attributes:
        name: of the program and its version.
    """

    name: str

    def run(self, picture: Numbers) -> list[Numbers]:
        """Compute the network's first two outputs, in their order, for a picture [height, width, 3]."""


def has_litert() -> bool:
    """Whether LiteRT is installed."""
    return find_spec("ai_edge_litert") is not None


def open_runtime(network: Path) -> Runtime:
    """Open the landmark network in the best program that is installed.

    Raises:
        MissingDependencyError: none is.
        ModelError: the file is not a network.
    """
    return LiteRtRuntime(network) if has_litert() else OpenCvRuntime(network)


class OpenCvRuntime:
    """OpenCV's DNN module.

    Args:
        network: a `.tflite` file.
        engine: number of the engine; a test passes another.

    Raises:
        MissingDependencyError: there is no OpenCV, or one without named engines.
        ModelError: the file is not a network that OpenCV reads.
    """

    def __init__(self, network: Path, engine: int = _CLASSIC) -> None:
        try:
            import cv2
        except ImportError as error:
            raise MissingDependencyError(f"OpenCV cannot be used ({error})", INSTALL) from None
        if not hasattr(cv2.dnn, "ENGINE_CLASSIC"):
            raise MissingDependencyError(
                f"OpenCV {cv2.__version__} is too old for the pose network", INSTALL + " --upgrade"
            )
        cv2.setNumThreads(1)
        self.name = f"opencv-{cv2.__version__}-classic"
        self._network = network
        with self._errors():
            self._net: Any = cv2.dnn.readNetFromTFLite(str(network), engine)

    def run(self, picture: Numbers) -> list[Numbers]:
        """Compute the network for a picture [height, width, 3]."""
        with self._errors():
            self._net.setInput(picture.transpose(2, 0, 1)[None])
            return list(self._net.forward(_OUTPUTS))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        import cv2

        try:
            yield
        except cv2.error as error:
            raise ModelError(f"{self._network}: OpenCV cannot compute it ({_short(error)})") from None


class LiteRtRuntime:
    """Google's LiteRT.

    Args:
        network: a `.tflite` file.

    Raises:
        MissingDependencyError: LiteRT is not installed.
        ModelError: the file is not a network.
    """

    def __init__(self, network: Path) -> None:
        try:
            with _quiet():
                from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise MissingDependencyError(f"LiteRT cannot be used ({error})", INSTALL) from None
        self.name = f"litert-{version('ai-edge-litert')}"
        try:
            with _quiet():
                self._net: Any = Interpreter(str(network), num_threads=1)
                self._net.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{network}: LiteRT cannot compute it ({_short(error)})") from None
        self._input = self._net.get_input_details()[0]["index"]
        self._outputs = [
            detail["index"]
            for name in _OUTPUTS
            for detail in self._net.get_output_details()
            if detail["name"] == name
        ]

    def run(self, picture: Numbers) -> list[Numbers]:
        """Compute the network for a picture [height, width, 3]."""
        self._net.set_tensor(self._input, picture[None])
        self._net.invoke()
        return [self._net.get_tensor(index) for index in self._outputs]


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what native code prints on stderr: LiteRT announces its own parts there."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
