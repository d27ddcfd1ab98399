from __future__ import annotations

from pathlib import Path

import pytest

from dancecli.core.errors import InputError
from dancecli.core.labels import DEFAULT_LABELS, LabelMap, LabelSet


def test_the_default_set_is_the_papers_nineteen_in_order() -> None:
    labels = LabelSet.read(DEFAULT_LABELS)
    assert len(labels) == 19
    assert list(labels) == sorted(labels)
    assert (labels.index("belly dancing"), labels.index("zumba")) == (0, 18)


def test_comments_blank_lines_and_a_bom_are_read_over(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes("\ufeff# two styles\n\n tap dancing \r\nzumba\n".encode())
    assert LabelSet.read(path).names == ("tap dancing", "zumba")


@pytest.mark.parametrize(
    ("text", "row", "what"),
    [
        ("tap\nzumba\ntap\n", 3, "label 'tap' repeats line 1"),
        ("tap\nzu\x07mba\n", 2, "label 'zu\\x07mba' holds a control character"),
        ("# nothing\n\n", None, "has no label"),
        ("caf\udce9\n", None, "is not UTF-8 text"),
    ],
)
def test_a_bad_label_file_is_named_with_its_row(
    tmp_path: Path, text: str, row: int | None, what: str
) -> None:
    path = tmp_path / "labels.txt"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(InputError) as caught:
        LabelSet.read(path)
    assert what in caught.value.message
    assert caught.value.message.startswith(f"{path}:{row}:" if row else f"{path}: ")


def test_a_missing_label_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="label file not found"):
        LabelSet.read(tmp_path / "none.txt")


def test_an_unknown_label_has_no_index() -> None:
    with pytest.raises(InputError, match="'waltz' is not one of the 1"):
        LabelSet(("tap",)).index("waltz")


def test_the_digest_depends_on_the_order() -> None:
    assert LabelSet(("a", "b")).digest != LabelSet(("b", "a")).digest


def test_a_label_map_leaves_out_what_has_no_match(tmp_path: Path) -> None:
    path = tmp_path / "map.csv"
    path.write_text("from,to,reason\ntap,tap dancing,same dance\nlatin,,several dances\n")
    assert LabelMap.read(path, LabelSet(("tap dancing",))).target == {"tap": "tap dancing", "latin": ""}


@pytest.mark.parametrize(
    ("text", "row", "what"),
    [
        ("from,to\ntap,tap dancing\n", 1, "lacks the column 'reason'"),
        ("from,to,reason\ntap,tap dancing,same\ntap,,no\n", 3, "'tap' is mapped twice"),
        ("from,to,reason\ntap,step dancing,same\n", 2, "'step dancing' is not in the label set"),
        ("from,to,reason\ntap,tap dancing,\n", 2, "'tap' has no reason"),
        ("to,reason,from\ntap dancing\n", 2, "'' has no reason"),
        (f"from,to,reason\n{'x' * 200_000},,no\n", 2, "is not CSV: field larger"),
    ],
)
def test_a_bad_label_map_is_named_with_its_row(tmp_path: Path, text: str, row: int, what: str) -> None:
    path = tmp_path / "map.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        LabelMap.read(path, LabelSet(("tap dancing",)))
    assert caught.value.message.startswith(f"{path}:{row}: ")
    assert what in caught.value.message


@pytest.mark.parametrize("name", ["tap\x0bdance", "tap\u2028dance", "tap\x85dance"])
def test_a_name_is_not_torn_at_what_ends_no_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "labels.txt").write_text(f"zumba\n{name}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"labels\.txt:2: .* holds a control character"):
        LabelSet.read(tmp_path / "labels.txt")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("from,to,reason,to\na,zumba,x,\n", "1: has two columns 'to'"),
        ('from,to,reason\na,"zumba,x\nb,,y\n', "2: has a quotation mark that is not closed"),
    ],
)
def test_a_map_that_would_lose_rows_or_cells_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "map.csv").write_text(text)
    with pytest.raises(InputError, match=rf"map\.csv:{says}"):
        LabelMap.read(tmp_path / "map.csv", LabelSet(("zumba",)))


def test_a_reason_may_have_lines(tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text('from,to,reason\na,zumba,"one\ntwo"\n\nb,,x\n')
    assert LabelMap.read(tmp_path / "map.csv", LabelSet(("zumba",))).target == {"a": "zumba", "b": ""}
