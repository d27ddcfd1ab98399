from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import pose_networks

from dancecli.core.errors import ModelError
from dancecli.storage.pose_files import BLAZEPOSE, torso_px
from dancecli.video.pose.detector import PersonDetector
from dancecli.video.pose.landmarks import SIDE, Crop, LandmarkNetwork, known_picture
from dancecli.video.pose.runtimes import LiteRtRuntime, OpenCvRuntime, Runtime
from dancecli.video.pose.weights import PoseWeights

networks = pose_networks.networks


class Fixed:
    """A runtime that gives the same points for every picture."""

    name = "fixed"

    def __init__(self, points: np.ndarray[Any, Any]) -> None:
        self.points = points

    def run(self, picture: Any) -> list[Any]:
        return [self.points, np.array([[0.9]], np.float32)]


def runtimes(networks: PoseWeights) -> list[Runtime]:
    return [OpenCvRuntime(networks.landmarks), LiteRtRuntime(networks.landmarks)]


def test_both_programs_give_the_known_answer_and_the_same_joints(networks: PoseWeights) -> None:
    picture, crop = known_picture(), Crop(128, 128, 240, 0.1, -0.995)
    looks = [LandmarkNetwork(runtime).look(picture, crop) for runtime in runtimes(networks)]
    assert np.abs(looks[0].joints - looks[1].joints).max() < 0.05
    assert looks[0].presence > 0.5
    top = looks[0].joints[BLAZEPOSE.index("nose")]
    assert abs(top[0] - 128) < 12
    assert abs(top[1] - 62) < 20


def test_opencvs_other_engine_is_refused(networks: PoseWeights) -> None:
    with pytest.raises(ModelError, match=r"OpenCV cannot compute it|computes the pose network wrongly"):
        LandmarkNetwork(OpenCvRuntime(networks.landmarks, engine=2))


def test_another_network_is_refused(networks: PoseWeights) -> None:
    assert networks.detector is not None
    with pytest.raises(ModelError, match="is not the pose network"):
        LandmarkNetwork(LiteRtRuntime(networks.detector))


@pytest.mark.parametrize("runtime", [OpenCvRuntime, LiteRtRuntime])
def test_a_file_that_is_no_network_is_one_sentence(tmp_path: Path, runtime: Any) -> None:
    path = tmp_path / "a.tflite"
    path.write_bytes(b"TFL3 and no more")
    with pytest.raises(ModelError, match=r"a\.tflite: .* cannot compute it"):
        runtime(path)


def test_points_that_are_off_are_refused_whatever_computed_them() -> None:
    with pytest.raises(ModelError, match=r"a known joint is 21. pixels off"):
        LandmarkNetwork(Fixed(np.zeros((1, 195), np.float32)))
    with pytest.raises(ModelError, match="is not the pose network"):
        LandmarkNetwork(Fixed(np.zeros((1, 10), np.float32)))


def test_the_detector_finds_the_drawn_figure(networks: PoseWeights) -> None:
    assert networks.detector is not None
    picture = np.full((256, 512, 3), 128, np.uint8)
    picture[:, 200:456] = known_picture()
    (crop, *others) = PersonDetector(networks.detector).find(picture)
    assert not others
    assert (abs(crop.x - 328) < 20, abs(crop.y - 148) < 25, 150 < crop.side < 320) == (True, True, True)


def test_a_crop_maps_its_middle_corners_and_direction() -> None:
    crop = Crop.around(np.array([100.0, 50.0]), np.array([140.0, 50.0]))  # up is to the right
    assert crop.side == pytest.approx(100)
    to_picture = crop.to_picture
    place = lambda u, v: to_picture[:, :2] @ (u, v) + to_picture[:, 2]  # noqa: E731
    assert place(SIDE / 2, SIDE / 2) == pytest.approx([100, 50])
    assert place(SIDE / 2, 0) == pytest.approx([150, 50])
    assert place(SIDE, SIDE / 2) == pytest.approx([100, 100])
    whole = Crop.whole(np.zeros((100, 200, 3), np.uint8)).to_picture
    assert whole[:, 2] == pytest.approx([0, -50])


def test_a_turned_figure_is_found_where_it_is(networks: PoseWeights) -> None:
    network = LandmarkNetwork(LiteRtRuntime(networks.landmarks))
    upright = network.look(known_picture(), Crop(128, 128, 256))
    turned = network.look(np.rot90(known_picture()).copy(), Crop(128, 128, 256, -1.0, 0.0))
    back = np.stack([256 - turned.joints[:, 1], turned.joints[:, 0]], axis=1)
    torso = torso_px(upright.joints.astype(np.float32), BLAZEPOSE)
    assert (np.linalg.norm(back - upright.joints, axis=1) < 0.2 * torso).mean() > 0.9
