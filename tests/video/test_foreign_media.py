"""Videos with every kind of ordinary oddity: the clip shows what a player shows, frame by frame."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from helpers.numbered_video import X264, make_video, numbers
from helpers.odd_media import (
    cut,
    damage_packet,
    ffmpeg,
    mark_all_as_key_frames,
    replace_bytes,
    set_default_duration,
    sounding,
    with_tone,
    without_packets,
)

from dancecli.core.records import OutcomeClass
from dancecli.dataset.cutting import ClipRules
from dancecli.video.ffmpeg import ClipFormat
from dancecli.video.phash import hash_clip
from dancecli.video.source import Deinterlace, probe
from dancecli.video.tone_mapping import Gamut, to_bt709

MPEG4 = ("-c:v", "mpeg4", "-q:v", "2", "-g", "50")
VP8 = ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "2M", "-g", "30")
AAC, OPUS, MP3 = ("-c:a", "aac"), ("-c:a", "libopus"), ("-c:a", "libmp3lame")
COPY = ("-c:v", "copy")


def shape_of(path: Path) -> tuple[int, int]:
    with av.open(str(path)) as container:
        return container.streams.video[0].width, container.streams.video[0].height


def lumas(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray()[: f.height] for f in container.decode(video=0)]).astype(int)


@pytest.mark.parametrize(
    ("size", "ratio", "shape"),
    [
        ((160, 128), "16/15", (342, 256)),
        ((160, 128), "64/45", (456, 256)),
        ((176, 120), "10/11", (342, 256)),
        ((120, 160), "3/4", (256, 456)),
        ((160, 120), "2/1", (682, 256)),
        ((160, 120), "100/1", (342, 256)),
    ],
)
def test_pixels_become_square(
    tmp_path: Path, size: tuple[int, int], ratio: str, shape: tuple[int, int]
) -> None:
    source_video = make_video(
        tmp_path / "s.mp4", 3, size=size, filters=("-vf", f"setsar={ratio}"), audio=False
    )
    result, clip = cut(tmp_path, source_video, 1, 2)
    assert result.outcome is OutcomeClass.DONE
    assert shape_of(clip) == shape
    assert numbers(clip) == list(range(25, 50))


@pytest.mark.parametrize("nanoseconds", [None, 1_000_000, 10_000_000], ids=["none", "1000 fps", "100 fps"])
def test_what_a_browser_recorded_has_the_rate_of_its_frames(tmp_path: Path, nanoseconds: int | None) -> None:
    # Times in milliseconds, up to half a frame late, and no rate in the header, or an absurd one.
    late = ("-vf", "settb=1/1000,setpts='(N+0.5*random(1))/30/TB'", "-fps_mode", "passthrough")
    timed = (*late, "-enc_time_base", "1/1000")
    source = make_video(tmp_path / "s.webm", 4, fps=30, filters=timed, codec=(*VP8, *OPUS))
    set_default_duration(source, nanoseconds)
    for facts in (probe(source), probe(source, measure=True)):
        assert float(facts.fps) == pytest.approx(30, rel=0.01)
        assert facts.duration_ms == pytest.approx(4000, abs=40)
        assert not facts.steady
    result, clip = cut(tmp_path, source, 0, 3.9)
    assert result.clip is not None
    assert (result.clip.note, result.clip.frozen_share) == ("", 0)
    assert numbers(clip) == list(range(len(numbers(clip))))
    assert len(numbers(clip)) == pytest.approx(117, abs=1)


@pytest.mark.parametrize(
    ("transfer", "gamut"), [("smpte2084", Gamut.PQ), ("arib-std-b67", Gamut.HLG), ("bt2020-10", Gamut.BT2020)]
)
@pytest.mark.parametrize("code", [300, 600, 800])
def test_high_dynamic_range_is_shown_as_a_display_of_bt709_would(
    tmp_path: Path, transfer: str, gamut: Gamut, code: int
) -> None:
    picture = f"color=c=black:s=64x48:r=25:d=1,format=yuv420p10le,geq=lum={code}:cb=512:cr=512"
    tags = ("-color_primaries", "bt2020", "-color_trc", transfer, "-colorspace", "bt2020nc")
    x265 = f"log-level=error:colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc"
    ffmpeg("-f", "lavfi", "-i", picture, "-c:v", "libx265", "-x265-params", x265, *tags, tmp_path / "s.mp4")
    result, clip = cut(tmp_path, tmp_path / "s.mp4", 0, 1)
    assert result.clip is not None
    assert f"colors mapped from {gamut.value.upper()} to BT.709" in result.clip.note
    with av.open(str(clip)) as container:
        context = container.streams.video[0].codec_context
        assert (context.color_trc, context.color_primaries, context.colorspace) == (1, 1, 1)
        assert context.pix_fmt == "yuv420p"
    gray = (code - 64) / 876
    expected = 16 + 219 * to_bt709(np.full((1, 3), gray), gamut)[0, 1]
    assert lumas(clip)[12].mean() == pytest.approx(expected, abs=3)


def test_tone_mapping_keeps_order_and_graphics_white() -> None:
    for gamut in (Gamut.PQ, Gamut.HLG):
        ramp = to_bt709(np.linspace(0, 1, 50)[:, None].repeat(3, axis=1), gamut)
        assert (np.diff(ramp[:, 0]) >= -1e-9).all()
        assert ramp[0].max() < 0.01
        assert ramp[-1] == pytest.approx(1, abs=0.01)
    # 203 cd/m2, the white of graphics, stays bright; 10 cd/m2 stays where it is.
    white, dark = to_bt709(np.array([[0.5807] * 3, [0.3022] * 3]), Gamut.PQ)[:, 0]
    assert 0.8 < white < 0.98
    assert dark == pytest.approx((10 / 203) ** (1 / 2.4), abs=0.01)


def test_full_range_becomes_limited(tmp_path: Path) -> None:
    picture = "color=c=white:s=64x48:r=25:d=1,format=yuvj420p"
    ffmpeg("-f", "lavfi", "-i", picture, "-c:v", "libx264", "-color_range", "pc", tmp_path / "s.mp4")
    _, clip = cut(tmp_path, tmp_path / "s.mp4", 0, 1)
    assert lumas(clip).mean() == pytest.approx(235, abs=1)
    with av.open(str(clip)) as container:
        assert container.streams.video[0].codec_context.color_range in (0, 1)


@pytest.mark.parametrize(
    ("codec", "order", "declared"),
    [
        (("-c:v", "mpeg2video", "-flags", "+ildct+ilme", "-q:v", "2"), "tff", True),
        (("-c:v", "libx264", "-qp", "10", "-x264opts", "bff=1"), "bff", True),
        (("-c:v", "libx264", "-qp", "10"), "tff", False),
    ],
)
def test_two_moments_in_one_frame_are_told_apart(
    tmp_path: Path, codec: tuple[str, ...], order: str, declared: bool
) -> None:
    bar = "color=c=gray:s=320x480:r=50:d=2,geq=lum='if(between(mod(X-320*T,320),0,60),235,16)':cb=128:cr=128"
    mode = "interleave_top" if order == "tff" else "interleave_bottom"
    mark = ("-field_order", "tt" if order == "tff" else "bb") if declared else ("-field_order", "progressive")
    weave = f"{bar},tinterlace={mode}" + ("" if declared else ",setfield=prog")
    ffmpeg("-f", "lavfi", "-i", weave, *codec, *mark, tmp_path / "s.mkv")
    facts = probe(tmp_path / "s.mkv")
    assert facts.deinterlace is (Deinterlace.MARKED if declared else Deinterlace.ALL)
    result, clip = cut(tmp_path, tmp_path / "s.mkv", 0, 2, ClipRules(form=ClipFormat(480)))
    assert result.clip is not None
    assert "deinterlaced" in result.clip.note
    assert result.clip.num_frames == 50
    rows = lumas(clip)[20]
    comb = np.abs(rows[1:-1] - (rows[:-2] + rows[2:]) // 2).mean()
    assert comb < 1
    woven = lumas(tmp_path / "s.mkv")[20]
    assert np.abs(woven[1:-1] - (woven[:-2] + woven[2:]) // 2).mean() > 3


def test_a_progressive_film_of_the_same_raster_is_left_alone(tmp_path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x480:r=25:d=2", "-c:v", "libx264", tmp_path / "s.mp4")
    assert probe(tmp_path / "s.mp4").deinterlace is Deinterlace.NONE


@pytest.mark.parametrize("tone", [(0.0, 2.5), (3.0, 6.0), (2.8, 3.4), (0.0, 0.5)])
@pytest.mark.parametrize(
    ("suffix", "codec", "sound"),
    [
        (".mp4", COPY, AAC),
        (".mov", COPY, AAC),
        (".mkv", COPY, MP3),
        (".ts", COPY, AAC),
        (".webm", VP8, OPUS),
    ],
)
def test_sound_keeps_its_place_and_never_costs_the_picture(
    tmp_path: Path, suffix: str, codec: tuple[str, ...], sound: tuple[str, ...], tone: tuple[float, float]
) -> None:
    source_video = with_tone(tmp_path / f"s{suffix}", 6, tone, codec=codec, sound=sound)
    result, clip = cut(tmp_path, source_video, 2, 4)
    assert result.outcome is OutcomeClass.DONE, result.text
    assert numbers(clip) == list(range(50, 100))
    begins, ends = max(0.0, tone[0] - 2), min(2.0, tone[1] - 2)
    heard = sounding(clip)
    if ends <= 0:
        assert heard is None
        return
    assert heard is not None
    assert heard[0] == pytest.approx(begins, abs=0.12)
    assert heard[1] == pytest.approx(ends, abs=0.12)


def test_sound_in_avi(tmp_path: Path) -> None:
    source_video = make_video(tmp_path / "s.avi", 6, codec=(*MPEG4, *MP3))
    result, clip = cut(tmp_path, source_video, 2, 4)
    with av.open(str(source_video)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    # ffmpeg writes such a file with empty packets after the first frame, for the sound's delay.
    first = sum(time < 1.99 for time in times)
    assert numbers(clip) == list(range(first, first + 50))
    assert result.clip is not None
    assert (result.clip.note, result.clip.has_audio) == ("", True)
    heard = sounding(clip)
    assert heard is not None
    assert heard[1] - heard[0] == pytest.approx(2, abs=0.12)


def test_broken_sound_is_kept_as_far_as_it_decodes(tmp_path: Path) -> None:
    source_video = make_video(tmp_path / "s.mp4", 4)
    ffmpeg("-i", source_video, "-c", "copy", "-bsf:a", "noise=amount=20", tmp_path / "b.mp4")
    result, clip = cut(tmp_path, tmp_path / "b.mp4", 1, 3)
    assert result.clip is not None
    assert "sound" in result.clip.note
    assert result.clip.damaged_frames == 0
    assert numbers(clip) == list(range(25, 75))
    result, clip = cut(tmp_path, tmp_path / "b.mp4", 1, 2, keep_audio=False)
    assert result.clip is not None
    assert (result.clip.has_audio, "sound" in result.clip.note) == (False, False)


def test_sound_without_a_decoder_is_left_out_with_a_note(tmp_path: Path) -> None:
    # The name of the codec, and the type of its stream.
    source_video = replace_bytes(make_video(tmp_path / "s.mp4", 3), b"mp4a", b"zzzz")
    replace_bytes(source_video, b"\x04\x80\x80\x80\x17\x40", b"\x04\x80\x80\x80\x17\xe9")
    result, clip = cut(tmp_path, source_video, 1, 2)
    assert result.clip is not None
    assert (result.clip.has_audio, result.clip.note) == (False, "sound left out: there is no decoder for it")
    assert numbers(clip) == list(range(25, 50))


def test_a_picture_without_a_decoder_is_a_row(tmp_path: Path) -> None:
    from dancecli.dataset.cutting import probe_source
    from dancecli.sources.failures import Failure

    source_video = replace_bytes(make_video(tmp_path / "s.mp4", 1), b"avc1", b"zzzz")
    with pytest.raises(Failure, match="no-decoder") as caught:
        probe_source(source_video)
    assert caught.value.outcome is OutcomeClass.CORRUPT


def test_the_stream_that_is_marked_default_is_the_picture(tmp_path: Path) -> None:
    source_video = make_video(tmp_path / "f.mp4", 4, audio=False)
    small = make_video(tmp_path / "p.mp4", 4, size=(64, 64), fps=5, audio=False)
    large = tmp_path / "l.mp4"
    ffmpeg("-f", "lavfi", "-i", "color=c=red:s=640x480:r=25:d=4", *X264, large)
    ffmpeg("-f", "lavfi", "-i", "color=c=blue:s=96x96", "-frames:v", 1, tmp_path / "cover.png")
    inputs = [arg for path in (small, large, source_video, tmp_path / "cover.png") for arg in ("-i", path)]
    maps = [arg for i in range(4) for arg in ("-map", i)]
    kinds = [
        arg
        for i, kind in enumerate(("0", "0", "default", "attached_pic"))
        for arg in (f"-disposition:v:{i}", kind)
    ]
    for suffix in (".mp4", ".mkv"):
        ffmpeg(*inputs, *maps, "-c", "copy", *kinds, tmp_path / f"s{suffix}")
        result, clip = cut(tmp_path, tmp_path / f"s{suffix}", 1, 3)
        assert result.outcome is OutcomeClass.DONE, result.text
        assert numbers(clip) == list(range(25, 75))


def test_only_a_cover_is_no_picture(tmp_path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "color=c=blue:s=96x96", "-frames:v", 1, tmp_path / "cover.png")
    sound = ("-f", "lavfi", "-i", "sine=d=1", "-i", tmp_path / "cover.png", "-map", 0, "-map", 1)
    ffmpeg(*sound, "-c:v", "copy", "-disposition:v", "attached_pic", tmp_path / "s.mp4")
    from dancecli.video.source import NoPictureError

    with pytest.raises(NoPictureError):
        probe(tmp_path / "s.mp4")


def test_an_edit_list_with_sound_starts_where_it_says(tmp_path: Path) -> None:
    source_video = make_video(tmp_path / "f.mp4", 6)
    # Copied from within a group of pictures: the file begins at a key frame, its edit list at 1.5 s.
    ffmpeg("-ss", 1.5, "-i", source_video, "-c", "copy", tmp_path / "s.mp4")
    whole, clip = cut(tmp_path, tmp_path / "s.mp4", 0, 4, whole=True)
    assert whole.outcome is OutcomeClass.DONE
    shown = numbers(clip)
    assert shown == list(range(shown[0], shown[0] + len(shown)))
    assert abs(shown[0] - 38) <= 1
    part, clip = cut(tmp_path, tmp_path / "s.mp4", 1, 3)
    assert numbers(clip) == list(range(shown[0] + 25, shown[0] + 75))
    assert part.clip is not None
    assert part.clip.has_audio


@pytest.mark.parametrize(
    "title", ["Tänze".encode("latin-1"), "踊り".encode("shift-jis"), b"\xff\xfed\x00a\x00n\x00"]
)
@pytest.mark.parametrize(
    ("suffix", "codec"), [(".mp4", X264), (".mov", X264), (".mkv", X264), (".avi", MPEG4), (".webm", VP8)]
)
def test_tags_decide_nothing(tmp_path: Path, suffix: str, codec: tuple[str, ...], title: bytes) -> None:
    placeholder = b"T" * len(title)
    filters = ("-metadata", f"title={placeholder.decode()}", "-metadata", f"comment={placeholder.decode()}")
    source_video = make_video(tmp_path / f"s{suffix}", 2, codec=codec, filters=filters, audio=False)
    result, clip = cut(tmp_path, replace_bytes(source_video, placeholder, title), 0, 1)
    assert result.outcome is OutcomeClass.DONE, result.text
    assert numbers(clip) == list(range(25))
    hash_clip(source_video)


@pytest.mark.parametrize("start_s", [0, 1, 3.2])
def test_an_index_that_lies_about_key_frames(tmp_path: Path, start_s: float) -> None:
    source_video = mark_all_as_key_frames(make_video(tmp_path / "s.avi", 6, codec=MPEG4, audio=False))
    result, clip = cut(tmp_path, source_video, start_s, start_s + 2)
    assert result.outcome is OutcomeClass.DONE, result.text
    first = round(25 * start_s)
    assert numbers(clip) == list(range(first, first + 50))


@pytest.mark.parametrize("suffix", [".ts", ".mkv"])
def test_a_stream_that_begins_in_a_group_starts_at_its_first_picture(tmp_path: Path, suffix: str) -> None:
    source_video = make_video(tmp_path / "f.mkv", 4, audio=False)
    begun = without_packets(source_video, tmp_path / f"s{suffix}", lambda number: number < 12)
    result, clip = cut(tmp_path, begun, 0, 4, whole=True)
    assert result.outcome is OutcomeClass.DONE, result.text
    shown = [number for number in numbers(clip) if number >= 30]
    # Whole from the key frame on; what is before it, if anything, stands for it.
    assert sorted(set(shown)) == list(range(30, 100))
    assert shown == sorted(shown)


def test_missing_references_that_still_decode_are_counted(tmp_path: Path) -> None:
    source_video = make_video(tmp_path / "f.mkv", 8, audio=False)
    holed = without_packets(source_video, tmp_path / "s.mkv", lambda number: number == 100)
    result, clip = cut(tmp_path, holed, 0, 8, whole=True)
    assert result.outcome is OutcomeClass.DONE, result.text
    shown = numbers(clip)
    assert len(shown) == 200
    # What follows in the group of pictures builds on what is missing; all else is as it was.
    wrong = [i for i, number in enumerate(shown) if number != i]
    assert 100 in wrong
    assert set(wrong) <= set(range(100, 120))
    assert result.clip is not None
    assert result.clip.note == "1 frame repeats the one before: the source has none for that time"


def test_a_few_damaged_frames_are_told_and_more_are_refused(tmp_path: Path) -> None:
    source_video = damage_packet(make_video(tmp_path / "s.mp4", 8, audio=False), 100)
    result, clip = cut(tmp_path, source_video, 2, 7)
    assert result.outcome is OutcomeClass.DONE, result.text
    assert result.clip is not None
    assert 1 <= result.clip.damaged_frames <= 5
    assert "damaged frame" in result.clip.note
    assert ", at 2.00" in result.clip.note
    assert len(numbers(clip)) == 125
    for number in range(60, 150, 2):
        damage_packet(source_video, number)
    clip.unlink()
    refused, _ = cut(tmp_path, source_video, 2, 7)
    assert (refused.outcome, clip.exists()) == (OutcomeClass.CORRUPT, False)
    assert "frames are damaged" in refused.text
    accepted, _ = cut(tmp_path, source_video, 2, 7, ClipRules(max_damaged=1))
    assert accepted.clip is not None
    assert accepted.clip.damaged_frames > 20


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".mkv", X264), (".ts", X264), (".webm", VP8), (".avi", MPEG4)]
)
def test_a_file_that_is_cut_off_is_taken_as_far_as_it_goes(
    tmp_path: Path, suffix: str, codec: tuple[str, ...]
) -> None:
    source_video = make_video(tmp_path / f"s{suffix}", 6, codec=codec, audio=False)
    source_video.write_bytes(source_video.read_bytes()[: source_video.stat().st_size * 2 // 3])
    result, clip = cut(tmp_path, source_video, 0, 6, whole=True)
    assert result.clip is not None, result.text
    shown = numbers(clip)
    assert shown[:80] == list(range(80))
    assert result.clip.length_diff_ms == 40 * len(shown) - 6000


def test_an_mp4_whose_table_promises_more_is_corrupt(tmp_path: Path) -> None:
    source_video = make_video(tmp_path / "s.mp4", 6, codec=(*X264, "-movflags", "+faststart"), audio=False)
    source_video.write_bytes(source_video.read_bytes()[: source_video.stat().st_size * 2 // 3])
    result, _ = cut(tmp_path, source_video, 0, 6, whole=True)
    assert result.outcome is OutcomeClass.CORRUPT
    assert "breaks off" in result.text
    before, clip = cut(tmp_path, source_video, 0, 2)
    assert before.outcome is OutcomeClass.DONE
    assert numbers(clip) == list(range(50))


@pytest.mark.parametrize("late_s", [0.4, 2])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_a_picture_that_starts_after_the_sound(tmp_path: Path, suffix: str, late_s: float) -> None:
    silent = make_video(tmp_path / "f.mp4", 6, audio=False)
    sine = ("-f", "lavfi", "-i", "sine=f=440:d=8")
    ffmpeg(
        "-itsoffset",
        late_s,
        "-i",
        silent,
        *sine,
        *COPY,
        *AAC,
        "-map",
        "0",
        "-map",
        "1",
        tmp_path / f"s{suffix}",
    )
    result, clip = cut(tmp_path, tmp_path / f"s{suffix}", 3, 5)
    assert result.outcome is OutcomeClass.DONE, result.text
    first = round(25 * (3 - late_s))
    assert abs(numbers(clip)[0] - first) <= 1
    assert numbers(clip) == list(range(numbers(clip)[0], numbers(clip)[0] + 50))
    whole, clip = cut(tmp_path, tmp_path / f"s{suffix}", 0, 6, whole=True)
    assert numbers(clip) == list(range(150))
    assert whole.clip is not None
    assert whole.clip.length_diff_ms == 0


@pytest.mark.parametrize("suffix", [".mkv", ".ts"])
@pytest.mark.parametrize("sizes", [((160, 120), (320, 240)), ((320, 240), (160, 120))])
def test_a_size_that_changes_doubles_no_frame(
    tmp_path: Path, suffix: str, sizes: tuple[tuple[int, int], ...]
) -> None:
    whole = make_video(tmp_path / "w.mkv", 6, size=sizes[0], audio=False)
    for i, (width, height) in enumerate(sizes):
        part = (
            f"select='between(n,{75 * i},{75 * i + 74})',setpts=N/25/TB,scale={width}:{height}:flags=neighbor"
        )
        ffmpeg("-i", whole, "-vf", part, *X264, tmp_path / f"{i}{suffix}")
    (tmp_path / "l.txt").write_text(f"file 0{suffix}\nfile 1{suffix}\n")
    ffmpeg("-f", "concat", "-safe", 0, "-i", tmp_path / "l.txt", "-c", "copy", tmp_path / f"s{suffix}")
    result, clip = cut(tmp_path, tmp_path / f"s{suffix}", 1, 5)
    assert result.outcome is OutcomeClass.DONE, result.text
    assert numbers(clip) == list(range(25, 125))
    hash_clip(tmp_path / f"s{suffix}")


def test_lengths_have_one_tolerance(tmp_path: Path) -> None:
    source_video = make_video(tmp_path / "s.mkv", 3, audio=False)
    for name, asked_s in (("shorter", 10), ("longer", 1)):
        result, _ = cut(tmp_path / name, source_video, 0, asked_s, whole=True)
        assert result.clip is not None
        assert result.clip.length_diff_ms == 1000 * (3 - asked_s)
        assert f"{abs(3 - asked_s) * 1000} ms {name} than asked for" in result.clip.note
        exact, _ = cut(tmp_path, source_video, 0, asked_s, ClipRules(exact=True), whole=True)
        assert exact.reason == ("too-short" if name == "shorter" else "too-long")
    assert (
        cut(tmp_path, source_video, 0, 10, ClipRules(min_length_s=3.5), whole=True)[0].reason == "too-short"
    )
    # A cut that its video nearly holds is that much shorter; one that it holds half of is not there.
    nearly, clip = cut(tmp_path, source_video, 1, 3.1)
    assert nearly.clip is not None
    assert (nearly.clip.length_diff_ms, len(numbers(clip))) == (-100, 50)
    assert cut(tmp_path, source_video, 1, 5)[0].outcome is OutcomeClass.SOURCE_SHORT
    past, _ = cut(tmp_path, source_video, 8, 9)
    assert (past.outcome, past.text) == (
        OutcomeClass.SOURCE_SHORT,
        "the picture ends at 3000 ms, the segment starts at 8000 ms",
    )


def test_what_is_in_a_clip_is_measured(tmp_path: Path) -> None:
    dark = "color=c=black:s=160x120:r=25:d=2"
    still = "testsrc=s=160x120:r=25:d=2,select='eq(n,0)',loop=loop=50:size=1,setpts=N/25/TB"
    barred = "testsrc2=s=160x90:r=25:d=2,pad=160:120:0:15"
    found = {}
    for name, picture in (("dark", dark), ("still", still), ("barred", barred)):
        ffmpeg("-f", "lavfi", "-i", picture, "-t", 2, *X264, tmp_path / f"{name}.mp4")
        result, _ = cut(tmp_path / name, tmp_path / f"{name}.mp4", 0, 2, whole=True)
        assert result.clip is not None
        found[name] = result.clip
    assert (found["dark"].black_share, found["still"].black_share) == (1, 0)
    assert found["still"].frozen_share > 0.9
    assert "static picture" in found["still"].note
    assert found["barred"].bars_share == pytest.approx(0.25, abs=0.03)
    assert "black bars on" in found["barred"].note
    assert (found["barred"].source_width, found["barred"].source_codec) == (160, "h264")


@pytest.mark.parametrize(("level", "lufs"), [(0.5, -9.05), (0.05, -29.05)])
def test_loudness_is_that_of_ebu_r128(tmp_path: Path, level: float, lufs: float) -> None:
    sine = f"aevalsrc='{level}*sin(2*PI*997*t)|{level}*sin(2*PI*997*t)':s=48000:d=4"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=4", "-f", "lavfi", "-i", sine, *X264, tmp_path / "s.mkv"
    )
    result, _ = cut(tmp_path, tmp_path / "s.mkv", 0, 4)
    assert result.clip is not None
    assert result.clip.loudness_lufs == pytest.approx(lufs + 3.01, abs=0.5)


@pytest.mark.parametrize("codec", ["hevc", "av1"])
def test_other_forms_of_clips(tmp_path: Path, codec: str) -> None:
    source_video = make_video(tmp_path / "s.mp4", 3, size=(320, 240))
    result, clip = cut(tmp_path, source_video, 1, 2, ClipRules(form=ClipFormat(128, codec)))
    assert result.outcome is OutcomeClass.DONE, result.text
    assert shape_of(clip) == (170, 128)
    assert numbers(clip) == list(range(25, 50))
    with av.open(str(clip)) as container:
        assert container.streams.video[0].codec_context.codec.canonical_name == codec
        assert container.streams.video[0].average_rate == Fraction(25)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("s.mkv", VP8),
        ("s.avi", ("-c:v", "mjpeg", "-q:v", "3")),
        ("s.mov", ("-c:v", "prores_ks")),
        ("s.mp4", ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:keyint=3")),
    ],
)
def test_a_frame_that_the_decoder_refuses_is_a_damaged_one(
    tmp_path: Path, name: str, codec: tuple[str, ...]
) -> None:
    source_video = damage_packet(make_video(tmp_path / name, 8, codec=codec, audio=False), 100, 8)
    result, clip = cut(tmp_path, source_video, 2, 7)
    assert result.clip is not None, result.text
    shown = numbers(clip)
    assert len(shown) == 125
    assert 1 <= result.clip.damaged_frames <= 6
    assert "ffmpeg: " in result.clip.note
    wrong = [i for i, number in enumerate(shown) if number != i + 50]
    # Frames of a group that are shown before or after it build on it.
    assert set(wrong) <= set(range(44, 58))


def test_a_linked_file_has_the_size_that_is_shown(tmp_path: Path) -> None:
    from dancecli.core.records import Segment
    from dancecli.dataset.ingest.worker import ImportJob, work

    source_video = make_video(tmp_path / "f.mp4", 2, size=(160, 90))
    ffmpeg("-display_rotation", 90, "-i", source_video, "-c", "copy", tmp_path / "turned.mp4")
    wide = make_video(tmp_path / "wide.mp4", 2, size=(160, 90), filters=("-vf", "setsar=2/1"))
    for path, shape in ((tmp_path / "turned.mp4", (90, 160)), (wide, (320, 90))):
        job = ImportJob(tmp_path, Segment(path.stem, 0, 2000, "zumba"), path, link=True)
        (result,) = work(job, lambda: None).clips
        assert result.clip is not None, result.text
        assert (result.clip.width, result.clip.height) == shape
        assert (tmp_path / result.clip.path).samefile(path)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("s.mpg", ("-c:v", "mpeg2video", "-q:v", "2", "-g", "100", "-bf", "2")),
        ("s.ts", (*X264, "-g", "150", "-bf", "2")),
        ("s.flv", ("-c:v", "flv1", "-q:v", "2", "-g", "100")),
        ("s.mkv", ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "2M", "-g", "150")),
        ("s.wmv", ("-c:v", "wmv2", "-q:v", "2", "-g", "100")),
    ],
)
@pytest.mark.parametrize("start_s", [0.04, 2.6, 4.44])
def test_a_seek_that_lands_late_is_repeated_from_the_start(
    tmp_path: Path, name: str, codec: tuple[str, ...], start_s: float
) -> None:
    source_video = make_video(tmp_path / name, 6, codec=codec, audio=False)
    result, clip = cut(tmp_path, source_video, start_s, start_s + 1)
    assert result.outcome is OutcomeClass.DONE, result.text
    first = round(25 * start_s)
    assert numbers(clip) == list(range(first, first + 25))
