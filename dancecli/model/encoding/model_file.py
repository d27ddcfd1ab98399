"""A trained model of trajectories as one file: NumPy arrays without pickles, so that reading runs no code."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import ModelError
from dancecli.core.hashing import sha256_file
from dancecli.model.encoding.classifier import LinearSvm
from dancecli.model.encoding.fisher import FisherEncoder
from dancecli.model.encoding.words import WordEncoder
from dancecli.storage.files import atomic_file
from dancecli.storage.trajectory_files import WIDTHS, no_descriptors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rows = NDArray[np.float32]

IDT, BAG = "idt", "bag"
SUFFIX = ".npz"
# All of a clip is seen: it has no views to choose.
PROTOCOL = "dense trajectories of the whole clip at 25 fps"
_ENCODERS: Mapping[str, type[FisherEncoder] | type[WordEncoder]] = {IDT: FisherEncoder, BAG: WordEncoder}
_FACTS = "facts"
_WEIGHTS, _INTERCEPTS = "svm.weights", "svm.intercepts"
_HINT = "use the trajectories.npz of a run of dance train --model idt or bag"


@dataclass(frozen=True)
class TrajectoryClassifier:
    """What classifies the trajectories of a clip.

    Attributes:
        kind: `idt` or `bag`.
        labels: class names in the order of the scores.
        method: how the trajectories that it was trained on were computed.
        clip_s: median length of the clips that it was trained on, in seconds.
        encoder: makes a vector of a clip's descriptors.
        svm: scores the vectors.
    """

    kind: str
    labels: tuple[str, ...]
    method: str
    clip_s: float
    encoder: FisherEncoder | WordEncoder
    svm: LinearSvm

    def score(self, descriptors: Mapping[str, Rows]) -> tuple[float, ...]:
        """Give the probability of each label for a clip with these descriptors, for each kind [n, width]."""
        return self.score_encoded(self.encoder.encode(descriptors))

    def score_encoded(self, vector: Rows) -> tuple[float, ...]:
        """Give the probability of each label for the vector of a clip."""
        return tuple(self.svm.probabilities(vector[None])[0].tolist())


@dataclass(frozen=True)
class TrajectoryFile:
    """A model of trajectories that was read from a file.

    Attributes:
        path, sha256: the file.
        model: what was read.
    """

    path: Path
    sha256: str
    model: TrajectoryClassifier
    protocol: str = PROTOCOL

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of the scores."""
        return self.model.labels

    @property
    def clip_s(self) -> float:
        """Median length of the clips that it was trained on, in seconds."""
        return self.model.clip_s


def write_classifier(path: Path, model: TrajectoryClassifier) -> None:
    """Write a model; it names no clip.

    Raises:
        OSError: the disk is full.
    """
    import numpy as np

    svm = model.svm
    facts = {
        "kind": model.kind,
        "labels": list(model.labels),
        "method": model.method,
        "clip_s": model.clip_s,
        "temperature": svm.temperature,
        "held_out": [svm.held_out, svm.held_out_correct],
    }
    arrays: dict[str, Any] = {
        _FACTS: np.array(json.dumps(facts, ensure_ascii=False)),
        _WEIGHTS: svm.weights,
        _INTERCEPTS: svm.intercepts,
        **model.encoder.arrays,
    }
    with atomic_file(path, "wb") as file:
        np.savez(file, **arrays)


def read_classifier(path: Path) -> TrajectoryFile:
    """Read a model without running any code in its file.

    Raises:
        ModelError: the file is missing, or does not hold such a model.
    """
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        model = _of_arrays(json.loads(str(arrays.pop(_FACTS))), arrays)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file", _HINT) from None
    except (OSError, LookupError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path}: holds no model of trajectories ({error})", _HINT) from None
    return TrajectoryFile(path, sha256_file(path), model)


def _of_arrays(facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> TrajectoryClassifier:
    """Rebuild a model.

    Raises:
        LookupError, TypeError, ValueError: something is missing or of another shape.
    """
    import numpy as np

    for name, array in arrays.items():
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise ValueError(f"{name} are not finite numbers")
    labels = tuple(str(label) for label in facts["labels"])
    encoder = _ENCODERS[facts["kind"]].of_arrays(arrays, WIDTHS)
    held_out, correct = facts["held_out"]
    svm = LinearSvm(
        arrays[_WEIGHTS], arrays[_INTERCEPTS], float(facts["temperature"]), int(held_out), int(correct)
    )
    width = len(encoder.encode(no_descriptors()))
    if svm.weights.shape != (len(labels), width) or svm.intercepts.shape != (len(labels),):
        raise ValueError(f"weights of {svm.weights.shape} for {len(labels)} labels and vectors of {width}")
    clip_s = float(facts["clip_s"])
    if not (svm.temperature > 0 and clip_s > 0):
        raise ValueError("a temperature or length that is not positive")
    return TrajectoryClassifier(facts["kind"], labels, str(facts["method"]), clip_s, encoder, svm)
