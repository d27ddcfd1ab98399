"""Files that a kill leaves whole: written to a temporary name, synced, renamed; or lines added durably."""

from __future__ import annotations

import errno
import os
import platform
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from dancecli.core.hashing import sha256_text

NO_FILE = (0, 0)
_REFUSED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def file_state(path: Path) -> tuple[int, int]:
    """Tell a file from what it was: its size, and when it was written in ns; `NO_FILE` if there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return NO_FILE
    return (found.st_size, found.st_mtime_ns)


def whole_lines(content: bytes) -> bytes:
    """Leave out a last line that a killed program left without its end: it was never acknowledged."""
    return content[: content.rfind(b"\n") + 1]


def append_durably(file: IO[bytes], whole: bytes, data: bytes) -> None:
    """Add lines to a file, all or none of them, in the place of what a killed program left half-written.

    Args:
        file: open for appending (`ab+`); the caller holds its lock.
        whole: what it holds in whole lines, of which the last one may lack its end; see `whole_lines`.
        data: the lines.

    Raises:
        OSError: the disk is full or read-only; nothing was added.
    """
    handle = file.fileno()
    rest = memoryview(data if whole.endswith(b"\n") or not whole else b"\n" + data)
    os.ftruncate(handle, len(whole))
    try:
        # Past the buffer of the file, which would keep what a full disk refuses, and write it on closing.
        while rest:
            rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
    except OSError:
        os.ftruncate(handle, len(whole))
        raise


@contextmanager
def atomic_file(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Write to a temporary file, fsync, rename: a reader sees the whole file or the previous one.

    Args:
        path: the final name, given to the file only if the block ends without an exception.
        mode: `w` (UTF-8, Unix line ends) or `wb`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        prefix=f".{path.name}.{_host()}.{os.getpid()}.", suffix=".tmp", dir=path.parent
    )
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        with naming(path):
            with os.fdopen(handle, mode, **text) as file:  # type: ignore[call-overload]
                yield file
            commit_file(Path(name), path)
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add the file name to errors of a full or failing disk: the system names it only on opening."""
    try:
        yield
    except OSError as error:
        if error.errno in _REFUSED and error.filename is None:
            error.filename = str(path)
        raise


def commit_file(temp: Path, path: Path) -> None:
    """Rename a finished file into place, durably: its bytes reach the disk before its name does.

    Both must be on one file system; the folder is created.
    """
    # mkstemp makes files private; a dataset is shared by a group, so the umask decides.
    umask = os.umask(0)
    os.umask(umask)
    temp.chmod(0o666 & ~umask)
    path.parent.mkdir(parents=True, exist_ok=True)
    _sync(temp)
    temp.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    """Flush a file's bytes, or a folder's names, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def stale_temp(folder: Path) -> list[Path]:
    """Find temporary files that killed processes of this machine left in a folder."""
    found = []
    for path in sorted(folder.glob(".*.tmp")):
        words = path.name.split(".")
        if len(words) > 4 and words[-4] == _host() and words[-3].isdecimal() and not _alive(int(words[-3])):
            found.append(path)
    return found


def remove_stale_temp(folder: Path) -> None:
    """Remove temporary files that killed processes of this machine left in a folder."""
    for path in stale_temp(folder):
        path.unlink(missing_ok=True)


def _host() -> str:
    # Several machines may share the folder; a process id is valid on one of them only.
    return sha256_text(platform.node())[:8]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def save_torch(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file of tensors atomically.

    Raises:
        OSError: the disk is full, or may not be written to.
    """
    import torch

    with atomic_file(path, "wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            # torch's writer raises its own error when the disk is full, or Ctrl-C stops it.
            refused = error.__context__
            if isinstance(refused, KeyboardInterrupt):
                raise refused from None
            if not isinstance(refused, OSError):
                raise
            raise OSError(refused.errno, refused.strerror, str(path)) from None
