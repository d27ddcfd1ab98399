"""Follow the people of a video from frame to frame.

A person's crop in a frame comes from the joints of the frame before. What starts a track is the person
detector, or without it the whole frame, which finds the main dancer alone. Presence is no proof that a
track is on a person: so a second track is started twice within the clip, and where the two do not meet,
the clip has no pose (`StartsDisagreeError`).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from dancecli.core.errors import MediaError
from dancecli.storage.pose_files import BLAZEPOSE, torso_px
from dancecli.video.pose.landmarks import PRESENCE, Crop, Look

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]
    Numbers = NDArray[np.float32]

# Joints within this share of the torso are in the same place.
SAME_TORSO = 0.2
# The detector is asked again after so many frames, for people who came later.
_DETECT_EVERY = 12
# Where a second start is tried, as shares of the clip; frames until it is compared, and compared.
_SECOND_STARTS = (1 / 8, 1 / 2)
_SETTLING, _COMPARED = 2, 4
_AGREEMENT = 0.5
# A passer-by, seen for less than this share of the main dancer's frames, is left out.
_SHORTEST_SHARE = 0.1
# Presence is no proof: what was followed for fewer frames in a row is dropped (a third of a second).
_SHORTEST_RUN = 5
_REPORTED_EVERY = 10


class NobodyFoundError(MediaError):
    """Nobody was found in a clip."""


class StartsDisagreeError(MediaError):
    """Two tracks with different starts do not meet."""


class Network(Protocol):
    """Finds the joints of one person in a crop."""

    def look(self, picture: Picture, crop: Crop) -> Look:
        """Find a person in a crop of an RGB picture."""


class Detector(Protocol):
    """Finds people."""

    def find(self, picture: Picture) -> list[Crop]:
        """Find people in an RGB picture, the most certain first."""


@dataclass(frozen=True)
class Tracks:
    """The people that were followed, the main dancer first.

    Attributes:
        keypoints: float32 [person, frame, 33, 2], in pixels.
        scores: float32 [person, frame, 33]; 0 where the person was not found.
        agreement: share of the joints on which a second start agrees, 0 to 1.
    """

    keypoints: Numbers
    scores: Numbers
    agreement: float


@dataclass
class _Track:
    """A person: what was found, by frame, and where to look next; None while the person is lost."""

    crop: Crop | None
    looks: dict[int, Look] = field(default_factory=dict)

    @property
    def last_crop(self) -> Crop:
        return next(reversed(self.looks.values())).next_crop


@dataclass
class _Check:
    """A second track, and its agreement with the first, frame by frame."""

    start_at: int
    track: _Track | None = None
    shares: list[float] = field(default_factory=list)


class Tracker:
    """Follows people through one clip.

    Args:
        network: finds joints.
        detector: finds people; None to start with the whole frame, and follow one.
        people: how many to follow at most.
    """

    def __init__(self, network: Network, detector: Detector | None, people: int) -> None:
        self._network, self._detector = network, detector
        self._people = people if detector else 1
        self._tracks: list[_Track] = []

    def follow(self, pictures: Iterable[Picture], num_frames: int) -> Generator[int, None, Tracks]:
        """Follow the people through all frames.

        Args:
            pictures: RGB.
            num_frames: how many there are.

        Yields:
            How many frames were done since the last time.

        Raises:
            NobodyFoundError: nobody was found.
            StartsDisagreeError: a second start led elsewhere.
        """
        checks = [_Check(int(share * num_frames)) for share in _SECOND_STARTS]
        for i, picture in enumerate(pictures):
            self._advance(i, picture)
            if i % _DETECT_EVERY == 0 or not any(track.crop for track in self._tracks):
                self._start(i, picture)
            self._part_twins(i)
            for check in checks:
                self._compare(check, i, picture)
            if (i + 1) % _REPORTED_EVERY == 0:
                yield _REPORTED_EVERY
        yield num_frames % _REPORTED_EVERY
        return self._result(num_frames, [share for check in checks for share in check.shares])

    def _advance(self, i: int, picture: Picture) -> None:
        for track in self._tracks:
            self._step(track, i, picture)

    def _step(self, track: _Track, i: int, picture: Picture) -> None:
        if track.crop is None:
            return
        look = self._network.look(picture, track.crop)
        track.crop = look.next_crop if _holds(look, picture) else None
        if track.crop is not None:
            track.looks[i] = look

    def _start(self, i: int, picture: Picture) -> None:
        """Start a track, or resume a lost one, for each person that is not followed yet."""
        for crop in self._fresh_crops(picture):
            if any(track.crop and _near(track.crop, crop) for track in self._tracks):
                continue
            lost = [track for track in self._tracks if track.crop is None]
            if not lost and len(self._tracks) >= self._people:
                return
            look = self._first_look(picture, crop)
            if look is None:
                continue
            resumed = min(lost, key=lambda track: _distance(track.last_crop, crop), default=None)
            has_place = len(self._tracks) < self._people
            if resumed is None or (has_place and not _near(resumed.last_crop, crop)):
                resumed = _Track(None)
                self._tracks.append(resumed)
            resumed.looks[i], resumed.crop = look, look.next_crop

    def _fresh_crops(self, picture: Picture) -> list[Crop]:
        if self._detector is not None:
            return self._detector.find(picture)
        followed = any(track.crop for track in self._tracks)
        return [] if followed else [Crop.whole(picture)]

    def _first_look(self, picture: Picture, crop: Crop) -> Look | None:
        """Look twice, the second time at the crop that the first look gives."""
        for _ in range(2):
            look = self._network.look(picture, crop)
            if not _holds(look, picture):
                return None
            crop = look.next_crop
        return look

    def _part_twins(self, i: int) -> None:
        """End the younger of two tracks that have come to be on one person."""
        live = sorted((t for t in self._tracks if i in t.looks), key=lambda t: -len(t.looks))
        for n, older in enumerate(live):
            for younger in live[n + 1 :]:
                if i in younger.looks and _same_share(older.looks[i], younger.looks[i]) > _AGREEMENT:
                    del younger.looks[i]
                    younger.crop = None
        self._tracks = [track for track in self._tracks if track.looks]

    def _compare(self, check: _Check, i: int, picture: Picture) -> None:
        """Start the second track when it is time, follow it, and compare it with the first."""
        if i < check.start_at or len(check.shares) >= _COMPARED or not self._tracks:
            return
        if check.track is None:
            main = self._tracks[0]
            if i not in main.looks:
                return
            crops = [Crop.whole(picture)] if self._detector is None else self._detector.find(picture)
            crop = min(crops, key=lambda c: _distance(c, main.last_crop), default=None)
            look = self._first_look(picture, crop) if crop else None
            check.track = _Track(look.next_crop, {i: look}) if look else None
            return
        self._step(check.track, i, picture)
        if len(check.track.looks) > _SETTLING or check.track.crop is None:
            second = check.track.looks.get(i)
            firsts = [track.looks[i] for track in self._tracks if i in track.looks]
            if firsts:
                check.shares.append(max(_same_share(f, second) for f in firsts) if second else 0.0)

    def _result(self, num_frames: int, shares: list[float]) -> Tracks:
        import numpy as np

        for track in self._tracks:
            track.looks = _long_runs(track.looks, min(_SHORTEST_RUN, num_frames))
        tracks = [track for track in self._tracks if track.looks]
        if not tracks:
            raise NobodyFoundError("nobody was found in it")
        if not shares:
            most = max(len(track.looks) for track in tracks)
            raise StartsDisagreeError(
                f"somebody was found in {most} of {num_frames} frames, too few to compare with a second start"
            )
        agreement = sum(shares) / len(shares)
        if agreement < _AGREEMENT:
            raise StartsDisagreeError(
                f"two starts disagree: {agreement:.0%} of the joints are in the same place"
            )
        ordered = sorted(tracks, key=_weight, reverse=True)
        kept = [t for t in ordered if len(t.looks) >= _SHORTEST_SHARE * len(ordered[0].looks)]
        keypoints = np.zeros((len(kept), num_frames, len(BLAZEPOSE), 2), np.float32)
        scores = np.zeros(keypoints.shape[:3], np.float32)
        for person, track in enumerate(kept):
            for i, look in track.looks.items():
                keypoints[person, i], scores[person, i] = look.joints, look.scores
        return Tracks(keypoints, scores, agreement)


def _long_runs(looks: dict[int, Look], shortest: int) -> dict[int, Look]:
    """Keep the looks of frames that follow on each other, at least so many in a row."""
    kept: dict[int, Look] = {}
    run: dict[int, Look] = {}
    for i, look in looks.items():
        if i - 1 not in run:
            run = {}
        run[i] = look
        if len(run) >= shortest:
            kept |= run
    return kept


def _weight(track: _Track) -> float:
    """Size of a person, summed over the frames."""
    return sum(look.next_crop.side for look in track.looks.values())


def _holds(look: Look, picture: Picture) -> bool:
    """Whether a look found a person, at a size and a place that a person in the picture can have."""
    height, width = picture.shape[:2]
    crop = look.next_crop
    inside = -crop.side < crop.x < width + crop.side and -crop.side < crop.y < height + crop.side
    return look.presence >= PRESENCE and inside and 16 <= crop.side <= 4 * max(height, width)


def _distance(one: Crop, two: Crop) -> float:
    distance: float = ((one.x - two.x) ** 2 + (one.y - two.y) ** 2) ** 0.5
    return distance


def _near(one: Crop, two: Crop) -> bool:
    """Whether two crops are around one person: dance partners stand closer than a crop's side."""
    return _distance(one, two) < 0.2 * max(one.side, two.side)


def _same_share(one: Look, two: Look) -> float:
    """Share of the joints that are within 0.2 torso lengths of each other."""
    import numpy as np

    torso = float(torso_px(one.joints.astype(np.float32), BLAZEPOSE))
    return float((np.linalg.norm(one.joints - two.joints, axis=1) <= SAME_TORSO * torso).mean())
