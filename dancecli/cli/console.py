"""Output for the user: results on stdout, messages and a progress bar on stderr."""

from __future__ import annotations

import json
import os
import sys
import textwrap
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from dancecli.core.progress import OnProgress, Progress, Reporter
    from dancecli.storage.workspace import Workspace

# Seconds between two progress lines where stderr is not a terminal (a log file, CI).
_LOG_INTERVAL_S = 15.0
# Units differ in duration and a shared machine in pace, so the time left is estimated from five minutes.
_PACE_S = 300.0
_NAME_WIDTH = 24
_GAP = 2
_UNLIMITED = 10_000
# A terminal that is narrower has no space for a long bar beside count, times and text.
_WIDE = 110
# Where output goes while a command runs for the Python API.
_capture: ContextVar[Capture | None] = ContextVar("capture", default=None)
# Whether a JSON document was printed: there must be exactly one, even if a command fails.
json_printed = False


@dataclass
class Capture:
    """Output of a command that is called from Python: nothing is printed.

    Attributes:
        reporter: receives messages and progress.
        document: the JSON document of the command; None until it has given one.
    """

    reporter: Reporter
    document: Any = None


@contextmanager
def capture(reporter: Reporter) -> Iterator[Capture]:
    """Send messages and progress to a reporter, and keep the JSON document, while in the block."""
    token = _capture.set(Capture(reporter))
    try:
        yield cast(Capture, _capture.get())
    finally:
        _capture.reset(token)


def info(text: str) -> None:
    """Print a line for the user on stderr; rich markup is not interpreted."""
    if to := _capture.get():
        to.reporter.message(text)
        return
    _stderr().print(text, markup=False, highlight=False, soft_wrap=True)


def print_json(document: Any) -> None:
    """Print one JSON document on stdout."""
    if to := _capture.get():
        # As a reader of the printed document has it: values of an enum are text, and a tuple is a list.
        to.document = json.loads(json.dumps(document))
        return
    global json_printed  # noqa: PLW0603 - state of the process, as stdout is
    json_printed = True
    is_unicode = sys.stdout.encoding.lower().replace("-", "") == "utf8"
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=not is_unicode) + "\n")


def print_result(what: RenderableType) -> None:
    """Print a human-readable result on stdout."""
    if _capture.get():
        return
    from rich.console import Console

    if isinstance(what, str):
        sys.stdout.write(what + "\n")
    else:
        Console(width=_stdout_width()).print(what)


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    align: Literal["left", "right"] = "right",
) -> RenderableType:
    """Format rows as a table; `align` applies to all columns but the first, which is text.

    A column that is empty in every row is omitted. Where the terminal is too narrow, the table is
    continued below with the first column repeated: no column is lost.
    """
    from rich.console import Group

    used = [i for i in range(len(columns)) if not rows or any(str(row[i]) for row in rows)]
    heads, cells = [columns[i] for i in used], [[str(row[i]) for i in used] for row in rows]
    width = _stdout_width()
    if sum(_widths(heads, cells)) > width:
        longest = [max((len(row[i]) for row in cells), default=0) for i in range(len(heads))]
        heads = [h.replace(" ", "\n") if len(h) > n else h for h, n in zip(heads, longest, strict=True)]
    widths = _widths(heads, cells)
    names, left = min(widths[0], max(_NAME_WIDTH, width - sum(widths[1:]))), width
    blocks: list[list[int]] = [[0]] if len(heads) == 1 else []
    for i in range(1, len(heads)):
        if not blocks or widths[i] > left:
            blocks.append([0])
            left = width - names
        blocks[-1].append(i)
        left -= widths[i]
    tables = [
        _one_table([heads[i] for i in b], [[r[i] for i in b] for r in cells], names, align) for b in blocks
    ]
    return tables[0] if len(tables) == 1 else Group(*tables)


def _one_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], names: int, align: Literal["left", "right"]
) -> Table:
    """Format rows as one table, in which the names of the first column are wrapped at a width."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for i, head in enumerate(heads):
        grid.add_column(head, justify="left" if i == 0 else align, overflow="fold", no_wrap=i == 0)
    for name, *others in rows:
        # Wrapped here, as rich would cut off the last columns instead of narrowing the first.
        wrapped = "\n".join(textwrap.wrap(name, names - _GAP)) if len(name) > names - _GAP else name
        grid.add_row(*map(Text, (wrapped, *others)))
    return grid


def _widths(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """The width of each column, with the gap to the next."""
    longest = (
        max(len(line) for cell in column for line in cell.split("\n"))
        for column in zip(heads, *rows, strict=True)
    )
    return [width + _GAP for width in longest]


def _stdout_width() -> int:
    """The width of the terminal or $COLUMNS; unlimited where stdout is a file or a pipe."""
    from rich.console import Console

    if not sys.stdout.isatty() and "COLUMNS" not in os.environ:
        return _UNLIMITED
    return Console().width


def print_scores(record: dict[str, Any]) -> None:
    """Print a run's accuracy on val and test, with the test views."""
    kinds = shares(len(record["labels"]))
    rows = [
        (subset, n := found["n"], *(f"{found[key]}/{n} ({100 * found[key] / n:.1f} %)" for key in kinds))
        for subset, found in record["results"].items()
        if found
    ]
    print_result(f"run {record['name']}: {record['views']['test']}")
    print_result(table(("subset", "clips", *kinds.values()), rows))


def shares(classes: int) -> dict[str, str]:
    """Name the accuracies that say something of so many classes, by their keys: five are all in the top 5."""
    return {"top1": "top-1", **({"top5": "top-5"} if classes > 5 else {})}


def open_workspace(given: Path | None, *, create: bool = True) -> Workspace:
    """Find the workspace; if there is none and `create` is set, the command creates it by `begin`."""
    from dancecli.cli.loader import default_settings
    from dancecli.storage.workspace import Workspace

    workspace = Workspace.locate(given)
    return replace(workspace, new_settings=default_settings()) if create else workspace


@contextmanager
def progress(title: str) -> Iterator[OnProgress]:
    """Show a progress bar with count, time left and text on a terminal, else a line every 15 s."""
    if to := _capture.get():
        yield to.reporter.named(title).on_progress
        return
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
    from rich.table import Column

    # The text has what the others leave: bar, count and time are never cut.
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=28 if console.width >= _WIDE else 12),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn(
            "{task.fields[text]}",
            markup=False,
            table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
        ),
    )
    with Bars(*columns, console=console, speed_estimate_period=_PACE_S, expand=True) as bars:
        task = bars.add_task(title, total=None, text="")

        def update(now: Progress) -> None:
            bars.update(task, completed=now.done, total=now.total, text=now.text)

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
            phase, _, text = now.text.partition(" · ")
            if phase != title or update is None:
                bars.close()
                title, update = phase, bars.enter_context(progress(phase))
            update(replace(now, text=text))

        yield on_progress


def _log_lines(title: str) -> OnProgress:
    from dancecli.core.text import time_words

    last, printed = 0.0, ""
    pace: deque[tuple[float, int]] = deque()

    def update(now: Progress) -> None:
        nonlocal last, printed
        at = time.monotonic()
        if pace and now.done < now.total and at - last < _LOG_INTERVAL_S:
            return
        line = f"{title}: {now.done}/{now.total}{'  ' + now.text if now.text else ''}"
        pace.append((at, now.done))
        while len(pace) > 2 and at - pace[1][0] >= _PACE_S:
            pace.popleft()
        since, before = pace[0]
        if line == printed:
            return
        last, printed = at, line
        if before < now.done < now.total:
            line += " · " if now.text else "  "
            line += f"{time_words((at - since) * (now.total - now.done) / (now.done - before))} left"
        info(line)

    return update


def _stderr() -> Console:
    from rich.console import Console

    return Console(stderr=True)
