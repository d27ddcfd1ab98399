"""Draw a dancer: shaded limbs over a painted scene, frame by frame.

What varies between two videos of one style (tempo, body, clothes, place, light, camera, those
who look on) is drawn from the video's key, and from nothing else; the style gives the movement.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dancecli.demo import scene
from dancecli.demo.choreography import STYLES, TEMPO, bystander
from dancecli.demo.keyed_random import Dice
from dancecli.demo.skeleton import Joint, joints

if TYPE_CHECKING:
    from dancecli.demo.scene import Camera, Clothes, Colour, Image
    from dancecli.demo.skeleton import Array

SHIFT = 4  # OpenCV takes places as whole sixteenths of a pixel
J = Joint


@dataclass(frozen=True)
class Film:
    """One source video to be drawn.

    Attributes:
        key: all that varies follows from it.
        style: a name of `moves.STYLES`.
        seconds, fps: its length and rate.
        width, height: in pixels, even.
    """

    key: str
    style: str
    seconds: float
    fps: int = 25
    width: int = 320
    height: int = 240

    @property
    def num_frames(self) -> int:
        """How many frames it has."""
        return round(self.seconds * self.fps)


@dataclass(frozen=True)
class Part:
    """A tapered limb between two places over time, in pixels.

    Attributes:
        ends: (frames, 2, 2).
        radii: (frames, 2).
        colour: red, green, blue.
    """

    ends: Array
    radii: Array
    colour: Colour


def beats_per_minute(key: str) -> float:
    """Draw a video's tempo."""
    return Dice(key).uniform("tempo", *TEMPO)


def frames(film: Film) -> Iterator[Image]:
    """Draw a film.

    Yields:
        uint8 (height, width, 3), blue first.
    """
    import cv2

    dice = Dice(film.key)
    seconds = np.arange(film.num_frames) / film.fps
    camera = scene.camera_of(dice, film.width, film.height)
    light = scene.light_of(dice)
    moves = camera.motion(seconds)
    still = scene.background(dice, camera, light)
    offset = np.array([round(scene.MARGIN * film.width), round(scene.MARGIN * film.height)])
    beats = seconds * beats_per_minute(film.key) / 60 + 16 * dice.unit("first beat")
    stage = _stage(film, dice, beats)
    sun = np.array([dice.uniform("sun x", -0.5, 0.5), -1.0, dice.uniform("sun z", -0.5, -0.1)])
    drawn = [_drawing(body, clothes, camera, moves, light, sun) for body, clothes in stage]
    shadows = [_shadow(body, camera, moves, sun) for body, _ in stage]
    grain = np.clip(
        np.abs(dice.grain("noise", film.height + 64, film.width + 64)) * dice.uniform("noisy", 0.5, 3.5),
        0,
        12,
    ).astype(np.uint8)
    grain3 = cv2.merge([grain] * 3)
    mirrored = dice.chance("mirror", 0.5)
    for t in range(film.num_frames):
        matrix = moves[t].copy()
        matrix[:, 2] -= matrix[:, :2] @ offset
        frame = cv2.warpAffine(
            still, matrix, (film.width, film.height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        frame = _shade(frame, shadows, t)
        for figure in drawn:
            for strokes in figure[t]:
                _stroke(frame, *strokes)
        frame = cv2.GaussianBlur(frame, (3, 3), 0.6)
        a, b, c, e = ((t * p) % 61 for p in (17, 29, 41, 53))
        frame = cv2.add(frame, grain3[a : a + film.height, b : b + film.width])
        frame = cv2.subtract(frame, grain3[c : c + film.height, e : e + film.width])
        yield cv2.flip(frame, 1) if mirrored else frame


def _stage(film: Film, dice: Dice, beats: Array) -> list[tuple[Array, Clothes]]:
    """Place the dancer and those who look on, the farthest first."""
    people = []
    for k in range(dice.pick("bystanders", (0, 0, 0, 1, 2))):
        theirs = Dice(f"{film.key}/bystander{k}")
        body = joints(bystander(beats, theirs), theirs.uniform("height", 0.92, 1.08))
        side = 1 if theirs.chance("side", 0.5) else -1
        spot = np.array([side * theirs.uniform("x", 1.3, 2.6), 0, -theirs.uniform("z", 1.2, 2.2)])
        people.append((body + spot, scene.clothes_of(theirs)))
    people.sort(key=lambda one: float(one[0][0, Joint.PELVIS, 2]))
    pose = STYLES[film.style](beats, dice)
    body = joints(pose, dice.uniform("height", 0.94, 1.06))
    return [*people, (body, scene.clothes_of(dice))]


def _masses(body: Array, clothes: Clothes, camera: Camera) -> list[tuple[list[Part], Array]]:
    """Cut a body into masses, each of some limbs of one shade, with its depth (larger is nearer)."""
    places, scale = camera.project(body)
    sleeve = clothes.top if clothes.long_sleeves else clothes.skin
    shank = clothes.skin if clothes.shorts else clothes.legs
    g = clothes.girth
    masses: list[tuple[list[Part], Array]] = []

    def limb(a: int, b: int, ra: float, rb: float, colour: Colour) -> Part:
        return Part(places[:, (a, b)], np.stack([ra * scale[:, a], rb * scale[:, b]], axis=1), colour)

    def mass(a: int, b: int, nearer: float, *limbs: Part) -> None:
        masses.append((list(limbs), (body[:, a, 2] + body[:, b, 2]) / 2 + nearer))

    for side in (0, 1):
        hip, knee, ankle, toe = J.HIP_L + side, J.KNEE_L + side, J.ANKLE_L + side, J.TOE_L + side
        shoulder, elbow, hand = J.SHOULDER_L + side, J.ELBOW_L + side, J.HAND_L + side
        mass(hip, knee, 0, limb(hip, knee, 0.092 * g, 0.062 * g, clothes.legs))
        mass(knee, ankle, 0, limb(knee, ankle, 0.060 * g, 0.042, shank))
        mass(ankle, toe, 0.02, limb(ankle, toe, 0.048, 0.034, clothes.shoes))
        mass(shoulder, elbow, 0.03, limb(shoulder, elbow, 0.056 * g, 0.044 * g, clothes.top))
        mass(elbow, hand, 0.04, limb(elbow, hand, 0.043 * g, 0.034, sleeve))
        mass(hand, hand, 0.05, limb(hand, hand, 0.048, 0.048, clothes.skin))
    mass(J.PELVIS, J.PELVIS, 0, limb(J.HIP_L, J.HIP_R, 0.098 * g, 0.098 * g, clothes.legs))
    trunk = (
        limb(J.PELVIS, J.WAIST, 0.120 * g, 0.112 * g, clothes.top),
        limb(J.WAIST, J.CHEST, 0.112 * g, 0.135 * g, clothes.top),
        limb(J.SHOULDER_L, J.SHOULDER_R, 0.070, 0.070, clothes.top),
        limb(J.CHEST, J.NECK, 0.135 * g, 0.060, clothes.top),
    )
    mass(J.WAIST, J.CHEST, 0.015, *trunk)
    mass(J.NECK, J.HEAD, 0.01, limb(J.NECK, J.HEAD, 0.050, 0.060, clothes.skin))
    mass(J.HEAD, J.HEAD, 0.02, limb(J.HEAD, J.HEAD, 0.112, 0.112, clothes.hair))
    mass(J.FACE, J.FACE, 0.02, limb(J.FACE, J.FACE, 0.092, 0.092, clothes.skin))
    if clothes.long_hair:
        mass(J.HEAD, J.NECK, -0.06, limb(J.HEAD, J.NECK, 0.105, 0.085, clothes.hair))
    return masses


def _drawing(
    body: Array, clothes: Clothes, camera: Camera, moves: Array, light: Colour, sun: Array
) -> list[list[Any]]:
    """Lay out every stroke of a figure: for each frame, from the farthest mass to the nearest."""
    masses, depths = [], []
    for limbs, depth in _masses(body, clothes, camera):
        dark, bright = [], []
        for limb in limbs:
            moved = replace(limb, ends=_moved(limb.ends, moves))
            toned = [gain * value for gain, value in zip(light, limb.colour, strict=True)]
            dark.append(_outline(moved, None, [0.68 * v for v in toned]))
            bright.append(_outline(moved, sun, [min(255, 1.06 * v + 8) for v in toned]))
        masses.append(dark + bright)
        depths.append(depth)
    order = np.argsort(np.stack(depths, axis=1), axis=1).tolist()
    return [[stroke[t] for k in row for stroke in masses[k]] for t, row in enumerate(order)]


def _moved(places: Array, moves: Array) -> Array:
    """Lay the camera's movement over places of the still picture, (frames, n, 2)."""
    moved: Array = np.einsum("tij,tkj->tki", moves[:, :, :2], places) + moves[:, None, :, 2]
    return moved


def _outline(limb: Part, sun: Array | None, rgb: list[float]) -> list[Any]:
    """Turn a limb into what OpenCV fills: four corners and two discs a frame.

    With a sun it is the lit side, narrower and moved towards the light.
    """
    ends, radii = limb.ends, limb.radii
    if sun is not None:
        ends = ends + radii[..., None] * np.array([-0.5 * sun[0] - 0.1, -0.28])
        radii = 0.66 * radii
    along = ends[:, 1] - ends[:, 0]
    along = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1)[:, None]
    sides = normal * radii[..., None]
    corners = np.concatenate([ends + sides, (ends - sides)[:, ::-1]], axis=1)
    whole = np.rint(corners * 2**SHIFT).astype(np.int32)
    discs = np.rint(ends * 2**SHIFT).astype(int).tolist()
    sizes = np.rint(radii * 2**SHIFT).astype(int).tolist()
    colour = (rgb[2], rgb[1], rgb[0])
    return [(whole[t], discs[t], sizes[t], colour) for t in range(len(whole))]


def _stroke(frame: Image, corners: Any, discs: Any, sizes: Any, colour: Any) -> None:
    import cv2

    if discs[0] != discs[1]:
        cv2.fillConvexPoly(frame, corners, colour, cv2.LINE_AA, SHIFT)
        cv2.circle(frame, discs[1], sizes[1], colour, -1, cv2.LINE_AA, SHIFT)
    cv2.circle(frame, discs[0], sizes[0], colour, -1, cv2.LINE_AA, SHIFT)


SHADOW_BONES = (
    (J.HEAD, J.NECK),
    (J.NECK, J.PELVIS),
    (J.SHOULDER_L, J.ELBOW_L),
    (J.ELBOW_L, J.HAND_L),
    (J.SHOULDER_R, J.ELBOW_R),
    (J.ELBOW_R, J.HAND_R),
    (J.PELVIS, J.KNEE_L),
    (J.KNEE_L, J.ANKLE_L),
    (J.PELVIS, J.KNEE_R),
    (J.KNEE_R, J.ANKLE_R),
)


def _shadow(body: Array, camera: Camera, moves: Array, sun: Array) -> list[Any]:
    """Throw a body's bones on the floor along the light; half the frame's resolution."""
    fallen = body - body[..., 1:2] * (sun / sun[1])
    fallen[..., 2] = np.maximum(fallen[..., 2], -scene.WALL_M)
    places, scale = camera.project(fallen)
    places = _moved(places, moves)
    flat = np.rint(places / 2 * 2**SHIFT).astype(int).tolist()
    thick = np.maximum(1, np.rint(0.055 * scale[:, Joint.PELVIS])).astype(int).tolist()
    return [
        ([(row[a], row[b]) for a, b in SHADOW_BONES], width) for row, width in zip(flat, thick, strict=True)
    ]


def _shade(frame: Image, shadows: list[list[Any]], t: int) -> Image:
    import cv2

    height, width = frame.shape[:2]
    mask = np.zeros((height // 2, width // 2), np.uint8)
    for shadow in shadows:
        bones, thick = shadow[t]
        for a, b in bones:
            cv2.line(mask, a, b, 46, thick, cv2.LINE_8, SHIFT)
    mask = cv2.resize(cv2.blur(mask, (5, 5)), (width, height), interpolation=cv2.INTER_LINEAR)
    darker: Image = cv2.subtract(frame, cv2.merge([mask] * 3))
    return darker
