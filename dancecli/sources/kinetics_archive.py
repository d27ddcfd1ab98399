"""The official annotation archive of an edition: downloaded once to the user's cache, read in place."""

from __future__ import annotations

import contextlib
import http.client
import io
import shutil
import tarfile
import tomllib
import urllib.error
import urllib.request
import zlib
from pathlib import Path, PurePosixPath

from dancecli.core.errors import InputError
from dancecli.core.labels import MANIFESTS, LabelSet
from dancecli.sources.kinetics import Listing, ListReader, UnlabelledError, add_list, check_not_empty
from dancecli.storage.files import atomic_file

SOURCES = MANIFESTS / "sources.toml"
_INSTEAD = "give the lists with --annotations FILE.csv"
_LISTS = ("train", "validate", "val", "test")
_TIMEOUT_S = 30.0


def read_archive(
    edition: str, labels: LabelSet, *, sources: Path = SOURCES, cache: Path | None = None
) -> Listing:
    """Read the lists of a Kinetics edition, from the cache or from where they are published.

    Args:
        edition: a key of `sources`, such as `700-2020`.
        labels: the labels to keep.
        sources: the table of addresses.
        cache: where archives are kept; None for the user's cache folder.

    Raises:
        InputError: the edition is unknown, or its archive cannot be downloaded or is broken.
    """
    import platformdirs

    known = tomllib.loads(sources.read_text(encoding="utf-8"))["kinetics"]
    if edition not in known:
        raise InputError(f"there is no Kinetics edition {edition!r}", f"known: {', '.join(known)}")
    url = known[edition]["annotations"]
    folder = cache or platformdirs.user_cache_path("dancecli") / "annotations"
    path = folder / PurePosixPath(url).name
    if not path.exists():
        _download(url, path, edition)
    reader = ListReader(labels)
    try:
        with tarfile.open(path, "r:gz") as tar:
            # Read in place: nothing of it is unpacked, so its names and links can do no harm.
            for member in tar:
                name = PurePosixPath(member.name)
                if member.isfile() and name.suffix == ".csv" and name.stem in _LISTS:
                    _add_member(tar, member, path, reader, f"kinetics{edition}")
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise InputError.at(
            path, None, f"is a broken archive ({error})", f"remove it, or {_INSTEAD}"
        ) from None
    check_not_empty(reader.listing, str(path), labels)
    return reader.listing


def _add_member(
    tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path, reader: ListReader, dataset: str
) -> None:
    file = tar.extractfile(member)
    assert file is not None  # noqa: S101 - for the type checker: it is a file
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    # Some test lists were published without their answers.
    with contextlib.suppress(UnlabelledError):
        add_list(text, path / member.name, reader, dataset)


def _download(url: str, path: Path, edition: str) -> None:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer, atomic_file(path, "wb") as file:  # noqa: S310
            shutil.copyfileobj(answer, file)
            expected = answer.headers.get("Content-Length")
            if expected is not None and file.tell() != int(expected):
                raise InputError(
                    f"{url}: came cut short, {file.tell()} of {expected} bytes", f"try again, or {_INSTEAD}"
                )
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        why = getattr(error, "reason", error)
        raise InputError(
            f"the list archive of Kinetics {edition} cannot be downloaded from {url} ({why})", _INSTEAD
        ) from None
