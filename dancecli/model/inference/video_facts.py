"""What a result says of one video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dancecli.core.progress import Reporter
from dancecli.core.statistics.calibration import prediction_set
from dancecli.model.encoding.model_file import TrajectoryClassifier
from dancecli.model.inference.calibration import DIGITS, Calibration
from dancecli.model.inference.predictor import (
    Predictor,
    predict_pose_windows,
    predict_tracked_windows,
    predict_windows,
)
from dancecli.model.inference.reading import Reading
from dancecli.model.inference.timeline import mean_distance, mean_scores, segments, slots


def video_facts(
    predictor: Predictor | TrajectoryClassifier, reading: Reading, path: Path, reporter: Reporter
) -> dict[str, Any]:
    """Score a video, and say what the result says of it: probabilities, windows and segments.

    Args:
        predictor: the network, or the model of trajectories.
        reading: how it reads videos.
        path: the video.
        reporter: in seconds of video.

    Raises:
        MediaError: it cannot be read.
    """
    if isinstance(predictor, TrajectoryClassifier):
        assert reading.tracks_of is not None  # noqa: S101 - the plan was refused without
        windows, stream = predict_tracked_windows(
            predictor, path, reading.window_s, reading.tracks_of, reading.calibration, reporter
        )
    elif predictor.reads_poses and reading.poses_of is not None:
        windows, stream = predict_pose_windows(predictor, path, reading.window_s, reading.poses_of, reporter)
    else:
        windows, stream = predict_windows(predictor, path, reading.window_s, reporter, reading.decoder)
    parts = slots(windows)
    labels, scores = predictor.labels, mean_scores(parts)

    def read(scores: Sequence[float], distance: float) -> dict[str, Any]:
        return _read(reading.calibration, labels, scores, distance)

    best = sorted(range(len(labels)), key=lambda i: (-scores[i], i))[:5]
    return {
        "fault": stream.fault,
        "decoder": stream.decoder,
        "seconds": round(stream.seconds, 3),
        "frames": stream.frames,
        "top5": [{"label": labels[i], "probability": round(scores[i], DIGITS)} for i in best],
        "scores": [round(score, DIGITS) for score in scores],
        **read(scores, mean_distance(windows)),
        "segments": [
            {
                "start_s": round(s.start_s, 3),
                "end_s": round(s.end_s, 3),
                "label": labels[s.label_index],
                "probability": round(s.probability, DIGITS),
                **read(mean_scores(parts, s.start_s, s.end_s), mean_distance(windows, s.start_s, s.end_s)),
            }
            for s in segments(windows)
        ],
        "windows": [
            {
                "start_s": round(w.start_s, 3),
                "end_s": round(w.end_s, 3),
                "scores": [round(score, DIGITS) for score in w.scores],
                **read(w.scores, w.distance),
            }
            for w in windows
        ],
    }


def _read(
    found: Calibration, labels: Sequence[str], scores: Sequence[float], distance: float
) -> dict[str, Any]:
    """Say which styles a stretch may be of, and whether it is of none; as far as it was asked for."""
    reading: dict[str, Any] = {}
    if found.level is not None:
        reading["set"] = [labels[i] for i in prediction_set(scores, found.least)]
    if found.rate is not None:
        # As the limit is: a clip that sets it is not beyond it by an error of rounding.
        distance = round(distance, DIGITS)
        reading |= {"unknown": distance > found.farthest, "distance": distance}
    return reading
