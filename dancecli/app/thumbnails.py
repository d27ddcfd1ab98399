"""Small pictures of clips, made once and kept in the workspace's cache."""

from __future__ import annotations

from pathlib import Path

from dancecli.core.errors import MediaError
from dancecli.storage.files import atomic_file
from dancecli.storage.workspace import Workspace
from dancecli.video.contact_sheet import middle_frame

_WIDTH, _HEIGHT = 256, 256


def thumbnail(workspace: Workspace, path: Path, sha256: str) -> Path:
    """Give the picture of a clip's middle frame, as JPEG; it is made if it is not there.

    Args:
        workspace: whose cache it is kept in.
        path: of the clip.
        sha256: of the clip's file, which names the picture, so that a changed clip gets another one.

    Raises:
        MediaError: the clip is gone or does not decode.
        OSError: the disk is full or read-only.
    """
    kept = workspace.thumbnail(sha256)
    if not kept.exists():
        if not path.is_file():
            raise MediaError(f"{path}: is gone")
        picture = middle_frame(path)
        picture.thumbnail((_WIDTH, _HEIGHT))
        with atomic_file(kept, "wb") as file:
            picture.convert("RGB").save(file, "JPEG", quality=82)
    return kept
