from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dancecli.core.labels import DEFAULT_LABELS, LabelSet
from dancecli.demo.choreography import SEPARABLE, STYLES
from dancecli.demo.keyed_random import KeyedRandom
from dancecli.demo.renderer import VideoSpec, render
from dancecli.demo.skeleton import FOREARM_M, SHANK_M, THIGH_M, UPPER_ARM_M, Joint, joints

BONES = {
    (Joint.HIP_L, Joint.KNEE_L): THIGH_M,
    (Joint.KNEE_R, Joint.ANKLE_R): SHANK_M,
    (Joint.SHOULDER_L, Joint.ELBOW_L): UPPER_ARM_M,
    (Joint.ELBOW_R, Joint.HAND_R): FOREARM_M,
}


def drawn(video: VideoSpec) -> np.ndarray:
    return np.stack(list(render(video)))


def small(key: str, style: str, seconds: float = 0.4) -> VideoSpec:
    return VideoSpec(key, style, seconds, fps=5, width=96, height=72)


def test_styles_are_those_of_the_demo_label_set_and_of_the_paper() -> None:
    demo = LabelSet.read(DEFAULT_LABELS.with_name("demo.txt"))
    assert tuple(STYLES) == demo.names
    assert tuple(SEPARABLE) == LabelSet.read(DEFAULT_LABELS.with_name("separable.txt")).names
    assert all(name in LabelSet.read(DEFAULT_LABELS) for name in demo)


@pytest.mark.parametrize("style", STYLES)
def test_a_body_keeps_its_bone_lengths_stays_above_the_floor_and_moves_smoothly(style: str) -> None:
    beats = np.arange(600) / 25 * 110 / 60
    body = joints(STYLES[style](beats, KeyedRandom("bones")))
    assert np.isfinite(body).all()
    for (a, b), length in BONES.items():
        assert np.linalg.norm(body[:, a] - body[:, b], axis=1) == pytest.approx(length, abs=0.01)
    assert body[..., 1].min() > -0.15
    # No limb crosses half a body in one frame; steps at a change of figure would.
    steps = np.linalg.norm(np.diff(body, axis=0), axis=-1)
    assert np.quantile(steps.max(axis=1), 0.98) < 0.7
    assert np.abs(body[:, Joint.PELVIS, 0]).max() < 1.6


def test_partner_dances_share_their_basic_step() -> None:
    beats = np.arange(300) / 25 * 110 / 60

    def distance(one: str, other: str) -> float:
        bodies = [joints(STYLES[style](beats, KeyedRandom("pair"))) for style in (one, other)]
        return float(np.linalg.norm(bodies[0] - bodies[1], axis=-1).mean())

    partner = [style for style in STYLES if style not in SEPARABLE]
    assert len(partner) == 3
    within = [distance(one, other) for one in partner for other in partner if one < other]
    apart = [distance(one, other) for one in SEPARABLE for other in STYLES if one != other]
    assert min(within) > 0
    assert max(within) < 0.5 * min(apart)


def test_the_same_key_draws_the_same_frames_and_another_key_others() -> None:
    one, again, other = (drawn(small(key, "robot dancing")) for key in ("a", "a", "b"))
    assert hashlib.sha256(one).hexdigest() == hashlib.sha256(again).hexdigest()
    assert one.shape == (2, 72, 96, 3)
    assert one.dtype == np.uint8
    assert (one != other).mean() > 0.9


def test_a_style_changes_the_dancer_and_nothing_else() -> None:
    videos = [drawn(small("same key", style))[0].astype(int) for style in STYLES]
    for other in videos[1:]:
        changed = np.abs(videos[0] - other).max(axis=-1) > 8
        assert 0.01 < changed.mean() < 0.35


def test_boards_hide_half_of_what_they_stand_before() -> None:
    plain = VideoSpec("a", "jumpstyle dancing", seconds=0.2, fps=5)
    free, hidden = drawn(plain)[0], drawn(replace(plain, boards=True))[0]
    changed = np.abs(free.astype(int) - hidden).max(axis=-1) > 8
    assert 0.4 < changed[80:200].mean() < 0.6
    assert 0.3 < changed[80:200, 120:200].mean() < 0.7  # where the dancer is


def test_the_screen_of_a_place_moves_and_is_the_same_in_every_video() -> None:
    def hues(video: VideoSpec) -> np.ndarray:
        pixels = drawn(video)[0].reshape(-1, 3).astype(float)
        return pixels.mean(axis=0) / pixels.mean()

    plain = small("a", "robot dancing")
    placed = replace(plain, place="here")
    still, moving = (np.abs(np.diff(drawn(v).astype(int), axis=0)).max(axis=-1) for v in (plain, placed))
    assert (moving > 30).mean() > 0.4 > 4 * (still > 30).mean()
    same = np.abs(hues(placed) - hues(replace(placed, key="b"))).max()
    other = np.abs(hues(placed) - hues(replace(placed, place="there"))).max()
    assert same < 0.15 < other


def appearance(clip: np.ndarray) -> np.ndarray:
    """Features of static appearance: color histograms, means and deviations, and the mean image in 6x8."""
    pixels = clip.reshape(-1, 3)
    bars = [np.histogram(pixels[:, c], bins=12, range=(0, 256), density=True)[0] * 100 for c in range(3)]
    mean = clip.mean(axis=0).reshape(6, 12, 8, 12, 3).mean(axis=(1, 3)) / 255
    return np.concatenate([*bars, pixels.mean(axis=0) / 255, pixels.std(axis=0) / 255, mean.ravel()])


def accuracy_from_appearance(videos_per_style: int, tint: float, planted: bool = False) -> float:
    """Accuracy, cross-validated, of classifying the style by the appearance of clips of one second.

    With a tint each style gets its own shade, to check that the test can fail.
    """
    found, names = [], []
    for index, style in enumerate(SEPARABLE):
        for number in range(videos_per_style):
            video = replace(small(f"{style}/{number}", style, 0.8), place=style if planted else "")
            clip = drawn(video).astype(float)
            clip[..., index % 3] += tint * (1 if index < 3 else -1)
            found.append(appearance(np.clip(clip, 0, 255)))
            names.append(style)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    return float(cross_val_score(model, np.array(found), names, cv=5).mean())


def test_no_style_can_be_told_by_color_or_scene() -> None:
    # Chance is 1 in 6; 150 clips give a deviation of 3 points.
    assert accuracy_from_appearance(25, tint=0) < 0.30
    assert accuracy_from_appearance(25, tint=60) > 0.80


def test_a_planted_place_tells_the_style() -> None:
    assert accuracy_from_appearance(10, tint=0, planted=True) > 0.70
