"""`dance stats`."""

from __future__ import annotations

from dataclasses import asdict

from dancecli.cli.console import emit, open_workspace, show, table, talk
from dancecli.cli.options import DryRunOption, JsonOption, SplitOption, WorkspaceOption


def command(
    workspace: WorkspaceOption = None,
    split: SplitOption = None,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Show the dataset in figures, and write its card and page.

    The card is Markdown as Hugging Face reads it: reports/dataset/README.md. The page beside it
    shows the same with a grid of pictures of each class.

    Example: `dance stats`
    """
    from dancecli.dataset.quality.card import write_card
    from dancecli.dataset.quality.stats import stats
    from dancecli.report.pages.dataset_page import write_dataset_page

    space = open_workspace(workspace, create=False)
    found = stats(space, split)
    if json_output:
        emit(asdict(found))
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
        show(table(("class", "asked for", "there", "%", *parts, "minutes", "MB"), rows))
        for title, counts in (
            ("outcomes", found.outcomes),
            ("reasons", found.reasons),
            ("sources", found.sources),
        ):
            if counts:
                show(f"{title}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    if not dry_run:
        write_card(space, found)
        page = write_dataset_page(space, asdict(found))
        talk(f"page: {page}\ncard: {page.with_name('README.md')}")
