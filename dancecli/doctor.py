"""What works on this machine, tried rather than looked up, and the line that mends what does not."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib import import_module, metadata
from pathlib import Path

from dancecli.core.errors import DanceError
from dancecli.storage.workspace import Workspace

# YouTube changes; yt-dlp follows within weeks and tells users of releases older than that to update.
_YTDLP_OLD_DAYS = 90
# A thousand clips of ten seconds take about 0.75 GB; below this a fetch will soon stop.
_LOW_DISK_GB = 2.0


@dataclass(frozen=True)
class Finding:
    """One thing that was tried.

    Attributes:
        what: the thing.
        ok: it works.
        found: which version, where, or what went wrong.
        mend: the line that mends it; empty if it works.
        needed_for: the commands that want it.
    """

    what: str
    ok: bool
    found: str
    mend: str
    needed_for: str


def examine(workspace: Workspace) -> list[Finding]:
    """Try everything the commands rest on. Nothing is raised: what fails is a finding."""
    checks: list[tuple[str, str, Callable[[], tuple[str, str]]]] = [
        ("Python", "all", _python),
        ("ffmpeg", "fetch", _ffmpeg),
        ("yt-dlp", "fetch", _ytdlp),
        ("JavaScript for YouTube", "fetch", _javascript),
        ("PyAV", "fetch", _pyav),
        ("OpenCV", "flow", _opencv),
        ("torch", "finetune", _torch),
        ("MMAction2", "finetune", _mmaction),
        ("inception weights", "finetune --pretrain inception", _weights),
        ("disk", "fetch", lambda: _disk(workspace)),
        ("workspace", "all", lambda: _workspace(workspace)),
    ]
    return [_try(what, needed_for, check) for what, needed_for, check in checks]


class _Trouble(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, found: str, mend: str) -> None:
        super().__init__(found)
        self.found, self.mend = found, mend


def _try(what: str, needed_for: str, check: Callable[[], tuple[str, str]]) -> Finding:
    try:
        found, mend = check()
    except _Trouble as trouble:
        return Finding(what, False, trouble.found, trouble.mend, needed_for)
    except DanceError as error:
        return Finding(what, False, error.message, error.hint, needed_for)
    except (ImportError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        return Finding(what, False, str(error).splitlines()[0], "install it again", needed_for)
    return Finding(what, True, found, mend, needed_for)


def _python() -> tuple[str, str]:
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}", ""


def _ffmpeg() -> tuple[str, str]:
    from dancecli.video.ffmpeg import find_ffmpeg

    binary = find_ffmpeg()
    said = _output(str(binary), "-hide_banner", "-encoders")
    if "libx264" not in said:
        raise _Trouble(f"{binary} has no libx264 encoder", "pip install imageio-ffmpeg, and take it off PATH")
    version = _output(str(binary), "-version").split()[2]
    where = "of imageio-ffmpeg" if "imageio_ffmpeg" in binary.parts else f"at {binary}"
    return f"{version} {where}", ""


def _ytdlp() -> tuple[str, str]:
    version = _version("yt-dlp", "pip install -U yt-dlp")
    year, month, day = (int(n) for n in version.split(".")[:3])
    age = (datetime.now(UTC).date() - date(year, month, day)).days
    if age > _YTDLP_OLD_DAYS:
        raise _Trouble(f"{version} is {age} days old; YouTube may refuse it", "pip install -U yt-dlp")
    return f"{version}, {age} days old", ""


def _javascript() -> tuple[str, str]:
    """yt-dlp solves YouTube's challenges with a JavaScript runtime since 2025.11."""
    beside = Path(sys.executable).with_name("deno")
    runtime = str(beside) if beside.exists() else shutil.which("deno")
    if runtime is None:
        raise _Trouble("no deno was found; YouTube offers few formats without it", "pip install deno")
    _version("yt-dlp-ejs", "pip install -U yt-dlp-ejs")
    return f"{_output(runtime, '--version').splitlines()[0]}", ""


def _pyav() -> tuple[str, str]:
    import av

    return f"{av.__version__} with libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}", ""


def _opencv() -> tuple[str, str]:
    from dancecli.core.flow_format import FlowMethod
    from dancecli.video.optical_flow import estimator

    estimator(FlowMethod.TVL1)
    import cv2

    return f"{cv2.__version__} with TV-L1", ""


def _torch() -> tuple[str, str]:
    _version("torch", "pip install 'dancecli[train]'")
    import torch

    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        return f"{torch.__version__} on {names}", ""
    return f"{torch.__version__} on the CPU, {torch.get_num_threads()} threads", ""


def _mmaction() -> tuple[str, str]:
    wanted = ("mmaction2", "mmengine", "mmcv-lite", "decord")
    versions = {name: _version(name, "pip install 'dancecli[train]'") for name in wanted}
    # Its import is what breaks on a new Python or torch, and registers every model when it works.
    import_module("dancecli.model.networks.mmaction")
    return ", ".join(f"{name} {version}" for name, version in versions.items()), ""


def _weights() -> tuple[str, str]:
    from dancecli.model.networks.inception_weights import kinetics_weights

    weights = kinetics_weights()
    return f"Kinetics-400, sha256 {weights.sha256[:12]}", ""


def _disk(workspace: Workspace) -> tuple[str, str]:
    # A folder that is not there yet will be on the disk of the one above.
    place = next(folder for folder in (workspace.root, *workspace.root.parents) if folder.exists())
    free_gb = shutil.disk_usage(place).free / 1e9
    if free_gb < _LOW_DISK_GB:
        raise _Trouble(f"{free_gb:.1f} GB free at {workspace.root}", "free some space, or use another folder")
    return f"{free_gb:.0f} GB free at {workspace.root}", ""


def _workspace(workspace: Workspace) -> tuple[str, str]:
    if not workspace.settings.exists():
        return f"none yet at {workspace.root}; the first command that writes makes it", ""
    workspace.read_settings()
    if not os.access(workspace.root, os.W_OK):
        raise _Trouble(f"{workspace.root} may not be written", "check who may write there")
    return f"{workspace.root}, {len(workspace.splits())} splits, {len(workspace.runs())} runs", ""


def _version(package: str, mend: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        raise _Trouble("not installed", mend) from None


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
