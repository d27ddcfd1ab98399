"""The last layer that a network brings along: which classes its rows stand for, and their use.

A row of the pre-trained head is a class that somebody has learnt already. Where a label of ours
has the same name, its row serves as a baseline that trained on none of our clips, or as a
start. Which row is which class is nowhere in the numbers, so it must be proven: by the names
that a checkpoint carries, or by the checksum of a file whose order is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import ModelError
from dancecli.core.labels import MANIFESTS, LabelSet
from dancecli.model.networks.weights import StartWeights, state_of
from dancecli.model.networks.zoo import ZooEntry
from dancecli.storage.files import save_torch

if TYPE_CHECKING:
    from torch import Tensor

KINETICS400_LABELS = MANIFESTS / "label-sets" / "kinetics400.txt"
RANDOM, PRETRAINED = "random", "pretrained"
_LAYER = "cls_head.fc_cls"
# Of a class that the network does not know: its probability is 0 in single and half precision.
_IMPOSSIBLE = -1e4


@dataclass(frozen=True)
class PretrainedHead:
    """The last layer of pre-trained weights.

    Attributes:
        labels: the class of each row.
        weight: [classes, features].
        bias: [classes].
    """

    labels: tuple[str, ...]
    weight: Tensor
    bias: Tensor


def kinetics_labels() -> tuple[str, ...]:
    """The 400 classes in the order of the networks that were trained on them."""
    return LabelSet.read(KINETICS400_LABELS).names


def match_labels(labels: Sequence[str], known: Sequence[str]) -> dict[int, int]:
    """Find our labels among a head's classes: our index to its; case and underscores do not count."""
    places = {_plain(name): i for i, name in enumerate(known)}
    return {i: places[_plain(name)] for i, name in enumerate(labels) if _plain(name) in places}


def pretrained_head(entry: ZooEntry, start: StartWeights) -> PretrainedHead:
    """Read the head of the weights that a network starts from, and prove its classes.

    Raises:
        ModelError: they have none, do not say what its rows are, or have 400 classes in another
            order than Kinetics-400's.
    """
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
        raise ModelError(f"{path}: holds no last layer ({_LAYER})", "take weights that have their head")
    known = bool(entry.sha256_prefix) and start.sha256.startswith(entry.sha256_prefix)
    return PretrainedHead(_classes(path, content, len(found[0]), known), found[0], found[1])


def set_classifier_weights(model: Any, rows: Mapping[int, int], head: PretrainedHead, *, mask: bool) -> None:
    """Give the model's last layer the rows of the classes that the pre-trained head knows.

    Args:
        model: a recognizer with a head for our labels.
        rows: our index to the head's; see `match_labels`.
        head: where they come from.
        mask: make the other classes impossible; else they stay as they are.

    Raises:
        ModelError: the head is of another kind of network.
    """
    import torch

    layer = getattr(model.cls_head, "fc_cls", None)
    if layer is None or layer.weight.shape[1:] != head.weight.shape[1:]:
        raise ModelError(
            f"the head of this model cannot take rows of {tuple(head.weight.shape)[1:]} weights",
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
    """What a head starts from.

    Attributes:
        hook: of a config, puts the rows in; empty if no class is known.
        record: for `run.json`.
        note: for the user.
    """

    hook: dict[str, Any]
    record: dict[str, Any]
    note: str


def start_head(entry: ZooEntry, start: StartWeights, labels: Sequence[str], file: Path) -> HeadStart:
    """Write down the rows of the classes that the weights' head knows, for a run to start from.

    Args:
        entry: the model.
        start: the weights.
        labels: ours.
        file: gets the rows.

    Raises:
        ModelError: the weights have no head whose classes are known; see `pretrained_head`.
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
        note = f"none of the {len(labels)} labels is a class of these weights: the head starts at random"
        return HeadStart({}, record, note)
    theirs = list(rows.values())
    save_torch(file, {"weight": head.weight[theirs].clone(), "bias": head.bias[theirs].clone()})
    hook = {"type": "ClassifierWeightsHook", "file": str(file), "classes": list(rows)}
    note = f"{len(rows)} of {len(labels)} classes start from their rows in the pre-trained head"
    return HeadStart(hook, record, note + (f", at random: {', '.join(fresh)}" if fresh else ""))


def with_hook(config: Mapping[str, Any], head: HeadStart) -> dict[str, Any]:
    """Add what starts the head to a run's config."""
    hooks = [*config["custom_hooks"], *([head.hook] if head.hook else [])]
    return {**config, "custom_hooks": hooks}


def _classes(path: Path, content: Mapping[str, Any], rows: int, known: bool) -> tuple[str, ...]:
    """Say what the rows of a file's head are, or refuse."""
    names, kinetics = _named_classes(content), kinetics_labels()
    if names and len(names) != rows:
        raise ModelError(f"{path}: names {len(names)} classes, and its head has {rows}")
    if names and rows == len(kinetics) and names != kinetics:
        i = next(i for i, pair in enumerate(zip(names, kinetics, strict=True)) if pair[0] != pair[1])
        raise ModelError(
            f"{path}: its 400 classes are in another order than those of Kinetics-400 "
            f"(class {i} is {names[i]!r}, not {kinetics[i]!r})",
            "its rows cannot be taken for the classes of Kinetics-400",
        )
    if names:
        return names
    if rows == len(kinetics) and known:
        return kinetics
    raise ModelError(
        f"{path}: does not say which classes the {rows} rows of its head are, nor is it a file of the zoo",
        "save it with the names: torch.save({'meta': {'labels': [...]}, 'state_dict': ...}, FILE)",
    )


def _named_classes(content: Mapping[str, Any]) -> tuple[str, ...]:
    """The class names that a checkpoint carries: ours, mmengine's, or MMAction2's of old."""
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
