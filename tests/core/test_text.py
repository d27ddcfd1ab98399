from __future__ import annotations

import os

from dancecli.core.text import agreeing, gap, pluralize, shown


def test_a_name_of_any_bytes_is_one_line_of_text() -> None:
    names = (b"plain, \xc3\xa4.mp4", b"B\xe4nd.mp4", b"two\nlines")
    assert [shown(os.fsdecode(name)) for name in names] == ["plain, ä.mp4", "B\\xe4nd.mp4", "two\\nlines"]


def test_one_is_singular() -> None:
    assert [pluralize(n, "group") for n in (0, 1, 2, 1000)] == [
        "0 groups",
        "1 group",
        "2 groups",
        "1,000 groups",
    ]
    assert pluralize(2, "class") == "2 classes"
    assert [agreeing(n, "clip", "has") for n in (1, 2)] == ["1 clip has", "2 clips have"]


def test_a_difference_that_seems_wrong_says_that_it_was_taken_before_rounding() -> None:
    assert gap(0.84, 0.82) == gap(0.82, 0.84) == "2.0 points"
    # 84.0 and 82.7 %, of 81 clips.
    assert gap(68 / 81, 67 / 81) == "1.2 points before rounding"
