"""Classify why a source could not be downloaded, as a class and a stable word: statuses and texts, as data.

The type of an exception or its HTTP status is evaluated first; texts come second and are searched
in the order of the table, since some contain others: YouTube's rate limit also says "Video
unavailable", its private text also says "Sign in". A test reads the refusals out of the installed
yt-dlp's own sources and fails if one of them is not in the table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dancecli.core.records import OutcomeClass
from dancecli.core.redaction import redact

SESSION, TRANSIENT, PERMANENT = OutcomeClass.SESSION, OutcomeClass.TRANSIENT, OutcomeClass.PERMANENT
_KEPT_OF_TEXT = 500
# Temporary, yet about the video itself: no sign that the site refuses us.
ABOUT_THE_VIDEO = ("live", "upcoming", "processing")


@dataclass
class Failure(Exception):  # noqa: N818 - the name of a thing that is recorded, not of a bug
    """A source video could not be downloaded.

    Attributes:
        outcome: how that is to be taken.
        reason: a short stable word, for counting.
        text: the raw text behind it.
        retry_after_s: the Retry-After of the site; 0 without one.
    """

    outcome: OutcomeClass
    reason: str
    text: str
    retry_after_s: float = 0.0

    @property
    def is_answer(self) -> bool:
        """The site told something about the video itself, so it does answer us."""
        return self.outcome not in (SESSION, TRANSIENT) or self.reason in ABOUT_THE_VIDEO


# Looked for in lower case, with plain apostrophes.
TEXTS: tuple[tuple[str, OutcomeClass, str], ...] = (
    # The site refuses this address or this session, whatever the video.
    ("confirm you're not a bot", SESSION, "bot-check"),
    ("confirm you are not a bot", SESSION, "bot-check"),
    ("captcha", SESSION, "bot-check"),
    ("unusual traffic", SESSION, "bot-check"),
    ("all player responses are invalid", SESSION, "address-blocked"),
    ("failed to extract any player response", SESSION, "address-blocked"),
    ("page needs to be reloaded", SESSION, "address-blocked"),
    ("access to this webpage has been blocked", SESSION, "network-filter"),
    ("google workspace administrator", SESSION, "network-filter"),
    ("network administrator restrictions", SESSION, "network-filter"),
    ("rate-limited by youtube", SESSION, "rate-limit"),
    ("content isn't available, try again later", SESSION, "rate-limit"),
    ("too many requests", SESSION, "rate-limit"),
    # An option that is wrong is wrong for every video.
    ("unsupported language code", SESSION, "bad-option"),
    ("no player clients have been requested", SESSION, "bad-option"),
    ("login with oauth", SESSION, "bad-option"),
    ("failed to load cookies", SESSION, "bad-cookies"),
    ("does not look like a netscape format", SESSION, "bad-cookies"),
    # The network or the whole site is away, which says nothing about the video.
    ("name resolution", SESSION, "unreachable"),
    ("name or service not known", SESSION, "unreachable"),
    ("nodename nor servname", SESSION, "unreachable"),
    ("network is unreachable", SESSION, "unreachable"),
    ("connection refused", SESSION, "unreachable"),
    ("no route to host", SESSION, "unreachable"),
    ("unable to connect to proxy", SESSION, "unreachable"),
    ("timed out", TRANSIENT, "timeout"),
    # The video itself.
    ("private video", PERMANENT, "private"),
    ("video is private", PERMANENT, "private"),
    ("members-only", PERMANENT, "members-only"),
    ("join this channel", PERMANENT, "members-only"),
    ("music premium members", PERMANENT, "members-only"),
    ("confirm your age", PERMANENT, "age-restricted"),
    ("age-restricted", PERMANENT, "age-restricted"),
    ("inappropriate for some users", PERMANENT, "age-restricted"),
    ("in your country", PERMANENT, "geo-blocked"),
    ("geo restriction", PERMANENT, "geo-blocked"),
    ("account associated with this video", PERMANENT, "account-terminated"),
    ("copyright", PERMANENT, "copyright"),
    ("terms of service", PERMANENT, "policy"),
    ("community guidelines", PERMANENT, "policy"),
    ("youtube's policy", PERMANENT, "policy"),
    ("removed by the u", PERMANENT, "removed"),
    ("has been removed", PERMANENT, "removed"),
    ("requires payment", PERMANENT, "paid"),
    ("drm protected", PERMANENT, "drm"),
    ("playback on other websites has been disabled", PERMANENT, "embedding-disabled"),
    ("live stream recording is not available", PERMANENT, "unavailable"),
    ("incomplete youtube id", PERMANENT, "bad-id"),
    ("live event will begin", TRANSIENT, "upcoming"),
    ("premieres in", TRANSIENT, "upcoming"),
    ("premiere will begin", TRANSIENT, "upcoming"),
    ("live event has ended", TRANSIENT, "processing"),
    ("we're processing this video", TRANSIENT, "processing"),
    # After what is private or for adults, which also speak of signing in.
    ("sign in", SESSION, "sign-in"),
    ("login details are needed", SESSION, "sign-in"),
    ("only available for registered users", SESSION, "sign-in"),
    ("video does not exist", PERMANENT, "unavailable"),
    ("isn't available anymore", PERMANENT, "unavailable"),
    ("no longer available", PERMANENT, "unavailable"),
    ("video unavailable", PERMANENT, "unavailable"),
    ("video is unavailable", PERMANENT, "unavailable"),
    ("video is not available", PERMANENT, "unavailable"),
    # Neither a refusal nor a word about the video.
    ("try again later", TRANSIENT, "try-later"),
    ("requested format is not available", TRANSIENT, "no-format"),
    ("no video formats found", TRANSIENT, "no-format"),
    ("only images are available", TRANSIENT, "no-format"),
    ("po token required", TRANSIENT, "no-format"),
    ("cannot identify player", TRANSIENT, "extractor"),
    ("unable to extract", TRANSIENT, "extractor"),
    ("an extractor error has occurred", TRANSIENT, "extractor"),
    ("please report this issue", TRANSIENT, "extractor"),
    ("more expected", TRANSIENT, "truncated"),
    ("incompleteread", TRANSIENT, "truncated"),
    ("did not get any data", TRANSIENT, "truncated"),
    ("connection reset", TRANSIENT, "network"),
    ("connection aborted", TRANSIENT, "network"),
    ("closed connection", TRANSIENT, "network"),
    ("a network error has occurred", TRANSIENT, "network"),
    ("ssl", TRANSIENT, "network"),
)


def from_text(text: str, *, tombstones: bool = True) -> Failure:
    """Classify by a text; an unknown one is transient, never a tombstone.

    Args:
        text: the message.
        tombstones: an HTTP status in the text is that of the video itself, see `from_status`.
    """
    plain = text.lower().replace("\u2019", "'")
    for words, outcome, reason in TEXTS:
        if words in plain:
            return Failure(outcome, reason, shortened(text))
    # yt-dlp's words once its retries are used up; the exception is lost by then.
    status = re.search(r"http error (\d{3})", plain)
    if status:
        return from_status(int(status[1]), text, tombstones=tombstones)
    return Failure(TRANSIENT, "unknown", shortened(text))


def from_page(page: str) -> Failure:
    """Classify a page that came, with a good status, in place of a video.

    It may be a bot check, or the log-in of a network, so it is no tombstone.
    """
    failure = from_text(page)
    if failure.outcome is SESSION:
        return failure
    return Failure(TRANSIENT, "not-a-video", failure.text)


def from_status(status: int, text: str, retry_after_s: float = 0.0, *, tombstones: bool = True) -> Failure:
    """Classify by an HTTP status.

    Few mean a dead video. A 403 does not: sites also send it to blocked clients, and for addresses that
    have expired.

    Args:
        status: of the answer.
        text: what to keep.
        retry_after_s: the Retry-After of the site.
        tombstones: the requested address is that of the video. The status of an API says
            nothing about a video.
    """
    if status in (402, 420, 429) or (status == 503 and retry_after_s):
        return Failure(SESSION, f"http-{status}", shortened(text), retry_after_s)
    outcome = PERMANENT if tombstones and status in (404, 410, 451) else TRANSIENT
    return Failure(outcome, f"http-{status}", shortened(text))


def shortened(text: str) -> str:
    """Keep the beginning of a text, as one line without secrets."""
    return redact(" ".join(text.split()))[:_KEPT_OF_TEXT]
