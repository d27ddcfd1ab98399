"""How long a command takes to say what it does: `dance --help` beside a toy Typer app's.

    python -m benchmarks.suites.startup [--rounds 15] [--quick]

The toy has three commands with one flag each and imports nothing but Typer. The lower bound is
Python itself.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.lib.compare import Bar, figures, middle, run_child, spread, take_turns, tell, times_as_fast
from dancecli.cli.registry import COMMANDS

TOY = """
import typer
app = typer.Typer(help="A toy.")
@app.command()
def one(number: int = 1) -> None: "First."
@app.command()
def two(number: int = 2) -> None: "Second."
@app.command()
def three(number: int = 3) -> None: "Third."
app()
"""
BAR, COMMAND_BAR = 1.25, 1.5
BARE = "python"


def main() -> int:
    """Measure the overview and every command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="three rounds, three commands")
    asked = parser.parse_args()
    names = ["", *COMMANDS]
    if asked.quick:
        asked.rounds, names = 3, ["", "split", "finetune"]
    with tempfile.TemporaryDirectory() as folder:
        toy = Path(folder) / "toy.py"
        toy.write_text(TOY)
        ways = {
            BARE: lambda: run_child([sys.executable, "-c", ""]),
            "toy": lambda: run_child([sys.executable, str(toy), "--help"]),
        }
        for name in names:
            words = [sys.executable, "-m", "dancecli", *([name] if name else []), "--help"]
            ways[f"dance {name}".strip()] = lambda words=words: run_child(words, cwd=folder)
        found = take_turns(ways, asked.rounds)
    measured, rows, bars = {"toy": figures(middle(found["toy"]))}, [], []
    rows.append(("toy", f"{1000 * middle(found['toy']).cpu_s:.0f}", spread(found["toy"]), "1.00"))
    worst = ("", 0.0)
    for name, costs in found.items():
        if name in ("toy", BARE):
            continue
        ratio = times_as_fast(costs, found["toy"])
        measured[name] = {"times the toy": round(ratio, 3), **figures(middle(costs))}
        rows.append((name, f"{1000 * middle(costs).cpu_s:.0f}", spread(costs), f"{ratio:.2f}"))
        if name == "dance":
            bars.append(Bar(f"dance --help: at most {BAR} times the toy", f"{ratio:.2f}", ratio <= BAR))
        else:
            worst = max(worst, (name, ratio), key=lambda pair: pair[1])
    what = f"every other command: at most {COMMAND_BAR} times ({worst[0]} is slowest)"
    bars.append(Bar(what, f"{worst[1]:.2f}", worst[1] <= COMMAND_BAR))
    bare, toy = (1000 * middle(found[name]).cpu_s for name in (BARE, "toy"))
    floor = f"Python alone takes {bare:.0f} ms to start and end, the toy {toy:.0f} ms"
    return tell("startup", measured, bars, ("--help", "CPU ms", "spread", "times the toy"), rows, floor=floor)


if __name__ == "__main__":
    raise SystemExit(main())
