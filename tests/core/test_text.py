from __future__ import annotations

import os
from pathlib import Path

import pytest

from dancecli.core.text import agreeing, gap, pluralize, shown, without_dots


def test_a_name_of_any_bytes_is_one_line_of_text() -> None:
    names = (b"plain, \xc3\xa4.mp4", b"B\xe4nd.mp4", b"two\nlines")
    assert [shown(os.fsdecode(name)) for name in names] == ["plain, ä.mp4", "B\\xe4nd.mp4", "two\\nlines"]


def test_a_path_without_dots_is_that_of_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here" / "own").mkdir(parents=True)
    (tmp_path / "disk" / "films").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "here")
    (tmp_path / "here" / "films").symlink_to(tmp_path / "disk" / "films")
    found = {
        "here/../own/a.mkv": "own/a.mkv",
        # The links of the user's own layout stay.
        "link/own/../a.mkv": "link/a.mkv",
        "link/../here/a.mkv": "here/a.mkv",
        # Without the link's target this would be another file's.
        "here/films/../a.mkv": "disk/a.mkv",
        "gone/../own/a.mkv": "own/a.mkv",
    }
    assert {path: without_dots(tmp_path / path) for path in found} == {
        path: tmp_path / plain for path, plain in found.items()
    }
    monkeypatch.chdir(tmp_path / "here")
    assert without_dots(Path("../own/a.mkv")) == tmp_path / "own" / "a.mkv"
    assert without_dots(Path("own/a.mkv")) == Path("own/a.mkv")


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
