"""What runs took clips for: of one run for the table of clips, of two to compare them clip by clip."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dancecli.core.errors import InputError
from dancecli.core.records import Prediction, Subset
from dancecli.report.statistics.metrics import predicted
from dancecli.storage import tables
from dancecli.storage.runs import RunFolder, read_record
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd


def calls_of(workspace: Workspace, run: str) -> pd.DataFrame:
    """Read what a run took each test clip for.

    Returns:
        By clip id: `predicted` and `true`, labels, and `right`.

    Raises:
        WorkspaceError: there is no such run.
        InputError: it has no predictions, or they are damaged.
    """
    return read_calls(workspace, run, Subset.TEST)[0][["predicted", "right", "true"]]


def read_calls(
    workspace: Workspace, run: str, subset: Subset | None = None
) -> tuple[pd.DataFrame, npt.NDArray[np.floating]]:
    """Read what a run took clips for, each clip once.

    Args:
        workspace: whose run.
        run: its name.
        subset: only the clips of this subset; None for all.

    Returns:
        By clip id: `predicted` and `true`, labels, `right`, `score`, and `true_score`, that of the right one.
        And the scores, of shape (clips, classes).

    Raises:
        WorkspaceError: there is no such run.
        InputError: it has no predictions, or they are damaged.
    """
    import numpy as np
    import pandas as pd

    path = RunFolder(workspace.run(run)).predictions
    if not path.exists():
        read_record(workspace, run)
        raise InputError(f"run {run!r} has no predictions", "wait until it is finished")
    table = tables.read_table(path, Prediction)
    labels = json.loads(tables.read_meta(path)["labels"])
    scores = np.stack(table.column("scores").to_numpy()) if len(table) else np.zeros((0, len(labels)))
    if scores.shape[1:] != (len(labels),):
        raise InputError.at(path, None, "has scores of another number of classes than labels")
    truth = table.column("label_index").to_numpy()
    # As reports do, a tie counts against the model.
    called = predicted(scores, truth)
    frame = pd.DataFrame(
        {
            "predicted": [labels[i] for i in called],
            "right": called == truth,
            "true": [labels[i] for i in truth],
            "score": scores.max(axis=1, initial=0.0),
            "true_score": scores[np.arange(len(truth)), truth],
        },
        index=table.column("clip_id").to_pylist(),
    )
    if subset is not None:
        chosen = np.array(table.column("subset").to_pylist(), dtype=object) == subset
        frame, scores = frame[chosen], scores[chosen]
    first = ~frame.index.duplicated()
    return frame[first], scores[first]
