from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.builders import Ran

from dancecli import doctor
from dancecli.storage.workspace import Workspace

Dance = Callable[..., Ran]


def test_everything_works_in_the_environment_of_the_tests(dance: Dance) -> None:
    ran = dance("doctor", "--json")
    findings = {f["what"]: f for f in ran.json}
    # yt-dlp's age is no fault of the code under test.
    broken = [f for f in ran.json if not f["ok"] and f["what"] != "yt-dlp"]
    assert not broken
    assert findings["torch"]["found"].startswith("2.")
    assert dance("doctor").out.count("ok  ") >= len(findings) - 1


def test_what_does_not_work_is_said_with_its_remedy_and_code_3(
    workspace: Workspace, dance: Dance, tmp_path: Path
) -> None:
    workspace.settings.write_text("version = 1\n")
    ran = dance("doctor", "--json", XDG_CACHE_HOME=str(tmp_path), PYTHONPATH=str(tmp_path / "none"))
    assert ran.code in (0, 3)
    broken = tmp_path / "broken" / "av"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('libav is gone')")
    ran = dance("doctor", "--json", PYTHONPATH=str(broken.parent))
    finding = next(f for f in ran.json if f["what"] == "PyAV")
    assert ran.code == 3
    assert not finding["ok"]
    assert "libav is gone" in finding["found"]
    assert finding["mend"]


def test_a_workspace_that_may_not_be_written_is_said(
    monkeypatch: pytest.MonkeyPatch, workspace: Workspace
) -> None:
    workspace.settings.write_text("version = 1\n")
    assert doctor._try("workspace", "all", lambda: doctor._workspace(workspace)).ok
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    finding = doctor._try("workspace", "all", lambda: doctor._workspace(workspace))
    assert (finding.ok, finding.found) == (False, f"{workspace.root} may not be written")


def test_the_disk_of_a_folder_that_is_not_there_yet(workspace: Workspace) -> None:
    finding = doctor._try("disk", "fetch", lambda: doctor._disk(Workspace(workspace.root / "a" / "b")))
    assert "GB free at" in finding.found


@pytest.mark.parametrize(("version", "ok"), [("2020.01.01", False), ("2999.01.01", True)])
def test_an_old_ytdlp_is_told_to_update(
    monkeypatch: pytest.MonkeyPatch, workspace: Workspace, version: str, ok: bool
) -> None:
    monkeypatch.setattr(doctor.metadata, "version", lambda name: version)
    finding = doctor._try("yt-dlp", "fetch", doctor._ytdlp)
    assert finding.ok is ok
    assert ok or finding.mend == "pip install -U yt-dlp"


def test_a_missing_package_is_named_with_the_line_that_adds_it() -> None:
    def check() -> tuple[str, str]:
        return doctor._version("no-such-package-at-all", "pip install it"), ""

    finding = doctor._try("it", "nothing", check)
    assert (finding.ok, finding.found, finding.mend) == (False, "not installed", "pip install it")


def test_python_is_told_as_it_is() -> None:
    assert doctor._python()[0].startswith(".".join(map(str, sys.version_info[:3])))
