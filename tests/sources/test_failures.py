"""Every text of the table has its row here, in the words in which sites say it."""

import pytest

from dancecli.core.records import OutcomeClass
from dancecli.sources.failures import TEXTS, from_page, from_status, from_text

SAID = {
    "Sign in to confirm you\u2019re not a bot. Use --cookies-from-browser": "session bot-check",
    "Please confirm you are not a bot": "session bot-check",
    "solve the CAPTCHA to continue": "session bot-check",
    "Our systems have detected unusual traffic from your computer network": "session bot-check",
    "Video unavailable. The current session has been rate-limited by YouTube for up to an "
    "hour": "session rate-limit",
    "Video unavailable. This content isn't available, try again later": "session rate-limit",
    "HTTP Error 429: Too Many Requests": "session rate-limit",
    "<urlopen error [Errno -3] Temporary failure in name resolution>": "session unreachable",
    "[Errno -2] Name or service not known": "session unreachable",
    "[Errno 8] nodename nor servname provided, or not known": "session unreachable",
    "[Errno 101] Network is unreachable": "session unreachable",
    "[Errno 111] Connection refused": "session unreachable",
    "[Errno 113] No route to host": "session unreachable",
    "Unable to connect to proxy": "session unreachable",
    "Read timed out. (read timeout=20.0)": "transient timeout",
    "Private video. Sign in if you've been granted access to this video": "permanent private",
    "This video is private": "permanent private",
    "This is a members-only video": "permanent members-only",
    "Join this channel to get access to perks": "permanent members-only",
    "Sign in to confirm your age. This video may be inappropriate for some users": "permanent age-restricted",
    "This video is age-restricted": "permanent age-restricted",
    "The following content may be inappropriate for some users": "permanent age-restricted",
    "The uploader has not made this video available in your country": "permanent geo-blocked",
    "This video is not available from your location due to geo restriction": "permanent geo-blocked",
    "Video unavailable. This video is no longer available because the YouTube account associated with this "
    "video has been terminated": "permanent account-terminated",
    "Video unavailable. This video is no longer available due to a copyright claim": "permanent copyright",
    "This video has been removed for violating YouTube's Terms of Service": "permanent policy",
    "This video has been removed for violating YouTube's Community Guidelines": "permanent policy",
    "Video unavailable. This video has been removed by the uploader": "permanent removed",
    "This video has been removed": "permanent removed",
    "This video requires payment to watch": "permanent paid",
    "This video is DRM protected": "permanent drm",
    "Incomplete YouTube ID abc. URL looks truncated": "permanent bad-id",
    "This live event will begin in 3 hours": "transient not-yet",
    "Premieres in 2 days": "transient not-yet",
    "Requested format is not available. Use --list-formats": "transient no-format",
    "This video does not exist": "permanent unavailable",
    "This video isn't available anymore": "permanent unavailable",
    "This video is no longer available": "permanent unavailable",
    "Video unavailable": "permanent unavailable",
    "This video is unavailable": "permanent unavailable",
    "This video is not available": "permanent unavailable",
    "1000 bytes read, 9000 more expected. Giving up after 2 retries": "transient truncated",
    "IncompleteRead(1000 bytes read)": "transient truncated",
    "Did not get any data blocks": "transient truncated",
    "[Errno 104] Connection reset by peer": "transient network",
    "('Connection aborted.',)": "transient network",
    "Remote end closed connection without response": "transient network",
    "[SSL: UNEXPECTED_EOF_WHILE_READING]": "transient network",
    "Got error: HTTP Error 500: Internal Server Error. Giving up after 2 retries": "transient http-500",
    "something nobody has seen before": "transient unknown",
}


@pytest.mark.parametrize("text", SAID)
def test_text(text: str) -> None:
    failure = from_text(text)
    assert f"{failure.outcome} {failure.reason}" == SAID[text]


def test_every_row_of_the_table_is_reached() -> None:
    plain = [text.lower().replace("\u2019", "'") for text in SAID]
    reached = {next((words for words, *_ in TEXTS if words in text), "") for text in plain}
    assert {words for words, *_ in TEXTS} <= reached


@pytest.mark.parametrize(
    ("status", "retry_after_s", "expected"),
    [
        (429, 0, "session http-429"),
        (402, 0, "session http-402"),
        (503, 0, "transient http-503"),
        (503, 30, "session http-503"),
        (500, 0, "transient http-500"),
        (403, 0, "transient http-403"),
        (416, 0, "transient http-416"),
        (404, 0, "permanent http-404"),
        (410, 0, "permanent http-410"),
        (451, 0, "permanent http-451"),
    ],
)
def test_status(status: int, retry_after_s: float, expected: str) -> None:
    failure = from_status(status, "text", retry_after_s)
    assert f"{failure.outcome} {failure.reason}" == expected


def test_a_page_is_no_tombstone() -> None:
    assert from_page("<h1>Video unavailable</h1>").outcome is OutcomeClass.TRANSIENT
    assert from_page("<h1>unusual traffic</h1>").reason == "bot-check"


def test_raw_text_is_kept_as_one_short_line() -> None:
    assert from_text("Private video\n" + "x" * 1000).text.startswith("Private video xxx")
    assert len(from_text("x" * 1000).text) == 500
