"""`dance fetch`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result, reporting, table
from dancecli.cli.dataset.clip_options import (
    CodecOption,
    ExactOption,
    KeepSourceOption,
    MaxDamagedOption,
    MinLengthOption,
    ShortSideOption,
    rules_of,
)
from dancecli.cli.dataset.fetch_options import (
    AnnotationsOption,
    CookiesFromBrowserOption,
    CookiesOption,
    EditionOption,
    ExtractorArgsOption,
    FolderOption,
    ImpersonateOption,
    LabelsOption,
    LimitOption,
    MirrorTemplateOption,
    ProxyOption,
    RateOption,
    RetryOption,
    ShardOption,
    SourceAddressOption,
    SourceOption,
    UrlTemplateOption,
    YtdlpOption,
    settings_of,
    ytdlp_options,
)
from dancecli.cli.dataset.list_totals import show_rows, tell_rows
from dancecli.cli.options import DryRunOption, EngineOption, JsonOption, WorkersOption, WorkspaceOption

if TYPE_CHECKING:
    from dancecli.dataset.fetch.fetch import FetchResult


def command(
    workspace_dir: WorkspaceOption = None,
    annotations: AnnotationsOption = None,
    edition: EditionOption = "700-2020",
    labels: LabelsOption = None,
    limit: LimitOption = None,
    url_template: UrlTemplateOption = "",
    source: SourceOption = None,
    folder: FolderOption = None,
    mirror_template: MirrorTemplateOption = "",
    shard: ShardOption = None,
    workers: WorkersOption = 0,
    rate: RateOption = None,
    retry: RetryOption = "transient",
    engine: EngineOption = "local",
    audio: Annotated[bool, typer.Option(help="Keep the sound.")] = True,
    max_damaged: MaxDamagedOption = 0.05,
    min_length: MinLengthOption = 0.0,
    exact: ExactOption = False,
    short_side: ShortSideOption = 256,
    codec: CodecOption = "h264",
    keep_source: KeepSourceOption = False,
    timeout: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="Time limit for one source video.")
    ] = 900.0,
    min_free: Annotated[
        float, typer.Option(min=0, metavar="GB", help="Stop when less disk space is free.")
    ] = 1.0,
    cookies: CookiesOption = None,
    cookies_from_browser: CookiesFromBrowserOption = "",
    proxy: ProxyOption = "",
    source_address: SourceAddressOption = "",
    impersonate: ImpersonateOption = "",
    extractor_args: ExtractorArgsOption = None,
    ytdlp: YtdlpOption = None,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Download the videos of the annotation lists and cut their clips.

    Each source video is downloaded once, all its clips are cut and validated by a full decode, and
    every row of the lists gets an outcome. Stop it at any time: the same command resumes, and
    downloads nothing twice. Exit code 3 if a clip is missing.

    Example: `dance fetch --annotations kinetics700_val.csv --limit 20`
    """
    from dancecli.dataset.fetch.fetch import fetch

    settings = settings_of(
        annotations,
        edition,
        labels,
        limit,
        url_template,
        source,
        folder,
        mirror_template,
        shard,
        workers,
        rate,
        retry,
        engine=engine,
        keep_audio=audio,
        rules=rules_of(
            max_damaged,
            min_length,
            exact=exact,
            short_side=short_side,
            codec=codec,
            keep_source=keep_source,
        ),
        timeout_s=timeout,
        min_free_gb=min_free,
        cookies=cookies,
        ytdlp=ytdlp_options(ytdlp, extractor_args, cookies_from_browser, proxy, source_address, impersonate),
        dry_run=dry_run,
    )
    workspace = open_workspace(workspace_dir, create=not dry_run)
    with reporting("fetch") as reporter:
        result = fetch(workspace, settings, reporter)
    if json_output:
        print_json(_document(result))
    else:
        _show(result, dry_run=dry_run)
    tell_rows(result.rows)
    _tell_lacking(result)
    if result.num_crashes:
        info(
            f"{result.num_crashes} jobs ended with an unexpected error, a bug in dance; the other clips are "
            "not affected. `dance history CLIP` shows the traceback: please report it"
        )
    if result.stopped:
        info(f"stopped: {result.stopped}")
    if result.rows.refused or not (result.complete or dry_run):
        raise typer.Exit(3)


def _document(result: FetchResult) -> dict[str, object]:
    return {
        "asked": result.num_asked,
        "outcomes": result.outcomes,
        "reasons": result.reasons,
        "labels": {name: {"asked": sum(counts.values()), **counts} for name, counts in result.labels.items()},
        "new": result.num_new,
        "not_in_folder": [asdict(one) for one in result.lacking],
        "conflicts": list(result.rows.conflicts),
        "rows": asdict(result.rows),
        "crashes": result.num_crashes,
        "stopped": result.stopped,
        "seconds": round(result.seconds, 2),
    }


def _show(result: FetchResult, *, dry_run: bool) -> None:
    rows = [
        (label, counts.get("done", 0), sum(counts.values()) - counts.get("done", 0))
        for label, counts in result.labels.items()
    ]
    print_result(table(("label", "done", "missing"), rows))
    show_rows(result.rows)
    if result.reasons:
        print_result(table(("missing because", "clips"), list(result.reasons.items())))
    missing = result.num_asked - result.num_done
    verdict = "would be fetched" if dry_run else "new"
    new = missing if dry_run else result.num_new
    print_result(f"{result.num_done} done · {missing} missing · {new} {verdict} · {result.seconds:.0f} s")


def _tell_lacking(result: FetchResult) -> None:
    """Say on stderr what the folder lacks, and which of its names may be meant."""
    from dancecli.dataset.fetch.lacking import SHOWN

    for one in result.lacking[:SHOWN]:
        near = f"the nearest there: {', '.join(one.nearest)}" if one.nearest else "no name there is like it"
        info(f"not in the folder: {one.recording!r}; {near}")
    if len(result.lacking) > SHOWN:
        info(f"and {len(result.lacking) - SHOWN} more are not in the folder (all of them: --json)")
    if any(one.nearest for one in result.lacking):
        info("if one of these is meant, correct its name in the list, and fetch again")
