"""The page of a tuning study: which trial was chosen, how sure that is, and what was searched.

The trials are evaluated on the same validation clips, so each is tested against the chosen one clip
by clip and by source video, with p-values that allow for its having been chosen as the best of them
(see `statistics.selection`). A trial that is not significantly different counts as tied with it.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dancecli.core.text import percent, pluralize
from dancecli.report.pages.templating import interval, render
from dancecli.report.plots.tuning import draw_study
from dancecli.report.plots.tuning_layout import Dot, Panel, study_panels
from dancecli.report.statistics.intervals import Proportion, proportion
from dancecli.report.statistics.selection import compare_with_best
from dancecli.report.statistics.significance import ALPHA
from dancecli.storage.files import atomic_file
from dancecli.storage.runs import read_study
from dancecli.storage.workspace import Workspace

SCHEMA = 1
# The space of the paper, whose rows are then shown beside ours (its Tables 2 and 3).
PAPER_KEYS = ("lr", "dropout", "optimizer")


@dataclass(frozen=True)
class Trial:
    """A trial, compared with the others.

    Attributes:
        kind: `chosen`, `tied`, `worse`, `baseline`, `pruned`, or empty where there is no result.
        tied: it is not significantly different from the chosen one; None where that was not tested.
        p: of that test, adjusted; None likewise.
    """

    number: int
    baseline: bool
    state: str
    params: Mapping[str, Any]
    top1: Proportion | None
    loss: float | None
    epoch: int | None
    epochs: int | None
    kind: str
    tied: bool | None
    p: float | None
    note: str

    @property
    def interval_text(self) -> str:
        """Its 95 % interval; empty without a result."""
        return interval(self.top1.estimate) if self.top1 else ""

    @property
    def status(self) -> str:
        """What became of it, in words."""
        words = f"{self.state}: {self.note}" if self.note else self.state
        if self.kind == "chosen":
            words = "chosen"
        elif self.state == "pruned":
            words = f"pruned after epoch {self.epochs}"
        elif self.state == "done":
            words = {True: "tied", False: "worse", None: ""}[self.tied]
        return f"{words}; the baseline" if self.baseline else words


@dataclass(frozen=True)
class Tuning:
    """A study that was read, and its page.

    Attributes:
        keys: what was searched.
        trials: the best first, those without a result at the end.
        lines: what the choice is worth, a sentence each.
        command: what trains the chosen trial again, and tests it.
        solved: what solves its head instead, as `dance finetune` does by default; empty if it does not.
    """

    name: str
    keys: tuple[str, ...]
    trials: tuple[Trial, ...]
    lines: tuple[str, ...]
    command: str
    solved: str
    document: dict[str, Any]
    folder: Path
    page: Path


def tuning(workspace: Workspace, name: str) -> Tuning:
    """Read a study and write its page, its picture and `choice.json` into `reports/<study>/`.

    Raises:
        WorkspaceError: there is no such study.
        InputError: its record cannot be read.
    """
    record = read_study(workspace, name)
    keys = tuple(record["space"])
    trials = _evaluated(record)
    best = trials[0] if trials and trials[0].kind == "chosen" else None
    baseline = next((t for t in trials if t.baseline and t.top1), None)
    tied = [t for t in trials if t.tied and t is not best]
    tested = [t for t in trials if t.tied is not None and t is not best]
    lines = _sentences(best, baseline, tied, tested, len(set(record["val"]["groups"])))
    command = _command(record, best.params) if best else ""
    solved = ""
    if best and record.get("solved_by_default"):
        frozen = best.params.get("freeze", "4") == "4"
        solved = f"{command} --head linear" + ("" if frozen else " --freeze 4")
    if solved:
        lines.append(
            "the default configuration is that of training by epochs, as all trials are trained: dance "
            "finetune alone solves the head at once, with which no trial is compared"
        )
    document = {
        "schema": SCHEMA,
        "study": name,
        "chosen": best.number if best else None,
        "val": _rate(best.top1) if best else None,
        "tied": [t.number for t in tied],
        "tested": len(tested),
        "p": {str(t.number): t.p for t in tested},
        "baseline": {"number": baseline.number, "val": _rate(baseline.top1)} if baseline else None,
        "command": command,
        "solved_command": solved or None,
    }
    folder = workspace.report(name)
    panels = study_panels(_dots(trials, keys), record["space"])
    if panels:
        draw_study(folder / "trials.png", panels)
    with atomic_file(folder / "choice.json") as file:
        json.dump(document, file, indent=2, ensure_ascii=False)
        file.write("\n")
    found = Tuning(
        name, keys, tuple(trials), tuple(lines), command, solved, document, workspace.study_folder(name),
        folder / "index.html",
    )  # fmt: skip
    with atomic_file(found.page) as file:
        file.write(_page(found, record, panels, best, baseline, len(tied), len(tested)))
    return found


def _evaluated(record: Mapping[str, Any]) -> list[Trial]:
    """Put the trials in order and test each against the chosen one."""
    import numpy as np

    rows, best = {t["number"]: t for t in record["trials"]}, record["best"]
    flags = {n: np.array([c == "1" for c in t["right"]]) for n, t in rows.items() if t["right"]}
    others = [n for n, t in rows.items() if n in flags and n != best and t["state"] == "done"]
    groups, adjusted = record["val"]["groups"], {}
    if best is not None and others:
        order = [best, *others]
        ps = compare_with_best(np.stack([flags[n] for n in order]), 0, groups)
        adjusted = dict(zip(others, ps[1:], strict=True))
    counts = {n: proportion(of, groups) for n, of in flags.items()}
    found = [_trial(t, best, adjusted.get(t["number"]), counts.get(t["number"])) for t in rows.values()]
    # As the choice was made: most right, then the lower loss, then the earlier; without a result last.
    places = {"chosen": 0, "baseline": 1, "tied": 1, "worse": 1, "pruned": 2}

    def place(trial: Trial) -> tuple[float, ...]:
        hits = trial.top1.k if trial.top1 else -1
        return places.get(trial.kind, 3), -hits, trial.loss or 0.0, trial.number

    return sorted(found, key=place)


def _trial(row: Mapping[str, Any], best: int | None, p: float | None, top1: Proportion | None) -> Trial:
    chosen, val = row["number"] == best, row["val"]
    tied = True if chosen else None if p is None else p >= ALPHA
    kind = "chosen" if chosen else "pruned" if row["state"] == "pruned" else ""
    if not kind and row["state"] == "done":
        kind = "baseline" if row["baseline"] else "tied" if tied else "worse"
    return Trial(
        number=row["number"],
        baseline=row["baseline"],
        state=row["state"],
        params=row["params"],
        top1=top1 if val and row["state"] in ("done", "pruned") else None,
        loss=row["loss"],
        epoch=row["epoch"],
        epochs=row["epochs"],
        kind=kind,
        tied=tied,
        p=p,
        note=row["note"],
    )


def _sentences(
    best: Trial | None, baseline: Trial | None, tied: Sequence[Trial], tested: Sequence[Trial], videos: int
) -> list[str]:
    if best is None or best.top1 is None:
        return ["no trial has a result yet"]
    found = [f"trial {best.number} is chosen: {_words(best.top1)} of the validation clips"]
    if tested:
        found.append(
            f"on these {best.top1.n} clips of {pluralize(videos, 'source video')}, {len(tied)} of the "
            f"{len(tested)} others that finished are not significantly different from it"
        )
    if baseline is best:
        found.append("no trial did better than the default configuration")
    elif baseline is not None and baseline.top1 is not None:
        gain = best.top1.k - baseline.top1.k
        verdict = "not significant" if baseline.tied else "significant"
        shown = f"{100 * gain / best.top1.n:+.1f} points are {verdict}" if gain else "just as many"
        found.append(f"the default configuration has {_words(baseline.top1)}: {shown}")
    return found


def _words(of: Proportion | None) -> str:
    e = of.estimate if of else None
    return f"{of.k}/{of.n} ({percent(e.rate)} %, 95 % interval {interval(e)})" if of and e else "nothing"


def _rate(of: Proportion | None) -> dict[str, Any] | None:
    e = of.estimate if of else None
    return {"top1": of.k, "n": of.n, "low": e.low, "high": e.high} if of and e else None


def _command(record: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    """Say how the chosen trial is trained again, by the ordinary way and to the test set."""
    weights = record["weights"]["given"]
    words = ["dance", "finetune", "--pretrain", record["model"]["given"]]
    words += ["--split", record["split"]["name"], "--recipe", f"studies/{record['name']}/best.toml"]
    words += ["--seed", str(record["seed"])] if record["seed"] else []
    words += ["--weights", weights] if weights else []
    words += ["--flow-method", record["flow_method"]] if record.get("flow_method") else []
    # Random weights are not frozen unless that is asked for.
    words += ["--freeze", str(params.get("freeze", record["recipe"]["freeze"]))] if weights == "none" else []
    return shlex.join(words)


def _dots(trials: Sequence[Trial], keys: Sequence[str]) -> list[Dot]:
    found = []
    shown = [t for t in trials if t.kind and t.top1 and t.top1.estimate]
    for trial in sorted(shown, key=lambda t: t.number):
        assert trial.top1 is not None  # noqa: S101 - for the type checker
        estimate = trial.top1.estimate
        assert estimate is not None  # noqa: S101
        params = ", ".join(f"{key} {_plain(trial.params[key])}" for key in keys)
        text = f"trial {trial.number}: {_words(trial.top1)}; {params}"
        found.append(Dot(trial.number, dict(trial.params), estimate, trial.kind, text))
    return found


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _page(
    found: Tuning,
    record: Mapping[str, Any],
    panels: Sequence[Panel],
    best: Trial | None,
    baseline: Trial | None,
    tied: int,
    tested: int,
) -> str:
    kinds = {point.kind for panel in panels for point in panel.points}
    return render(
        "tuning.html",
        ("common.js",),
        {"labels": []},
        found=found,
        record=record,
        panels=panels,
        videos=len(set(record["val"]["groups"])),
        kinds=[kind for kind in ("chosen", "baseline", "tied", "worse", "pruned") if kind in kinds],
        best=best,
        baseline=baseline if baseline is not best else None,
        tied=tied,
        tested=tested,
        chance=1 / record["classes"],
        plain=_plain,
        paper=found.keys == PAPER_KEYS,
        shown=[replace(t, params=dict(t.params)) for t in found.trials],
    )
