"""Options that `fetch` shares with `plan` and `doctor --site`, and how they are read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from dancecli.dataset.fetch.settings import FetchSettings

AnnotationsOption = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="Annotation list, CSV or JSON in any common form; may be given several times. "
        "[default: the official archive of --edition, downloaded once]",
        show_default=False,
    ),
]
EditionOption = Annotated[
    str, typer.Option(metavar="NAME", help="Edition of Kinetics: 400, 600, 700 or 700-2020.")
]
LabelsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Label file, one name per line; rows of other labels are left out. "
        "[default: the workspace's set, else the 19 dance styles]",
        show_default=False,
    ),
]
LimitOption = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Fetch at most N clips per class, always the same ones."),
]
UrlTemplateOption = Annotated[
    str,
    typer.Option(metavar="URL", help="Address of the videos, with {video_id} in it, instead of YouTube."),
]
SourceOption = Annotated[
    str | None,
    typer.Option(
        metavar="LIST",
        help="Sources in their order, separated by commas: local, mirror, youtube. [default: local with "
        "--folder, mirror without --annotations, then youtube]",
        show_default=False,
    ),
]
FolderOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Folder of clips or whole videos, for --source local.", show_default=False
    ),
]
MirrorTemplateOption = Annotated[
    str,
    typer.Option(metavar="URL", help="Address of the mirror's tars, with {split} and {number} in it."),
]
ShardOption = Annotated[
    str | None,
    typer.Option(
        metavar="I/N",
        help="Do the I-th of N parts of the work, one on each machine.",
        show_default=False,
    ),
]
RateOption = Annotated[
    str | None,
    typer.Option(
        metavar="N",
        help="Requests per hour, over all workers; 0 for no limit. "
        "[default: 300 for YouTube; none with --url-template]",
        show_default=False,
    ),
]
RetryOption = Annotated[
    str,
    typer.Option(
        metavar="WHAT", help="Which earlier failures to try again: transient, permanent, all or none."
    ),
]

CookiesOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Cookie file in Netscape's format to send to the site; it is only read. An account that "
        "downloads much may be suspended: use a spare one.",
    ),
]
CookiesFromBrowserOption = Annotated[
    str,
    typer.Option(
        metavar="BROWSER",
        help="Load the cookies of a browser, for example firefox; passed to yt-dlp.",
        show_default=False,
    ),
]
ProxyOption = Annotated[
    str,
    typer.Option(
        metavar="URL",
        help="Use a proxy, for example socks5://127.0.0.1:1080; passed to yt-dlp.",
        show_default=False,
    ),
]
SourceAddressOption = Annotated[
    str,
    typer.Option(metavar="IP", help="Bind to a local IP address; passed to yt-dlp.", show_default=False),
]
ImpersonateOption = Annotated[
    str,
    typer.Option(
        metavar="CLIENT",
        help="Impersonate a browser in requests, for example chrome; passed to yt-dlp.",
        show_default=False,
    ),
]
ExtractorArgsOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="IE_KEY:ARGS",
        help="Pass arguments to an extractor of yt-dlp, for example youtube:player_client=web; may be "
        "given several times.",
        show_default=False,
    ),
]
YtdlpOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="OPTION=VALUE",
        help="Pass an option to yt-dlp as yt-dlp spells it, for example sleep-requests=1; may be given "
        "several times.",
        show_default=False,
    ),
]


def ytdlp_options(
    options: list[str] | None,
    extractor_args: list[str] | None,
    cookies_from_browser: str,
    proxy: str,
    source_address: str,
    impersonate: str,
) -> tuple[str, ...]:
    """Put together what is passed to yt-dlp, in its own spelling."""
    named = {
        "cookies-from-browser": cookies_from_browser,
        "proxy": proxy,
        "source-address": source_address,
        "impersonate": impersonate,
    }
    given = [f"{name}={value}" for name, value in named.items() if value]
    given += [f"extractor-args={value}" for value in extractor_args or ()]
    return (*given, *(options or ()))


def settings_of(
    annotations: list[Path] | None,
    edition: str,
    labels: Path | None,
    limit: int | None,
    url_template: str,
    source: str | None,
    folder: Path | None,
    mirror_template: str,
    shard: str | None,
    workers: int,
    rate: str | None,
    retry: str,
    **more: Any,
) -> FetchSettings:
    """Read the shared flags, in the order in which both commands have them; `more` is passed on."""
    from dancecli.dataset.fetch.settings import FetchSettings

    return FetchSettings(
        annotations=tuple(annotations or ()),
        edition=edition,
        labels=labels,
        limit=limit,
        url_template=url_template,
        sources=tuple(part.strip() for part in source.split(",")) if source else (),
        folder=folder,
        mirror_template=mirror_template,
        shard=_shard_of(shard),
        workers=workers,
        rate_per_hour=_per_hour(rate),
        retry=retry,
        **more,
    )


def _per_hour(rate: str | None) -> float | None:
    """Read `300` or `300/h`; None for what is not given."""
    if rate is None or not rate.strip():
        return None
    try:
        value = float(rate.strip().removesuffix("/h"))
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise typer.BadParameter(f"{rate!r} is not a number of requests per hour, such as 300 or 300/h")
    return value


def _shard_of(text: str | None) -> tuple[int, int] | None:
    """Read `2/4`; None for what is not given."""
    if not text:
        return None
    i, slash, n = text.partition("/")
    if not (slash and i.isdecimal() and n.isdecimal() and len(text) < 20):
        raise typer.BadParameter(f"{text!r} is not I/N, such as 2/4")
    return int(i), int(n)
