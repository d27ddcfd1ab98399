"""`dance reproduce`, with runs that a hash made instead of trained ones."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from helpers.builders import Ran, fill, make_clip
from helpers.fake_run import logits, run_card, softmax

from dancecli.core.errors import DanceError, ModelError, UsageError, WorkspaceError
from dancecli.core.progress import Reporter
from dancecli.core.recipe import read_recipe
from dancecli.core.records import Prediction, SplitClip
from dancecli.dataset.split.split import SplitSettings, split
from dancecli.demo import corpus
from dancecli.demo.pipeline import SITE_FOLDER
from dancecli.report.results.paper import read_experiments
from dancecli.reproduction import commands, cost, plan, quick
from dancecli.reproduction.commands import ReproduceResult, ReproduceSettings, reproduce
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace

LABELS = ("wave", "spin", "bounce", "step", "robot", "kick")


def fill_with_dancers(workspace: Workspace) -> None:
    """Make a workspace look as if an earlier demo had fetched 180 clips of 90 videos into it."""
    fill(workspace, [make_clip(i, LABELS[i % 6], video_id=f"video{i // 2:06d}") for i in range(180)], LABELS)
    (workspace.root / SITE_FOLDER).mkdir()


@pytest.fixture
def dancers(workspace: Workspace) -> Workspace:
    fill_with_dancers(workspace)
    return workspace


def pretend(workspace: Workspace, said: list[str]) -> Callable[..., None]:
    """Run `split` here, and make what `finetune` and `report` would leave behind."""

    def run(command: tuple[str, ...], say: object, *, quiet: bool = False) -> None:
        said.append(shlex.join(command))
        given = dict(pairwise(command))
        if command[0] == "split":
            lock = Path(given["--lock"]) if "--lock" in given else None
            subset = int(given["--subset"]) if "--subset" in given else None
            settings = SplitSettings(
                ratios=given.get("--ratios"), subset=subset, name=given["--name"], lock=lock
            )
            split(workspace, settings)
        elif command[0] == "finetune":
            train(workspace, given["--name"], given["--split"], given["--recipe"])
        elif command[0] == "train":
            changes = [word for flag, word in pairwise(command) if flag == "--set"]
            for end in ("-rgb", "-flow", ""):
                train(workspace, given["--name"] + end, given["--split"], given["--recipe"], changes)
            fuse(workspace, given["--name"])
        elif command[0] == "report":
            page = workspace.report(given["--run"]) / "index.html"
            page.parent.mkdir(parents=True, exist_ok=True)
            page.touch()

    return run


def fuse(workspace: Workspace, name: str) -> None:
    """Make a run one that says of itself what an ensemble does."""
    path = workspace.run(name) / "run.json"
    card = json.loads(path.read_text())
    card["model"] = {"pretrain": "ensemble", "members": [f"{name}-rgb", f"{name}-flow"]}
    for key in ("optim", "checkpoint", "recipe", "seed"):
        card.pop(key)
    path.write_text(json.dumps(card))


def train(workspace: Workspace, name: str, on: str, recipe: str, changes: Sequence[str] = ()) -> None:
    rows, meta = tables.read(workspace.split(on), SplitClip), tables.read_meta(workspace.split(on))
    counts = json.loads(meta["split.counts"])
    card = run_card(name, on, LABELS, meta["split.hash"], counts)
    held = sorted(f"{row.clip_id} {row.sha256} {row.label}" for row in rows if row.subset == "test")
    card["split"]["test_hash"] = hashlib.sha256("\n".join(held).encode()).hexdigest()
    made = read_recipe(recipe).with_set(changes)
    if "two-stream" in name:
        made = replace(made, norm_eval=False)  # as for all that starts from random weights
    if "two-stream" in name:
        start = "random-init" in name or name.startswith("quick")
        card["weights"] = None if start else {"name": "googlenet (inflated from 2-D)", "sha256": "1f" * 32}
    card["model"] |= {"pretrain": "inception", "flow": "dis" if name.endswith("-flow") else None}
    card |= {"recipe": {**vars(made)}, "checkpoint": {"name": "last", "epoch": made.epochs}}
    skill = 3.0 if "tuned" in name else 1.5
    predictions = [
        Prediction(row.clip_id, row.subset, i, softmax(logits(name + row.clip_id, i, 6, skill)))
        for row in rows
        if row.subset != "train"
        for i in [LABELS.index(row.label)]
    ]
    folder = workspace.run(name)
    folder.mkdir(parents=True)
    told = {"run.name": name, "split.hash": meta["split.hash"], "test.hash": card["split"]["test_hash"]}
    told |= {"view.protocol": card["views"]["test"], "labels": json.dumps(LABELS)}
    tables.write(folder / "predictions.parquet", Prediction, predictions, told)
    (folder / "run.json").write_text(json.dumps(card))


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> Callable[[Workspace], list[str]]:
    """Give a function that lets a workspace's commands do next to nothing, and lists them."""
    monkeypatch.setattr(commands, "require_packages", lambda: None)
    monkeypatch.setattr(commands, "measured_pace", lambda: 10.0)

    def stand_in(workspace: Workspace) -> list[str]:
        said: list[str] = []
        monkeypatch.setattr(commands, "run", pretend(workspace, said))
        return said

    return stand_in


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Workspace, ReproduceResult, list[str], list[str]]:
    """A quick replay that ran to its end: made once, and copied for each test."""
    with pytest.MonkeyPatch.context() as patch:
        workspace = Workspace(tmp_path_factory.mktemp("replay") / "space")
        fill_with_dancers(workspace)
        said: list[str] = []
        talked: list[str] = []
        patch.setattr(commands, "run", pretend(workspace, said))
        patch.setattr(commands, "require_packages", lambda: None)
        patch.setattr(commands, "measured_pace", lambda: 10.0)
        return (
            workspace,
            reproduce(workspace, ReproduceSettings(quick=True), Reporter(on_message=talked.append)),
            said,
            talked,
        )


@pytest.fixture
def replayed(
    whole: tuple[Workspace, ReproduceResult, list[str], list[str]],
    workspace: Workspace,
    stand_ins: Callable[[Workspace], list[str]],
) -> tuple[Workspace, ReproduceResult, list[str], list[str]]:
    """A copy of it, whose commands are listed anew."""
    made, result, _, talked = whole
    shutil.copytree(made.root, workspace.root, dirs_exist_ok=True)
    page = workspace.root / result.page.relative_to(made.root)
    return workspace, replace(result, page=page), stand_ins(workspace), talked


def trials_of(workspace: Workspace) -> list[plan.Trial]:
    return plan.plan_trials(workspace, read_experiments(), quick=True, clips=180)[0]


def test_every_experiment_runs_under_both_protocols_on_the_same_test_part(
    whole: tuple[Workspace, ReproduceResult, list[str], list[str]],
) -> None:
    workspace, result, said, talked = whole
    trained = [line for line in said if line.startswith("finetune")]
    assert len(trained) == 6
    assert any("take about" in line for line in talked)
    fine_tuned, two_stream = result.document["experiments"][:3], result.document["experiments"][3:]
    for one in fine_tuned:
        published, ours = one["as_published"], one["ours"]
        assert published["test_hash"] == ours["test_hash"]
        assert published["val"] is None
        assert ours["val"]["n"] >= 0.1 * 63 * 0.9 - 1
        assert ours["videos_also_in_training"] == published["videos_also_in_training"] == 0
    for one in two_stream:
        published, ours = one["as_published"], one["ours"]
        assert (published["run"], published["subset"], ours["subset"]) == (ours["run"], "val", "test")
        assert published["top1"]["n"] == published["val"]["n"] == ours["val"]["n"]
        assert published["chosen"] == "epoch 2 of 10 and epoch 2 of 10, the best on val, which is this subset"
    streams = [line for line in said if line.startswith(("flow", "train"))]
    assert [line.split()[0] for line in streams] == ["flow", "train", "train"]
    assert "--stream both" in streams[1]
    assert "--set optimizer=adam --set lr=0.001 --set dropout=0.5" in streams[1]
    assert "--set" not in streams[2]
    base, ours_split = (tables.read(workspace.split(n), SplitClip) for n in ("quick-525", "quick-525-val"))
    assert {r.clip_id for r in base} == {r.clip_id for r in ours_split}
    assert {r.clip_id for r in base if r.subset == "test"} == {
        r.clip_id for r in ours_split if r.subset == "test"
    }
    assert not {r.group for r in ours_split if r.subset == "val"} & {
        r.group for r in ours_split if r.subset == "train"
    }


def test_the_choice_is_the_validation_part_s_under_our_protocol(
    whole: tuple[Workspace, ReproduceResult, list[str], list[str]],
) -> None:
    choice, of_streams = whole[1].document["choices"]
    runs = {e["name"]: e["ours"] for e in whole[1].document["experiments"][:3]}
    better = max(("scheduled", "tuned"), key=lambda name: runs[name]["val"]["k"])
    assert choice["ours"]["chosen"] == runs[better]["run"]
    assert choice["paper"] == {"counts": (28, 33, 58), "best_case_p": pytest.approx(0.0625)}
    assert of_streams["paper"]["counts"] is None  # 7.42 % is no count of 880 clips
    assert of_streams["as_published"]["chosen"] == of_streams["ours"]["chosen"]
    evaluated = [sum(of_streams[way][key] for key in ("both", "first", "second", "neither"))
              for way in ("as_published", "ours")]  # fmt: skip
    two_stream = whole[1].document["experiments"][3]
    assert evaluated == [two_stream[way]["top1"]["n"] for way in ("as_published", "ours")]


def test_a_second_time_nothing_is_trained_and_the_page_is_the_same(
    replayed: tuple[Workspace, ReproduceResult, list[str], list[str]],
) -> None:
    workspace, result, said, _ = replayed
    before = result.page.read_bytes()
    assert str(workspace.root).encode() not in before
    again = reproduce(workspace, ReproduceSettings(quick=True))
    assert said == []
    assert again.page.read_bytes() == before


def test_a_stopped_run_is_gone_on_with_and_one_of_another_recipe_is_refused(
    replayed: tuple[Workspace, ReproduceResult, list[str], list[str]],
) -> None:
    workspace = replayed[0]
    path = workspace.run("quick-tuned-ours") / "run.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps(card | {"status": "interrupted"}))
    (stopped,) = [trial for trial in trials_of(workspace) if trial.status == "interrupted"]
    assert plan.train_command(workspace, stopped)[-3:] == ("--resume", "--name", "quick-tuned-ours")
    card["recipe"]["lr"] = 0.5
    path.write_text(json.dumps(card))
    with pytest.raises(WorkspaceError, match=r"was made with lr 0\.5"):
        trials_of(workspace)


def test_what_costs_nothing_more_is_not_counted_twice(dancers: Workspace) -> None:
    trials, left_out = plan.plan_trials(dancers, read_experiments(), quick=True, clips=180)
    done = [replace(trial, status="done") for trial in trials]
    assert cost.work(done, 180) == 0
    both, one = cost.work(trials[:2], 180), cost.work(trials[:1], 180)
    assert one < both < 2 * one
    assert left_out == {}


def test_of_two_streams_one_may_be_done_when_it_is_stopped(
    replayed: tuple[Workspace, ReproduceResult, list[str], list[str]],
) -> None:
    workspace, _, said, _ = replayed
    for name in ("quick-two-stream", "quick-two-stream-flow"):
        shutil.rmtree(workspace.run(name))
    (stopped,) = [trial for trial in trials_of(workspace) if trial.status == "interrupted"]
    assert stopped.run == "quick-two-stream"
    command = plan.train_command(workspace, stopped)
    assert (command[0], command[-3:]) == ("train", ("--resume", "--name", "quick-two-stream"))
    shutil.rmtree(workspace.run("quick-two-stream-rgb"))
    reproduce(workspace, ReproduceSettings(quick=True))
    assert [line.split()[0] for line in said] == ["split", "flow", "train", "report"]


def test_the_page_is_there_after_each_run_and_says_what_is_not(
    dancers: Workspace, stand_ins: Callable[[Workspace], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_ins(dancers)
    doing = commands.run

    def stop(command: tuple[str, ...], say: Callable[[str], None], *, quiet: bool = False) -> None:
        if "quick-resnet50-ours" in command and command[0] == "finetune":
            raise KeyboardInterrupt
        doing(command, say, quiet=quiet)

    monkeypatch.setattr(commands, "run", stop)
    with pytest.raises(KeyboardInterrupt):
        reproduce(dancers, ReproduceSettings(quick=True))
    told = json.loads((dancers.report("reproduction") / "reproduction.json").read_text())
    first, second = told["experiments"][:2]
    assert (first["as_published"]["run"], first["ours"]) == ("quick-resnet50-published", None)
    assert second["as_published"] is None
    assert second["not_run"] == "its turn has not come yet"


def test_a_command_that_fails_does_not_stop_the_other_experiments(
    dancers: Workspace, stand_ins: Callable[[Workspace], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = stand_ins(dancers)
    doing = commands.run

    def fail(command: tuple[str, ...], say: object, *, quiet: bool = False) -> None:
        if "quick-scheduled-published" in command and command[0] == "finetune":
            raise DanceError("`dance finetune` failed with exit code 1; see its output above")
        doing(command, say, quiet=quiet)

    monkeypatch.setattr(commands, "run", fail)
    result = reproduce(dancers, ReproduceSettings(quick=True))
    assert list(result.failed) == ["scheduled"]
    assert not any("quick-scheduled-ours" in line for line in said)
    found = {one["name"]: one for one in result.document["experiments"]}
    assert "failed with exit code 1" in found["scheduled"]["not_run"]
    assert found["tuned"]["ours"]
    assert "not run: `dance finetune` failed with exit code 1" in result.page.read_text()


def test_a_split_that_fails_does_not_stop_the_experiments_on_others(
    dancers: Workspace, stand_ins: Callable[[Workspace], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_ins(dancers)
    doing = commands.run

    def fail(command: tuple[str, ...], say: object, *, quiet: bool = False) -> None:
        if command[0] == "split" and "quick-1500" in command:
            raise DanceError("`dance split` failed with exit code 1; see its output above")
        doing(command, say, quiet=quiet)

    monkeypatch.setattr(commands, "run", fail)
    result = reproduce(dancers, ReproduceSettings(quick=True))
    found = {one["name"]: one for one in result.document["experiments"]}
    on_others = [name for name, one in found.items() if one.get("ours")]
    assert result.failed
    assert on_others
    assert not set(on_others) & set(result.failed)


def test_without_the_imagenet_weights_the_two_stream_rows_are_not_called_the_paper_s(
    dancers: Workspace, stand_ins: Callable[[Workspace], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    said, talked = stand_ins(dancers), []

    def fetch(_: Reporter) -> None:
        raise ModelError("the weights of imagenet could not be downloaded (offline)", "fetch URL")

    monkeypatch.setattr(commands, "fetch_imagenet", fetch)
    result = reproduce(dancers, ReproduceSettings(), Reporter(on_message=talked.append))
    assert any("are not the paper's; fetch URL" in line for line in talked)
    assert {line.split()[-1] for line in said if line.startswith("train")} == {
        "paper-two-stream-random-init", "paper-two-stream-baseline-random-init",
    }  # fmt: skip
    assert all("--init none" in line for line in said if line.startswith("train"))
    page = result.page.read_text()
    assert "Here, as published but for random initial weights" in page
    assert "Here, as published<" not in page
    found = {one["name"]: one for one in result.document["experiments"]}
    start = "random initial weights instead of inflated ImageNet weights"
    assert start in found["two-stream"]["deviations"]
    assert "6 classes instead of 19" in found["two-stream"]["deviations"]
    flow = "optical flow by dis instead of tvl1, the method of I3D's authors"
    assert flow in found["two-stream"]["deviations"]
    assert flow not in found["tuned"]["deviations"]
    # With the file the rows are the paper's, and run under their own names.
    monkeypatch.setattr(commands, "fetch_imagenet", lambda _: None)
    said.clear()
    result = reproduce(dancers, ReproduceSettings())
    assert any(line.endswith("--init imagenet --split paper-all --recipe paper-two-stream --name "
                             "paper-two-stream") for line in said)  # fmt: skip
    assert "Here, as published<" in result.page.read_text()


def test_the_page_says_who_states_each_value_and_what_was_different(
    whole: tuple[Workspace, ReproduceResult, list[str], list[str]],
) -> None:
    _, result, _, _ = whole
    found = {one["name"]: one for one in result.document["experiments"]}
    values = {value["key"]: value for value in found["tuned"]["recipe"]}
    assert (values["lr"]["text"], values["lr"]["source"]) == ("0.000787", "paper")
    assert values["train_crop"]["source"] == "MMAction2"
    assert values["freeze"]["source"] == "ours"
    different = found["tuned"]["deviations"]
    assert "model inception instead of nonlocal" in different
    assert "clip_len 8 instead of the model's own" in different
    assert "num_clips 1 instead of 10" in different
    assert "1 view of each training clip, drawn once, instead of a new one in every epoch" in different
    page = result.page.read_text()
    for sentence in different:
        assert sentence.replace("'", "&#39;") in page
    assert "the paper freezes" in page


def test_only_some_of_the_experiments(
    dancers: Workspace, stand_ins: Callable[[Workspace], list[str]]
) -> None:
    said = stand_ins(dancers)
    reproduce(dancers, ReproduceSettings(quick=True, only=("tuned",)))
    trained = [line.split()[-1] for line in said if line.startswith("finetune")]
    assert trained == ["quick-tuned-published", "quick-tuned-ours"]
    # What is done stays on the page.
    result = reproduce(dancers, ReproduceSettings(quick=True, only=("scheduled",)))
    there = {one["name"] for one in result.document["experiments"] if one["ours"]}
    assert there == {"scheduled", "tuned"}
    with pytest.raises(UsageError, match="no experiment 'tined'"):
        reproduce(dancers, ReproduceSettings(quick=True, only=("tined",)))


def test_a_fetch_that_was_stopped_goes_on(dancers: Workspace) -> None:
    site = dancers.root / SITE_FOLDER
    assert quick.has_clips(dancers)  # no list: another demo's, or one by hand
    (site / "annotations.csv").write_text("label,youtube_id\nwave,elsewhere-1\n")
    assert quick.has_clips(dancers)
    videos = [video.video_id for video in corpus.plan(quick.CORPUS)]
    rows = [f"wave,{video}" for video in videos for _ in range(3)]
    (site / "annotations.csv").write_text("\n".join(["label,youtube_id", *rows]))
    assert not quick.has_clips(dancers)  # 180 of 216


def test_a_dry_run_writes_nothing_and_says_the_cost(workspace: Workspace, dance: Callable[..., Ran]) -> None:
    ran = dance("reproduce", "--quick", "--workspace", "here", "--dry-run")
    assert ran.code == 0
    commands = [line.split()[2] for line in ran.out.splitlines()]
    assert commands[0] == "fetch"
    assert commands.count("finetune") == 6
    assert commands.count("train") == 2
    assert "the runs take about" in ran.err
    assert not (workspace.root / "here").exists()
    assert dance("reproduce").err.startswith(
        f"error: {workspace.root}: there are no clips to reproduce the paper on"
    )
