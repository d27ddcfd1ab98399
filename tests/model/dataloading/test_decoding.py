"""Torchcodec decodes where it gives our own frames: with a stand-in, and with itself where it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from dancecli.core.errors import MissingDependencyError, ModelError, UsageError
from dancecli.core.progress import Reporter
from dancecli.model.dataloading.clip_decoder import ClipDecode, ClipInit, own_frames
from dancecli.model.dataloading.decoding import choice, torchcodec_reader
from dancecli.model.dataloading.decoding.choice import Decoder, choose_decoder, look_at_files, with_decoder
from dancecli.model.dataloading.decoding.torchcodec_reader import TorchcodecReader
from dancecli.video.ffmpeg import run_ffmpeg, trim_args
from dancecli.video.source import probe

# The layouts in which readers differ.
LAYOUTS = ("clip", "b-frames", "late", "variable", "turned", "webm", "cut", "full-range", "ten-bit")


class StandIn:
    """Torchcodec's VideoDecoder by PyAV: on any device, and as wrong as `off`, `lost` and `fails` say."""

    off, lost, fails, fallback, opened = 0, 0, "", False, 0

    def __init__(
        self, path: str, *, dimension_order: str, num_ffmpeg_threads: int, device: str, seek_mode: str
    ):
        assert (dimension_order, num_ffmpeg_threads, seek_mode) == ("NHWC", 1, "exact")
        if "open" in self.fails:
            raise RuntimeError("no such decoder\nmore")
        StandIn.opened += 1
        self.device, self.cpu_fallback = device, self.fallback
        total, fps, frames = own_frames(Path(path), None)
        self._frames = np.stack(frames)[: total - self.lost]
        self.metadata = SimpleNamespace(average_fps_from_header=fps)

    def __len__(self) -> int:
        return len(self._frames)

    def get_frames_at(self, numbers: list[int]) -> SimpleNamespace:
        if "read" in self.fails:
            raise RuntimeError("the memory is full")
        shown = np.clip(self._frames[numbers].astype(int) + self.off, 0, 255).astype(np.uint8)
        times = torch.tensor(numbers, dtype=torch.float64) / self.metadata.average_fps_from_header
        return SimpleNamespace(data=torch.from_numpy(shown), pts_seconds=times)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> type[StandIn]:
    """Put a module in the place of torchcodec."""
    module, decoders = ModuleType("torchcodec"), ModuleType("torchcodec.decoders")
    module.__version__, decoders.VideoDecoder = "9.9", StandIn
    monkeypatch.setitem(sys.modules, "torchcodec", module)
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", decoders)
    monkeypatch.setattr(torchcodec_reader, "_FAILED", [])
    monkeypatch.setattr(choice, "_LOOKED_AT", {})
    # Our own reader inside the stand-in must not come back to it.
    for name, value in (("off", 0), ("lost", 0), ("fails", ""), ("fallback", False), ("opened", 0)):
        monkeypatch.setattr(StandIn, name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    choose_decoder.cache_clear()
    yield StandIn
    choose_decoder.cache_clear()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One film in the layouts in which readers differ."""
    folder = tmp_path_factory.mktemp("layouts")
    film = folder / "film.mp4"
    picture = ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25,noise=alls=9:allf=t", "-t", "2.4"]
    run_ffmpeg([*picture, "-c:v", "libx264", "-bf", "2", "-g", "25", "-pix_fmt", "yuv420p", str(film)])
    clip = folder / "clip.mp4"
    run_ffmpeg(trim_args(film, probe(film), 200, 2200, clip))
    copied, coded = ["-i", str(film), "-c", "copy"], ["-i", str(film), "-c:v", "libx264"]
    made = {
        "late": ["-itsoffset", "0.3", *copied, "late.mp4"],
        "variable": [
            *coded,
            "-vf",
            "select='not(mod(n,3))+lt(n,20)'",
            "-fps_mode",
            "vfr",
            "-bf",
            "2",
            "v.mp4",
        ],
        "turned": ["-display_rotation", "90", *copied, "turned.mp4"],
        "webm": ["-i", str(film), "-c:v", "libvpx", "-b:v", "1M", "film.webm"],
        # It begins before its edit list lets it be shown.
        "cut": ["-ss", "1.5", *copied, "cut.mp4"],
        "full-range": [*coded, "-pix_fmt", "yuvj420p", "full.mp4"],
        "ten-bit": [*coded, "-pix_fmt", "yuv420p10le", "ten.mp4"],
    }
    for *args, name in made.values():
        run_ffmpeg([*args, str(folder / name)])
    return {"clip": clip, "b-frames": film} | {key: folder / args[-1] for key, args in made.items()}


def views(path: Path, decoder: Decoder, numbers: np.ndarray) -> list[np.ndarray]:
    """Read frames by the steps of a pipeline."""
    steps = [{"type": "ClipInit"}, {"type": "ClipDecode"}]
    loader = {"dataset": {"pipeline": steps}, "num_workers": 0}
    config = {f"{name}_dataloader": loader for name in ("train", "val", "test")}
    one, other = with_decoder(config, decoder)["train_dataloader"]["dataset"]["pipeline"]
    init = ClipInit(**{k: v for k, v in one.items() if k != "type"})
    decode = ClipDecode(**{k: v for k, v in other.items() if k != "type"})
    opened = init({"filename": str(path)})
    numbers = numbers % opened["total_frames"]
    return decode(opened | {"frame_inds": numbers})["imgs"]


def test_without_a_gpu_auto_does_not_look_for_torchcodec(stand_in):
    assert choose_decoder("auto", gpu=False) == choose_decoder("ffmpeg", gpu=True) == choice.OWN
    assert stand_in.opened == 0
    with pytest.raises(UsageError, match="--decoder 'nvdec' is none of auto, ffmpeg, torchcodec"):
        choose_decoder("nvdec", gpu=True)


def test_on_a_gpu_auto_takes_torchcodec_where_its_frames_are_ours(stand_in):
    found = choose_decoder("auto", gpu=True)
    assert found.words == "clips are decoded by torchcodec 9.9 on cuda"
    assert found.record == {"name": "torchcodec", "version": "9.9", "device": "cuda", "left_to_ffmpeg": 0}
    assert choose_decoder("torchcodec", gpu=False).device == "cpu"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"off": 3}, "gives other frames (by up to 3 of 255)"),
        ({"lost": 1}, "gives other frames (49 at 25 fps, not 50 at 25)"),
        ({"fails": "open"}, "does not decode a clip made for it (no such decoder)"),
        ({"fails": "read"}, "does not decode a clip made for it (the memory is full)"),
        ({"fallback": True}, "does not decode on this GPU"),
    ],
)
def test_auto_leaves_a_torchcodec_aside_that_does_not_do(stand_in, monkeypatch, wrong, why):
    for name, value in wrong.items():
        monkeypatch.setattr(stand_in, name, value)
    found = choose_decoder("auto", gpu=True)
    assert found.record == {"name": "ffmpeg", "why": f"torchcodec 9.9 {why}"}
    assert found.words == f"clips are decoded by ffmpeg: torchcodec 9.9 {why}"
    if "fallback" not in wrong:
        with pytest.raises(ModelError) as caught:
            choose_decoder("torchcodec", gpu=True)
        assert caught.value.message == f"--decoder torchcodec: torchcodec 9.9 {why}"


def test_rounding_of_colors_is_no_difference(stand_in, monkeypatch):
    monkeypatch.setattr(stand_in, "off", 2)
    assert choose_decoder("auto", gpu=True).name == "torchcodec"


def test_torchcodec_that_cannot_be_loaded_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    choose_decoder.cache_clear()
    assert "torchcodec cannot be loaded" in choose_decoder("auto", gpu=True).words
    with pytest.raises(MissingDependencyError, match=r"^--decoder torchcodec: torchcodec cannot be loaded"):
        choose_decoder("torchcodec", gpu=False)
    choose_decoder.cache_clear()


def test_files_of_which_it_differs_stay_with_our_own_reader_and_are_counted(stand_in, files, monkeypatch):
    own = StandIn.__init__

    def wrong_in_two(self, path, **settings):
        own(self, path, **settings)
        self.off = 5 if "turned" in path else 0
        if path.endswith("cut.mp4"):
            self._frames = self._frames[:-1]

    monkeypatch.setattr(StandIn, "__init__", wrong_in_two)
    seen = []
    found = look_at_files(
        Decoder("torchcodec", "cuda", "9.9"),
        list(files.values()),
        Reporter(lambda now: seen.append(now.done)),
    )
    assert found.left == ("cut.mp4", "turned.mp4")
    assert found.words.endswith("on cuda; 2 of 9 files differ there, and are read by ffmpeg")
    assert found.record["left_to_ffmpeg"] == 2
    assert seen == list(range(9))
    numbers = np.array([7, 3, 40])
    for name, path in files.items():
        before = stand_in.opened
        ours = views(path, choice.OWN, numbers)
        assert all((a == b).all() for a, b in zip(views(path, found, numbers), ours, strict=True))
        assert stand_in.opened - before == (0 if name in ("turned", "cut") else 1)
    # They are not looked at again, as for the next fold.
    before = stand_in.opened
    assert look_at_files(Decoder("torchcodec", "cuda", "9.9"), list(files.values())) == found
    assert stand_in.opened == before


def test_of_our_own_clips_all_frames_of_one_and_the_first_of_the_others_are_compared(
    stand_in, files, monkeypatch
):
    asked = []
    real = StandIn.get_frames_at
    monkeypatch.setattr(StandIn, "get_frames_at", lambda s, n: (asked.append(len(n)), real(s, n))[1])
    twin = files["clip"].with_name("twin.mp4")
    twin.write_bytes(files["clip"].read_bytes())
    assert look_at_files(Decoder("torchcodec", "cpu", "9.9"), [files["clip"], twin]).left == ()
    assert asked == [32, 18, 1]


def test_a_failure_on_the_way_is_said_once_and_our_own_reader_goes_on(stand_in, files, monkeypatch, capsys):
    decoder, numbers = Decoder("torchcodec", "cuda", "9.9"), np.array([1, 2])
    ours = views(files["clip"], choice.OWN, numbers)
    monkeypatch.setattr(stand_in, "fails", "read")
    for _ in range(2):
        found = views(files["clip"], decoder, numbers)
        assert all((a == b).all() for a, b in zip(found, ours, strict=True))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].endswith("(the memory is full): clips are read by ffmpeg from here on")


def test_the_config_of_frames_alone_is_changed_and_gpus_get_processes_of_their_own():
    frames = {
        "dataset": {"pipeline": [{"type": "ClipInit"}, {"type": "SampleFrames"}, {"type": "ClipDecode"}]}
    }
    flow = {"dataset": {"pipeline": [{"type": "FlowInit"}, {"type": "FlowDecode"}]}, "num_workers": 2}
    config = {
        "train_dataloader": frames | {"num_workers": 2},
        "val_dataloader": None,
        "test_dataloader": frames | {"num_workers": 0},
    }
    assert with_decoder(config, choice.OWN) == config
    found = with_decoder(config, Decoder("torchcodec", "cuda", "9.9", left=("a.mp4",)))
    own = {"decoder": "torchcodec", "device": "cuda", "left": ["a.mp4"]}
    assert found["train_dataloader"]["dataset"]["pipeline"] == [
        {"type": "ClipInit", **own}, {"type": "SampleFrames"}, {"type": "ClipDecode", **own},
    ]  # fmt: skip
    assert found["train_dataloader"]["multiprocessing_context"] == "spawn"
    assert "multiprocessing_context" not in found["test_dataloader"]
    on_cpu = with_decoder(config, Decoder("torchcodec", "cpu", "9.9"))
    assert "multiprocessing_context" not in on_cpu["train_dataloader"]
    of_flow = {f"{name}_dataloader": flow for name in ("train", "val", "test")}
    assert with_decoder(of_flow, Decoder("torchcodec", "cuda", "9.9")) == of_flow


@pytest.mark.parametrize("steps", [("FlowInit", "FlowDecode"), ("PoseDecode",)])
def test_what_reads_no_frames_refuses_torchcodec_and_looks_at_no_file(stand_in, steps):
    config = {"test_dataloader": {"dataset": {"pipeline": [{"type": step} for step in steps]}}}
    with pytest.raises(UsageError, match="--decoder torchcodec reads frames, and this model flow or poses"):
        choice.decoder_of("torchcodec", True, config, pytest.fail)
    for asked in ("auto", "ffmpeg"):
        assert choice.decoder_of(asked, True, config, pytest.fail) == choice.OWN


def test_each_process_of_several_uses_the_gpu_of_its_own(stand_in, files, monkeypatch):
    devices = []
    real = StandIn.__init__
    monkeypatch.setattr(
        StandIn, "__init__", lambda s, p, **k: (devices.append(k["device"]), real(s, p, **k))[1]
    )
    TorchcodecReader(str(files["clip"]), "cuda")
    monkeypatch.setenv("LOCAL_RANK", "1")
    TorchcodecReader(str(files["clip"]), "cuda")
    TorchcodecReader(str(files["clip"]), "cpu")
    assert devices == ["cuda:3", "cuda:1", "cpu"]


def test_processes_that_are_started_anew_give_the_same_views(corpus, tiny_recipe, tiny_model, monkeypatch):
    from dancecli.model.dataloading.datasets import DATASETS
    from dancecli.model.networks.mmaction import init_default_scope, pseudo_collate
    from dancecli.model.runs.finetune import FinetuneSettings, make_job, make_plan

    init_default_scope("mmaction")
    workspace = corpus()
    job = make_job(
        workspace,
        make_plan(
            workspace, FinetuneSettings(pretrain=str(tiny_model), weights="none", recipe=str(tiny_recipe))
        ),
    )
    # No torchcodec can be loaded there, or no GPU: these say so, and read by themselves.
    monkeypatch.setattr(torchcodec_reader, "_FAILED", ["all"])
    config = with_decoder(job.config, Decoder("torchcodec", "cuda", "9.9"))["train_dataloader"]
    found = {}
    for method in ("fork", config["multiprocessing_context"]):
        loader = torch.utils.data.DataLoader(
            torch.utils.data.Subset(DATASETS.build(config["dataset"]), [0, 5]),
            batch_size=2,
            num_workers=1,
            collate_fn=pseudo_collate,
            multiprocessing_context=method,
        )
        (batch,) = loader
        found[method] = torch.stack(batch["inputs"])
    assert torch.equal(found["fork"], found["spawn"])


def real_torchcodec() -> bool:
    """Whether torchcodec can be loaded here, in a process of its own: one that cannot may end it."""
    done = subprocess.run(
        [sys.executable, "-c", "import torchcodec.decoders"], capture_output=True, check=False, env=os.environ
    )
    return done.returncode == 0


@pytest.fixture(scope="module")
def torchcodec() -> None:
    if not real_torchcodec():
        pytest.skip("torchcodec is not installed, or ffmpeg's libraries are not")
    choose_decoder.cache_clear()


@pytest.mark.usefixtures("torchcodec")
def test_torchcodec_itself_gives_our_frames_of_every_layout_or_none(files):
    decoder = choose_decoder("torchcodec", gpu=False)
    assert decoder.name == "torchcodec"
    found = look_at_files(decoder, list(files.values()))
    # Told apart by all their frames: what is left to torchcodec is within rounding.
    assert files["clip"].name not in found.left
    assert set(found.left) <= {"cut.mp4", "ten.mp4", "late.mp4", "v.mp4", "turned.mp4"}
    numbers = np.array([11, 4, 4, 29, 0])
    for path in files.values():
        for ours, theirs in zip(views(path, choice.OWN, numbers), views(path, found, numbers), strict=True):
            assert np.abs(ours.astype(int) - theirs).max() <= choice.TOLERANCE, path


@pytest.mark.usefixtures("torchcodec")
def test_a_run_by_torchcodec_has_the_scores_of_one_by_ffmpeg_and_says_so(
    corpus, tiny_recipe, tiny_model, dance, tmp_path
):
    workspace = corpus()
    flags = ("--workspace", str(workspace.root))
    of = ("--pretrain", str(tiny_model), "--weights", "none", "--freeze", "4", "--recipe", str(tiny_recipe))
    scores = {}
    for decoder in ("ffmpeg", "torchcodec"):
        done = dance("finetune", *of, *flags, "--epochs", "1", "--name", decoder, "--decoder", decoder)
        assert done.code == 0, done.err
        again = dance(
            "evaluate", "--run", "ffmpeg", *flags, "--name", f"again-{decoder}", "--decoder", decoder
        )
        assert again.code == 0, again.err
        record = json.loads((workspace.run(f"again-{decoder}") / "run.json").read_text())
        assert record["decoder"]["name"] == decoder
        assert json.loads((workspace.run(decoder) / "run.json").read_text())["decoder"] == record["decoder"]
        clip = next(workspace.root.glob("clips/*/*.mp4"))
        told = dance("predict", str(clip), "--run", "ffmpeg", *flags, "--decoder", decoder, "--json")
        assert told.code == 0, told.err
        assert told.json["decoder"]["name"] == told.json["videos"][0]["decoder"] == decoder
        scores[decoder] = told.json["videos"][0]["scores"]
        (tmp_path / decoder).mkdir()
        (workspace.root / "reports").rename(tmp_path / decoder / "reports")
    assert "clips are decoded by torchcodec" in done.err
    assert "clips are decoded by torchcodec" in again.err
    assert scores["ffmpeg"] == pytest.approx(scores["torchcodec"], abs=1e-3)


def test_the_commands_refuse_what_no_decoder_is(dance):
    for command in (("finetune",), ("features",), ("evaluate", "--run", "x"), ("predict", "x.mp4")):
        done = dance(*command, "--decoder", "nvdec")
        assert (done.code, "'nvdec' is none of auto, ffmpeg, torchcodec" in done.err) == (2, True), command
    done = dance("evaluate", "--ensemble", "a", "b", "--decoder", "ffmpeg")
    assert (done.code, "--decoder is for the evaluation of a run" in done.err) == (2, True)
