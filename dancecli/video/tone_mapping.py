"""Look-up tables that bring high dynamic range and wide gamut to BT.709, as `.cube` files for ffmpeg.

Not ffmpeg's own tone mapping, which needs a build with zimg and differs between builds: every build has
`lut3d`, and the same table gives the same bytes.

PQ is ITU-R BT.2100 (SMPTE ST 2084), HLG its other curve, shown at 1000 cd/m2. The range up to there is
compressed to that of graphics white, 203 cd/m2 (BT.2408), by the curve of BT.2390; what is darker than
90 cd/m2 stays as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dancecli.video.source import Gamut

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

_SIZE = 33
_WHITE, _PEAK = 203.0, 1000.0
# ST 2084.
_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
# BT.2020 primaries in those of BT.709, both with D65 (BT.2087).
_TO_709 = ((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187))
_LUMA_2020 = (0.2627, 0.6780, 0.0593)


def write_table(gamut: Gamut, path: Path) -> Path:
    """Write the table from R'G'B' of BT.2100 or BT.2020 to R'G'B' of BT.709; all of 0 to 1."""
    import numpy as np

    steps = np.linspace(0, 1, _SIZE)
    # Red changes fastest.
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    signal = np.stack([red, green, blue], axis=-1).reshape(-1, 3)
    rows = "".join(f"{r:.6f} {g:.6f} {b:.6f}\n" for r, g, b in to_bt709(signal, gamut))
    path.write_text(f"LUT_3D_SIZE {_SIZE}\n{rows}", encoding="ascii")
    return path


def to_bt709(signal: Values, gamut: Gamut) -> Values:
    """Map R'G'B' values [n, 3] of 0 to 1 to those of BT.709 for a display of BT.1886."""
    import numpy as np

    if gamut is Gamut.BT2020:
        light = signal**2.4
    else:
        nits = _PEAK * _hlg_light(signal) if gamut is Gamut.HLG else _pq_nits(signal)
        brightest = nits.max(axis=-1, keepdims=True)
        # By the brightest of the three, so that hues stay.
        light = nits * _compressed(brightest) / np.maximum(brightest, 1e-6) / _WHITE
    shown: Values = np.clip(light @ np.array(_TO_709).T, 0, 1) ** (1 / 2.4)
    return shown


def _pq_nits(signal: Values) -> Values:
    import numpy as np

    power = signal ** (1 / _M2)
    nits: Values = 10_000 * (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1)
    return nits


def _pq_signal(nits: Values) -> Values:
    power = (nits / 10_000) ** _M1
    return ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2


def _hlg_light(signal: Values) -> Values:
    """Scene light of HLG, through the system gamma of 1.2."""
    import numpy as np

    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    luma = (scene @ np.array(_LUMA_2020))[:, None]
    light: Values = scene * luma**0.2
    return light


def _compressed(nits: Values) -> Values:
    """BT.2390's curve in PQ: a straight line up to the knee, then a Hermite spline to white."""
    import numpy as np

    peak = float(_pq_signal(np.array(_PEAK)))
    white = float(_pq_signal(np.array(_WHITE))) / peak
    knee = 1.5 * white - 0.5
    x = np.minimum(_pq_signal(nits) / peak, 1)
    t = np.clip((x - knee) / (1 - knee), 0, 1)
    spline = (
        (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * white
    )
    return _pq_nits(np.where(x < knee, x, spline) * peak)
