"""An export to an object store, through fsspec.

A store cannot rename, but stores an object whole or not at all. So every file is written locally
first and then uploaded under its own name; the record of what the export is made from is uploaded
before the first file, marked as unfinished, and after the last one under its final name.
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
from dancecli.core.progress import Reporter
from dancecli.dataset.export.formats import Item

# By scheme, the package for the store; an object there is whole or absent.
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
    """Tell whether the destination of an export is a URL rather than a path."""
    return isinstance(place, str) and "://" in place


def local_path(url: str) -> Path | None:
    """Return the folder of a `file://` URL; None for any other URL."""
    parts = urlsplit(url)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else None


class ObjectStore:
    """A location in an object store.

    Args:
        url: of the location.
        stamp: the name of the object that records what a complete export is made from.

    Raises:
        UsageError: the scheme is not that of a known object store.
        MissingDependencyError: the package for it is not installed.
    """

    def __init__(self, url: str, stamp: str) -> None:
        scheme = url.partition("://")[0]
        if scheme not in _PACKAGES:
            raise UsageError(
                f"--to {scheme}:// is not a supported object store: {', '.join(_PACKAGES)}",
                "export to a folder and upload that",
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
        """Return the files that do not exist yet.

        Raises:
            UsageError: the location contains something else.
            WorkspaceError: the store refuses.
        """
        with self._asking():
            there = self._names()
            known = {name: self._read(name) for name in (self._stamp, _UNFINISHED) if name in there}
        if stamp not in known.values() and there:
            what = "another export" if known else "something else"
            raise UsageError(f"{self._url} contains {what}", "remove it, or give another location with --to")
        return [item for item in items if item.path not in there]

    def build(self, stamp: dict[str, Any], items: Sequence[Item], scratch: Path, reporter: Reporter) -> int:
        """Upload what is missing; return its number.

        Args:
            stamp: what the export is made from.
            items: its files.
            scratch: a folder for a file at a time, on a disk with room for it.
            reporter: told after every file, in clips.

        Raises:
            UsageError: the location contains something else.
            WorkspaceError: the store refuses; what was uploaded stays, and is not uploaded again.
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
                reporter.progress(total - left, total)
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
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return WorkspaceError(
        f"{url}: the store refuses ({lines[0]})",
        "check the URL and your credentials, then run it again: it resumes",
    )
