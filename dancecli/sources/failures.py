"""Why a source could not be had, as a class and a stable word: statuses and texts, as data.

What an exception says by its type or HTTP status goes first; texts come second and are looked
at in the order of the table, since some contain others: YouTube's rate limit also says "Video
unavailable", its private text also says "Sign in".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dancecli.core.records import OutcomeClass

SESSION, TRANSIENT, PERMANENT = OutcomeClass.SESSION, OutcomeClass.TRANSIENT, OutcomeClass.PERMANENT
_KEPT_OF_TEXT = 500


@dataclass
class Failure(Exception):  # noqa: N818 - the name of a thing that is recorded, not of a bug
    """A source video could not be had.

    Attributes:
        outcome: how that is to be taken.
        reason: a short stable word, for counting.
        text: the raw text behind it.
        retry_after_s: for how long the site asked to be left alone; 0 if it did not.
    """

    outcome: OutcomeClass
    reason: str
    text: str
    retry_after_s: float = 0.0


# Looked for in lower case, with plain apostrophes.
TEXTS: tuple[tuple[str, OutcomeClass, str], ...] = (
    ("confirm you're not a bot", SESSION, "bot-check"),
    ("confirm you are not a bot", SESSION, "bot-check"),
    ("captcha", SESSION, "bot-check"),
    ("unusual traffic", SESSION, "bot-check"),
    ("rate-limited by youtube", SESSION, "rate-limit"),
    ("isn't available, try again later", SESSION, "rate-limit"),
    ("too many requests", SESSION, "rate-limit"),
    # The network or the whole site is away, which says nothing about the video.
    ("name resolution", SESSION, "unreachable"),
    ("name or service not known", SESSION, "unreachable"),
    ("nodename nor servname", SESSION, "unreachable"),
    ("network is unreachable", SESSION, "unreachable"),
    ("connection refused", SESSION, "unreachable"),
    ("no route to host", SESSION, "unreachable"),
    ("unable to connect to proxy", SESSION, "unreachable"),
    ("timed out", TRANSIENT, "timeout"),
    ("private video", PERMANENT, "private"),
    ("video is private", PERMANENT, "private"),
    ("members-only", PERMANENT, "members-only"),
    ("join this channel", PERMANENT, "members-only"),
    ("confirm your age", PERMANENT, "age-restricted"),
    ("age-restricted", PERMANENT, "age-restricted"),
    ("inappropriate for some users", PERMANENT, "age-restricted"),
    ("in your country", PERMANENT, "geo-blocked"),
    ("geo restriction", PERMANENT, "geo-blocked"),
    ("account associated with this video", PERMANENT, "account-terminated"),
    ("copyright", PERMANENT, "copyright"),
    ("terms of service", PERMANENT, "policy"),
    ("community guidelines", PERMANENT, "policy"),
    ("removed by the u", PERMANENT, "removed"),
    ("has been removed", PERMANENT, "removed"),
    ("requires payment", PERMANENT, "paid"),
    ("drm protected", PERMANENT, "drm"),
    ("incomplete youtube id", PERMANENT, "bad-id"),
    ("this live event will begin", TRANSIENT, "not-yet"),
    ("premieres in", TRANSIENT, "not-yet"),
    ("requested format is not available", TRANSIENT, "no-format"),
    ("does not exist", PERMANENT, "unavailable"),
    ("isn't available anymore", PERMANENT, "unavailable"),
    ("no longer available", PERMANENT, "unavailable"),
    ("video unavailable", PERMANENT, "unavailable"),
    ("video is unavailable", PERMANENT, "unavailable"),
    ("video is not available", PERMANENT, "unavailable"),
    ("more expected", TRANSIENT, "truncated"),
    ("incompleteread", TRANSIENT, "truncated"),
    ("did not get any data", TRANSIENT, "truncated"),
    ("connection reset", TRANSIENT, "network"),
    ("connection aborted", TRANSIENT, "network"),
    ("closed connection", TRANSIENT, "network"),
    ("ssl", TRANSIENT, "network"),
)


def from_text(text: str) -> Failure:
    """Judge by a text; one that nobody knows is transient, never a tombstone."""
    plain = text.lower().replace("\u2019", "'")
    for words, outcome, reason in TEXTS:
        if words in plain:
            return Failure(outcome, reason, shortened(text))
    # yt-dlp's words once its retries are used up; the exception is lost by then.
    status = re.search(r"http error (\d{3})", plain)
    return from_status(int(status[1]), text) if status else Failure(TRANSIENT, "unknown", shortened(text))


def from_page(page: str) -> Failure:
    """Judge by a page that came, with a good status, in place of a video.

    It may be a bot check, or the log-in of a network, so it is no tombstone.
    """
    failure = from_text(page)
    if failure.outcome is SESSION:
        return failure
    return Failure(TRANSIENT, "not-a-video", failure.text)


def from_status(status: int, text: str, retry_after_s: float = 0.0) -> Failure:
    """Judge by an HTTP status.

    Few are taken for a dead video. A 403 is not: sites also say so to those they have had enough
    of, and to an address that has run out.
    """
    if status in (402, 420, 429) or (status == 503 and retry_after_s):
        return Failure(SESSION, f"http-{status}", shortened(text), retry_after_s)
    outcome = PERMANENT if status in (404, 410, 451) else TRANSIENT
    return Failure(outcome, f"http-{status}", shortened(text))


def shortened(text: str) -> str:
    """Keep the beginning of a text, as one line."""
    return " ".join(text.split())[:_KEPT_OF_TEXT]
