from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from dancecli.core.errors import InputError
from dancecli.core.labels import DEFAULT_LABELS, MANIFESTS, LabelMap, LabelSet
from dancecli.sources.letsdance import parse_name, read_list, scan_frames, scan_videos, timing


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("02WOiWd3Z-0_052", ("02WOiWd3Z-0", 52_000)),
        ("a_b_c_d_e_f_952", ("a_b_c_d_e_f", 592_000)),
        ("-aaaaaaaaaa_1314", ("-aaaaaaaaaa", 794_000)),
        ("aaaaaaaaaaa_12345", ("aaaaaaaaaaa", (60 * 123 + 45) * 1000)),
        ("aaaaaaaaaaa_160", None),
        ("aaaaaaaaaaa_52", None),
        ("short_052", None),
    ],
)
def test_the_suffix_is_minutes_and_seconds_run_together(name: str, expected: object) -> None:
    assert parse_name(name) == expected


@pytest.mark.parametrize(
    ("frames", "fps", "duration_ms", "certain"),
    [
        (241, 24, 10_000, True),
        (251, 25, 10_000, True),
        (300, 30, 10_000, True),
        (301, 30, 10_000, True),
        (502, 50, 10_000, True),
        (602, 60, 10_000, True),
        (226, 25, 9_000, True),
        (270, 30, 9_000, True),
        (145, 24, 6_000, True),
        (298, 30, 9_933, False),
        (700, 60, 10_000, False),
    ],
)
def test_the_rate_follows_from_the_number_of_frames(
    frames: int, fps: int, duration_ms: int, certain: bool
) -> None:
    told = timing(frames)
    assert (told.fps, told.duration_ms, told.certain) == (fps, duration_ms, certain)


def test_a_list_is_read(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("foxtrot\t02WOiWd3Z-0_052\t301\n\nsamba\tClez1pjv50Y_106\t251\n")
    first, second = read_list(tmp_path / "list.csv").clips
    assert (first.label, first.video_id, first.start_ms, first.num_frames) == (
        "foxtrot",
        "02WOiWd3Z-0",
        52_000,
        301,
    )
    assert second.timing.fps == 25


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("foxtrot\t02WOiWd3Z-0_052", "has 2 columns"),
        ("foxtrot\t../../etc_052\t301", "clip '../../etc_052' is not an id of 11 characters"),
        ("foxtrot\t02WOiWd3Z-0_052\tmany", "'many' is not a number of frames"),
        ("foxtrot\t02WOiWd3Z-0_052\t0", "'0' is not a number of frames"),
    ],
)
def test_a_wrong_line_is_refused_and_the_others_are_read(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text(f"samba\tClez1pjv50Y_106\t251\n{line}\nsamba\tClez1pjv50Y_206\t251\n")
    listed = read_list(path)
    assert [clip.start_ms for clip in listed.clips] == [66_000, 126_000]
    (refused,) = listed.refused
    assert f"list.csv:2: {says}" in str(refused)
    path.write_text(line)
    with pytest.raises(InputError, match=r"list\.csv:1: ") as caught:
        read_list(path)
    assert caught.value.hint


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gzip"])
@pytest.mark.parametrize("separator", ["\t", ",", ";"])
def test_a_list_in_other_forms_is_the_same(tmp_path: Path, separator: str, encoding: str) -> None:
    text = separator.join(("foxtrot", "02WOiWd3Z-0_052", "301")) + "\r\n"
    content = gzip.compress(text.encode()) if encoding == "gzip" else text.encode(encoding)
    (tmp_path / "list.csv").write_bytes(content)
    (clip,) = read_list(tmp_path / "list.csv").clips
    assert (clip.label, clip.start_ms, clip.num_frames) == ("foxtrot", 52_000, 301)


def test_no_list_and_an_empty_one_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such list"):
        read_list(tmp_path / "list.csv")
    (tmp_path / "list.csv").write_text("\n")
    with pytest.raises(InputError, match="is empty"):
        read_list(tmp_path / "list.csv")


@pytest.mark.parametrize("digits", [4, 5, 6])
def test_frames_are_found_with_their_gaps_and_flow_is_not(tmp_path: Path, digits: int) -> None:
    for number in (1, 2, 4, 5):
        touch(tmp_path / "rgb" / "tango" / f"ab_defghijk_052_{number:0{digits}d}.jpg")
        touch(tmp_path / "flow" / "tango" / f"ab_defghijk_052_{number:0{digits}d}.jpg")
    touch(tmp_path / "rgb" / "tango" / "cover.jpg")
    (found,) = scan_frames(tmp_path)
    assert (found.listed.label, found.listed.video_id, found.listed.num_frames) == ("tango", "ab_defghijk", 5)
    assert found.media.missing == {3}
    shown = list(found.media.pictures())
    assert [int(path.stem[-digits:]) for path in shown] == [1, 2, 2, 4, 5]
    assert all(path.is_file() for path in shown)


def test_videos_under_the_release_s_names_are_found(tmp_path: Path) -> None:
    touch(tmp_path / "tap" / "ab_defghijk_952.mp4")
    for name in ("ab_defghijk_000010_000020.mp4", "ab_defghijk_1_13.MP4", "my clip.mov", "notes.txt"):
        touch(tmp_path / "tap" / name)
    (found,), refused = scan_videos(tmp_path)
    assert (found.listed.label, found.listed.start_ms) == ("tap", 592_000)
    assert [row.row for row in refused] == [
        "tap/ab_defghijk_000010_000020.mp4",
        "tap/ab_defghijk_1_13.MP4",
        "tap/my clip.mov",
    ]
    assert str(refused[2]).startswith(
        f"{tmp_path}: entry tap/my clip.mov: is not named by an id of 11 characters"
    )
    assert all("dance import" in row.hint for row in refused)


def test_the_map_holds_the_six_clean_matches() -> None:
    labels = LabelSet.read(DEFAULT_LABELS)
    target = LabelMap.read(MANIFESTS / "label-maps" / "lets-dance.csv", labels).target
    assert len(target) == 16
    assert {theirs for theirs, ours in target.items() if ours} == {
        "ballet",
        "break",
        "square",
        "swing",
        "tango",
        "tap",
    }


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
