from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from dancecli.core.errors import MissingDependencyError, ModelError
from dancecli.video.pose import weights
from dancecli.video.pose.weights import DETECTOR, LANDMARKS, NetworkFile, find_weights

LANDMARK_BYTES, DETECTOR_BYTES = b"landmarks" * 500, b"detector" * 500


@pytest.fixture(autouse=True)
def pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny stand-ins count as the networks that were reviewed, and no wheel lies in the environment."""
    for name, content in (("LANDMARKS", LANDMARK_BYTES), ("DETECTOR", DETECTOR_BYTES)):
        network: NetworkFile = getattr(weights, name)
        pin = NetworkFile(network.name, hashlib.sha256(content).hexdigest())
        monkeypatch.setattr(weights, name, pin)
    monkeypatch.setattr("sys.prefix", "/nowhere")


def wheel(path: Path, landmarks: bytes = LANDMARK_BYTES, detector: bytes | None = DETECTOR_BYTES) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mediapipe/__init__.py", "raise SystemExit('code was run')")
        archive.writestr(f"mediapipe/modules/pose_landmark/{LANDMARKS.name}", landmarks)
        if detector is not None:
            archive.writestr(f"mediapipe/modules/pose_detection/{DETECTOR.name}", detector)
    return path


def test_a_wheel_gives_both_networks_and_is_needed_once(tmp_path: Path) -> None:
    found = find_weights(wheel(tmp_path / "mediapipe.whl"), tmp_path / "cache")
    assert found.landmarks.read_bytes() == LANDMARK_BYTES
    assert found.detector is not None
    assert found.detector.read_bytes() == DETECTOR_BYTES
    (tmp_path / "mediapipe.whl").unlink()
    assert find_weights(cache=tmp_path / "cache") == found


def test_a_tarball_and_a_single_file_are_read(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "pose.tgz", "w:gz") as tarball:
        info = tarfile.TarInfo(f"package/{LANDMARKS.name}")
        info.size = len(LANDMARK_BYTES)
        tarball.addfile(info, io.BytesIO(LANDMARK_BYTES))
    assert find_weights(tmp_path / "pose.tgz", tmp_path / "one").detector is None
    (tmp_path / "any.tflite").write_bytes(LANDMARK_BYTES)
    found = find_weights(tmp_path / "any.tflite", tmp_path / "two")
    assert found.landmarks.read_bytes() == LANDMARK_BYTES


def test_the_wheel_in_the_environment_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "share" / "dancecli").mkdir(parents=True)
    wheel(tmp_path / "share" / "dancecli" / "mediapipe-0.10.21-cp311-cp311-any.whl")
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    assert find_weights(cache=tmp_path / "cache").landmarks.read_bytes() == LANDMARK_BYTES


def test_without_weights_the_hint_is_the_download(tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError) as caught:
        find_weights(cache=tmp_path)
    assert "pip download --no-deps" in caught.value.hint
    assert "dance pose --weights" in caught.value.hint


def test_a_changed_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="these are not the reviewed weights"):
        find_weights(wheel(tmp_path / "a.whl", landmarks=LANDMARK_BYTES + b"!"), tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_another_detector_is_left_out(tmp_path: Path) -> None:
    found = find_weights(wheel(tmp_path / "a.whl", detector=b"of another version"), tmp_path / "cache")
    assert found.detector is None


@pytest.mark.parametrize("suffix", [".whl", ".tgz", ".tflite"])
def test_a_file_that_ends_early_is_refused(tmp_path: Path, suffix: str) -> None:
    whole = wheel(tmp_path / "whole.whl").read_bytes()
    if suffix == ".tgz":
        with tarfile.open(tmp_path / "whole.tgz", "w:gz") as tarball:
            tarball.add(tmp_path / "whole.whl", arcname=f"package/{LANDMARKS.name}")
        whole = (tmp_path / "whole.tgz").read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(ModelError, match=cut.name):
        find_weights(cut, tmp_path / "cache")


def test_a_damaged_member_is_refused(tmp_path: Path) -> None:
    path = wheel(tmp_path / "a.whl")
    content = bytearray(path.read_bytes())
    place = content.index(LANDMARKS.name.encode()) + len(LANDMARKS.name) + 4
    content[place : place + 8] = bytes(8)
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"a\.whl"):
        find_weights(path, tmp_path / "cache")


def test_a_wheel_of_something_else_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as archive:
        archive.writestr("other/__init__.py", "")
    with pytest.raises(ModelError, match=r"other\.whl: holds no pose_landmark_full\.tflite"):
        find_weights(tmp_path / "other.whl", tmp_path / "cache")
    with pytest.raises(ModelError, match=r"gone\.whl: cannot be read"):
        find_weights(tmp_path / "gone.whl", tmp_path / "cache")


def test_a_changed_cache_is_taken_from_the_file_again(tmp_path: Path) -> None:
    package = wheel(tmp_path / "a.whl")
    found = find_weights(package, tmp_path / "cache")
    found.landmarks.write_bytes(b"changed")
    with pytest.raises(MissingDependencyError):
        find_weights(cache=tmp_path / "cache")
    assert find_weights(package, tmp_path / "cache").landmarks.read_bytes() == LANDMARK_BYTES
