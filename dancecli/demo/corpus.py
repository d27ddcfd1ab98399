"""The demo's corpus: source videos longer than their clips, and an annotation list in Kinetics format.

Everything depends on the settings alone: the same seed gives the same ids, segments and frames on
any machine.
"""

from __future__ import annotations

import base64
import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from dancecli.core.errors import DanceError, InputError, MediaError
from dancecli.core.hashing import keyed_digest
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import Subset
from dancecli.demo.choreography import STYLES
from dancecli.demo.encoder import SUFFIX, write_video
from dancecli.demo.keyed_random import KeyedRandom
from dancecli.demo.renderer import VideoSpec
from dancecli.demo.video_site import Fault
from dancecli.engine.local import LocalPool
from dancecli.engine.worker import Acquire
from dancecli.storage.files import atomic_file

# Change it with the renderer: new ids keep an old folder from being taken for a new corpus.
EDITION = 1
CLIP_S = 3
# For one video, which takes seconds.
_DEADLINE_S = 600.0
# A style's own place in training and validation, another style's in test.
INDEPENDENT, PLANTED, MISLEADING = "independent", "planted", "misleading"
# Shares of a style's videos of a list that says so itself; one video at least.
_VAL, _TEST = 0.1, 0.2
LIST = "annotations.csv"
HEADER = ("label", "youtube_id", "time_start", "time_end", "split")

DEAD = Fault(status=404)
CUT_SHORT = Fault(cut_at=0.6)  # the site hangs up at 60 % of every download


@dataclass(frozen=True)
class CorpusSettings:
    """Size and kind of the corpus.

    Attributes:
        videos_per_style: source videos per style; each has two or three clips.
        seed: random seed of the corpus.
        width, height: of the videos, in pixels, even.
        fps: frames per second.
        faulty: add three faulty videos: unavailable, cut off during transfer, too short.
        styles: what is danced, names in `choreography.STYLES`.
        wrong_labels: share of the videos that the list gives another style than theirs.
        backgrounds: `independent` of the style; `planted`: each style has one floor, wall and screen;
            `misleading`: so in train and val, and in test always those of another style. The subsets
            stand in the list, for `dance split --keep-official`.
        boards: put boards before the dancer that hide half of every limb.
    """

    videos_per_style: int = 20
    seed: int = 0
    width: int = 320
    height: int = 240
    fps: int = 25
    faulty: bool = True
    styles: tuple[str, ...] = tuple(STYLES)
    wrong_labels: float = 0.0
    backgrounds: str = INDEPENDENT
    boards: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.wrong_labels < 1:
            raise InputError(f"share of wrong labels is {self.wrong_labels}; it must be from 0 up to below 1")
        if self.backgrounds not in (INDEPENDENT, PLANTED, MISLEADING):
            raise InputError(
                f"unknown backgrounds {self.backgrounds!r}", "independent, planted or misleading"
            )
        if self.videos_per_style < 1:
            raise InputError(f"videos per style is {self.videos_per_style}; it must be at least 1")
        if self.width < 64 or self.height < 64 or self.width % 2 or self.height % 2:
            raise InputError(f"frame size {self.width}x{self.height} must be even and at least 64x64")


@dataclass(frozen=True)
class SourceVideo:
    """One video of the corpus.

    Attributes:
        video_id: 11 characters, as on YouTube.
        spec: what is rendered in it.
        starts_s: start times of its clips of `CLIP_S` seconds.
        fault: the fault of the site when it is requested, or None.
        subset: its subset in the list.
        label: its style in the list.
    """

    video_id: str
    spec: VideoSpec
    starts_s: tuple[int, ...]
    fault: Fault | None = None
    subset: Subset = Subset.TRAIN
    label: str = ""

    @property
    def is_mislabeled(self) -> bool:
        """Whether the list gives another style than that of the dance."""
        return self.label != self.spec.style


@dataclass(frozen=True)
class Corpus:
    """A corpus on disk.

    Attributes:
        videos: the folder that holds `<video id>.mp4`.
        annotations: the list, CSV with Kinetics-700's columns.
        faults: by video id, for `VideoSite`.
        rows: of the list.
        missing: rows whose clip is unavailable because of a fault.
        rendered: videos that were rendered now; the others existed.
        mislabeled: videos whose label in the list is wrong.
    """

    videos: Path
    annotations: Path
    rows: int
    missing: int
    rendered: int
    mislabeled: int
    faults: Mapping[str, Fault] = field(default_factory=dict)


def plan(settings: CorpusSettings) -> tuple[SourceVideo, ...]:
    """List the videos of a corpus, in the order of their ids."""
    styles = settings.styles
    videos = [_source(settings, s, number) for s in styles for number in range(settings.videos_per_style)]
    videos = _mislabel(videos, settings)
    if settings.faulty:
        dead, cut, short = (_source(settings, style, settings.videos_per_style) for style in styles[:3])
        videos += [
            replace(dead, fault=DEAD),
            replace(cut, fault=CUT_SHORT),
            # It ends a second before its last segment.
            replace(short, spec=replace(short.spec, seconds=short.starts_s[-1] + CLIP_S - 1.0)),
        ]
    return tuple(sorted(videos, key=lambda video: video.video_id))


def make_corpus(folder: Path, settings: CorpusSettings, reporter: Reporter = SILENT) -> Corpus:
    """Render the missing videos on every core, and write the annotation list.

    Args:
        folder: where `videos/` and `annotations.csv` are written.
        settings: size of the corpus.
        reporter: receives the progress, one unit per video.

    Raises:
        MediaError: ffmpeg is missing or failed.
    """
    planned = plan(settings)
    videos = folder / "videos"
    videos.mkdir(parents=True, exist_ok=True)
    for stale in videos.glob(f"*{SUFFIX}"):
        stale.unlink()
    paths = {video.video_id: videos / f"{video.video_id}.mp4" for video in planned if video.fault != DEAD}
    wanted = [v for v in planned if v.video_id in paths and not paths[v.video_id].exists()]
    _render([(video.spec, paths[video.video_id]) for video in wanted], len(paths), reporter)
    annotations = folder / LIST
    rows = _write_list(annotations, planned)
    return Corpus(
        videos=videos,
        annotations=annotations,
        rows=rows,
        missing=sum(_missing(video) for video in planned),
        rendered=len(wanted),
        mislabeled=sum(video.is_mislabeled for video in planned),
        faults={video.video_id: video.fault for video in planned if video.fault},
    )


def _missing(video: SourceVideo) -> int:
    if video.fault:
        return len(video.starts_s)
    return sum(start + CLIP_S > video.spec.seconds for start in video.starts_s)


def _render(specs: list[tuple[VideoSpec, Path]], total: int, reporter: Reporter) -> None:
    done = total - len(specs)
    reporter.progress(done, total, "videos")
    with LocalPool[tuple[VideoSpec, Path], tuple[str, str]](_draw, os.cpu_count() or 1, _DEADLINE_S) as pool:
        for finished in pool.run(specs):
            if finished is None:
                continue
            path = finished.job[1]
            if finished.lost:
                raise MediaError(
                    f"{path} could not be rendered: {finished.detail}", "rerun the command: it resumes"
                )
            if finished.result:
                raise MediaError(*finished.result)
            done += 1
            reporter.progress(done, total, "videos")


def _draw(spec_and_path: tuple[VideoSpec, Path], _: Acquire) -> tuple[str, str] | None:
    """Render one video in a worker; return message and hint if that failed."""
    try:
        write_video(*spec_and_path)
    except DanceError as error:
        return error.message, error.hint
    return None


def _write_list(path: Path, videos: tuple[SourceVideo, ...]) -> int:
    rows = [
        (video.label, video.video_id, start, start + CLIP_S, video.subset.value)
        for video in videos
        for start in video.starts_s
    ]
    with atomic_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(rows)
    return len(rows)


def listed_ids(path: Path) -> set[str]:
    """Read the ids of the videos in a list that `make_corpus` wrote."""
    with path.open(newline="", encoding="utf-8") as file:
        return {row["youtube_id"] for row in csv.DictReader(file)}


def _source(settings: CorpusSettings, style: str, number: int) -> SourceVideo:
    key = f"{EDITION}/{settings.seed}/{settings.width}x{settings.height}@{settings.fps}/{style}"
    if settings.backgrounds != INDEPENDENT or settings.boards:
        key += f"/{settings.backgrounds}/{settings.boards}"
    if settings.backgrounds != INDEPENDENT:
        key += "/screens"
    if settings.wrong_labels:
        key += f"/wrong {settings.wrong_labels}"
    video_id = base64.urlsafe_b64encode(keyed_digest(key, str(number))).decode()[:11]
    if number % 8 == 1:
        # YouTube has such ids, and a command line takes them for a flag.
        video_id = "-" + video_id[1:]
    rng = KeyedRandom(video_id)
    seconds = 10 + int(4 * rng.random("seconds"))
    count = 2 if rng.chance("two clips", 0.5) else 3
    spare = seconds - count * CLIP_S
    gaps = sorted(int((spare + 1) * rng.random(f"gap {k}")) for k in range(count))
    starts = tuple(gap + k * CLIP_S for k, gap in enumerate(gaps))
    subset = _subset(settings, number)
    place, boards = _place(settings, style, number, subset), settings.boards
    spec = VideoSpec(video_id, style, seconds, settings.fps, settings.width, settings.height, place, boards)
    return SourceVideo(video_id, spec, starts, subset=subset, label=style)


def _mislabel(videos: list[SourceVideo], settings: CorpusSettings) -> list[SourceVideo]:
    """Give the share of wrong labels to the videos that draw the lowest numbers."""
    drawn = {video.video_id: KeyedRandom(video.video_id).random("wrong label") for video in videos}
    lowest = sorted(drawn, key=lambda video_id: drawn[video_id])
    wrong = set(lowest[: round(settings.wrong_labels * len(videos))])

    def other(video: SourceVideo) -> str:
        others = [style for style in settings.styles if style != video.spec.style]
        return KeyedRandom(video.video_id).choice("label", others)

    return [replace(video, label=other(video)) if video.video_id in wrong else video for video in videos]


def _subset(settings: CorpusSettings, number: int) -> Subset:
    """Divide a style's videos where test differs from train; else all are listed as train, as in Kinetics."""
    if settings.backgrounds != MISLEADING:
        return Subset.TRAIN
    test, val = (max(1, round(share * settings.videos_per_style)) for share in (_TEST, _VAL))
    first_test = settings.videos_per_style - test
    if number >= first_test:
        return Subset.TEST
    return Subset.VAL if number >= first_test - val else Subset.TRAIN


def _place(settings: CorpusSettings, style: str, number: int, subset: Subset) -> str:
    if settings.backgrounds == INDEPENDENT:
        return ""
    styles = settings.styles
    owner = styles.index(style)
    if settings.backgrounds == MISLEADING and subset == Subset.TEST:
        owner += 1 + number % (len(styles) - 1)
    return f"{settings.seed}/place of {styles[owner % len(styles)]}"
