"""Scene and camera of a demo video; drawn from the video's key, never from its style.

The camera is a level pinhole camera at `distance` meters from the stage; pan, zoom and hand shake
are a 2-D transform of its image, applied to background and dancers alike. The names of the draws
are part of the corpus: renaming one draws other videos.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dancecli.demo.keyed_random import KeyedRandom

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dancecli.demo.skeleton import Array

    Image = NDArray[Any]  # uint8
    Color = tuple[float, float, float]

MARGIN = 0.22  # how far the background extends beyond the frame on each side, for pans
WALL_M = 2.6  # distance of the wall behind the center of the stage
_SCREEN = 0.8  # share of the picture of a screen in what is seen there
BOARDS_M = 1.1  # distance of the boards in front of it

SKINS: tuple[Color, ...] = ((198, 168, 142), (224, 188, 162), (164, 118, 86), (120, 82, 58), (86, 58, 42))
HAIRS: tuple[Color, ...] = ((40, 32, 28), (74, 52, 36), (120, 88, 52), (168, 136, 88), (60, 60, 64))


@dataclass(frozen=True)
class Clothes:
    """Colors (red, green, blue; 0 to 255) and cut of what a dancer wears."""

    skin: Color
    hair: Color
    top: Color
    legs: Color
    shoes: Color
    long_sleeves: bool
    shorts: bool
    long_hair: bool
    girth: float


@dataclass(frozen=True)
class Camera:
    """A level pinhole camera in front of the stage, and its motion.

    Attributes:
        width, height: of the frame, in pixels.
        distance, eye: meters from the center of the stage, and above the floor.
        focal: in pixels.
        center: principal point, in pixels.
        rng: random draws for the motion.
    """

    width: int
    height: int
    distance: float
    eye: float
    focal: float
    center: tuple[float, float]
    rng: KeyedRandom

    def project(self, points: Array) -> tuple[Array, Array]:
        """Project points of the stage into the image.

        Args:
            points: of shape (..., 3), in meters.

        Returns:
            positions of shape (..., 2) in pixels, and scales of shape (...) in pixels per meter.
        """
        scale = self.focal / np.maximum(self.distance - points[..., 2], 0.3)
        x = self.center[0] + scale * points[..., 0]
        y = self.center[1] + scale * (self.eye - points[..., 1])
        return np.stack([x, y], axis=-1), scale

    def motion(self, seconds: Array) -> Array:
        """Give the 2-D affine transform of each frame.

        Returns:
            matrices of shape (frames, 2, 3), from pixels of the static image to pixels of the frame.
        """
        d = self.rng
        pan = d.uniform("pan", 0, 0.07) * self.width
        shake = d.uniform("shake", 0.0, 0.006) * self.width if d.chance("handheld", 0.6) else 0.0
        x = pan * np.sin(2 * np.pi * (seconds / d.uniform("pan period", 6, 14) + d.random("pan phase")))
        y = (
            0.25
            * pan
            * np.sin(2 * np.pi * (seconds / d.uniform("tilt period", 5, 11) + d.random("tilt phase")))
        )
        roll = d.uniform("roll", -0.03, 0.03) + 0 * seconds
        zoom = 1 + d.uniform("zoom", 0, 0.06) * np.sin(2 * np.pi * (seconds / 9 + d.random("zoom phase")))
        for k in range(3):
            hertz, angle = d.uniform(f"hz{k}", 0.4, 2.6), 2 * np.pi * d.random(f"angle{k}")
            tremor = shake * np.sin(2 * np.pi * hertz * seconds + angle)
            x, y, roll = x + tremor, y + np.roll(tremor, 7), roll + 0.002 * tremor
        cos, sin = zoom * np.cos(roll), zoom * np.sin(roll)
        half_w, half_h = self.width / 2, self.height / 2
        rows = [
            [cos, -sin, half_w + x - cos * half_w + sin * half_h],
            [sin, cos, half_h + y - sin * half_w - cos * half_h],
        ]
        return np.moveaxis(np.array(rows), -1, 0)


def clothes_of(rng: KeyedRandom) -> Clothes:
    """Draw a dancer's clothes."""
    return Clothes(
        skin=rng.choice("skin", SKINS),
        hair=rng.choice("hair", HAIRS),
        top=_color(rng, "top", 0.25, 0.95),
        legs=_color(rng, "legs", 0.15, 0.8),
        shoes=_color(rng, "shoes", 0.1, 0.9),
        long_sleeves=rng.chance("sleeves", 0.5),
        shorts=rng.chance("shorts", 0.25),
        long_hair=rng.chance("long hair", 0.45),
        girth=rng.uniform("girth", 0.88, 1.18),
    )


def camera_of(rng: KeyedRandom, width: int, height: int) -> Camera:
    """Draw a camera: its distance, its height and the position of the stage in the frame."""
    distance = rng.uniform("distance", 4.2, 6.0)
    tall = rng.uniform("tall", 0.66, 0.78)  # of the frame's height, for a body of 1.75 m
    eye = rng.uniform("eye", 0.9, 1.5)
    focal = tall * height * distance / 1.75
    floor_at = rng.uniform("floor", 0.88, 0.94) * height
    return Camera(
        width=width,
        height=height,
        distance=distance,
        eye=eye,
        focal=focal,
        center=(width * rng.uniform("aside", 0.45, 0.55), floor_at - focal * eye / distance),
        rng=KeyedRandom(f"{rng.key}/camera"),
    )


def background(rng: KeyedRandom, camera: Camera, light: Color) -> Image:
    """Render floor and wall once, larger than the frame by `MARGIN` on each side.

    Returns:
        uint8 image of shape (height, width, 3), in BGR order as in OpenCV.
    """
    import cv2

    left, top = round(MARGIN * camera.width), round(MARGIN * camera.height)
    ys, xs = np.mgrid[-top : camera.height + top, -left : camera.width + left].astype(np.float32)
    behind = camera.distance + WALL_M
    across = (xs - camera.center[0]) / camera.focal
    down = (ys - camera.center[1]) / camera.focal
    is_floor = down * behind > camera.eye
    depth = np.where(is_floor, camera.eye / np.maximum(down, 1e-3), behind)
    floor = _floor(rng, across * depth, depth)
    wall = _wall(rng, across * behind, camera.eye - down * behind)
    picture = np.where(is_floor[..., None], floor, wall)
    # The foot of the wall and the edge of the spotlight are darker.
    foot = np.exp(
        -np.abs(depth - behind) * np.where(is_floor, 1.2, 0)
        - np.where(is_floor, 0, 9) * np.abs(down * behind - camera.eye)
    )
    spot = rng.uniform("spot", -1.0, 1.0)
    glow = 1.08 - 0.06 * ((across * depth - spot) ** 2)
    picture = picture * (np.clip(glow, 0.55, 1.1) * (1 - 0.22 * foot))[..., None]
    grain = rng.noise("wall grain", *xs.shape)
    blotch = cv2.resize(rng.noise("blotches", 12, 16), xs.shape[::-1], interpolation=cv2.INTER_CUBIC)
    picture = (picture + 3.0 * grain[..., None] + 6.0 * blotch[..., None]) * np.asarray(light)
    image: Image = np.clip(picture[..., ::-1], 0, 255).astype(np.uint8)
    softness = rng.choice("softness", (3, 5, 5))
    return cv2.GaussianBlur(image, (softness, softness), 0) if softness else image


def screen_of(rng: KeyedRandom, camera: Camera, fps: int) -> Callable[[Image, int], Image]:
    """Draw a screen that covers what is behind the dancer: bands of two colors that move across it.

    A floor and a wall that stand still do not mislead a network that learned from Kinetics: it sees the
    movement all the same.

    Returns:
        what lays the screen's picture at a frame's number over a background of `background`'s size.
    """
    import cv2

    left, top = round(MARGIN * camera.width), round(MARGIN * camera.height)
    ys, xs = np.mgrid[-top : camera.height + top, -left : camera.width + left].astype(np.float32)
    angle, wide = 2 * np.pi * rng.random("band angle"), rng.uniform("band", 0.15, 0.4) * camera.height
    phase = (256 * (xs * np.cos(angle) + ys * np.sin(angle)) / wide).astype(np.int64).astype(np.uint8)
    one, other = (np.asarray(_color(rng, f"band {k}", 0.2, 1.0, 1.0)) for k in range(2))
    mix = (0.5 + 0.5 * np.sin(2 * np.pi * np.arange(256) / 256))[:, None]
    colors = (one * mix + other * (1 - mix))[:, None, ::-1].astype(np.uint8)
    step = 256 * rng.uniform("bands a second", 0.6, 2.0) / fps
    phase3 = cv2.merge([phase] * 3)

    def lay(picture: Image, t: int) -> Image:
        moved = cv2.LUT(phase3 + np.uint8(round(t * step) % 256), colors)
        laid: Image = cv2.addWeighted(picture, 1 - _SCREEN, moved, _SCREEN, 0)
        return laid

    return lay


def boards_of(rng: KeyedRandom) -> tuple[list[tuple[float, float]], float]:
    """Draw a row of upright boards, half of it gaps.

    Returns:
        the left and right edge of each, and the height of all, in meters.
    """
    step, start = rng.uniform("board step", 0.36, 0.5), rng.random("first board")
    edges = [(step * (k + start), step * (k + start + 0.5)) for k in range(-9, 9)]
    return edges, rng.uniform("board height", 1.7, 2.1)


def board_color(rng: KeyedRandom, number: int) -> Color:
    """Draw the color of a board; those of a row differ a little."""
    red, green, blue = _color(rng, "boards", 0.3, 0.8, 0.4)
    shade = rng.uniform(f"board {number}", 0.85, 1.1)
    return min(255.0, red * shade), min(255.0, green * shade), min(255.0, blue * shade)


def light_of(rng: KeyedRandom) -> Color:
    """Draw the color of the light, as gains near 1."""
    level = rng.uniform("level", 0.8, 1.15)
    return (
        level * rng.uniform("red light", 0.88, 1.1),
        level * rng.uniform("green light", 0.92, 1.06),
        level * rng.uniform("blue light", 0.82, 1.12),
    )


def _floor(rng: KeyedRandom, x: Any, z: Any) -> Any:
    """Render a floor of planks, tiles, checks or plain; `x` and `z` in meters."""
    base = np.asarray(_color(rng, "floor color", 0.30, 0.75, 0.35))
    kind = rng.choice("floor kind", ("planks", "tiles", "checks", "plain"))
    step = rng.uniform("floor step", 0.25, 0.7)
    u, v = x / step, z / step
    if kind == "planks":
        row = np.floor(u)
        shade = 0.9 + 0.16 * (np.sin(row * 12.9898) * 43758.5 % 1) - 0.25 * (u - row < 0.05)
    elif kind == "tiles":
        shade = 1.0 - 0.22 * ((u % 1 < 0.05) | (v % 1 < 0.05))
    elif kind == "checks":
        shade = 0.85 + 0.25 * ((np.floor(u) + np.floor(v)) % 2)
    else:
        shade = np.ones_like(u)
    return base * shade[..., None]


def _wall(rng: KeyedRandom, x: Any, y: Any) -> Any:
    """Render a wall: bare, bricks, panels, stripes or curtain, perhaps with pictures; in meters."""
    base = np.asarray(_color(rng, "wall color", 0.35, 0.9, 0.3))
    other = np.asarray(_color(rng, "second wall color", 0.35, 0.9, 0.3))
    kind = rng.choice("wall kind", ("bare", "bricks", "panels", "stripes", "curtain"))
    step = rng.uniform("wall step", 0.3, 1.0)
    shade, mix = np.ones_like(x), np.zeros_like(x)
    if kind == "bricks":
        row = np.floor(y / 0.16)
        u = x / 0.36 + 0.5 * (row % 2)
        shade = np.where(
            (u % 1 < 0.06) | (y / 0.16 % 1 < 0.12),
            0.78,
            0.92 + 0.12 * (np.sin(row * 7.1 + np.floor(u) * 3.7)),
        )
    elif kind == "panels":
        mix = (y < 1.0) * 0.7
        shade = 1 - 0.25 * ((x / step % 1 < 0.04) | (np.abs(y - 1.0) < 0.04))
    elif kind == "stripes":
        mix = (x / step % 1 < 0.5) * 0.6
    elif kind == "curtain":
        shade = 0.85 + 0.2 * np.sin(2 * np.pi * x / (0.5 * step) + 2 * np.sin(y))
    color = base * (1 - mix[..., None]) + other * mix[..., None]
    color = color * shade[..., None]
    for k in range(rng.choice("pictures", (0, 0, 1, 2))):
        # A poster, a window, a mirror: a framed rectangle at some height.
        cx, cy = rng.uniform(f"px{k}", -3.2, 3.2), rng.uniform(f"py{k}", 1.2, 2.4)
        w, h = rng.uniform(f"pw{k}", 0.25, 0.9), rng.uniform(f"ph{k}", 0.25, 0.7)
        tint = np.asarray(_color(rng, f"picture{k}", 0.2, 1.0, 0.5))
        inside = (np.abs(x - cx) < w) & (np.abs(y - cy) < h)
        edge = inside & ((np.abs(x - cx) > w - 0.05) | (np.abs(y - cy) > h - 0.05))
        fade = (0.8 + 0.25 * (y - cy) / h)[..., None]
        color = np.where(inside[..., None], tint * fade, color)
        color = np.where(edge[..., None], 0.35 * tint + 20, color)
    return color


def _color(rng: KeyedRandom, name: str, dark: float, bright: float, vivid: float = 0.85) -> Color:
    """Draw a color between two brightness values, up to a given saturation."""
    import colorsys

    hue, value = rng.random(f"{name}/hue"), rng.uniform(f"{name}/value", dark, bright)
    r, g, b = colorsys.hsv_to_rgb(hue, vivid * rng.random(f"{name}/vivid"), value)
    return 255 * r, 255 * g, 255 * b
