"""Writing tensors: whole, or not at all, and with the disk's own words where it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dancecli.manifest import atomic_file


def save_torch(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file of tensors whole, or leave the one before.

    Raises:
        OSError: the disk has no room, or may not be written to.
    """
    import torch

    with atomic_file(path, "wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            # torch's writer tells of its own trouble with a disk that is full.
            refused = error.__context__
            if not isinstance(refused, OSError):
                raise
            raise OSError(refused.errno, refused.strerror, str(path)) from None
