"""A process that holds the lock of a run, as one that trains it does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from dancecli.storage.workspace import Workspace

# Ctrl-C ends it with 130, as `dance`.
_PROGRAM = """
import sys, time, signal
from pathlib import Path
from dancecli.cli.app import _handle_sigterm
from dancecli.storage.workspace import Workspace
{before}
_handle_sigterm()
try:
    with Workspace(Path(sys.argv[1])).lock("run-" + sys.argv[2]):
        print("ready", flush=True)
        time.sleep(120)
except KeyboardInterrupt:
    sys.exit(130)
"""
# As of what a shell starts in the background.
_IGNORING = "signal.signal(signal.SIGINT, signal.SIG_IGN)"


@contextmanager
def locked_run(
    workspace: Workspace, name: str, *, background: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """Hold the lock of a run in a process of its own, whose number its record names."""
    program = _PROGRAM.format(before=_IGNORING if background else "")
    words = [sys.executable, "-c", program, str(workspace.root), name]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            path = workspace.run(name) / "run.json"
            record = json.loads(path.read_text())
            record["process"]["pid"] = process.pid
            path.write_text(json.dumps(record))
            yield process
        finally:
            process.kill()
