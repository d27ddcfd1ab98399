"""Output for the user: results on stdout, messages and a progress bar on stderr."""

from __future__ import annotations

import json
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from dancecli.core.progress import OnProgress, Progress, Reporter
    from dancecli.storage.workspace import Workspace

# Seconds between two progress lines where stderr is not a terminal (a log file, CI).
_LOG_INTERVAL_S = 15.0
_NAME_WIDTH = 24
# Whether a JSON document was printed: there must be exactly one, even if a command fails.
json_printed = False


def info(text: str) -> None:
    """Print a line for the user on stderr; rich markup is not interpreted."""
    _stderr().print(text, markup=False, highlight=False, soft_wrap=True)


def print_json(document: Any) -> None:
    """Print one JSON document on stdout."""
    global json_printed  # noqa: PLW0603 - state of the process, as stdout is
    json_printed = True
    is_unicode = sys.stdout.encoding.lower().replace("-", "") == "utf8"
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=not is_unicode) + "\n")


def print_result(what: Table | str) -> None:
    """Print a human-readable result on stdout."""
    from rich.console import Console

    if isinstance(what, str):
        sys.stdout.write(what + "\n")
    else:
        Console().print(what)


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    align: Literal["left", "right"] = "right",
) -> Table:
    """Format rows as a table; `align` applies to all columns but the first, which is text.

    A column that is empty in every row is omitted.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    used = [i for i in range(len(columns)) if not rows or any(str(row[i]) for row in rows)]
    columns, rows = [columns[i] for i in used], [[row[i] for i in used] for row in rows]
    for i, column in enumerate(columns):
        grid.add_column(column, justify="left" if i == 0 else align, overflow="fold", no_wrap=i == 0)
    widths = [max(len(str(cell)) for cell in column) for column in zip(columns, *rows, strict=True)]
    # Names are kept on one line where possible. They are wrapped here, as rich would cut off the last
    # columns instead of narrowing the first.
    name_width = max(_NAME_WIDTH, Console().width - sum(width + 2 for width in widths[1:]) - 2)
    for name, *cells in rows:
        folded = "\n".join(textwrap.wrap(str(name), name_width)) if len(str(name)) > name_width else str(name)
        grid.add_row(*(Text(str(cell)) for cell in (folded, *cells)))
    return grid


def print_scores(record: dict[str, Any]) -> None:
    """Print a run's top-1 and top-5 on val and test, with the test views."""
    rows: list[tuple[object, ...]] = []
    for subset, found in record["results"].items():
        if found:
            n = found["n"]
            rows.append(
                (subset, n, *(f"{k}/{n} ({100 * k / n:.1f} %)" for k in (found["top1"], found["top5"])))
            )
    print_result(f"run {record['name']}: {record['views']['test']}")
    print_result(table(("subset", "clips", "top-1", "top-5"), rows))


def open_workspace(given: Path | None, *, create: bool = True) -> Workspace:
    """Find the workspace; if there is none and `create` is set, create it and print a message."""
    from dancecli.cli.loader import default_settings
    from dancecli.storage.workspace import Workspace

    workspace = Workspace.locate(given)
    if create and not workspace.settings.exists() and workspace.create(default_settings()):
        info(f"created workspace {workspace.root} (settings: {workspace.settings.name})")
    return workspace


@contextmanager
def progress(title: str) -> Iterator[OnProgress]:
    """Show a progress bar with count, time left and text on a terminal, else a line every 15 s."""
    console = _stderr()
    if not console.is_terminal:
        yield _log_lines(title)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[words]}", markup=False),
    )
    # Units differ in duration, so the time left is estimated from five minutes, not thirty seconds.
    with Bars(*columns, console=console, speed_estimate_period=300.0) as bars:
        task = bars.add_task(title, total=None, words="")

        def update(now: Progress) -> None:
            bars.update(task, completed=now.done, total=now.total, words=now.text)

        yield update


@contextmanager
def reporting(title: str) -> Iterator[Reporter]:
    """Show the progress of a step as one bar, and its messages as lines on stderr."""
    from dancecli.core.progress import Reporter

    with progress(title) as on_progress:
        yield Reporter(on_progress, info)


@contextmanager
def reporting_phases() -> Iterator[Reporter]:
    """Show the progress of a step as one bar per phase, and its messages as lines; see `phases`."""
    from dancecli.core.progress import Reporter

    with phases() as on_progress:
        yield Reporter(on_progress, info)


@contextmanager
def phases() -> Iterator[OnProgress]:
    """Show one bar per phase: the text before the first ` · ` is its title."""
    with ExitStack() as bars:
        title, update = "", None

        def on_progress(now: Progress) -> None:
            nonlocal title, update
            phase, _, words = now.text.partition(" · ")
            if phase != title or update is None:
                bars.close()
                title, update = phase, bars.enter_context(progress(phase))
            update(replace(now, text=words))

        yield on_progress


def _log_lines(title: str) -> OnProgress:
    last, printed = 0.0, ""

    def update(now: Progress) -> None:
        nonlocal last, printed
        if now.done < now.total and time.monotonic() - last < _LOG_INTERVAL_S:
            return
        line = f"{title}: {now.done}/{now.total}{'  ' + now.text if now.text else ''}"
        if line != printed:
            last, printed = time.monotonic(), line
            info(line)

    return update


def _stderr() -> Console:
    from rich.console import Console

    return Console(stderr=True)
