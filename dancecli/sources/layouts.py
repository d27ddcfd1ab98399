"""What the file names of known datasets tell: label, group, source video and times.

* Kinetics: `<video id>_<start>_<end>`, see `sources.local`.
* Let's Dance: `<video id>_<minutes and seconds>`, see `sources.letsdance`.
* UCF-101: `v_<class>_g<group>_c<clip>`; the clips of a group are cut from one video.
* HMDB51: `<source>_<class>_<visible parts>_<camera motion>_np<people>_<viewpoint>_<quality>_<number>`;
  the source is a film or a video.
* AIST: `g<genre>_s<situation>_c<camera>_d<dancer>..._m<music>_ch<choreography>`; up to nine cameras
  show one performance; `s<situation>_c<camera>_v<variation>` for showcases, cyphers and battles.
* ActivityNet: `v_<video id>`, whole videos.

A name proves nothing: a Kinetics or Let's Dance form is believed only where the id looks as YouTube draws
one, is among many that do, or stands before times as crawlers pad them, and the file is about as long as
its name says. `salsa_class_003` and `VID20240114_103000_103009` have the form, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from dancecli.sources import letsdance
from dancecli.sources.local import EXACT_YOUTUBE_ID, parse_clip_name


class Layout(StrEnum):
    """How the files of a dataset are named."""

    KINETICS = "kinetics"
    UCF101 = "ucf101"
    HMDB51 = "hmdb51"
    AIST = "aist"
    LETSDANCE = "letsdance"
    ACTIVITYNET = "activitynet"
    PLAIN = "plain"


AIST_GENRES = {
    "BR": "break",
    "PO": "pop",
    "LO": "lock",
    "MH": "middle hip-hop",
    "LH": "la style hip-hop",
    "HO": "house",
    "WA": "waack",
    "KR": "krump",
    "JS": "street jazz",
    "JB": "ballet jazz",
}
# A crawled clip may be cut short by its video's end, and a copied stream starts at a key frame.
SHORTEST_SHARE, LONGEST_SHARE = 0.5, 1.5
_GRACE_MS = 500
# Words and numbers as people write them: names of eleven characters have one to three, of a hundred ids of
# YouTube ninety-seven have more, and all but one have capitals and small letters.
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_MOST_WORDS = 3
# Times in seconds as crawlers pad them, below eight hours; six digits before them are a date.
_CRAWLED = re.compile(r"(?!.{0,5}\d{6}).{11}_0[0-2]\d{4}_0[0-2]\d{4}")
_UCF101 = re.compile(r"v_(?P<label>[A-Za-z0-9]+)_(?P<group>g\d{2,3})_c\d{2,3}")
_HMDB51 = re.compile(
    r"(?P<name>.+)_[fhlu]_(?:cm|nm)_np\d+_(?:ba|fr|le|ri)_(?:goo|med|bad)_\d+", re.IGNORECASE
)
_AIST = re.compile(
    r"g(?P<genre>[A-Z]{2})_s[A-Z]{2}_c(?:\d{2}|All)(?P<dancers>(?:_d\d{2})+)_m[A-Z]{2}\d(?:_ch\d{2})?"
)
_AIST_SHOW = re.compile(r"(?P<situation>s(?:SH|CY|BT))_c(?:\d{2}|All)(?:_d\d{2})*_(?P<variation>v\d+)")
_ACTIVITYNET = re.compile(r"v_(?P<video_id>[A-Za-z0-9_-]{11})")


@dataclass(frozen=True, slots=True)
class NamedFile:
    """What a file's name tells.

    Attributes:
        layout: the form that was believed.
        video_id: of the source video; empty where the name does not tell.
        start_ms: where it begins in that video.
        end_ms: where it ends by its name; 0 where the name does not tell.
        labels: names of its class, the likeliest first.
        groups: kinds and names of what it must stay together with.
    """

    layout: Layout
    video_id: str = ""
    start_ms: int = 0
    end_ms: int = 0
    labels: tuple[str, ...] = ()
    groups: tuple[tuple[str, str], ...] = ()


def read_name(stem: str, layout: Layout, folders: tuple[str, ...] = ()) -> NamedFile | None:
    """Read a file's name as one layout has it.

    Args:
        stem: the name without its suffix.
        layout: the layout.
        folders: names of the folders above; HMDB51's names need the class to find their source.

    Returns:
        What the name tells; None if it is not in that form.
    """
    if layout is Layout.HMDB51:
        match = _HMDB51.fullmatch(stem)
        return _hmdb51(match["name"], folders) if match else None
    return _READERS[layout](stem)


def are_downloads(stems: Iterable[str]) -> bool:
    """Tell whether most of the ids that names may give look drawn, so that the others are ids as well."""
    named = (read_name(stem, layout) for stem in stems for layout in (Layout.KINETICS, Layout.LETSDANCE))
    ids = {one.video_id for one in named if one is not None and EXACT_YOUTUBE_ID.fullmatch(one.video_id)}
    return 2 * sum(map(_looks_drawn, ids)) > len(ids)


def detect_name(
    stem: str, folders: tuple[str, ...], length_ms: int, *, among_downloads: bool = False
) -> NamedFile:
    """Read a file's name in the form that its name, and its length, fit.

    Args:
        stem: the name without its suffix.
        folders: names of the folders above.
        length_ms: of the file; 0 if it cannot be told.
        among_downloads: see `are_downloads`.
    """

    def is_id(text: str) -> bool:
        exact = EXACT_YOUTUBE_ID.fullmatch(text) is not None
        return (exact and (among_downloads or _looks_drawn(text))) or _CRAWLED.fullmatch(stem) is not None

    for layout in (Layout.UCF101, Layout.AIST, Layout.HMDB51):
        found = read_name(stem, layout, folders)
        if found is not None:
            return found
    kinetics = read_name(stem, Layout.KINETICS)
    if kinetics is not None and is_id(kinetics.video_id):
        if not length_ms or fits(length_ms, kinetics.end_ms - kinetics.start_ms):
            return kinetics
        # Not that clip, but perhaps of that video.
        return NamedFile(Layout.PLAIN, groups=_youtube_group(kinetics.video_id))
    dance = read_name(stem, Layout.LETSDANCE)
    if dance is not None and is_id(dance.video_id):
        if 0 < length_ms <= 1000 * letsdance.LONGEST_S + _GRACE_MS:
            return dance
        return NamedFile(Layout.PLAIN, groups=_youtube_group(dance.video_id))
    return NamedFile(Layout.PLAIN, groups=_youtube_group(stem.removeprefix("v_")))


def fits(length_ms: int, named_ms: int) -> bool:
    """Tell whether a file is about as long as its name says."""
    if abs(length_ms - named_ms) <= _GRACE_MS:
        return True
    return SHORTEST_SHARE * named_ms <= length_ms <= LONGEST_SHARE * named_ms


def _looks_drawn(video_id: str) -> bool:
    """Tell whether an id is one of a site by its look: no words, no date, no number of a camera's."""
    mixed = video_id not in (video_id.lower(), video_id.upper())
    return mixed and len(_WORD.findall(video_id)) > _MOST_WORDS


def _kinetics(stem: str) -> NamedFile | None:
    times = parse_clip_name(stem)
    return NamedFile(Layout.KINETICS, *times) if times else None


def _letsdance(stem: str) -> NamedFile | None:
    parsed = letsdance.parse_name(stem)
    return NamedFile(Layout.LETSDANCE, *parsed) if parsed else None


def _ucf101(stem: str) -> NamedFile | None:
    match = _UCF101.fullmatch(stem)
    if match is None:
        return None
    # Groups are counted anew in every class.
    groups = (("source", f"{match['label']} {match['group']}"),)
    return NamedFile(Layout.UCF101, labels=(match["label"],), groups=groups)


def _activitynet(stem: str) -> NamedFile | None:
    match = _ACTIVITYNET.fullmatch(stem)
    return NamedFile(Layout.ACTIVITYNET, match["video_id"]) if match else None


def _plain(stem: str) -> NamedFile:
    return NamedFile(Layout.PLAIN, groups=_youtube_group(stem))


def _aist(stem: str) -> NamedFile | None:
    if show := _AIST_SHOW.fullmatch(stem):
        return NamedFile(Layout.AIST, groups=(("performance", f"{show['situation']} {show['variation']}"),))
    match = _AIST.fullmatch(stem)
    if match is None:
        return None
    genre = match["genre"]
    labels = (AIST_GENRES.get(genre, genre), f"g{genre}", genre)
    # All cameras, music and choreographies of a dancer: one person is not in two subsets. Each of the
    # 30 dancers of the basic and advanced dances has one genre.
    groups = tuple(("dancer", f"{genre} {dancer}") for dancer in match["dancers"].strip("_").split("_"))
    return NamedFile(Layout.AIST, labels=tuple(dict.fromkeys(labels)), groups=groups)


def _hmdb51(name: str, folders: tuple[str, ...]) -> NamedFile:
    """Part a name into source and class; the class is that of the folder, where the name ends with it."""
    for folder in reversed(folders):
        label = folder.replace(" ", "_")
        if name.lower().endswith(f"_{label.lower()}"):
            source = name[: -len(label) - 1]
            return NamedFile(Layout.HMDB51, labels=(label,), groups=(("film", source),))
    source, _, label = name.rpartition("_")
    return NamedFile(Layout.HMDB51, labels=(label,), groups=(("film", source or name),))


def _youtube_group(stem: str) -> tuple[tuple[str, str], ...]:
    return (("source", stem),) if EXACT_YOUTUBE_ID.fullmatch(stem) else ()


_READERS: dict[Layout, Callable[[str], NamedFile | None]] = {
    Layout.KINETICS: _kinetics,
    Layout.LETSDANCE: _letsdance,
    Layout.UCF101: _ucf101,
    Layout.AIST: _aist,
    Layout.ACTIVITYNET: _activitynet,
    Layout.PLAIN: _plain,
}
