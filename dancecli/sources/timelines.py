"""Timelines of a recording, as people correct them: ELAN annotation files and WebVTT cues.

They say what is danced when, of one recording, and name it by its file.

Formats: ELAN Annotation Format 3.0 (Max Planck Institute for Psycholinguistics), WebVTT (W3C).
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import unquote
from xml.etree import ElementTree

from dancecli.core.csv_files import parse_csv, text_lines
from dancecli.core.errors import InputError
from dancecli.core.records import RECORDING_COLUMN, RECORDING_NOTE
from dancecli.core.video_files import recording_stem
from dancecli.sources.list_format import Unit, is_grouped, read_number

_ARROW = "-->"
_TAG = re.compile(r"<[^>]*>")
_SCHEME = re.compile(r"[a-z]{2,}:(?://)?", re.IGNORECASE)
_WHOLE = re.compile(r"-?[0-9]{1,12}")
# `dance predict` writes the probability behind the label.
_PROBABILITY = re.compile(r"\s+\d{1,3} %$")


@dataclass(frozen=True, slots=True)
class Stretch:
    """What is danced from one time to another.

    Attributes:
        place: its line, or what names it in the file.
        label: as it is written there; empty if there is none.
        start, end: milliseconds, or a time of day as text; empty if the file gives none.
        video: file name of the recording without its suffix; empty if the file does not name it.
        tier: the tier of ELAN that it is on; empty in other files.
    """

    place: int | str
    label: str
    start: float | str
    end: float | str
    video: str
    tier: str = ""

    @property
    def units(self) -> tuple[Unit, Unit]:
        """Seconds of a one in each time, for `read_times`."""
        start, end = (None if isinstance(time, str) else 0.001 for time in (self.start, self.end))
        return start, end


def is_elan(first: str, path: Path) -> bool:
    """Tell an ELAN file by its name or its first line."""
    return path.name.lower().removesuffix(".gz").endswith(".eaf") or "<ANNOTATION_DOCUMENT" in first


def is_webvtt(first: str) -> bool:
    """Tell a WebVTT file by its first line."""
    return first.split(None, 1)[:1] == ["WEBVTT"]


def read_stretches(text: str, path: Path) -> Iterator[Stretch]:
    """Read a timeline in any of the forms that `dance predict` writes: ELAN, WebVTT or CSV.

    Raises:
        InputError: it is none of them.
    """
    first = text.lstrip("\ufeff").partition("\n")[0]
    if is_elan(first, path):
        yield from read_elan(text.lstrip("\ufeff"), path)
    elif is_webvtt(first):
        yield from read_webvtt(iter(text_lines(text)[1:]), 1)
    else:
        yield from _read_table(text.lstrip("\ufeff"), path)


def _read_table(text: str, path: Path) -> Iterator[Stretch]:
    table = parse_csv(path, text)
    if not {"start_s", "end_s", "label"} <= set(table.columns):
        hint = "give an .eaf of ELAN, a .vtt, or a CSV file with the columns start_s, end_s and label"
        raise InputError.at(path, 1, "is no timeline", hint)
    for row in table.rows:
        start, end = (_from_seconds(row.cells[key]) for key in ("start_s", "end_s"))
        video = recording_stem(row.cells.get(RECORDING_COLUMN, ""))
        yield Stretch(row.line, row.cells["label"], start, end, video)


def _from_seconds(text: str) -> float | str:
    seconds = read_number(text)
    # What may be thousands stays as it is written, for `read_times` to see.
    return text if math.isnan(seconds) or is_grouped(text) else 1000 * seconds


def read_elan(text: str, path: Path) -> Iterator[Stretch]:
    """Give the annotations of all tiers that have times of their own, in the order of the file.

    Raises:
        InputError: it is not an ELAN file.
    """
    try:
        # Entities could make a small file fill the memory; ELAN writes none.
        if "<!DOCTYPE" in text:
            raise InputError.at(path, None, "has a document type, which no ELAN file has", "save it in ELAN")
        root = ElementTree.fromstring(text)  # noqa: S314 - without a document type there are no entities
    except (ElementTree.ParseError, ValueError) as error:
        raise InputError.at(path, None, f"is not XML ({error})", "save it again in ELAN") from None
    if root.tag != "ANNOTATION_DOCUMENT":
        raise InputError.at(path, None, f"is XML, but not of ELAN: it begins with <{root.tag[:40]}>")
    slots = {slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE", "") for slot in root.iter("TIME_SLOT")}
    video, offset_ms = _recording(root)
    for tier in root.iter("TIER"):
        for annotation in tier.iter("ALIGNABLE_ANNOTATION"):
            start, end = (slots.get(annotation.get(f"TIME_SLOT_REF{i}"), "") for i in (1, 2))
            label = " ".join((annotation.findtext("ANNOTATION_VALUE") or "").split())
            place = f"annotation {annotation.get('ANNOTATION_ID', '')}".strip()
            times = _milliseconds(start, offset_ms), _milliseconds(end, offset_ms)
            yield Stretch(place, label, *times, video, tier.get("TIER_ID", ""))


def read_webvtt(lines: Iterator[str], num_before: int) -> Iterator[Stretch]:
    """Give the cues of a WebVTT file, behind its first line; notes and styles are none.

    Every other line with an arrow begins one, whether or not there are times at it: `read_times` refuses
    what is none.

    Args:
        lines: behind the first one.
        num_before: lines before them.
    """
    cue: tuple[int, str, str] | None = None
    words, video = list[str](), ""
    for number, line in enumerate((*lines, ""), num_before + 1):
        # The words of a cue are none.
        is_note = cue is None and line.split(None, 1)[:1] == ["NOTE"]
        is_timed = _ARROW in line and not is_note
        if is_note and line.startswith(RECORDING_NOTE):
            video = recording_stem(html.unescape(line.removeprefix(RECORDING_NOTE).strip()))
        if cue and (is_timed or not line.strip()):
            place, start, end = cue
            yield Stretch(place, _PROBABILITY.sub("", " ".join(words)), start, end, video)
            cue = None
        if is_timed:
            start, _, rest = line.partition(_ARROW)
            # How players place the cue may follow its end.
            cue, words = (number, start.strip(), "".join(rest.split()[:1])), []
        elif line.strip():
            words.append(html.unescape(_TAG.sub("", line)).strip())


def _milliseconds(text: str, offset_ms: int) -> float | str:
    return int(text) + offset_ms if text.isdecimal() else text


def _recording(root: ElementTree.Element) -> tuple[str, int]:
    """Return the name of the first medium that the file was made with, and where in it the time begins."""
    for medium in root.iter("MEDIA_DESCRIPTOR"):
        address = medium.get("MEDIA_URL") or medium.get("RELATIVE_MEDIA_URL") or ""
        # Not split as an address: a file's name may hold # and ?, which ELAN leaves as they are.
        name = unquote(_SCHEME.sub("", address))
        if name:
            # ELAN on Windows writes file:///C:/folder/name.
            origin = medium.get("TIME_ORIGIN", "")
            offset_ms = int(origin) if _WHOLE.fullmatch(origin) else 0
            return PurePosixPath(PureWindowsPath(name).as_posix()).stem, offset_ms
    return "", 0
