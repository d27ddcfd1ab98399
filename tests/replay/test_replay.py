"""`dance replay`, with runs that a hash made in the place of trained ones."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from fakerun import logits, run_card, softmax
from records import Ran, fill, make_clip

from dancecli import manifest
from dancecli.dataset.split import SplitSettings, split
from dancecli.errors import WorkspaceError
from dancecli.model.recipe import read_recipe
from dancecli.replay import chain, plan
from dancecli.replay.chain import ReplayResult, ReplaySettings, replay
from dancecli.report.paper import read_experiments
from dancecli.schema import Part, Prediction
from dancecli.workspace import Workspace

LABELS = ("wave", "spin", "bounce", "step", "robot", "kick")


@pytest.fixture
def dancers(space: Workspace) -> Workspace:
    """A workspace that looks as if an earlier demo had fetched 180 clips of 90 videos into it."""
    fill(space, [make_clip(i, LABELS[i % 6], video_id=f"video{i // 2:06d}") for i in range(180)], LABELS)
    (space.root / chain.SITE_FOLDER).mkdir()
    return space


def pretend(space: Workspace, said: list[str]) -> Callable[..., None]:
    """Run `split` here, and make what `finetune` and `report` would leave behind."""

    def run(command: tuple[str, ...], say: object, *, quiet: bool = False) -> None:
        said.append(shlex.join(command))
        given = dict(pairwise(command))
        if command[0] == "split":
            lock = Path(given["--lock"]) if "--lock" in given else None
            subset = int(given["--subset"]) if "--subset" in given else None
            split(space, SplitSettings(given.get("--ratios"), subset, name=given["--name"], lock=lock))
        elif command[0] == "finetune":
            train(space, given["--name"], given["--split"], given["--recipe"])

    return run


def train(space: Workspace, name: str, on: str, recipe: str) -> None:
    rows, meta = manifest.read(space.split(on), Part), manifest.read_meta(space.split(on))
    counts = json.loads(meta["split.counts"])
    card = run_card(name, on, LABELS, meta["split.hash"], counts)
    held = sorted(f"{row.clip_id} {row.sha256} {row.label}" for row in rows if row.part == "test")
    card["split"]["test_hash"] = hashlib.sha256("\n".join(held).encode()).hexdigest()
    made = read_recipe(recipe)
    card |= {"recipe": {**vars(made)}, "checkpoint": {"name": "last", "epoch": made.epochs}}
    skill = 3.0 if "tuned" in name else 1.5
    predictions = [
        Prediction(row.clip_id, row.part, i, softmax(logits(name + row.clip_id, i, 6, skill)))
        for row in rows
        if row.part != "train"
        for i in [LABELS.index(row.label)]
    ]
    folder = space.run(name)
    folder.mkdir(parents=True)
    told = {"run.name": name, "split.hash": meta["split.hash"], "test.hash": card["split"]["test_hash"]}
    told |= {"view.protocol": card["views"]["test"], "labels": json.dumps(LABELS)}
    manifest.write(folder / "predictions.parquet", Prediction, predictions, told)
    (folder / "run.json").write_text(json.dumps(card))


@pytest.fixture
def replayed(
    dancers: Workspace, monkeypatch: pytest.MonkeyPatch
) -> tuple[Workspace, ReplayResult, list[str], list[str]]:
    said: list[str] = []
    talked: list[str] = []
    monkeypatch.setattr(chain, "run", pretend(dancers, said))
    monkeypatch.setattr(chain, "require_parts", lambda: None)
    monkeypatch.setattr(chain, "measured_pace", lambda: 10.0)
    result = replay(dancers, ReplaySettings(quick=True), talked.append)
    return dancers, result, said, talked


def test_every_experiment_runs_under_both_protocols_on_the_same_test_part(
    replayed: tuple[Workspace, ReplayResult, list[str], list[str]],
) -> None:
    space, result, said, talked = replayed
    trained = [line for line in said if line.startswith("finetune")]
    assert len(trained) == 6
    assert any("take about" in line for line in talked)
    for one in result.document["experiments"][:3]:
        published, ours = one["as_published"], one["ours"]
        assert published["test_hash"] == ours["test_hash"]
        assert published["val"] is None
        assert ours["val"]["n"] >= 0.1 * 63 * 0.9 - 1
        assert ours["videos_also_in_training"] == published["videos_also_in_training"] == 0
    base, ours_split = (manifest.read(space.split(n), Part) for n in ("quick-525", "quick-525-val"))
    assert {r.clip_id for r in base} == {r.clip_id for r in ours_split}
    assert {r.clip_id for r in base if r.part == "test"} == {
        r.clip_id for r in ours_split if r.part == "test"
    }
    assert not {r.group for r in ours_split if r.part == "val"} & {
        r.group for r in ours_split if r.part == "train"
    }


def test_the_choice_is_the_validation_part_s_under_our_protocol(
    replayed: tuple[Workspace, ReplayResult, list[str], list[str]],
) -> None:
    (choice,) = replayed[1].document["choices"]
    runs = {e["name"]: e["ours"] for e in replayed[1].document["experiments"][:3]}
    better = max(("scheduled", "tuned"), key=lambda name: runs[name]["val"]["k"])
    assert choice["ours"]["chosen"] == runs[better]["run"]
    assert choice["paper"] == {"counts": (28, 33, 58), "best_case_p": pytest.approx(0.0625)}


def test_a_second_time_nothing_is_trained_and_the_page_is_the_same(
    replayed: tuple[Workspace, ReplayResult, list[str], list[str]],
) -> None:
    space, result, said, _ = replayed
    before = result.page.read_bytes()
    assert str(space.root).encode() not in before
    said.clear()
    again = replay(space, ReplaySettings(quick=True), lambda _: None)
    assert not [line for line in said if line.startswith("finetune")]
    assert again.page.read_bytes() == before


def test_a_stopped_run_is_gone_on_with_and_one_of_another_recipe_is_refused(
    replayed: tuple[Workspace, ReplayResult, list[str], list[str]],
) -> None:
    space = replayed[0]
    path = space.run("quick-tuned-ours") / "run.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps(card | {"status": "interrupted"}))
    trials, _ = plan.plan_trials(space, read_experiments(), quick=True, clips=180)
    (stopped,) = [trial for trial in trials if trial.status == "interrupted"]
    assert plan.finetune_command(space, stopped)[-3:] == ("--resume", "--name", "quick-tuned-ours")
    card["recipe"]["lr"] = 0.5
    path.write_text(json.dumps(card))
    with pytest.raises(WorkspaceError, match=r"was made with lr 0\.5"):
        plan.plan_trials(space, read_experiments(), quick=True, clips=180)


def test_what_costs_nothing_more_is_not_counted_twice(dancers: Workspace) -> None:
    trials, left_out = plan.plan_trials(dancers, read_experiments(), quick=True, clips=180)
    done = [plan.replace(trial, status="done") for trial in trials]
    assert plan.work(done, 180) == 0
    both, one = plan.work(trials[:2], 180), plan.work(trials[:1], 180)
    assert one < both < 2 * one
    assert "two-stream" in left_out


def test_a_dry_run_writes_nothing_and_says_the_cost(space: Workspace, dance: Callable[..., Ran]) -> None:
    ran = dance("replay", "--quick", "--workspace", "here", "--dry-run")
    assert ran.code == 0
    commands = [line.split()[2] for line in ran.out.splitlines()]
    assert commands[0] == "fetch"
    assert commands.count("finetune") == 6
    assert "the runs take about" in ran.err
    assert not (space.root / "here").exists()
    assert dance("replay").err.startswith(f"error: {space.root}: there are no clips to replay the paper on")
