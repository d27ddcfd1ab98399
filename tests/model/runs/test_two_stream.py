"""`train`: two streams as two runs, their fusion as a third; small, on clips of moving squares."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from dancecli.core.errors import ModelError, UsageError, WorkspaceError
from dancecli.core.flow_format import BOUND_PX, FPS, FlowMethod
from dancecli.core.progress import Progress, Reporter, no_message
from dancecli.core.records import Flow, Prediction
from dancecli.core.video_files import clip_path
from dancecli.model.dataloading.pipelines import train_pipeline
from dancecli.model.runs.finetune import FinetuneSettings, finetune
from dancecli.model.runs.two_stream import train
from dancecli.model.runs.two_stream_plan import TrainSettings, plan_streams
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace
from dancecli.video.optical_flow import CODING, StoredFlow, write_flow


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Layers this small take ten times as long where threads wait for each other on a busy machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def stored_flow(clip: Path, target: Path) -> StoredFlow:
    """Compute and store the flow of one of the small clips: 24 frames, 12 a second."""
    work = write_flow(clip, 24, Fraction(12), FlowMethod.DIS, target)
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


@pytest.fixture(scope="session")
def flow_rows(tmp_path_factory, clip_files):
    """The flow of every clip: its row, and its file."""
    folder, found = tmp_path_factory.mktemp("flow"), {}
    for clip in clip_files:
        file = folder / f"{clip.stem}.dis.mp4"
        stored = stored_flow(clip, file)
        of, made = (hashlib.sha256(f.read_bytes()).hexdigest() for f in (clip, file))
        size = file.stat().st_size
        path = clip_path("flow", file.name)
        row = Flow(clip.stem, "dis", path, made, size, of, stored.frames, stored.width,
                   stored.height, 1.0, FPS, BOUND_PX, stored.error_px, CODING)  # fmt: skip
        found[clip.stem] = (row, file)
    return found


@pytest.fixture
def danced(corpus, flow_rows):
    """A workspace whose clips have their flow; `lost` of them have none, one may be `stale`."""

    def make(lost: int = 0, stale: bool = False, **parts) -> Workspace:
        workspace = corpus(**parts)
        rows = []
        for row, file in list(flow_rows.values())[lost:]:
            (workspace.root / row.path).parent.mkdir(parents=True, exist_ok=True)
            (workspace.root / row.path).hardlink_to(file)
            rows.append(replace(row, of_sha256="0" * 64) if stale and not rows else row)
        tables.write(workspace.flows, Flow, rows)
        return workspace

    return make


@pytest.fixture
def tiny(tmp_path) -> TrainSettings:
    recipe = tmp_path / "tiny-streams.toml"
    recipe.write_text(
        "clip_len = 8\nframe_interval = 1\nfps = 25\nshort_side = 32\ncrop = 32\nfreeze = 'none'\n"
        "norm_eval = false\nepochs = 2\nbatch = 4\noptimizer = 'sgd'\nlr = 0.01\nlr_batch = 4\n"
        "num_clips = 2\nworkers = 1\nvalidation = 'held-out'\n"
    )
    return TrainSettings(recipe=str(recipe), name="two")


def record_of(workspace, run):
    return json.loads((workspace.run(run) / "run.json").read_text())


def scores_of(workspace, run):
    rows = tables.read(workspace.run(run) / "predictions.parquet", Prediction)
    return {(row.subset, row.clip_id): row.scores for row in rows}


def losses_of(workspace, run):
    rows = (workspace.run(run) / "metrics.jsonl").read_text().splitlines()
    return [row["loss"] for row in map(json.loads, rows) if row["kind"] == "train"]


def stop_at(words: str, on_message=no_message):
    def stop(now: Progress) -> None:
        if now.text.startswith(words):
            raise KeyboardInterrupt

    return Reporter(stop, on_message)


def test_both_streams_become_three_runs_whether_they_were_stopped_or_not(danced, tiny):
    import torch

    workspace = danced()
    said: list[str] = []
    result = train(workspace, tiny, Reporter(on_message=said.append))
    assert (result.name, result.fresh) == ("two", True)
    assert any(line.startswith("rgb starts from random weights") for line in said)
    rgb, flow, both = (record_of(workspace, f"two{end}") for end in ("-rgb", "-flow", ""))
    assert [r["status"] for r in (rgb, flow, both)] == ["done"] * 3
    assert both["model"]["members"] == ["two-rgb", "two-flow"]
    assert [r["model"]["flow"] for r in (rgb, flow)] == [None, "dis"]
    assert rgb["model"]["params_total"] - flow["model"]["params_total"] == 64 * 7**3
    assert rgb["model"]["params_trainable"] == rgb["model"]["params_total"]
    views = "8x1 frames at 25 fps, 2 clips x 1 center crop 32, short side 32"
    assert [r["views"]["test"] for r in (rgb, flow, both)] == [views] * 3
    a, b, mean = (scores_of(workspace, f"two{end}") for end in ("-rgb", "-flow", ""))
    assert len(mean) == 5
    for clip, scores in mean.items():
        assert scores == pytest.approx([(x + y) / 2 for x, y in zip(a[clip], b[clip], strict=True)])

    with pytest.raises(KeyboardInterrupt):
        train(workspace, replace(tiny, name="other"), stop_at("flow training · epoch 2"))
    assert not (workspace.run("other") / "run.json").exists()
    # Neither with other settings nor under another name, but by the same command.
    for new in (replace(tiny, name=None, seed=9), replace(tiny, name="new")):
        assert not any(plan.settings.resume for plan in plan_streams(workspace, new).values())
    assert train(workspace, replace(tiny, name=None)).name == "other"
    for end in ("-rgb", "-flow"):
        whole, stopped = (
            torch.load(workspace.run(f"{name}{end}") / "checkpoints" / "last.pth", weights_only=True)
            for name in ("two", "other")
        )
        for key, value in whole["state_dict"].items():
            assert torch.equal(value, stopped["state_dict"][key]), key
    assert scores_of(workspace, "other") == mean
    # All of it again is free.
    again = train(workspace, TrainSettings(resume=True))
    assert (again.name, again.fresh) == ("other", False)


def test_both_streams_in_two_processes_are_those_of_one(danced, tiny, dance):
    # The last batch is whole: of a shorter one, several processes repeat a clip.
    workspace = danced(val=2, test=2)
    flags = (
        "--recipe",
        tiny.recipe,
        "--set",
        "dropout=0",
        "--epochs",
        "1",
        "--workspace",
        str(workspace.root),
    )
    for name, gpus in (("one", "1"), ("two", "2")):
        done = dance(
            "train",
            *flags,
            "--stream",
            "both",
            "--name",
            name,
            "--gpus",
            gpus,
            OMP_NUM_THREADS="1",
            timeout_s=900,
        )
        assert done.code == 0, done.err
    assert done.err.count("run two-rgb:") == 1
    for end in ("-rgb", "-flow"):
        assert record_of(workspace, f"two{end}")["optim"]["processes"] == 2
    for end in ("-rgb", "-flow"):
        # Two processes add up in another order, and the second epoch continues from that: 0.0016 was seen.
        losses = [losses_of(workspace, f"{name}{end}") for name in ("one", "two")]
        assert losses[0] == pytest.approx(losses[1], abs=5e-3)
    for end in ("-rgb", "-flow", ""):
        one, two = (scores_of(workspace, f"{name}{end}") for name in ("one", "two"))
        assert one.keys() == two.keys()
        for key, scores in one.items():
            assert two[key] == pytest.approx(scores, abs=5e-3), (end, key)


def test_a_stream_that_never_began_is_begun_on_resume(danced, tiny):
    workspace = danced()
    with pytest.raises(KeyboardInterrupt):
        train(workspace, replace(tiny, epochs=7, seed=3), stop_at("rgb pre-flight"))
    assert not workspace.run("two-flow").exists()
    plans = plan_streams(workspace, TrainSettings(resume=True, name="two"))
    assert [plan.settings.resume for plan in plans.values()] == [True, False]
    assert {plan.settings.seed for plan in plans.values()} == {3}
    assert {plan.recipe.epochs for plan in plans.values()} == {7}


def test_the_flow_stream_learns_what_only_flow_shows(danced, tiny):
    workspace = danced(val=1)
    steady = (
        "epochs=7",
        "views=1",
        "dropout=0",
        "flip=false",
        "optimizer=adam",
        "lr=0.001",
        "batch=8",
        "lr_batch=8",
    )
    result = train(workspace, replace(tiny, stream="flow", name=None, changes=steady))
    assert result.name == "inception-flow-small-1"
    rows = (workspace.run(result.name) / "metrics.jsonl").read_text().splitlines()
    losses = [row["loss"] for row in map(json.loads, rows) if row["kind"] == "train"]
    assert min(losses[-3:]) < 0.5 * losses[0]


def test_missing_flow_is_said_before_any_training(danced, tiny):
    workspace = danced(lost=2)
    with pytest.raises(ModelError) as caught:
        train(workspace, tiny)
    assert caught.value.message.startswith("2 of 12 clips have no dis flow")
    assert "dance flow --method dis" in caught.value.hint
    with pytest.raises(ModelError, match="12 of 12 clips have no tvl1 flow"):
        train(workspace, replace(tiny, flow_method="tvl1"))
    assert not (workspace.root / "runs").exists()


def test_flow_of_a_clip_that_has_changed_does_not_count(danced, tiny):
    with pytest.raises(ModelError, match="1 of 12 clips have no dis flow"):
        plan_streams(danced(stale=True), tiny)


def test_stored_features_of_flow_are_not_those_of_other_flow(danced, tiny):
    workspace = danced()
    settings = replace(tiny, stream="flow", changes=("freeze=4", "epochs=1", "norm_eval=true"))
    plans = plan_streams(workspace, settings)
    flows = tables.read(workspace.flows, Flow)
    listed = [e.sha256 for examples in plans["flow"].data.examples.values() for e in examples]
    assert sorted(listed) == sorted(row.sha256 for row in flows)
    assert plans["flow"].cached
    with pytest.raises(KeyboardInterrupt):
        train(workspace, settings, stop_at("flow training"))
    names = next((workspace.root / "cache" / "features").glob("*/rows.txt")).read_text()
    assert any(row.sha256 in names for row in flows)


def save(path: Path, state: object) -> str:
    import torch

    torch.save(state, path)
    return str(path)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A 2-D file, and 3-D ones of an RGB and a flow network, by the names that people have."""
    import torch

    from dancecli.model.networks.inception import InceptionI3D

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def names(channels: int):
        state = InceptionI3D(channels).state_dict()
        return {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}

    def renamed(channels: int):
        units = ("b0", "b1a", "b1b", "b2a", "b2b", "b3b")
        ours = ("branch_0", "branch_1.0", "branch_1.1", "branch_2.0", "branch_2.1", "branch_3.1")
        stem = {"conv_1a": "Conv3d_1a_7x7", "conv_2b": "Conv3d_2b_1x1", "conv_2c": "Conv3d_2c_3x3"}
        found = {"logits.conv3d.weight": torch.zeros(400, 1024, 1, 1, 1)}
        for key, value in names(channels).items():
            layer, rest = key.split(".", 1)[1].split(".", 1)
            if layer in stem:
                name = f"{stem[layer]}.{rest}"
            else:
                branch = next(b for b in ours if rest.startswith(f"{b}."))
                name = f"{layer.capitalize()}.{units[ours.index(branch)]}.{rest.removeprefix(branch + '.')}"
            found[name.replace(".conv.", ".conv3d.")] = value
        return found

    flat = {k: v.sum(2) if v.ndim == 5 else v for k, v in names(3).items()}
    return {
        "flat": save(tmp_path / "flat.pth", flat),
        "rgb": save(tmp_path / "rgb_imagenet.pt", renamed(3)),
        "flow": save(tmp_path / "flow_imagenet.pt", renamed(2)),
    }


def test_each_file_starts_the_stream_that_it_is_for(danced, tiny, files):
    workspace = danced()

    def weights(**changes):
        plans = plan_streams(workspace, replace(tiny, **changes))
        return {stream: plan.settings.weights for stream, plan in plans.items()}

    rgb, flow, flat = files["rgb"], files["flow"], files["flat"]
    assert weights() == {"rgb": "none", "flow": "none"}
    assert weights(init="kinetics", weights=(flow, rgb)) == {"rgb": rgb, "flow": flow}
    assert weights(init="kinetics", weights=(flow,)) == {"rgb": None, "flow": flow}
    assert weights(init="kinetics", weights=(rgb,)) == {"rgb": rgb, "flow": rgb}
    assert weights(init="imagenet", weights=(flat,)) == {"rgb": flat, "flow": flat}
    fetched = weights(init="imagenet")
    assert fetched["rgb"] == fetched["flow"]
    assert str(fetched["rgb"]).endswith("googlenet-1378be20.pth")
    for changes, error, words in [
        ({"weights": (rgb,)}, UsageError, "does not apply to training from scratch"),
        (
            {"init": "imagenet", "weights": (rgb,)},
            ModelError,
            "holds a 3-D network, --init imagenet needs a 2-D one",
        ),
        (
            {"init": "kinetics", "weights": (flat,)},
            ModelError,
            "holds a 2-D network, --init kinetics needs a 3-D one",
        ),
        (
            {"init": "kinetics", "weights": (flow,), "stream": "rgb"},
            UsageError,
            "has 2 input channels, which fits no stream",
        ),
        ({"init": "kinetics", "weights": (rgb, rgb + "2")}, ModelError, "no such weights file"),
        ({"stream": "sound"}, UsageError, "stream 'sound' is not one of rgb, flow, both"),
        ({"init": "moments"}, UsageError, "init 'moments' is not one of"),
        ({"flow_method": "raft"}, UsageError, "flow method 'raft' is not one of"),
    ]:
        with pytest.raises(error, match=words):
            weights(**changes)


def test_a_flow_network_says_what_flow_its_weights_knew(danced, tiny, files):
    workspace = danced()
    said: list[str] = []
    settings = replace(tiny, init="kinetics", weights=(files["flow"],), stream="flow", epochs=1)
    with pytest.raises(KeyboardInterrupt):
        train(workspace, settings, stop_at("flow pre-flight", said.append))
    record = record_of(workspace, "two")
    assert any("trained on tvl1 flow, and this is dis flow" in line for line in said)
    assert record["weights"]["name"] == "flow_imagenet (named as pytorch-i3d)"
    assert record["weights"]["matched_keys"] == record["weights"]["total_keys"] == 228


def test_imagenet_weights_that_cannot_be_fetched_are_one_sentence(danced, tiny, files, monkeypatch):
    monkeypatch.setattr(
        "dancecli.model.runs.two_stream.IMAGENET_URL", "http://127.0.0.1:9/googlenet-1378be20.pth"
    )
    workspace = danced()
    with pytest.raises(ModelError) as caught:
        train(workspace, replace(tiny, init="imagenet"))
    assert "could not be downloaded" in caught.value.message
    assert "--weights FILE" in caught.value.hint
    assert "--init none trains from scratch" in caught.value.hint
    assert not (workspace.root / "runs").exists()


def test_weights_that_do_not_fit_are_refused_for_both_streams_before_the_first_hour(
    danced, tiny, files, tmp_path
):
    import torch

    workspace = danced()
    state = torch.load(files["flow"], weights_only=True)
    bad = save(tmp_path / "bad.pt", {k: v for k, v in state.items() if not k.startswith("Mixed_5c.b1b")})
    with pytest.raises(ModelError, match=r"Mixed_5c\.b1b\.conv3d\.weight is missing"):
        train(workspace, replace(tiny, init="kinetics", weights=(files["rgb"], bad)))
    other = save(tmp_path / "other.pt", {"conv1.weight": torch.zeros(3)})
    with pytest.raises(ModelError, match="does not hold an Inception-v1 network"):
        train(workspace, replace(tiny, init="kinetics", weights=(other,)))
    assert not (workspace.root / "runs").exists()


def test_names_that_are_taken_and_runs_of_others_are_refused(danced, tiny):
    workspace = danced()
    record = workspace.run("two") / "run.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"schema": 1, "status": "done"}))
    with pytest.raises(WorkspaceError, match="run 'two' exists already"):
        train(workspace, tiny)
    record.unlink()
    workspace.run("two-stream-small-1-flow").mkdir()
    plans = plan_streams(workspace, replace(tiny, name=None))
    assert [plan.name for plan in plans.values()] == ["two-stream-small-2-rgb", "two-stream-small-2-flow"]
    with pytest.raises(WorkspaceError, match="there is no run to resume"):
        train(workspace, TrainSettings(resume=True))
    record.write_text(json.dumps({"schema": 1, "status": "done"}))
    with pytest.raises(WorkspaceError, match="run 'two' is not a run of dance train"):
        train(workspace, TrainSettings(resume=True))
    with pytest.raises(WorkspaceError, match="run 'two' is an evaluation without training"):
        finetune(workspace, FinetuneSettings(resume=True))
    begun = {"schema": 1, "status": "interrupted", "settings": {"pretrain": "inception", "weights": "none"}}
    record.write_text(json.dumps(begun))
    with pytest.raises(UsageError, match="run 'two' cannot resume with another --init"):
        plan_streams(workspace, TrainSettings(init="imagenet", resume=True))


def test_no_step_of_the_flow_stream_looks_at_frames(danced, tiny):
    plan = plan_streams(danced(), replace(tiny, stream="flow", flow_method="dis"))["flow"]
    steps = train_pipeline(plan.base, plan.recipe)
    assert [step["type"] for step in steps] == [
        *("FlowInit", "SampleFrames", "FlowDecode", "Resize", "RandomCrop", "FlowFlip"),
        *("FormatShape", "PackActionInputs"),
    ]
    assert (steps[0]["method"], steps[1]["target_fps"]) == ("dis", 25)
    with pytest.raises(ModelError, match="optical flow does not support augmentation"):
        train_pipeline(plan.base, replace(plan.recipe, augment="jitter"))
    assert not any("trained on" in note for note in plan.notes)
