"""Stop a run that is training, as Ctrl-C in its terminal does.

A process is only signaled if it is proven to be the run: it holds the run's lock open, and the signal goes to
the very process that was looked at, not to its number, which another one may have by then.
"""

from __future__ import annotations

import os
import platform
import signal
from pathlib import Path

from dancecli.core.errors import WorkspaceError
from dancecli.storage.runs import RUNNING, read_record
from dancecli.storage.workspace import Workspace

_ELSEWHERE = "stop it with Ctrl-C where it was started"


def stop_run(workspace: Workspace, name: str) -> int:
    """Interrupt the process of a run, which keeps its state; the same command resumes it.

    Args:
        workspace: whose run.
        name: the run.

    Returns:
        The process.

    Raises:
        WorkspaceError: there is no such run, it is not running, or no process of this machine is
            proven to be it.
    """
    record = read_record(workspace, name)
    if record["status"] != RUNNING:
        raise WorkspaceError(f"run {name!r} is not training: it is {record['status']}")
    host = (record.get("process") or {}).get("host", "")
    if host != platform.node():
        raise WorkspaceError(
            f"run {name!r} trains on another machine, {host or 'which is not known'}", _ELSEWHERE
        )
    lock = workspace.root / ".locks" / f"run-{name}.lock"
    pid = _written_pid(lock.with_suffix(".pid"))
    if pid is None or not hasattr(os, "pidfd_open"):
        raise WorkspaceError(f"the process of run {name!r} is not known here", _ELSEWHERE)
    try:
        # From here on the process is held: should it end, its number is not looked up again.
        handle = os.pidfd_open(pid)
    except (OSError, OverflowError):
        raise WorkspaceError(f"the process of run {name!r}, {pid}, is gone", "look again") from None
    try:
        if not _holds(pid, lock):
            raise WorkspaceError(f"process {pid} is not proven to be run {name!r}", _ELSEWHERE)
        signal.pidfd_send_signal(handle, _interrupting(pid))
    except PermissionError:
        raise WorkspaceError(f"run {name!r} belongs to another user of this machine", _ELSEWHERE) from None
    finally:
        os.close(handle)
    return pid


def _written_pid(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() and len(text) < 12 else None


def _holds(pid: int, lock: Path) -> bool:
    """Tell whether a process has a file open."""
    wanted = lock.stat()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if os.path.samestat(entry.stat(), wanted):
                return True
        except FileNotFoundError:
            continue
    return False


def _interrupting(pid: int) -> int:
    """Return the signal that interrupts a process.

    A shell starts what it puts into the background with Ctrl-C ignored; `dance` takes SIGTERM for the same.
    """
    caught = 0
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("SigCgt:"):
            caught = int(line.split()[1], 16)
    return signal.SIGINT if caught >> (signal.SIGINT - 1) & 1 else signal.SIGTERM
