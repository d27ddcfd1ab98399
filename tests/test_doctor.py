from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.builders import Ran

from dancecli import doctor
from dancecli.storage.workspace import Workspace

Dance = Callable[..., Ran]


def search_path(first: Path) -> str:
    """Put a folder before those that Python searches now."""
    return os.pathsep.join([str(first), *filter(None, [os.environ.get("PYTHONPATH")])])


def test_everything_works_in_the_environment_of_the_tests(dance: Dance) -> None:
    ran = dance("doctor", "--json")
    findings = {f["what"]: f for f in ran.json}
    # The age of yt-dlp does not depend on the code under test.
    broken = [f for f in ran.json if not f["ok"] and f["what"] != "yt-dlp"]
    assert not broken
    assert findings["torch"]["found"].startswith("2.")
    assert dance("doctor").out.count("ok  ") >= len(findings) - 1


def test_a_failed_check_is_printed_with_its_fix_and_exit_code_3(
    workspace: Workspace, dance: Dance, tmp_path: Path
) -> None:
    workspace.settings.write_text("version = 1\n")
    ran = dance("doctor", "--json", XDG_CACHE_HOME=str(tmp_path), PYTHONPATH=search_path(tmp_path / "none"))
    assert ran.code == (0 if all(finding["ok"] for finding in ran.json) else 3)
    broken = tmp_path / "broken" / "av"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('libav is gone')")
    ran = dance("doctor", "--json", PYTHONPATH=search_path(broken.parent))
    finding = next(f for f in ran.json if f["what"] == "PyAV")
    assert ran.code == 3
    assert not finding["ok"]
    assert "libav is gone" in finding["found"]
    assert finding["fix"]


def test_a_read_only_workspace_is_a_finding(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> None:
    workspace.settings.write_text("version = 1\n")
    assert doctor._run_check("workspace", "all commands", lambda: doctor._workspace(workspace), "").ok
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    finding = doctor._run_check("workspace", "all commands", lambda: doctor._workspace(workspace), "")
    assert (finding.ok, finding.found) == (False, f"{workspace.root} is not writable")


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (ValueError("numpy.dtype size changed,\nmay indicate"), "ValueError: numpy.dtype size changed,"),
        (AttributeError("module 'av' has no attribute 'open'"), "AttributeError: module 'av'"),
        (KeyError(), "KeyError"),
    ],
)
def test_whatever_a_broken_package_raises_is_a_finding(error: Exception, found: str) -> None:
    def check() -> str:
        raise error

    finding = doctor._run_check("PyAV", "dance fetch", check, "pip install av")
    assert (finding.ok, finding.fix) == (False, "pip install av")
    assert finding.found.startswith(found)


def test_the_disk_of_a_folder_that_does_not_exist_yet(workspace: Workspace) -> None:
    finding = doctor._run_check(
        "disk", "dance fetch", lambda: doctor._disk(Workspace(workspace.root / "a" / "b")), ""
    )
    assert "GB free at" in finding.found


@pytest.mark.parametrize(("version", "ok"), [("2020.01.01", False), ("2999.01.01", True)])
def test_an_old_ytdlp_must_be_updated(
    monkeypatch: pytest.MonkeyPatch, workspace: Workspace, version: str, ok: bool
) -> None:
    monkeypatch.setattr(doctor.metadata, "version", lambda name: version)
    finding = doctor._run_check("yt-dlp", "dance fetch", doctor._ytdlp, "")
    assert finding.ok is ok
    assert ok or finding.fix == "pip install -U yt-dlp"


def test_a_missing_package_is_named_with_its_install_command() -> None:
    def check() -> str:
        return doctor._version("no-such-package-at-all", "pip install it")

    finding = doctor._run_check("it", "nothing", check, "")
    assert (finding.ok, finding.found, finding.fix) == (False, "not installed", "pip install it")


def test_the_python_version_is_printed() -> None:
    assert doctor._python().startswith(".".join(map(str, sys.version_info[:3])))
