from __future__ import annotations

import itertools

import pytest

from dancecli.report.statistics.protocols import comparable, comparable_sets

ONE = "64x1 frames, 1 clip x 1 center crop 224, short side 256"
MANY = "64x1 frames, 10 clips x 3 crops 256, short side 256"
POSES = "48 poses over the whole clip, 1 clip"
MORE_POSES = "48 poses over the whole clip, 10 clips"
TRACKS = "dense trajectories of the whole clip at 25 fps"


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        (ONE, ONE, True),
        (ONE, MANY, False),
        (POSES, MORE_POSES, False),
        (ONE, POSES, True),
        (MANY, TRACKS, True),
        (f"{ONE} + {POSES}", ONE, True),
        (f"{ONE} + {POSES}", POSES, True),
        (f"{ONE} + {POSES}", f"{POSES} + {ONE}", True),
        (f"{ONE} + {POSES}", MANY, False),
        (f"{ONE} + {POSES}", f"{ONE} + {MORE_POSES}", False),
        (f"{ONE} + {MANY}", ONE, False),
        ("", "", True),
        ("", ONE, False),
    ],
)
def test_runs_are_compared_where_they_saw_the_same_of_an_input(one: str, other: str, wanted: bool) -> None:
    assert comparable(one, other) is wanted
    assert comparable(other, one) is wanted


def test_sets_hold_all_that_can_be_compared() -> None:
    assert comparable_sets([ONE, ONE]) == [(ONE,)]
    assert comparable_sets([ONE, MANY, TRACKS]) == [(ONE, TRACKS), (MANY, TRACKS)]
    assert comparable_sets([]) == [()]


@pytest.mark.parametrize("count", range(1, 7))
def test_sets_are_as_large_as_can_be(count: int) -> None:
    known = [ONE, MANY, POSES, MORE_POSES, TRACKS, f"{ONE} + {POSES}"][:count]

    def fits(chosen: tuple[str, ...]) -> bool:
        return all(comparable(a, b) for a, b in itertools.combinations(chosen, 2))

    every = [c for n in range(1, count + 1) for c in itertools.combinations(known, n) if fits(c)]
    largest = [c for c in every if not any(set(c) < set(other) for other in every)]
    assert sorted(comparable_sets(known)) == sorted(largest)
