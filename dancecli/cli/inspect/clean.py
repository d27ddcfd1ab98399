"""`dance clean`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result, table
from dancecli.cli.options import JsonOption, WorkspaceOption
from dancecli.core.text import file_size, pluralize

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dancecli.dataset.upkeep.clean import CleanItem, CleanResult

_SHOWN = 10


def command(
    kinds: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[unfinished|orphans|features|thumbnails]...",
            help="What to free: half-made files of killed commands, files of clips that nothing names, "
            "cached features, thumbnails. [default: all]",
            show_default=False,
        ),
    ] = None,
    workspace_dir: WorkspaceOption = None,
    older: Annotated[
        float, typer.Option(metavar="DAYS", help="Only what was last written at least so many days ago.")
    ] = 0.0,
    run: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only the features that this run used.", show_default=False),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove what is listed; else it is only listed.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """List what the workspace does not need, with sizes, and free it with --yes.

    Files of your own are never removed. Features and thumbnails are made again when they are needed.

    Example: `dance clean`, then `dance clean features --older 30 --yes`
    """
    from dancecli.core.errors import UsageError
    from dancecli.dataset.upkeep.clean import CleanSettings, Kind, clean

    unknown = [name for name in kinds or () if name not in set(Kind)]
    if unknown:
        raise UsageError(f"{unknown[0]!r} is nothing to free", f"known: {', '.join(Kind)}")
    workspace = open_workspace(workspace_dir, create=False)
    settings = CleanSettings(tuple(Kind(name) for name in kinds or ()), older, run, yes)
    result = clean(workspace, settings)
    if json_output:
        print_json(asdict(result) | {"num_bytes": result.num_bytes})
        return
    _show(result)


def _show(result: CleanResult) -> None:
    rows = list(_rows(result.items))
    if rows:
        print_result(table(("what", "files", "size", "days old", "used by"), rows, align="left"))
    verb = "freed" if result.removed else "can be freed"
    print_result(f"{pluralize(len(result.items), 'item')}, {file_size(result.num_bytes)} {verb}")
    if result.items and not result.removed:
        info("nothing was removed: add --yes to remove what is listed")
    if result.foreign:
        shown = ", ".join(result.foreign[:3])
        info(f"{pluralize(len(result.foreign), 'file')} that dance did not write stay: {shown}")


def _rows(items: Sequence[CleanItem]) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield a row per store of features, and per kind of the others a total and the largest."""
    for kind in dict.fromkeys(item.kind for item in items):
        of_kind = [item for item in items if item.kind == kind]
        total, ages = sum(item.num_bytes for item in of_kind), [item.age_days for item in of_kind]
        youngest, oldest = f"{min(ages):.0f}", f"{max(ages):.0f}"
        days = oldest if youngest == oldest else f"{youngest} to {oldest}"
        yield kind.value, f"{len(of_kind):,}", file_size(total), days, ""
        for item in of_kind[:_SHOWN] if kind != "thumbnails" else ():
            runs = ", ".join(item.runs)
            yield f"  {item.path}", "", file_size(item.num_bytes), f"{item.age_days:.0f}", runs
        if len(of_kind) > _SHOWN and kind != "thumbnails":
            yield f"  and {len(of_kind) - _SHOWN:,} more: add --json", "", "", "", ""
