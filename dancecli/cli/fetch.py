"""`dance fetch`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dancecli.cli.console import emit, open_workspace, progress, show, table, talk
from dancecli.cli.options import DryRunOption, JsonOption, WorkspaceOption

if TYPE_CHECKING:
    from dancecli.dataset.fetch import FetchResult

_CONFLICTS_SHOWN = 3


def command(
    workspace: WorkspaceOption = None,
    annotations: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Annotation list, CSV or JSON in any form of Kinetics; may be given several times. "
            "[default: the official archive of --edition, downloaded once]",
            show_default=False,
        ),
    ] = None,
    edition: Annotated[
        str, typer.Option(metavar="NAME", help="Edition of Kinetics: 400, 600, 700 or 700-2020.")
    ] = "700-2020",
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Label file, one a line; other rows are left out. [default: the 19 dance styles]",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="At most N clips per class, always the same ones.")
    ] = None,
    url_template: Annotated[
        str,
        typer.Option(
            metavar="URL", help="Address of the videos, with {video_id} in it, in place of YouTube."
        ),
    ] = "",
    source: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Where to look, in order, parted by commas: local, mirror, youtube. [default: local with "
            "--folder, mirror without --annotations, then youtube]",
            show_default=False,
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Clips or videos that are on disk, for --source local.", show_default=False
        ),
    ] = None,
    mirror_template: Annotated[
        str,
        typer.Option(metavar="URL", help="Address of the mirror's tars, with {split} and {number} in it."),
    ] = "",
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Do the I-th of N parts of the work: one on each machine, without further ado.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=0, metavar="N", help="Processes that download and cut. [0: one a core]")
    ] = 0,
    rate: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Requests an hour, over all workers; 0 for no limit. "
            "[default: 300 at YouTube, a guest's rate; none with --url-template]",
            show_default=False,
        ),
    ] = None,
    retry: Annotated[
        str,
        typer.Option(
            metavar="WHAT", help="Of earlier failures, try again: transient, permanent, all or none."
        ),
    ] = "transient",
    audio: Annotated[bool, typer.Option(help="Keep the sound.")] = True,
    timeout: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="Limit on the clock for one source video.")
    ] = 900.0,
    min_free: Annotated[
        float, typer.Option(min=0, metavar="GB", help="Stop when the disk has less free space.")
    ] = 1.0,
    cookies: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Cookie file in Netscape's format, sent to the site. Risky: an account that downloads "
            "much may be suspended; use a spare one.",
        ),
    ] = None,
    extractor_args: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ARGS",
            help="Passed on to yt-dlp, for example youtube:player_client=web.",
            show_default=False,
        ),
    ] = None,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Download the videos of the annotation lists and cut their clips.

    Each source video is had once, all its clips are cut and proven by a full decode, and every
    row of the lists gets an outcome. Stop it at any time: the same command goes on from there,
    and asks for nothing twice. Exit code 3 if a clip is missing.

    Example: `dance fetch --annotations kinetics700_val.csv --limit 20`
    """
    from dancecli.dataset.fetch import FetchSettings, fetch
    from dancecli.labels import DEFAULT_LABELS

    settings = FetchSettings(
        annotations=tuple(annotations or ()),
        edition=edition,
        labels=labels or DEFAULT_LABELS,
        limit=limit,
        sources=tuple(part.strip() for part in source.split(",")) if source else (),
        folder=folder,
        mirror_template=mirror_template,
        url_template=url_template,
        shard=_shard(shard),
        workers=workers,
        rate_per_hour=_per_hour(rate),
        retry=retry,
        keep_audio=audio,
        timeout_s=timeout,
        min_free_gb=min_free,
        cookies=cookies,
        extractor_args=tuple(extractor_args or ()),
        dry_run=dry_run,
    )
    space = open_workspace(workspace, create=not dry_run)
    with progress("fetch") as on_progress:
        result = fetch(space, settings, on_progress)
    if json_output:
        emit(_document(result))
    else:
        _show(result, dry_run=dry_run)
    if result.conflicts:
        talk(f"{len(result.conflicts)} clips are listed under two labels; the first one is kept:")
        for conflict in result.conflicts[:_CONFLICTS_SHOWN]:
            talk(f"  {conflict}")
    if result.stopped:
        talk(f"stopped: {result.stopped}")
    if not result.complete and not dry_run:
        raise typer.Exit(3)


def _per_hour(rate: str | None) -> float | None:
    if rate is None or not rate.strip():
        return None
    try:
        value = float(rate.strip().removesuffix("/h"))
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise typer.BadParameter(f"{rate!r} is not a number of requests an hour, such as 300 or 300/h")
    return value


def _shard(text: str | None) -> tuple[int, int] | None:
    if not text:
        return None
    i, slash, n = text.partition("/")
    if not (slash and i.isdecimal() and n.isdecimal()):
        raise typer.BadParameter(f"{text!r} is not I/N, such as 2/4")
    return int(i), int(n)


def _document(result: FetchResult) -> dict[str, object]:
    return {
        "asked": result.num_asked,
        "outcomes": result.outcomes,
        "reasons": result.reasons,
        "labels": {name: {"done": done, "asked": asked} for name, (done, asked) in result.labels.items()},
        "new": result.num_new,
        "conflicts": result.conflicts,
        "stopped": result.stopped,
        "seconds": round(result.seconds, 2),
    }


def _show(result: FetchResult, *, dry_run: bool) -> None:
    rows = [(label, done, asked - done) for label, (done, asked) in result.labels.items()]
    show(table(("label", "done", "missing"), rows))
    if result.reasons:
        show(table(("missing because", "clips"), list(result.reasons.items())))
    missing = result.num_asked - result.num_done
    verdict = "would be fetched" if dry_run else "new"
    new = missing if dry_run else result.num_new
    show(f"{result.num_done} done · {missing} missing · {new} {verdict} · {result.seconds:.0f} s")
