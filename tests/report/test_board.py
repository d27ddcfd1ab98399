"""`dance board`: who stands beside whom, and which differences are more than luck."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable

import pytest
from helpers.builders import Ran
from helpers.fake_run import change_meta, make_run

from dancecli.core.errors import WorkspaceError
from dancecli.core.records import SplitClip
from dancecli.report.board import BoardResult, BoardSettings, board
from dancecli.report.compare import CompareSettings, compare
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace

SIX = ("wave", "spin", "bounce", "<script>alert(1)</script>", "robot", "kick ball change")


@pytest.fixture
def many(workspace: Workspace) -> Workspace:
    """Two like runs, a poor one, one on another split, and one that is not finished."""
    for name, skill in (("good-1", 3.0), ("good-2", 3.0), ("poor-1", 0.3)):
        make_run(workspace.root, SIX, test=90, name=name, skill=skill, salt=name)
    make_run(workspace.root, SIX[:5], test=25, name="five-1", split="five")
    make_run(workspace.root, SIX, test=90, name="stopped-1")
    (workspace.run("stopped-1") / "predictions.parquet").unlink()
    change(workspace, "good-2", recipe={"lr": 0.1})
    change(workspace, "poor-1", weights=None)
    return workspace


def change(workspace: Workspace, run: str, **changed: object) -> None:
    path = workspace.run(run) / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))


def places(result: BoardResult) -> dict[str, tuple[int, int]]:
    return {row.name: (row.first_rank, row.last_rank) for s in result.leaderboards for row in s.rows}


def test_a_tie_is_a_tie_and_a_difference_a_difference(many: Workspace) -> None:
    result = board(many, BoardSettings())
    assert places(result) == {"good-1": (1, 2), "good-2": (1, 2), "poor-1": (3, 3), "five-1": (1, 1)}
    assert result.leaderboards[0].headline in {
        "good-1 leads, tied with good-2",
        "good-2 leads, tied with good-1",
    }
    assert [s.clips for s in result.leaderboards] == [90, 25]
    assert [run for run, _ in result.left_out] == ["stopped-1"]


def test_a_run_on_another_input_stands_beside_each_protocol_of_frames(many: Workspace) -> None:
    change_meta(many, "good-2", **{"view.protocol": "32x2 frames, 10 clips x 3 crops 256"})
    change_meta(many, "poor-1", **{"view.protocol": "dense trajectories of the whole clip"})
    found = [one for one in board(many, BoardSettings()).leaderboards if one.clips == 90]
    assert sorted(sorted(row.name for row in one.rows) for one in found) == [
        ["good-1", "poor-1"],
        ["good-2", "poor-1"],
    ]
    assert {one.protocol for one in found} == {
        "32x2 frames, 1 clip x 1 center crop 224; dense trajectories of the whole clip",
        "32x2 frames, 10 clips x 3 crops 256; dense trajectories of the whole clip",
    }


def test_runs_that_differ_by_their_seed_are_summed_up(many: Workspace) -> None:
    for seed, name in enumerate(("good-1", "good-2")):
        change(many, name, recipe={"lr": 0.1}, seed=seed, group="many")
    result = board(many, BoardSettings())
    row = result.leaderboards[0].rows[0]
    assert (row.name, row.runs, row.seeds) == ("many", ("good-1", "good-2"), "0, 1")
    assert (row.top1.k, row.top1.text) == (None, "mean of 2")
    assert places(result) == {"many": (1, 1), "poor-1": (2, 2), "five-1": (1, 1)}
    assert result.leaderboards[0].headline == "many leads"


def test_seeds_that_are_evaluated_elsewhere_are_summed_up(many: Workspace) -> None:
    none = {"test": {"clips": 0, "n": 90, "videos": 0}}

    def evaluate(name: str, seed: int, **trained: object) -> None:
        model = json.loads((many.run(name) / "run.json").read_text())["model"]
        of = {"split": "demo", "recipe_sha256": "ab" * 32} | trained
        evaluated = {"run": f"a-seed{seed}", "overlap": none, "trained": of}
        own = model | {"of_run": f"a-seed{seed}"}
        change(many, name, recipe=None, seed=seed, model=own, evaluated=evaluated)

    for seed, name in enumerate(("good-1", "good-2")):
        evaluate(name, seed)
    runs = [row.runs for row in board(many, BoardSettings()).leaderboards[0].rows]
    assert ("good-1", "good-2") in runs
    # Those of another recipe, or of another training set, are no seeds of it.
    for other in ({"recipe_sha256": "cd" * 32}, {"train_hash": "cd" * 32}):
        evaluate("good-2", 1, **other)
        assert "good-2" in places(board(many, BoardSettings()))


def test_runs_on_other_lists_of_a_split_are_no_seeds_of_each_other(many: Workspace) -> None:
    split = json.loads((many.run("good-1") / "run.json").read_text())["split"]

    def runs_of(*hashes: str) -> bool:
        for seed, (name, digest) in enumerate(zip(("good-1", "good-2"), hashes, strict=True)):
            lists = {"train_hash": digest, "val_hash": "v"}
            change(many, name, recipe={"lr": 0.1}, seed=seed, split=split | lists)
        rows = board(many, BoardSettings()).leaderboards[0].rows
        return ("good-1", "good-2") in [row.runs for row in rows]

    assert [runs_of("a", "a"), runs_of("a", "b")] == [True, False]


def test_a_run_made_twice_is_no_second_seed(many: Workspace) -> None:
    change(many, "good-2", recipe=None)
    assert {"good-1", "good-2"} <= set(places(board(many, BoardSettings())))


def test_a_narrow_terminal_loses_no_column(many: Workspace, dance: Callable[..., Ran]) -> None:
    model = json.loads((many.run("good-1") / "run.json").read_text())["model"]
    change(many, "good-1", model=model | {"gflops_view": 27.9}, speed={"clips_per_s": 123.4})
    told = dance("board", COLUMNS="72").out
    assert "top-1" in told
    assert all(name in told for name in ("params", "GFLOPs", "clips/s", "leak", "27.9", "123.4"))
    row = next(line.split() for line in told.splitlines() if "poor-1" in line)
    assert [cell for cell in row if re.fullmatch(r"\d+\.\d-\d+\.\d", cell)]


def test_the_three_files_agree(many: Workspace) -> None:
    folder = board(many, BoardSettings()).page.parent
    rows = list(csv.DictReader((folder / "board.csv").open()))
    told = json.loads((folder / "board.json").read_text())
    assert [row["run"] for row in rows] == [r["run"] for s in told["leaderboards"] for r in s["runs"]]
    page = (folder / "index.html").read_text()
    for row in rows:
        assert row["run"] in page
        assert f"{row['right']}/{row['n']}" in page
    assert "<script>alert" not in page
    assert "https:" not in page
    before = {path: path.read_bytes() for path in folder.iterdir()}
    board(many, BoardSettings())
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_the_history_is_in_the_order_in_which_the_runs_ended(many: Workspace) -> None:
    change(many, "poor-1", finished_utc="2026-11-20T07:00:00Z")
    page = board(many, BoardSettings()).page.read_text()
    assert page.count("<h3>History</h3>") == 1  # one run alone has none
    titles = re.findall(r"<g><title>([a-z0-9-]+), 2026", page)
    assert titles == ["poor-1", "good-1", "good-2"]


def test_an_ensemble_and_what_was_not_trained_are_said_to_be_it(many: Workspace) -> None:
    cost = {"pretrain": "inception", "gflops_view": 10.0, "gflops_from": "counted for this view"}
    change(many, "good-2", model=cost, speed={"clips_per_s": 2.5, "of": "decoding and the whole network"})
    change(many, "good-1", model=cost)
    members = {"pretrain": "ensemble", "members": ["good-1", "good-2"], "params_total": 2}
    empty = {"optim": None, "seed": None, "cache": None, "weights": None}
    make_run(many.root, SIX, test=90, name="both-1", salt="both")
    change(many, "both-1", model=members, **empty)
    make_run(many.root, SIX, test=90, name="none-1", salt="none")
    change(many, "none-1", model={"pretrain": "kinetics400-baseline"}, baseline={"on": "k"}, **empty)
    make_run(many.root, SIX, test=90, name="words-1", salt="words")
    change(many, "words-1", model={"pretrain": "zero-shot", "params_trainable": 0}, **empty)
    make_run(many.root, SIX, test=90, name="near-1", salt="near")
    change(many, "near-1", model={"pretrain": "x", "params_trainable": 0}, probe={"head": "knn"})
    result = board(many, BoardSettings())
    rows = {row.name: row for s in result.leaderboards for row in s.rows}
    assert (rows["both-1"].kind, rows["both-1"].gflops) == ("ensemble of 2 runs", 20.0)
    assert rows["both-1"].gflops_from == "the sum of its 2 members"
    # Of an ensemble the seconds of its members count, not those of adding their scores.
    assert rows["both-1"].seconds == pytest.approx(2 * (rows["good-1"].seconds or 0))
    assert rows["none-1"].kind == "kinetics400-baseline, not trained"
    assert (rows["words-1"].kind, rows["words-1"].probe) == ("zero-shot, not trained", "")
    # Nearest neighbors have no parameters to train, and are fitted all the same.
    assert rows["near-1"].kind == ""
    assert rows["good-2"].speed == 2.5
    told = next(r for s in result.document["leaderboards"] for r in s["runs"] if r["run"] == "good-2")
    assert (told["gflops_view"], told["clips_per_s"]) == (10.0, 2.5)
    # No page was drawn of any of them, so none is linked.
    assert "../good-1/index.html" not in result.page.read_text()


def test_a_split_can_be_singled_out(many: Workspace) -> None:
    with pytest.raises(WorkspaceError, match=r"no run in .* is of split 'six'") as raised:
        board(many, BoardSettings(split="six"))
    assert raised.value.hint == "known: demo, five"
    # A typing error empties no site; a split whose runs are gone does.
    site = many.root / "site"
    board(many, BoardSettings(site=site))
    with pytest.raises(WorkspaceError, match="'six'"):
        board(many, BoardSettings(split="six", site=site))
    assert json.loads((site / "board.json").read_text())["leaderboards"]
    many.split_lock("six").parent.mkdir(parents=True, exist_ok=True)
    many.split_lock("six").write_text("clip_id\n")
    assert not board(many, BoardSettings(split="six", site=site)).leaderboards
    result = board(many, BoardSettings(split="five"), dry_run=True)
    assert list(places(result)) == ["five-1"]
    assert not result.page.exists()


def test_no_run_is_an_error(workspace: Workspace) -> None:
    with pytest.raises(WorkspaceError, match=r"there is no run in .* to show") as raised:
        board(workspace, BoardSettings())
    # Who has no clips cannot train, and hosts the runs of others.
    assert raised.value.hint == "add submissions: dance board --add FILE"


def test_the_command(many: Workspace, dance: Callable[..., Ran]) -> None:
    ran = dance("board")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert any(line.split()[:2] == ["poor-1", "3"] for line in lines)
    assert any("good-1" in line and " 1-2 " in line for line in lines)
    assert "left out: stopped-1: run 'stopped-1' has no predictions yet" in ran.err
    assert dance("board", "--json").json["leaderboards"][0]["clips"] == 90


def test_protocols_of_the_probe_are_ranked_apart_and_each_backbone_is_shown_under_each(
    workspace: Workspace,
) -> None:
    probes = {
        "lin": {"protocol": "full", "head": "linear"},
        "near": {"protocol": "full", "head": "knn"},
        "eight": {"protocol": "mteb", "head": "linear"},
        "tuned": None,
    }
    for name, probe in probes.items():
        make_run(workspace.root, SIX, test=60, name=name, skill=2.0, salt=name)
        change(workspace, name, recipe={"of": name}, **({"probe": probe} if probe else {}))
    result = board(workspace, BoardSettings())
    assert [sorted(row.name for row in one.rows) for one in result.leaderboards] == [
        ["lin", "near", "tuned"],
        ["eight"],
    ]
    assert result.leaderboards[1].protocol.endswith(", probe protocol mteb")
    assert {row.name: row.probe for one in result.leaderboards for row in one.rows} == {
        "lin": "linear", "near": "knn", "eight": "mteb", "tuned": "trained",
    }  # fmt: skip
    (table,) = result.document["probes"]
    (backbone,) = table["backbones"]
    assert {probe: cell["run"] for probe, cell in backbone["probes"].items()} == {
        "linear": "lin", "knn": "near", "mteb": "eight", "trained": "tuned",
    }  # fmt: skip
    assert "Each backbone under each probe" in result.page.read_text(encoding="utf-8")
    compared = compare(workspace, CompareSettings("lin", "eight"))
    assert compared.verdict.endswith("(their probes follow different protocols: full and mteb)")
    assert ("probe protocol", "full", "mteb") in compared.comparison.made
    assert "different protocols" not in compare(workspace, CompareSettings("lin", "near")).verdict


def test_a_trained_stage_is_no_probe_though_its_head_was_solved_first(workspace: Workspace) -> None:
    for name, stage in (("frozen", 4), ("last-stage", 3)):
        make_run(workspace.root, SIX, test=60, name=name, skill=2.0, salt=name)
        model = {"pretrain": "inception", "frozen_stages": stage}
        change(workspace, name, recipe={"of": name}, head={"init": "solved"}, model=model)
    (found,) = board(workspace, BoardSettings()).leaderboards
    assert {row.name: row.probe for row in found.rows} == {"frozen": "linear", "last-stage": "trained"}


def test_the_page_names_the_split_and_leaves_out_columns_without_a_value(many: Workspace) -> None:
    page = board(many, BoardSettings()).page.read_text()
    assert "split demo, test set" in page
    assert "GFLOPs</button>" not in page
    model = json.loads((many.run("good-1") / "run.json").read_text())["model"]
    change(many, "good-1", model=model | {"gflops_view": 27.9})
    result = board(many, BoardSettings())
    assert result.page.read_text().count("GFLOPs</button>") == 1
    assert result.document["leaderboards"][0]["splits"] == ["demo"]


def test_what_is_here_removed_and_missing_adds_up(workspace: Workspace) -> None:
    make_run(workspace.root, SIX, test=60, name="a-1", split="part")
    path = workspace.split("part")
    gone = {"split.removed": '{"test": 3}', "split.missing": '{"test": 2}'}
    meta = {key: text for key, text in tables.read_meta(path).items() if not key.startswith("dance.")}
    tables.write(path, SplitClip, tables.read(path, SplitClip), meta | gone)
    result = board(workspace, BoardSettings())
    extent = "60 of 65 clips, 3 removed by request, 2 missing here"
    assert result.leaderboards[0].extent == extent
    assert f"60 videos, 6 classes, {extent}<" in result.page.read_text()
