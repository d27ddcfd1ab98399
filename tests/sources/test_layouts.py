"""What the file names of known datasets tell, and when they are believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dancecli.sources.layouts import Layout, are_downloads, detect_name, fits, read_name


@pytest.mark.parametrize(
    ("stem", "folders", "length_ms", "layout", "labels", "groups"),
    [
        ("v_SalsaSpin_g03_c07", (), 4000, "ucf101", ("SalsaSpin",), (("source", "SalsaSpin g03"),)),
        ("gKR_sFM_c01_d28_mKR3_ch07", (), 9000, "aist", ("krump", "gKR", "KR"), (("dancer", "KR d28"),)),
        (
            "gLO_sGR_c02_d13_d14_d15_mLO0_ch01",
            (),
            9000,
            "aist",
            ("lock", "gLO", "LO"),
            (("dancer", "LO d13"), ("dancer", "LO d14"), ("dancer", "LO d15")),
        ),
        ("sBT_c09_d21_d31_v5", (), 9000, "aist", (), (("performance", "sBT v5"),)),
        (
            "Prelinger_LetsPlay1949_ride_bike_f_cm_np2_le_med_12",
            ("ride_bike",),
            3000,
            "hmdb51",
            ("ride_bike",),
            (("film", "Prelinger_LetsPlay1949"),),
        ),
        ("#20_Rhythm_clap_u_nm_np1_fr_goo_0", (), 3000, "hmdb51", ("clap",), (("film", "#20_Rhythm"),)),
        ("rehearsal", (), 3000, "plain", (), ()),
        ("dQw4w9WgXcQ", (), 3000, "plain", (), (("source", "dQw4w9WgXcQ"),)),
        ("v_dQw4w9WgXcQ", (), 3000, "plain", (), (("source", "dQw4w9WgXcQ"),)),
    ],
)
def test_a_name_gives_labels_and_groups(
    stem: str, folders: tuple[str, ...], length_ms: int, layout: str, labels: object, groups: object
) -> None:
    found = detect_name(stem, folders, length_ms)
    assert (found.layout, found.labels, found.groups) == (layout, labels, groups)
    assert found.video_id == ""


@pytest.mark.parametrize(
    ("stem", "length_ms", "believed"),
    [
        ("dQw4w9WgXcQ_000010_000020", 10_000, ("dQw4w9WgXcQ", 10_000, 20_000)),
        ("dQw4w9WgXcQ_000010_000020", 6_000, ("dQw4w9WgXcQ", 10_000, 20_000)),
        ("dQw4w9WgXcQ_10000_20000", 10_040, ("dQw4w9WgXcQ", 10_000, 20_000)),
        ("dQw4w9WgXcQ_000010_000020", 3_000, None),
        ("dQw4w9WgXcQ_000010_000012", 13_000, None),
        ("rehearsal_1_2", 1_000, None),
        ("PXL_20210704_183000123", 6_000, None),
        ("0_1_4", 3_000, None),
        ("dQw4w9WgXcQ_000010_000020", 0, ("dQw4w9WgXcQ", 10_000, 20_000)),
        ("dQw4w9WgXcQ_952", 10_000, ("dQw4w9WgXcQ", 592_000, 0)),
        ("dQw4w9WgXcQ_952", 60_000, None),
        ("rehearsal_1_952", 10_000, None),
        # Names of people and cameras; the last characters of these three are such as ids end with.
        ("salsa_class_003", 9_000, None),
        ("VID20240114_103000_103009", 9_000, None),
        ("VID20240114_003000_003009", 9_000, None),
        ("s1_d2_take4_2_10", 8_000, None),
        ("abcdefghijk_000010_000020", 10_000, ("abcdefghijk", 10_000, 20_000)),
        ("cam_01_take_1_8", 7_000, None),
        ("team-A-jive_2_10", 8_000, None),
        ("VID20240115_103000_103009", 9_000, None),
    ],
)
def test_times_are_believed_where_id_and_length_fit(stem: str, length_ms: int, believed: object) -> None:
    found = detect_name(stem, (), length_ms)
    if believed is None:
        assert (found.layout, found.video_id) == (Layout.PLAIN, "")
    else:
        assert (found.video_id, found.start_ms, found.end_ms) == believed


def test_an_id_without_capitals_is_believed_among_those_that_look_drawn() -> None:
    assert are_downloads(["dQw4w9WgXcQ_000010_000020", "9bZkp7q19fE", "kJQP7kiw5Fk_952", "abcdefghijk_952"])
    assert not are_downloads(["salsa_class_003", "dQw4w9WgXcQ", "rehearsal"])
    assert detect_name("abcdefghijk_952", (), 9_000).layout is Layout.PLAIN
    assert detect_name("abcdefghijk_952", (), 9_000, among_downloads=True).video_id == "abcdefghijk"
    assert detect_name("cam_01_take_1_8", (), 7_000, among_downloads=True).layout is Layout.PLAIN


def test_a_clip_that_does_not_fit_stays_with_its_video() -> None:
    assert detect_name("dQw4w9WgXcQ_000010_000020", (), 60_000).groups == (("source", "dQw4w9WgXcQ"),)


@given(st.text(max_size=40), st.sampled_from(list(Layout)), st.integers(0, 100_000))
def test_any_name_is_read_without_an_error(stem: str, layout: Layout, length_ms: int) -> None:
    read_name(stem, layout, (stem,))
    found = detect_name(stem, (stem,), length_ms)
    assert not found.end_ms or found.start_ms < found.end_ms


def test_a_layout_that_is_named_outright_is_believed() -> None:
    found = read_name("take_1_2", Layout.KINETICS)
    assert found is not None
    assert (found.video_id, found.start_ms, found.end_ms) == ("take", 1000, 2000)
    found = read_name("v_dQw4w9WgXc-", Layout.ACTIVITYNET)
    assert found is not None
    assert found.video_id == "dQw4w9WgXc-"
    assert read_name("rehearsal", Layout.KINETICS) is None


@pytest.mark.parametrize(
    ("length_ms", "named_ms", "expected"),
    [
        *((10_000, 10_000, True), (5_000, 10_000, True), (4_900, 10_000, False), (15_000, 10_000, True)),
        *((15_100, 10_000, False), (1_400, 1_000, True), (600, 200, True), (2_000, 1_000, False)),
    ],
)
def test_a_length_fits_within_a_tolerance(length_ms: int, named_ms: int, expected: bool) -> None:
    assert fits(length_ms, named_ms) is expected
