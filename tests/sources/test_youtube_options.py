"""Options for yt-dlp in its own spelling, and cookie files that stay as they are."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from dancecli.core.errors import InputError, UsageError
from dancecli.demo.video_site import VideoSite
from dancecli.sources.youtube import Download, download
from dancecli.sources.youtube_options import (
    check_cookies,
    check_options,
    private_cookies,
    read_options,
    secrets_of,
)

COOKIES = """# Netscape HTTP Cookie File
# my own comment
.youtube.com\tTRUE\t/\tTRUE\t2000000000\tSID\tS3CRETvalue
#HttpOnly_.youtube.com\tTRUE\t/\tTRUE\t0\tHSID\tother
"""


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("proxy=socks5://127.0.0.1:1",), {"proxy": "socks5://127.0.0.1:1"}),
        (("--proxy=http://h:1",), {"proxy": "http://h:1"}),
        (("source-address=1.2.3.4",), {"source_address": "1.2.3.4"}),
        (("force-ipv4",), {"source_address": "0.0.0.0"}),
        (("sleep-requests=1.5",), {"sleep_interval_requests": 1.5}),
        (("cookies-from-browser=firefox:me",), {"cookiesfrombrowser": ("firefox", "me", None, None)}),
        (
            ("extractor-args=YouTube:Player-Client=web, tv;po_token=web.gvs+a\\\\,b",),
            {"extractor_args": {"youtube": {"player_client": ["web", "tv"], "po_token": ["web.gvs+a,b"]}}},
        ),
        (
            ("extractor-args=youtube:lang=en", "extractor-args=youtubepot-bgutilhttp:base_url=http://h"),
            {
                "extractor_args": {
                    "youtube": {"lang": ["en"]},
                    "youtubepot-bgutilhttp": {"base_url": ["http://h"]},
                }
            },
        ),
        ((), {}),
    ],
)
def test_options_are_read_as_yt_dlp_reads_them(given: tuple[str, ...], expected: dict[str, Any]) -> None:
    assert read_options(tuple(text.replace("\\\\", "\\") for text in given)) == expected


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("output=x", "cannot be set"),
        ("exec=rm -rf /", "cannot be set"),
        ("download-archive=x", "cannot be set"),
        ("format=best", "cannot be set"),
        ("cookies=x.txt", "cannot be set"),
        ("no-such-thing=S3CRET", "is not an option of yt-dlp with such a value"),
        ("sleep-requests=S3CRET", "is not an option of yt-dlp with such a value"),
        ("proxy", "is not an option of yt-dlp with such a value"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    option: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError) as caught:
        check_options((option,))
    assert said in caught.value.message
    assert "S3CRET" not in caught.value.message + caught.value.hint + "".join(capfd.readouterr())


def test_a_browser_that_cannot_be_impersonated_is_said_before_any_request() -> None:
    with pytest.raises(UsageError, match="yt-dlp"):
        check_options(("impersonate=nosuchbrowser-1",))


def test_extractor_args_that_name_no_extractor_are_refused() -> None:
    with pytest.raises(UsageError):
        check_options(("extractor-args=player_client",))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'[{"domain": "youtube.com"}]', "is JSON"),
        (b'  {"a": 1}', "is JSON"),
        (b"\xef\xbb\xbf" + COOKIES.encode(), "byte order mark"),
        (COOKIES.partition("\n")[2].encode(), "does not begin with"),
        (COOKIES.replace("\t", " ").encode(), "fields parted by tabs"),
        (COOKIES.replace("2000000000", "soon").encode(), "is not a cookie"),
        (b"\xff\xfe\0", "cannot be read"),
        (b"", "does not begin with"),
    ],
)
def test_a_cookie_file_of_another_form_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "cookies.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        check_cookies(path)
    assert "S3CRET" not in str(caught.value)
    with pytest.raises(InputError, match="no such cookie file"):
        check_cookies(tmp_path / "none.txt")


def test_a_cookie_file_is_read_and_never_written(tmp_path: Path) -> None:
    folder, cookies = tmp_path / "job", tmp_path / "cookies.txt"
    folder.mkdir()
    cookies.write_text(COOKIES)
    cookies.chmod(0o400)
    check_cookies(cookies)
    (tmp_path / "v.mp4").write_bytes(b"x" * 100_000)
    with VideoSite(tmp_path, {}) as site:
        template = site.url_template
        path = download("v", folder, Download(url_template=template, cookies=cookies), lambda: None).path
    assert path.stat().st_size == 100_000
    assert cookies.read_text() == COOKIES
    assert [found.name for found in folder.iterdir()] == [path.name], "the copy is removed"


def test_a_copy_is_for_this_user_and_this_job_alone(tmp_path: Path) -> None:
    cookies = tmp_path / "cookies.txt"
    cookies.write_text(COOKIES)
    mask = os.umask(0)
    try:
        with pytest.raises(KeyError), private_cookies(cookies, tmp_path) as copy:
            assert copy.read_text() == COOKIES
            assert stat.S_IMODE(copy.stat().st_mode) == 0o600
            raise KeyError
    finally:
        os.umask(mask)
    assert [path.name for path in tmp_path.iterdir()] == ["cookies.txt"]
    with private_cookies(None, tmp_path) as none:
        assert none is None


def test_secrets_are_known(tmp_path: Path) -> None:
    cookies = tmp_path / "cookies.txt"
    cookies.write_text(COOKIES)
    options = read_options(
        (
            "proxy=http://someone:pa55word@h:1",
            "username=me",
            "password=another1",
            "extractor-args=youtube:po_token=web.gvs+t0kenvalue;visitor_data=v1sitor",
            "add-headers=X-Key:headerkey",
        )
    )
    found = secrets_of(options, cookies, "http://h/{video_id}?sig=s1gnature")
    for secret in ("pa55word", "another1", "t0kenvalue", "v1sitor", "S3CRETvalue", "headerkey", "s1gnature"):
        assert secret in found
