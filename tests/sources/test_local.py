from __future__ import annotations

import itertools
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dancecli.core.errors import InputError
from dancecli.core.records import clip_id_of
from dancecli.core.video_files import recording_id
from dancecli.sources.list_format import fold_label, spellings_of
from dancecli.sources.local import FolderIndex, parse_clip_name, scan, walk

IDS = st.text("abYZ09_-", min_size=11, max_size=11)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("abcdefghijk_000010_000020.mp4", ("abcdefghijk", 10_000, 20_000)),
        ("abcdefghijk_10_20.mkv", ("abcdefghijk", 10_000, 20_000)),
        ("abcdefghijk_10000_20000.mp4", ("abcdefghijk", 10_000, 20_000)),
        ("-b_d_fg-ijk_0_10.webm", ("-b_d_fg-ijk", 0, 10_000)),
        ("abc_000_1_2_000128_000138.MP4", ("abc_000_1_2", 128_000, 138_000)),
        ("abcdefghijk_100000_110000", ("abcdefghijk", 100_000, 110_000)),
        ("abcdefghijk_000000_010000.mp4", ("abcdefghijk", 0, 10_000_000)),
        ("abcdefghijk_3600_3610.mp4", ("abcdefghijk", 3_600_000, 3_610_000)),
        ("abcdefghijk_20_10.mp4", None),
        ("abcdefghijk.mp4", None),
        ("abcdefghijk_052.mp4", None),
        ("a b_000010_000020.mp4", None),
        ("abcdefghijk_000010_000020.hflip.mp4", None),
    ],
)
def test_every_known_name_is_read(name: str, expected: tuple[str, int, int] | None) -> None:
    assert parse_clip_name(name) == expected


@given(IDS, st.integers(0, 40_000), st.integers(1, 599))
def test_what_crawlers_write_is_read_back(video_id: str, start: int, length: int) -> None:
    wanted = (video_id, start * 1000, (start + length) * 1000)
    assert parse_clip_name(f"{video_id}_{start:06d}_{start + length:06d}.mp4") == wanted
    assert parse_clip_name(f"{video_id}_{start}_{start + length}.mp4") == wanted


@given(IDS, st.integers(0, 40_000_000), st.integers(600, 600_000))
def test_our_own_names_are_read_back(video_id: str, start_ms: int, length_ms: int) -> None:
    name = clip_id_of(video_id, start_ms, start_ms + length_ms)
    assert parse_clip_name(name + ".mp4") == (video_id, start_ms, start_ms + length_ms)


def test_folders_say_label_and_official_split(tmp_path: Path) -> None:
    for name in ("train/tap dancing/a_0_10.mp4", "val_256/tap_dancing/b_0_10.mkv", "zumba/c_0_10.webm"):
        touch(tmp_path / "k" / name)
    touch(tmp_path / "k" / "videos_validation" / "d_0_10.mp4")
    for junk in (".hidden/x_0_10.mp4", "zumba/._c_0_10.mp4", "zumba/c_0_10.mp4.part", "readme.txt"):
        touch(tmp_path / "k" / junk)
    found = {f.path.stem: (f.folder, f.official_split) for f in scan(tmp_path / "k")}
    assert found == {
        "a_0_10": ("tap dancing", "train"),
        "b_0_10": ("tap_dancing", "val"),
        "c_0_10": ("zumba", ""),
        "d_0_10": ("", "val"),
    }
    assert [f.folder for f in scan(tmp_path / "k" / "zumba")] == ["zumba"]


def test_linked_folders_are_followed_and_a_loop_ends(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere" / "a_0_10.mp4")
    (tmp_path / "k").mkdir()
    (tmp_path / "k" / "zumba").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "again").symlink_to(tmp_path / "k")
    assert [f.folder for f in scan(tmp_path / "k")] == ["zumba"]


def test_a_link_does_not_take_the_place_of_the_folder_that_it_leads_to(tmp_path: Path) -> None:
    touch(tmp_path / "zouk" / "a.mp4")
    touch(tmp_path / "b" / "c" / "b.mp4")
    (tmp_path / "a_link").symlink_to(tmp_path / "zouk")
    (tmp_path / "b" / "links").symlink_to(tmp_path)
    assert [str(found.path.relative_to(tmp_path)) for found in scan(tmp_path)] == ["b/c/b.mp4", "zouk/a.mp4"]
    left_out: list[tuple[Path, Path]] = []
    list(walk(tmp_path, on_repeat=lambda *one: left_out.append(one)))
    assert left_out == [(tmp_path / "a_link", tmp_path / "zouk"), (tmp_path / "b" / "links", tmp_path)]


def test_the_index_is_asked_by_clip_and_by_video(tmp_path: Path) -> None:
    for name in (
        "one/a_000010_000020.mp4",
        "two/a_10_20.mkv",
        "two/-whole_vid.webm",
        "two/not an id.mp4",
        "v_dQw4w9WgXcQ.mp4",
    ):
        touch(tmp_path / name)
    index = FolderIndex.read(tmp_path)
    assert index.clip("a", 10_000, 20_000) == tmp_path / "one/a_000010_000020.mp4"
    assert index.clip("a", 10_000, 21_000) is None
    assert index.video("dQw4w9WgXcQ") == tmp_path / "v_dQw4w9WgXcQ.mp4"
    assert index.video("-whole_vid") == tmp_path / "two/-whole_vid.webm"


@pytest.mark.parametrize(
    "stem", ["PXL_20240517_184502123", "2024_05_17", "Rehearsal_2023_05_06", "performance_1_2"]
)
def test_a_recording_that_is_named_by_its_date_is_a_whole_video_too(tmp_path: Path, stem: str) -> None:
    touch(tmp_path / f"{stem}.mp4")
    touch(tmp_path / "dQw4w9WgXcQ_10_20.mp4")
    index = FolderIndex.read(tmp_path)
    assert index.video(stem) == tmp_path / f"{stem}.mp4"
    assert len(index.clips) == 2
    # A clip of a video of YouTube is no recording.
    assert list(index.videos) == [stem]


def test_of_recordings_with_one_name_none_is_taken(tmp_path: Path) -> None:
    for folder, name in itertools.product(("first", "second"), ("Gala.mp4", "copy.mp4", "dQw4w9WgXcQ.mp4")):
        touch(tmp_path / folder / name)
    for stem in ("Gala", "dQw4w9WgXcQ", "performance", "rehearsal-1", "video_00001"):
        touch(tmp_path / "first" / f"{stem}.mp4")
        (tmp_path / "second" / f"{stem}.mp4").write_bytes(b"another film")
    index = FolderIndex.read(tmp_path)
    with pytest.raises(
        InputError, match=r"several recordings have the name 'Gala': .*first/Gala.mp4, .*second"
    ):
        index.video("Gala")
    assert index.video("copy") == tmp_path / "first/copy.mp4"
    for stem in ("performance", "rehearsal-1", "video_00001"):
        with pytest.raises(InputError, match=f"several recordings have the name '{stem}'"):
            index.video(stem)
    # An id of YouTube is one video wherever it lies.
    assert index.video("dQw4w9WgXcQ") == tmp_path / "first/dQw4w9WgXcQ.mp4"


@pytest.mark.parametrize("name", ["Café", "Ǿresund", "Šokačko kolo 2", "한국 무용"])
def test_a_recording_is_found_by_either_form_of_its_name(tmp_path: Path, name: str) -> None:
    forms = [unicodedata.normalize(form, name) for form in ("NFC", "NFD")]
    assert forms[0] != forms[1]
    for file, listed in itertools.permutations(forms):
        (tmp_path / file).mkdir()
        touch(tmp_path / file / f"{file}.mp4")
        assert FolderIndex.read(tmp_path / file).video(recording_id(listed)) is not None


def test_a_link_to_nothing_stops_nobody(tmp_path: Path) -> None:
    for name in ("first/Gala.mp4", "second/Gala.mp4", "first/alone.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(tmp_path / "annex" / name)
    touch(tmp_path / "third" / "Gala.mp4")
    index = FolderIndex.read(tmp_path)
    assert index.video("Gala") == tmp_path / "third/Gala.mp4"
    assert index.video("alone") == tmp_path / "first/alone.mp4"


def test_labels_are_found_under_any_spelling() -> None:
    found = spellings_of(["country line dancing", "massaging person's head", "tap dance", "tap-dance"])
    # Of labels that share a spelling, none is guessed.
    assert set(found) == {"countrylinedancing", "massagingpersonshead"}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        *(
            ("Tap_Dancing", "tap-dancing", True),
            ("rock'n'roll", "Rock n\u00b4 Roll", True),
            ("2-step", "2 step", True),
        ),
        *(("hip\u2212hop", "hip-hop", True), ("turn \u221290", "turn -90", True), ("Salsa", "salsa_", True)),
        *(("गरबी-2", "गरबी 2", True), ("dance \u2764\ufe0f", "dance \u2764", True)),
        *(("गरबा", "गरबी", False), ("dance 💃", "dance 🕺", False), ("C", "C++", False)),
        *(("turn +90", "turn -90", False), ("turn -90", "turn 90", False), ("turn_-90", "turn_90", False)),
    ],
)
def test_spellings_of_one_label_differ_by_separators_alone(one: str, other: str, same: bool) -> None:
    assert (fold_label(one) == fold_label(other)) is same


def test_a_folder_that_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        list(scan(tmp_path / "gone"))
    touch(tmp_path / "file")
    with pytest.raises(InputError, match="is a file"):
        list(scan(tmp_path / "file"))


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
