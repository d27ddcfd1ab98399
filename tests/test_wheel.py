"""The wheel that a user installs, built from the sdist, in its own environment.

The environment borrows the dependencies of this one, so that nothing is downloaded; `make dist` tests the
wheel in an empty one.
"""

from __future__ import annotations

import email
import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def shipped() -> set[str]:
    """What has to be in the wheel: the package with its templates, and the manifests inside it."""
    found = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "dancecli").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    of_manifests = (path for path in (ROOT / "manifests").rglob("*") if path.is_file())
    return found | {f"dancecli/{path.relative_to(ROOT).as_posix()}" for path in of_manifests}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, by way of the sdist: what is left out of that cannot come into it."""
    folder = tmp_path_factory.mktemp("wheel")
    hatch = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    subprocess.run([*hatch, "--target", "sdist"], cwd=ROOT, check=True, capture_output=True)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        # Python 3.11.2, which Debian 12 has, knows no filter.
        archive.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    unpacked = next(path for path in folder.iterdir() if path.is_dir())
    assert {path.name for path in ROOT.glob("*.md")} <= {path.name for path in unpacked.iterdir()}
    subprocess.run([*hatch, "--target", "wheel"], cwd=unpacked, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_the_package_its_types_and_its_manifests_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        (about,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = email.message_from_bytes(archive.read(about))
    assert names == shipped()
    assert "dancecli/py.typed" in names
    assert metadata["Version"] == PROJECT["version"]
    assert metadata["Requires-Python"] == PROJECT["requires-python"]


def test_the_installed_wheel_runs_and_finds_its_manifests(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "environment"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
    ]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    (site,) = home.glob("lib/python*/site-packages")
    # A path that a .pth file names is searched; the .pth files in there, an editable install, are not read.
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def typed(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
        return done.stdout

    dance = str(home / "bin" / "dance")
    assert typed(dance, "--version") == f"dance {PROJECT['version']}\n"
    assert "dance demo" in typed(dance)
    code = (
        "from dancecli.core import labels, recipe; from dancecli.model.networks import zoo\n"
        "print(labels.MANIFESTS, len(labels.LabelSet.read(labels.DEFAULT_LABELS)), len(zoo.read_zoo()))\n"
        "print(*recipe.recipe_names())"
    )
    # The same as here, from files of its own.
    here = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    manifests = site / "dancecli" / "manifests"
    assert typed(str(python), "-c", code) == here.stdout.replace(str(ROOT / "manifests"), str(manifests))
