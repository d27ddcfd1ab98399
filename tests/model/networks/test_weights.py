from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dancecli.core.errors import ModelError
from dancecli.model.networks.weights import resolve_weights, weights_from_file
from dancecli.model.networks.zoo import find_entry

MODEL = {
    "backbone.conv1.weight": torch.zeros(4, 3),
    "backbone.bn1.running_mean": torch.zeros(4),
    "backbone.bn1.num_batches_tracked": torch.zeros(()),
    **{f"backbone.layer{i}.weight": torch.zeros(2, i + 1) for i in range(18)},
    "cls_head.fc_cls.weight": torch.zeros(3, 4),
}


def checkpoint(**changes: torch.Tensor | None) -> dict[str, torch.Tensor]:
    state = {key: torch.ones_like(value) for key, value in MODEL.items()}
    state["cls_head.fc_cls.weight"] = torch.ones(400, 4)
    for key, value in changes.items():
        state.pop(key)
        if value is not None:
            state[key] = value
    return state


def save(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_checkpoint_of_mmaction2_is_taken_as_it_is(tmp_path):
    path = save(tmp_path / "a.pth", {"meta": {"epoch": 1}, "state_dict": checkpoint()})
    found = weights_from_file(path, "x", MODEL)
    assert (found.matched, found.total) == (20, 20)
    assert found.load_from == str(path)
    assert len(found.sha256) == 64


@pytest.mark.parametrize("wrapping", ["plain", "module", "backbone alone"])
def test_a_state_dict_is_understood_however_it_is_wrapped(tmp_path, wrapping):
    state = checkpoint()
    if wrapping == "module":
        state = {f"module.{key}": value for key, value in state.items()}
    if wrapping == "backbone alone":
        state = {k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")}
    found = weights_from_file(save(tmp_path / "a.pth", state), "x", MODEL)
    assert (found.matched, found.total) == (20, 20)
    loaded = torch.load(found.load_from, weights_only=True)
    loaded = loaded.get("state_dict", loaded)
    assert {key.removeprefix("module.") for key in loaded} >= {k for k in MODEL if k.startswith("backbone.c")}


def test_a_head_of_the_same_size_is_left_behind(tmp_path):
    # Three other classes, or the same in another order: nobody could tell.
    state = {**checkpoint(), "cls_head.fc_cls.weight": torch.ones(3, 4)}
    found = weights_from_file(save(tmp_path / "a.pth", {"state_dict": state}), "x", MODEL)
    loaded = torch.load(found.load_from, weights_only=True)["state_dict"]
    assert not any(key.startswith("cls_head") for key in loaded)
    assert found.matched == 20


@pytest.mark.parametrize(("lost", "accepted"), [(2, True), (3, False)])
def test_weights_that_fit_less_than_nine_tenths_of_the_backbone_are_refused(tmp_path, lost, accepted):
    gone = {f"backbone.layer{i}.weight": torch.ones(7, 7) if i else None for i in range(lost)}
    path = save(tmp_path / "a.pth", {"state_dict": checkpoint(**gone)})
    if accepted:
        assert weights_from_file(path, "x", MODEL).matched == 18
    else:
        with pytest.raises(ModelError, match="contains only 17 of 20 weights of the x backbone"):
            weights_from_file(path, "x", MODEL)


class Hostile:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("kind", ["torch", "pickle", "history buffer"])
def test_a_hostile_pickle_runs_nothing(tmp_path, kind):
    mark, path = tmp_path / "ran", tmp_path / "bad.pth"
    content = {"state_dict": checkpoint(), "extra": Hostile(mark)}
    if kind == "pickle":
        path.write_bytes(pickle.dumps(content))
    elif kind == "torch":
        save(path, content)
    else:

        class Getter:
            def __reduce__(self):
                return getattr, (torch.Tensor, "register_hook")

        save(path, {**content, "extra": Getter()})
    with pytest.raises(ModelError) as caught:
        weights_from_file(path, "x", MODEL)
    assert "was not loaded" in caught.value.message
    assert "\n" not in caught.value.message
    assert not mark.exists()


@pytest.mark.parametrize("content", [b"", b"hello there", b"PK\x03\x04broken"])
def test_what_is_no_weights_file_is_named(tmp_path, content):
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        weights_from_file(path, "x", MODEL)
    assert caught.value.message.startswith(f"{path}: ")
    with pytest.raises(ModelError, match="no such weights file"):
        weights_from_file(tmp_path / "none.pth", "x", MODEL)


def test_none_is_no_weights_and_a_config_of_ones_own_needs_some():
    assert resolve_weights(find_entry("resnet50"), "none", MODEL) is None
    mine = replace(find_entry("resnet50"), name="mine", checkpoint="")
    with pytest.raises(ModelError, match="no weights are known") as caught:
        resolve_weights(mine, None, MODEL)
    assert "--weights" in caught.value.hint


def test_another_file_under_the_name_of_the_zoo_s_is_refused(tmp_path):
    entry = find_entry("resnet50")
    path = save(tmp_path / entry.checkpoint, {"state_dict": checkpoint()})
    with pytest.raises(ModelError, match=r"SHA-256 is [0-9a-f]{8}…, not e213c223…"):
        resolve_weights(entry, str(path), MODEL)
    found = resolve_weights(entry, str(path.rename(tmp_path / "mine.pth")), MODEL)
    assert found is not None
    assert found.name == "mine"
