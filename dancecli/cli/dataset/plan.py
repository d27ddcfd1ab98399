"""`dance plan`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result, table
from dancecli.cli.dataset.fetch_options import (
    AnnotationsOption,
    EditionOption,
    FolderOption,
    LabelsOption,
    LimitOption,
    MirrorTemplateOption,
    RateOption,
    RetryOption,
    ShardOption,
    SourceOption,
    UrlTemplateOption,
    settings_of,
)
from dancecli.cli.dataset.list_totals import show_rows, tell_rows
from dancecli.cli.options import JsonOption, WorkersOption, WorkspaceOption
from dancecli.core.text import pluralize

if TYPE_CHECKING:
    from dancecli.dataset.fetch.estimate import FetchPlan


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
    json_output: JsonOption = False,
) -> None:
    """Estimate a fetch: clips, hours, gigabytes and expected available clips.

    Takes the options of `dance fetch`; no video is requested from any site.

    Example: `dance plan --annotations kinetics700_val.csv --limit 20`
    """
    from dancecli.dataset.fetch.estimate import plan

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
    )
    found = plan(open_workspace(workspace_dir, create=False), settings)
    if json_output:
        print_json(asdict(found))
    else:
        _show(found)
    tell_rows(found.rows)
    if found.rows.refused:
        raise typer.Exit(3)


def _show(found: FetchPlan) -> None:
    rows = [(label, there, asked) for label, (there, asked) in found.labels.items()]
    print_result(table(("class", "there", "asked for"), rows))
    show_rows(found.rows)
    limit = f"at {found.rate_per_hour:g} an hour" if found.rate_per_hour else "with no limit"
    low, high = (round(share * found.num_clips) for share in found.survival)
    print_result(
        f"{pluralize(found.num_clips, 'clip')} of {pluralize(found.num_videos, 'video')} would be fetched"
    )
    print_result(f"hours      {found.hours:.1f}  ({limit})")
    print_result(f"gigabytes  {found.gigabytes:.2f}  ({found.free_gigabytes:.0f} are free)")
    print_result(f"available  {low} to {high}  ({found.evidence})")
    if found.gigabytes > found.free_gigabytes:
        info("the disk is too small for that")
