"""What is in a clip, measured on frames and sound that a validation decodes anyway.

Black and frozen frames are what ffmpeg's `blackdetect` and `freezedetect` call so with their defaults, on
every fourth pixel of every fourth row; loudness is that of EBU R 128 (ITU-R BS.1770), its K weighting
applied to the spectra of blocks of 100 ms.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from av import AudioFrame, VideoFrame
    from numpy.typing import NDArray

    Luma = NDArray[np.uint8]
    Sound = NDArray[np.float32]

_STEP = 4
# A tenth of the luma's range above black; 98 in 100 pixels are darker.
_BLACK, _BLACK_PIXELS = 38, 0.98
# Mean difference of two frames that show the same, in steps of 255.
_SAME = 0.25
# Bars are looked for in two frames a second.
_BARS_EVERY = 12
_BAR = 26
_LEAST_LIT = 0.4
_BLOCK_S = 0.1
_WINDOW = 4
_SILENCE_LUFS, _OFFSET = -70.0, -0.691
# What a note is made of.
_MOSTLY, _STATIC, _BARS = 0.5, 0.9, 0.08


@dataclass(frozen=True, slots=True)
class Measures:
    """What is in a clip; see the fields of the same names in `records.Clip`."""

    black_share: float = 0.0
    frozen_share: float = 0.0
    bars_share: float = 0.0
    loudness_lufs: float = 0.0

    @property
    def notes(self) -> tuple[str, ...]:
        """What stands out, in words."""
        found = []
        if self.black_share > _MOSTLY:
            found.append(f"black for {self.black_share:.0%} of its frames")
        if self.frozen_share > _STATIC:
            found.append("static picture")
        elif self.frozen_share > _MOSTLY:
            found.append(f"frozen for {self.frozen_share:.0%} of its frames")
        if self.bars_share > _BARS:
            found.append(f"black bars on {self.bars_share:.0%} of the picture")
        return tuple(found)


class ContentMeter:
    """Collects the measures of one clip, frame by frame."""

    def __init__(self) -> None:
        self._num_frames = self._black = self._frozen = 0
        self._last: Luma | None = None
        self._brightest: Luma | None = None
        self._sound: Loudness | None = None

    def add_frame(self, frame: VideoFrame) -> None:
        """Take a frame into account; of any size, though the next may have another."""
        import numpy as np

        luma = _luma(frame)
        small = luma[::_STEP, ::_STEP]
        self._black += bool(np.count_nonzero(small <= _BLACK) >= _BLACK_PIXELS * small.size)
        small = small.astype(np.int16)
        if self._last is not None and self._last.shape == small.shape:
            self._frozen += bool(np.abs(small - self._last).sum() <= _SAME * small.size)
        self._last = small
        if self._num_frames % _BARS_EVERY == 0:
            if self._brightest is None or self._brightest.shape != luma.shape:
                self._brightest = luma.copy()
            else:
                np.maximum(self._brightest, luma, out=self._brightest)
        self._num_frames += 1

    def add_sound(self, frame: AudioFrame) -> None:
        """Take a piece of sound into account."""
        import numpy as np

        samples: Any
        if frame.format.name == "fltp":
            # The form of nearly all sound, without the copies that a conversion makes.
            planes: list[Any] = list(frame.planes)
            samples = np.stack([np.frombuffer(plane, np.float32, frame.samples) for plane in planes])
        else:
            samples = frame.to_ndarray()
            if samples.dtype.kind != "f":
                samples = samples.astype(np.float32) / np.iinfo(samples.dtype).max
            if not frame.format.is_planar:
                samples = samples.reshape(-1, frame.layout.nb_channels).T
        if self._sound is None:
            self._sound = Loudness(samples.shape[0])
        self._sound.add(samples, frame.sample_rate)

    def result(self) -> Measures:
        """Give the measures of what was added."""
        return Measures(
            black_share=self._black / max(1, self._num_frames),
            frozen_share=self._frozen / max(1, self._num_frames - 1),
            bars_share=_bars(self._brightest) if self._brightest is not None else 0.0,
            loudness_lufs=self._sound.result() if self._sound else 0.0,
        )


class Loudness:
    """Integrated loudness of sound that comes in pieces; of what is past it keeps one number per 100 ms.

    Attributes:
        energy: of each block of 100 ms, K-weighted, all channels added up.
    """

    def __init__(self, num_channels: int) -> None:
        self.energy = array("f")
        self._num_channels = num_channels
        self._sample_rate = self._block = 0
        self._weights: Any = None
        self._pieces: list[Sound] = []
        self._num_held = 0

    def add(self, samples: Sound, sample_rate: int) -> None:
        """Take a piece into account, of any length; one of another number of channels is left out.

        Args:
            samples: [channel, time], -1 to 1.
            sample_rate: in Hz; at another one a block begins anew.
        """
        if samples.shape[0] != self._num_channels:
            return
        if sample_rate != self._sample_rate:
            self._sample_rate, self._block = sample_rate, max(1, round(_BLOCK_S * sample_rate))
            self._weights = _k_weighting(self._block, sample_rate)
            self._pieces, self._num_held = [], 0
        self._pieces.append(samples)
        self._num_held += samples.shape[1]
        if self._num_held >= self._block:
            self._add_blocks()

    def _add_blocks(self) -> None:
        """Measure the whole blocks of what is held, and hold the rest."""
        import numpy as np

        held = np.concatenate(self._pieces, axis=1)
        end = self._num_held // self._block * self._block
        blocks = held[:, :end].reshape(-1, self._block)
        # Real and imaginary parts side by side.
        parts = np.fft.rfft(blocks.astype(np.float32, copy=False), axis=1).view(np.float32)
        np.square(parts, out=parts)
        # Not a matrix product, which wakes all of BLAS's threads.
        energy = np.einsum("ij,j->i", parts, self._weights) / self._block**2
        # Not numpy's sum, which rounds a single block's otherwise than those of several.
        self.energy.extend(sum(energy.reshape(self._num_channels, -1)))
        # A copy: a view would keep the whole of it.
        self._pieces, self._num_held = [held[:, end:].copy()], self._num_held - end

    def result(self) -> float:
        """Return it in LUFS with both gates of BS.1770; -70 for silence, all channels weighing 1."""
        import numpy as np

        if len(self.energy) < _WINDOW:
            return _SILENCE_LUFS
        # Windows of 400 ms, a new one every 100.
        windows = np.convolve(self.energy, np.full(_WINDOW, 1 / _WINDOW), mode="valid")
        loud = windows[_lufs(windows) > _SILENCE_LUFS]
        if not len(loud):
            return _SILENCE_LUFS
        kept = loud[_lufs(loud) > float(_lufs(loud.mean())) - 10]
        return round(float(_lufs(kept.mean())), 2)


def _luma(frame: VideoFrame) -> Luma:
    """Give the luma of a frame, [height, width], 16 to 235, without a copy where it has such a plane."""
    import numpy as np

    if frame.format.name in ("yuv420p", "yuv422p", "yuv444p", "nv12"):
        plane: Any = frame.planes[0]
        rows: Luma = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        return rows[: frame.height, : frame.width]
    other: Any = frame.reformat(format="yuv420p", dst_color_range="MPEG").to_ndarray()
    shown: Luma = other[: frame.height]
    return shown


def _bars(brightest: Luma) -> float:
    """Share of the picture that two bars of one size take which are never lit; 0 for one dark throughout."""
    import numpy as np

    kept = []
    for axis in (1, 0):
        lit = np.flatnonzero(np.percentile(brightest, 95, axis=axis) > _BAR)
        length = brightest.shape[1 - axis]
        # Bars come in pairs of one size; what is dark in a scene seldom does.
        bar = min(int(lit[0]), length - 1 - int(lit[-1])) if len(lit) else length
        kept.append(1 - 2 * bar / length if 1 - 2 * bar / length >= _LEAST_LIT else 1.0)
    return 1 - kept[0] * kept[1]


def _lufs(energy: Any) -> Any:
    import numpy as np

    return _OFFSET + 10 * np.log10(np.maximum(energy, 1e-12))


def _k_weighting(block: int, sample_rate: int) -> NDArray[np.float32]:
    """Power gain of BS.1770's two filters at the frequencies of a block's spectrum.

    Twice each, for real and imaginary part, and doubled, since all but the constant stand for two.
    """
    import numpy as np

    w = 2j * np.pi * np.fft.rfftfreq(block, 1 / sample_rate)
    # Analog prototypes: a shelf of 4 dB above 1.7 kHz, a high pass at 38 Hz.
    w0, q, gain = 2 * np.pi * 1681.97, 0.7072, 10 ** (3.99984 / 20)
    band = gain**0.49966
    shelf = (gain * w**2 + band * w0 / q * w + w0**2) / (w**2 + w0 / q * w + w0**2)
    w1, q1 = 2 * np.pi * 38.135, 0.50033
    high_pass = w**2 / (w**2 + w1 / q1 * w + w1**2)
    gains: NDArray[np.float32] = (np.abs(shelf * high_pass) ** 2).astype(np.float32)
    return np.repeat(2 * gains, 2)
