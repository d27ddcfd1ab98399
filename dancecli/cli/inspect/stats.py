"""`dance stats`."""

from __future__ import annotations

from dataclasses import asdict

from dancecli.cli.console import info, open_workspace, print_json, print_result, table
from dancecli.cli.options import DryRunOption, JsonOption, SplitOption, WorkspaceOption


def command(
    workspace_dir: WorkspaceOption = None,
    split: SplitOption = None,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Show dataset statistics and write the dataset card and page.

    The card is Markdown as Hugging Face reads it: reports/dataset/README.md. The page beside it
    shows the same with a grid of pictures of each class.

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
        parts = list(found.total.parts)
        rows = [
            (
                row.label or "all",
                row.num_segments,
                row.num_clips,
                f"{100 * row.survival:.1f}",
                *(row.parts[part] for part in parts),
                f"{row.seconds / 60:.1f}",
                f"{row.num_bytes / 1e6:.1f}",
            )
            for row in (*found.labels, found.total)
        ]
        print_result(table(("class", "asked for", "there", "%", *parts, "minutes", "MB"), rows))
        for title, counts in (
            ("outcomes", found.outcomes),
            ("reasons", found.reasons),
            ("sources", found.sources),
        ):
            if counts:
                print_result(f"{title}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    if not dry_run:
        write_card(workspace, found)
        page = write_dataset_page(workspace, asdict(found))
        info(f"page: {page}\ncard: {page.with_name('README.md')}")
