"""`dance submit` and `dance board --add`: an honest result is accepted anywhere, a forged one nowhere."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import shutil
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.builders import Ran
from helpers.fake_run import make_run

from dancecli.core.errors import DanceError, InputError, UsageError, WorkspaceError
from dancecli.core.records import Prediction, SplitClip
from dancecli.dataset.upkeep.remove import remove
from dancecli.report.board import BoardSettings, board
from dancecli.report.results.run_results import read_run_results, results_of
from dancecli.report.results.submission import figures, read_submission
from dancecli.report.submissions import add_submissions, read_submissions
from dancecli.report.submit import SubmitSettings, submit
from dancecli.storage import tables
from dancecli.storage.lockfile import read_lock, references_in, split_digest
from dancecli.storage.removals import Removal, add_removals, clip_reference
from dancecli.storage.workspace import Workspace

LABELS = ("wave", "spin", "bounce", "step touch", "robot", "kick ball change")
RUN = "inception-demo-1"
CARD, PREDICTIONS, LOCK = "submission.json", "predictions.parquet", "lock.csv"
Members = dict[str, bytes]
Forge = Callable[[Members], Members]


@pytest.fixture
def honest(tmp_path: Path) -> Path:
    """The submission of a run in a workspace of its own."""
    home = make_run(tmp_path / "home", LABELS, test=48, val=12)
    return submit(home, SubmitSettings(RUN, name="ours", out=tmp_path / "ours.zip"))[0].file


@pytest.fixture
def host(tmp_path: Path) -> Workspace:
    """A workspace without clips or runs: the lock file of the benchmark is all that it has."""
    return make_host(tmp_path, "host")


def make_host(tmp_path: Path, name: str) -> Workspace:
    workspace = Workspace(tmp_path / name)
    lock = workspace.split_lock("benchmark")
    lock.parent.mkdir(parents=True)
    shutil.copy(Workspace(tmp_path / "home").split_lock("demo"), lock)
    return workspace


def test_an_honest_submission_is_accepted_in_another_workspace(honest: Path, host: Workspace) -> None:
    result = board(host, BoardSettings(add=(honest,)))
    assert tuple(result.added.accepted) == ("ours",)
    (row,) = result.leaderboards[0].rows
    home = board(Workspace(honest.parent / "home"), BoardSettings()).leaderboards[0].rows[0]
    assert (row.name, row.submitted, row.top1) == ("ours", True, home.top1)
    # Adding it again changes nothing, and says so.
    again = board(host, BoardSettings(add=(honest,))).added
    assert (again.accepted, again.kept) == ({}, ("ours",))


def test_a_removed_clip_that_is_still_here_is_not_published(
    honest: Path, host: Workspace, tmp_path: Path
) -> None:
    home = Workspace(honest.parent / "home")
    gone = next(row.clip_id for row in read_lock(host.split_lock("benchmark")).values())
    for workspace in (home, host):
        add_removals(workspace, [Removal(gone, "", "clip", "asked", "2026-01-01T00:00:00")])
    said = re.escape("1 clip of removed.csv still here: they must not be published")
    with pytest.raises(WorkspaceError, match=said) as refused:
        submit(home, SubmitSettings(RUN))
    assert refused.value.hint == "dance remove removed.csv --reason ..."
    home.split_lock("demo").unlink()
    with pytest.raises(WorkspaceError, match=said):
        submit(home, SubmitSettings(RUN))
    assert not home.split_lock("demo").exists()
    with pytest.raises(WorkspaceError, match=said):
        board(host, BoardSettings(add=(honest,), site=tmp_path / "site"))
    assert host.submissions() == []
    # For who looks at it here nothing is published.
    assert board(host, BoardSettings(add=(honest,))).leaderboards


def test_a_submission_is_of_the_split_whose_lock_it_agrees_with(honest: Path, host: Workspace) -> None:
    # Its participant called the split `demo`. Of two locks that agree, the one that is asked for counts.
    shutil.copy(host.split_lock("benchmark"), host.split_lock("another"))
    for name in ("benchmark", "another"):
        (found,) = board(host, BoardSettings(split=name, add=(honest,))).leaderboards
        assert ([row.name for row in found.rows], found.splits) == (["ours"], (name,))
    with pytest.raises(WorkspaceError, match=r"no run in .* is of split 'demo'") as refused:
        board(host, BoardSettings(split="demo"))
    assert refused.value.hint == "known: another"


def test_a_submission_from_before_a_take_down_is_told_what_to_do(honest: Path, host: Workspace) -> None:
    rows = read_lock(host.split_lock("benchmark"))
    for subset in ("train", "test"):
        gone = next(row.clip_id for row in rows.values() if row.subset == subset)
        remove(host, [gone], "asked")
        ((_, why),) = add_submissions(host, [honest]).refused
        assert "removed by request since: its participant has to remove them too" in why
        assert gone not in why
    assert why.startswith("it names 1 train clip, 1 test clip removed")
    # Who removes them too is welcome, with the run as it was trained.
    home = Workspace(honest.parent / "home")
    removed = references_in([host.split_lock("benchmark")])
    remove(home, [clip for clip in rows if clip_reference(clip) in removed], "asked")
    (again,) = submit(home, SubmitSettings(RUN, name="ours", out=honest))
    assert tuple(add_submissions(host, [again.file]).accepted) == ("ours",)


def test_it_says_nothing_of_the_machine_that_it_was_made_on(honest: Path) -> None:
    with zipfile.ZipFile(honest) as archive:
        card = archive.read(CARD).decode()
    assert "/old/place" not in card
    assert "command" not in json.loads(card)["run"]
    assert json.loads(card)["run"]["split"]["ratios"] == "70/10/20"


def test_the_same_submissions_give_the_same_board_in_whatever_order(honest: Path, tmp_path: Path) -> None:
    home = Workspace(tmp_path / "home")
    make_run(home.root, LABELS, test=48, val=12, name="poor-1", skill=0.4, salt="poor")
    files = [honest, submit(home, SubmitSettings("poor-1", out=tmp_path / "poor.zip"))[0].file]
    pages = []
    for name, order in (("a", files), ("b", files[::-1])):
        found = board(make_host(tmp_path, name), BoardSettings(add=tuple(order)))
        assert sorted(found.added.accepted) == ["ours", "poor-1"]
        pages.append({path.name: path.read_bytes() for path in found.page.parent.iterdir()})
    assert pages[0] == pages[1]
    assert set(pages[0]) == {"index.html", "board.csv", "board.json"}


def unpack(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(path: Path, members: Members, *, hashed: bool = True) -> Path:
    """Write a submission, with right checksums, so that these are not what gives a forgery away."""
    if hashed:
        card = json.loads(members[CARD])
        card["sha256"] = {name: hashlib.sha256(members[name]).hexdigest() for name in (PREDICTIONS, LOCK)}
        members = {**members, CARD: json.dumps(card).encode()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def with_predictions(change: Callable[[list[Prediction]], list[Prediction]]) -> Forge:
    def forge(members: Members) -> Members:
        path = Path(SCRATCH[0]) / PREDICTIONS
        path.write_bytes(members[PREDICTIONS])
        meta = {k: v for k, v in tables.read_meta(path).items() if not k.startswith("dance.")}
        tables.write(path, Prediction, change(tables.read(path, Prediction)), meta)
        return {**members, PREDICTIONS: path.read_bytes()}

    return forge


def with_lock(
    change: Callable[[list[dict[str, str]]], None], *, hashed: bool
) -> Callable[[Members], Members]:
    """Change the lock, and for `hashed` the hashes of the split wherever they stand."""

    def forge(members: Members) -> Members:
        from dancecli.core.records import SplitClip
        from dancecli.storage.lockfile import subset_digest

        rows = list(csv.DictReader(io.StringIO(members[LOCK].decode())))
        change(rows)
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        members = {**members, LOCK: text.getvalue().encode()}
        if not hashed:
            return members
        card = json.loads(members[CARD])
        clips = [SplitClip(**row) for row in rows]
        test = [(c.clip_id, c.sha256, c.label) for c in clips if c.subset == "test"]
        hashes = {"split.hash": split_digest(clips, LABELS), "test.hash": subset_digest(test)}
        card["run"]["split"] |= {"hash": hashes["split.hash"], "test_hash": hashes["test.hash"]}
        path = Path(SCRATCH[0]) / PREDICTIONS
        path.write_bytes(members[PREDICTIONS])
        meta = {k: v for k, v in tables.read_meta(path).items() if not k.startswith("dance.")} | hashes
        subset_of = {c.clip_id: c.subset for c in clips}
        label_of = {c.clip_id: LABELS.index(c.label) for c in clips}
        kept = [
            replace(p, label_index=label_of[p.clip_id])
            for p in tables.read(path, Prediction)
            if subset_of.get(p.clip_id) == p.subset
        ]
        tables.write(path, Prediction, kept, meta)
        return {**members, CARD: json.dumps(card).encode(), PREDICTIONS: path.read_bytes()}

    return forge


def with_card(change: Callable[[Any], None]) -> Forge:
    def forge(members: Members) -> Members:
        card = json.loads(members[CARD])
        change(card)
        return {**members, CARD: json.dumps(card).encode()}

    return forge


def set_in(rows: list[dict[str, str]], where: str, /, **changed: str) -> None:
    """Change the first row of a subset."""
    next(row for row in rows if row["subset"] == where).update(changed)


def drop(rows: list[dict[str, str]]) -> None:
    """Drop the first three test clips."""
    rows[:] = [row for row in rows if row["clip_id"] not in {r["clip_id"] for r in held_out(rows)[:3]}]


def held_out(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [row for row in rows if row["subset"] == "test"]


def first_test(change: Callable[[Prediction], Prediction]) -> Callable[[list[Prediction]], list[Prediction]]:
    def all_of(rows: list[Prediction]) -> list[Prediction]:
        i = next(i for i, row in enumerate(rows) if row.subset == "test")
        return [*rows[:i], change(rows[i]), *rows[i + 1 :]]

    return all_of


def claim_more(card: Any) -> None:
    card["metrics"]["test"]["top1"]["k"] += 3


def claim_better_f1(card: Any) -> None:
    card["metrics"]["test"]["per_class"][2]["f1"]["rate"] = 0.99


def join_two(rows: list[dict[str, str]]) -> None:
    test = held_out(rows)
    test[0]["group"] = test[1]["group"]


def rename(card: Any) -> None:
    card["name"] = "../../etc"


SCRATCH: list[str] = []
_PERFECT = tuple(float(i == 0) for i in range(len(LABELS)))
# Name: (how it is forged, whether its checksums are right, the reason that is given).
FORGED: dict[str, tuple[Forge, bool, str]] = {
    "better scores, old checksum": (
        with_predictions(first_test(lambda p: replace(p, scores=_PERFECT))),
        False,
        "predictions.parquet does not have the checksum",
    ),
    "a higher count claimed": (with_card(claim_more), True, "for test.top1.k, and its predictions give"),
    "a higher F1 claimed": (with_card(claim_better_f1), True, r"for test.per_class\[2\].f1.rate"),
    "better scores, old figures": (
        with_predictions(
            lambda rows: [replace(p, scores=tuple(float(i == p.label_index) for i in range(6))) for p in rows]
        ),
        True,
        "and its predictions give",
    ),
    "a hard clip left out of the predictions": (
        with_predictions(lambda rows: [p for p in rows if p.subset != "test"] + rows[-40:]),
        True,
        "clips have no prediction",
    ),
    "a clip predicted twice": (with_predictions(lambda rows: [*rows, rows[-1]]), True, "or stands twice"),
    "a clip of training added": (
        with_predictions(lambda rows: [*rows, replace(rows[-1], clip_id="train00000xx_0_10000")]),
        True,
        "is not a clip of that subset",
    ),
    "a label changed in the predictions": (
        with_predictions(first_test(lambda p: replace(p, label_index=(p.label_index + 1) % 6))),
        True,
        "in the split",
    ),
    "scores that are no probabilities": (
        with_predictions(first_test(lambda p: replace(p, scores=(9.0, *p.scores[1:])))),
        True,
        "do not sum to 1",
    ),
    "scores that are no numbers": (
        with_predictions(first_test(lambda p: replace(p, scores=(float("nan"), *p.scores[1:])))),
        True,
        "scores that are no probabilities",
    ),
    "a label changed in the lock": (
        with_lock(lambda rows: set_in(rows, "test", label="spin"), hashed=False),
        True,
        "lock.csv has the split hash",
    ),
    "a label changed in the lock, hashes too": (
        with_lock(lambda rows: set_in(rows, "test", label="spin"), hashed=True),
        True,
        "it is not of split 'benchmark': label of test00000xx_0_10000 is 'spin', and 'wave' in the split",
    ),
    "hard clips dropped from lock and predictions": (
        with_lock(drop, hashed=True),
        True,
        "test clip test00000xx_0_10000 is missing, and 2 more differences",
    ),
    "a test clip moved to training": (
        with_lock(lambda rows: set_in(rows, "test", subset="train"), hashed=True),
        True,
        "subset of test00000xx_0_10000 is 'train', and 'test' in the split",
    ),
    "a training clip from elsewhere": (
        with_lock(lambda rows: set_in(rows, "train", clip_id="other_0_1", group="other"), hashed=True),
        True,
        "train clip other_0_1 is not in the split",
    ),
    "two groups joined": (
        with_lock(join_two, hashed=True),
        True,
        "group of test00000xx_0_10000 is 'test00001xx', and 'test00000xx' in the split",
    ),
    "a group in two subsets": (
        with_lock(lambda rows: set_in(rows, "test", group="train00000xx"), hashed=True),
        True,
        "the split would leak",
    ),
    "an easier file": (
        with_lock(lambda rows: set_in(rows, "test", sha256="0" * 64), hashed=True),
        True,
        "is another file",
    ),
    "labels in another order": (
        with_card(lambda card: card["run"]["labels"].reverse()),
        True,
        "lock.csv has the split hash",
    ),
    "a newer version": (with_card(lambda card: card.update(schema=2)), True, "written by a newer dance"),
    "an unfinished run": (
        with_card(lambda card: card["run"].update(status="running")),
        True,
        "its run is not complete",
    ),
    "a name that leaves the folder": (with_card(rename), True, "cannot be used"),
    "a group that is a path": (
        with_card(lambda card: card["run"].update(group="../up")),
        True,
        "cannot be used",
    ),
    "parameters that are text": (
        with_card(lambda card: card["run"]["model"].update(params_total="few")),
        True,
        "model.params_total of its run is",
    ),
    "a further member": (lambda members: {**members, "../evil.txt": b""}, True, "is not a submission"),
    "a member missing": (
        lambda members: {k: v for k, v in members.items() if k != LOCK},
        False,
        "is not a submission",
    ),
    "a table of something else": (
        lambda members: {**members, PREDICTIONS: b"PAR1 nothing"},
        True,
        "is not a readable Parquet file",
    ),
    "a card that is no record": (
        lambda members: {**members, CARD: b"[" * 100_000},
        False,
        "is not JSON",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_submission_is_refused_with_the_reason(
    name: str, honest: Path, host: Workspace, tmp_path: Path
) -> None:
    SCRATCH[:] = [str(tmp_path)]
    forge, hashed, reason = FORGED[name]
    path = pack(tmp_path / "forged.zip", forge(unpack(honest)), hashed=hashed)
    added = add_submissions(host, [path])
    assert not added.accepted
    ((file, why),) = added.refused
    assert file == str(path)
    assert re.search(reason, why), why
    assert str(tmp_path) not in why
    assert "\n" not in why
    assert not host.submissions()


def test_a_file_that_is_no_zip_is_refused_and_the_others_are_added(
    honest: Path, host: Workspace, tmp_path: Path
) -> None:
    folder = tmp_path / "all"
    folder.mkdir()
    (folder / "broken.zip").write_bytes(honest.read_bytes()[:900])
    shutil.copy(honest, folder / "whole.zip")
    added = add_submissions(host, [folder])
    assert tuple(added.accepted) == ("ours",)
    assert [Path(file).name for file, _ in added.refused] == ["broken.zip"]


def test_a_submission_with_a_damaged_byte_anywhere_is_refused_without_a_traceback(
    honest: Path, tmp_path: Path
) -> None:
    whole, path = honest.read_bytes(), tmp_path / "damaged.zip"
    refused = set()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            read_submission(path)
        except DanceError as error:
            assert error.message.startswith(f"{path}: ")
            assert "\n" not in error.message
            refused.add(error.message.split("(")[0])
    assert f"{path}: is not a submission " in refused


def test_a_damaged_member_of_another_compression_is_refused(honest: Path, tmp_path: Path) -> None:
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        path = tmp_path / "other.zip"
        with zipfile.ZipFile(path, "w", method) as archive:
            for member, content in unpack(honest).items():
                archive.writestr(member, content)
        whole = path.read_bytes()
        for at in range(30, 400, 11):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
            with suppress(DanceError):
                read_submission(path)


def test_a_damaged_table_with_right_checksums_is_refused_without_a_traceback(
    honest: Path, tmp_path: Path
) -> None:
    members = unpack(honest)
    whole = members[PREDICTIONS]
    for at in range(0, len(whole), 7 * 29):
        damaged = whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]
        path = pack(tmp_path / "table.zip", {**members, PREDICTIONS: damaged})
        try:
            read_submission(path)
        except DanceError as error:
            assert "\n" not in error.message


def test_the_same_predictions_under_another_name_are_refused(
    honest: Path, host: Workspace, tmp_path: Path
) -> None:
    home = Workspace(tmp_path / "home")
    copy = submit(home, SubmitSettings(RUN, name="theirs", out=tmp_path / "copy.zip"))[0].file
    added = add_submissions(host, [honest, copy])
    assert added.refused == ((str(copy), "its predictions are those of ours"),)
    assert add_submissions(home, [honest]).refused[0][1] == (
        "its predictions are those of run inception-demo-1 of this workspace"
    )


def test_predictions_that_differ_by_rounding_alone_are_the_same(
    honest: Path, host: Workspace, tmp_path: Path
) -> None:
    home = Workspace(tmp_path / "home")
    path = home.run(RUN) / "predictions.parquet"
    rows, meta = tables.read(path, Prediction), tables.read_meta(path)
    kept = {k: v for k, v in meta.items() if not k.startswith("dance.")}
    for step, refused in ((1e-7, True), (1e-2, False)):
        moved = [
            replace(p, scores=(abs(p.scores[0] - step), p.scores[1] + step, *p.scores[2:])) for p in rows
        ]
        moved = [replace(p, scores=tuple(s / sum(p.scores) for s in p.scores)) for p in moved]
        tables.write(path, Prediction, moved, kept)
        (other,) = submit(home, SubmitSettings(RUN, name="theirs", out=tmp_path / "theirs.zip"))
        added = add_submissions(host, [honest, other.file], dry_run=True)
        assert added.refused == (((str(other.file), "its predictions are those of ours"),) if refused else ())


def test_another_result_of_a_name_that_is_there_is_refused(
    honest: Path, host: Workspace, tmp_path: Path
) -> None:
    home = Workspace(tmp_path / "home")
    make_run(home.root, LABELS, test=48, val=12, name="poor-1", skill=0.4, salt="poor")
    other = submit(home, SubmitSettings("poor-1", name="ours", out=tmp_path / "other.zip"))[0].file
    assert "another submission named ours is there" in add_submissions(host, [honest, other]).refused[0][1]


def test_a_submission_that_was_changed_in_its_folder_is_left_out(honest: Path, host: Workspace) -> None:
    add_submissions(host, [honest])
    SCRATCH[:] = [str(host.root)]
    forge, _, reason = FORGED["an easier file"]
    pack(host.submission("ours"), forge(unpack(honest)))
    with pytest.raises(WorkspaceError, match=reason):
        board(host, BoardSettings())


def test_a_workspace_without_a_split_can_check_nothing(honest: Path, workspace: Workspace) -> None:
    with pytest.raises(WorkspaceError, match="no split to hold submissions against"):
        add_submissions(workspace, [honest])


def test_a_run_that_is_not_finished_is_not_submitted(tmp_path: Path) -> None:
    home = make_run(tmp_path / "home", LABELS, test=48)
    path = home.run(RUN) / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "status": "failed"}))
    with pytest.raises(WorkspaceError, match="is not complete"):
        submit(home, SubmitSettings())


def test_a_lock_that_is_not_of_the_run_is_not_submitted(tmp_path: Path) -> None:
    home = make_run(tmp_path / "home", LABELS, test=48)
    lock = home.split_lock("demo")
    lock.write_text(lock.read_text().replace(",wave,", ",spin,", 1))
    with pytest.raises(InputError, match="is not the lock of split 'demo'"):
        submit(home, SubmitSettings())


def test_a_run_without_all_test_clips_of_its_lock_says_that_it_would_be_refused(
    dance: Callable[..., Ran], workspace: Workspace
) -> None:
    make_run(workspace.root, LABELS, test=48, name="first-1")
    assert dance("submit", "first-1", "--out", "whole.zip", "--json").json["submissions"][0]["missing"] == 0
    path = workspace.split("demo")
    rows, meta = tables.read(path, SplitClip), tables.read_meta(path)
    kept = {k: v for k, v in meta.items() if not k.startswith("dance.")}
    tables.write(path, SplitClip, rows, {**kept, "split.missing": json.dumps({"test": 2, "train": 5})})
    for more in ((), ("--json",)):
        ran = dance("submit", "first-1", "--out", "part.zip", *more)
        assert ran.code == 3
        assert "2 test clips of the lock are missing here; a leaderboard refuses results without" in ran.err
    assert ran.json["submissions"][0]["missing"] == 2
    assert (workspace.root / "part.zip").exists()


def test_a_run_on_other_files_than_those_of_its_lock_says_that_it_would_be_refused(
    dance: Callable[..., Ran], workspace: Workspace
) -> None:
    make_run(workspace.root, LABELS, test=48, name="first-1")
    path = workspace.split("demo")
    rows, meta = tables.read(path, SplitClip), tables.read_meta(path)
    kept = {k: v for k, v in meta.items() if not k.startswith("dance.")}
    tables.write(path, SplitClip, rows, {**kept, "split.other_files": json.dumps({"test": 1, "train": 5})})
    ran = dance("submit", "first-1", "--out", "other.zip", "--json")
    assert ran.code == 3
    assert "1 test clip here is another file than in the lock; a leaderboard refuses results on it" in ran.err
    assert ran.json["submissions"][0]["other_files"] == 1


def with_labels(order: Sequence[str], more: tuple[str, ...] = ()) -> Forge:
    """Make a submission as a workspace gives it whose label file is in another order, or has more labels."""

    def remade(members: Members) -> Members:
        path = Path(SCRATCH[0]) / "remade.parquet"
        path.write_bytes(members[PREDICTIONS])
        meta = {k: v for k, v in tables.read_meta(path).items() if not k.startswith("dance.")}
        rows = [
            replace(
                p,
                label_index=order.index(LABELS[p.label_index]),
                scores=(*(p.scores[LABELS.index(name)] for name in order), *(0.0 for _ in more)),
            )
            for p in tables.read(path, Prediction)
        ]
        lock = Path(SCRATCH[0]) / "remade.csv"
        lock.write_bytes(members[LOCK])
        clips, names = read_lock(lock).values(), [*order, *more]
        digest = split_digest(clips, names)
        tables.write(path, Prediction, rows, {**meta, "labels": json.dumps(names), "split.hash": digest})
        card = json.loads(members[CARD])
        card["name"] = "reordered"
        card["run"]["labels"] = names
        card["run"]["split"]["hash"] = digest
        results = results_of({**card["run"], "name": RUN}, path, lambda: list(clips))
        card["metrics"] = figures(results)
        return {**members, CARD: json.dumps(card).encode(), PREDICTIONS: path.read_bytes()}

    return remade


@pytest.mark.parametrize("has_table", [True, False])
def test_labels_in_another_order_are_put_into_that_of_the_host(
    has_table: bool, honest: Path, host: Workspace, tmp_path: Path
) -> None:
    SCRATCH[:] = [str(tmp_path)]
    home = Workspace(tmp_path / "home")
    make_run(home.root, LABELS, test=48, val=12, name="poor-1", skill=0.4, salt="poor")
    poor = submit(home, SubmitSettings("poor-1", out=tmp_path / "poor.zip"))[0].file
    if has_table:
        shutil.copy(home.split("demo"), host.split("benchmark"))
    other = pack(tmp_path / "other.zip", with_labels(LABELS[::-1])(unpack(honest)))
    added = add_submissions(host, [other, poor])
    assert (added.refused, sorted(added.accepted)) == ((), ["poor-1", "reordered"])
    (one,) = board(host, BoardSettings()).leaderboards
    assert sorted(row.name for row in one.rows) == ["poor-1", "reordered"]
    (own,) = [r for r in read_submissions(host)[0] if r.run["name"] == "reordered"]
    want = read_run_results(home, RUN)
    assert own.labels == (LABELS if has_table else tuple(sorted(LABELS)))
    columns = [want.labels.index(name) for name in own.labels]
    assert own.subsets["test"].scores.tolist() == want.subsets["test"].scores[:, columns].tolist()
    named = [[r.labels[i] for i in r.subsets["test"].truth] for r in (own, want)]
    assert named[0] == named[1]
    assert own.train_counts == tuple(want.train_counts[i] for i in columns)
    # The same result in another order is the same result.
    assert add_submissions(host, [honest]).refused[0][1] == "its predictions are those of reordered"


def test_other_labels_than_the_hosts_are_refused(honest: Path, host: Workspace, tmp_path: Path) -> None:
    SCRATCH[:] = [str(tmp_path)]
    other = pack(tmp_path / "other.zip", with_labels(LABELS, ("waltz",))(unpack(honest)))
    # A lock does not say whether there are labels that no clip has.
    assert tuple(add_submissions(host, [other], dry_run=True).accepted) == ("reordered",)
    shutil.copy(Workspace(tmp_path / "home").split("demo"), host.split("benchmark"))
    ((_, why),) = add_submissions(host, [other]).refused
    assert why.startswith("its labels are waltz, bounce, kick ball change, robot, spin, ...; the benchmark's")
    assert why.endswith(": make the workspace with --labels")


def test_a_group_of_seeds_is_one_entry_elsewhere_too(honest: Path, host: Workspace, tmp_path: Path) -> None:
    home = Workspace(tmp_path / "home")
    for seed in (1, 2):
        make_run(home.root, LABELS, test=48, val=12, name=f"many-seed{seed}", salt=f"s{seed}")
        path = home.run(f"many-seed{seed}") / "run.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "seed": seed, "group": "many"}))
    files = submit(home, SubmitSettings("many", out=tmp_path / "out"))
    assert [one.file.name for one in files] == ["many-seed1.zip", "many-seed2.zip"]
    result = board(host, BoardSettings(add=(tmp_path / "out",)))
    assert [row.name for row in result.leaderboards[0].rows] == ["many"]


def test_a_folder_gets_one_file_per_run_under_its_name(tmp_path: Path) -> None:
    home = make_run(tmp_path / "home", LABELS, test=48)
    received = tmp_path / "received"
    first = submit(home, SubmitSettings(out=received))[0].file
    second = submit(home, SubmitSettings(name="ours", out=received))[0].file
    assert (first, second) == (received / f"{RUN}.zip", received / "ours.zip")
    assert sorted(received.iterdir()) == [first, second]


def test_a_group_is_not_written_to_one_file(tmp_path: Path) -> None:
    home = make_run(tmp_path / "home", LABELS, test=48)
    path = home.run(RUN) / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "group": "many"}))
    with pytest.raises(UsageError, match="many is a group of 1 runs, one file each"):
        submit(home, SubmitSettings("many", out=tmp_path / "out.zip"))


def test_a_site_has_a_page_per_run_and_the_submissions(honest: Path, host: Workspace, tmp_path: Path) -> None:
    site = tmp_path / "site"
    result = board(host, BoardSettings(add=(honest,), site=site))
    assert result.page == site / "index.html"
    page = result.page.read_text()
    assert 'href="ours/index.html"' in page
    assert 'href="ours/submission.zip"' in page
    assert (site / "ours" / "submission.zip").read_bytes() == honest.read_bytes()
    # The clips are not part of it, so none is linked.
    own = (site / "ours" / "index.html").read_text()
    assert '["test00000xx_0_10000",0,' in own
    # Nor is what else a report has, or the command, which may tell of the submitter's machine.
    assert "confusion.csv" not in own
    assert "a submission has its settings, as listed above, and not its command" in own
    assert not host.report("board").exists()


def test_a_dry_run_ranks_what_it_would_add(honest: Path, host: Workspace) -> None:
    bad = honest.with_name("bad.zip")
    bad.write_text("nothing")
    settings = BoardSettings(add=(bad, honest))
    planned = board(host, settings, dry_run=True)
    assert not (host.root / "submissions").exists()
    done = board(host, settings)
    assert (planned.document, planned.added) == (done.document, done.added)
    assert tuple(done.added.accepted) == ("ours",)


def test_a_take_down_on_the_host_is_counted(honest: Path, host: Workspace, tmp_path: Path) -> None:
    with host.split_lock("benchmark").open("a") as file:
        file.write(f"removed-{'0' * 12}_0_1000,test,,wave,\n")
    site = tmp_path / "site"
    board(host, BoardSettings(add=(honest,), site=site))
    assert json.loads((site / "board.json").read_text())["leaderboards"][0]["removed"] == 1
    assert "48 of 49 clips, 1 removed by request" in (site / "index.html").read_text()
    assert "48 of 49 clips, 1 removed by request" in (site / "ours" / "index.html").read_text()


def test_a_site_loses_the_pages_of_submissions_that_were_removed(
    honest: Path, host: Workspace, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    home = Workspace(tmp_path / "home")
    make_run(home.root, LABELS, test=48, val=12, name="poor-1", skill=0.4, salt="poor")
    other = submit(home, SubmitSettings("poor-1", out=tmp_path))[0].file
    board(host, BoardSettings(add=(honest, other), site=site))
    (site / "poor-1" / "own.txt").write_text("of the host")
    host.submission("poor-1").unlink()
    board(host, BoardSettings(site=site))
    assert sorted(path.name for path in site.iterdir() if path.is_dir()) == ["ours", "poor-1"]
    assert [path.name for path in (site / "poor-1").iterdir()] == ["own.txt"]
    host.submission("ours").unlink()
    assert board(host, BoardSettings(site=site)).leaderboards == ()
    assert not (site / "ours").exists()
    assert "ours/" not in (site / "index.html").read_text()
    assert (site / "board.csv").read_text().count("\n") == 1


def test_a_folder_with_another_board_json_is_no_site(honest: Path, host: Workspace, tmp_path: Path) -> None:
    for name in ("board.json", "index.html"):
        (tmp_path / name).write_text("[]")
        with pytest.raises(InputError, match=f"{name}: is no board of dance"):
            board(host, BoardSettings(add=(honest,), site=tmp_path))
        assert (tmp_path / name).read_text() == "[]"
        (tmp_path / name).unlink()
    assert host.submissions() == []


def test_the_commands(dance: Callable[..., Ran], workspace: Workspace) -> None:
    make_run(workspace.root, LABELS, test=48, name="first-1")
    make_run(workspace.root, LABELS, test=48, name="second-1", salt="second")
    ran = dance("submit", "second-1", "--name", "theirs", "--out", "theirs.zip", "--json")
    assert [row["name"] for row in ran.json["submissions"]] == ["theirs"]
    shutil.rmtree(workspace.run("second-1"))
    (workspace.root / "bad.zip").write_text("nothing")
    ran = dance("board", "--add", "theirs.zip", "--add", "bad.zip", "--json")
    assert ran.code == 3
    assert ran.json["added"] == ["theirs"]
    assert ran.json["refused"][0]["why"].startswith("is not a submission")
    assert "refused: bad.zip: is not a submission" in ran.err
    assert {row["run"] for row in ran.json["leaderboards"][0]["runs"]} == {"first-1", "theirs"}
    assert "there already: theirs" in dance("board", "--add", "theirs.zip").err
