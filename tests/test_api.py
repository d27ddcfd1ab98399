"""The Python API: the same names and defaults as the commands, typed frames, lazy imports."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import time

import pandas as pd
import pytest
from helpers.builders import fill, make_clip
from helpers.fake_run import make_run

import dancecli
from dancecli.api import method_name
from dancecli.cli import calling, console, loader, registry
from dancecli.core.records import Clip, Outcome, OutcomeClass
from dancecli.storage import tables
from dancecli.storage.corrections import Correction, append_corrections
from dancecli.storage.ledger import LedgerWriter
from dancecli.storage.workspace import Workspace

LABELS = ("tap dancing", "zumba")
TEXT = "string[pyarrow]"


@pytest.fixture
def ws(workspace: Workspace) -> dancecli.Workspace:
    fill(workspace, [make_clip(i, LABELS[i % 2]) for i in range(100)], LABELS)
    return dancecli.open(workspace.root)


@pytest.mark.parametrize("name", registry.COMMANDS)
def test_every_command_has_a_function_with_its_names_and_defaults(ws: dancecli.Workspace, name: str) -> None:
    signature = inspect.signature(getattr(ws, method_name(name)))
    found = {key: one.default for key, one in signature.parameters.items()}
    assert {"on_progress", "on_message"} <= set(found)
    options = {option.name: option for option in loader.load(name).params}
    expected = {key for key in options if key not in calling.TERMINAL_ONLY and key != "help"}
    # `run` and `split` may stand first; which is all that may differ.
    assert set(found) - {"on_progress", "on_message"} == expected
    for key in expected:
        default = None if found[key] is inspect.Parameter.empty else found[key]
        assert default == options[key].default, key
    assert getattr(ws, method_name(name)).__doc__


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys; import dancecli; print(*(name for name in sys.modules if name.startswith('dancecli')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["dancecli"]
    code = "import sys, dancecli; dancecli.open('.'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "pandas", "pyarrow", "numpy", "mmaction", "matplotlib"} & set(done.stdout.split())


def test_a_command_reads_dance_toml_and_options_override_it(ws: dancecli.Workspace) -> None:
    (ws.root / "dance.toml").write_text('[split]\nseed = 7\nratios = "80/20"\n')
    assert ws.split(stratify=True).name == "full-80-20-stratified-seed7"
    assert ws.split(seed=2).name == "full-80-20-seed2"


@pytest.mark.parametrize(
    ("command", "option"),
    [("predict", "run"), ("evaluate", "run"), ("finetune", "split"), ("features", "split")],
)
def test_what_a_method_is_not_given_dance_toml_decides(
    ws: dancecli.Workspace, command: str, option: str
) -> None:
    ws.split()
    (ws.root / "dance.toml").write_text(f'[{command}]\n{option} = "nosuch"\n')
    args = ("film.mp4",) if command == "predict" else ()
    (ws.root / "film.mp4").touch()
    with pytest.raises(dancecli.DanceError, match="nosuch"):
        getattr(ws, command)(*(ws.root / name for name in args))


@pytest.mark.parametrize("command", ["finetune", "train", "tune"])
def test_several_processes_and_dry_runs_are_of_the_command_line(ws: dancecli.Workspace, command: str) -> None:
    with pytest.raises(dancecli.DanceError, match="are started by the command line"):
        getattr(ws, command)(gpus=2)
    (ws.root / "dance.toml").write_text(f"[{command}]\ngpus = 2\n")
    with pytest.raises(dancecli.DanceError, match="are started by the command line"):
        getattr(ws, command)()
    with pytest.raises(dancecli.DanceError, match="a dry run of split makes nothing to return"):
        ws.split("new", dry_run=True)


def test_errors_and_wrong_options_are_dance_errors(ws: dancecli.Workspace) -> None:
    with pytest.raises(dancecli.DanceError, match="split has no option 'sed'"):
        ws.split(sed=1)
    with pytest.raises(dancecli.DanceError, match="ratios '50/60'"):
        ws.split(ratios="50/60")
    with pytest.raises(dancecli.DanceError, match="there is no run 'nosuch'"):
        ws.run("nosuch")
    with pytest.raises(dancecli.DanceError, match="folder not found"):
        dancecli.open(ws.root / "nosuch")


def test_nothing_is_printed_and_what_is_missing_is_told(
    ws: dancecli.Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    split = ws.split()
    next((ws.root / "clips").rglob("*.mp4")).unlink()
    messages: list[str] = []
    result = ws.annotate(split.name, on_message=messages.append)
    assert not result.complete
    assert len(result["missing"]) == 1
    assert "1 clip is not in the lists: the file is lost" in messages[0]
    assert ws.history(dry_run=True).document[-1]["label"] == "all"
    assert capsys.readouterr() == ("", "")
    assert console._capture.get() is None


def test_a_split_shows_its_clips_and_its_proof(ws: dancecli.Workspace) -> None:
    split = ws.split("half", subset=50, ratios="80/20")
    assert ws.split("half").name == "half", "an existing split is opened, not made again"
    frame = split.frame
    assert (frame.index.name, len(frame)) == ("clip_id", 50)
    assert split.proof["clips"] == {"train": 40, "test": 10}
    assert split.proof["groups_in_several_subsets"] == 0
    assert split.lock.is_file()
    assert "<td>40</td>" in split._repr_html_()


@pytest.mark.parametrize("repeats", [1, 2])
def test_the_proof_of_a_cross_validation_counts_its_folds(ws: dancecli.Workspace, repeats: int) -> None:
    split = ws.split(folds=12, repeats=repeats)
    proof = split.proof
    names = [f"fold{n}" for n in range(1, 13)]
    if repeats == 2:
        names = [f"repeat{r}-{name}" for r in (1, 2) for name in names]
    assert list(proof["clips"]) == list(proof["groups"]) == names
    assert sum(proof["clips"].values()) == repeats * len(split.frame)
    assert sum(proof["groups"].values()) == repeats * split.frame["group"].nunique()
    assert proof["groups_in_several_subsets"] == 0
    assert "<th>fold</th>" in split._repr_html_()
    assert "groups in several folds: 0" in split._repr_html_()


def test_clips_are_typed_and_a_hundred_thousand_take_less_than_a_second(ws: dancecli.Workspace) -> None:
    clips = [make_clip(i, LABELS[i % 2]) for i in range(100_000)]
    tables.write(ws.root / "manifests" / "clips.parquet", Clip, clips)
    ws.clips()
    before = time.process_time()
    frame = ws.clips()
    assert time.process_time() - before < 1.0
    assert (frame.index.name, len(frame)) == ("clip_id", 100_000)
    kinds = {name: str(kind) for name, kind in frame.dtypes.items()}
    assert (kinds["label"], kinds["num_frames"], kinds["has_audio"], kinds["black_share"]) == (
        "string", "int64", "bool", "float64",
    )  # fmt: skip


def test_frames_of_an_empty_workspace_have_their_columns(workspace: Workspace) -> None:
    ws = dancecli.create(workspace.root / "new")
    assert (ws.root / "dance.toml").is_file()
    assert list(ws.clips().columns) == [name for name in Clip.__slots__ if name != "clip_id"]
    assert len(ws.outcomes()) == len(ws.corrections()) == 0
    assert list(ws.corrections().columns) == ["field", "old", "new", "who", "when_utc", "why"]
    for frame in (ws.clips(), ws.outcomes(), ws.corrections()):
        assert frame.index.name == "clip_id"
    assert "demo" in ws._repr_html_()


def test_outcomes_and_corrections_are_read(ws: dancecli.Workspace) -> None:
    row = Outcome("a_0_1000", "a", OutcomeClass.PERMANENT, "private", "text", 2, "2026-01-01", 5, "youtube")
    with LedgerWriter(ws.root / "ledger.db") as writer:
        writer.record([(row, None)])
    assert ws.outcomes().loc["a_0_1000", ["outcome", "reason", "attempts"]].tolist() == [
        "permanent",
        "private",
        1,
    ]
    append_corrections(Workspace(ws.root), [Correction("a_0_1000", "label", "zumba", "tap dancing", "me")])
    assert ws.corrections().loc["a_0_1000", "new"] == "tap dancing"


def test_corrections_are_imported_and_taken_back(ws: dancecli.Workspace) -> None:
    fill(Workspace(ws.root), [make_clip(0, "zumba")], ("tap dancing", "zumba"))
    clip_id = ws.clips().index[0]
    decided = ws.root / "decided.csv"
    decided.write_text(f"clip_id,label\n{clip_id},tap dancing\nunknown,zumba\n")
    found = ws.corrections(files=[decided])
    assert (found.complete, len(found["rows"]), len(found["refused"])) == (False, 1, 1)
    assert "Field." not in repr(found.document), "plain values, as --json prints them"
    assert found.document == json.loads(json.dumps(found.document))
    assert ws.corrections().loc[clip_id, "new"] == "tap dancing"
    assert ws.corrections(take_back=[clip_id]).complete
    assert list(ws.corrections()["new"]) == ["tap dancing", ""]


def test_a_switch_is_true_or_false_and_a_printed_table_is_no_option(ws: dancecli.Workspace) -> None:
    with pytest.raises(dancecli.DanceError, match="folds=3 is neither True nor False"):
        ws.finetune(folds=3)
    with pytest.raises(dancecli.DanceError, match="report has no option 'latex'"):
        ws.report(latex=True)


def test_a_run_gives_predictions_metrics_and_a_report(workspace: Workspace) -> None:
    make_run(
        workspace.root, ("wave", "spin", "bounce", "robot", "waltz", "tango"), test=48, val=18, name="good-1"
    )
    ws = dancecli.open(workspace.root)
    run = ws.run("good-1")
    scores = run.predictions()
    assert isinstance(scores, pd.DataFrame)
    assert scores[run.record["labels"]].sum(axis=1).round(6).eq(1).all()
    found = run.metrics().loc[("test", "top-1")]
    assert ws.report(run, dry_run=True).document == ws.report("good-1", dry_run=True).document
    document = ws.report("good-1", dry_run=True)
    assert (found["k"], found["n"]) == (
        document["subsets"]["test"]["top1"]["k"],
        document["subsets"]["test"]["n"],
    )
    assert found["low"] < found["rate"] < found["high"]
    shown = run._repr_html_()
    assert f"{found['k']:.0f}/{found['n']:.0f}" in shown
    assert shown.count("<tr>") > 2
    assert run.report().is_file()
    assert ws.board(dry_run=True)["leaderboards"]
