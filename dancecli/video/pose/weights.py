"""The weights of BlazePose, read out of whatever file carries them; no code of it is run.

Google's landmark network and person detector (Apache-2.0) are members of the wheel `mediapipe`
0.10.21 and of the npm package `@mediapipe/pose`. A wheel is a zip and an npm package a tarball: the
member is found by name, must have the pinned SHA-256, and is kept in the user's cache folder.
"""

from __future__ import annotations

import hashlib
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dancecli.core.errors import MissingDependencyError, ModelError
from dancecli.core.hashing import sha256_file
from dancecli.storage.files import atomic_file

_WHEEL = "mediapipe-0.10.21-*.whl"
# The networks are the same for every platform; this wheel is found from any.
DOWNLOAD = (
    "pip download --no-deps --only-binary=:all: --python-version 3.11 --platform manylinux_2_28_x86_64 "
    "mediapipe==0.10.21"
)
INSTALL = f"{DOWNLOAD}, then dance pose --weights {_WHEEL}"
_LARGEST_MEMBER = 16 << 20


@dataclass(frozen=True)
class NetworkFile:
    """A network's file as it was reviewed.

    Attributes:
        name: file name, which it has in every package.
        sha256: of the file.
    """

    name: str
    sha256: str


LANDMARKS = NetworkFile(
    "pose_landmark_full.tflite", "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f"
)
DETECTOR = NetworkFile(
    "pose_detection.tflite", "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c"
)


@dataclass(frozen=True)
class PoseWeights:
    """The files of the networks.

    Attributes:
        landmarks: of the landmark network.
        detector: of the person detector; None if the package given has none.
    """

    landmarks: Path
    detector: Path | None


def find_weights(given: Path | None = None, cache: Path | None = None) -> PoseWeights:
    """Find the networks: in a given file, in the cache, or in the wheel that `make setup` brings.

    Args:
        given: a wheel, a zip, a tarball or the landmark network's `.tflite` itself.
        cache: the folder to keep them in; the user's cache folder if not given.

    Raises:
        MissingDependencyError: none was given and none is found.
        ModelError: the given file is damaged, or holds no network that was reviewed.
    """
    if cache is None:
        from platformdirs import user_cache_path

        cache = user_cache_path("dancecli") / "weights"
    if given is not None:
        _take(given, cache)
    elif not _is_intact(cache / LANDMARKS.name, LANDMARKS):
        for wheel in sorted((Path(sys.prefix) / "share" / "dancecli").glob(_WHEEL)):
            _take(wheel, cache)
            break
        else:
            raise MissingDependencyError("the weights of the pose network are not here", INSTALL)
    detector = cache / DETECTOR.name
    return PoseWeights(cache / LANDMARKS.name, detector if _is_intact(detector, DETECTOR) else None)


def _take(package: Path, cache: Path) -> None:
    """Copy the networks that a package holds into the cache."""
    contents = dict(_members(package))
    if LANDMARKS.name not in contents:
        raise ModelError(f"{package}: holds no {LANDMARKS.name}", INSTALL)
    for network in (LANDMARKS, DETECTOR):
        if network.name not in contents:
            continue
        found = hashlib.sha256(contents[network.name]).hexdigest()
        if network is DETECTOR and found != network.sha256:
            continue  # Packages have had several; only the one that was reviewed is used.
        if found != network.sha256:
            raise ModelError(
                f"{package}: SHA-256 of {network.name} is {found[:12]}…, not {network.sha256[:12]}…; "
                "these are not the reviewed weights",
                INSTALL,
            )
        if not _is_intact(cache / network.name, network):
            with atomic_file(cache / network.name, "wb") as file:
                file.write(contents[network.name])


def _members(package: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the networks' names and bytes from a wheel, a zip, a tarball or a single file.

    Raises:
        ModelError: it cannot be read, or ends early.
    """
    try:
        if package.suffix == ".tflite":
            # A single file may have been renamed; what counts is its checksum.
            yield LANDMARKS.name, package.read_bytes()
        elif zipfile.is_zipfile(package):
            with zipfile.ZipFile(package) as archive:
                for info in archive.infolist():
                    if _is_wanted(info.filename, info.file_size):
                        yield Path(info.filename).name, archive.read(info)
        else:
            with tarfile.open(package) as tarball:
                for member in tarball:
                    file = tarball.extractfile(member) if _is_wanted(member.name, member.size) else None
                    if file is not None:
                        yield Path(member.name).name, file.read()
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
        what = "cannot be read" if isinstance(error, FileNotFoundError) else "is damaged or ends early"
        raise ModelError(f"{package}: {what} ({error})", f"download it again: {DOWNLOAD}") from None


def _is_wanted(name: str, num_bytes: int) -> bool:
    return Path(name).name in (LANDMARKS.name, DETECTOR.name) and num_bytes <= _LARGEST_MEMBER


def _is_intact(path: Path, network: NetworkFile) -> bool:
    with suppress(OSError):
        return sha256_file(path) == network.sha256
    return False
