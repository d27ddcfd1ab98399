"""The model zoo: pre-trained models by name, and their checkpoints from MMAction2's download site."""

from __future__ import annotations

import hashlib
import re
import tomllib
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from dancecli.core.errors import InputError, ModelError
from dancecli.core.hashing import sha256_file
from dancecli.core.labels import MANIFESTS
from dancecli.core.progress import SILENT, Reporter
from dancecli.model.networks.hub.model import HubModel, open_model
from dancecli.model.networks.hub.repository import PREFIX
from dancecli.storage.files import atomic_file

DEFAULT_PRETRAIN = "inception"

ZOO = MANIFESTS / "zoo.toml"
SITE = "https://download.openmmlab.com/mmaction"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class ZooEntry:
    """A pre-trained model.

    Attributes:
        name: what `--pretrain` takes.
        title: what it is, for people.
        config: MMAction2's config below `.mim/configs`; empty for a model built in here, or an
            absolute path for one the user named.
        checkpoint: file name on the download site; empty if the weights come otherwise.
        site_folder: the checkpoint's folder on the site; empty for `v1.0` and the config's name.
        sha256_prefix: the first eight hex digits of the checkpoint's SHA-256.
        dataset: what it was last trained and evaluated on.
        top1, top5: accuracy on that in per cent; 0 if unknown.
        views: the evaluation protocol of these.
        crop: side of the only frame size that it takes, in pixels; 0 if it takes any.
        short_side: of the frame that this is cropped from; 0 for the recipe's share.
        modality: its input, `rgb`, `flow` or `pose`.
        frames: how many single frames of a clip it sees; 0 for as many as its config says.
        params_m, gflops: parameters in millions, and cost per view.
        hub: the model of the Hub that it is; None for one of the zoo.
    """

    name: str
    title: str
    config: str = ""
    checkpoint: str = ""
    site_folder: str = ""
    sha256_prefix: str = ""
    dataset: str = "kinetics400"
    top1: float = 0.0
    top5: float = 0.0
    views: str = ""
    crop: int = 0
    modality: str = "rgb"
    frames: int = 0
    params_m: float = 0.0
    gflops: float = 0.0
    short_side: int = 0
    hub: HubModel | None = None

    @property
    def url(self) -> str:
        """Address of the checkpoint; empty if it has none."""
        if not self.checkpoint:
            return ""
        folder = self.site_folder or f"v1.0/{Path(self.config).with_suffix('').as_posix()}"
        return f"{SITE}/{folder}/{self.checkpoint}"


def read_zoo(path: Path = ZOO) -> dict[str, ZooEntry]:
    """Read the zoo's file.

    Raises:
        InputError: it is not TOML, or an entry has an unknown key or a bad checksum.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise InputError.at(path, None, f"is not valid TOML: {error}") from None
    return {name: _entry(name, table, path) for name, table in tables.items()}


def find_entry(name: str) -> ZooEntry:
    """Find a model of the zoo by name, any MMAction2 config by its path, or one of the Hub by `hf:`.

    Raises:
        InputError: there is none.
        ModelError: a model of the Hub is unavailable, or is not supported.
    """
    if name.startswith(PREFIX):
        hub = open_model(name)
        frames = hub.frames
        return ZooEntry(
            name=hub.name,
            title=hub.title,
            dataset="",
            crop=frames.crop,
            short_side=frames.short_side,
            hub=hub,
        )
    if name.endswith(".py"):
        path = Path(name).expanduser().absolute()
        if not path.is_file():
            raise InputError(f"{name}: no such MMAction2 config")
        short = re.sub(r"[^A-Za-z0-9_-]", "-", path.stem)[:60]
        text = path.read_text(encoding="utf-8", errors="replace")
        return ZooEntry(name=short, title=name, config=str(path), modality=_modality_of(text))
    zoo = read_zoo()
    if name not in zoo:
        raise InputError(
            f"unknown pre-trained model {name!r}",
            f"known: {', '.join(zoo)}; and hf:REPO@REVISION for a model of the Hugging Face Hub",
        )
    return zoo[name]


def _modality_of(config: str) -> str:
    """Tell what the network of a config reads, by the text of the config."""
    if re.search(r"modality\W{1,4}Flow\b", config):
        return "flow"
    return "pose" if re.search(r"\bPoseDataset\b", config) else "rgb"


def weights_folder() -> Path:
    """The user's folder of downloaded and converted weights."""
    from platformdirs import user_cache_path

    return user_cache_path("dancecli") / "weights"


def fetch_checkpoint(
    entry: ZooEntry, folder: Path | None = None, reporter: Reporter = SILENT, url: str = ""
) -> Path:
    """Return an entry's checkpoint, downloaded into the folder if it is not there.

    The file gets its name only when its SHA-256 begins as the zoo says.

    Args:
        entry: which.
        folder: where it is kept; the user's cache if not given.
        reporter: in bytes.
        url: another place that has the file, for a mirror.

    Raises:
        ModelError: it could not be downloaded, or is another file.
    """
    path = (folder or weights_folder()) / entry.checkpoint
    if not path.is_file():
        from filelock import FileLock

        path.parent.mkdir(parents=True, exist_ok=True)
        # Of several processes that need the file, one downloads it.
        with FileLock(path.with_name(f".{path.name}.lock")):
            if not path.is_file():
                _download(entry, path, url or entry.url, reporter)
                return path
    check_name(path, entry)
    return path


def _download(entry: ZooEntry, path: Path, url: str, reporter: Reporter) -> None:
    hint = (
        f"with internet elsewhere: fetch {url}, then --weights FILE, or put it at {path}; "
        "--weights none trains from scratch"
    )
    try:
        # The address is the zoo's own, not a user's.
        with urllib.request.urlopen(url, timeout=30) as response, atomic_file(path, "wb") as file:  # noqa: S310
            total = int(response.headers.get("Content-Length") or 0)
            digest, done = hashlib.sha256(), 0
            while chunk := response.read(_CHUNK):
                digest.update(chunk)
                file.write(chunk)
                done += len(chunk)
                reporter.progress(done, max(total, done), f"downloading the weights of {entry.name}")
            _check(digest.hexdigest(), entry, url)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise ModelError(f"the weights of {entry.name} could not be downloaded ({reason})", hint) from None


def check_name(path: Path, entry: ZooEntry) -> None:
    """Refuse another file under the name of an entry's checkpoint.

    Raises:
        ModelError: it has that name, and not that checksum.
    """
    if path.name == entry.checkpoint and path.is_file():
        _check(sha256_file(path), entry, str(path))


def _check(sha256: str, entry: ZooEntry, where: str) -> None:
    if not sha256.startswith(entry.sha256_prefix):
        raise ModelError(
            f"{where}: SHA-256 is {sha256[:8]}…, not {entry.sha256_prefix}…: cut short, or another file",
            "remove it and try again, or give --weights FILE",
        )


def _entry(name: str, table: Mapping[str, Any], path: Path) -> ZooEntry:
    known = {field.name for field in fields(ZooEntry)} - {"name", "hub"}
    for key in table:
        if key not in known:
            raise InputError.at(
                path, None, f"[{name}] has no key {key!r}", f"known: {', '.join(sorted(known))}"
            )
    entry = ZooEntry(name=name, **table)
    if entry.checkpoint and not re.fullmatch(r"[0-9a-f]{8}", entry.sha256_prefix):
        raise InputError.at(path, None, f"[{name}] needs the first 8 hex digits of the SHA-256")
    return entry
