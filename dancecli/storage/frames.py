"""Manifests, outcomes and predictions as pandas data frames: typed columns, indexed by clip id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dancecli.core.records import Clip, Prediction, SplitClip, arrow_schema
from dancecli.storage import ledger, tables
from dancecli.storage.corrections import Correction, read_corrections
from dancecli.storage.runs import RunFolder
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

INDEX = "clip_id"


def clips_frame(workspace: Workspace) -> pd.DataFrame:
    """Read all clips, augmented ones included; empty before any fetch or import.

    Raises:
        InputError: the manifest is damaged.
        WorkspaceError: it is of a newer version.
    """
    if not workspace.clips.exists():
        return _frame(arrow_schema(Clip).empty_table())
    return _frame(tables.read_table(workspace.clips, Clip))


def outcomes_frame(workspace: Workspace) -> pd.DataFrame:
    """Read the latest outcome of every clip that was ever tried: class, reason, number of attempts and time.

    Raises:
        WorkspaceError: a ledger is damaged, in use, or of a newer version.
    """
    import pyarrow as pa

    found = ledger.latest(workspace.root)
    columns: dict[str, list[Any]] = {
        INDEX: list(found),
        "outcome": [latest.outcome.value for latest in found.values()],
        "reason": [latest.reason for latest in found.values()],
        "attempts": [latest.attempts for latest in found.values()],
        "time_utc": [latest.time_utc for latest in found.values()],
    }
    kinds = [(name, pa.int64() if name == "attempts" else pa.string()) for name in columns]
    return _frame(pa.table(columns, schema=pa.schema(kinds)))


def corrections_frame(workspace: Workspace) -> pd.DataFrame:
    """Read all corrections, oldest first; empty if there are none.

    Raises:
        InputError: `labels.csv` is damaged.
    """
    return _frame(tables.to_table(Correction, read_corrections(workspace)))


def split_frame(workspace: Workspace, name: str) -> pd.DataFrame:
    """Read the clips of a split with subset, group, label and checksum.

    Raises:
        WorkspaceError: there is no such split, or it is of a newer version.
        InputError: its manifest is damaged.
    """
    return _frame(tables.read_table(workspace.split(name), SplitClip))


def predictions_frame(workspace: Workspace, run: str, labels: tuple[str, ...]) -> pd.DataFrame:
    """Read a run's scores: subset, true and predicted label, and one column of scores per label.

    The predicted label is the one with the highest score, the first of several with the same.

    Raises:
        WorkspaceError: the run has no predictions.
        InputError: the file is damaged.
    """
    import numpy as np
    import pandas as pd

    table = tables.read_table(RunFolder(workspace.run(run)).predictions, Prediction)
    scores = np.stack(table.column("scores").to_numpy()) if table.num_rows else np.empty((0, len(labels)))
    names = pd.Series(labels, dtype="string[pyarrow]")
    frame = _frame(table.select([INDEX, "subset"]))
    frame["label"] = names.take(table.column("label_index").to_numpy()).to_numpy()
    frame["predicted"] = names.take(scores.argmax(axis=1)).to_numpy()
    frame = frame.astype({"label": "string[pyarrow]", "predicted": "string[pyarrow]"})
    return pd.concat([frame, pd.DataFrame(scores, columns=list(labels), index=frame.index)], axis=1)


def _frame(table: pa.Table) -> pd.DataFrame:
    """Convert a table, its text columns without a copy per cell."""
    import pandas as pd
    import pyarrow as pa

    text: Any = pd.StringDtype("pyarrow")
    frame: pd.DataFrame = table.to_pandas(types_mapper={pa.string(): text}.get)
    return frame.set_index(INDEX)
