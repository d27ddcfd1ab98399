"""All measurements, one after the other, and the page of them: `make bench`, `make bench-quick`.

    python -m benchmarks.run [--quick] [--only NAME...] [--page docs/explanation/benchmarks.md]

Each is a script of its own, which prints its document; here they are run and laid out. One that fails,
or takes longer than it may, is told as such, and the others go on. With `--quick` each shows only that
it works, and no page is written; of the whole, a bar that is missed is no failure, it is told. With
`--only` the sections of the others stay as they were; so do those of what takes longer than all else
together and is run when it is named: `--only training-full`. Figures that are worse than on the page before
by more than rounds differ are listed there. The status is 1 if there are any, or a script failed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.lib.earlier import earlier_bars, earlier_section
from benchmarks.lib.plots import draw
from benchmarks.lib.regressions import worse_than_before
from benchmarks.lib.sample_videos import KEPT
from dancecli.video.ffmpeg import find_ffmpeg

HERE = Path(__file__).parent
# Sizes with which the whole takes less than twenty minutes on two cores.
SCRIPTS: dict[str, tuple[str, list[str]]] = {
    "startup": ("Start-up", ["--rounds", "4"]),
    "cut": ("Cutting clips", ["--rounds", "2"]),
    "fetch": ("Overhead of a fetch over ffmpeg", ["--clips", "24", "--rounds", "3"]),
    "augment": ("Augmentation", ["--draw", "2", "--rounds", "3"]),
    "verify": ("Validation", ["--clips", "800", "--rounds", "3"]),
    "engine": ("Workers and dispatcher", ["--clips", "12", "--rounds", "3"]),
    "cluster": ("Ray", ["--clips", "12", "--rounds", "2"]),
    "manifests": ("Annotation rows", ["--rounds", "2"]),
    "dedup": (
        "Near-duplicates",
        ["--films", "12", "--clips", "10000,100000,650000", "--command-to", "100000"],
    ),
    "flow": ("Optical flow", ["--draw", "2", "--rounds", "1", "--methods", "dis", "farneback"]),
    "decode": ("Reading clips for training", ["--draw", "2", "--views", "4", "--rounds", "3"]),
    "backbones": ("Backbones on the CPU", ["--rounds", "2"]),
    "training": ("Training, by epochs", ["--clips", "20", "--freeze", "4", "--crop", "160"]),
    "training-full": ("Training, ten epochs", ["--clips", "40", "--freeze", "4", "--epochs", "10"]),
    "training-slowfast": (
        "Training, ten epochs of SlowFast",
        ["--network", "slowfast", "--clips", "16", "--crop", "160", "--freeze", "4", "--epochs", "10"],
    ),
    "training-mvit": (
        "Training, ten epochs of MViTv2",
        ["--network", "mvit-small", "--clips", "16", "--crop", "160", "--freeze", "4", "--epochs", "10"],
    ),
    "training-videomae": (
        "Training, ten epochs of VideoMAE",
        ["--network", "videomae-base", "--clips", "16", "--crop", "160", "--freeze", "4", "--epochs", "10"],
    ),
    "training-part": (
        "Training, last stage",
        ["--clips", "33", "--freeze", "3", "--epochs", "10"],
    ),
    "tune": ("Hyperparameter search of heads", ["--rounds", "1", "--steps", "10", "--trials", "40"]),
    "scale": ("The commands at scale", ["--clips", "10000,100000"]),
    "report": ("The report", ["--sizes", "1000x19", "35000x700", "--rounds", "1"]),
}
# Half an hour together: only when named.
NETWORKS = ("training-full", "training-slowfast", "training-mvit", "training-videomae")
LONG = ("backbones", *NETWORKS, "training-part", "scale")
PACKAGES = (
    "dancecli",
    "torch",
    "mmaction2",
    "decord",
    "av",
    "imageio-ffmpeg",
    "opencv-contrib-python",
    "numpy",
    "pyarrow",
    "ray",
)
# A script that takes longer is ended: it hangs, or its sizes are for another machine.
LONGEST_S = 900.0
_NONE_WORSE = "None is worse than on the page before by more than rounds differ."


def module_of(name: str) -> str:
    """The module of a measurement: what follows a hyphen says with which sizes it is run."""
    return f"benchmarks.suites.{name.partition('-')[0]}"


def run(name: str, arguments: list[str], done: Path, films: str) -> dict[str, Any]:
    """Run one script; give its document, with its command and seconds, or with `failed`."""
    words = ["-m", module_of(name), *arguments]
    print(f"\npython {' '.join(words)}", file=sys.stderr)
    started_s = time.perf_counter()
    document: dict[str, Any] = {"failed": ""}
    try:
        ended = subprocess.run(
            [sys.executable, *words],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            cwd=HERE.parent,
            timeout=LONGEST_S * (4 if name in LONG else 1),
            env=os.environ | {KEPT: films},
        )
        # What libraries say on stdout comes before it.
        document |= json.loads(
            "{" + ended.stdout.rpartition("\n{\n")[2] if "\n{\n" in ended.stdout else ended.stdout
        )
    except subprocess.TimeoutExpired:
        document["failed"] = "did not end in its time"
    except json.JSONDecodeError:
        document["failed"] = f"ended with status {ended.returncode} and without a result"
    document |= {"command": f"python {' '.join(words)}", "seconds": round(time.perf_counter() - started_s, 1)}
    document["date"] = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    print(document["failed"] or f"{name}: {document['seconds']:.0f} s", file=sys.stderr)
    (done / f"{name}.json").write_text(json.dumps(document, indent=2), encoding="utf-8")
    return document


def quick(arguments: list[str]) -> list[str]:
    """Keep of a script's arguments what it measures, not its sizes."""
    return [*(arguments[:2] if "--network" in arguments else ()), "--quick"]


def page(documents: dict[str, dict[str, Any]], before: str, images: Path, worse: list[str]) -> str:
    """Lay the documents out as a page of the documentation, and draw its pictures.

    What has no document stays as the page before has it.
    """
    dates = sorted(document["date"] for document in documents.values())
    minutes = sum(document["seconds"] for document in documents.values()) / 60
    bars = [row for name in SCRIPTS for row in bar_rows(name, documents.get(name), before)]
    met = sum(row.endswith("| met |") for row in bars)
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`. Each measurement is compared with what one would use instead, on the same",
        "work, interleaved within one run; figures are medians, with the spread of the lowest and the",
        "highest round. Ratios mean more than seconds.",
        "",
        f"Measured {dates[0]} to {dates[-1]}, {minutes:.0f} minutes in all, "
        f"on {machine()}. {', '.join(f'{name} {_version(name)}' for name in PACKAGES)}; {_ffmpeg()}.",
        "",
        f"**{met} of {len(bars)} bars are met.**",
        "",
        "| | bar | measured | |",
        "|---|---|---|---|",
        *bars,
        "",
        *(worse or [_NONE_WORSE]),
        "",
    ]
    for name, (title, _) in SCRIPTS.items():
        if (
            found := section(name, documents[name], images)
            if name in documents
            else earlier_section(before, title)
        ):
            lines += ["", *found]
    by_hand = (HERE / "by_hand.md").read_text(encoding="utf-8")
    lines += ["", by_hand.rstrip()]
    return "\n".join(lines) + "\n"


def bar_rows(name: str, document: dict[str, Any] | None, before: str) -> list[str]:
    """Give the rows of a measurement in the table of bars."""
    title = SCRIPTS[name][0]
    if document is None:
        return earlier_bars(before, title)
    verdicts = {True: "met", False: "**missed**"}
    return [
        f"| {title} | {bar['what']} | {bar['figure']} | {verdicts[bar['met']]} |"
        for bar in document.get("bars", ())
    ]


def section(name: str, document: dict[str, Any], images: Path) -> list[str]:
    """Lay one document out."""
    script = str(import_module(module_of(name)).__doc__)
    about = " ".join(script.rsplit("\n\n", maxsplit=1)[-1].split())
    lines = [
        f"## {SCRIPTS[name][0]}",
        "",
        about,
        "",
        f"`{document['command']}`, {document['seconds']:.0f} s",
        "",
    ]
    if document["failed"]:
        return [*lines, f"It {document['failed']}."]
    columns = [column or " " for column in document["columns"]]
    lines += ["| " + " | ".join(columns) + " |", "|---" + "|--:" * (len(columns) - 1) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in document["rows"]]
    if document.get("floor"):
        lines += ["", f"Lower bound: {document['floor']}."]
    for plot in document.get("plots", ()):
        path = draw(plot, images)
        lines += ["", f"![{plot['y']} by {plot['x']}](../assets/images/{path.name})"]
    return lines


def machine() -> str:
    """Say what computer this is."""
    model = platform.processor() or platform.machine()
    memory = ""
    cpus = Path("/proc/cpuinfo")
    if cpus.exists():
        named = [
            line for line in cpus.read_text(encoding="utf-8").splitlines() if line.startswith("model name")
        ]
        model = named[0].partition(":")[2].strip() if named else model
        gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
        memory = f", {gigabytes:.0f} GB"
    return (
        f"{os.cpu_count()} cores of {model}{memory}, {platform.system()}, Python {platform.python_version()}"
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except ModuleNotFoundError:
        return "not installed"


def _ffmpeg() -> str:
    said = subprocess.run([str(find_ffmpeg()), "-version"], capture_output=True, text=True, check=True).stdout
    return said.partition(" Copyright")[0]


def main() -> int:
    """Run them, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, default=[n for n in SCRIPTS if n not in LONG])
    parser.add_argument("--page", type=Path, default=HERE.parent / "docs" / "explanation" / "benchmarks.md")
    asked = parser.parse_args()
    kept = HERE.parent / "build" / ("bench-quick" if asked.quick else "bench")
    kept.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as films:
        found = {
            name: run(name, quick(SCRIPTS[name][1]) if asked.quick else SCRIPTS[name][1], kept, films)
            for name in asked.only
        }
    seconds = ", ".join(f"{name} {document['seconds']:.0f}" for name, document in found.items())
    print(f"\n{sum(d['seconds'] for d in found.values()):.0f} s in all: {seconds}", file=sys.stderr)
    failed = [name for name, document in found.items() if document["failed"]]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    worse: list[str] = []
    if not asked.quick:
        before = asked.page.read_text(encoding="utf-8") if asked.page.exists() else ""
        bars = {SCRIPTS[name][0]: document.get("bars", []) for name, document in found.items()}
        if worse := [f"- {one}" for one in worse_than_before(before, bars)]:
            where = "" if machine() in before else ", which was measured on another machine"
            worse = [f"Worse than on the page before{where}, by more than rounds differ:", "", *worse]
        all_of = {
            name: json.loads((kept / f"{name}.json").read_text(encoding="utf-8"))
            for name in SCRIPTS
            if (kept / f"{name}.json").exists()
        }
        asked.page.write_text(
            page(all_of, before, HERE.parent / "docs" / "assets" / "images", worse), encoding="utf-8"
        )
        print("\n".join([*worse, f"written: {asked.page}"]), file=sys.stderr)
    return 1 if failed or worse else 0


if __name__ == "__main__":
    raise SystemExit(main())
