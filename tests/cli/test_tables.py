"""The tables for a person of commands whose rooms are tested by their documents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.builders import Ran, fill, make_clip

from dancecli.cli import console
from dancecli.cli.models import train
from dancecli.model.runs import two_stream
from dancecli.storage.workspace import Workspace

Dance = Callable[..., Ran]


def record(run: str, right: int) -> dict[str, object]:
    scores = {"n": 50, "top1": right, "top5": 50}
    return {"name": run, "results": {"val": None, "test": scores}, "views": {"test": "64 frames, 1 clip"}}


@pytest.fixture
def trained(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace in which both streams were trained before."""
    records = {"rgb": record("two-rgb", 30), "flow": record("two-flow", 25), "both": record("two", 40)}
    found = two_stream.TrainResult("two", records, (), False)
    monkeypatch.setattr(two_stream, "train", lambda *_: found)
    return workspace


@pytest.mark.parametrize("name", ["dancing ballet and more", "a" * 30, "salsa " * 9])
@pytest.mark.parametrize("columns", [200, 80, 72])
def test_a_narrow_terminal_loses_no_figure(
    name: str, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    heads = ("class", "asked", "done", "transient", "permanent", "source-short", "survival, 95 %")
    console.print_result(
        console.table(heads, [(name, 317, 311, 3, 2, 1, "97-100 %"), ("waltz", 1, 0, 0, 1, 0, "")])
    )
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= columns
    assert "97-100" in said
    assert said.count(name[0]) >= name.count(name[0])


def test_streams_stand_below_one_another_and_the_fusion_leads_on(
    trained: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    train.command(trained.root, stream="both")
    said = capsys.readouterr()
    lines = [" ".join(line.split()) for line in said.out.splitlines()]
    assert "rgb two-rgb 50 30/50 (60.0 %) 50/50 (100.0 %)" in lines
    assert "both two 50 40/50 (80.0 %) 50/50 (100.0 %)" in lines
    assert not any(line.startswith("val") for line in lines)
    assert "test views: 64 frames, 1 clip" in lines
    assert "next: dance report --run two" in lines
    assert "dance compare two-rgb two # does the fusion help?" in lines
    assert "run two is already complete" in said.err


def test_merge_says_what_comes_in_and_what_does_not(
    workspace: Workspace, dance: Dance, tmp_path: Path
) -> None:
    listed = tmp_path / "list.csv"
    listed.write_text(
        "tango\tabcdefghijk_052\t301\nlatin\tbbcdefghijk_052\t301\nballet\tcbcdefghijk_052\t301\n"
    )
    ran = dance("merge", str(listed), "--dry-run")
    assert ran.code == 0, ran.err
    lines = [" ".join(line.split()) for line in ran.out.splitlines()]
    assert lines[1].split() == ["class", "label", "in", "unmapped"]
    assert "ballet dancing ballet 1 0" in lines
    assert "latin - 0 1" in lines
    assert "all 2 1" in lines
    assert lines[-1] == "nothing was written (--dry-run)"
    assert not workspace.segments.exists()


def test_annotate_and_split_say_it_for_a_person(workspace: Workspace, dance: Dance) -> None:
    fill(workspace, [make_clip(i) for i in range(60)], ["tap dancing"])
    assert dance("split").code == 0
    next((workspace.root / "clips").iterdir()).unlink()
    ran = dance("annotate")
    assert ran.code == 3
    assert "1 clips have lost their file" in ran.err
