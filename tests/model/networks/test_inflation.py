"""Inflation, and the names that other programs gave to the same network.

The networks that the weights come from are written here once more, from their names alone and in
2-D or 3-D, so that what is compared is two computations and not two ways to sort keys.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from dancecli.core.errors import ModelError
from dancecli.model.networks.inception import InceptionI3D, InceptionLogits
from dancecli.model.networks.inflation import as_inception
from dancecli.model.networks.weights import StartWeights, resolve_weights, weights_from_file
from dancecli.model.networks.zoo import find_entry

MIXED = ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c")
State = dict[str, Tensor]

# Of each program: the stem, a mixed layer's units by its number, and what a unit holds.
BRANCHES = ("branch_0", "branch_1.0", "branch_1.1", "branch_2.0", "branch_2.1", "branch_3.1")
NORM = ("weight", "bias", "running_mean", "running_var")


def torchvision(n: str) -> list[str]:
    block = "inception" + {"b": f"{n[0]}a", "c": f"{n[0]}b", "d": "4c", "e": "4d", "f": "4e"}[n[1]]
    return [
        f"{block}.{b}" for b in ("branch1", "branch2.0", "branch2.1", "branch3.0", "branch3.1", "branch4.1")
    ]


def pytorch_i3d(n: str) -> list[str]:
    return [f"Mixed_{n}.{b}" for b in ("b0", "b1a", "b1b", "b2a", "b2b", "b3b")]


PROGRAMS: dict[str, tuple[list[str], Callable[[str], list[str]], str, str]] = {
    "torchvision": (["conv1", "conv2", "conv3"], torchvision, "conv", "bn"),
    "pytorch-i3d": (["Conv3d_1a_7x7", "Conv3d_2b_1x1", "Conv3d_2c_3x3"], pytorch_i3d, "conv3d", "bn"),
    "kinetics_i3d_pytorch": (
        ["conv3d_1a_7x7", "conv3d_2b_1x1", "conv3d_2c_3x3"],
        lambda n: [f"mixed_{n}.{b}" for b in BRANCHES],
        "conv3d",
        "batch3d",
    ),
}


def ours(place: int, number: str) -> str:
    stage = {"3": 1, "5": 4}.get(number[0], 2 if number in ("4b", "4c", "4d") else 3)
    return f"stage{stage}.mixed_{number}.{BRANCHES[place]}"


def unit_pairs(program: str) -> dict[str, str]:
    """Our name of every convolution and the program's."""
    stem, mixed, _, _ = PROGRAMS[program]
    pairs = dict(zip(("stem.conv_1a", "stem.conv_2b", "stem.conv_2c"), stem, strict=True))
    return pairs | {ours(i, n): name for n in MIXED for i, name in enumerate(mixed(n))}


def random_state(program: str, dims: int, channels: int = 3, seed: int = 3) -> State:
    """A state dict of the program whose every layer gives numbers of a natural size."""
    draw = torch.Generator().manual_seed(seed)
    conv, norm = PROGRAMS[program][2:]
    shapes = {k: v.shape for k, v in InceptionI3D(channels).state_dict().items()}
    state: State = {}
    for our, name in unit_pairs(program).items():
        out, into, depth = shapes[f"{our}.conv.weight"][:3]
        kernel = (out, into, *[depth] * dims)
        state[f"{name}.{conv}.weight"] = (
            torch.randn(kernel, generator=draw) * (2 / (into * depth**dims)) ** 0.5
        )
        state[f"{name}.{norm}.weight"] = torch.rand(out, generator=draw) * 0.6 + 0.4
        state[f"{name}.{norm}.bias"] = torch.randn(out, generator=draw) * 0.3
        state[f"{name}.{norm}.running_mean"] = torch.randn(out, generator=draw) * 0.3
        state[f"{name}.{norm}.running_var"] = torch.rand(out, generator=draw) + 0.5
        state[f"{name}.{norm}.num_batches_tracked"] = torch.tensor(7)
    return state


def padded(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...], fill: float) -> Tensor:
    """TensorFlow's SAME, by its documentation."""
    pads: list[int] = []
    for size, k, s in zip(x.shape[2:], kernel, stride, strict=True):
        total = max(k - s, 0) if size % s == 0 else max(k - size % s, 0)
        pads = [total // 2, total - total // 2, *pads]
    return F.pad(x, pads, value=fill)


def run(program: str, state: State, x: Tensor) -> dict[str, Tensor]:
    """What each layer of the program's network gives, by our names of the layers."""
    stem, mixed, conv, norm = PROGRAMS[program]
    dims = x.ndim - 2
    convolve, pooling = (F.conv2d, F.max_pool2d) if dims == 2 else (F.conv3d, F.max_pool3d)
    seen: dict[str, Tensor] = {}

    def unit(our: str, name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight = state[f"{name}.{conv}.weight"]
        x = padded(x, tuple(weight.shape[2:]), (stride,) * dims, 0.0)
        x = convolve(x, weight, stride=stride)
        gamma, beta, mean, var = (state[f"{name}.{norm}.{leaf}"] for leaf in NORM)
        seen[our] = F.relu(F.batch_norm(x, mean, var, gamma, beta, eps=1e-3))
        return seen[our]

    def pool(our: str, x: Tensor, time: tuple[int, int], workspace: tuple[int, int]) -> Tensor:
        kernel, stride = zip(*([time] if dims == 3 else []), workspace, workspace, strict=True)
        x = padded(x, kernel, stride, -torch.inf)
        seen[our] = pooling(x, kernel, stride)
        return seen[our]

    x = unit("stem.conv_1a", stem[0], x, 2)
    x = pool("stem.pool_2a", x, (1, 1), (3, 2))
    x = unit("stem.conv_2b", stem[1], x)
    x = unit("stem.conv_2c", stem[2], x)
    x = pool("stem.pool_3a", x, (1, 1), (3, 2))
    for n in MIXED:
        if n == "4b":
            x = pool("stage1.pool_4a", x, (3, 2), (3, 2))
        if n == "5b":
            x = pool("stage3.pool_5a", x, (2, 2), (2, 2))
        names = mixed(n)
        b1, b2 = (unit(ours(i, n), names[i], x) for i in (1, 3))
        b3 = pool(ours(5, n).replace("3.1", "3.0"), x, (3, 1), (3, 1))
        last = [(0, x), (2, b1), (4, b2), (5, b3)]
        x = torch.cat([unit(ours(i, n), names[i], y) for i, y in last], dim=1)
        seen[ours(0, n).removesuffix(".branch_0")] = x
    return seen


def loaded(state: State, channels: int = 3) -> InceptionI3D:
    """Our network with a program's weights, none of its own left."""
    found = as_inception(state, channels, "test")
    assert found is not None
    net = InceptionI3D(channels).eval()
    missing, unexpected = net.load_state_dict(found.state, strict=False)
    assert all(key.endswith("num_batches_tracked") for key in missing)
    assert not unexpected
    return net


def watched(net: InceptionI3D, x: Tensor) -> dict[str, Tensor]:
    """What each named layer of ours gives."""
    seen: dict[str, Tensor] = {}
    for name, module in net.named_modules():
        if name.count(".") >= 1 and not name.endswith((".conv", ".bn")):
            module.register_forward_hook(lambda _, __, y, name=name: seen.__setitem__(name, y.clone()))
    with torch.inference_mode():
        net(x)
    return seen


@pytest.mark.parametrize("channels", [3, 2])
def test_a_video_of_one_frame_gives_in_every_layer_what_the_frame_gives(channels: int) -> None:
    state = random_state("torchvision", 2)
    frame = torch.rand(1, 3, 67, 64, generator=torch.Generator().manual_seed(5)) * 2 - 1
    flat = dict(state)
    if channels == 2:
        frame = frame[:, :2]
        # The temporal stream of TSN: the mean over the colors, for each of the new channels.
        flat["conv1.conv.weight"] = torch.stack([state["conv1.conv.weight"].mean(1)] * 2, 1)
    with torch.inference_mode():
        expected = run("torchvision", flat, frame)
    # Only in 128 frames does the last layer have a time that the borders do not reach.
    found = watched(loaded(state, channels), frame.unsqueeze(2).expand(-1, -1, 128, -1, -1))
    assert expected.keys() <= found.keys()
    assert len(expected) == 57 + 9 + 4 + 9
    for name, there in expected.items():
        here = found[name]
        middle = here.shape[2] // 2
        assert there.abs().max() > 0.3, name
        for time in (middle - 1, middle):
            assert (here[:, :, time] - there).abs().max() < 1e-4, name


@pytest.mark.parametrize(("program", "channels"), [("pytorch-i3d", 2), ("kinetics_i3d_pytorch", 3)])
def test_the_names_of_other_programs_give_their_logits(program: str, channels: int) -> None:
    state = random_state(program, 3, channels)
    draw = torch.Generator().manual_seed(1)
    x = torch.rand(1, channels, 17, 40, 49, generator=draw) * 2 - 1
    kernel, bias = torch.randn(400, 1024, 1, 1, 1, generator=draw) / 32, torch.randn(400, generator=draw)
    head = InceptionLogits()
    head.load_state_dict({"conv.weight": kernel, "conv.bias": bias})
    with torch.inference_mode():
        features = run(program, state, x)["stage4.mixed_5c"]
        logits = F.conv3d(F.avg_pool3d(features, (2, 2, 2), 1), kernel, bias).mean(dim=(2, 3, 4))
        # What else such files hold is no matter.
        found = head(
            loaded(state | {"logits.conv3d.weight": kernel, "logits.conv3d.bias": bias}, channels)(x)
        )
    assert (found - logits).abs().max() < 1e-4 * logits.abs().max()


def in_tensorflow(state: State, dims: int, prefix: str) -> State:
    """A PyTorch state dict as TensorFlow's variables: other names, channels last, no scale."""
    conv = f"Conv{dims}d"
    branches = (f"Branch_0/{conv}_0a_1x1", f"Branch_1/{conv}_0a_1x1", f"Branch_1/{conv}_0b_3x3",
                f"Branch_2/{conv}_0a_1x1", f"Branch_2/{conv}_0b_3x3", f"Branch_3/{conv}_0b_1x1")  # fmt: skip
    names = dict(zip(("conv_1a", "conv_2b", "conv_2c"), ("1a_7x7", "2b_1x1", "2c_3x3"), strict=True))
    found: State = {}
    for key, value in state.items():
        unit, _, leaf = key.partition(".conv.") if ".conv." in key else key.partition(".bn.")
        _, layer, *rest = unit.split(".", 2)
        place = f"{conv}_{names[layer]}" if layer in names else ""
        if not place:
            branch = branches[BRANCHES.index(rest[0])]
            if layer == "mixed_5b":
                branch = branch.replace(f"Branch_2/{conv}_0b", f"Branch_2/{conv}_0a")
            place = f"{layer.capitalize()}/{branch}"
        slim = dims == 2
        if leaf == "weight":
            order = (*range(2, value.ndim), 1, 0)
            found[f"{prefix}{place}/" + ("weights" if slim else "conv_3d/w")] = value.permute(order)
        elif leaf != "num_batches_tracked":
            what = {"bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}[leaf]
            shape = (-1,) if slim else (1, 1, 1, 1, -1)
            found[f"{prefix}{place}/" + ("BatchNorm/" if slim else "batch_norm/") + what] = value.reshape(
                shape
            )
    return found


@pytest.mark.parametrize(("prefix", "channels"), [("RGB/inception_i3d/", 3), ("Flow/inception_i3d/", 2)])
def test_the_variables_of_the_original_come_back_as_they_went(prefix: str, channels: int) -> None:
    state = {k: v for k, v in InceptionI3D(channels).state_dict().items() if not k.endswith("tracked")}
    found = as_inception(in_tensorflow(state, 3, prefix), channels, "test")
    assert found is not None
    assert found.state.keys() == state.keys()
    assert all(torch.equal(found.state[key], value) for key, value in state.items())
    assert found.flow_method == ("tvl1" if channels == 2 else "")


def test_slim_and_torchvision_are_the_same_network() -> None:
    state = random_state("torchvision", 2)
    state |= {key: torch.ones_like(v) for key, v in state.items() if key.endswith("bn.weight")}
    back = {theirs: our for our, theirs in unit_pairs("torchvision").items()}
    by_unit = {
        f"{back[key.rpartition('.')[0].rpartition('.')[0]]}.{'.'.join(key.split('.')[-2:])}": value
        for key, value in state.items()
        if not key.endswith(("tracked", "bn.weight"))
    }
    slim = as_inception(in_tensorflow(by_unit, 2, "InceptionV1/"), 3, "test")
    vision = as_inception(state, 3, "test")
    assert slim is not None and vision is not None
    assert all(torch.equal(value, vision.state[key]) for key, value in slim.state.items())


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def start_from(state: object, path: Path, channels: int = 3) -> StartWeights:
    torch.save(state, path)
    model = {f"backbone.{key}": value for key, value in InceptionI3D(channels).state_dict().items()}
    return weights_from_file(path, "inception", model)


@pytest.mark.usefixtures("own_cache")
def test_one_file_starts_both_streams_and_says_how(tmp_path: Path) -> None:
    state = random_state("torchvision", 2) | {"fc.weight": torch.ones(1000, 1024)}
    found = [start_from(state, tmp_path / "googlenet.pth", channels) for channels in (3, 2)]
    assert found[0].name == "googlenet (named as torchvision's googlenet, inflated from 2-D)"
    assert found[1].name.endswith("inflated from 2-D, the first layer averaged over the colors)")
    assert [(w.matched, w.total, w.flow_method) for w in found] == [(228, 228, "")] * 2
    first = [torch.load(w.load_from, weights_only=True)["state_dict"] for w in found]
    assert [s["backbone.stem.conv_1a.conv.weight"].shape[1] for s in first] == [3, 2]
    assert not any(key.startswith("fc") for key in first[0])


@pytest.mark.usefixtures("own_cache")
def test_weights_of_a_flow_network_know_their_flow(tmp_path: Path) -> None:
    state = random_state("pytorch-i3d", 3, channels=2)
    assert start_from(state, tmp_path / "flow_imagenet.pt", 2).flow_method == "tvl1"
    with pytest.raises(ModelError, match="are weights for 2 channels, the network has 3"):
        start_from(state, tmp_path / "flow_imagenet.pt", 3)


@pytest.mark.usefixtures("own_cache")
def test_what_is_not_this_network_is_refused_in_a_sentence(tmp_path: Path) -> None:
    whole = random_state("torchvision", 2)
    cut = {key: value for key, value in whole.items() if not key.startswith("inception5b.branch2.1")}
    with pytest.raises(ModelError, match=r"inception5b\.branch2\.1\.conv\.weight is missing among"):
        start_from(cut, tmp_path / "a.pth")
    # The Inception-v1 of the first paper has a real 5x5 there.
    real = {**whole, "inception3a.branch3.1.conv.weight": torch.zeros(32, 16, 5, 5)}
    with pytest.raises(ModelError, match="32x16x5x5x5, the network has 32x16x3x3x3"):
        start_from(real, tmp_path / "a.pth")
    broken = {**whole, "conv2.bn.weight": torch.ones(3)}
    with pytest.raises(ModelError, match=r"conv2\.conv\.weight and its batch norm do not fit together"):
        start_from(broken, tmp_path / "a.pth")
    with pytest.raises(ModelError, match="only 0 of 228 weights"):
        start_from({"conv1.conv.weight": torch.zeros(3)}, tmp_path / "a.pth")


class Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


def test_a_hostile_file_runs_nothing(tmp_path: Path) -> None:
    path, mark = tmp_path / "rgb_imagenet.pt", tmp_path / "ran"
    path.write_bytes(pickle.dumps({"Conv3d_1a_7x7.conv3d.weight": Bomb(mark)}))
    with pytest.raises(ModelError):
        weights_from_file(path, "inception", {})
    assert not mark.exists()


@pytest.mark.usefixtures("own_cache")
def test_weights_that_need_nothing_are_loaded_as_they_are(tmp_path: Path) -> None:
    state = {f"backbone.{key}": value for key, value in InceptionI3D().state_dict().items()}
    found = start_from({"state_dict": state}, tmp_path / "last.pth")
    assert (found.name, found.load_from) == ("last", str(tmp_path / "last.pth"))
    assert resolve_weights(find_entry("inception"), "none", state) is None
