"""`dance compare`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dancecli.cli.console import open_workspace, print_json, print_result, reporting, table
from dancecli.cli.options import (
    CsvOption,
    DryRunOption,
    FiguresOption,
    JsonOption,
    LatexOption,
    MarkdownOption,
    WorkspaceOption,
    table_format,
)
from dancecli.core.records import Subset

if TYPE_CHECKING:
    from rich.console import RenderableType

    from dancecli.report.compare import CompareResult


def command(
    first: Annotated[str, typer.Argument(metavar="RUN", help="A run, or a group of seeds.")],
    second: Annotated[str, typer.Argument(metavar="RUN", help="Another, evaluated on the same clips.")],
    workspace_dir: WorkspaceOption = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name of the comparison. [default: RUN-vs-RUN]", show_default=False
        ),
    ] = None,
    subset: Annotated[Subset, typer.Option(help="Subset on which both are compared.")] = Subset.TEST,
    across_views: Annotated[
        bool,
        typer.Option(
            "--across-views",
            help="Compare runs that saw different views of the clips: single frames against video, say.",
        ),
    ] = False,
    figures: FiguresOption = False,
    latex: LatexOption = False,
    markdown: MarkdownOption = False,
    as_csv: CsvOption = False,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Test whether one of two runs or methods is significantly better, and show where.

    Runs that were evaluated on other clips are refused, and so are runs that saw other views of them,
    unless --across-views says that this is what is compared. A group, the runs of
    `dance finetune --seeds`, is compared over its seeds. Writes a page with the clips that changed.

    Example: `dance compare inception-demo-1 inception-demo-2`
    """
    from dancecli.report.compare import CompareSettings, compare

    form = table_format(latex=latex, markdown=markdown, csv=as_csv)
    workspace = open_workspace(workspace_dir, create=False)
    with reporting("compare") as reporter:
        settings = CompareSettings(first, second, name, subset.value, figures, across_views)
        result = compare(workspace, settings, reporter, dry_run=dry_run)
    if form:
        from dancecli.report.results.paper_tables import TableFormat, compare_table, write_table

        laid = compare_table((first, second), result.comparison, subset.value)
        print_result(write_table(laid, TableFormat(form)).rstrip())
        return
    if json_output:
        print_json({"page": str(result.page), **result.document})
        return
    print_result(_accuracies(result, subset))
    paired = result.comparison.paired
    test = "exact permutation test by source video"
    if paired.p_clips is None:
        test = f"t-test over seeds and source videos, {paired.freedom:.1f} degrees of freedom"
    elif paired.videos < paired.n:
        test += f"; McNemar, clips taken as independent: {paired.p_clips:.3g}"
    print_result(
        f"{result.verdict}: {second} minus {first} is {100 * paired.difference:+.1f} points "
        f"({100 * paired.low:+.1f} to {100 * paired.high:+.1f}), p = {paired.p:.3g} ({test})"
    )
    if paired.disputed:
        print_result(paired.disputed)
    print_result(f"{result.page}{' (not written)' if dry_run else ''}")


def _accuracies(result: CompareResult, subset: Subset) -> RenderableType:
    paired, rows = result.comparison.paired, []
    for name, top1, alone in (
        (result.first, result.comparison.first, paired.first),
        (result.second, result.comparison.second, paired.second),
    ):
        e = top1.estimate
        span = f"{100 * e.low:.1f}-{100 * e.high:.1f}"
        rows.append((name, top1.text, f"{100 * e.rate:.1f} %", span, f"{alone:.3g}"))
    return table((f"top-1, {subset.value}", "right", "rate", "95 %", "alone right"), rows)
