"""An export to an object store, through fsspec.

A store knows no renaming, but takes an object whole or not at all. So every file is written here
first and then put under its own name; what the export is made from is put beside it before the
first file, as unfinished, and after the last one under the name that says it is whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from dancecli.core.errors import DanceError, MissingDependencyError, UsageError, WorkspaceError
from dancecli.core.progress import OnProgress, Progress
from dancecli.dataset.export.formats import Item

# By scheme, the package that speaks to the store; an object there is whole or absent.
_PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "oss": "ossfs",
    "hf": "huggingface_hub",
    "memory": "fsspec",
}
_UNFINISHED = ".dance-export.unfinished.json"


def is_url(place: str | Path) -> bool:
    """Say whether an export's place is an address; a path is none."""
    return isinstance(place, str) and "://" in place


def local_path(url: str) -> Path | None:
    """Give the folder that a `file://` address means; None for any other address."""
    parts = urlsplit(url)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else None


class ObjectStore:
    """A place in an object store.

    Args:
        url: its address.
        stamp: the name of the object that says what a whole export is made from.

    Raises:
        UsageError: nothing is known of the scheme, or it is no object store.
        MissingDependencyError: the package for it is not installed.
    """

    def __init__(self, url: str, stamp: str) -> None:
        scheme = url.partition("://")[0]
        if scheme not in _PACKAGES:
            raise UsageError(
                f"--to {scheme}:// is no object store that dance knows: {', '.join(_PACKAGES)}",
                "export to a folder, and copy that",
            )
        try:
            import fsspec

            self._files, self._base = fsspec.core.url_to_fs(url)
        except ImportError:
            package = _PACKAGES[scheme]
            raise MissingDependencyError(
                f"--to {scheme}:// needs the package {package}", f"pip install fsspec {package}"
            ) from None
        except Exception as error:
            raise _refused(url, error) from None
        self._url = url
        self._stamp = stamp

    def missing(self, stamp: dict[str, Any], items: Sequence[Item]) -> list[Item]:
        """Give the files that are not there yet.

        Raises:
            UsageError: the place holds something else.
            WorkspaceError: the store refuses.
        """
        with self._asking():
            there = self._names()
            known = {name: self._read(name) for name in (self._stamp, _UNFINISHED) if name in there}
        if stamp not in known.values() and there:
            what = "another export" if known else "something else"
            raise UsageError(f"{self._url} holds {what}", "remove it, or name another place with --to")
        return [item for item in items if item.path not in there]

    def build(
        self, stamp: dict[str, Any], items: Sequence[Item], scratch: Path, on_progress: OnProgress
    ) -> int:
        """Put what is missing; give its number.

        Args:
            stamp: what the export is made from.
            items: its files.
            scratch: a folder for a file at a time, on a disk with room for it.
            on_progress: told after every file, in clips.

        Raises:
            UsageError: the place holds something else.
            WorkspaceError: the store refuses; what was put stays, and counts the next time.
        """
        missing = self.missing(stamp, items)
        text = json.dumps(stamp)
        with self._asking():
            whole = self._stamp in self._names()
            if not whole:
                self._files.pipe_file(self._at(_UNFINISHED), text.encode())
        total, left = (sum(item.num_clips for item in some) for some in (items, missing))
        scratch.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".put-", dir=scratch) as folder:
            for item in missing:
                path = Path(folder) / "file"
                item.write(path)
                with self._asking():
                    self._files.put_file(str(path), self._at(item.path))
                path.unlink()
                left -= item.num_clips
                on_progress(Progress(total - left, total))
        with self._asking():
            if not whole:
                self._files.pipe_file(self._at(self._stamp), text.encode())
            if _UNFINISHED in self._names():
                self._files.rm_file(self._at(_UNFINISHED))
        return len(missing)

    def _at(self, name: str) -> str:
        return f"{self._base.rstrip('/')}/{name}"

    def _names(self) -> set[str]:
        self._files.invalidate_cache()
        start = self._at("")
        try:
            return {str(found).removeprefix(start) for found in self._files.find(self._base)}
        except FileNotFoundError:
            return set()

    def _read(self, name: str) -> object:
        try:
            return json.loads(self._files.cat_file(self._at(name)))
        except ValueError:
            return None

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except DanceError:
            raise
        except Exception as error:
            # Every store has errors of its own.
            raise _refused(self._url, error) from None


def _refused(url: str, error: Exception) -> WorkspaceError:
    said = str(error).strip().splitlines() or [type(error).__name__]
    return WorkspaceError(
        f"{url}: the store refuses ({said[0]})",
        "check the address and your credentials; run it again: what was put is not put again",
    )
