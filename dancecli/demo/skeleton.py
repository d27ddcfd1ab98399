"""An articulated skeleton: from a pose over time to the positions of its joints in space.

Axes: x to the viewer's right, y up, z towards the viewer; meters, for a body of 1.75 m. A pose
is given in the dancer's own frame (on the floor below them, looking along +z, their left at +x)
and then turned by `heading` and moved by `place`. The first axis of every array is frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

UPPER_ARM_M, FOREARM_M, THIGH_M, SHANK_M = 0.29, 0.27, 0.44, 0.43
ANKLE_M = 0.09
STANDING_M = 0.94  # height of the pelvis over the floor, knees a little bent


class Joint(IntEnum):
    """Rows of the joint array."""

    PELVIS = 0
    WAIST = 1
    CHEST = 2
    NECK = 3
    HEAD = 4
    FACE = 5
    HIP_L = 6
    HIP_R = 7
    KNEE_L = 8
    KNEE_R = 9
    ANKLE_L = 10
    ANKLE_R = 11
    TOE_L = 12
    TOE_R = 13
    SHOULDER_L = 14
    SHOULDER_R = 15
    ELBOW_L = 16
    ELBOW_R = 17
    HAND_L = 18
    HAND_R = 19


@dataclass(frozen=True)
class Pose:
    """A dancer's pose over time; left before right where there are two.

    Attributes:
        pelvis: its position, (frames, 3).
        hips, chest, head: turns as (frames, 3) of yaw, pitch (forward is positive) and roll
            (to the dancer's left is positive), in radians, each in the dancer's frame.
        hands, feet: target positions of wrists and ankles, (2, frames, 3); a target out of reach
            is moved back along the line.
        elbows, knees: directions in which they bend, (2, frames, 3).
        toes: directions of the feet, (2, frames, 3).
        place: of the frame's origin on the stage, (frames, 3).
        heading: yaw of the frame, (frames,).
    """

    pelvis: Array
    hips: Array
    chest: Array
    head: Array
    hands: Array
    feet: Array
    elbows: Array
    knees: Array
    toes: Array
    place: Array
    heading: Array


def vec(x: Any, y: Any, z: Any) -> Array:
    """Stack three coordinates, each a number or one number per frame, as (frames, 3) or (3,)."""
    return np.stack(np.broadcast_arrays(*(np.asarray(v, np.float64) for v in (x, y, z))), axis=-1)


def rotation(turn: Array) -> Array:
    """Build rotation matrices from (yaw, pitch, roll).

    Returns:
        (frames, 3, 3); the roll comes first, then the pitch, then the yaw.
    """
    (cy, cp, cr), (sy, sp, sr) = np.moveaxis(np.cos(turn), -1, 0), np.moveaxis(np.sin(turn), -1, 0)
    zero, one = np.zeros_like(cy), np.ones_like(cy)

    def matrix(*cells: Array) -> Array:
        return np.stack(cells, axis=-1).reshape(*cy.shape, 3, 3)

    yaw = matrix(cy, zero, sy, zero, one, zero, -sy, zero, cy)
    pitch = matrix(one, zero, zero, zero, cp, -sp, zero, sp, cp)
    roll = matrix(cr, sr, zero, -sr, cr, zero, zero, zero, one)
    product: Array = yaw @ pitch @ roll
    return product


def apply(matrix: Array, offset: tuple[float, float, float]) -> Array:
    """Rotate one offset by each frame's matrix."""
    turned: Array = matrix @ np.asarray(offset)
    return turned


def bend(root: Array, target: Array, pole: Array, upper: float, lower: float) -> tuple[Array, Array]:
    """Solve a limb of two bones (inverse kinematics).

    Returns:
        the middle joint, and the end where the limb can reach; each (frames, 3).
    """
    reach = target - root
    distance = np.linalg.norm(reach, axis=-1, keepdims=True)
    along = reach / np.maximum(distance, 1e-6)
    distance = np.clip(distance, abs(upper - lower) + 0.03, upper + lower - 0.004)
    side = pole - along * np.sum(pole * along, axis=-1, keepdims=True)
    side = side / np.maximum(np.linalg.norm(side, axis=-1, keepdims=True), 1e-6)
    near = (distance**2 + upper**2 - lower**2) / (2 * distance)
    out = np.sqrt(np.maximum(upper**2 - near**2, 0.0))
    return root + along * near + side * out, root + along * distance


def joints(pose: Pose, height: float = 1.0) -> Array:
    """Compute the position of every joint on the stage.

    Args:
        pose: the dancer's pose over time.
        height: body height as a fraction of 1.75 m.

    Returns:
        (frames, joints, 3), rows by `Joint`.
    """
    hips, chest, head = rotation(pose.hips), rotation(pose.chest), rotation(pose.head)
    body = np.empty((len(pose.pelvis), len(Joint), 3))
    body[:, Joint.PELVIS] = pose.pelvis
    body[:, Joint.WAIST] = pose.pelvis + apply(hips, (0, 0.15, 0))
    body[:, Joint.CHEST] = body[:, Joint.WAIST] + apply(chest, (0, 0.20, 0))
    body[:, Joint.NECK] = body[:, Joint.CHEST] + apply(chest, (0, 0.17, 0))
    body[:, Joint.HEAD] = body[:, Joint.NECK] + apply(head, (0, 0.15, 0.02))
    body[:, Joint.FACE] = body[:, Joint.HEAD] + apply(head, (0, -0.02, 0.06))
    for side, sign in enumerate((1, -1)):
        hip = pose.pelvis + apply(hips, (sign * 0.10, -0.05, 0))
        knee, ankle = bend(hip, pose.feet[side], pose.knees[side], THIGH_M, SHANK_M)
        shoulder = body[:, Joint.CHEST] + apply(chest, (sign * 0.185, 0.12, 0))
        elbow, hand = bend(shoulder, pose.hands[side], pose.elbows[side], UPPER_ARM_M, FOREARM_M)
        toes = pose.toes[side] / np.maximum(np.linalg.norm(pose.toes[side], axis=-1, keepdims=True), 1e-6)
        body[:, Joint.HIP_L + side] = hip
        body[:, Joint.KNEE_L + side] = knee
        body[:, Joint.ANKLE_L + side] = ankle
        body[:, Joint.TOE_L + side] = ankle + 0.18 * toes - vec(0, 0.05, 0)
        body[:, Joint.SHOULDER_L + side] = shoulder
        body[:, Joint.ELBOW_L + side] = elbow
        body[:, Joint.HAND_L + side] = hand
    turned = np.einsum("tij,tkj->tki", rotation(vec(pose.heading, 0, 0)), body)
    placed: Array = (turned + pose.place[:, None]) * height
    return placed
