"""The log of augmented clips: one line for each that was made or failed, as soon as it was.

`manifests/copies.jsonl`; the last line about a clip counts. It holds what the manifest of clips
has no column for: the parent's checksum and the encoding, which tell whether a file is current.
A line that cannot be read, such as one that a killed process left half-written, is skipped: its
clip is made again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from dancecli.core.records import Clip
from dancecli.storage.files import atomic_file, json_lines
from dancecli.storage.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Logged:
    """An augmented clip that was made.

    Attributes:
        clip: its record, with the label that its parent had then.
        parent_sha256: of the file that it was made from.
        encoding: how it was encoded, see `video.augment.ENCODING`.
    """

    clip: Clip
    parent_sha256: str
    encoding: str


def log_of(workspace: Workspace) -> Path:
    """The log's file."""
    return workspace.root / "manifests" / "copies.jsonl"


def read_log(path: Path) -> dict[str, Logged]:
    """Read the augmented clips that were made, by clip id, without those that failed last."""
    found: dict[str, Logged] = {}
    for row in json_lines(path):
        try:
            if "failed" in row:
                found.pop(row["failed"], None)
            else:
                clip = Clip(**row["clip"])
                found[clip.clip_id] = Logged(clip, row["parent_sha256"], row["encoding"])
        except (KeyError, TypeError):
            continue
    return found


def lines_of(made: Iterable[Logged], failed: Iterable[tuple[str, str]] = ()) -> str:
    """Write lines of the log, each ended: clips that were made, and ids with reasons."""
    rows: list[Mapping[str, object]] = [asdict(logged) for logged in made]
    rows += ({"failed": clip_id, "reason": reason} for clip_id, reason in failed)
    return "".join(json.dumps(row) + "\n" for row in rows)


def compact(path: Path, made: Iterable[Logged], failed: Iterable[tuple[str, str]]) -> None:
    """Write the log anew, one line per clip."""
    with atomic_file(path) as file:
        file.write(lines_of(made, failed))
