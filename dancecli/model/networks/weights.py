"""Weights to start from: found, read without running their code, and counted against the model.

MMAction2 loads with `strict=False`, so a wrong file silently trains from random weights. Here the
matching keys are counted, and too few are refused.

A checkpoint of a partly frozen network omits the layers that are still those it started from, its
base, and names that by its hash; `read_whole` puts both together again.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import DanceError, ModelError
from dancecli.core.hashing import sha256_file, sha256_text
from dancecli.core.progress import SILENT, Reporter
from dancecli.model.networks.hub.model import HubModel, file_hashes, load_state, open_model
from dancecli.model.networks.hub.repository import PREFIX, WeightFiles, fetch_weights
from dancecli.model.networks.inflation import as_inception
from dancecli.model.networks.zoo import ZooEntry, check_name, fetch_checkpoint, read_zoo, weights_folder
from dancecli.storage.files import atomic_file, save_torch

if TYPE_CHECKING:
    from torch import Tensor


# A checkpoint of the right architecture matches completely; below this share it is another network.
LEAST_SHARE = 0.9
NO_WEIGHTS = "none"
_FIRST_LAYER = "backbone.stem.conv_1a.conv.weight"


@dataclass(frozen=True)
class StartWeights:
    """Weights a run starts from.

    Attributes:
        name, source, sha256: for the run's record.
        load_from: the file that MMAction2 loads; empty if the backbone reads them itself.
        pretrained: the backbone's `pretrained` setting; empty if there is a file.
        matched, total: keys of the backbone that the weights give, of those it has.
        flow_method: the optical flow they were trained on; empty for RGB, or if it is not known.
        files: of a repository, each file that was read and its SHA-256.
    """

    name: str
    source: str
    sha256: str
    load_from: str
    pretrained: str
    matched: int
    total: int
    flow_method: str = ""
    files: Mapping[str, str] = field(default_factory=dict)


def resolve_weights(
    entry: ZooEntry, given: str | None, model: Mapping[str, Tensor], reporter: Reporter = SILENT
) -> StartWeights | None:
    """Find the weights for a model and check that they match it.

    Args:
        entry: the model's place in the zoo.
        given: `none`, a file, or None for the entry's own weights.
        model: the state dict of the recognizer as built, for names and shapes.
        reporter: of a download.

    Raises:
        ModelError: they are unavailable or unreadable, or match less than `LEAST_SHARE` of the backbone.
    """
    if given == NO_WEIGHTS:
        return None
    if given is None and entry.hub is not None:
        return _from_hub(entry.hub, model, reporter)
    if given is None and not entry.config:
        return _built_in(entry, model)
    if given is None and not entry.checkpoint:
        raise ModelError(
            f"{entry.name}: no weights are known for this config", "use --weights FILE, or --weights none"
        )
    if given:
        path = Path(given).expanduser().absolute()
        check_name(path, entry)
    else:
        path = fetch_checkpoint(entry, reporter=reporter)
    return weights_from_file(path, entry.name, model)


def weights_from_file(path: Path, name: str, model: Mapping[str, Tensor]) -> StartWeights:
    """Read a state dict or an MMAction2 checkpoint and count what fits; see `resolve_weights`.

    Inception-v1 comes under many names, in 2-D and 3-D: see `dancecli.model.networks.inflation`.
    """
    found = state_of(read_whole(path))
    sha256 = sha256_file(path)
    if adapted := _adapted(found, model, str(path)):
        return replace(adapted, name=_with(path.stem, adapted.name), sha256=sha256)
    fitted, prefix = fit_keys(found, model)
    total = len(_backbone(model))
    if not total or len(fitted) / total < LEAST_SHARE:
        raise ModelError(
            f"{path}: contains only {len(fitted)} of {total} weights of the {name} backbone",
            f"these are the weights of another model; at least {LEAST_SHARE:.0%} must match",
        )
    head_fits = any(
        key.startswith("cls_head.") and _fits(value, model.get(key)) for key, value in found.items()
    )
    load_from = path if not prefix and not head_fits else _convert(fitted, sha256)
    return StartWeights(path.stem, str(path), sha256, str(load_from), "", len(fitted), total)


def state_of(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Extract the tensors of a checkpoint, however they are wrapped."""
    import torch

    inner = checkpoint.get("state_dict") or checkpoint.get("model") or checkpoint
    if not isinstance(inner, Mapping):
        return {}
    tensors = {str(key): value for key, value in inner.items() if isinstance(value, torch.Tensor)}
    return {key.removeprefix("module."): value for key, value in tensors.items()}


def fit_keys(found: Mapping[str, Tensor], model: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Match weights to the backbone by name and shape, with and without the prefix `backbone.`.

    Returns:
        What fits, under the model's names; and the prefix that had to be added.
    """
    wanted = _backbone(model)
    best: tuple[dict[str, Tensor], str] = ({}, "")
    for prefix in ("", "backbone."):
        named = {prefix + key: value for key, value in found.items()}
        fitted = {key: named[key] for key, tensor in wanted.items() if _fits(named.get(key), tensor)}
        if len(fitted) > len(best[0]):
            best = (fitted, prefix)
    return best


def _backbone(model: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # Older checkpoints have no batch counters, and nothing depends on them.
    return {
        key: value
        for key, value in model.items()
        if key.startswith("backbone.") and not key.endswith("num_batches_tracked")
    }


def _fits(found: Tensor | None, wanted: Tensor | None) -> bool:
    return found is not None and wanted is not None and found.shape == wanted.shape


def _adapted(found: Mapping[str, Tensor], model: Mapping[str, Tensor], where: str) -> StartWeights | None:
    """Bring weights of an Inception-v1 to this model's names and shapes, if they need it and it is one.

    Returns:
        With what was done as the name, and without a checksum.
    """
    from dancecli.model.networks.inception_weights import digest

    first = model.get(_FIRST_LAYER)
    inception = as_inception(found, first.shape[1], where) if first is not None else None
    if inception is None or not inception.how:
        return None
    state = {f"backbone.{key}": value for key, value in inception.state.items()}
    wanted = _backbone(model)
    for key, value in wanted.items():
        if not _fits(state.get(key), value):
            raise ModelError(
                f"{where}: its layer for {key} is {_shape(state.get(key))}, the network has {_shape(value)}",
                "these are weights of another network; its kernels must be those of Inception-v1 I3D",
            )
    # Both streams can come of one file, so the result is named by what is in it.
    load_from, total = str(_convert(state, digest(state))), len(wanted)
    return StartWeights(inception.how, where, "", load_from, "", total, total, inception.flow_method)


def _shape(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else "x".join(str(n) for n in tensor.shape)


def _with(name: str, how: str) -> str:
    return f"{name} ({how})" if how else name


def _from_hub(hub: HubModel, model: Mapping[str, Tensor], reporter: Reporter) -> StartWeights:
    """Bring weights of the Hub here, and convert them once to the names of our recognizer."""
    from dancecli.model.networks.mmaction import read_checkpoint

    reference = hub.repository.reference
    reporter.progress(0, 1, f"reading the weights of {reference}")
    files = fetch_weights(hub.repository)
    path = _convert_hub(hub, files)
    fitted, _ = fit_keys(state_of(read_checkpoint(path)), model)
    total = len(_backbone(model))
    if len(fitted) < LEAST_SHARE * total:
        raise ModelError(
            f"{reference}: contains only {len(fitted)} of {total} weights of the {hub.row.title}",
            f"these are the weights of another model; at least {LEAST_SHARE:.0%} must match",
        )
    return StartWeights(
        name=hub.name,
        source=reference,
        sha256=files.sha256,
        load_from=str(path),
        pretrained="",
        matched=len(fitted),
        total=total,
        files={**file_hashes(hub), **files.files},
    )


def _convert_hub(hub: HubModel, files: WeightFiles) -> Path:
    """Save weights of the Hub under the names of our recognizer; once."""
    path = _converted(sha256_text(f"{files.sha256} {hub.architecture}"))
    if not path.is_file():
        save_torch(path, {"state_dict": load_state(hub)})
    return path


def _built_in(entry: ZooEntry, model: Mapping[str, Tensor]) -> StartWeights:
    from dancecli.model.networks.inception import KINETICS400
    from dancecli.model.networks.inception_weights import kinetics_weights

    weights = kinetics_weights()
    if adapted := _adapted(weights.state_dict, model, weights.source):
        return replace(adapted, name=_with(weights.name, adapted.name), sha256=weights.sha256)
    fitted, _ = fit_keys(weights.state_dict, model)
    total = len(_backbone(model))
    if len(fitted) != total:
        raise ModelError(f"{entry.name}: only {len(fitted)} of {total} of its weights were found")
    return StartWeights(weights.name, weights.source, weights.sha256, "", KINETICS400, len(fitted), total)


def _convert(fitted: dict[str, Tensor], sha256: str) -> Path:
    """Save the backbone alone, under MMAction2's names, for a config to load."""
    path = _converted(sha256)
    if not path.is_file():
        save_torch(path, {"state_dict": dict(fitted)})
    return path


def _converted(sha256: str) -> Path:
    return weights_folder() / f"backbone-{sha256[:16]}.pth"


def without_base(
    state: Mapping[str, Tensor], start: StartWeights | None, model: str
) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """Leave out what a state dict has in common with the weights that training started from.

    These are kept in the user's weights folder: a file from elsewhere is copied there.

    Args:
        state: of the whole network.
        start: the initial weights; None for random ones.
        model: name of the zoo model.

    Returns:
        The rest, and what the checkpoint's `meta` says of its base for `read_whole`; the whole state
        and None if they have nothing in common, or the base cannot be kept.
    """
    import torch

    from dancecli.model.networks.inception_weights import digest

    if start is None:
        return dict(state), None
    base, values = _base_of(start, model)
    common = {
        key: value.cpu()
        for key, value in state.items()
        if key in values and value.dtype == values[key].dtype and torch.equal(value.cpu(), values[key])
    }
    if not common or not (base["file"] or _is_built_in(base) or _keep(start, base)):
        return dict(state), None
    kept = {key: value for key, value in state.items() if key not in common}
    return kept, {**base, "keys": sorted(common), "tensors_sha256": digest(common)}


def read_whole(path: Path | str) -> dict[str, Any]:
    """Read a checkpoint, and complete it with the frozen layers of its base if it omits them.

    Raises:
        ModelError: it cannot be read, or its base is missing or another file.
    """
    from dancecli.model.networks.inception_weights import digest
    from dancecli.model.networks.mmaction import read_checkpoint

    content = read_checkpoint(path)
    base = _base_record(content)
    if base is None:
        return content
    values = _base_state(base, path)
    common = {key: values[key] for key in base["keys"] if key in values}
    if digest(common) != base["tensors_sha256"]:
        raise ModelError(
            f"{path}: its frozen layers are those of {_named(base)}, and {_place(base)} holds others",
            "put the original file there, or use the whole checkpoint that dance export --run writes",
        )
    return {**content, "state_dict": {**common, **content["state_dict"]}}


def _base_record(content: Mapping[str, Any]) -> dict[str, Any] | None:
    """The base of a checkpoint; None if it is whole, or says something else there."""
    meta = content.get("meta")
    base = meta.get("base") if isinstance(meta, dict) else None
    if not isinstance(base, dict) or not isinstance(content.get("state_dict"), dict):
        return None
    texts = ("model", "weights", "source", "sha256", "file", "tensors_sha256")
    keys = base.get("keys")
    plain = all(isinstance(base.get(key), str) for key in texts) and isinstance(keys, list)
    return base if plain else None


def _base_of(start: StartWeights, model: str) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
    """The record of the base of a run, and its values under the model's names."""
    from dancecli.model.networks.mmaction import read_checkpoint

    # The path of a file is nobody else's; a repository is found again by its reference.
    source = start.source if start.source.startswith(PREFIX) else ""
    base = {"model": model, "weights": start.name, "source": source, "sha256": start.sha256, "file": ""}
    if not start.load_from:
        return base, _base_state(base, start.name)
    path = Path(start.load_from)
    content = read_checkpoint(path)
    # Of a file that has a base itself, that is the base here too.
    if own := _base_record(content):
        return own, _base_state(own, path)
    inside = path.parent == weights_folder()
    return {**base, "file": path.name if inside else ""}, state_of(content)


def _is_built_in(base: Mapping[str, Any]) -> bool:
    from dancecli.model.networks.inception_weights import CHECKPOINT_SHA256

    return base["sha256"] == CHECKPOINT_SHA256 and not base["file"]


def _keep(start: StartWeights, base: dict[str, Any]) -> bool:
    """Keep a weights file from elsewhere in the weights folder, under its hash."""
    base["file"] = f"base-{start.sha256[:16]}.pth"
    target = weights_folder() / base["file"]
    if target.exists():
        return True
    # Without a folder that can be written to, the checkpoint is whole. A link would be changed by whoever
    # writes to the file again, and take the checkpoint with it.
    with suppress(OSError), Path(start.load_from).open("rb") as file:
        with atomic_file(target, "wb") as copy:
            shutil.copyfileobj(file, copy)
        return True
    return False


def _base_state(base: Mapping[str, Any], path: Path | str) -> Mapping[str, Tensor]:
    """Read the values of a base, by the names of the model.

    Raises:
        ModelError: it is missing, and cannot be downloaded.
    """
    from dancecli.model.networks.inception_weights import kinetics_weights
    from dancecli.model.networks.mmaction import read_checkpoint

    if _is_built_in(base):
        return {f"backbone.{key}": value for key, value in kinetics_weights().state_dict.items()}
    entry = read_zoo().get(base["model"])
    if entry and entry.checkpoint and entry.checkpoint == base["file"]:
        return state_of(read_checkpoint(fetch_checkpoint(entry)))
    file = _place(base)
    if not file.is_file() and base["source"].startswith(PREFIX):
        _fetch_hub_base(base, path)
    if not file.is_file():
        raise ModelError(
            f"{path}: holds only what was trained; its frozen layers are those of {_named(base)}, and "
            f"{file} is missing",
            "put that file there, or use the whole checkpoint that dance export --run writes",
        )
    return state_of(read_checkpoint(file))


def _fetch_hub_base(base: Mapping[str, Any], path: Path | str) -> None:
    """Convert a base of the Hub again, from its repository; not where that holds other weights by now.

    Raises:
        ModelError: the repository is unavailable.
    """
    try:
        hub = open_model(base["source"])
        files = fetch_weights(hub.repository)
    except DanceError as error:
        raise ModelError(
            f"{path}: holds only what was trained; its frozen layers are those of {_named(base)}, and "
            f"{error.message}",
            error.hint,
        ) from None
    if files.sha256 == base["sha256"]:
        _convert_hub(hub, files)


def _place(base: Mapping[str, Any]) -> Path:
    # A name from a foreign checkpoint must not lead elsewhere.
    return weights_folder() / Path(base["file"]).name


def _named(base: Mapping[str, Any]) -> str:
    return f"{base['model']} ({base['weights']}, SHA-256 {base['sha256'][:16]})"


def weights_record(start: StartWeights | None) -> dict[str, Any] | None:
    """Record in `run.json` which weights a run starts from."""
    if start is None:
        return None
    return {
        "name": start.name,
        "source": start.source,
        "sha256": start.sha256,
        "matched_keys": start.matched,
        "total_keys": start.total,
        **({"files": dict(start.files)} if start.files else {}),
    }
