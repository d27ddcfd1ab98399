"""The timeline of a video as files that annotation tools and players open: ELAN, WebVTT and CSV."""

from __future__ import annotations

import csv
import html
import io
import mimetypes
import re
from collections.abc import Mapping, MutableMapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from dancecli.core.hashing import sha256_text
from dancecli.core.records import RECORDING_COLUMN, RECORDING_NOTE, TIER
from dancecli.core.text import shown
from dancecli.storage.files import atomic_file

_ELAN_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
# What XML 1.0 cannot hold: a label of a foreign list may.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_DATE = re.compile(r' DATE="[^"]*"')
_PROBABILITY = re.compile(r"\s\d{1,3} %$")


class Written(NamedTuple):
    """What became of a timeline.

    Attributes:
        files: those that hold it, or what a person made of it.
        changed: those of them, or of an earlier timeline, that a person changed, and which stay as they are.
        beside: the files beside the changed ones, which hold what was predicted without the changes.
    """

    files: tuple[Path, ...]
    changed: tuple[Path, ...]
    beside: tuple[Path, ...]


def write_timeline(
    path: Path,
    video: Path,
    segments: Sequence[Mapping[str, Any]],
    made: datetime,
    known: MutableMapping[str, str],
) -> Written:
    """Write `<path>.eaf`, `<path>.vtt` and `<path>.csv`.

    Where a person changed one of them, none of the changed files is written; another timeline than the one
    that was changed goes to `<path>.new.eaf` and so on.

    Args:
        path: where, without a suffix.
        video: the video, which ELAN opens beside the annotations.
        segments: what is seen when: `start_s`, `end_s`, `label` and `probability`, in order; a stretch that
            a person labeled has the probability None.
        made: the time that ELAN shows as the date of the file.
        known: checksums of the files as they were written, by name; those of this timeline are added.
    """
    texts = {
        ".eaf": elan(video, segments, made),
        ".vtt": webvtt(video, segments),
        ".csv": table(video, segments),
    }
    marks = {suffix: checksum(text) for suffix, text in texts.items()}
    stem, number, changed, beside = path, 1, list[Path](), list[Path]()
    while True:
        files = {suffix: stem.with_name(stem.name + suffix) for suffix in texts}
        found = {suffix for suffix, file in files.items() if _is_changed(file, known, marks[suffix])}
        changed += [files[suffix] for suffix in texts if suffix in found]
        beside += [file for suffix, file in files.items() if found and suffix not in found]
        if all(known.get(files[suffix].name) == marks[suffix] for suffix in found):
            break
        stem = path.with_name(f"{path.name}.new" + (f"-{number}" if number > 1 else ""))
        number += 1
    for suffix, file in files.items():
        if suffix not in found:
            with atomic_file(file) as out:
                out.write(texts[suffix])
            known[file.name] = marks[suffix]
    # Of an earlier timeline some may have been deleted.
    there = [file for file in beside if file.exists()]
    return Written(tuple(files.values()), tuple(changed), tuple(there))


def _is_changed(file: Path, known: Mapping[str, str], mark: str) -> bool:
    """Tell whether a file is neither as it was written nor as it would be: a kill may leave it unrecorded."""
    try:
        there = checksum(file.read_bytes().decode(errors="replace"))
    except FileNotFoundError:
        return False
    return there not in (known.get(file.name), mark)


def checksum(text: str) -> str:
    """Return the SHA-256 of a timeline, whenever it was made."""
    return sha256_text(_DATE.sub("", text, count=1))


def elan(video: Path, segments: Sequence[Mapping[str, Any]], made: datetime) -> str:
    """Format an ELAN annotation file (EAF 3.0) with one tier, `dance`."""
    ElementTree.register_namespace("xsi", _XSI)
    root = ElementTree.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "dance",
            "DATE": made.isoformat(timespec="seconds"),
            "FORMAT": "3.0",
            "VERSION": "3.0",
            f"{{{_XSI}}}noNamespaceSchemaLocation": _ELAN_SCHEMA,
        },
    )
    header = ElementTree.SubElement(root, "HEADER", {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"})
    kind = mimetypes.guess_type(video.name)[0] or "video/mp4"
    ElementTree.SubElement(
        header, "MEDIA_DESCRIPTOR", {"MEDIA_URL": video.absolute().as_uri(), "MIME_TYPE": kind}
    )
    last = ElementTree.SubElement(header, "PROPERTY", {"NAME": "lastUsedAnnotationId"})
    last.text = str(len(segments))
    order = ElementTree.SubElement(root, "TIME_ORDER")
    tier = ElementTree.SubElement(root, "TIER", {"LINGUISTIC_TYPE_REF": "style", "TIER_ID": TIER})
    for number, segment in enumerate(segments, 1):
        times = [f"ts{2 * number - 1}", f"ts{2 * number}"]
        for name, key in zip(times, ("start_s", "end_s"), strict=True):
            milliseconds = str(round(1000 * segment[key]))
            ElementTree.SubElement(order, "TIME_SLOT", {"TIME_SLOT_ID": name, "TIME_VALUE": milliseconds})
        place = {"ANNOTATION_ID": f"a{number}", "TIME_SLOT_REF1": times[0], "TIME_SLOT_REF2": times[1]}
        holder = ElementTree.SubElement(tier, "ANNOTATION")
        annotation = ElementTree.SubElement(holder, "ALIGNABLE_ANNOTATION", place)
        ElementTree.SubElement(annotation, "ANNOTATION_VALUE").text = _NO_XML.sub("\ufffd", segment["label"])
    ElementTree.SubElement(
        root,
        "LINGUISTIC_TYPE",
        {"GRAPHIC_REFERENCES": "false", "LINGUISTIC_TYPE_ID": "style", "TIME_ALIGNABLE": "true"},
    )
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, "unicode")}\n'


def webvtt(video: Path, segments: Sequence[Mapping[str, Any]]) -> str:
    """Format WebVTT: a note that names the recording, and a cue per segment, which players show."""
    cues = [
        f"{_time(s['start_s'])} --> {_time(s['end_s'])}\n{html.escape(_cue(s), quote=False)}\n"
        for s in segments
    ]
    # A note is one line here, and may not hold an arrow.
    note = f"{RECORDING_NOTE}{html.escape(shown(video.name), quote=False)}\n"
    return "\n".join(["WEBVTT\n", note, *cues])


def _cue(segment: Mapping[str, Any]) -> str:
    label, probability = " ".join(segment["label"].split()), segment["probability"]
    if probability is not None:
        return f"{label} {100 * probability:.0f} %"
    # Readers take a last percentage for a probability, so a label that ends with one gets another.
    return f"{label} 100 %" if _PROBABILITY.search(label) else label


def table(video: Path, segments: Sequence[Mapping[str, Any]]) -> str:
    """Format CSV: start_s, end_s, label and probability, set and unknown if asked for, and the recording."""
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    asked = [key for key in ("set", "unknown") if segments and key in segments[0]]
    rows.writerow(("start_s", "end_s", "label", "probability", *asked, RECORDING_COLUMN))
    for s in segments:
        read = {"set": "; ".join(s.get("set", ())), "unknown": "yes" if s.get("unknown") else "no"}
        values = (s["start_s"], s["end_s"], s["label"], s["probability"])
        rows.writerow((*values, *(read[key] for key in asked), shown(video.name)))
    return text.getvalue()


def _time(seconds: float) -> str:
    minutes, milliseconds = divmod(round(1000 * seconds), 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"
