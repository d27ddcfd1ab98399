"""Loudness of sound as it comes: as of all of it at once, without keeping it."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import pytest

from dancecli.video.measures import ContentMeter, Loudness

RATE = 48_000


def sound(seconds: float, channels: int = 2, rate: int = RATE) -> np.ndarray:
    """Noise that swells and falls silent, [channel, time]."""
    rng = np.random.default_rng(channels)
    times = np.arange(round(seconds * rate)) / rate
    envelope = np.clip(np.sin(times), 0, None) * 0.3 + 1e-6
    return (rng.standard_normal((channels, len(times))) * envelope).astype(np.float32)


def energy_at_once(samples: np.ndarray, rate: int) -> np.ndarray:
    """Energy of each 100 ms, of the spectra of all blocks in one array."""
    block = round(0.1 * rate)
    count = samples.shape[1] // block
    spectra = np.fft.rfft(samples[:, : count * block].reshape(-1, block), axis=1)
    power = 2 * (spectra.real**2 + spectra.imag**2) @ gains(block, rate)
    return power.reshape(len(samples), count).sum(axis=0) / block**2


def gains(block: int, rate: int) -> np.ndarray:
    """The two filters of BS.1770, as analog prototypes."""
    w = 2j * np.pi * np.fft.rfftfreq(block, 1 / rate)
    w0, q, gain, w1, q1 = 2 * np.pi * 1681.97, 0.7072, 10 ** (3.99984 / 20), 2 * np.pi * 38.135, 0.50033
    shelf = gain * w**2 + gain**0.49966 * w0 / q * w + w0**2
    high_pass = w**2 / (w**2 + w1 / q1 * w + w1**2)
    return np.abs(shelf / (w**2 + w0 / q * w + w0**2) * high_pass) ** 2


def pieces(samples: np.ndarray, sizes: list[int]) -> Iterator[np.ndarray]:
    begin = i = 0
    while begin < samples.shape[1]:
        yield samples[:, begin : begin + sizes[i % len(sizes)]]
        begin, i = begin + sizes[i % len(sizes)], i + 1


@pytest.mark.parametrize("sizes", [[160], [960], [1024], [4800], [1, 1024, 20_000], [7001, 3], [10**9]])
@pytest.mark.parametrize(("channels", "rate"), [(1, 8000), (2, 44_100), (2, RATE), (8, 22_050)])
def test_sound_in_pieces_is_as_loud_as_at_once(sizes: list[int], channels: int, rate: int) -> None:
    samples = sound(7.35, channels, rate)
    whole, meter = Loudness(channels), Loudness(channels)
    whole.add(samples, rate)
    for piece in pieces(samples, sizes):
        meter.add(piece, rate)
    assert np.asarray(meter.energy) == pytest.approx(energy_at_once(samples, rate), rel=1e-5)
    assert np.asarray(meter.energy) == pytest.approx(np.asarray(whole.energy), rel=1e-9)
    assert meter.result() == whole.result()


def frames(samples: np.ndarray) -> Iterator[av.AudioFrame]:
    layout: Any = {1: "mono", 2: "stereo"}[len(samples)]
    for piece in pieces(samples, [1024]):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece), format="fltp", layout=layout)
        frame.sample_rate = RATE
        yield frame


def test_what_was_heard_is_not_kept() -> None:
    meter = ContentMeter()
    for frame in frames(sound(60)):
        meter.add_sound(frame)
    # A hundredth of the samples.
    assert len(pickle.dumps(meter)) < 60 * RATE * 2 * 4 / 100
    assert meter.result().loudness_lufs < 0


def test_sound_that_changes_its_form_is_heard_on() -> None:
    meter, low = Loudness(2), sound(1, rate=8000)
    meter.add(sound(1.05), RATE)
    meter.add(sound(1, channels=1), RATE)
    meter.add(low, 8000)
    expected = [energy_at_once(sound(1.05), RATE), energy_at_once(low, 8000)]
    assert np.asarray(meter.energy) == pytest.approx(np.concatenate(expected), rel=1e-5)
