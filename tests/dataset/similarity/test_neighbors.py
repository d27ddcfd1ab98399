from __future__ import annotations

import hashlib

import numpy as np
import pytest

from dancecli.dataset.similarity.neighbors import (
    SAME_PICTURE,
    HashArrays,
    candidates,
    compare,
    connected,
    near_pairs,
)
from dancecli.video.phash import MOST_FRAMES, SIDE, PerceptualHashes, hashes, without_bars


def random_looks(n: int, seed: int = 0) -> list[PerceptualHashes]:
    dice = np.random.default_rng(seed)

    long = 8 * MOST_FRAMES
    return [PerceptualHashes(*(dice.bytes(count) for count in (32, 32, long, long))) for _ in range(n)]


def noisy(looks: PerceptualHashes, share: float, seed: int) -> PerceptualHashes:
    dice = np.random.default_rng(seed)

    def flip(hashed: bytes) -> bytes:
        bits = np.unpackbits(np.frombuffer(hashed, np.uint8))
        return np.packbits(bits ^ (dice.random(len(bits)) < share)).tobytes()

    return PerceptualHashes(flip(looks.mean), flip(looks.motion), flip(looks.frames), flip(looks.changes))


def scene(seed: int, n: int = 20) -> np.ndarray:
    """Blobs that wander over a soft picture, (n, 96, 128)."""
    dice = np.random.default_rng(seed)
    y, x = np.mgrid[0:96, 0:128].astype(float)
    still = sum(
        dice.uniform(-50, 50)
        * np.cos(x * dice.uniform(0, 0.12) + y * dice.uniform(0, 0.12) + dice.uniform(0, 6))
        for _ in range(6)
    )
    pictures = []
    at, speed = dice.uniform(20, 80, (3, 2)), dice.uniform(-4, 4, (3, 2))
    for k in range(n):
        blobs = sum(
            90 * np.exp(-((y - a[0] - k * v[0]) ** 2 + (x - a[1] - k * v[1]) ** 2) / 120)
            for a, v in zip(at, speed, strict=True)
        )
        pictures.append(np.clip(128 + still + blobs, 30, 255))
    return np.stack(pictures).astype(np.uint8)


def looks(pictures: np.ndarray) -> PerceptualHashes:
    return hashes(without_bars(pictures))


def distance(one: PerceptualHashes, other: PerceptualHashes) -> float:
    arrays = HashArrays.of([one, other])
    return float(compare(arrays, np.array([0]), np.array([1]))[0][0])


DISGUISES = {
    "mirrored": lambda p: p[:, :, ::-1],
    "letterboxed": lambda p: np.pad(p, ((0, 0), (20, 20), (0, 0)), constant_values=4),
    "pillarboxed": lambda p: np.pad(p, ((0, 0), (0, 0), (30, 30)), constant_values=4),
    "rescaled": lambda p: p[:, ::2, ::2],
    "brighter": lambda p: np.clip(p * 1.1 + 5, 0, 255).astype(np.uint8),
    "half a second later": lambda p: p[2:],
    "cropped a little": lambda p: p[:, 2:-1, 1:-3],
}


@pytest.mark.parametrize("name", DISGUISES)
def test_a_disguised_copy_stays_close_and_a_stranger_does_not(name: str) -> None:
    for seed in range(5):
        original = scene(seed)
        assert distance(looks(original), looks(DISGUISES[name](original))) < 0.2
        assert distance(looks(original), looks(DISGUISES[name](scene(seed + 100)))) > 0.3


def test_a_copy_that_starts_a_second_later_is_lined_up() -> None:
    for seed in range(5):
        original = scene(seed)
        arrays = HashArrays.of([looks(original), looks(original[4:])])
        _, changes = compare(arrays, np.array([0]), np.array([1]))
        assert changes[0] < 0.2


def test_a_dark_scene_is_not_taken_for_bars() -> None:
    dark = np.zeros((4, 96, 128), np.uint8)
    dark[:, 40:50, 60:70] = 200
    assert without_bars(dark)[0].argmax() // SIDE == pytest.approx(SIDE * 45 / 96, abs=6)


def test_planted_copies_are_found_among_many_and_nothing_else_is() -> None:
    many = random_looks(3000)
    copies = [noisy(many[i], 0.15, i) for i in range(300)]
    first, second = near_pairs(HashArrays.of([*many, *copies]))
    found = set(zip(first.tolist(), second.tolist(), strict=True))
    planted = {(i, 3000 + i) for i in range(300)}
    assert len(found & planted) >= 297
    assert found <= planted


def test_pairs_beyond_the_threshold_are_not_near_duplicates() -> None:
    many = random_looks(400)
    # The distance is the share of bits that differ; the threshold lies between these two.
    near = [noisy(many[i], 0.235, i) for i in range(200)]
    far = [noisy(many[i], 0.28, i) for i in range(200, 400)]
    arrays = HashArrays.of([*many, *near, *far])
    first, second = near_pairs(arrays)
    found = {(i, j) for i, j in zip(first.tolist(), second.tolist(), strict=True) if j - i == 400}
    assert len({i for i, _ in found if i < 200}) >= 190
    assert len({i for i, _ in found if i >= 200}) <= 2
    # They are among the candidates, so it is the threshold that keeps them apart.
    first, second = near_pairs(arrays, 0.32)
    found = {(i, j) for i, j in zip(first.tolist(), second.tolist(), strict=True) if j - i == 400}
    assert len({i for i, _ in found if i >= 200}) >= 150


def flat(tone: float, *, n: int = 20) -> np.ndarray:
    return np.full((n, 96, 128), tone).astype(np.uint8)


def test_flat_clips_are_no_near_duplicates() -> None:
    fade = np.linspace(0, 255, 20)[:, None, None] + np.zeros((20, 96, 128))
    clips = [looks(flat(0)), looks(flat(16)), looks(flat(90)), looks(flat(255)), looks(fade.astype(np.uint8))]
    first, _ = near_pairs(HashArrays.of(clips))
    assert len(first) == 0
    # A clip with a picture has near-duplicates, also when it is dark or nothing moves in it.
    dark = scene(1) // 8
    still = np.repeat(scene(2, 1), 20, axis=0)
    pairs = [looks(dark), looks(dark[:, :, ::-1]), looks(still), looks(still[:, ::2, ::2])]
    first, second = near_pairs(HashArrays.of([*clips, *pairs]))
    assert (first.tolist(), second.tolist()) == ([5, 7], [6, 8])


def test_static_clips_are_told_apart_by_their_picture() -> None:
    stills = [looks(np.repeat(scene(seed, 1), 20, axis=0)) for seed in range(40)]
    arrays = HashArrays.of(stills)
    assert arrays.static.all()
    first, second = np.triu_indices(40, 1)
    assert compare(arrays, first, second)[0].min() > SAME_PICTURE
    assert len(near_pairs(arrays)[0]) == 0


def test_a_crowd_of_equals_costs_no_more_than_its_neighbors() -> None:
    crowd = random_looks(1) * 5000
    first, second = candidates(HashArrays.of(crowd))
    assert len(first) < 5000 * 8 * 20
    assert set(connected(5000, first, second)) == {0}


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_clips_are_no_trouble(n: int) -> None:
    first, _ = near_pairs(HashArrays.of(random_looks(1) * n))
    assert len(first) == max(0, n - 1)


def test_groups_bear_their_smallest_member() -> None:
    assert connected(6, np.array([4, 2, 1]), np.array([5, 4, 3])) == [0, 1, 2, 1, 2, 2]


def test_the_same_clips_give_the_same_pairs() -> None:
    many = random_looks(500)
    many += [noisy(many[i], 0.2, i) for i in range(100)]
    first, second = near_pairs(HashArrays.of(many))
    digest = hashlib.sha256(first.tobytes() + second.tobytes()).hexdigest()
    again = near_pairs(HashArrays.of(many))
    assert digest == hashlib.sha256(again[0].tobytes() + again[1].tobytes()).hexdigest()
