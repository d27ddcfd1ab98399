"""The tutorial, typed: run what it shows after each `$`, and hold the output against what it shows.

    python docs/_tools/replay_tutorial.py docs/tutorial.md          # compare; status 1 on a difference
    python docs/_tools/replay_tutorial.py docs/tutorial.md --write   # put what was seen into the page

All is typed in a new folder, in one shell. Times, paths, ages and rates differ from machine to
machine and are not compared; lines of progress come and go with time and are not shown.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```console\n(.*?)^```\n", re.DOTALL | re.MULTILINE)
PROGRESS = re.compile(r"^[a-z][\w -]*: \d+/\d+(  .*)?$")
# What is true on one machine only, in the order in which it is taken out.
VARYING = (
    # A path may be told from the root, from home or from here, wherever clone and folder lie.
    (r"(?:\.\.|~|DANCE)?/[^\s:]*/", "/"),
    (r"\b\d+([.,]\d+)* ?(ms|s|min|minutes|h|days|GB|MB|kB|clips/s|MiB)\b", "N"),
    (r"127\.0\.0\.1:\d+", "HOST"),
    (r"\b[0-9a-f]{8,}\b", "HASH"),
    (r"\d{4}-\d\d-\d\d[ T][\d:]+", "TIME"),
    (r"loss [\d.]+", "loss N"),
    # The clips per second of a board's row, which carry no unit there.
    (r"(\d\.\d\s+)\d+\.\d(\s+none)", r"\1N\2"),
)


def commands(block: str) -> Iterator[str]:
    """Each command of a block, continued lines joined."""
    for line in block.replace("\\\n", "").splitlines():
        if line.startswith("$ "):
            yield line[2:]


def typed(command: str, folder: Path) -> str:
    """Type one command where the last one ended, and give what a reader would see."""
    state = folder / ".shell"
    script = f'[ -f "{state}" ] && cd "$(cat "{state}")"; {command}\nstatus=$?; pwd > "{state}"; exit $status'
    env = {**os.environ, "COLUMNS": "100", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder, env=env, text=True, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    lines = [line.rstrip() for line in done.stdout.splitlines() if not PROGRESS.match(line)]
    text = "\n".join(lines).replace(str(folder), "~").replace(str(ROOT), "DANCE")
    if done.returncode not in (0, 3):
        raise SystemExit(f"$ {command}\n{text}\nended with {done.returncode}")
    return text


def plain(text: str) -> list[str]:
    """Take out what differs between machines, and the spaces that a table's width brings."""
    for pattern, name in VARYING:
        text = re.sub(pattern, name, text)
    return [" ".join(line.split()) for line in text.splitlines() if set(line.strip()) - set("─━ ")]


def main() -> int:
    """Type the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    page = asked.page.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()

        def again(found: re.Match[str]) -> str:
            parts: list[str] = []
            for command in commands(found[1]):
                # What a command runs it prints like this, too, and that is its output.
                if parts and plain(f"$ {command}")[0] in plain(parts[-1]):
                    continue
                print(f"$ {command}", file=sys.stderr, flush=True)
                parts.append(f"$ {command}\n{typed(command, folder)}".rstrip() + "\n")
            return "```console\n" + "".join(parts) + "```\n"

        seen = BLOCK.sub(again, page)
    if asked.write:
        asked.page.write_text(seen, encoding="utf-8")
        return 0
    difference = list(difflib.unified_diff(plain(page), plain(seen), "shown", "seen", lineterm="", n=1))
    print("\n".join(difference) or "every output is as shown")
    return 1 if difference else 0


if __name__ == "__main__":
    raise SystemExit(main())
