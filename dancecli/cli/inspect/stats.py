"""`dance stats`."""

from __future__ import annotations

from dataclasses import asdict

from dancecli.cli.console import info, open_workspace, print_json, print_result, table
from dancecli.cli.options import DryRunOption, JsonOption, SplitOption, WorkspaceOption

_SHOWN = 10


def command(
    workspace_dir: WorkspaceOption = None,
    split: SplitOption = None,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Show dataset statistics and write the dataset card and page.

    The card is Markdown in the format of Hugging Face: reports/dataset/README.md. The page beside it
    adds pictures of each class.

    Example: `dance stats`
    """
    from dancecli.dataset.quality.card import write_card
    from dancecli.dataset.quality.stats import stats
    from dancecli.report.pages.dataset_page import write_dataset_page

    workspace = open_workspace(workspace_dir, create=False)
    found = stats(workspace, split)
    if json_output:
        print_json(asdict(found))
    else:
        subsets = list(found.total.subsets)
        rows = [
            (
                row.label or "all",
                row.num_segments,
                row.num_clips,
                f"{100 * row.availability:.1f}",
                *(row.subsets[subset] for subset in subsets),
                f"{row.seconds / 60:.1f}",
                f"{row.num_bytes / 1e6:.1f}",
            )
            for row in (*found.labels, found.total)
        ]
        print_result(table(("class", "requested", "available", "%", *subsets, "minutes", "MB"), rows))
        for title, counts in (
            ("outcomes", found.outcomes),
            ("reasons", found.reasons),
            ("sources", found.sources),
            ("content", found.content),
            ("notes", found.notes),
            ("licenses", found.licenses if any(found.licenses) else {}),
            (f"uploaders (of {found.num_uploaders})", found.uploaders),
        ):
            if counts:
                words = (f"{count} {name or 'not stated'}" for name, count in list(counts.items())[:_SHOWN])
                more = f", and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
                print_result(f"{title}: " + ", ".join(words) + more)
    if found.num_not_listed:
        info(f"{found.num_not_listed} clips were fetched and are not in the manifest yet: a fetch is at work")
    if not dry_run:
        write_card(workspace, found)
        page = write_dataset_page(workspace, asdict(found))
        info(f"page: {page}\ncard: {page.with_name('README.md')}")
