"""What to do about a site that does not answer, by the reason of the failure, in the order to try it."""

from __future__ import annotations

from enum import StrEnum


class Remedy(StrEnum):
    """Something that may help, as a phrase."""

    WAIT = "wait some hours, then use a lower --rate"
    UPDATE = "update yt-dlp (pip install -U yt-dlp)"
    PO_TOKEN = "give yt-dlp a PO token (a provider plugin, or --extractor-args)"  # noqa: S105 - a phrase
    COOKIES = "send the cookies of a spare account (--cookies or --cookies-from-browser)"
    ADDRESS = "use another address (--proxy or --source-address)"
    IMPERSONATE = "imitate a browser (--impersonate chrome, with pip install 'yt-dlp[curl-cffi]')"
    MIRROR = "use --source mirror"
    OPTIONS = "correct the options for yt-dlp"
    NETWORK = "check the network, the proxy and the site's address"
    VIDEO = "try another video"


_LIMITED = (Remedy.WAIT, Remedy.COOKIES, Remedy.PO_TOKEN, Remedy.ADDRESS, Remedy.MIRROR)
_REFUSED = (Remedy.UPDATE, Remedy.PO_TOKEN, Remedy.COOKIES, Remedy.IMPERSONATE, Remedy.ADDRESS, Remedy.MIRROR)
_BROKEN = (Remedy.UPDATE, Remedy.PO_TOKEN, Remedy.COOKIES, Remedy.MIRROR)
_AWAY = (Remedy.NETWORK, Remedy.ADDRESS, Remedy.WAIT, Remedy.MIRROR)
_REMEDIES: dict[str, tuple[Remedy, ...]] = {
    **dict.fromkeys(("rate-limit", "http-402", "http-420", "http-429", "http-503", "try-later"), _LIMITED),
    **dict.fromkeys(("bot-check", "address-blocked", "sign-in"), _LIMITED),
    "http-403": _REFUSED,
    **dict.fromkeys(("no-format", "extractor", "unknown", "http-400", "http-404", "http-410"), _BROKEN),
    **dict.fromkeys(("bad-option", "bad-cookies"), (Remedy.OPTIONS,)),
    "unreachable": (Remedy.NETWORK, Remedy.ADDRESS, Remedy.MIRROR),
    **dict.fromkeys(("timeout", "network", "truncated"), _AWAY),
    # A page in place of a video: the log-in of a network, a consent form, a filter.
    **dict.fromkeys(("network-filter", "not-a-video", "unreadable"), (Remedy.NETWORK, Remedy.ADDRESS)),
    "geo-blocked": (Remedy.ADDRESS,),
    "age-restricted": (Remedy.COOKIES,),
}
# fmt: off
_ABOUT_THE_VIDEO = frozenset({
    "private", "members-only", "account-terminated", "copyright", "policy", "removed", "paid", "drm",
    "embedding-disabled", "unavailable", "bad-id", "live", "upcoming", "processing", "no-picture",
    "no-decoder",
})
# fmt: on


def remedies_for(reason: str) -> tuple[Remedy, ...]:
    """Give what may help against a failure, the most likely first; by `Failure.reason`."""
    if reason in _ABOUT_THE_VIDEO:
        return (Remedy.VIDEO,)
    return _REMEDIES.get(reason, (Remedy.WAIT,))


def advice_for(reason: str) -> str:
    """Tell what to do about a site that stopped answering, by the reason of its last failure."""
    return f"To try, in this order: {'; '.join(remedies_for(reason))}. The same command resumes."
