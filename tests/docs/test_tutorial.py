"""The tutorial takes minutes to type, so that is done by hand; here it is seen that a difference is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TRANSCRIPT = Path(__file__).parents[2] / "docs" / "_tools" / "replay_tutorial.py"
PAGE = """Say it:

```console
$ mkdir -p below && cd below
$ printf '$ echo inner\\nin 3 s at 127.0.0.1:80\\n'
$ pwd | sed 's:.*/::'
```
"""


def typed(page: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(TRANSCRIPT), str(page), *flags], capture_output=True, text=True, check=False
    )


def test_what_was_typed_is_what_is_shown_but_for_times_and_places(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    assert typed(page, "--write").returncode == 0
    seen = page.read_text()
    assert "\n$ echo inner\nin 3 s at 127.0.0.1:80\n$ pwd" in seen
    assert seen.endswith("\nbelow\n```\n")
    # A command that a command printed is output, and is not typed a second time.
    again = typed(page)
    assert (again.returncode, again.stdout) == (0, "every output is as shown\n")
    assert again.stderr.count("$ ") == 3 + seen.count("printf '$ ")
    page.write_text(seen.replace("in 3 s", "in 4 s").replace(":80\n", ":81\n"))
    assert typed(page).returncode == 0
    # Where the clone lies is told from here, or from the root.
    shown = seen.replace("echo inner", "echo ../h8/clone/manifests/demo.txt")
    page.write_text(shown.replace("\n$ echo ../h8/clone/", "\n$ echo DANCE/"))
    assert (found := typed(page)).returncode == 0, found.stdout
    page.write_text(seen.replace("\nbelow", "\nabove"))
    differs = typed(page)
    assert differs.returncode == 1
    assert "-above\n+below" in differs.stdout


def test_a_command_that_fails_is_told(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ echo why; false\n```\n")
    failed = typed(page)
    assert failed.returncode == 1
    assert "why\nended with 1" in failed.stderr
