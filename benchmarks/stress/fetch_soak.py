"""One long `dance fetch` over many clips, part of them faulty: outcomes, and memory over time.

One of the measurements of `fetch_faults.py`, which says how to run it.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.lib.fetch_workload import Bar, counts, make_film, none_of, write_list
from dancecli.core.progress import Progress, Reporter
from dancecli.core.records import OutcomeClass, clip_id_of
from dancecli.dataset.fetch.fetch import fetch
from dancecli.dataset.fetch.settings import FetchSettings
from dancecli.demo.video_site import Fault, VideoSite
from dancecli.storage import ledger
from dancecli.storage.workspace import Workspace

# What stands beside a share of the videos, and what must then become of their clips.
SOAK_FAULTS = (
    (Fault(status=404), OutcomeClass.PERMANENT),
    (Fault(status=410), OutcomeClass.PERMANENT),
    (Fault(status=403), OutcomeClass.TRANSIENT),
    (Fault(html=True), OutcomeClass.TRANSIENT),
    (Fault(length_factor=0.5), OutcomeClass.CORRUPT),
    (Fault(status=500, times=1), OutcomeClass.DONE),
    (Fault(status=429, times=1), OutcomeClass.DONE),
    (Fault(cut_at=0.7, times=1), OutcomeClass.DONE),
    (Fault(stall_at=0.5, times=1), OutcomeClass.DONE),
)
FAULTY_SHARE = 0.15
FLAT = 1.05


@dataclass
class Watch:
    """A progress report that notes the memory of this process as the clips go by.

    Attributes:
        every: clips between two notes.
        curve: clips settled, and resident memory in MiB.
    """

    every: int
    curve: list[tuple[int, float]] = field(default_factory=list)

    def __call__(self, progress: Progress) -> None:
        """Note it, if it is time to."""
        if not self.curve or progress.done - self.curve[-1][0] >= self.every:
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
            self.curve.append((progress.done, pages * os.sysconf("SC_PAGESIZE") / 2**20))


def soak(clips: int, out: Path) -> list[Bar]:
    """Fetch many clips in one run, from a site in another process, so that memory is the fetch's."""
    ids = [f"v{i:05}" for i in range(clips)]
    chance = random.Random(5)
    faulty = {video_id: chance.choice(SOAK_FAULTS) for video_id in ids if chance.random() < FAULTY_SHARE}
    watch = Watch(every=max(1, clips // 100))
    ours, theirs = multiprocessing.Pipe()
    with TemporaryDirectory() as folder:
        base = Path(folder)
        film = make_film(base / "film.mp4", 2)
        faults = {video_id: fault for video_id, (fault, _) in faulty.items()}
        site = multiprocessing.Process(target=serve, args=(film, faults, theirs), daemon=True)
        site.start()
        settings = FetchSettings(
            annotations=(write_list(base / "list.csv", [(video_id, 0, 1) for video_id in ids]),),
            url_template=ours.recv(),
            workers=3,
            min_free_gb=0,
            backoff_s=0.5,
            socket_timeout_s=3,
        )
        cpu_before_s = time.process_time()
        result = fetch(Workspace(base / "workspace"), settings, Reporter(watch))
        cpu_s = time.process_time() - cpu_before_s
        standing = {name: known.outcome for name, known in ledger.latest(base / "workspace").items()}
        ours.send("close")
        site.join()
    print(
        f"{clips} clips, {len(faulty)} of them faulty, {result.seconds:.0f} s: {counts(result)}\n"
        f"dispatching takes {cpu_s / clips * 1000:.2f} ms of processor time a clip, "
        f"of {result.seconds / clips * 1000:.0f} wall ms"
    )
    return soak_bars(ids, {name: fate for name, (_, fate) in faulty.items()}, standing, watch.curve, out)


def serve(film: Path, faults: dict[str, Fault], pipe: Connection) -> None:
    """Be a site until told to close."""
    with VideoSite(lambda _: film, faults) as site:
        pipe.send(site.url_template)
        pipe.recv()


def soak_bars(
    ids: Sequence[str],
    fates: dict[str, OutcomeClass],
    standing: dict[str, OutcomeClass],
    curve: list[tuple[int, float]],
    out: Path,
) -> list[Bar]:
    """Evaluate a soak, and leave the curve of its memory as points and as a picture."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    out.mkdir(parents=True, exist_ok=True)
    (out / "soak.json").write_text(json.dumps({"clips_rss_mib": curve}) + "\n", encoding="utf-8")
    figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
    axes.plot(*zip(*curve, strict=True))
    top_mib = 1.2 * max(mib for _, mib in curve)
    axes.set(xlabel="clips settled", ylabel="resident memory, MiB", ylim=(0, top_mib))
    figure.savefig(out / "soak.png", dpi=100)
    print(f"{out / 'soak.png'}, {out / 'soak.json'}")
    expected = {clip_id_of(name, 0, 1000): fates.get(name, OutcomeClass.DONE) for name in ids}
    # The first tenth is left to what is imported and cached once.
    settled = [mib for clips, mib in curve if clips >= len(ids) / 10]
    growth = max(settled) / settled[0]
    return [
        Bar("clips with an outcome", f"{len(standing)} of {len(ids)}", len(standing) == len(ids)),
        none_of("of these, not that of their fault", (n for n in expected if standing.get(n) != expected[n])),
        Bar(
            f"memory after a tenth of the clips, largest of first below {FLAT}",
            f"{settled[0]:.1f} to {max(settled):.1f} MiB, {growth:.3f}",
            growth < FLAT,
        ),
    ]
