"""Names of clips are found in texts as whole words, however many there are."""

from __future__ import annotations

import random
import re

import pytest

from dancecli.dataset.upkeep.erase import _log_left
from dancecli.dataset.upkeep.traces import Names, Traces

# Those that are each other's beginnings or ends, those that begin or end like words of the text, and
# those of foreign locks, which may be any text.
IDS = ("a", "a-b", "a_b", "-a", "_a", "a_0_1000", "a_0_10000", "aa_0_1000", "-_-", "--")
ODD = ("a.b", "a.b.c", "b c", "é_0_1", ".x", "x.", "c+", "a\nb")


def one_pattern(names: set[str]) -> re.Pattern[bytes]:
    """The plainest way: all names as alternatives of one pattern."""
    names_text = b"|".join(re.escape(name.encode()) for name in sorted(names))
    return re.compile(rb"(?<![\w-])(?:" + names_text + rb")(?![\w-])")


@pytest.mark.parametrize("known", [IDS, IDS + ODD])
def test_the_same_is_found_as_by_one_pattern_of_all_names(known: tuple[str, ...]) -> None:
    chance = random.Random(1)
    for _ in range(2000):
        names = set(chance.sample(known, chance.randint(1, 6)))
        text = "".join(chance.choice((*known, *' .-_",a\n')) for _ in range(12)).encode()
        found, expected = Names(names), one_pattern(names)
        assert found.in_text(text) == bool(expected.search(text)), (names, text)
        marked = found.replace(text, lambda name: b"<" + name + b">")
        assert marked == expected.sub(lambda match: b"<" + match[0] + b">", text), (names, text)


@pytest.mark.parametrize(
    "text",
    [
        *("Galla", '"Galla"', "Galla.mp4", "Galla.MOV", "x/Galla.mp4:1", "Galla.", "Galla. And", "Galla,1"),
        *(
            "Galla_0_1000",
            "Galla_0_1000.csv",
            "\u201cGalla\u201d",
            "\u2013Galla\u2013",
            "\u89c6\u9891Galla\u5728",
        ),
        *(
            "Galla.csv is of Galla",
            "Galla.wav",
            "Galla.vtt",
            "Galla.info.json",
            "Galla.csvx",
            "Galla.csv Galla.mp4",
        ),
    ],
)
def test_a_mention_of_a_video_is_found(text: str) -> None:
    assert Names(["Galla_0_1000"], videos=["Galla"]).in_text(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        *("Galla.csv", '{"file": "Galla.csv"}', "Galla.XLSX", "Galla.csv.gz", "Galla.csv.", "x/Galla.xlsx"),
        *("Gallant", "Galla-2", "Galla_2", "Gall", "Galla\u00e9", "\u00c4Galla", "Galla_0_1000_2"),
    ],
)
def test_a_list_or_a_word_that_begins_like_a_video_is_none(text: str) -> None:
    names = Names(["Galla_0_1000"], videos=["Galla"])
    assert not names.in_text(text.encode())
    # Bytes that are no UTF-8, such as a spreadsheet program's quotation marks, hide nothing.
    assert names.in_text(text.encode() + b" x\x93Galla\x94y")


def test_the_lines_of_a_log_that_name_a_clip() -> None:
    chance = random.Random(2)
    for _ in range(200):
        names = frozenset(chance.sample(IDS, chance.randint(1, 6)))
        # A quotation mark also ends what stands before it.
        lines = [
            "".join(chance.choice((*IDS, *' .-_",')) for _ in range(12)) + "\n"
            for _ in range(chance.randint(0, 9))
        ]
        content = "".join(lines).encode()
        left = _log_left(content, Traces(names, {}, frozenset(), frozenset(), (), (), (), (), 0))
        named = re.compile("|".join(rf'"{re.escape(name)}["._]' for name in names))
        assert left.decode() == "".join(line for line in lines if not named.search(line))
