"""The classifier weights of a pre-trained network: which classes they are of, and how they are used.

Each row of the classifier is a class that was learned already. For a label of the same name it serves
as a zero-shot baseline, or as an initialization. The weights alone do not tell which row is which
class, so this must be known: by the class names in a checkpoint, or by the checksum of a file whose
order is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import ModelError
from dancecli.core.labels import MANIFESTS, LabelSet
from dancecli.core.recipe import PRETRAINED, RANDOM
from dancecli.model.networks.weights import StartWeights, state_of
from dancecli.model.networks.zoo import ZooEntry
from dancecli.storage.files import save_torch

if TYPE_CHECKING:
    from torch import Tensor

KINETICS400_LABELS = MANIFESTS / "label-sets" / "kinetics400.txt"
_LAYER = "cls_head.fc_cls"
# Bias of a class that the network does not know: its probability is 0 in single and half precision.
_IMPOSSIBLE = -1e4


@dataclass(frozen=True)
class PretrainedHead:
    """The classifier of pre-trained weights.

    Attributes:
        labels: the class of each row.
        weight: [classes, features].
        bias: [classes].
    """

    labels: tuple[str, ...]
    weight: Tensor
    bias: Tensor


def kinetics_labels() -> tuple[str, ...]:
    """The 400 classes in the order in which networks were trained on them."""
    return LabelSet.read(KINETICS400_LABELS).names


def match_labels(labels: Sequence[str], known: Sequence[str]) -> dict[int, int]:
    """Find labels among a classifier's classes: our index to its; case and underscores are ignored."""
    places = {_plain(name): i for i, name in enumerate(known)}
    return {i: places[_plain(name)] for i, name in enumerate(labels) if _plain(name) in places}


def pretrained_head(entry: ZooEntry, start: StartWeights) -> PretrainedHead:
    """Read the classifier of the weights that a network starts from, and its class names.

    Raises:
        ModelError: they have none, do not name its classes, or have 400 classes in another order than
            Kinetics-400.
    """
    if entry.hub is not None:
        raise ModelError(
            f"the classifier of {entry.hub.repository.reference} is not read",
            f"use --head-init {RANDOM}",
        )
    if not Path(start.source).is_file():
        from dancecli.model.networks.inception_weights import kinetics_weights

        logits = kinetics_weights().logits
        weight, bias = logits["conv.weight"], logits["conv.bias"]
        return PretrainedHead(kinetics_labels(), weight.flatten(1), bias)
    from dancecli.model.networks.mmaction import read_checkpoint

    path = Path(start.source)
    content = read_checkpoint(path)
    state = state_of(content)
    found = state.get(f"{_LAYER}.weight"), state.get(f"{_LAYER}.bias")
    if found[0] is None or found[1] is None:
        raise ModelError(f"{path}: contains no classifier ({_LAYER})", "use weights with their classifier")
    known = bool(entry.sha256_prefix) and start.sha256.startswith(entry.sha256_prefix)
    return PretrainedHead(_classes(path, content, len(found[0]), known), found[0], found[1])


def set_classifier_weights(model: Any, rows: Mapping[int, int], head: PretrainedHead, *, mask: bool) -> None:
    """Copy the classifier weights of matching classes into the model's last layer.

    Args:
        model: a recognizer with a head for the labels.
        rows: our index to the head's; see `match_labels`.
        head: the pre-trained classifier.
        mask: make the other classes impossible; otherwise they stay as they are.

    Raises:
        ModelError: the classifier is of another kind of network.
    """
    import torch

    layer = getattr(model.cls_head, "fc_cls", None)
    if layer is None or layer.weight.shape[1:] != head.weight.shape[1:]:
        raise ModelError(
            f"the head of this model cannot use classifier weights of shape {tuple(head.weight.shape)}",
            "use --head-init random",
        )
    with torch.no_grad():
        if mask:
            layer.weight.zero_()
            layer.bias.fill_(_IMPOSSIBLE)
        for ours, theirs in rows.items():
            layer.weight[ours] = head.weight[theirs]
            layer.bias[ours] = head.bias[theirs]


@dataclass(frozen=True)
class HeadStart:
    """How a head is initialized.

    Attributes:
        hook: of a config, loads the weights; empty if no class matches.
        record: for `run.json`.
        note: for the user.
    """

    hook: dict[str, Any]
    record: dict[str, Any]
    note: str


def start_head(entry: ZooEntry, start: StartWeights, labels: Sequence[str], file: Path) -> HeadStart:
    """Save the classifier weights of matching classes, for a run to start from.

    Args:
        entry: the model.
        start: the weights.
        labels: of the split.
        file: where they are saved.

    Raises:
        ModelError: the weights have no classifier with known classes; see `pretrained_head`.
    """
    head = pretrained_head(entry, start)
    rows = match_labels(labels, head.labels)
    fresh = [name for i, name in enumerate(labels) if i not in rows]
    record = {
        "init": PRETRAINED,
        "rows": {labels[ours]: head.labels[theirs] for ours, theirs in rows.items()},
        "fresh": fresh,
    }
    if not rows:
        note = f"none of the {len(labels)} labels is a class of these weights: random initialization"
        return HeadStart({}, record, note)
    theirs = list(rows.values())
    save_torch(file, {"weight": head.weight[theirs].clone(), "bias": head.bias[theirs].clone()})
    hook = {"type": "ClassifierWeightsHook", "file": str(file), "classes": list(rows)}
    note = f"{len(rows)} of {len(labels)} classes are initialized from the pre-trained classifier"
    return HeadStart(hook, record, note + (f", randomly: {', '.join(fresh)}" if fresh else ""))


def with_hook(config: Mapping[str, Any], head: HeadStart) -> dict[str, Any]:
    """Add the initialization of the head to a run's config."""
    hooks = [*config["custom_hooks"], *([head.hook] if head.hook else [])]
    return {**config, "custom_hooks": hooks}


def _classes(path: Path, content: Mapping[str, Any], rows: int, known: bool) -> tuple[str, ...]:
    """Give the class names of a file's classifier."""
    names, kinetics = _named_classes(content), kinetics_labels()
    if names and len(names) != rows:
        raise ModelError(f"{path}: names {len(names)} classes, and its classifier has {rows}")
    if names and rows == len(kinetics) and names != kinetics:
        i = next(i for i, pair in enumerate(zip(names, kinetics, strict=True)) if pair[0] != pair[1])
        raise ModelError(
            f"{path}: its 400 classes are in another order than those of Kinetics-400 "
            f"(class {i} is {names[i]!r}, not {kinetics[i]!r})",
            "its classifier weights cannot be used for Kinetics-400",
        )
    if names:
        return names
    if rows == len(kinetics) and known:
        return kinetics
    raise ModelError(
        f"{path}: does not name the {rows} classes of its classifier, and is not a file of the zoo",
        "save it with the names: torch.save({'meta': {'labels': [...]}, 'state_dict': ...}, FILE)",
    )


def _named_classes(content: Mapping[str, Any]) -> tuple[str, ...]:
    """The class names in a checkpoint: as dance, mmengine or older MMAction2 store them."""
    meta = content.get("meta")
    if not isinstance(meta, Mapping):
        return ()
    dataset = meta.get("dataset_meta")
    inner = dataset.get("classes") or dataset.get("CLASSES") if isinstance(dataset, Mapping) else None
    names = meta.get("labels") or inner or meta.get("CLASSES") or ()
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return ()
    return tuple(names)


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())
