"""Downloads through yt-dlp from the loopback site: what comes, and what each fault is taken for."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dancecli.core.errors import UsageError
from dancecli.core.records import OutcomeClass
from dancecli.demo.video_site import Fault, VideoSite
from dancecli.engine.worker import Halted
from dancecli.sources import youtube
from dancecli.sources.failures import Failure
from dancecli.sources.youtube import Download, check_address, download, read_extractor_args

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
    path = download(ID, folder, settings(site), lambda: asked.append(1))
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


def test_a_passing_fault_is_overcome(site: VideoSite, folder: Path, faults: dict[str, Fault]) -> None:
    faults[ID] = Fault(status=500, times=2)
    asked: list[int] = []
    assert download(ID, folder, settings(site), lambda: asked.append(1)).read_bytes() == BODY
    assert [r.status for r in site.log] == [500, 500, 200]
    assert len(asked) == 3, "each request takes a permit"


def test_a_cut_download_goes_on_where_it_was(site: VideoSite, folder: Path, faults: dict[str, Fault]) -> None:
    faults[ID] = Fault(cut_at=0.5, times=1)
    assert download(ID, folder, settings(site), lambda: None).read_bytes() == BODY
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

    assert download(ID, folder, settings(site), acquire).read_bytes() == BODY


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
    cookies = folder / "cookies.txt"
    given = Download(cookies=cookies, extractor_args=("youtube:player_client=web,tv;po-token=x",))
    options = youtube._options(folder, given)
    assert options["cookiefile"] == str(cookies)
    assert options["extractor_args"] == {"youtube": {"player_client": ["web", "tv"], "po_token": ["x"]}}
    assert options["retries"] > 0
    assert options["socket_timeout"] == 20
    assert "download_archive" not in options
    assert youtube._options(folder, Download(with_audio=False))["format"].startswith("bv*")


def test_low_resolution_is_chosen(folder: Path) -> None:
    from yt_dlp import YoutubeDL

    def choice(*heights: int) -> int:
        formats = [
            {
                "format_id": str(h),
                "url": "http://x/",
                "ext": "mp4",
                "height": h,
                "width": h * 2,
                "vcodec": "avc1",
                "acodec": "mp4a",
            }
            for h in heights
        ]
        with YoutubeDL({**youtube._options(folder, Download()), "simulate": True}) as ydl:
            info = ydl.process_ie_result(
                {"id": "x", "title": "x", "extractor": "x", "extractor_key": "X", "formats": formats},
                download=False,
            )
        return int(info["height"])

    assert choice(144, 360, 720, 1080) == 360
    assert choice(480, 720) == 480


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("ftp://x/{video_id}", "not an http"),
        ("file:///etc/{video_id}", "not an http"),
        ("{video_id}.mp4", "not an http"),
        ("http://x/video.mp4", "to hold {video_id} once"),
        ("http://x/{video_id}/{video_id}", "to hold {video_id} once"),
        ("http://x/{video_id}/{label}", "to hold {video_id} once"),
        ("http://x/{video_id}/{0.__class__}", "to hold {video_id} once"),
        ("http://x/{video_id", "to hold {video_id} once"),
        ("http://x/{video_id:d}", "to hold {video_id} once"),
        ("http://x/{video_id:99999999}", "to hold {video_id} once"),
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


@pytest.mark.parametrize("text", ["youtube", "youtube:player_client", "player_client=web"])
def test_extractor_args_in_another_form(text: str) -> None:
    with pytest.raises(UsageError, match="is not EXTRACTOR:KEY=VALUE"):
        read_extractor_args((text,))


def test_the_file_found_is_not_a_part(folder: Path) -> None:
    for name in ("source.mp4.part", "source.webm"):
        (folder / name).touch()
    assert youtube._downloaded(folder) == folder / "source.webm"
