"""Downloads through yt-dlp from the loopback site: what comes, and what each fault is taken for."""

import io
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dancecli.core.errors import UsageError
from dancecli.core.records import OutcomeClass
from dancecli.demo.video_site import Fault, VideoSite
from dancecli.engine.worker import Halted
from dancecli.sources import youtube
from dancecli.sources.failures import Failure
from dancecli.sources.youtube import Download, SourceInfo, check_address, download

BODY = bytes(range(256)) * 2000
ID = "-abc_DEF123"


@pytest.fixture
def faults() -> dict[str, Fault]:
    return {}


@pytest.fixture
def site(tmp_path: Path, faults: dict[str, Fault]) -> Iterator[VideoSite]:
    (tmp_path / f"{ID}.mp4").write_bytes(BODY)
    with VideoSite(tmp_path, faults) as site:
        yield site


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "100% of $HOME").mkdir()
    return tmp_path / "100% of $HOME"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(youtube, "_pause_s", lambda n: 0.0)


def settings(site: VideoSite) -> Download:
    return Download(url_template=site.url_template, socket_timeout_s=1.0)


def fails(site: VideoSite, folder: Path) -> Failure:
    with pytest.raises(Failure) as caught:
        download(ID, folder, settings(site), lambda: None)
    return caught.value


def test_one_request_a_video(site: VideoSite, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    asked: list[int] = []
    path = download(ID, folder, settings(site), lambda: asked.append(1)).path
    assert path.parent == folder
    assert path.read_bytes() == BODY
    assert len(site.log) == len(asked) == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(status=404), "permanent http-404"),
        (Fault(status=410), "permanent http-410"),
        (Fault(status=403), "transient http-403"),
        (Fault(status=429), "session http-429"),
        (Fault(status=500), "transient http-500"),
        (Fault(cut_at=0.5), "transient truncated"),
        (Fault(stall_at=0.5), "transient timeout"),
        (Fault(html=True), "transient not-a-video"),
        (Fault(html=True, text="detected unusual traffic"), "session bot-check"),
    ],
)
def test_faults(site: VideoSite, folder: Path, faults: dict[str, Fault], fault: Fault, expected: str) -> None:
    faults[ID] = fault
    failure = fails(site, folder)
    assert f"{failure.outcome} {failure.reason}" == expected
    assert failure.text


def test_retry_after_is_read(site: VideoSite, folder: Path, faults: dict[str, Fault]) -> None:
    faults[ID] = Fault(status=429, retry_after="90")
    assert fails(site, folder).retry_after_s == 90
    assert youtube._retry_after_s("Wed, 21 Oct 2215 07:28:00 GMT") > 1e6
    assert youtube._retry_after_s("soon") == 0


@pytest.mark.parametrize(
    "fault", [Fault(status=500), Fault(status=503), Fault(status=403), Fault(status=429)]
)
def test_a_request_that_is_refused_is_not_repeated(
    site: VideoSite, folder: Path, faults: dict[str, Fault], fault: Fault
) -> None:
    faults[ID] = fault
    fails(site, folder)
    assert [r.status for r in site.log] == [fault.status], "the dispatcher decides when to ask again"


@pytest.mark.parametrize("retry_after", ["30", "Wed, 21 Oct 2215 07:28:00 GMT"])
def test_a_503_that_names_a_time_is_a_refusal(
    site: VideoSite, folder: Path, faults: dict[str, Fault], retry_after: str
) -> None:
    faults[ID] = Fault(status=503, retry_after=retry_after)
    failure = fails(site, folder)
    assert (failure.outcome, failure.reason) == (OutcomeClass.SESSION, "http-503")
    assert failure.retry_after_s >= 30
    assert len(site.log) == 1


@pytest.mark.parametrize(
    ("fault", "refused"),
    [
        (Fault(status=429), True),
        (Fault(status=503, retry_after="30"), True),
        (Fault(status=503), False),
        (Fault(status=403), False),
    ],
)
def test_the_extractor_of_youtube_does_not_repeat_a_refused_request(
    site: VideoSite, folder: Path, faults: dict[str, Fault], fault: Fault, refused: bool
) -> None:
    """Its own retries would ask a site again that has just asked to be left alone."""
    from yt_dlp.networking.exceptions import HTTPError

    faults[ID] = fault
    url = site.url_template.format(video_id=ID)
    options = youtube._options(folder, Download())
    with (
        youtube._youtube_dl()(options, lambda: None, direct=False) as ydl,
        pytest.raises(Failure if refused else HTTPError) as caught,
    ):
        ydl.urlopen(url)
    assert not refused or caught.value.outcome is OutcomeClass.SESSION


def test_a_cut_download_resumes(site: VideoSite, folder: Path, faults: dict[str, Fault]) -> None:
    faults[ID] = Fault(cut_at=0.5, times=1)
    assert download(ID, folder, settings(site), lambda: None).path.read_bytes() == BODY
    assert site.log[0].range == ""
    # What had come of the last block when the line broke is asked for again.
    begin = int(site.log[1].range.removeprefix("bytes=").removesuffix("-"))
    assert len(site.log) == 2
    assert 0 < begin <= len(BODY) // 2


def test_a_cut_download_without_ranges_starts_again(
    site: VideoSite, folder: Path, faults: dict[str, Fault]
) -> None:
    faults[ID] = Fault(cut_at=0.5, times=1)
    asked: list[int] = []

    def acquire() -> None:
        if asked:
            faults[ID] = Fault(ranges=False)
        asked.append(1)

    assert download(ID, folder, settings(site), acquire).path.read_bytes() == BODY


def test_nobody_listens(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        template = f"http://127.0.0.1:{free.getsockname()[1]}/{{video_id}}"
    with pytest.raises(Failure) as caught:
        download(ID, folder, Download(url_template=template), lambda: None)
    assert (caught.value.outcome, caught.value.reason) == (OutcomeClass.SESSION, "unreachable")


def test_told_to_leave(site: VideoSite, folder: Path) -> None:
    def halt() -> None:
        raise Halted

    with pytest.raises(Halted):
        download(ID, folder, settings(site), halt)
    assert site.log == []


def test_full_disk_is_no_fault_of_the_video(
    site: VideoSite, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from yt_dlp.downloader.http import HttpFD

    class FullFile:
        def write(self, _: bytes) -> int:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            pass

    monkeypatch.setattr(HttpFD, "sanitize_open", lambda self, name, mode: (FullFile(), name))
    with pytest.raises(OSError, match="No space left"):
        download(ID, folder, settings(site), lambda: None)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("[youtube] x: Private video. Sign in if you've been granted access", "permanent private"),
        ("[youtube] x: Sign in to confirm you\u2019re not a bot", "session bot-check"),
        ("[youtube] x: Video unavailable", "permanent unavailable"),
    ],
)
def test_errors_of_youtube(folder: Path, monkeypatch: pytest.MonkeyPatch, error: str, expected: str) -> None:
    import yt_dlp
    from yt_dlp.utils import DownloadError, ExtractorError

    asked: list[str] = []

    def refuse(self: object, url: str, download: bool) -> None:
        asked.append(url)
        inner = ExtractorError(error, expected=True)
        raise DownloadError(f"ERROR: {error}", (ExtractorError, inner, None))

    monkeypatch.setattr(yt_dlp.YoutubeDL, "extract_info", refuse)
    with pytest.raises(Failure) as caught:
        download(ID, folder, Download(), lambda: None)
    assert f"{caught.value.outcome} {caught.value.reason}" == expected
    assert asked == [f"https://www.youtube.com/watch?v={ID}"]
    assert not caught.value.text.startswith("ERROR")


def test_a_region_block_by_its_type(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import yt_dlp
    from yt_dlp.utils import DownloadError, GeoRestrictedError

    def refuse(self: object, url: str, download: bool) -> None:
        inner = GeoRestrictedError("not for you", countries=["FR"])
        raise DownloadError("ERROR: not for you", (GeoRestrictedError, inner, None))

    monkeypatch.setattr(yt_dlp.YoutubeDL, "extract_info", refuse)
    with pytest.raises(Failure) as caught:
        download(ID, folder, Download(), lambda: None)
    assert caught.value.reason == "geo-blocked"


def test_a_fault_of_yt_dlp_is_no_end_of_the_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import yt_dlp

    def stumble(self: object, url: str, download: bool) -> None:
        raise KeyError("videoDetails")

    monkeypatch.setattr(yt_dlp.YoutubeDL, "extract_info", stumble)
    with pytest.raises(Failure) as caught:
        download(ID, folder, Download(), lambda: None)
    assert f"{caught.value.outcome} {caught.value.reason}" == "transient unknown"
    assert "KeyError: 'videoDetails'" in caught.value.text


def test_what_is_asked_of_youtube(folder: Path) -> None:
    options = youtube._options(folder, Download())
    assert options["retries"] > 0
    assert options["socket_timeout"] == 20
    assert options["skip_unavailable_fragments"] is False, "a hole in a video that nobody notices"
    assert "download_archive" not in options
    assert youtube._options(folder, Download(with_audio=False))["format"].startswith("bv*")


@pytest.mark.parametrize(
    ("sizes", "chosen"),
    [
        ([(176, 144), (640, 360), (1280, 720), (1920, 1080)], "640x360"),
        ([(854, 480), (1280, 720)], "854x480"),
        # Never a smaller one where there is one that is large enough: clips would be upscaled.
        ([(426, 240), (854, 480)], "854x480"),
        ([(176, 144), (854, 480)], "854x480"),
        # Held upright, the width is the short side.
        ([(240, 426), (360, 640), (480, 854)], "360x640"),
        ([(256, 455), (360, 640)], "256x455"),
        ([(176, 144), (320, 240)], "320x240"),
    ],
)
@pytest.mark.parametrize("kind", ["together", "apart", "silent"])
def test_the_smallest_that_is_large_enough_is_chosen(
    folder: Path, sizes: list[tuple[int, int]], chosen: str, kind: str
) -> None:
    formats = [_format(w, h, kind == "together") for w, h in sizes]
    if kind == "apart":
        formats.append(
            {"format_id": "sound", "url": "http://x/a", "ext": "m4a", "vcodec": "none", "acodec": "mp4a"}
        )
    found = _choose(folder, formats, Download(with_audio=kind != "silent"))
    assert found == (f"{chosen}+sound" if kind == "apart" else chosen)


def test_of_one_size_the_one_with_sound_and_h264_is_chosen(folder: Path) -> None:
    formats = [
        {**_format(640, 360, True), "format_id": "av1", "vcodec": "av01"},
        {**_format(640, 360, True), "format_id": "h264"},
        {**_format(640, 360, False), "format_id": "silent"},
        {"format_id": "sound", "url": "http://x/a", "ext": "m4a", "vcodec": "none", "acodec": "mp4a"},
    ]
    assert _choose(folder, formats, Download()) == "h264"


def test_the_short_side_asked_for_decides(folder: Path) -> None:
    formats = [_format(w, h, True) for w, h in ((426, 240), (640, 360), (854, 480), (1280, 720))]
    assert [_choose(folder, formats, Download(short_side=side)) for side in (224, 320, 400, 2000)] == [
        "426x240",
        "640x360",
        "854x480",
        "1280x720",
    ]


def _format(width: int, height: int, sound: bool) -> dict[str, Any]:
    name = f"{width}x{height}"
    known = {"format_id": name, "url": "http://x/", "ext": "mp4", "height": height, "width": width}
    return {**known, "vcodec": "avc1", "acodec": "mp4a" if sound else "none"}


def _choose(folder: Path, formats: list[dict[str, Any]], settings: Download) -> str:
    from yt_dlp import YoutubeDL

    result = {"id": "x", "title": "x", "extractor": "x", "extractor_key": "X", "formats": formats}
    with YoutubeDL({**youtube._options(folder, settings), "simulate": True, "quiet": True}) as ydl:
        return str(ydl.process_ie_result(result, download=False)["format_id"])


@pytest.mark.parametrize(
    ("status", "reason"), [("is_live", "live"), ("is_upcoming", "upcoming"), ("post_live", "processing")]
)
def test_what_is_no_whole_video_yet_is_not_downloaded(folder: Path, status: str, reason: str) -> None:
    from yt_dlp import YoutubeDL

    live = {**_format(640, 360, True), "url": "http://127.0.0.1:9/"}
    result = {"id": "x", "title": "x", "extractor": "x", "extractor_key": "X", "formats": [live]}
    with YoutubeDL(youtube._options(folder, Download())) as ydl, pytest.raises(Failure) as caught:
        ydl.process_ie_result({**result, "live_status": status}, download=True)
    assert (caught.value.outcome, caught.value.reason) == (OutcomeClass.TRANSIENT, reason)
    assert caught.value.is_answer, "it is no sign that the site refuses us"


@pytest.mark.parametrize("status", [404, 410, 451])
def test_the_status_of_an_api_is_no_tombstone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    import yt_dlp
    from yt_dlp.networking import Response
    from yt_dlp.networking.exceptions import HTTPError
    from yt_dlp.utils import DownloadError, ExtractorError

    def refuse(self: object, url: str, download: bool) -> None:
        answer = Response(io.BytesIO(), "https://www.youtube.com/youtubei/v1/player", {}, status=status)
        inner = ExtractorError("Unable to download API page", cause=HTTPError(answer))
        raise DownloadError("ERROR: Unable to download API page", (ExtractorError, inner, None))

    monkeypatch.setattr(yt_dlp.YoutubeDL, "extract_info", refuse)
    with pytest.raises(Failure) as caught:
        download(ID, folder, Download(), lambda: None)
    assert (caught.value.outcome, caught.value.reason) == (OutcomeClass.TRANSIENT, f"http-{status}")
    assert not caught.value.is_answer


def test_what_the_site_says_of_a_video_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import yt_dlp

    def extract(self: object, url: str, download: bool) -> dict[str, Any]:
        (folder / "source.mp4").write_bytes(BODY)
        facts = {"title": " Salsa\nnight ", "channel": "Ana", "upload_date": "20140203", "license": None}
        return {
            **facts,
            "width": 640,
            "height": 360,
            "fps": 29.97,
            "vcodec": "avc1.42001E",
            "format_id": "18",
        }

    monkeypatch.setattr(yt_dlp.YoutubeDL, "extract_info", extract)
    found = download(ID, folder, Download(), lambda: None)
    assert found.path == folder / "source.mp4"
    assert found.info == SourceInfo(
        "Salsa night", "Ana", "20140203", "", 640, 360, 29.97, "avc1.42001E", "18"
    )


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("ftp://x/{video_id}", "not an http"),
        ("file:///etc/{video_id}", "not an http"),
        ("{video_id}.mp4", "not an http"),
        ("http://x/video.mp4", "must contain {video_id} once"),
        ("http://x/{video_id}/{video_id}", "must contain {video_id} once"),
        ("http://x/{video_id}/{label}", "must contain {video_id} once"),
        ("http://x/{video_id}/{0.__class__}", "must contain {video_id} once"),
        ("http://x/{video_id", "must contain {video_id} once"),
        ("http://x/{video_id:d}", "must contain {video_id} once"),
        ("http://x/{video_id:99999999}", "must contain {video_id} once"),
        ("http://[x/{video_id}", "not an http"),
    ],
)
def test_templates_that_cannot_work(template: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_address(template, "--url-template", ("video_id",))
    assert said in caught.value.message


def test_templates_that_work() -> None:
    check_address("http://x/{video_id}?a={{b}}", "--url-template", ("video_id",))
    check_address("https://x/{split}/k_{number:03d}.tar", "--mirror-template", ("split", "number"))


def test_the_file_found_is_not_a_part(folder: Path) -> None:
    for name in ("source.mp4.part", "source.webm"):
        (folder / name).touch()
    assert youtube._downloaded(folder) == folder / "source.webm"
