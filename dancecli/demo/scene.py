"""Where a demo video is danced and how it is filmed; drawn from the video's key, never from its style.

The camera is a pinhole that looks level at the stage from `distance` metres; pans, zooms and a
shaky hand are a flat transform of what it sees, laid over background and dancers alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dancecli.demo.keyed_random import Dice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dancecli.demo.skeleton import Array

    Image = NDArray[Any]  # uint8
    Colour = tuple[float, float, float]

MARGIN = 0.22  # how much more than the frame the background shows on each side, for pans
WALL_M = 2.6  # how far behind the stage's middle the wall stands

SKINS: tuple[Colour, ...] = ((198, 168, 142), (224, 188, 162), (164, 118, 86), (120, 82, 58), (86, 58, 42))
HAIRS: tuple[Colour, ...] = ((40, 32, 28), (74, 52, 36), (120, 88, 52), (168, 136, 88), (60, 60, 64))


@dataclass(frozen=True)
class Clothes:
    """Colours (red, green, blue; 0 to 255) and cut of what a dancer wears."""

    skin: Colour
    hair: Colour
    top: Colour
    legs: Colour
    shoes: Colour
    long_sleeves: bool
    shorts: bool
    long_hair: bool
    girth: float


@dataclass(frozen=True)
class Camera:
    """A level pinhole camera in front of the stage, and how it is held.

    Attributes:
        width, height: of the frame, in pixels.
        distance, eye: metres from the stage's middle, and over the floor.
        focal: in pixels.
        centre: where its axis meets the frame, in pixels.
        dice: draws for the movement.
    """

    width: int
    height: int
    distance: float
    eye: float
    focal: float
    centre: tuple[float, float]
    dice: Dice

    def project(self, points: Array) -> tuple[Array, Array]:
        """Put points of the stage into the picture.

        Args:
            points: (..., 3) metres.

        Returns:
            (..., 2) pixels, and (...) pixels a metre there.
        """
        scale = self.focal / np.maximum(self.distance - points[..., 2], 0.3)
        x = self.centre[0] + scale * points[..., 0]
        y = self.centre[1] + scale * (self.eye - points[..., 1])
        return np.stack([x, y], axis=-1), scale

    def motion(self, seconds: Array) -> Array:
        """Give the flat transform of each frame.

        Returns:
            (frames, 2, 3), from the still picture's pixels to the frame's.
        """
        d = self.dice
        pan = d.uniform("pan", 0, 0.07) * self.width
        shake = d.uniform("shake", 0.0, 0.006) * self.width if d.chance("handheld", 0.6) else 0.0
        x = pan * np.sin(2 * np.pi * (seconds / d.uniform("pan period", 6, 14) + d.unit("pan phase")))
        y = (
            0.25
            * pan
            * np.sin(2 * np.pi * (seconds / d.uniform("tilt period", 5, 11) + d.unit("tilt phase")))
        )
        roll = d.uniform("roll", -0.03, 0.03) + 0 * seconds
        zoom = 1 + d.uniform("zoom", 0, 0.06) * np.sin(2 * np.pi * (seconds / 9 + d.unit("zoom phase")))
        for k in range(3):
            hertz, angle = d.uniform(f"hz{k}", 0.4, 2.6), 2 * np.pi * d.unit(f"angle{k}")
            tremor = shake * np.sin(2 * np.pi * hertz * seconds + angle)
            x, y, roll = x + tremor, y + np.roll(tremor, 7), roll + 0.002 * tremor
        cos, sin = zoom * np.cos(roll), zoom * np.sin(roll)
        half_w, half_h = self.width / 2, self.height / 2
        rows = [
            [cos, -sin, half_w + x - cos * half_w + sin * half_h],
            [sin, cos, half_h + y - sin * half_w - cos * half_h],
        ]
        return np.moveaxis(np.array(rows), -1, 0)


def clothes_of(dice: Dice) -> Clothes:
    """Dress a dancer."""
    return Clothes(
        skin=dice.pick("skin", SKINS),
        hair=dice.pick("hair", HAIRS),
        top=_colour(dice, "top", 0.25, 0.95),
        legs=_colour(dice, "legs", 0.15, 0.8),
        shoes=_colour(dice, "shoes", 0.1, 0.9),
        long_sleeves=dice.chance("sleeves", 0.5),
        shorts=dice.chance("shorts", 0.25),
        long_hair=dice.chance("long hair", 0.45),
        girth=dice.uniform("girth", 0.88, 1.18),
    )


def camera_of(dice: Dice, width: int, height: int) -> Camera:
    """Set the camera up: how far, how high, where in the frame the stage's middle stands."""
    distance = dice.uniform("distance", 4.2, 6.0)
    tall = dice.uniform("tall", 0.66, 0.78)  # of the frame's height, for a body of 1.75 m
    eye = dice.uniform("eye", 0.9, 1.5)
    focal = tall * height * distance / 1.75
    floor_at = dice.uniform("floor", 0.88, 0.94) * height
    return Camera(
        width=width,
        height=height,
        distance=distance,
        eye=eye,
        focal=focal,
        centre=(width * dice.uniform("aside", 0.45, 0.55), floor_at - focal * eye / distance),
        dice=Dice(f"{dice.key}/camera"),
    )


def background(dice: Dice, camera: Camera, light: Colour) -> Image:
    """Paint floor and wall once, larger than the frame by `MARGIN` on each side.

    Returns:
        uint8 (height, width, 3), blue first as OpenCV has it.
    """
    import cv2

    left, top = round(MARGIN * camera.width), round(MARGIN * camera.height)
    ys, xs = np.mgrid[-top : camera.height + top, -left : camera.width + left].astype(np.float32)
    behind = camera.distance + WALL_M
    across = (xs - camera.centre[0]) / camera.focal
    down = (ys - camera.centre[1]) / camera.focal
    is_floor = down * behind > camera.eye
    depth = np.where(is_floor, camera.eye / np.maximum(down, 1e-3), behind)
    floor = _floor(dice, across * depth, depth)
    wall = _wall(dice, across * behind, camera.eye - down * behind)
    picture = np.where(is_floor[..., None], floor, wall)
    # The wall's foot is darker, and so is the edge of the light's circle.
    foot = np.exp(
        -np.abs(depth - behind) * np.where(is_floor, 1.2, 0)
        - np.where(is_floor, 0, 9) * np.abs(down * behind - camera.eye)
    )
    spot = dice.uniform("spot", -1.0, 1.0)
    glow = 1.08 - 0.06 * ((across * depth - spot) ** 2)
    picture = picture * (np.clip(glow, 0.55, 1.1) * (1 - 0.22 * foot))[..., None]
    grain = dice.grain("wall grain", *xs.shape)
    blotch = cv2.resize(dice.grain("blotches", 12, 16), xs.shape[::-1], interpolation=cv2.INTER_CUBIC)
    picture = (picture + 3.0 * grain[..., None] + 6.0 * blotch[..., None]) * np.asarray(light)
    image: Image = np.clip(picture[..., ::-1], 0, 255).astype(np.uint8)
    softness = dice.pick("softness", (3, 5, 5))
    return cv2.GaussianBlur(image, (softness, softness), 0) if softness else image


def light_of(dice: Dice) -> Colour:
    """Draw the colour of the light, as gains near 1."""
    level = dice.uniform("level", 0.8, 1.15)
    return (
        level * dice.uniform("red light", 0.88, 1.1),
        level * dice.uniform("green light", 0.92, 1.06),
        level * dice.uniform("blue light", 0.82, 1.12),
    )


def _floor(dice: Dice, x: Any, z: Any) -> Any:
    """Lay planks, tiles or a plain floor; `x` and `z` in metres."""
    base = np.asarray(_colour(dice, "floor colour", 0.30, 0.75, 0.35))
    kind = dice.pick("floor kind", ("planks", "tiles", "checks", "plain"))
    step = dice.uniform("floor step", 0.25, 0.7)
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


def _wall(dice: Dice, x: Any, y: Any) -> Any:
    """Put up a wall, bare, papered, of bricks, curtained, or with pictures; metres."""
    base = np.asarray(_colour(dice, "wall colour", 0.35, 0.9, 0.3))
    other = np.asarray(_colour(dice, "second wall colour", 0.35, 0.9, 0.3))
    kind = dice.pick("wall kind", ("bare", "bricks", "panels", "stripes", "curtain"))
    step = dice.uniform("wall step", 0.3, 1.0)
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
    colour = base * (1 - mix[..., None]) + other * mix[..., None]
    colour = colour * shade[..., None]
    for k in range(dice.pick("pictures", (0, 0, 1, 2))):
        # A poster, a window, a mirror: a framed rectangle at some height.
        cx, cy = dice.uniform(f"px{k}", -3.2, 3.2), dice.uniform(f"py{k}", 1.2, 2.4)
        w, h = dice.uniform(f"pw{k}", 0.25, 0.9), dice.uniform(f"ph{k}", 0.25, 0.7)
        tint = np.asarray(_colour(dice, f"picture{k}", 0.2, 1.0, 0.5))
        inside = (np.abs(x - cx) < w) & (np.abs(y - cy) < h)
        edge = inside & ((np.abs(x - cx) > w - 0.05) | (np.abs(y - cy) > h - 0.05))
        fade = (0.8 + 0.25 * (y - cy) / h)[..., None]
        colour = np.where(inside[..., None], tint * fade, colour)
        colour = np.where(edge[..., None], 0.35 * tint + 20, colour)
    return colour


def _colour(dice: Dice, name: str, dark: float, bright: float, vivid: float = 0.85) -> Colour:
    """Draw a colour between two brightnesses, up to a given saturation."""
    import colorsys

    hue, value = dice.unit(f"{name}/hue"), dice.uniform(f"{name}/value", dark, bright)
    r, g, b = colorsys.hsv_to_rgb(hue, vivid * dice.unit(f"{name}/vivid"), value)
    return 255 * r, 255 * g, 255 * b
