"""Every text of the table has its row here, in the words in which sites say it."""

import ast
import re
from pathlib import Path

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
    "This live event will begin in 3 hours": "transient upcoming",
    "Premieres in 2 days": "transient upcoming",
    "Premiere will begin shortly": "transient upcoming",
    "This live event has ended": "transient processing",
    "We're processing this video. Check back later.": "transient processing",
    "This live stream recording is not available.": "permanent unavailable",
    "This video is only available to Music Premium members": "permanent members-only",
    "Playback on other websites has been disabled by the video owner": "permanent embedding-disabled",
    "This video has been removed for violating YouTube's policy on hate speech": "permanent policy",
    "All player responses are invalid. Your IP is likely being blocked by Youtube": "session address-blocked",
    "Failed to extract any player response": "session address-blocked",
    "The page needs to be reloaded.": "session address-blocked",
    "Please sign in. Use --cookies-from-browser": "session sign-in",
    "Login details are needed to download this content": "session sign-in",
    "This video is only available for registered users": "session sign-in",
    "This video is restricted. Please check the Google Workspace administrator and/or the network "
    "administrator restrictions": "session network-filter",
    "Check with your network administrator restrictions": "session network-filter",
    "Access to this webpage has been blocked by decision of the government": "session network-filter",
    "Unsupported language code: xx": "session bad-option",
    "No player clients have been requested": "session bad-option",
    "Login with OAuth is no longer supported": "session bad-option",
    "failed to load cookies": "session bad-cookies",
    "'x' does not look like a Netscape format cookies file": "session bad-cookies",
    "An error occurred. Please try again later.": "transient try-later",
    "No video formats found!": "transient no-format",
    "Only images are available for download": "transient no-format",
    "PO Token Required": "transient no-format",
    "Cannot identify player 'x'": "transient extractor",
    "Unable to extract yt initial data": "transient extractor",
    "An extractor error has occurred.": "transient extractor",
    "KeyError('x'); please report this issue on  https://github.com": "transient extractor",
    "A network error has occurred.": "transient network",
    "This video has been blocked in your country on copyright grounds": "permanent geo-blocked",
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
        (420, 0, "session http-420"),
    ],
)
def test_status(status: int, retry_after_s: float, expected: str) -> None:
    failure = from_status(status, "text", retry_after_s)
    assert f"{failure.outcome} {failure.reason}" == expected


@pytest.mark.parametrize("status", [404, 410, 451])
def test_the_status_of_another_address_is_no_tombstone(status: int) -> None:
    assert from_status(status, "text", tombstones=False).outcome is OutcomeClass.TRANSIENT
    assert from_text(f"HTTP Error {status}: gone", tombstones=False).outcome is OutcomeClass.TRANSIENT


# Texts in yt-dlp's sources that are no refusal of a site.
NO_REFUSALS = (
    "format 141 not served anymore",  # a test of yt-dlp that is skipped
    "Android client broken",  # the same
    "Invalid URL: ",  # ids are checked before
    "Incomplete data received",  # of comments and playlists, which are not downloaded
    "YouTube said: ",  # the text itself follows
    "breaking out of outer loop",  # a word of older releases to themselves
    "This helps protect our community. Learn more",  # taken off the end of a reason
)
_RAISE = {"ExtractorError", "raise_no_formats", "raise_login_required", "raise_geo_restricted"}


def refusals_of_yt_dlp() -> set[str]:
    """What the installed yt-dlp can say of a YouTube video that it does not get, out of its sources.

    The texts of what it raises, of what it adds to the reason that YouTube gives, and of why its own
    tests of a video are skipped, which is what YouTube answers by now.
    """
    import yt_dlp

    folder = Path(yt_dlp.__file__).parent / "extractor"
    found = set()
    for path in (folder / "youtube" / "_video.py", folder / "youtube" / "_base.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and _name(node.func) in _RAISE:
                found.add(_text(node.args[0]))
            elif isinstance(node, ast.Assign | ast.AugAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if any(_name(target) == "reason" for target in targets):
                    found.add(_text(node.value))
            elif isinstance(node, ast.Dict):
                found |= {
                    _text(value)
                    for key, value in zip(node.keys, node.values, strict=True)
                    if isinstance(key, ast.Constant) and key.value == "skip"
                }
    return {text for text in found if len(re.sub(r"[^A-Za-z]", "", text)) > 20}


def _name(node: ast.expr) -> str:
    return getattr(node, "attr", getattr(node, "id", ""))


def _text(node: ast.expr) -> str:
    parts = (n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str))
    return " ".join(parts)


def test_every_refusal_in_the_sources_of_yt_dlp_is_classified() -> None:
    """Fails when a release of yt-dlp brings a text that the table does not know."""
    texts = refusals_of_yt_dlp()
    assert len(texts) >= 10, "the sources are no longer read as they are written"
    unknown = [
        text
        for text in texts
        if from_text(text).reason == "unknown" and not text.startswith(NO_REFUSALS) and "reason" not in text
    ]
    assert unknown == []


def test_an_answer_about_the_video_is_no_sign_of_a_block() -> None:
    assert from_text("Private video").is_answer
    assert from_text("Premieres in 2 days").is_answer
    for text in ("Sign in to confirm you're not a bot", "HTTP Error 403: Forbidden", "Read timed out"):
        assert not from_text(text).is_answer


def test_a_page_is_no_tombstone() -> None:
    assert from_page("<h1>Video unavailable</h1>").outcome is OutcomeClass.TRANSIENT
    assert from_page("<h1>unusual traffic</h1>").reason == "bot-check"


def test_raw_text_is_kept_as_one_short_line() -> None:
    assert from_text("Private video\n" + "x" * 1000).text.startswith("Private video xxx")
    assert len(from_text("x" * 1000).text) == 500
