"""What all measurements share: ways that take turns, medians, ratios, peak memory, one JSON document.

Ways are compared within one run, turn by turn, so that a machine that is busy for a while is unfair
to none of them. What a way costs is taken from its processes, never from the clock alone.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Cost:
    """What one turn of one way took.

    Attributes:
        cpu_s: processor time, of this process and of those that it waited for.
        clock_s: time on the clock.
        peak_mb: most memory that was resident at once, in millions of bytes; 0 where the way is no
            process of its own.
    """

    cpu_s: float
    clock_s: float
    peak_mb: float = 0.0


def timed(work: Callable[[], object]) -> Cost:
    """Do some work in this process, child processes included."""
    cpu_s, clock_s = _cpu_s(), time.perf_counter()
    work()
    return Cost(_cpu_s() - cpu_s, time.perf_counter() - clock_s)


def run_child(arguments: Sequence[str], **more: Any) -> Cost:
    """Run a program to its end; what it prints on stdout is dropped.

    This process is to be small itself: Linux counts what a process held before it became another
    program as that program's memory.

    Raises:
        SystemExit: it failed.
    """
    started_s = time.perf_counter()
    process = subprocess.Popen(list(arguments), stdout=subprocess.DEVNULL, **more)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, arguments))}: ended with {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    seconds = time.perf_counter() - started_s
    return Cost(used.ru_utime + used.ru_stime, seconds, used.ru_maxrss * unit / 1e6)


def run_again(script: str, *arguments: object, **more: Any) -> Cost:
    """Run a benchmark's own file in a process of its own, with arguments that say which part of it."""
    module = f"benchmarks.suites.{Path(script).stem}"
    return run_child([sys.executable, "-m", module, *map(str, arguments)], **more)


def take_turns(ways: Mapping[str, Callable[[], Cost]], rounds: int) -> dict[str, list[Cost]]:
    """Let the ways take turns, in turned order every other round."""
    found: dict[str, list[Cost]] = {name: [] for name in ways}
    for number in range(rounds):
        for name in list(ways)[:: -1 if number % 2 else 1]:
            found[name].append(ways[name]())
    return found


def middle(costs: Sequence[Cost]) -> Cost:
    """Give the median of each figure; of the memory, the most."""
    return Cost(
        statistics.median(cost.cpu_s for cost in costs),
        statistics.median(cost.clock_s for cost in costs),
        max(cost.peak_mb for cost in costs),
    )


def times_as_fast(slow: Sequence[Cost], fast: Sequence[Cost]) -> float:
    """Give the median over the rounds of slow over fast, in processor time."""
    pairs = zip(slow, fast, strict=True)
    return statistics.median(one.cpu_s / max(other.cpu_s, 1e-9) for one, other in pairs)


def spread(costs: Sequence[Cost], *, clock: bool = False) -> str:
    """Say how far the rounds lie below and above their median, in per cent of it."""
    found = [cost.clock_s if clock else cost.cpu_s for cost in costs]
    half = max(statistics.median(found), 1e-9)
    return f"-{100 * (1 - min(found) / half):.0f} +{100 * (max(found) / half - 1):.0f} %"


def figures(cost: Cost) -> dict[str, float]:
    """Lay a cost out for the document."""
    found = {"cpu_s": round(cost.cpu_s, 3), "clock_s": round(cost.clock_s, 3)}
    return found | ({"peak_mb": round(cost.peak_mb, 1)} if cost.peak_mb else {})


@dataclass(frozen=True, slots=True)
class Bar:
    """One thing that is to hold, with the figure that was measured; `met` says whether it does."""

    what: str
    figure: str
    met: bool


@dataclass(frozen=True, slots=True)
class Plot:
    """How something grows, to be drawn by `run.py`.

    Attributes:
        name: of its file.
        x, y: what the axes show, with units.
        lines: for each way its points (x, y).
        log: both axes are logarithmic; else both begin at 0.
    """

    name: str
    x: str
    y: str
    lines: Mapping[str, Sequence[tuple[float, float]]]
    log: bool = True


def tell(
    name: str,
    measured: Any,
    bars: Sequence[Bar],
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    floor: str = "",
    plots: Sequence[Plot] = (),
) -> int:
    """Print the document on stdout and a table for people on stderr.

    Args:
        name: of the benchmark.
        measured: its figures, for the document.
        bars: what was to hold.
        columns: of the table.
        rows: of the table.
        floor: what nobody can be faster than, and how far it is, in a sentence with figures.
        plots: how it grows.

    Returns:
        The exit status: 1 if a bar was missed.
    """
    texts = [[str(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for first, *others in texts:
        cells = (text.rjust(width) for text, width in zip(others, widths[1:], strict=True))
        print("  ".join((first.ljust(widths[0]), *cells)), file=sys.stderr)
    for bar in bars:
        print(f"{'met' if bar.met else 'MISSED':6}  {bar.what}: {bar.figure}", file=sys.stderr)
    document = {
        "benchmark": name,
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "cores": os.cpu_count(),
            "python": platform.python_version(),
        },
        "columns": list(columns),
        "rows": [[str(cell) for cell in row] for row in rows],
        "bars": [{"what": bar.what, "figure": bar.figure, "met": bar.met} for bar in bars],
        "floor": floor,
        "plots": [asdict(plot) for plot in plots],
        "measured": measured,
    }
    if floor:
        print(f"floor: {floor}", file=sys.stderr)
    print(json.dumps(document, indent=2, ensure_ascii=False))
    return 0 if all(bar.met for bar in bars) else 1


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
