"""The loopback site: ranges, faults, the log."""

import http.client
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from dancecli.demo.video_site import Fault, VideoSite

BODY = bytes(range(256)) * 1000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.mp4").write_bytes(BODY)
    return tmp_path


@pytest.fixture
def faults() -> dict[str, Fault]:
    return {}


@pytest.fixture
def site(folder: Path, faults: dict[str, Fault]) -> Iterator[VideoSite]:
    with VideoSite(folder, faults) as site:
        yield site


def get(site: VideoSite, video_id: str = "good", **headers: str) -> tuple[int, bytes, dict[str, str]]:
    request = urllib.request.Request(site.url_template.format(video_id=video_id), headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), dict(error.headers)


def test_whole_video(site: VideoSite) -> None:
    status, body, headers = get(site)
    assert (status, body) == (200, BODY)
    assert headers["Content-Type"] == "video/mp4"


@pytest.mark.parametrize(
    ("asked", "expected", "content_range"),
    [
        ("bytes=100-", BODY[100:], "bytes 100-255999/256000"),
        ("bytes=0-9", BODY[:10], "bytes 0-9/256000"),
        ("bytes=255990-999999", BODY[-10:], "bytes 255990-255999/256000"),
    ],
)
def test_ranges(site: VideoSite, asked: str, expected: bytes, content_range: str) -> None:
    status, body, headers = get(site, Range=asked)
    assert (status, body, headers["Content-Range"]) == (206, expected, content_range)


def test_range_past_the_end_is_416(site: VideoSite) -> None:
    assert get(site, Range="bytes=256000-")[0] == 416


def test_unknown_id_is_404(site: VideoSite) -> None:
    assert get(site, "absent")[0] == 404


def test_any_id_from_a_function(folder: Path) -> None:
    with VideoSite(lambda video_id: folder / "good.mp4" if video_id.startswith("x") else None) as site:
        assert get(site, "x1")[1] == BODY
        assert get(site, "y1")[0] == 404


def test_status_for_a_number_of_times_then_well(site: VideoSite, faults: dict[str, Fault]) -> None:
    faults["good"] = Fault(status=500, after=1, times=2)
    assert [get(site)[0] for _ in range(4)] == [200, 500, 500, 200]


def test_one_fault_after_another(folder: Path) -> None:
    faults = {"good": (Fault(status=500, times=1), Fault(status=403, after=2))}
    with VideoSite(folder, faults) as site:
        assert [get(site)[0] for _ in range(4)] == [500, 200, 403, 403]


def test_rate_limit_says_when_to_come_back(site: VideoSite, faults: dict[str, Fault]) -> None:
    faults["good"] = Fault(status=429, retry_after="7", text="slow down")
    status, body, headers = get(site)
    assert (status, body, headers["Retry-After"]) == (429, b"slow down", "7")


def test_fault_of_the_whole_site_and_recovery(site: VideoSite) -> None:
    site.everywhere = Fault(status=429)
    assert get(site)[0] == 429
    site.everywhere = None
    assert get(site)[0] == 200


def test_cut_short(site: VideoSite, faults: dict[str, Fault]) -> None:
    faults["good"] = Fault(cut_at=0.5)
    with pytest.raises(http.client.IncompleteRead) as caught:
        get(site)
    assert caught.value.partial == BODY[: len(BODY) // 2]


def test_resuming_behind_the_cut_gets_nothing(site: VideoSite, faults: dict[str, Fault]) -> None:
    faults["good"] = Fault(cut_at=0.5)
    with pytest.raises(http.client.IncompleteRead) as caught:
        get(site, Range=f"bytes={len(BODY) // 2}-")
    assert caught.value.partial == b""


def test_stall(site: VideoSite, faults: dict[str, Fault]) -> None:
    faults["good"] = Fault(stall_at=0.1)
    with socket.create_connection(("127.0.0.1", site.port), timeout=0.5) as connection:
        connection.sendall(b"GET /v/good.mp4 HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        with pytest.raises(TimeoutError):
            while True:
                received += connection.recv(65536)
    assert received.endswith(BODY[: len(BODY) // 10][-50:])


def test_no_ranges(site: VideoSite, faults: dict[str, Fault]) -> None:
    faults["good"] = Fault(ranges=False)
    status, body, headers = get(site, Range="bytes=100-")
    assert (status, body) == (200, BODY)
    assert "Accept-Ranges" not in headers


def test_wrong_length(site: VideoSite, faults: dict[str, Fault]) -> None:
    faults["good"] = Fault(length_factor=0.5)
    assert len(get(site)[1]) == len(BODY) // 2


def test_page_in_place_of_video(site: VideoSite, faults: dict[str, Fault]) -> None:
    faults["good"] = Fault(html=True)
    status, _, headers = get(site)
    assert status == 200
    assert headers["Content-Type"].startswith("text/html")


def test_the_log_records_every_request(site: VideoSite) -> None:
    get(site, Range="bytes=5-")
    get(site, "absent")
    assert [(r.video_id, r.range, r.status) for r in site.log] == [
        ("good", "bytes=5-", 206),
        ("absent", "", 404),
    ]


def test_clients_that_hang_up_do_no_harm(site: VideoSite, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", site.port)) as connection:
            connection.sendall(b"GET /v/good.mp4 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert get(site)[1] == BODY
    assert capfd.readouterr() == ("", "")
