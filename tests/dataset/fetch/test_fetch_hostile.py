"""A hostile video site: every route has its expected outcome in one table, and one fetch meets all."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import pytest
from helpers.numbered_video import X264, make_video, numbers

from dancecli.core.hashing import sha256_file
from dancecli.core.progress import Progress, Reporter
from dancecli.core.records import Clip
from dancecli.dataset.fetch.fetch import FetchResult, fetch
from dancecli.dataset.fetch.settings import FetchSettings
from dancecli.demo.video_site import Fault, VideoSite
from dancecli.engine.rate_limit import BreakerSettings
from dancecli.storage import ledger, tables
from dancecli.storage.workspace import Workspace
from dancecli.video.decode import validate

SECONDS = 6
FASTSTART = (*X264, "-movflags", "+faststart")
VP9 = ("-c:v", "libvpx-vp9", "-cpu-used", "8", "-deadline", "realtime", "-c:a", "libopus")
AV1 = ("-c:v", "libsvtav1", "-preset", "12", "-svtav1-params", "lp=1", "-c:a", "libopus")
OPEN_GOP = (
    "-c:v",
    "libx264",
    "-x264-params",
    "open-gop=1:keyint=60:bframes=3:b-adapt=0:ref=4:scenecut=0",
    "-pix_fmt",
    "yuv420p",
)
# Of twenty frames the first five stay, so that one is shown for fifteen.
THINNED = ("-vf", "select='lt(mod(n,20),5)'", "-fps_mode", "passthrough")
Maker = Callable[[Path], Path]


def source_video(**wanted: object) -> Maker:
    """Make a film with these properties; see `make_film`."""
    return lambda path: make_video(path, SECONDS, **wanted)  # type: ignore[arg-type]


def content(text: bytes) -> Maker:
    def make(path: Path) -> Path:
        path.write_bytes(text)
        return path

    return make


def zeroed_tail(path: Path) -> Path:
    make_video(path, SECONDS, codec=FASTSTART)
    whole = path.read_bytes()
    keep = len(whole) // 2
    path.write_bytes(whole[:keep] + bytes(len(whole) - keep))
    return path


def zeroed_tail_webm(path: Path) -> Path:
    make_video(path, SECONDS, codec=VP9)
    whole = path.read_bytes()
    keep = len(whole) // 2
    path.write_bytes(whole[:keep] + bytes(len(whole) - keep))
    return path


def rotated(path: Path) -> Path:
    import subprocess

    from dancecli.video.ffmpeg import find_ffmpeg

    upright = make_video(path.with_name(f"upright-{path.name}"), SECONDS)
    turn = [str(find_ffmpeg()), "-v", "error", "-y", "-display_rotation", "90", "-i", str(upright)]
    subprocess.run([*turn, "-c", "copy", str(path)], check=True)
    return path


plain = source_video(codec=FASTSTART)


@dataclass(frozen=True)
class Route:
    """What the site does with one video, and what is to become of its segments.

    Attributes:
        expected: `<class> <reason>` of each segment, a regular expression.
        segments: in seconds.
        fps, shape, turns: of the clips that are done, and how their pictures are turned.
        attempts: rows in the ledger.
    """

    expected: Sequence[str]
    faults: Sequence[Fault] = ()
    make: Maker = plain
    suffix: str = ".mp4"
    segments: Sequence[tuple[float, float]] = ((2, 4),)
    fps: Fraction = Fraction(25)
    shape: tuple[int, int] = (342, 256)
    turns: int = 0
    attempts: int = 1
    shown: Callable[[int], int] = lambda number: number


OK = ("done ok",)
ROUTES = {
    # What the server says.
    "http-403": Route(("transient http-403",), [Fault(status=403)], attempts=3),
    "http-404": Route(("permanent http-404",), [Fault(status=404)]),
    "http-410": Route(("permanent http-410",), [Fault(status=410)]),
    "http-429": Route(("session http-429",), [Fault(status=429)], attempts=3),
    "http-429-once": Route(OK, [Fault(status=429, times=1)], attempts=2),
    "http-429-retry-after": Route(OK, [Fault(status=429, times=1, retry_after="1")], attempts=2),
    "http-503-retry-after": Route(OK, [Fault(status=503, times=1, retry_after="1")], attempts=2),
    "http-500-then-200": Route(OK, [Fault(status=500, times=2)], attempts=3),
    "http-500": Route(("transient http-500",), [Fault(status=500)], attempts=3),
    "html": Route(("transient not-a-video",), [Fault(html=True)], attempts=3),
    "html-bot-check": Route(OK, [Fault(html=True, times=1, text="unusual traffic")], attempts=2),
    # How the transfer ends.
    "stall": Route(("transient timeout",), [Fault(stall_at=0.5)], attempts=3),
    "stall-once": Route(OK, [Fault(stall_at=0.5, times=1)]),
    "cut-at-50": Route(("transient truncated",), [Fault(cut_at=0.5)], attempts=3),
    "cut-at-90": Route(("transient truncated",), [Fault(cut_at=0.9)], attempts=3),
    "cut-at-99": Route(("transient truncated",), [Fault(cut_at=0.99)], attempts=3),
    "cut-once": Route(OK, [Fault(cut_at=0.5, times=1)]),
    "cut-once-no-ranges": Route(OK, [Fault(cut_at=0.5, times=1), Fault(ranges=False)]),
    "no-ranges": Route(OK, [Fault(ranges=False)]),
    # Whether yt-dlp keeps the last, partial block depends on the size of its blocks, and that on time.
    "length-too-large": Route((r"transient (http-416|truncated)",), [Fault(length_factor=2)], attempts=3),
    "length-too-small": Route(
        ("done ok", "corrupt broken"), [Fault(length_factor=0.7)], segments=((0, 1), (4, 6))
    ),
    "length-too-small-index-at-end": Route(
        ("corrupt unreadable",), [Fault(length_factor=0.7)], make=source_video(codec=X264)
    ),
    "http-403-in-the-middle": Route(
        ("transient http-403",), [Fault(cut_at=0.5, times=1), Fault(status=403, after=1)], attempts=3
    ),
    # What the file is.
    "audio-only": Route(
        ("corrupt no-picture",),
        make=source_video(filters=("-map", "1:a"), codec=("-c:a", "aac", "-b:a", "64k")),
    ),
    "empty": Route(("transient http-416",), make=content(b""), attempts=3),
    "noise": Route(("corrupt unreadable",), make=content(b"\1\2\3" * 9999)),
    "zeroed-tail": Route(("done ok", "corrupt broken"), make=zeroed_tail, segments=((0, 1), (4, 6))),
    # ffmpeg reads its index from the end, complains, and exits with 0.
    "zeroed-tail-webm": Route(
        ("done ok", "corrupt broken"), make=zeroed_tail_webm, segments=((0, 1), (4, 6)), suffix=".webm"
    ),
    "variable-rate": Route(
        OK,
        make=source_video(filters=THINNED, audio=False),
        segments=((1.52, 4),),
        shown=lambda number: number - max(0, number % 20 - 4),
    ),
    "open-gop": Route(OK, make=source_video(codec=OPEN_GOP), segments=((3, 5),)),
    "silent": Route(OK, make=source_video(audio=False)),
    "portrait": Route(OK, make=source_video(size=(120, 160)), shape=(256, 342)),
    "rotation-flag": Route(OK, make=rotated, shape=(256, 342), turns=-1),
    "1-fps": Route(OK, make=source_video(fps=1), fps=Fraction(1)),
    "120-fps": Route(OK, make=source_video(fps=120), fps=Fraction(120)),
    "29.97-fps": Route(OK, make=source_video(fps=Fraction(30000, 1001)), fps=Fraction(30000, 1001)),
    "odd-size": Route(
        OK,
        make=source_video(size=(161, 121), codec=("-c:v", "libx264", "-pix_fmt", "yuv444p")),
        shape=(340, 256),
    ),
    "ten-bit": Route(OK, make=source_video(codec=("-c:v", "libx264", "-pix_fmt", "yuv420p10le"))),
    "vp9-webm": Route(OK, make=source_video(codec=VP9), suffix=".webm"),
    "av1-webm": Route(OK, make=source_video(codec=AV1), suffix=".webm"),
    # What is asked for.
    "two-segments": Route(("done ok",) * 2, segments=((0, 2), (4, 6))),
    "overlapping": Route(("done ok",) * 2, segments=((1, 4), (2, 5))),
    "past-the-end": Route(("done ok", "source-short too-short"), segments=((4, 6), (5, 8))),
    "-begins-with-a-dash": Route(OK),
    "--exec": Route(OK),
}


@dataclass
class Met:
    """The site after one fetch of all routes."""

    workspace: Workspace
    result: FetchResult
    site: VideoSite
    clips: dict[str, Clip]
    seen: list[Progress]
    seconds: float


@pytest.fixture(scope="module")
def met(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Met]:
    folder = tmp_path_factory.mktemp("hostile")
    rows = ["label,youtube_id,time_start,time_end,split"]
    paths: dict[str, Path] = {}
    for name, route in ROUTES.items():
        paths[key(name)] = route.make(folder / f"film{len(paths)}{route.suffix}")
        rows += (f"zumba,{key(name)},{start},{end},train" for start, end in route.segments)
    (folder / "list.csv").write_text("\n".join(rows))
    workspace = Workspace(folder / "space")
    seen: list[Progress] = []
    with VideoSite(paths.get, {key(name): route.faults for name, route in ROUTES.items()}) as site:
        settings = FetchSettings(
            annotations=(folder / "list.csv",),
            url_template=site.url_template,
            workers=4,
            backoff_s=0.1,
            min_free_gb=0,
            socket_timeout_s=2,
            # One video here that always says 429 is not the whole site.
            breaker=BreakerSettings(streak=1000),
        )
        started = time.monotonic()
        result = fetch(workspace, settings, Reporter(seen.append))
        clips = {clip.clip_id: clip for clip in tables.read(workspace.clips, Clip)}
        yield Met(workspace, result, site, clips, seen, time.monotonic() - started)


def key(name: str) -> str:
    """A route's name as a video id."""
    return name.replace(".", "_")


def ids(name: str) -> list[str]:
    return [f"{key(name)}_{round(start * 1000)}_{round(end * 1000)}" for start, end in ROUTES[name].segments]


@pytest.mark.parametrize("name", ROUTES)
def test_outcome(met: Met, name: str) -> None:
    route = ROUTES[name]
    standing = ledger.latest(met.workspace.root)
    found = [f"{standing[i].outcome} {standing[i].reason}" for i in ids(name)]
    history = [outcome.text for outcome in ledger.history(met.workspace.root, ids(name)[-1])]
    assert len(found) == len(route.expected)
    assert all(map(re.fullmatch, route.expected, found)), (found, history)
    assert standing[ids(name)[-1]].attempts == route.attempts, history


@pytest.mark.parametrize("name", [name for name, route in ROUTES.items() if "done ok" in route.expected])
def test_what_is_published_is_what_was_asked_for(met: Met, name: str) -> None:
    route = ROUTES[name]
    for clip_id, (start, end), expected in zip(ids(name), route.segments, route.expected, strict=True):
        if expected != "done ok":
            continue
        clip = met.clips[clip_id]
        path = met.workspace.root / clip.path
        assert (clip.width, clip.height) == route.shape
        facts = validate(path, round((end - start) * 1000))
        assert facts.fps == route.fps
        first = round(start * route.fps)
        asked = range(first, first + round((end - start) * route.fps))
        assert numbers(path, route.turns) == [route.shown(number) for number in asked]
        assert (clip.num_bytes, clip.sha256) == (path.stat().st_size, sha256_file(path))


def test_nothing_else_is_published(met: Met) -> None:
    done = {
        clip_id
        for name, route in ROUTES.items()
        for clip_id, expected in zip(ids(name), route.expected, strict=True)
        if expected == "done ok"
    }
    assert {path.stem for path in (met.workspace.root / "clips").rglob("*.mp4")} == done == set(met.clips)
    assert not met.workspace.temp.exists()


def test_every_row_is_counted_once(met: Met) -> None:
    asked = sum(len(route.segments) for route in ROUTES.values())
    assert met.result.num_asked == asked
    assert met.seen[-1].done == asked
    assert met.result.outcomes["pending"] == 0


def test_a_sound_source_is_asked_for_once(met: Met) -> None:
    asked = [request.video_id for request in met.site.log]
    for name, route in ROUTES.items():
        if not route.faults and set(route.expected) == {"done ok"}:
            assert asked.count(key(name)) == 1, name
