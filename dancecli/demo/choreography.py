"""The demo's dance styles as movement only: the pose of a body at each beat.

A style is a function of beats; colors, place and camera are drawn elsewhere, independently of the
style. Six styles have nothing in common. Three partner dances share their basic step, as salsa, swing
and tango do, and differ by a character that some dancers hardly show. The names are a subset of the
shipped label set (`manifests/label-sets/demo.txt`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from dancecli.demo.keyed_random import KeyedRandom
from dancecli.demo.skeleton import ANKLE_M, STANDING_M, Pose, vec

if TYPE_CHECKING:
    from dancecli.demo.skeleton import Array

TAU = 2 * np.pi
Choreography = Callable[["Array", KeyedRandom], Pose]


def wave(phase: Array, low: float = -1.0, high: float = 1.0) -> Array:
    """Oscillate between two values, once per unit of phase, rising from the middle."""
    swung: Array = (low + high) / 2 + (high - low) / 2 * np.sin(TAU * phase)
    return swung


def ease(share: Array) -> Array:
    """Go from 0 to 1 with a smooth start and end; constant outside."""
    share = np.clip(share, 0, 1)
    eased: Array = share * share * (3 - 2 * share)
    return eased


def sequence(beats: Array, keys: Array, travel: float, start: float = 0.0) -> Array:
    """Cycle through a list of key poses, one per beat.

    Args:
        beats: of shape (frames,).
        keys: of shape (poses, ...).
        travel: the fraction of a beat spent moving; the pose is held for the rest.
        start: the fraction of the beat at which the movement begins.

    Returns:
        of shape (frames, ...).
    """
    index = np.floor(beats).astype(int)
    share = ease((beats - index - start) / travel).reshape(-1, *[1] * (keys.ndim - 1))
    count = len(keys)
    held: Array = keys[(index - 1) % count] * (1 - share) + keys[index % count] * share
    return held


def both(left: Array, right: Array, frames: int) -> Array:
    """Stack left and right into shape (2, frames, 3)."""
    return np.stack([np.broadcast_to(side, (frames, 3)) for side in (left, right)])


def still(frames: int, low: float = 0.0) -> dict[str, Array]:
    """Give the neutral standing pose from which every style starts, crouched by `low` meters."""
    zero = np.zeros((frames, 3))
    return {
        "pelvis": zero + vec(0, STANDING_M - low, 0),
        "hips": zero,
        "chest": zero,
        "head": zero,
        "hands": both(vec(0.28, 0.92, 0.08), vec(-0.28, 0.92, 0.08), frames),
        "feet": both(vec(0.14, ANKLE_M, 0), vec(-0.14, ANKLE_M, 0), frames),
        "elbows": both(vec(0.6, 0, -1), vec(-0.6, 0, -1), frames),
        "knees": both(vec(0.2, 0, 1), vec(-0.2, 0, 1), frames),
        "toes": both(vec(0.35, 0, 1), vec(-0.35, 0, 1), frames),
        "place": zero,
        "heading": np.zeros(frames),
    }


def bystander(beats: Array, rng: KeyedRandom) -> Pose:
    """Sway at the edge of the floor and now and then clap: the same for every style."""
    n = len(beats)
    sway = rng.uniform("sway", 0.01, 0.05) * wave(beats / 2 + rng.random("phase"))
    pose = still(n, low=0.01)
    pose["pelvis"] = pose["pelvis"] + vec(sway, 0, 0)
    pose["chest"] = vec(0, 0.03, 1.2 * sway)
    if rng.chance("clap", 0.4):
        gap = wave(beats + rng.random("phase"), 0.03, 0.16)
        pose["hands"] = both(vec(gap, 1.22, 0.32), vec(-gap, 1.22, 0.32), n)
    elif rng.chance("crossed", 0.4):
        pose["hands"] = both(vec(-0.12, 1.15, 0.2), vec(0.12, 1.12, 0.2), n)
    pose["heading"] = np.full(n, rng.uniform("look", -0.5, 0.5))
    return Pose(**pose)


def belly_dancing(beats: Array, rng: KeyedRandom) -> Pose:
    """Isolate the hips, which circle and drop, under a quiet chest and arms that snake overhead."""
    n = len(beats)
    swing = rng.uniform("swing", 0.16, 0.21)
    circle = beats / 2 if rng.chance("slow", 0.4) else beats
    shimmy = 0.12 * wave(beats * 3) * (wave(beats / 8, 0, 1) > 0.4)
    x, z = swing * wave(circle), 0.6 * swing * wave(circle + 0.25)
    pose = still(n, low=0.07)
    pose["pelvis"] = pose["pelvis"] + vec(x, 0.03 * wave(2 * circle), z)
    pose["hips"] = vec(0.5 * wave(circle + 0.25) + shimmy, 0.25 * wave(circle), -3.0 * x + 2 * shimmy)
    pose["chest"] = vec(-0.12 * wave(circle + 0.25), -0.08, -1.6 * x)
    pose["head"] = vec(0.2 * wave(beats / 8), -0.05, 0.15 * wave(beats / 4))
    arms = []
    for side, sign in enumerate((1, -1)):
        slow = beats / 4 + side * 0.5
        arms.append(vec(sign * (0.17 + 0.09 * wave(slow)), 1.84 + 0.06 * wave(slow), 0.10))
    pose["hands"] = both(arms[0], arms[1], n)
    pose["elbows"] = both(vec(1, -0.3, -0.2), vec(-1, -0.3, -0.2), n)
    pose["heading"] = rng.uniform("facing", -0.5, 0.5) + 0.5 * wave(beats / 24)
    return Pose(**pose)


def breakdancing(beats: Array, rng: KeyedRandom) -> Pose:
    """Take the floor: legs that sweep round a body propped on its hands, then spins on the back."""
    n = len(beats)
    turn = 1 if rng.chance("clockwise", 0.5) else -1
    block = np.floor(beats / 8 + rng.random("block")).astype(int) % 2
    circle = turn * beats / 2 * TAU
    prop = still(n)
    legs, hands = [], []
    for side, sign in enumerate((1, -1)):
        phase = circle + side * 0.9
        # Propped on the hands, the feet run round them and one leg threads through.
        sweep = vec(
            0.75 * np.sin(phase), ANKLE_M + 0.18 * np.maximum(0, np.sin(phase * 2)), 0.75 * np.cos(phase)
        )
        # On the back: legs in a wide V that spins like a blade.
        blade = vec(
            sign * 0.62 * np.cos(2 * circle) + 0.15 * np.sin(2 * circle),
            0.62 + 0.22 * np.sin(2 * circle + side * np.pi),
            -sign * 0.62 * np.sin(2 * circle) + 0.15 * np.cos(2 * circle),
        )
        legs.append(np.where(block[:, None] == 0, sweep, blade))
        grip = vec(
            sign * 0.22 - 0.35 * np.sin(circle),
            0.04 + 0.25 * np.maximum(0, sign * np.sin(circle)),
            -0.35 * np.cos(circle),
        )
        flat = vec(sign * 0.5 * np.cos(2 * circle), 0.1, -sign * 0.5 * np.sin(2 * circle))
        hands.append(np.where(block[:, None] == 0, grip, flat))
    on_back = block[:, None] == 1
    low = vec(0.12 * np.sin(circle), 0.36 + 0.05 * np.sin(2 * circle), 0.12 * np.cos(circle))
    prop["pelvis"] = np.where(on_back, vec(0, 0.25, 0), low)
    prop["hips"] = np.where(on_back, vec(2 * circle, -1.9, 0), vec(circle, -0.9, 0))
    prop["chest"] = np.where(on_back, vec(2 * circle, -1.75, 0), vec(circle, -0.75, 0.3 * np.sin(circle)))
    prop["head"] = np.where(on_back, vec(2 * circle, -1.5, 0), vec(circle, -0.2, 0))
    prop["feet"] = both(legs[0], legs[1], n)
    prop["hands"] = both(hands[0], hands[1], n)
    prop["knees"] = both(vec(0.3, 1, 0), vec(-0.3, 1, 0), n)
    prop["elbows"] = both(vec(1, 0.3, 0), vec(-1, 0.3, 0), n)
    prop["heading"] = np.full(n, rng.uniform("facing", -np.pi, np.pi))
    return Pose(**prop)


def ballet(beats: Array, rng: KeyedRandom) -> Pose:
    """Turn and turn along a circle on the tips of both feet, the arms closing and opening."""
    n = len(beats)
    turns = beats * rng.uniform("speed", 0.62, 0.8)
    out = ease(wave(turns, -0.3, 1.3))[:, None]
    rise = 0.11
    pose = still(n)
    pose["pelvis"] = np.zeros((n, 3)) + vec(0, STANDING_M + rise + 0.05, 0)
    pose["chest"] = pose["chest"] + vec(0, -0.08, 0)
    pose["head"] = pose["head"] + vec(0, -0.12, 0)
    step = 0.05 * wave(2 * turns)
    pose["feet"] = both(vec(0.05, ANKLE_M + rise, step), vec(-0.05, ANKLE_M + rise, -step), n)
    pose["toes"] = both(vec(0.15, -2.2, 1), vec(-0.15, -2.2, 1), n)
    ring, open_wide = vec(0.09, 1.26, 0.44), vec(0.72, 1.42, 0.14)
    left = ring + (open_wide - ring) * out
    pose["hands"] = both(left, left * np.array([-1, 1, 1]), n)
    pose["elbows"] = both(vec(1, -0.1, 0), vec(-1, -0.1, 0), n)
    pose["heading"] = TAU * (turns + rng.random("facing"))
    round_stage = TAU * (beats / 12 + rng.random("where"))
    pose["place"] = vec(0.55 * np.sin(round_stage), 0, 0.45 * np.cos(round_stage))
    return Pose(**pose)


def jumpstyle(beats: Array, rng: KeyedRandom) -> Pose:
    """Hop on every beat, one leg kicking high to the front and then to the back, fists pumping."""
    n = len(beats)
    order = np.array([0, 1, 0, 1]) if rng.chance("plain", 0.6) else np.array([0, 0, 1, 1])
    beat = np.floor(beats).astype(int)
    share = beats - beat
    kick = np.sin(np.pi * np.clip(share / 0.9, 0, 1))
    hop = 0.30 * np.sin(np.pi * share)
    kicker = order[beat % 4]
    forward = np.where(beat % 4 < 2, 1.0, -0.75)
    pose = still(n, low=0.03)
    pose["pelvis"] = vec(0, STANDING_M - 0.05 + hop, 0)
    pose["chest"] = vec(0, -0.22 * kick * forward, 0)
    pose["hips"] = vec(0, -0.2 * kick * forward, 0)
    feet, hands = [], []
    for side, sign in enumerate((1, -1)):
        mine = np.where(kicker == side, kick, 0.0)
        feet.append(vec(sign * 0.11, ANKLE_M + hop + 0.55 * mine, 0.72 * mine * forward - 0.06))
        pump = (kicker != side) * kick * forward
        hands.append(vec(sign * 0.30, 1.08 + 0.22 * np.abs(pump), 0.12 + 0.38 * pump))
    pose["feet"] = both(feet[0], feet[1], n)
    pose["hands"] = both(hands[0], hands[1], n)
    pose["toes"] = both(vec(0.1, -0.2, 1), vec(-0.1, -0.2, 1), n)
    side_on = rng.choice("side", (-1.0, 1.0))
    pose["heading"] = side_on * rng.uniform("facing", 0.7, 1.3) + 0.25 * wave(beats / 16)
    return Pose(**pose)


def moon_walking(beats: Array, rng: KeyedRandom) -> Pose:
    """Glide backwards in profile, one foot flat and sliding while the other stands on its toes."""
    n = len(beats)
    stride = rng.uniform("stride", 0.30, 0.36)
    length = 5
    walk = np.floor(beats / length).astype(int)
    along = beats - walk * length
    gliding = np.clip(along, 0, length - 1)
    pose = still(n, low=0.05)
    feet, toes = [], []
    for side in range(2):
        phase = (gliding + side) % 2
        flat = phase < 1
        share = phase % 1
        z = np.where(flat, stride * (0.5 - share), stride * (share - 0.5))
        heel = np.where(flat, 0.0, 0.15 * np.sin(np.pi * np.clip(share * 1.1 + 0.05, 0, 1)) ** 0.5)
        x = 0.08 if side == 0 else -0.08
        feet.append(vec(x, ANKLE_M + heel, z + 0.5 * heel))
        toes.append(vec(0, -6.0 * heel, 1))
    pose["feet"] = both(feet[0], feet[1], n)
    pose["toes"] = both(toes[0], toes[1], n)
    pose["knees"] = both(vec(0.05, 0, 1), vec(-0.05, 0, 1), n)
    pose["hips"] = vec(0, 0.06, 0)
    pose["chest"] = vec(0, 0.16, 0)
    pose["head"] = vec(0, 0.1 + 0.12 * wave(beats), 0)
    swing = 0.16 * wave(beats / 2)
    pose["hands"] = both(vec(0.26, 0.95, 0.12 + swing), vec(-0.26, 0.95, 0.12 - swing), n)
    if rng.chance("hat", 0.4):
        pose["hands"][0] = vec(0.14, 1.66, 0.2)
    pivot = ease(along - (length - 1))
    start = rng.choice("side", (-1.0, 1.0))
    sense = start * np.where(walk % 2 == 0, 1.0, -1.0)
    pose["heading"] = sense * np.pi / 2 + np.pi * pivot + rng.uniform("skew", -0.2, 0.2)
    pose["place"] = vec(sense * stride * ((length - 1) / 2 - gliding), 0, 0)
    return Pose(**pose)


def robot_dancing(beats: Array, rng: KeyedRandom) -> Pose:
    """Snap from one rigid pose to the next, elbows square, and freeze in between."""
    n = len(beats)
    count = 16
    tick = beats * 1.5
    keys = {name: np.zeros((count, 3)) for name in ("left", "right", "chest", "head")}
    for k in range(count):
        bent = [rng.choice(f"arm{side}{k}", ("up", "front", "down", "side")) for side in range(2)]
        for name, sign, how in (("left", 1, bent[0]), ("right", -1, bent[1])):
            keys[name][k] = {
                "up": (sign * 0.47, 1.68, 0.05),
                "front": (sign * 0.24, 1.13, 0.36),
                "down": (sign * 0.47, 1.14, 0.05),
                "side": (sign * 0.72, 1.40, 0.02),
            }[how]
        keys["chest"][k] = (rng.choice(f"twist{k}", (-0.6, 0.0, 0.6)), rng.choice(f"bow{k}", (0, 0, 0.4)), 0)
        keys["head"][k] = (rng.choice(f"look{k}", (-0.9, 0.0, 0.9)), 0, rng.choice(f"tip{k}", (-0.3, 0, 0.3)))
    # A stop that is too sudden shakes: a short damped ring after each snap.
    since = (tick - np.floor(tick) - 0.18) / 1.0
    ring = np.where(since > 0, 0.03 * np.exp(-9 * np.maximum(since, 0)) * np.sin(TAU * 6 * since), 0.0)
    pose = still(n, low=0.02)
    hands = [sequence(tick, keys[name], 0.18) + vec(0, ring, 0) for name in ("left", "right")]
    pose["chest"] = sequence(tick, keys["chest"], 0.18) + vec(ring, 0, ring)
    pose["head"] = sequence(tick + 0.5, keys["head"], 0.15)
    turn = pose["chest"][:, 0]
    cos, sin = np.cos(turn), np.sin(turn)
    for side, hand in enumerate(hands):
        x, z = hand[:, 0].copy(), hand[:, 2].copy()
        hand[:, 0], hand[:, 2] = cos * x + sin * z, -sin * x + cos * z
        hands[side] = hand
    pose["hands"] = both(hands[0], hands[1], n)
    pose["elbows"] = both(vec(0.8, -0.5, -0.6), vec(-0.8, -0.5, -0.6), n)
    pose["heading"] = rng.uniform("facing", -0.4, 0.4) + sequence(
        tick / 4, np.array([0.0, 0.7, 0.0, -0.7]), 0.06
    )
    return Pose(**pose)


def _basic_step(beats: Array, rng: KeyedRandom, travel: float) -> dict[str, Array]:
    """Break forward, close, break back and close in eight beats, the arms as if around a partner.

    Args:
        beats: of shape (frames,).
        rng: of the video.
        travel: the fraction of a beat that a step takes.
    """
    n = len(beats)
    reach = rng.uniform("reach", 0.2, 0.3)
    keys = reach * np.array([[1, 0], [1, 0], [0, 0], [0, 0], [0, -1], [0, -1], [0, 0], [0, 0]])
    along = sequence(beats, keys, travel)
    lift = 0.5 * np.abs(np.gradient(along, axis=0)) * n / max(1e-6, float(np.ptp(beats))) / 4
    pose = still(n, low=0.06)
    pose["feet"] = both(
        vec(0.11, ANKLE_M + np.minimum(0.08, lift[:, 0]), along[:, 0]),
        vec(-0.11, ANKLE_M + np.minimum(0.08, lift[:, 1]), along[:, 1]),
        n,
    )
    sway = 0.03 * wave(beats / 2)
    pose["pelvis"] = pose["pelvis"] + vec(sway, 0, 0.5 * along.sum(axis=1))
    pose["chest"] = vec(0.1 * wave(beats / 4), 0, 0)
    hold = 0.04 * wave(beats / 4)
    pose["hands"] = both(vec(0.56 + hold, 1.36, 0.26), vec(-0.3 + hold, 1.22, 0.36), n)
    pose["hands"][..., 2] += 0.5 * along.sum(axis=1)
    pose["elbows"] = both(vec(0.8, -0.6, -0.3), vec(-0.8, -0.5, -0.3), n)
    pose["heading"] = rng.uniform("facing", -0.9, 0.9) + 0.3 * wave(beats / 16)
    return pose


# How much of what sets the partner dances apart a dancer shows, from least to most.
_CHARACTER = (0.4, 1.2)


def salsa(beats: Array, rng: KeyedRandom) -> Pose:
    """Dance the basic step with hips that roll over each step."""
    pose = _basic_step(beats, rng, travel=0.6)
    own = rng.uniform("character", *_CHARACTER)
    roll = own * wave(beats / 2 + 0.25)
    pose["pelvis"] = pose["pelvis"] + vec(0.09 * roll, 0, 0.04 * own * wave(beats))
    pose["hips"] = vec(0.3 * own * wave(beats / 2), 0, 0.3 * roll)
    pose["chest"] = pose["chest"] + vec(-0.2 * own * wave(beats / 2), 0, -0.15 * roll)
    return Pose(**pose)


def swing(beats: Array, rng: KeyedRandom) -> Pose:
    """Dance the basic step with a bounce on every beat."""
    pose = _basic_step(beats, rng, travel=0.6)
    bounce = rng.uniform("character", *_CHARACTER) * wave(beats, -1, 0)
    pose["pelvis"] = pose["pelvis"] + vec(0, 0.11 * bounce, 0)
    pose["hands"][..., 1] += 0.16 * bounce
    pose["chest"] = pose["chest"] + vec(0, -0.2 * bounce, 0)
    return Pose(**pose)


def tango(beats: Array, rng: KeyedRandom) -> Pose:
    """Dance the basic step in sharp moves and stops, with a head that snaps round."""
    own = rng.uniform("character", *_CHARACTER)
    pose = _basic_step(beats, rng, travel=0.6 - 0.42 * own)
    pose["pelvis"] = pose["pelvis"] - vec(0, 0.04 * own, 0)
    pose["head"] = vec(0.9 * own * sequence(beats / 2, np.array([1.0, 1.0, -1.0, -1.0]), 0.12), 0, 0)
    return Pose(**pose)


SEPARABLE: dict[str, Choreography] = {
    "belly dancing": belly_dancing,
    "breakdancing": breakdancing,
    "dancing ballet": ballet,
    "jumpstyle dancing": jumpstyle,
    "moon walking": moon_walking,
    "robot dancing": robot_dancing,
}
STYLES: dict[str, Choreography] = {
    **SEPARABLE,
    "salsa dancing": salsa,
    "swing dancing": swing,
    "tango dancing": tango,
}
# Range of beats per minute, as in real performances.
TEMPO = (95.0, 135.0)
