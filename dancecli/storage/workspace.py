"""Every path that the tool reads or writes, the lock, and `dance.toml`."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dancecli.core.errors import InputError, WorkspaceError
from dancecli.core.progress import Reporter
from dancecli.core.video_files import clip_path

SETTINGS_FILE = "dance.toml"
WORKSPACE_VERSION = 1
# What `dance predict` found, in a folder of the reports.
PREDICTION = "prediction.json"
# Folders of files that a table names, one per clip, and the contact sheets beside them.
MEDIA_FOLDERS = ("clips", "augmented", "flow", "pose", "trajectories")
PREVIEWS = ("preview.png", "preview.mp4")
# All other folders that commands write in a workspace.
OWN_FOLDERS = frozenset(
    {
        *("annotations", "cache", "exports", "manifests", "refused", "reports", "reproduction", "runs"),
        *("sources", "studies", "submissions", "timelines", "tmp"),
    }
)
# How often a waiting process reports that it waits for a lock.
_WAITING_S = 2.0
# Who looks whether a run is at work takes its lock for a moment.
_LOOKING_S = 0.3


@dataclass(frozen=True)
class Workspace:
    """The folder of one dataset and its runs; only methods that say so touch the disk.

    Attributes:
        root: the folder.
        new_settings: the text of its `dance.toml`, if a command is to make the folder a workspace.
    """

    root: Path
    new_settings: str | None = field(default=None, compare=False, repr=False)

    @classmethod
    def locate(cls, given: Path | None) -> Workspace:
        """Find the workspace: the given folder, `$DANCE_WORKSPACE`, the one above with a
        `dance.toml`, else the current folder.

        Raises:
            WorkspaceError: the given folder is a file.
        """
        chosen = given or (Path(os.environ["DANCE_WORKSPACE"]) if os.environ.get("DANCE_WORKSPACE") else None)
        if chosen is not None:
            if chosen.exists() and not chosen.is_dir():
                raise WorkspaceError(f"{chosen}: is a file, not a workspace folder")
            return cls(chosen.absolute())
        here = Path.cwd()
        for folder in (here, *here.parents):
            if (folder / SETTINGS_FILE).is_file():
                return cls(folder)
        return cls(here)

    @property
    def settings(self) -> Path:
        """`dance.toml`."""
        return self.root / SETTINGS_FILE

    @property
    def segments(self) -> Path:
        """The manifest of all requested segments."""
        return self.root / "manifests" / "segments.parquet"

    @property
    def clips(self) -> Path:
        """The manifest of the clips that exist, augmented ones included."""
        return self.root / "manifests" / "clips.parquet"

    @property
    def groups(self) -> Path:
        """The manifest of groups of clips: near-duplicates, and the user's own groups."""
        return self.root / "manifests" / "groups.parquet"

    @property
    def hashes(self) -> Path:
        """The perceptual hashes of the clips, stored so that each clip is decoded for them once."""
        return self.root / "manifests" / "hashes.parquet"

    @property
    def flows(self) -> Path:
        """The manifest of the clips' optical flow."""
        return self.root / "manifests" / "flow.parquet"

    @property
    def poses(self) -> Path:
        """The manifest of the clips' poses."""
        return self.root / "manifests" / "pose.parquet"

    @property
    def trajectories(self) -> Path:
        """The manifest of the clips' trajectories."""
        return self.root / "manifests" / "trajectories.parquet"

    @property
    def suspects(self) -> Path:
        """The clips that somebody should look at again."""
        return self.root / "manifests" / "suspects.parquet"

    @property
    def group_sheet(self) -> Path:
        """The contact sheet of the near-duplicate groups."""
        return self.root / "manifests" / "groups.png"

    @property
    def ledger(self) -> Path:
        """The database of outcomes."""
        return self.root / "ledger.db"

    @property
    def temp(self) -> Path:
        """Where unfinished media files live; emptied at the start of a fetch."""
        return self.root / "tmp"

    def clip(self, clip_id: str) -> Path:
        """The file of an original clip."""
        return self.root / clip_path("clips", f"{clip_id}.mp4")

    def augmented(self, clip_id: str, op: str) -> Path:
        """The file of an augmented clip."""
        return self.root / clip_path("augmented", f"{clip_id}.{op}.mp4")

    def thumbnail(self, sha256: str) -> Path:
        """The small picture of a clip, by the checksum of its file."""
        return self.root / "cache" / "thumbnails" / sha256[:2] / f"{sha256}.jpg"

    def app_cache(self, name: str) -> Path:
        """A file of `dance app` with what it computed of all clips: made again when it is needed."""
        return self.root / "cache" / "app" / name

    def split(self, name: str) -> Path:
        """The manifest of a split."""
        return self.root / "manifests" / "splits" / f"{checked_name(name, 'split')}.parquet"

    def split_lock(self, name: str) -> Path:
        """The lock file of a split: every clip with subset and checksum, as text to publish."""
        return self.root / "manifests" / "splits" / f"{checked_name(name, 'split')}.lock.csv"

    def split_locks(self) -> list[str]:
        """Names of the splits that have a lock file, whether or not their clips are here; sorted."""
        suffix = ".lock.csv"
        found = (self.root / "manifests" / "splits").glob(f"*{suffix}")
        return sorted(path.name.removesuffix(suffix) for path in found)

    def splits(self) -> list[str]:
        """Names of the splits, the latest last."""
        return [path.stem for path in self.split_tables() if is_name(path.stem)]

    def split_tables(self) -> list[Path]:
        """The files of the splits, the latest last, and copies of them that no split can be named after."""
        return _by_age(self.root / "manifests" / "splits", "*.parquet")

    def find_split(self, name: str | None = None) -> str:
        """Return the name of a split that exists: the given one, or the latest one.

        Raises:
            WorkspaceError: there is none, or none of that name.
        """
        known = self.splits()
        if name and not self.split(name).exists():
            hint = f"known splits: {', '.join(known) or 'none'}"
            raise WorkspaceError(f"there is no split {name!r} in {self.root}", hint)
        if not name and not known:
            raise WorkspaceError(f"{self.root}: there is no split", "run dance split first")
        return name or known[-1]

    def annotations(self, split: str) -> Path:
        """The folder of a split's MMAction2 lists."""
        return self.root / "annotations" / checked_name(split, "split")

    def run(self, name: str) -> Path:
        """The folder of a run."""
        return self.root / "runs" / checked_name(name, "run")

    def runs(self) -> list[str]:
        """Names of the runs that hold a `run.json`, the latest last."""
        return [path.name for path in self.run_folders() if is_name(path.name)]

    def run_folders(self) -> list[Path]:
        """The folders of the runs, the latest last, and copies of them that no run can be named after."""
        return [path.parent for path in _by_age(self.root / "runs", "*/run.json")]

    def report(self, name: str) -> Path:
        """The folder of a report."""
        return self.root / "reports" / checked_name(name, "report")

    def predictions(self) -> list[Path]:
        """The results of `dance predict`, by name."""
        return sorted((self.root / "reports").glob(f"predict-*/{PREDICTION}"))

    def timeline(self, name: str) -> Path:
        """The edits of a recording's timeline, by what `timeline_name` gives it."""
        return self.root / "timelines" / f"{name}.jsonl"

    def submission(self, name: str) -> Path:
        """The file of a result that others submitted to this workspace's leaderboard."""
        return self.root / "submissions" / f"{checked_name(name, 'submission')}.zip"

    def submissions(self) -> list[Path]:
        """The files of all submitted results, by name."""
        return sorted((self.root / "submissions").glob("*.zip"))

    def study(self, name: str) -> Path:
        """The database of a tuning study."""
        return self.root / "studies" / f"{checked_name(name, 'study')}.db"

    def study_folder(self, name: str) -> Path:
        """The folder of what a tuning study found."""
        return self.root / "studies" / checked_name(name, "study")

    def studies(self) -> list[str]:
        """Names of the studies that hold a `study.json`, the running one last."""
        return [path.name for path in self.study_folders() if is_name(path.name)]

    def study_folders(self) -> list[Path]:
        """The folders of the studies, the running one last, and copies that no study can be named after."""
        return [path.parent for path in _by_age(self.root / "studies", "*/study.json")]

    def create(self, settings_text: str) -> bool:
        """Make the folder a workspace if it is not one; True if a `dance.toml` was written."""
        if self.settings.exists():
            return False
        from dancecli.storage.files import atomic_file

        with atomic_file(self.settings) as file:
            file.write(settings_text)
        return True

    def begin(self, reporter: Reporter) -> None:
        """Make the folder a workspace if a command is to; it has checked what it was given."""
        if self.new_settings is not None and self.create(self.new_settings):
            reporter.message(f"created workspace {self.root} (settings: {self.settings.name})")

    def read_settings(self) -> dict[str, Any]:
        """Read `dance.toml`: one table per command, one key per option; empty if there is no file.

        Raises:
            InputError: it is not TOML.
            WorkspaceError: the workspace is from a newer version.
        """
        try:
            settings = tomllib.loads(self.settings.read_text(encoding="utf-8-sig"))
        except FileNotFoundError:
            return {}
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError.at(
                self.settings, None, f"is not valid TOML: {error}", "correct that line"
            ) from None
        version = settings.pop("version", WORKSPACE_VERSION)
        if not isinstance(version, int):
            raise InputError.at(self.settings, None, f"version is {version!r}, not a whole number")
        if version > WORKSPACE_VERSION:
            raise WorkspaceError(
                f"{self.settings}: the workspace is from a newer dance (version {version}, "
                f"this one reads {WORKSPACE_VERSION})",
                "upgrade: pip install -U dancecli",
            )
        return settings

    @contextmanager
    def lock(self, what: str, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
        """Hold the workspace for one kind of work (`fetch`, `run-NAME`), or refuse.

        The lock is the system's: it is released when the process ends, however that happens.

        Args:
            what: the work.
            on_wait: wait for another process instead of refusing, and call this meanwhile, every two seconds.

        Raises:
            WorkspaceError: another process holds it; the message says which.
        """
        import filelock

        folder = self.root / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        owner = folder / f"{what}.pid"
        held = filelock.FileLock(folder / f"{what}.lock")
        while not held.is_locked:
            try:
                held.acquire(timeout=_WAITING_S if on_wait else _LOOKING_S)
            except filelock.Timeout:
                if on_wait is None:
                    pid = owner.read_text(encoding="utf-8").strip() if owner.exists() else "?"
                    text = f"another {what!r} is at work in {self.root} (process {pid})"
                    raise WorkspaceError(text, "wait for it, or stop it") from None
                on_wait()
        try:
            owner.write_text(f"{os.getpid()}\n", encoding="utf-8")
            yield
        finally:
            owner.unlink(missing_ok=True)
            held.release()


@contextmanager
def clips_lock(workspace: Workspace, what: str, shard: tuple[int, int] | None = None) -> Iterator[None]:
    """Hold the workspace for a command that writes clips, or refuse at once.

    Shards of one number share the workspace with each other; any other two commands that write
    clips do not. The locks are the system's: they are gone with the process, however that ends.

    Args:
        workspace: where clips are written.
        what: the command, for the message that another one gets.
        shard: (i, n), if this is the i-th of n shards.

    Raises:
        WorkspaceError: another command writes clips here; the message says which.
    """
    import filelock

    folder = workspace.root / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        if shard:
            held.enter_context(workspace.lock(f"{what}-{shard[0]}of{shard[1]}"))
        handle = os.open(folder / "clips.lock", os.O_RDWR | os.O_CREAT, 0o666)
        held.callback(os.close, handle)
        # One process at a time is let in, so that nobody slips in while a lock changes its kind.
        with filelock.FileLock(folder / "clips-entry.lock"):
            _enter(workspace, handle, folder / "clips.owner", what, shard[1] if shard else 0)
        yield


def _enter(workspace: Workspace, handle: int, owner: Path, what: str, num_shards: int) -> None:
    import fcntl

    def locks(kind: int) -> bool:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    if locks(fcntl.LOCK_EX):
        owner.write_text(f"{num_shards} {os.getpid()} {what}\n", encoding="utf-8")
        if num_shards:
            locks(fcntl.LOCK_SH)
        return
    known = owner.read_text(encoding="utf-8").split() if owner.exists() else []
    shards, pid, other = (*known, "0", "?", "command")[:3] if len(known) < 3 else known[:3]
    if num_shards and shards == str(num_shards) and locks(fcntl.LOCK_SH):
        return
    at_work = f"a shard of {shards} of {other!r}" if shards != "0" else f"{other!r}"
    raise WorkspaceError(
        f"another command writes clips in {workspace.root}: {at_work} (process {pid})",
        "wait for it, or stop it; shards run together only if all are of the same number",
    )


def checked_name(name: str, what: str) -> str:
    """Return a name that is safe in a path.

    Raises:
        InputError: it is empty, too long, or holds more than letters, digits, `.`, `_`, `-`.
    """
    if not is_name(name):
        raise InputError(
            f"{what} name {name[:80]!r} cannot be used",
            "use up to 100 letters (a to z, A to Z), digits, '.', '_' and '-'; the first a letter or a digit",
        )
    return name


def is_name(name: str) -> bool:
    """Tell whether a run, a split or a report may have a name; file managers copy `x` to `x (copy)`."""
    plain = all(c.isascii() and (c.isalnum() or c in "._-") for c in name)
    return plain and 0 < len(name) <= 100 and not name.startswith((".", "-"))


def _by_age(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern), key=lambda p: (p.stat().st_mtime_ns, p.name))
