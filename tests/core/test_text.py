from __future__ import annotations

from dancecli.core.text import agreeing, pluralize


def test_one_is_singular() -> None:
    assert [pluralize(n, "group") for n in (0, 1, 2, 1000)] == [
        "0 groups",
        "1 group",
        "2 groups",
        "1,000 groups",
    ]
    assert pluralize(2, "class") == "2 classes"
    assert [agreeing(n, "clip", "has") for n in (1, 2)] == ["1 clip has", "2 clips have"]
