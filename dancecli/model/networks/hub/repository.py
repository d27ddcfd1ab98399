"""The files of a Hub repository at a pinned revision, or of a folder that is saved alike.

Weights are taken from safetensors alone and code from nowhere: a repository that has neither is refused
by what it lists, before anything large is downloaded. What is in the Hub's own cache is not asked for
again, so `HF_HOME`, `HF_ENDPOINT` and `HF_HUB_OFFLINE` mean what they mean elsewhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from dancecli.core.errors import InputError, MissingDependencyError, ModelError
from dancecli.core.hashing import sha256_file, sha256_text

PREFIX = "hf:"
CONFIG = "config.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
# What a network, its views and its labels in words are read from; all of it is small.
_SMALL = (
    *(CONFIG, INDEX, "*preprocessor_config.json", "processor_config.json"),
    *("tokenizer*", "special_tokens_map.json", "vocab.*", "merges.txt", "*.model"),
)
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_INSTALL = "pip install 'dancecli[hub]'"
_HOW = "write hf:REPO@REVISION, such as hf:facebook/vjepa2-vitl-fpc64-256@COMMIT, or hf:./FOLDER"


@dataclass(frozen=True)
class Repository:
    """A repository whose small files are here.

    Attributes:
        name: `owner/name` on the Hub; of a folder its path, absolute.
        commit: of the revision, 40 hex digits; empty for a folder.
        folder: where its files are.
    """

    name: str
    commit: str
    folder: Path

    @property
    def reference(self) -> str:
        """What `--pretrain` takes for exactly this."""
        return f"{PREFIX}{self.name}" + (f"@{self.commit}" if self.commit else "")

    def read_json(self, file: str) -> dict[str, Any]:
        """Read one of its JSON files; empty if it has none of this name.

        Raises:
            ModelError: it is not a JSON object.
        """
        path = self.folder / file
        if not path.is_file():
            return {}
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError):
            content = None
        if not isinstance(content, dict):
            raise ModelError(f"{self.reference}: its {file} is not a JSON object", "use another revision")
        return content


@dataclass(frozen=True)
class WeightFiles:
    """The weights of a repository.

    Attributes:
        sha256: of the file; of several, of their names and checksums.
        files: name and SHA-256 of each file that is read.
    """

    sha256: str
    files: dict[str, str]


def open_repository(reference: str) -> Repository:
    """Find a repository by what follows `hf:`, and bring its small files here.

    Args:
        reference: `REPO@REVISION`, or the path of a folder that begins with `.`, `/` or `~`.

    Raises:
        InputError: it is neither, or there is no such folder.
        ModelError: it cannot be reached, or has no weights that are safe to read.
        MissingDependencyError: the Hub's client is not installed.
    """
    if reference.startswith((".", "/", "~")):
        return _open_folder(reference)
    name, _, revision = reference.partition("@")
    if not _REPO.fullmatch(name):
        raise InputError(f"{PREFIX}{reference} is not a repository of the Hub", _HOW)
    if not revision:
        raise InputError(f"{PREFIX}{name} names no revision", _pinned_hint(name))
    if _COMMIT.fullmatch(revision) and (here := _cached(name, revision)):
        return here
    try:
        with _as_one_line(name, revision):
            from huggingface_hub import HfApi

            found = HfApi().model_info(name, revision=revision)
    except _UnreachableError:
        # A branch or tag that was asked for before is still known here.
        if here := _cached(name, revision):
            return here
        raise
    files = [file.rfilename for file in found.siblings or ()]
    _refuse_unsafe(f"{PREFIX}{name}@{revision}", files)
    commit = str(found.sha)
    _download(name, commit, [file for file in files if any(fnmatch(file, small) for small in _SMALL)])
    fetched = _cached(name, commit)
    assert fetched is not None  # noqa: S101
    return fetched


def hub_versions() -> str:
    """Say which versions read models of the Hub, and where these are kept.

    Raises:
        MissingDependencyError: a package of the extra is not installed.
    """
    from importlib import metadata

    found = []
    for name in ("transformers", "huggingface_hub", "safetensors"):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            raise MissingDependencyError(f"{name} is not installed", _INSTALL) from None
    from huggingface_hub import constants

    offline = ", offline" if constants.is_offline_mode() else ""
    return f"{', '.join(found)}; cache {constants.HF_HUB_CACHE}{offline}"


def fetch_weights(repository: Repository) -> WeightFiles:
    """Bring the weights of a repository here, and take their checksums.

    Raises:
        ModelError: they are unavailable, or are not what the Hub has under their name.
    """
    names = weight_names(repository)
    missing = [name for name in names if not (repository.folder / name).is_file()]
    if missing and repository.commit:
        _download(repository.name, repository.commit, missing)
    elif missing:
        raise ModelError(f"{repository.reference}: {missing[0]} is missing", "copy the whole folder again")
    files = {name: _checked_sha256(repository.folder / name) for name in names}
    if len(files) == 1:
        return WeightFiles(files[names[0]], files)
    return WeightFiles(sha256_text("".join(f"{name} {digest}\n" for name, digest in files.items())), files)


def _open_folder(path: str) -> Repository:
    folder = Path(path).expanduser().absolute()
    if not folder.is_dir():
        raise InputError(f"{PREFIX}{path}: no such folder", _HOW)
    _refuse_unsafe(f"{PREFIX}{path}", [file.name for file in folder.iterdir()])
    return Repository(str(folder), "", folder)


def _refuse_unsafe(where: str, names: Sequence[str]) -> None:
    """Refuse a repository that cannot be read without running what is in it, by the names of its files.

    Raises:
        ModelError: it has no configuration, or no weights in safetensors.
    """
    if CONFIG not in names:
        raise ModelError(
            f"{where} has no {CONFIG}", "repositories of transformers are read, and folders saved alike"
        )
    if any(name.endswith(".safetensors") for name in names):
        return
    pickled = [name for name in names if name.endswith(_PICKLES)]
    if pickled:
        raise ModelError(
            f"{where} has its weights only as {pickled[0]}, a format that can run code when it is read",
            "use a revision with model.safetensors; on the Hub many are converted under refs/pr/N",
        )
    raise ModelError(f"{where} has no {WEIGHTS}", "only weights in safetensors are read")


def weight_names(repository: Repository) -> list[str]:
    """Name the files that hold the weights: one, or the shards of an index.

    Raises:
        ModelError: the index is broken, or names a file elsewhere.
    """
    shards = repository.read_json(INDEX).get("weight_map")
    names = sorted(set(map(str, shards.values()))) if isinstance(shards, dict) and shards else [WEIGHTS]
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise ModelError(
                f"{repository.reference}: its {INDEX} names {name!r}, which is no weights file of its folder"
            )
    return names


def _checked_sha256(path: Path) -> str:
    """Take the SHA-256 of a file; in the Hub's cache a large file is named by it."""
    digest, stored = sha256_file(path), path.resolve().name
    if _SHA256.fullmatch(stored) and stored != digest:
        raise ModelError(
            f"{path}: SHA-256 is {digest[:8]}…, not {stored[:8]}… as on the Hub: cut short, or changed",
            f"remove {path.resolve()} and try again",
        )
    return digest


def _cached(name: str, revision: str) -> Repository | None:
    """Find a revision in the Hub's cache without asking the Hub."""
    with _as_one_line(name, revision):
        from huggingface_hub import try_to_load_from_cache

        config = try_to_load_from_cache(name, CONFIG, revision=revision)
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    return Repository(name, folder.name, folder)


def _download(name: str, commit: str, files: Iterable[str]) -> None:
    """Bring files of a repository into the Hub's cache; what is there already is not asked for again."""
    with _as_one_line(name, commit):
        from huggingface_hub import hf_hub_download

        for file in files:
            hf_hub_download(name, file, revision=commit)


def _pinned_hint(name: str) -> str:
    """Tell which revision could be pinned: the newest, where the Hub can be asked."""
    try:
        with _as_one_line(name, "main"):
            from huggingface_hub import HfApi

            return f"pin one; its newest is {PREFIX}{name}@{HfApi().model_info(name).sha}"
    except (ModelError, MissingDependencyError):
        return _HOW


class _UnreachableError(ModelError):
    """The Hub does not answer, and what was asked for is not here."""


@contextmanager
def _as_one_line(name: str, revision: str) -> Iterator[None]:
    """Turn what the Hub's client raises into one sentence.

    Raises:
        ModelError: the repository is unavailable.
        MissingDependencyError: the client is not installed.
    """
    where = f"{PREFIX}{name}@{revision}"
    try:
        import httpx2
        from huggingface_hub import errors
        from huggingface_hub.utils.tqdm import disable_progress_bars
    except ImportError as error:
        raise MissingDependencyError(
            f"the client of the Hugging Face Hub is not installed ({error})", _INSTALL
        ) from None
    # A bar of another program's would break the lines of ours.
    disable_progress_bars()
    try:
        yield
    except errors.GatedRepoError:
        raise ModelError(
            f"{where}: its conditions must be accepted first",
            f"accept them at https://huggingface.co/{name}, then hf auth login",
        ) from None
    except errors.RevisionNotFoundError:
        raise ModelError(f"{where}: the repository has no such revision", _HOW) from None
    except errors.RepositoryNotFoundError:
        raise ModelError(
            f"{where}: there is no such repository, or it is private", "check the name, or hf auth login"
        ) from None
    except errors.HFValidationError:
        raise InputError(f"{where} is not a repository of the Hub", _HOW) from None
    except errors.RemoteEntryNotFoundError:
        raise ModelError(f"{where} has no {WEIGHTS}", "only weights in safetensors are read") from None
    except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError, httpx2.HTTPError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        why = f"the Hub answers with status {status}" if status else "the Hub cannot be reached"
        if isinstance(error, errors.OfflineModeIsEnabled):
            why = "HF_HUB_OFFLINE is set"
        raise _UnreachableError(
            f"{where} is not in the cache of the Hub, and {why}",
            f"with internet elsewhere: hf download {name} --revision {revision} --local-dir FOLDER, then "
            f"--pretrain hf:./FOLDER; or copy that machine's HF_HOME",
        ) from None
