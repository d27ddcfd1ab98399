"""What the measurements of dedup stand on: films in disguise, and hashes of many clips that are none."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from dancecli.core.records import Clip, ClipHashes
from dancecli.dataset.similarity.neighbors import SAME_PICTURE, HashArrays, compare
from dancecli.demo.choreography import STYLES
from dancecli.demo.encoder import write_video
from dancecli.demo.renderer import VideoSpec
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace
from dancecli.video.ffmpeg import find_ffmpeg, run_ffmpeg
from dancecli.video.phash import LARGE, MOST_FRAMES, SMALL, PerceptualHashes, hash_clip

# The last one is harder than what is asked for, and counted by itself.
DISGUISES = ("re-encoded", "rescaled", "mirrored", "letterboxed", "shifted", "all at once")
_SECONDS = 5
_SIZE = (340, 256)
_PIECE = 5000


@dataclass(frozen=True, slots=True)
class Dice:
    """Draws from a key, so that a set can be made again."""

    key: str

    def share(self, what: str) -> float:
        """Give a number from 0 up to but without 1."""
        digest = hashlib.blake2b(f"{self.key} {what}".encode(), digest_size=6).digest()
        return int.from_bytes(digest) / 2**48

    def between(self, what: str, low: float, high: float) -> float:
        """Give a number of a range."""
        return low + (high - low) * self.share(what)


def looks_of_film(seed: str, number: int) -> list[PerceptualHashes]:
    """Draw a film, disguise it in every way, and hash all of them, the film first."""
    key = f"{seed}-{number}"
    style = list(STYLES)[number % len(STYLES)]
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        write_video(VideoSpec(key, style, _SECONDS, 25, *_SIZE), film)
        found = [hash_clip(film)]
        for name in DISGUISES:
            copy = Path(folder) / "copy.mp4"
            disguise(film, copy, name, Dice(f"{key} {name}"))
            found.append(hash_clip(copy))
        return found


def disguise(film: Path, copy: Path, name: str, dice: Dice) -> None:
    """Make a copy of a film as another upload of it might be."""
    height = (144, 180, 360, 480)[int(dice.between("height", 0, 4))]
    scaled = f"scale=-2:{height}"
    bar = 2 * round(_SIZE[1] * dice.between("bar", 0.08, 0.2) / 2)
    side = 2 * round(_SIZE[0] * dice.between("side", 0.08, 0.18) / 2)
    bars = f"pad=iw:ih+{2 * bar}:0:{bar}" if dice.share("where") < 0.6 else f"pad=iw+{2 * side}:ih:{side}:0"
    kept, x, y = dice.between("kept", 0.94, 0.97), dice.share("x"), dice.share("y")
    cropped = f"crop=iw*{kept:.3f}:ih*{kept:.3f}:(iw-ow)*{x:.2f}:(ih-oh)*{y:.2f},scale=320:240"
    light = f"eq=brightness={dice.between('b', -0.05, 0.05):.3f}:contrast={dice.between('c', 0.9, 1.1):.3f}"
    filters = {
        "re-encoded": "null",
        "rescaled": scaled,
        "mirrored": f"hflip,{scaled}",
        "letterboxed": f"{bars},{scaled}",
        "shifted": cropped,
        "all at once": f"hflip,{bars},{light},{scaled}",
    }
    late = ["-ss", f"{dice.between('late', 0.2, 0.6):.3f}"] if name in ("shifted", "all at once") else []
    rate = ["-r", "30"] if name == "all at once" else []
    coded = ["-c:v", "libx264", "-preset", "veryfast", "-crf", str(int(dice.between("crf", 28, 39)))]
    run_ffmpeg(
        ["-y", *late, "-i", str(film), "-an", "-vf", filters[name], *rate, *coded, "-threads", "1", str(copy)]
    )


@dataclass(frozen=True, slots=True)
class Flips:
    """What disguises did to the hashes of films, to be done to others: k of them.

    Attributes:
        mean, motion: the bits that were turned, (k, 4).
        frames, changes: the share that was turned, with the copy lined up in time, (k,).
        mirrored: whether the copy is, (k,).
    """

    mean: np.ndarray
    motion: np.ndarray
    frames: np.ndarray
    changes: np.ndarray
    mirrored: np.ndarray

    @classmethod
    def of(cls, looks: Sequence[PerceptualHashes], disguises: Sequence[str]) -> Flips:
        """Take them from films and copies, which come film by film."""
        arrays = HashArrays.of(looks)
        ways = len(disguises) + 1
        copies = np.flatnonzero(np.arange(len(looks)) % ways)
        films = copies - copies % ways
        mirrored = np.array([disguises[copy % ways - 1] == "mirrored" for copy in copies])
        turned = np.where(mirrored, _odd_columns(LARGE), np.uint64(0))[:, None]
        mean, motion = (w[films] ^ w[copies] for w in (arrays.mean, arrays.motion))
        far, changes = compare(arrays, films, copies)
        still = sum(np.bitwise_count(w ^ turned).sum(axis=1) / LARGE**2 for w in (mean, motion))
        return cls(mean, motion, (5 * far - still - changes) / 2, changes, mirrored)

    def write(self, path: Path) -> None:
        """Write them as arrays."""
        np.savez(path, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def read(cls, path: Path) -> Flips:
        """Read what `write` wrote."""
        with np.load(path) as arrays:
            return cls(**arrays)


@dataclass(frozen=True, slots=True)
class Crowd:
    """Hashes of clips that are none, a tenth of them copies of others.

    Attributes:
        arrays: of all clips, the copies last.
        parents: the clip that each of the copies is of.
    """

    arrays: HashArrays
    parents: np.ndarray

    @classmethod
    def of(cls, n: int, flips: Flips, seed: int = 1) -> Crowd:
        """Draw n clips: every bit of an original is a coin, and a copy is disguised as a film's copy was."""
        dice = np.random.default_rng(seed)
        num_copies = n // 10
        num_first = n - num_copies
        arrays = HashArrays.empty(n)
        arrays.lengths[:] = MOST_FRAMES
        parents = dice.choice(num_first, num_copies, replace=False)
        chosen = dice.integers(0, len(flips.mirrored), num_copies)
        odd = np.where(flips.mirrored[chosen], _odd_columns(SMALL), np.uint64(0))
        for name in ("mean", "motion", "frames", "changes"):
            words, kind = getattr(arrays, name), getattr(flips, name)
            for column in range(words.shape[1]):
                words[:num_first, column] = dice.integers(0, 2**64, num_first, dtype=np.uint64)
                if kind.ndim == 2:
                    turned = kind[chosen, column]
                else:
                    bits = dice.random((num_copies, 64)) < kind[chosen, None]
                    turned = np.packbits(bits, axis=1).view(">u8").ravel().astype(np.uint64) ^ odd
                words[num_first:, column] = words[parents, column] ^ turned
        return cls(arrays, parents)

    def recall(self, first: np.ndarray, second: np.ndarray) -> float:
        """Give the share of the copies that are found with their parents.

        What is asked is what the search loses: copies that the comparison itself takes for other
        pictures are left out.
        """
        n = len(self.arrays)
        copies = np.arange(n - len(self.parents), n)
        alike = np.zeros(len(copies), bool)
        for at in range(0, len(copies), _PIECE):
            piece = slice(at, at + _PIECE)
            alike[piece] = compare(self.arrays, self.parents[piece], copies[piece])[0] <= SAME_PICTURE
        return float(np.isin(self.parents * n + copies, first * n + second)[alike].mean())

    def fill(self, workspace: Workspace) -> None:
        """Write the manifests of a workspace whose clips look like this; all of them are one small file."""
        film = workspace.root / "clips" / "film.mp4"
        film.parent.mkdir(parents=True)
        run_ffmpeg(["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=5:duration=1", str(film)])
        n = len(self.arrays)
        tables.write(workspace.clips, Clip, (_clip(i) for i in range(n)))
        # As a run of dedup leaves them: in groups of rows that are read one by one.
        with pq.ParquetWriter(workspace.hashes, tables.to_table(ClipHashes, ()).schema) as writer:
            for rows in self._rows():
                writer.write_table(tables.to_table(ClipHashes, rows))

    def _rows(self) -> Iterator[list[ClipHashes]]:
        for at in range(0, len(self.arrays), _PIECE):
            columns = []
            for name in ("mean", "motion", "frames", "changes"):
                words = getattr(self.arrays, name)[at : at + _PIECE].astype(">u8")
                columns.append([row.tobytes() for row in words])
            hashes = enumerate(zip(*columns, strict=True), start=at)
            yield [ClipHashes(_clip(i).clip_id, _clip(i).sha256, *one) for i, one in hashes]


def _clip(i: int) -> Clip:
    video = f"v{i:010d}"
    return Clip(
        clip_id=f"{video}_0_10000",
        video_id=video,
        start_ms=0,
        end_ms=10_000,
        label=f"label {i % 700}",
        official_split="train",
        dataset="kinetics700-2020",
        path="clips/film.mp4",
        num_frames=250,
        fps_num=25,
        fps_den=1,
        width=340,
        height=256,
        has_audio=True,
        num_bytes=700_000,
        sha256=f"{i:064x}",
        source="youtube",
    )


def _odd_columns(size: int) -> np.uint64:
    row = sum(1 << (size - 1 - column) for column in range(1, size, 2))
    return np.uint64(sum(row << shift for shift in range(0, 64, size)))


def ffmpeg_version() -> str:
    """Give the first line that ffmpeg says of itself."""
    said = subprocess.run([str(find_ffmpeg()), "-version"], capture_output=True, text=True, check=True).stdout
    return said.partition(" Copyright")[0]
