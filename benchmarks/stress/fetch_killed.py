"""`dance fetch` killed at random moments and continued, and in four shards side by side.

Two of the measurements of `fetch_faults.py`, which says how to run them; these two run the
command as a user does, in processes of its own.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.lib.fetch_workload import Bar, Row, make_film, none_of, start_fetch, write_list
from dancecli.core.hashing import sha256_file
from dancecli.core.records import Clip, OutcomeClass, clip_id_of
from dancecli.demo.video_site import Fault, VideoSite
from dancecli.storage import ledger
from dancecli.storage.tables import read
from dancecli.storage.workspace import Workspace

# An id that begins with a dash is one that careless tools take for an option.
IDS = [f"-v{i:03}" for i in range(50)]
ROWS: list[Row] = [(video_id, 0, 1) for video_id in IDS] + [(video_id, 2, 4) for video_id in IDS[:10]]
GONE, CUT, SHAKY = IDS[40:43]
FAULTS = {GONE: Fault(status=404), CUT: Fault(length_factor=0.5), SHAKY: Fault(status=500, times=1)}
FATES = {GONE: OutcomeClass.PERMANENT, CUT: OutcomeClass.CORRUPT}
# From before the first clip to about the time that the whole fetch takes.
KILLED_AFTER_S = (1.0, 14.0)
NUM_SHARDS = 4


def name_of(row: Row) -> str:
    """Give the clip id of a row."""
    video_id, start_s, end_s = row
    return clip_id_of(video_id, start_s * 1000, end_s * 1000)


EXPECTED = {name_of(row): FATES.get(row[0], OutcomeClass.DONE) for row in ROWS}
CLIPS_OF = {video_id: {name_of(row) for row in ROWS if row[0] == video_id} for video_id in IDS}


@dataclass
class Tally:
    """What was seen over all kills.

    Attributes:
        settled_at: for each kill, the clips that had their final outcome by then.
        asked_again: requests for videos all of whose clips had it.
        wrong: clips whose outcome is not the one of their video, or that were done twice.
        broken: published files that are not what the manifest says.
        left: files that no finished fetch has.
    """

    settled_at: list[int] = field(default_factory=list)
    asked_again: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def kill(kills: int, seed: int) -> list[Bar]:
    """Kill fetches of 60 clips with SIGKILL, each continued by the same command to its end."""
    chance = random.Random(seed)
    tally = Tally()
    fetches = 0
    with TemporaryDirectory() as folder:
        base = Path(folder)
        film = make_film(base / "film.mp4", 6)
        listing = write_list(base / "list.csv", ROWS)
        while len(tally.settled_at) < kills:
            fetches += 1
            workspace = Workspace(base / f"workspace{fetches}")
            workspace.root.mkdir()
            with VideoSite(lambda video_id: film if video_id in CLIPS_OF else None, FAULTS) as site:
                run_to_the_end(site, listing, workspace, tally, kills, chance)
            inspect(workspace, tally)
            print(f"{len(tally.settled_at)} kills in {fetches} fetches", flush=True)
    settled = tally.settled_at
    spread = f"{min(settled)}, {statistics.median(settled):g}, {max(settled)}" if settled else "-"
    print(f"clips of {len(ROWS)} settled at the kill, at least, median, at most: {spread}")
    return [
        none_of("clips without their one outcome", tally.wrong),
        none_of("published files that are not as recorded", tally.broken),
        none_of("files left over", tally.left),
        none_of("settled videos asked for again", tally.asked_again),
    ]


def run_to_the_end(
    site: VideoSite, listing: Path, workspace: Workspace, tally: Tally, kills: int, chance: random.Random
) -> None:
    """Run one fetch again and again: killed at a random moment, or at its end before that."""
    killed = True
    settled: set[str] = set()
    while killed:
        seen = len(site.log)
        wait_s = chance.uniform(*KILLED_AFTER_S) if len(tally.settled_at) < kills else None
        process = start_fetch(listing, site.url_template, workspace.root, "--workers", "3")
        killed = ends_by_kill(process, wait_s)
        asked = {request.video_id for request in site.log[seen:]}
        tally.asked_again += sorted(video_id for video_id in asked if CLIPS_OF[video_id] <= settled)
        settled = settled_clips(workspace)
        if killed:
            tally.settled_at.append(len(settled))


def ends_by_kill(process: subprocess.Popen[bytes], wait_s: float | None) -> bool:
    """Wait for a fetch, and kill it if it is still at work then.

    Raises:
        SystemExit: it ended by itself, and not with the status for "some clips are missing".
    """
    try:
        _, said = process.communicate(timeout=wait_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        # Its workers see the closed pipe and leave.
        time.sleep(0.1)
        return True
    if process.returncode != 3:
        raise SystemExit(f"fetch ended with status {process.returncode}: {said.decode()[-500:]}")
    return False


def settled_clips(workspace: Workspace) -> set[str]:
    """Clips that are published, recorded or not, or are known not to be had."""
    final = {
        clip_id for clip_id, known in ledger.latest(workspace.root).items() if known.outcome in FATES.values()
    }
    return final | {path.stem for path in (workspace.root / "clips").rglob("*.mp4")}


def inspect(workspace: Workspace, tally: Tally) -> None:
    """Look through the workspace of a fetch that has come to its end."""
    clips = read(workspace.clips, Clip)
    published = {clip.clip_id for clip in clips}
    standing = {clip_id: known.outcome for clip_id, known in ledger.latest(workspace.root).items()}
    for clip_id, expected in EXPECTED.items():
        done = expected is OutcomeClass.DONE
        told = [attempt.outcome for attempt in ledger.history(workspace.root, clip_id)]
        once = told.count(OutcomeClass.DONE) == done and (clip_id in published) == done
        if standing.get(clip_id) is not expected or not once:
            tally.wrong.append(clip_id)
    tally.wrong += sorted((standing.keys() | published) - EXPECTED.keys())
    tally.broken += [clip.clip_id for clip in clips if sha256_file(workspace.root / clip.path) != clip.sha256]
    known = {workspace.root / clip.path for clip in clips} | {
        workspace.segments,
        workspace.clips,
        workspace.settings,
    }
    tally.left += [
        str(path.relative_to(workspace.root))
        for path in workspace.root.rglob("*")
        if path.is_file()
        and path not in known
        and path.parent.name != ".locks"
        and not path.name.startswith(workspace.ledger.name)
    ]


def shards(videos: int) -> list[Bar]:
    """Fetch a list in one run, then in four shards side by side, and compare all bytes."""
    ids = [f"v{i}" for i in range(videos)]
    rows: list[Row] = [(video_id, k, k + 1) for i, video_id in enumerate(ids) for k in range(1 + i % 2)]
    with TemporaryDirectory() as folder:
        base = Path(folder)
        film = make_film(base / "film.mp4", 3)
        listing = write_list(base / "list.csv", rows)
        one, four = base / "one", base / "four"
        one.mkdir()
        four.mkdir()
        with VideoSite(lambda _: film, {ids[3]: Fault(status=404)}) as site:
            ends_by_kill(start_fetch(listing, site.url_template, one, "--workers", "1"), None)
            asked = len(site.log)
            running = [
                start_fetch(
                    listing, site.url_template, four, "--workers", "1", "--shard", f"{i}/{NUM_SHARDS}"
                )
                for i in range(1, NUM_SHARDS + 1)
            ]
            said = [process.communicate()[1].decode()[-500:] for process in running]
            asked_sharded = len(site.log) - asked
        if any(process.returncode not in (0, 3) for process in running):
            raise SystemExit(f"a shard failed: {said}")
        clips, sharded = contents(one / "clips"), contents(four / "clips")
        tables, tables_sharded = contents(one / "manifests"), contents(four / "manifests")
    differing = sorted(name for name in clips.keys() | sharded if clips.get(name) != sharded.get(name))
    changed = sorted(
        name for name in tables.keys() | tables_sharded if tables.get(name) != tables_sharded.get(name)
    )
    missing = sum(1 for row in rows if row[0] == ids[3])
    return [
        Bar("clips of one run", f"{len(clips)} of {len(rows) - missing}", len(clips) == len(rows) - missing),
        none_of(f"clips that differ with {NUM_SHARDS} shards", differing),
        none_of("manifests that differ", changed),
        Bar("requests, one run and shards", f"{asked}, {asked_sharded}", asked == asked_sharded),
    ]


def contents(folder: Path) -> dict[str, str]:
    """Hash all files of a folder, by name."""
    return {path.name: sha256_file(path) for path in folder.rglob("*") if path.is_file()}
