"""Perceptual hashes of a clip, which cropping, mirroring and re-encoding hardly change.

The hash is imagehash's pHash (sign of the low frequencies of a cosine transform). Four views of a
clip are hashed: its mean picture, its motion picture (deviation over time), and every quarter of a
second the frame itself and its difference from the mean. The first two do not care about a shift in
time, the frames are compared with one, and mirroring a picture turns the bits of the odd columns
of its hash around, so that a mirrored clip needs no hash of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from dancecli.core.errors import MediaError
from dancecli.core.video_files import quarter_turns, upright
from dancecli.video.source import open_media, picture_stream

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Picture: TypeAlias = NDArray[np.float32]

# Frames are hashed at this size: aspect and resolution do not tell near-duplicates apart.
SIDE = 64
LARGE, SMALL = 16, 8
STEP_S = 0.25
MOST_FRAMES = 40
_DARK = 24
_LEAST_LIT = 0.4


@dataclass(frozen=True, slots=True)
class PerceptualHashes:
    """The hashes of one clip.

    Attributes:
        mean, motion: 256 bits each, row by row of 16 x 16.
        frames, changes: one hash of 64 bits every quarter of a second, at most 40, concatenated.
    """

    mean: bytes
    motion: bytes
    frames: bytes
    changes: bytes


def hash_clip(path: Path) -> PerceptualHashes:
    """Decode a clip and hash it.

    Raises:
        MediaError: it does not decode, or has no video.
    """
    pictures = without_bars(_sample(path))
    return hashes(pictures)


def hashes(pictures: Picture) -> PerceptualHashes:
    """Hash a clip's pictures.

    Args:
        pictures: `STEP_S` apart, at most `MOST_FRAMES`, shape (n, SIDE, SIDE), 0 to 255.
    """
    mean, deviation = pictures.mean(axis=0), pictures.std(axis=0)
    motion = 255 * (deviation - deviation.min()) / max(float(deviation.max() - deviation.min()), 1e-6)
    return PerceptualHashes(
        mean=_hash(mean, LARGE),
        motion=_hash(motion, LARGE),
        frames=b"".join(_hash(picture, SMALL) for picture in pictures),
        changes=b"".join(_hash(128 + 2 * (picture - mean), SMALL) for picture in pictures),
    )


def without_bars(pictures: NDArray[np.uint8]) -> Picture:
    """Crop black bars, which are found over all frames, and scale the rest to one size.

    Args:
        pictures: shape (n, height, width).

    Returns:
        Shape (n, SIDE, SIDE).
    """
    import numpy as np
    from PIL import Image

    brightest = pictures.max(axis=0)
    top, bottom = _lit(np.percentile(brightest, 95, axis=1))
    left, right = _lit(np.percentile(brightest, 95, axis=0))
    cut = np.ascontiguousarray(pictures[:, top:bottom, left:right])
    size = (SIDE, SIDE)
    sized = [np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BOX)) for one in cut]
    return np.stack(sized).astype(np.float32)


def _lit(brightness: NDArray[np.float64]) -> tuple[int, int]:
    """Return the range between the bars; all of it if too little would be left."""
    import numpy as np

    lit = np.flatnonzero(brightness > _DARK)
    if len(lit) == 0 or lit[-1] + 1 - lit[0] < _LEAST_LIT * len(brightness):
        return 0, len(brightness)
    return int(lit[0]), int(lit[-1]) + 1


def _hash(picture: Picture, size: int) -> bytes:
    import imagehash
    import numpy as np
    from PIL import Image

    gray = Image.fromarray(np.clip(np.rint(picture), 0, 255).astype(np.uint8))
    return np.packbits(imagehash.phash(gray, size, SIDE // size).hash).tobytes()


def _sample(path: Path) -> NDArray[np.uint8]:
    """Decode a picture every `STEP_S` from the first one on, [n, height, width]; all of that one's size."""
    import numpy as np

    pictures: list[NDArray[np.uint8]] = []
    width, height, start_s = 0, 0, 0.0
    with open_media(path, "does not decode") as container:
        stream = picture_stream(container, path.name)
        stream.codec_context.thread_count = 1
        rate = float(stream.average_rate or stream.guessed_rate or 1 / STEP_S)
        for number, frame in enumerate(container.decode(stream)):
            # A stream without a container has no times.
            time_s = number / rate if frame.time is None else frame.time
            if not pictures:
                sides = (160, 120) if quarter_turns(frame) % 2 == 0 else (120, 160)
                width, height = min(frame.width, sides[0]), min(frame.height, sides[1])
                start_s = time_s
            if time_s - start_s + 1e-6 >= len(pictures) * STEP_S:
                small = frame.reformat(width=width, height=height, format="gray8").to_ndarray()
                pictures.append(upright(small.astype(np.uint8, copy=False), frame))
            if len(pictures) == MOST_FRAMES:
                break
    if not pictures:
        raise MediaError(f"{path.name} holds no frame")
    return np.stack(pictures)
