"""Render a dancer: shaded limbs over a painted scene, frame by frame.

What varies between two videos of one style (tempo, body, clothes, place, light, camera,
bystanders) is drawn from the video's key alone; the style determines only the movement.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dancecli.demo import scene
from dancecli.demo.choreography import STYLES, TEMPO, bystander
from dancecli.demo.keyed_random import KeyedRandom
from dancecli.demo.skeleton import Joint, joints

if TYPE_CHECKING:
    from dancecli.demo.scene import Camera, Clothes, Color, Image
    from dancecli.demo.skeleton import Array

SHIFT = 4  # OpenCV takes positions in sixteenths of a pixel
J = Joint


@dataclass(frozen=True)
class VideoSpec:
    """One synthetic video to render.

    Attributes:
        key: seed of everything that varies.
        style: a name in `choreography.STYLES`.
        seconds, fps: duration and frame rate.
        width, height: in pixels, even.
        place: seed of the floor, the wall and a screen before it; empty: the video's own, and no screen.
        boards: put boards before the dancer that hide half of every limb.
    """

    key: str
    style: str
    seconds: float
    fps: int = 25
    width: int = 320
    height: int = 240
    place: str = ""
    boards: bool = False

    @property
    def num_frames(self) -> int:
        """Number of frames."""
        return round(self.seconds * self.fps)


@dataclass(frozen=True)
class Limb:
    """A tapered limb between two points over time, in pixels.

    Attributes:
        ends: (frames, 2, 2).
        radii: (frames, 2).
        color: red, green, blue.
    """

    ends: Array
    radii: Array
    color: Color


def beats_per_minute(key: str) -> float:
    """Draw a video's tempo."""
    return KeyedRandom(key).uniform("tempo", *TEMPO)


def render(spec: VideoSpec) -> Iterator[Image]:
    """Render a video.

    Yields:
        uint8 frames of shape (height, width, 3), in BGR order.
    """
    import cv2

    rng = KeyedRandom(spec.key)
    seconds = np.arange(spec.num_frames) / spec.fps
    camera = scene.camera_of(rng, spec.width, spec.height)
    light = scene.light_of(rng)
    motion = camera.motion(seconds)
    static = scene.background(KeyedRandom(spec.place) if spec.place else rng, camera, light)
    screen = scene.screen_of(KeyedRandom(spec.place), camera, spec.fps) if spec.place else None
    offset = np.array([round(scene.MARGIN * spec.width), round(scene.MARGIN * spec.height)])
    beats = seconds * beats_per_minute(spec.key) / 60 + 16 * rng.random("first beat")
    stage = _stage(spec, rng, beats)
    sun = np.array([rng.uniform("sun x", -0.5, 0.5), -1.0, rng.uniform("sun z", -0.5, -0.1)])
    drawn = [_drawing(body, clothes, camera, motion, light, sun) for body, clothes in stage]
    shadows = [_shadow(body, camera, motion, sun) for body, _ in stage]
    boards = _boards(rng, camera, motion, light) if spec.boards else []
    grain = np.clip(
        np.abs(rng.noise("noise", spec.height + 64, spec.width + 64)) * rng.uniform("noisy", 0.5, 3.5),
        0,
        12,
    ).astype(np.uint8)
    grain3 = cv2.merge([grain] * 3)
    mirrored = rng.chance("mirror", 0.5)
    for t in range(spec.num_frames):
        matrix = motion[t].copy()
        matrix[:, 2] -= matrix[:, :2] @ offset
        frame = cv2.warpAffine(
            screen(static, t) if screen else static,
            matrix,
            (spec.width, spec.height),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        frame = _shade(frame, shadows, t)
        for person in drawn:
            for strokes in person[t]:
                _stroke(frame, *strokes)
        for corners, color in boards:
            cv2.fillConvexPoly(frame, corners[t], color, cv2.LINE_AA, SHIFT)
        frame = cv2.GaussianBlur(frame, (3, 3), 0.6)
        a, b, c, e = ((t * p) % 61 for p in (17, 29, 41, 53))
        frame = cv2.add(frame, grain3[a : a + spec.height, b : b + spec.width])
        frame = cv2.subtract(frame, grain3[c : c + spec.height, e : e + spec.width])
        yield cv2.flip(frame, 1) if mirrored else frame


def _stage(spec: VideoSpec, rng: KeyedRandom, beats: Array) -> list[tuple[Array, Clothes]]:
    """Place the dancer and the bystanders, the farthest first."""
    people = []
    for k in range(rng.choice("bystanders", (0, 0, 0, 1, 2))):
        theirs = KeyedRandom(f"{spec.key}/bystander{k}")
        body = joints(bystander(beats, theirs), theirs.uniform("height", 0.92, 1.08))
        side = 1 if theirs.chance("side", 0.5) else -1
        spot = np.array([side * theirs.uniform("x", 1.3, 2.6), 0, -theirs.uniform("z", 1.2, 2.2)])
        people.append((body + spot, scene.clothes_of(theirs)))
    people.sort(key=lambda one: float(one[0][0, Joint.PELVIS, 2]))
    pose = STYLES[spec.style](beats, rng)
    body = joints(pose, rng.uniform("height", 0.94, 1.06))
    return [*people, (body, scene.clothes_of(rng))]


def _boards(rng: KeyedRandom, camera: Camera, motion: Array, light: Color) -> list[tuple[Any, Color]]:
    """Put up boards between camera and stage: for each its corners, (frames, 4, 2), and its color."""
    edges, height = scene.boards_of(rng)
    found = []
    for number, (left, right) in enumerate(edges):
        corners = np.array(
            [[x, y, scene.BOARDS_M] for x, y in ((left, 0), (left, height), (right, height), (right, 0))]
        )
        places = _apply_motion(np.broadcast_to(camera.project(corners)[0], (len(motion), 4, 2)), motion)
        toned = [gain * value for gain, value in zip(light, scene.board_color(rng, number), strict=True)]
        found.append((np.rint(places * 2**SHIFT).astype(np.int32), (toned[2], toned[1], toned[0])))
    return found


def _body_parts(body: Array, clothes: Clothes, camera: Camera) -> list[tuple[list[Limb], Array]]:
    """Cut a body into parts, each of some limbs of one shade, with its depth (larger is nearer)."""
    places, scale = camera.project(body)
    sleeve = clothes.top if clothes.long_sleeves else clothes.skin
    shank = clothes.skin if clothes.shorts else clothes.legs
    g = clothes.girth
    parts: list[tuple[list[Limb], Array]] = []

    def limb(a: int, b: int, ra: float, rb: float, color: Color) -> Limb:
        return Limb(places[:, (a, b)], np.stack([ra * scale[:, a], rb * scale[:, b]], axis=1), color)

    def part(a: int, b: int, nearer: float, *limbs: Limb) -> None:
        parts.append((list(limbs), (body[:, a, 2] + body[:, b, 2]) / 2 + nearer))

    for side in (0, 1):
        hip, knee, ankle, toe = J.HIP_L + side, J.KNEE_L + side, J.ANKLE_L + side, J.TOE_L + side
        shoulder, elbow, hand = J.SHOULDER_L + side, J.ELBOW_L + side, J.HAND_L + side
        part(hip, knee, 0, limb(hip, knee, 0.092 * g, 0.062 * g, clothes.legs))
        part(knee, ankle, 0, limb(knee, ankle, 0.060 * g, 0.042, shank))
        part(ankle, toe, 0.02, limb(ankle, toe, 0.048, 0.034, clothes.shoes))
        part(shoulder, elbow, 0.03, limb(shoulder, elbow, 0.056 * g, 0.044 * g, clothes.top))
        part(elbow, hand, 0.04, limb(elbow, hand, 0.043 * g, 0.034, sleeve))
        part(hand, hand, 0.05, limb(hand, hand, 0.048, 0.048, clothes.skin))
    part(J.PELVIS, J.PELVIS, 0, limb(J.HIP_L, J.HIP_R, 0.098 * g, 0.098 * g, clothes.legs))
    trunk = (
        limb(J.PELVIS, J.WAIST, 0.120 * g, 0.112 * g, clothes.top),
        limb(J.WAIST, J.CHEST, 0.112 * g, 0.135 * g, clothes.top),
        limb(J.SHOULDER_L, J.SHOULDER_R, 0.070, 0.070, clothes.top),
        limb(J.CHEST, J.NECK, 0.135 * g, 0.060, clothes.top),
    )
    part(J.WAIST, J.CHEST, 0.015, *trunk)
    part(J.NECK, J.HEAD, 0.01, limb(J.NECK, J.HEAD, 0.050, 0.060, clothes.skin))
    part(J.HEAD, J.HEAD, 0.02, limb(J.HEAD, J.HEAD, 0.112, 0.112, clothes.hair))
    part(J.FACE, J.FACE, 0.02, limb(J.FACE, J.FACE, 0.092, 0.092, clothes.skin))
    if clothes.long_hair:
        part(J.HEAD, J.NECK, -0.06, limb(J.HEAD, J.NECK, 0.105, 0.085, clothes.hair))
    return parts


def _drawing(
    body: Array, clothes: Clothes, camera: Camera, motion: Array, light: Color, sun: Array
) -> list[list[Any]]:
    """List every stroke of a body: for each frame, from the farthest part to the nearest."""
    parts, depths = [], []
    for limbs, depth in _body_parts(body, clothes, camera):
        dark, bright = [], []
        for limb in limbs:
            moved = replace(limb, ends=_apply_motion(limb.ends, motion))
            toned = [gain * value for gain, value in zip(light, limb.color, strict=True)]
            dark.append(_outline(moved, None, [0.68 * v for v in toned]))
            bright.append(_outline(moved, sun, [min(255, 1.06 * v + 8) for v in toned]))
        parts.append(dark + bright)
        depths.append(depth)
    order = np.argsort(np.stack(depths, axis=1), axis=1).tolist()
    return [[stroke[t] for k in row for stroke in parts[k]] for t, row in enumerate(order)]


def _apply_motion(places: Array, motion: Array) -> Array:
    """Apply the camera motion to points of the static image, (frames, n, 2)."""
    moved: Array = np.einsum("tij,tkj->tki", motion[:, :, :2], places) + motion[:, None, :, 2]
    return moved


def _outline(limb: Limb, sun: Array | None, rgb: list[float]) -> list[Any]:
    """Convert a limb into the shapes that OpenCV fills: four corners and two discs per frame.

    With a sun, the shape is the lit side, narrower and shifted towards the light.
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
    color = (rgb[2], rgb[1], rgb[0])
    return [(whole[t], discs[t], sizes[t], color) for t in range(len(whole))]


def _stroke(frame: Image, corners: Any, discs: Any, sizes: Any, color: Any) -> None:
    import cv2

    if discs[0] != discs[1]:
        cv2.fillConvexPoly(frame, corners, color, cv2.LINE_AA, SHIFT)
        cv2.circle(frame, discs[1], sizes[1], color, -1, cv2.LINE_AA, SHIFT)
    cv2.circle(frame, discs[0], sizes[0], color, -1, cv2.LINE_AA, SHIFT)


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


def _shadow(body: Array, camera: Camera, motion: Array, sun: Array) -> list[Any]:
    """Project a body's bones onto the floor along the light, at half the frame's resolution."""
    fallen = body - body[..., 1:2] * (sun / sun[1])
    fallen[..., 2] = np.maximum(fallen[..., 2], -scene.WALL_M)
    places, scale = camera.project(fallen)
    places = _apply_motion(places, motion)
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
