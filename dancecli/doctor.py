"""Checks of the environment: each dependency is exercised, and each failure comes with its fix."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING

from dancecli.core.errors import DanceError
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.text import pluralize
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    from dancecli.dataset.fetch.settings import FetchSettings
    from dancecli.dataset.fetch.site_check import Attempt, SiteReport

# YouTube changes; yt-dlp follows within weeks and asks users of older releases to update.
_YTDLP_OLD_DAYS = 90
# A thousand clips of ten seconds take about 0.75 GB; with less space a fetch soon stops.
_LOW_DISK_GB = 2.0
_FETCH = "dance fetch"


Check = Callable[[], str]


@dataclass(frozen=True)
class Finding:
    """Result of one check.

    Attributes:
        what: what was checked.
        ok: whether it works.
        found: version and location, or what is wrong.
        fix: how to fix it; empty if it works, or if another finding names the fix.
        needed_for: the commands that require it.
    """

    what: str
    ok: bool
    found: str
    fix: str
    needed_for: str


def run_checks(workspace: Workspace) -> list[Finding]:
    """Exercise everything the commands depend on. Nothing is raised: a failure is a finding."""
    return [_run_check(what, needed_for, check, fix) for what, needed_for, check, fix in _checks(workspace)]


def run_site_checks(
    workspace: Workspace, settings: FetchSettings, video_id: str, reporter: Reporter = SILENT
) -> list[Finding]:
    """Check what a fetch depends on, then download one known video from the site as a fetch would.

    Nothing is raised: a failure is a finding.

    Args:
        workspace: its disk is checked.
        settings: how to reach the site, as for a fetch.
        video_id: a video that the site has.
        reporter: gets the attempts.
    """
    findings = [
        _run_check(what, needed_for, check, fix)
        for what, needed_for, check, fix in _checks(workspace)
        if needed_for == _FETCH
    ]
    reports: list[SiteReport] = []

    def check() -> str:
        from dancecli.dataset.fetch.site_check import check_site

        reports.append(check_site(settings, video_id, _ytdlp_age_days(), reporter))
        report = reports[0]
        if report.remedies:
            raise _CheckError(report.attempts[0].found, "; ".join(report.remedies))
        return report.attempts[0].found

    findings.append(_run_check("site", _FETCH, check, ""))
    for report in reports:
        findings[-1] = replace(findings[-1], what=report.site)
        findings += [_other_attempt(report.site, attempt) for attempt in report.attempts[1:]]
    return findings


def _other_attempt(site: str, attempt: Attempt) -> Finding:
    return Finding(f"{site}: {attempt.how}", attempt.failure is None, attempt.found, "", _FETCH)


def _checks(workspace: Workspace) -> list[tuple[str, str, Check, str]]:
    """List the checks: what, which commands need it, how, and the fix of an unexpected error."""
    return [
        ("Python", "all commands", _python, ""),
        ("ffmpeg", _FETCH, _ffmpeg, "pip install --force-reinstall imageio-ffmpeg"),
        ("yt-dlp", _FETCH, _ytdlp, "pip install -U yt-dlp"),
        ("JavaScript for YouTube", _FETCH, _javascript, "pip install --force-reinstall deno"),
        ("PyAV", _FETCH, _pyav, "pip install --force-reinstall av"),
        ("OpenCV", "dance flow", _opencv, "pip install --force-reinstall opencv-contrib-python"),
        ("pose networks", "dance pose", _pose, ""),
        ("torch", "dance finetune", _torch, "reinstall torch: see https://pytorch.org/get-started"),
        (
            "MMAction2",
            "dance finetune",
            _mmaction,
            "pip install --force-reinstall --no-deps mmaction2==1.2.0",
        ),
        ("models of the Hub", "dance finetune --pretrain hf:REPO@REVISION", _hub, ""),
        ("inception weights", "dance finetune --pretrain inception", _weights, "delete the file and rerun"),
        ("disk", _FETCH, lambda: _disk(workspace), "choose another workspace folder"),
        ("workspace", "all commands", lambda: _workspace(workspace), "choose another workspace folder"),
    ]


class _CheckError(Exception):
    def __init__(self, found: str, fix: str) -> None:
        super().__init__(found)
        self.found, self.fix = found, fix


def _run_check(what: str, needed_for: str, check: Check, fix: str) -> Finding:
    """Run one check; `fix` is the hint for an error that the check itself does not expect."""
    try:
        return Finding(what, True, check(), "", needed_for)
    except _CheckError as error:
        return Finding(what, False, error.found, error.fix, needed_for)
    except DanceError as error:
        return Finding(what, False, error.message, error.hint, needed_for)
    # A broken package raises anything on import: NumPy's binary check is a ValueError, a missing
    # name an AttributeError. To report that is what this command is for.
    except Exception as error:
        first_line = next(iter(str(error).splitlines()), "")
        return Finding(what, False, f"{type(error).__name__}: {first_line}".rstrip(": "), fix, needed_for)


def _python() -> str:
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}"


def _ffmpeg() -> str:
    from dancecli.video.ffmpeg import find_ffmpeg

    binary = find_ffmpeg()
    encoders = _output(str(binary), "-hide_banner", "-encoders")
    if "libx264" not in encoders:
        raise _CheckError(
            f"{binary} has no libx264 encoder", "pip install imageio-ffmpeg, and remove this ffmpeg from PATH"
        )
    version = _output(str(binary), "-version").split()[2]
    where = "from imageio-ffmpeg" if "imageio_ffmpeg" in binary.parts else f"at {binary}"
    return f"{version} {where}"


def _ytdlp() -> str:
    version, age = _version("yt-dlp", "pip install -U yt-dlp"), _ytdlp_age_days()
    if age > _YTDLP_OLD_DAYS:
        raise _CheckError(f"{version} is {age} days old; YouTube may reject it", "pip install -U yt-dlp")
    return f"{version}, {age} days old"


def _ytdlp_age_days() -> int:
    year, month, day = (int(n) for n in metadata.version("yt-dlp").split(".")[:3])
    return (datetime.now(UTC).date() - date(year, month, day)).days


def _javascript() -> str:
    """Find the JavaScript runtime with which yt-dlp solves YouTube's challenges since 2025.11."""
    beside = Path(sys.executable).with_name("deno")
    runtime = str(beside) if beside.exists() else shutil.which("deno")
    if runtime is None:
        raise _CheckError("deno is not installed; without it YouTube offers few formats", "pip install deno")
    _version("yt-dlp-ejs", "pip install -U yt-dlp-ejs")
    return _output(runtime, "--version").splitlines()[0]


def _pyav() -> str:
    import av

    return f"{av.__version__} with libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}"


def _opencv() -> str:
    from dancecli.core.flow_format import FlowMethod
    from dancecli.video.optical_flow import estimator

    estimator(FlowMethod.TVL1)
    import cv2

    return f"{cv2.__version__} with TV-L1"


def _pose() -> str:
    from dancecli.core.errors import DanceError, MissingDependencyError
    from dancecli.video.pose.estimate import Estimator
    from dancecli.video.pose.weights import find_weights

    try:
        estimator = Estimator(find_weights())
    except MissingDependencyError as error:
        return f"not set up, which only dance pose needs: {error.hint}"
    except DanceError as error:
        raise _CheckError(error.message, error.hint) from None
    people = "several people" if estimator.has_detector else "the main dancer only"
    return f"{estimator.engine}, {people}"


def _hub() -> str:
    from dancecli.core.errors import MissingDependencyError
    from dancecli.model.networks.hub.repository import hub_versions

    try:
        return hub_versions()
    except MissingDependencyError as error:
        return f"not set up, which only hf: needs: {error.hint}"


def _torch() -> str:
    _version("torch", "pip install 'dancecli[train]'")
    import torch

    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        return f"{torch.__version__} on {names}"
    return f"{torch.__version__} on the CPU, {torch.get_num_threads()} threads"


def _mmaction() -> str:
    required = ("mmaction2", "mmengine", "mmcv-lite")
    fix = "pip install 'dancecli[train]'; on ARM also pip install --no-deps mmaction2==1.2.0"
    versions = {name: _version(name, fix) for name in required}
    # Files that are no clips of ours are read by PyAV, more slowly, where decord has no wheel.
    with contextlib.suppress(metadata.PackageNotFoundError):
        versions["decord"] = metadata.version("decord")
    # The import fails on an unsupported Python or torch, and registers every model otherwise.
    import_module("dancecli.model.networks.mmaction")
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _weights() -> str:
    _version("torch", "pip install 'dancecli[train]'")
    from dancecli.model.networks.inception_weights import kinetics_weights

    weights = kinetics_weights()
    return f"Kinetics-400, sha256 {weights.sha256[:12]}"


def _disk(workspace: Workspace) -> str:
    # A folder that does not exist yet will be on the disk of its parent.
    place = next(folder for folder in (workspace.root, *workspace.root.parents) if folder.exists())
    free_gb = shutil.disk_usage(place).free / 1e9
    if free_gb < _LOW_DISK_GB:
        raise _CheckError(
            f"{free_gb:.1f} GB free at {workspace.root}",
            "free some disk space, or choose another workspace folder",
        )
    return f"{free_gb:.0f} GB free at {workspace.root}"


def _workspace(workspace: Workspace) -> str:
    if not workspace.settings.exists():
        return f"no workspace at {workspace.root} yet; the first command that writes creates it"
    workspace.read_settings()
    if not os.access(workspace.root, os.W_OK):
        raise _CheckError(f"{workspace.root} is not writable", "check the permissions of this folder")
    return (
        f"{workspace.root}, {pluralize(len(workspace.splits()), 'split')}, "
        f"{pluralize(len(workspace.runs()), 'run')}"
    )


def _version(package: str, fix: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        raise _CheckError("not installed", fix) from None


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
