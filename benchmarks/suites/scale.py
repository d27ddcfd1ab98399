"""The commands at 10,000 to 650,000 clips: processor time, peak memory, and how both grow.

    python -m benchmarks.suites.scale [--clips 10000,100000,650000] [--only split,audit]

A made-up workspace: every clip has a tiny file of its own, a row in the ledger, in the tables and in the
perceptual hashes, and one of 700 labels. Each command runs once, as a process of its own. Files that
are no videos cannot be decoded, so `dedup` has its hashes given, and `import` brings in five real ones.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.lib.compare import Bar, Cost, Plot, figures, run_again, run_child, tell

if TYPE_CHECKING:
    from dancecli.core.records import Clip, Outcome

NUM_LABELS, NUM_NEW, NUM_VERIFIED = 700, 1000, 10_000
MOST_MB = 1000
# Of seconds, with ten times the clips: n log n, and as much again for what a busy machine adds.
_SLACK = 2.0


def clip(i: int) -> Clip:
    """Make the record of the i-th clip; two clips per video."""
    from dancecli.core.records import Clip
    from dancecli.core.video_files import clip_path

    video, start_ms = f"v{i // 2:010d}", 10_000 * (i % 2)
    clip_id = f"{video}_{start_ms}_{start_ms + 10_000}"
    facts = (250, 25, 1, 340, 256, True, len(content(i)), hashlib.sha256(content(i)).hexdigest(), "youtube")
    where = (
        f"label {i // 2 % NUM_LABELS:03d}",
        "train",
        "kinetics700-2020",
        clip_path("clips", f"{clip_id}.mp4"),
    )
    return Clip(clip_id, video, start_ms, start_ms + 10_000, *where, *facts)


def content(i: int) -> bytes:
    """Give the bytes of the i-th clip's file."""
    return f"clip {i:010d}".encode()


def make_workspace(root: Path, n: int) -> None:
    """Write files, ledger, list, labels, segments and hashes; the table of clips is made from the ledger."""
    from dancecli.core.records import ClipHashes, Segment
    from dancecli.storage import ledger, tables
    from dancecli.storage.workspace import Workspace
    from dancecli.video.phash import MOST_FRAMES

    workspace = Workspace(root)
    labels = [f"label {i:03d}" for i in range(NUM_LABELS)]
    (root / "labels.txt").write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
    with (root / "list.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("label", "youtube_id", "time_start", "time_end", "split"))
        for one in map(clip, range(n)):
            path = root / one.path
            path.parent.mkdir(parents=True, exist_ok=True)
            rows.writerow((one.label, one.video_id, one.start_ms // 1000, one.end_ms // 1000, "train"))
    for i in range(n):
        (root / clip(i).path).write_bytes(content(i))
    with ledger.LedgerWriter(workspace.ledger) as writer:
        writer.record((outcome(one), one) for one in map(clip, range(n)))
    segments = (
        Segment(c.video_id, c.start_ms, c.end_ms, c.label, c.official_split, c.dataset)
        for c in map(clip, range(n))
    )
    tables.write(workspace.segments, Segment, segments, {"labels": json.dumps(labels)})
    dice = random.Random(0)

    def hashes() -> Iterator[ClipHashes]:
        for one in map(clip, range(n)):
            words = (dice.randbytes(32), dice.randbytes(32), *(dice.randbytes(8 * MOST_FRAMES) for _ in "fc"))
            yield ClipHashes(one.clip_id, one.sha256, *words)

    tables.write(workspace.hashes, ClipHashes, hashes())


def outcome(one: Clip) -> Outcome:
    """Make the row that says that a clip is done."""
    from dancecli.core.records import Outcome, OutcomeClass
    from dancecli.storage import ledger

    return Outcome(
        one.clip_id, one.video_id, OutcomeClass.DONE, "ok", "", 1, ledger.utc_now(), 9, "url-template"
    )


def make_films(folder: Path) -> None:
    """Write five short films, each with other bytes."""
    from dancecli.video.ffmpeg import run_ffmpeg

    folder.mkdir(parents=True)
    for i in range(5):
        picture = f"testsrc2=size=64x48:rate=25:duration=1,hue=h={60 * i}"
        run_ffmpeg(["-f", "lavfi", "-i", picture, str(folder / f"film{i:07d}_000000_000001.mp4")])


def child(part: str, root: Path, n: int) -> None:
    """Do one part that is no command."""
    from dancecli.core.records import Clip
    from dancecli.dataset.clips import rebuild_clips
    from dancecli.dataset.quality.verify import StoredFile, check_files
    from dancecli.storage import ledger, tables
    from dancecli.storage.workspace import Workspace

    workspace = Workspace(root)
    if part == "make":
        make_workspace(root, n)
    elif part == "films":
        make_films(root / "films" / "label 001")
    elif part == "new":
        with ledger.LedgerWriter(workspace.ledger) as writer:
            some = range(0, n, max(1, n // NUM_NEW))
            writer.record((outcome(one), one) for one in map(clip, some))
    elif part == "table":
        rebuild_clips(workspace)
    elif part == "verify":
        names = ("clip_id", "path", "num_bytes", "sha256")
        rows = tables.read_columns(workspace.clips, Clip, names)
        files = (StoredFile(*row) for row in islice(rows, NUM_VERIFIED))
        faulty = [file.path for file, fault in check_files(root, files) if fault]
        if faulty:
            raise SystemExit(f"{len(faulty)} files are faulty, first {faulty[0]}")


def parts_of(root: Path, n: int) -> dict[str, Callable[[], Cost]]:
    """Give the measured parts, in their order."""

    def dance(*words: str) -> Callable[[], Cost]:
        command = [sys.executable, "-m", "dancecli", *words, "--workspace", str(root), "--json"]
        return lambda: run_child(command, stderr=subprocess.DEVNULL)

    def own(part: str) -> Callable[[], Cost]:
        return lambda: run_again(__file__, "--child", part, root, n)

    lists = ("--annotations", str(root / "list.csv"), "--labels", str(root / "labels.txt"))
    return {
        "table of clips, made anew": own("table"),
        f"table of clips, {NUM_NEW:,} rows later": own("table"),
        "fetch, nothing left": dance(
            "fetch", *lists, "--url-template", "http://127.0.0.1:9/{video_id}", "--rate", "0"
        ),
        "import of 5 films": dance("import", str(root / "films"), "--link"),
        "dedup, hashes given": dance("dedup"),
        "split --stratify": dance("split", "--stratify", "--name", "big"),
        "annotate": dance("annotate"),
        "stats": dance("stats"),
        "audit": dance("audit"),
        f"verify, {NUM_VERIFIED:,} files": own("verify"),
        "export of lists": dance("export", "--format", "lists"),
        "status": dance("status"),
    }


def measure(n: int, only: list[str]) -> dict[str, Any]:
    """Make a workspace of n clips and run every part in it once."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "space"
        root.mkdir()
        for part in ("make", "films"):
            run_again(__file__, "--child", part, root, n)
        found: dict[str, Any] = {"clips": n}
        for name, run in parts_of(root, n).items():
            if "later" in name:
                run_again(__file__, "--child", "new", root, n)
            if not only or "anew" in name or name.split(" ")[0].strip(",") in only:
                found[name] = figures(run())
                print(f"{n:,} clips, {name}: {found[name]}", file=sys.stderr, flush=True)
        return found


def bars_of(found: list[dict[str, Any]]) -> list[Bar]:
    """Hold memory against its bar, and growth against n log n."""
    bars = []
    for name in (name for name in found[-1] if name != "clips"):
        peak = found[-1][name]["peak_mb"]
        bars.append(Bar(f"{name}, {found[-1]['clips']:,} clips", f"{peak:.0f} MB", peak < MOST_MB))
        for few, many in pairwise(found):
            ratio = many[name]["cpu_s"] / few[name]["cpu_s"]
            n, m = few["clips"], many["clips"]
            most = _SLACK * m * math.log(m) / (n * math.log(n))
            bars.append(Bar(f"{name}, {n:,} to {m:,}", f"x {ratio:.1f}", ratio <= most))
    return bars


def main() -> int:
    """Measure, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clips", default="10000,100000,650000")
    parser.add_argument("--only", default="")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        child(asked.child[0], Path(asked.child[1]), int(asked.child[2]))
        return 0
    sizes = [1000, 5000] if asked.quick else [*map(int, asked.clips.split(","))]
    found = [measure(n, [word for word in asked.only.split(",") if word]) for n in sizes]
    names = [name for name in found[-1] if name != "clips"]
    rows = [
        (name, *(f"{one[name]['cpu_s']:.1f} / {one[name]['peak_mb']:.0f}" for one in found)) for name in names
    ]
    columns = ("CPU, s / peak, MB", *(f"{one['clips']:,} clips" for one in found))
    plot = Plot(
        "scale",
        "clips",
        "processor time, s",
        {name: [(one["clips"], one[name]["cpu_s"]) for one in found] for name in names},
    )
    return tell("scale", found, bars_of(found), columns, rows, plots=[plot])


if __name__ == "__main__":
    sys.exit(main())
