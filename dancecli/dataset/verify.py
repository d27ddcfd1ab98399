"""Check every clip's file against the checksum that it was published with.

A pass that was stopped goes on where it was: the clips that were found whole are noted, and the
note is removed when a pass is complete.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dancecli import manifest
from dancecli.errors import WorkspaceError
from dancecli.media.hashing import sha256_of
from dancecli.schema import Clip, OnProgress, Progress, no_progress
from dancecli.workspace import Workspace

_NOTED_EVERY = 200


@dataclass(frozen=True)
class VerifyResult:
    """What a pass found.

    Attributes:
        num_clips: clips of the manifest.
        num_skipped: of them, those that the stopped pass before had found whole.
        missing: clips without a file.
        changed: clips whose file is not the one that was published.
    """

    num_clips: int
    num_skipped: int
    missing: tuple[str, ...]
    changed: tuple[str, ...]


def verify(workspace: Workspace, on_progress: OnProgress = no_progress) -> VerifyResult:
    """Check every clip of the workspace, copies included.

    Raises:
        WorkspaceError: there are no clips, or another verify is at work.
    """
    clips = manifest.read(workspace.clips, Clip) if workspace.clips.exists() else []
    if not clips:
        raise WorkspaceError(f"{workspace.root}: there are no clips to verify", "run dance fetch first")
    note = workspace.root / "manifests" / "verified.txt"
    missing, changed = [], []
    with workspace.lock("verify"):
        whole = set(note.read_text(encoding="utf-8").split()) if note.exists() else set()
        left = [clip for clip in clips if _noted(clip) not in whole]
        with note.open("a", encoding="utf-8") as file:
            for done, (clip, fault) in enumerate(check_files(workspace.root, left), start=1):
                if fault == "missing":
                    missing.append(clip.clip_id)
                elif fault == "changed":
                    changed.append(clip.clip_id)
                else:
                    file.write(_noted(clip) + "\n")
                if done % _NOTED_EVERY == 0:
                    file.flush()
                faults = len(missing) + len(changed)
                on_progress(Progress(done, len(left), f"{faults} faulty" if faults else ""))
        note.unlink()
    num_skipped = len(clips) - len(left)
    return VerifyResult(len(clips), num_skipped, tuple(sorted(missing)), tuple(sorted(changed)))


def check_files(root: Path, clips: Iterable[Clip]) -> Iterator[tuple[Clip, str]]:
    """Read clips' files in parallel; yield each clip with `missing`, `changed` or an empty text."""

    def check(clip: Clip) -> tuple[Clip, str]:
        path = root / clip.path
        try:
            # A wrong size tells as much as a wrong checksum, and costs no reading.
            same = path.stat().st_size == clip.num_bytes and sha256_of(path) == clip.sha256
        except OSError:
            return clip, "missing"
        return clip, "" if same else "changed"

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(check, clips)


def _noted(clip: Clip) -> str:
    return f"{clip.clip_id}:{clip.sha256}"
