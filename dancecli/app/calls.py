"""What runs took the test clips for, to compare two of them clip by clip."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dancecli.core.errors import InputError
from dancecli.core.records import Prediction, Subset
from dancecli.storage import tables
from dancecli.storage.runs import RunFolder
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd


def calls_of(workspace: Workspace, run: str) -> pd.DataFrame:
    """Read what a run took each test clip for.

    Returns:
        By clip id: `predicted`, a label, and `right`.

    Raises:
        WorkspaceError: there is no such run.
        InputError: it has no predictions, or they are damaged.
    """
    import numpy as np
    import pandas as pd

    path = RunFolder(workspace.run(run)).predictions
    if not path.exists():
        raise InputError(f"run {run!r} has no predictions", "wait until it is finished")
    table = tables.read_table(path, Prediction)
    labels = np.array(json.loads(tables.read_meta(path)["labels"]), dtype=object)
    frame = pd.DataFrame(
        {"subset": table.column("subset").to_pylist(), "truth": table.column("label_index").to_numpy()},
        index=table.column("clip_id").to_pylist(),
    )
    scores = np.stack(table.column("scores").to_numpy()) if len(table) else np.zeros((0, len(labels)))
    if scores.shape[1:] != (len(labels),):
        raise InputError.at(path, None, "has scores of another number of classes than labels")
    called = scores.argmax(axis=1)
    frame["predicted"], frame["right"] = labels[called], called == frame["truth"].to_numpy()
    frame = frame[frame["subset"] == Subset.TEST]
    return frame.loc[~frame.index.duplicated(), ["predicted", "right"]]
