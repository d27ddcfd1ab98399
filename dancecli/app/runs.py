"""The runs of a workspace for the app: what each is at, how it trained, and two of them clip by clip."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import InputError
from dancecli.core.records import Subset
from dancecli.report.results.progress import read_rows, states_of
from dancecli.storage.corrections import corrections_file
from dancecli.storage.runs import RunFolder, read_records
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path


def list_runs(workspace: Workspace) -> list[dict[str, Any]]:
    """Give what the list shows of every run, the latest first."""
    records, unreadable = read_records(workspace)
    found = []
    for state in reversed(states_of(workspace, records, unreadable)):
        record: Mapping[str, Any] = records.get(state.run, {})
        unread = unreadable.get(state.run)
        test = (record.get("results") or {}).get(Subset.TEST) or {}
        found.append(
            {
                **asdict(state),
                "title": str((record.get("model") or {}).get("title", "")),
                "split": str((record.get("split") or {}).get("name", "")),
                "created": str(record.get("created_utc", "")),
                "error": str(unread or record.get("error", "")),
                "command": _command(record.get("command")),
                "n": test.get("n"),
                "top1": test.get("top1"),
                "predictions": not unread and RunFolder(workspace.run(state.run)).predictions.exists(),
            }
        )
    return found


def _command(words: object) -> str:
    """Write the command line of a run as it can be given again."""
    if not isinstance(words, Sequence) or isinstance(words, str) or not words:
        return ""
    program, *rest = map(str, words)
    name = program.rpartition("/")[2]
    return shlex.join([name if name == "dance" else "dance", *rest])


def training_curves(
    workspace: Workspace, names: Sequence[str]
) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Give the lines of runs, read from their logs as far as these are written.

    Returns:
        For each run that there is: `val top1`, `train loss` and `val loss`, points of epoch and value.
    """
    from dancecli.report.plots.layout import thinned, training_points

    known = set(workspace.runs())
    return {
        name: {
            key: thinned(points)
            for key, points in training_points(read_rows(RunFolder(workspace.run(name)).metrics)).items()
        }
        for name in names
        if name in known
    }


def compare_runs(workspace: Workspace, a: str, b: str) -> dict[str, Any]:
    """Compare two runs on their test clips, as `dance compare` does.

    Raises:
        WorkspaceError: there is no such run, or it is not finished.
        InputError: the runs were not evaluated alike on the same clips.
    """
    from dancecli.report.results.comparison import compare_entries, verdict_of
    from dancecli.report.results.entries import by_labels_in_force, read_entry

    if a == b:
        raise InputError("a run is the same as itself", "choose two")
    (first, _), (second, _) = (read_entry(workspace, name, Subset.TEST) for name in (a, b))
    first, second, _ = by_labels_in_force(workspace, first, second, Subset.TEST)
    found = compare_entries(first, second, Subset.TEST)
    paired = found.paired
    return {
        "a": a,
        "b": b,
        "counts": {"both": paired.both, "a": paired.first, "b": paired.second, "neither": paired.neither},
        "rates": [found.first.estimate.rate, found.second.estimate.rate],
        "low": paired.low,
        "high": paired.high,
        "p": paired.p,
        "verdict": verdict_of(a, b, paired),
    }


def report_page(workspace: Workspace, run: str, script_hash: str) -> Path:
    """Return the page of a run's report; it is drawn if there is none, or it is older than the run.

    Args:
        workspace: whose run.
        run: its name.
        script_hash: of the script that such a page has now.

    Raises:
        WorkspaceError: there is no such run, or it is not finished.
        InputError: its files contradict each other.
    """
    page, folder = workspace.report(run) / "index.html", RunFolder(workspace.run(run))
    try:
        drawn = page.stat().st_mtime_ns
        # Controls are shown, and corrections since are said.
        labels = corrections_file(workspace)
        shown = {folder.record, folder.predictions, *folder.score_tables}
        shown |= {labels} if labels.exists() else set()
        fresh = all(path.stat().st_mtime_ns <= drawn for path in shown)
        fresh = fresh and script_hash in page.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        fresh = False
    if not fresh:
        from dancecli.report.report import ReportSettings, report

        report(workspace, ReportSettings(run))
    return page
