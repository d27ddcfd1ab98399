"""Refuse to change what a run or a study reads while it is at work."""

from __future__ import annotations

from dancecli.core.errors import WorkspaceError
from dancecli.storage.runs import RUNNING, computes_features, read_records, read_studies
from dancecli.storage.workspace import Workspace


def refuse_running(workspace: Workspace) -> None:
    """Refuse while a run, a study or `dance features` reads the clips and writes their features.

    Raises:
        WorkspaceError: one does.
    """
    if computes_features(workspace):
        raise WorkspaceError(
            f"features of clips of {workspace.root} are being computed", "wait, or stop that"
        )
    for what, records in (("run", read_records(workspace)[0]), ("study", read_studies(workspace)[0])):
        for name, record in records.items():
            if record["status"] == RUNNING:
                raise WorkspaceError(
                    f"{what} {name!r} is at work on clips of {workspace.root}", "wait for it, or stop it"
                )
