"""Frames by torchcodec, which decodes on a GPU (NVDEC), where they are those of our own reader.

What our own reader gives is the truth: torchcodec is used where a clip made for it comes out within
`TOLERANCE`, and each file is looked at before it is left to torchcodec. A file of which it numbers, times or
shows the frames otherwise stays with our own reader, and is counted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from dancecli.core.errors import MissingDependencyError, ModelError, UsageError
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.text import first_line
from dancecli.core.video_files import open_video
from dancecli.model.dataloading.decoding.torchcodec_reader import (
    CHUNK,
    FFMPEG,
    TORCHCODEC,
    TorchcodecReader,
)

AUTO = "auto"
# Of 255: rounding in the conversion of colors.
TOLERANCE = 2
_INSTALL = (
    "install the release for your torch (github.com/pytorch/torchcodec) and ffmpeg's shared libraries, "
    "or omit --decoder"
)


@dataclass(frozen=True)
class Decoder:
    """What decodes the clips of a run.

    Attributes:
        name: `ffmpeg`, our own reader, or `torchcodec`.
        device: of torchcodec, `cuda` or `cpu`.
        version: of torchcodec.
        why_not: why `auto` left torchcodec aside; empty where it was not looked for.
        left: names of files that stay with our own reader.
        looked_at: number of files that were looked at.
    """

    name: str = FFMPEG
    device: str = ""
    version: str = ""
    why_not: str = ""
    left: tuple[str, ...] = ()
    looked_at: int = 0

    @property
    def words(self) -> str:
        """Say what decodes; empty for our own reader where nothing else was looked for."""
        if self.name == FFMPEG:
            return f"clips are decoded by ffmpeg: {self.why_not}" if self.why_not else ""
        rest = f"; {len(self.left)} of {self.looked_at} files differ there, and are read by ffmpeg"
        return f"clips are decoded by torchcodec {self.version} on {self.device}{rest if self.left else ''}"

    @property
    def record(self) -> dict[str, Any]:
        """What `run.json` says of it."""
        if self.name == FFMPEG:
            return {"name": FFMPEG, **({"why": self.why_not} if self.why_not else {})}
        return {
            "name": TORCHCODEC,
            "version": self.version,
            "device": self.device,
            "left_to_ffmpeg": len(self.left),
        }


OWN = Decoder()


def check_decoder(asked: str, *, decoded: bool = True) -> None:
    """Refuse a decoder that is unknown, or not used.

    Args:
        asked: `auto`, `ffmpeg` or `torchcodec`.
        decoded: frames of clips are read; else flow or poses are.

    Raises:
        UsageError: it is one.
    """
    if asked == TORCHCODEC and not decoded:
        raise UsageError("--decoder torchcodec reads frames, and this model flow or poses", "omit --decoder")
    if asked not in (AUTO, FFMPEG, TORCHCODEC):
        raise UsageError(f"--decoder {asked!r} is none of {AUTO}, {FFMPEG}, {TORCHCODEC}")


@cache
def choose_decoder(asked: str, *, gpu: bool) -> Decoder:
    """Choose what decodes: `auto` takes torchcodec on a GPU where it gives the frames of our own reader.

    Args:
        asked: `auto`, `ffmpeg` or `torchcodec`.
        gpu: there is a GPU; else torchcodec would decode on the CPU, as our own reader does.

    Raises:
        UsageError: it is none of these.
        MissingDependencyError: torchcodec was asked for, and cannot be loaded.
        ModelError: it was asked for, and gives other frames.
    """
    check_decoder(asked)
    if asked == FFMPEG or (asked == AUTO and not gpu):
        return OWN
    device = "cuda" if gpu else "cpu"
    try:
        version = _load()
    except (
        Exception
    ) as error:  # a library that is not found, or made for another torch, raises nearly anything
        if asked == AUTO:
            return replace(OWN, why_not=f"torchcodec cannot be loaded ({first_line(error)})")
        raise MissingDependencyError(
            f"--decoder torchcodec: torchcodec cannot be loaded ({first_line(error)})", _INSTALL
        ) from None
    if fault := _known_answer(device, must_be_gpu=asked == AUTO):
        if asked == AUTO:
            return replace(OWN, why_not=f"torchcodec {version} {fault}")
        raise ModelError(f"--decoder torchcodec: torchcodec {version} {fault}", "omit --decoder")
    return Decoder(TORCHCODEC, device, version)


def _load() -> str:
    import torchcodec
    from torchcodec.decoders import VideoDecoder  # noqa: F401 - it loads ffmpeg's libraries

    return str(torchcodec.__version__)


def _known_answer(device: str, *, must_be_gpu: bool) -> str:
    """Decode a clip made for it by both readers; say what is wrong, or nothing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "known.mp4"
        _write_known(path)
        try:
            reader = TorchcodecReader(str(path), device)
            if must_be_gpu and not reader.on_gpu:
                return "does not decode on this GPU"
            return difference(path, reader)
        except RuntimeError as error:
            return f"does not decode a clip made for it ({first_line(error)})"


def _write_known(path: Path) -> None:
    """Write two seconds of moving colors as clips of a dataset are coded."""
    import av
    import numpy as np

    height, width = 144, 192
    y, x = np.mgrid[0:height, 0:width]
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"bf": "0", "crf": "18"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for t in range(50):
            image = np.stack([(x + 4 * t) % 256, (y * 2 + 3 * t) % 256, (x + y + 5 * t) % 256], -1)
            for packet in stream.encode(av.VideoFrame.from_ndarray(image.astype(np.uint8), format="rgb24")):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)


def difference(path: Path, reader: TorchcodecReader, numbers: Sequence[int] | None = None) -> str:
    """Say in what torchcodec's frames of a file are not those of our own reader; nothing if they agree.

    Args:
        path: the file.
        reader: torchcodec's.
        numbers: frames that are compared; None for all.

    Raises:
        RuntimeError: torchcodec cannot read it.
    """
    import numpy as np

    from dancecli.model.dataloading.clip_decoder import own_frames

    try:
        total, fps, ours = own_frames(path, numbers)
    except RuntimeError:
        return "cannot be compared"  # our own reader is to say what is wrong with the file
    if (reader.total_frames, reader.fps) != (total, fps):
        shown = f"{reader.total_frames} at {reader.fps:g} fps, not {total} at {fps:g}"
        return f"gives other frames ({shown})"
    apart = 0
    for first in range(0, len(ours), CHUNK):
        some = (
            np.arange(total)[first : first + CHUNK]
            if numbers is None
            else np.asarray(numbers[first : first + CHUNK])
        )
        for mine, theirs in zip(ours[first : first + CHUNK], reader.frames(some), strict=True):
            if mine.shape != theirs.shape:
                return f"gives frames of another size ({theirs.shape}, not {mine.shape})"
            apart = max(apart, int(np.abs(mine.astype(np.int16) - theirs).max()))
    return f"gives other frames (by up to {apart} of 255)" if apart > TOLERANCE else ""


# Files that this process has looked at: whether torchcodec reads them.
_LOOKED_AT: dict[tuple[Path, str], bool] = {}


def look_at_files(decoder: Decoder, paths: Sequence[Path], reporter: Reporter = SILENT) -> Decoder:
    """Compare files before they are left to torchcodec; give the decoder with those that are not.

    Of clips as `dance` writes them, whose frames follow from their times, number and first frame are
    compared, and of the first of each kind (codec, pixels, colors, size) all frames; of other files all.

    Args:
        decoder: what was chosen; our own reader is given back as it is.
        paths: the files.
        reporter: in files.
    """
    if decoder.name == FFMPEG:
        return decoder
    kinds: set[tuple[object, ...]] = set()
    for done, path in enumerate(paths):
        reporter.progress(done, len(paths), "decoder · comparing")
        key = (path, decoder.device)
        if key in _LOOKED_AT:
            continue
        kind = _kind(path)
        _LOOKED_AT[key] = _agrees(path, decoder.device, [0] if kind in kinds else None)
        if kind and _LOOKED_AT[key]:
            kinds.add(kind)
    left = tuple(sorted({path.name for path in paths if not _LOOKED_AT[path, decoder.device]}))
    return replace(decoder, left=left, looked_at=len(paths))


def _agrees(path: Path, device: str, numbers: Sequence[int] | None) -> bool:
    try:
        return not difference(path, TorchcodecReader(str(path), device), numbers)
    except RuntimeError:
        return False


def _kind(path: Path) -> tuple[object, ...]:
    """Describe how a clip is coded; nothing for a file that is not laid out as `dance` writes clips."""
    from dancecli.model.dataloading.clip_decoder import FastClipReader, UnsupportedLayoutError

    try:
        FastClipReader(str(path)).close()
    except UnsupportedLayoutError:
        return ()
    with open_video(str(path)) as container:
        context = container.streams.video[0].codec_context
        colors = (context.colorspace, context.color_range, context.color_primaries, context.color_trc)
        return (context.name, context.pix_fmt, *colors, context.width, context.height)


def decoder_of(
    asked: str,
    gpu: bool,
    config: Mapping[str, Any],
    examples: Callable[[], Sequence[Path]],
    reporter: Reporter = SILENT,
) -> Decoder:
    """Choose what decodes the clips of a config, and look at their files.

    Args:
        asked: see `choose_decoder`.
        gpu: there is a GPU.
        config: see `build_config`; what reads flow or poses has nothing to choose.
        examples: gives the files, which are not needed for our own reader.
        reporter: in files.

    Raises:
        UsageError: torchcodec was asked for, and no frames are read; else see `choose_decoder`.
        MissingDependencyError, ModelError: see `choose_decoder`.
    """
    reads = reads_frames(config["test_dataloader"]["dataset"]["pipeline"])
    check_decoder(asked, decoded=reads)
    if not reads:
        return OWN
    decoder = choose_decoder(asked, gpu=gpu)
    return decoder if decoder.name == FFMPEG else look_at_files(decoder, examples(), reporter)


def with_decoder(config: Mapping[str, Any], decoder: Decoder) -> dict[str, Any]:
    """Let torchcodec decode the clips of a run's config; loaders of frames alone are changed.

    A process that decodes on a GPU cannot be a fork of one that computes on it: these are started anew.

    Args:
        config: see `build_config`.
        decoder: what was chosen.
    """
    if decoder.name == FFMPEG:
        return dict(config)
    own = {"decoder": TORCHCODEC, "device": decoder.device, "left": list(decoder.left)}
    found = dict(config)
    for key in ("train_dataloader", "val_dataloader", "test_dataloader"):
        loader = config[key]
        if not loader or not reads_frames(loader["dataset"]["pipeline"]):
            continue
        steps = [
            {**step, **own} if step["type"] in _STEPS else step for step in loader["dataset"]["pipeline"]
        ]
        anew = decoder.device == "cuda" and loader["num_workers"]
        found[key] = {
            **loader,
            "dataset": {**loader["dataset"], "pipeline": steps},
            **({"multiprocessing_context": "spawn"} if anew else {}),
        }
    return found


_STEPS = ("ClipInit", "ClipDecode")


def reads_frames(pipeline: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a pipeline decodes frames of clips, and neither flow nor poses."""
    return {step["type"] for step in pipeline} >= set(_STEPS)
