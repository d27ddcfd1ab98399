"""A submission's record: what its lock and its predictions decide, nobody states otherwise."""

from __future__ import annotations

import copy
import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_run import change_meta, make_run

from dancecli.core.records import SplitClip
from dancecli.report.board import BoardSettings, board
from dancecli.report.submissions import add_submissions
from dancecli.report.submit import SubmitSettings, submit
from dancecli.storage import tables
from dancecli.storage.lockfile import split_digest, subset_digest
from dancecli.storage.workspace import Workspace

LABELS = ("wave", "spin", "bounce", "step touch")
RUN = "inception-demo-1"
CARD = "submission.json"
VIEWS = "32x2 frames, 1 clip x 1 center crop 224, short side 256"
# What the participant alone can say, and the page shows as theirs; see docs/howto/leaderboard.md.
STATED = (
    r"model\..*", r"weights\.(name|source|matched_keys|total_keys)", r"views\.train", r"optim\..*", r"seed",
    r"cache\..*", r"versions\..*", r"seconds\..*", r"speed\..*", r"created_utc", r"finished_utc", r"group",
)  # fmt: skip
# How the participant's split was made, which no page shows: the lock decides what is in it.
NOT_SHOWN = (r"split\.(name|seed|ratios|flags)",)


def make_submission(
    root: Path, *, val_in_train: bool = False, folds: bool = False, augmented: int = 0
) -> Path:
    """The submission of a run whose record has all that those of `dance finetune` have."""
    home = make_run(root / "home", LABELS, test=20, val=0 if folds else 8, train=0 if folds else 24)
    rows = tables.read(home.split("demo"), SplitClip)
    if folds:
        rows = [
            SplitClip(r.clip_id, r.subset, r.group, r.label, r.sha256, f"{i % 5 + 1}/1")
            for i, r in enumerate(rows)
        ]
        _write_split(home, rows)
    path = home.run(RUN) / "run.json"
    run = json.loads(path.read_text())
    trained = {"train", "val"} if val_in_train else {"test"} if folds else {"train"}
    sizes = {
        "train": sum(r.subset in trained for r in rows) + augmented,
        "val": 0 if folds or val_in_train else 8,
        "test": 20,
    }
    run["split"] |= {
        "hash": split_digest(rows, LABELS),
        "counts": sizes,
        "train_hash": "f" * 64 if augmented else _digest(rows, trained),
        "val_hash": _digest(rows, set() if val_in_train else {"val"}),
        **({"val_in_train": 8} if val_in_train else {}),
        **({"folds": 5, "repeats": 2} if folds else {}),
        **({"augmented": augmented} if augmented else {}),
    }
    run["views"]["test"] = VIEWS
    run |= {"group": "many", "speed": {"clips_per_s": 3.5, "of": "decoding and network"}}
    path.write_text(json.dumps(run))
    change_meta(home, RUN, **{"view.protocol": VIEWS, "split.hash": run["split"]["hash"]})
    host = Workspace(root / "host").split_lock("benchmark")
    host.parent.mkdir(parents=True)
    file = submit(home, SubmitSettings(RUN, name="ours", out=root / "ours.zip"))[0].file
    shutil.copy(home.split_lock("demo"), host)
    return file


def _write_split(home: Workspace, rows: list[SplitClip]) -> None:
    meta = {k: v for k, v in tables.read_meta(home.split("demo")).items() if not k.startswith("dance.")}
    tables.write(home.split("demo"), SplitClip, rows, {**meta, "split.hash": split_digest(rows, LABELS)})
    home.split_lock("demo").unlink()


def _digest(rows: list[SplitClip], subsets: set[str]) -> str:
    return subset_digest((r.clip_id, r.sha256, r.label) for r in rows if r.subset in subsets)


def leaves(value: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the places of all values that are no tables or lists."""
    if isinstance(value, dict | list):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(one, (*where, key))
    else:
        yield where


def changed(run: dict[str, Any], where: tuple[Any, ...], *, less: bool = False) -> dict[str, Any]:
    """A record with another value in one place."""
    run = copy.deepcopy(run)
    place: Any = run
    for key in where[:-1]:
        place = place[key]
    old = place[where[-1]]
    if isinstance(old, bool):
        new: Any = not old
    else:
        new = 1 if old is None else old + (-1 if less else 1) if isinstance(old, int | float) else f"{old}x"
    place[where[-1]] = new
    return run


def refusal(host: Workspace, honest: Path, run: dict[str, Any]) -> str:
    """Why a submission with this record is refused; empty if it is accepted."""
    path = honest.with_name("changed.zip")
    with zipfile.ZipFile(honest) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            text = (
                json.dumps(json.loads(old.read(name)) | {"run": run}).encode()
                if name == CARD
                else old.read(name)
            )
            new.writestr(name, text)
    refused = add_submissions(host, [path], dry_run=True).refused
    return refused[0][1] if refused else ""


def record_of(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        run: dict[str, Any] = json.loads(archive.read(CARD))["run"]
    return run


@pytest.mark.parametrize("kind", [{}, {"val_in_train": True}, {"folds": True}])
def test_every_value_is_held_against_the_lock_or_is_the_participants_word(
    kind: dict[str, bool], tmp_path: Path
) -> None:
    honest, host = make_submission(tmp_path, **kind), Workspace(tmp_path / "host")
    run = record_of(honest)
    assert refusal(host, honest, run) == ""
    found = {".".join(map(str, where)): where for where in leaves(run)}
    free = [n for n in found if any(re.fullmatch(pattern, n) for pattern in (*STATED, *NOT_SHOWN))]
    checked = {name: where for name, where in found.items() if name not in free}
    assert {"split.counts.train", "split.train_hash", "views.test", "views.num_crops"} <= set(checked)
    accepted = [
        f"{name} {'-' if less else '+'}"
        for name, where in checked.items()
        for less in (False, True)
        if not refusal(host, honest, changed(run, where, less=less))
    ]
    assert accepted == []


@pytest.mark.parametrize(
    ("where", "value", "why"),
    [
        (("split", "counts", "train"), 9999, "split.counts.train of its run is 9999, its lock gives 0 to 24"),
        (("split", "counts", "test"), 2200, "split.counts.test of its run is 2200, its lock gives 20"),
        (("split", "val_in_train"), 500, "split.val_in_train of its run is 500, its lock gives 0 to 8"),
        (("split", "val_in_train"), 8, "split.counts.val of its run is 8, its lock gives 0"),
        (("split", "train_hash"), "0" * 64, "split.train_hash of its run is '000000"),
        (("split", "removed"), {"test": 1}, "split.removed.test of its run is 1, its lock gives 0"),
        (("split", "removed_since"), {"train": 1}, "split.removed_since.train of its run is 1"),
        (("split", "removed"), {"all": 1}, "split.removed of its run names a subset 'all'"),
        (("split", "counts", "val"), -1, "val of its run is -1, which is no number of clips"),
        (("split", "augmented"), 3, "split.augmented of its run is 3"),
        (("split", "folds"), 5, "split.folds of its run is 5, its lock and predictions give nothing"),
        (("views", "test"), "32x2 frames, 10 clips x 3 crops 256", "views.test of its run is"),
        (("views", "num_clips"), 10, "views.num_clips of its run is 10, its lock and predictions give 1"),
        (("weights", "sha256"), "0" * 64, "weights.sha256 of its run"),
        (("finished_utc",), "soon", 'finished_utc of its run is "soon", which is no time'),
        (("finished_utc",), "2026-11-22T06:00:00Z", "its run was finished before it began"),
        (("seconds", "train"), -5.0, "seconds.train of its run is -5.0"),
        (("speed", "clips_per_s"), float("inf"), "speed.clips_per_s of its run is Infinity"),
        (("seed",), -1, "seed of its run is -1"),
        (("members",), [{"run": "a"}], "its run is no record of dance"),
        (
            ("members",),
            [{"run": "a", "view_protocol": VIEWS}],
            "model.members of its run is None, its lock and predictions give ['a']",
        ),
        (("evaluated",), {"view_protocol": "1x1 frames"}, "evaluated.view_protocol of its run is"),
    ],
)  # fmt: skip
def test_a_false_fact_is_refused_with_the_right_one(
    where: tuple[str, ...], value: Any, why: str, tmp_path: Path
) -> None:
    honest, host = make_submission(tmp_path), Workspace(tmp_path / "host")
    run = record_of(honest)
    place = run
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = value
    assert why in refusal(host, honest, run)


def test_fewer_clips_to_train_on_are_no_false_fact(tmp_path: Path) -> None:
    """A file of train may be lost after the split: what was trained on then has another hash."""
    honest, host = make_submission(tmp_path), Workspace(tmp_path / "host")
    run = record_of(honest)
    run["split"]["counts"]["train"] -= 1
    run["split"]["train_hash"] = "0" * 64
    assert refusal(host, honest, run) == ""


def test_augmented_clips_are_counted_apart(tmp_path: Path) -> None:
    honest, host = make_submission(tmp_path, augmented=48), Workspace(tmp_path / "host")
    run = record_of(honest)
    assert refusal(host, honest, run) == ""
    run["split"]["counts"]["train"] += 1
    assert "split.counts.train of its run is 25, its lock gives 0 to 24" in refusal(host, honest, run)


def test_a_page_says_what_is_its_participants_word_and_not_how_the_split_was_made(tmp_path: Path) -> None:
    honest, site = make_submission(tmp_path), tmp_path / "site"
    board(Workspace(tmp_path / "host"), BoardSettings(add=(honest,), site=site))
    page = (site / "ours" / "index.html").read_text()
    assert "as its participant states" in page
    assert "dance split --lock benchmark.lock.csv --name benchmark" in page
    assert "70/10/20" not in page
