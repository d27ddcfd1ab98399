"""Human-readable tables of commands whose functions are tested by their JSON documents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.builders import Ran, fill, make_clip

from dancecli.cli import console
from dancecli.cli.models import train
from dancecli.model.runs import two_stream
from dancecli.storage.runs import RunResult
from dancecli.storage.workspace import Workspace

Dance = Callable[..., Ran]


def record(run: str, right: int) -> dict[str, object]:
    scores = {"n": 50, "top1": right, "top5": 50}
    return {
        "labels": [*"abcdefghi"],
        "name": run,
        "results": {"val": None, "test": scores},
        "views": {"test": "64 frames, 1 clip"},
    }


@pytest.fixture
def trained(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace in which both streams were trained before."""
    records = {"rgb": record("two-rgb", 30), "flow": record("two-flow", 25), "both": record("two", 40)}
    found = RunResult("two", records["both"], (), False, records)
    monkeypatch.setattr(two_stream, "train", lambda *_: found)
    return workspace


def test_a_table_that_does_not_fit_continues_below(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    heads = tuple(f"column {i}" for i in range(12))
    row = ("inception-full-1", *(f"{i}{i}.{i} %" for i in range(1, 12)))
    for columns in (60, 80, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        console.print_result(console.table(heads, [row]))
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= columns
        printed = " ".join(lines)
        assert all(cell in printed for cell in row)
        assert printed.count("inception-full-1") == {60: 3, 80: 2, 200: 1}[columns]
    # A file has no width.
    monkeypatch.delenv("COLUMNS")
    console.print_result(console.table(heads, [row]))
    assert capsys.readouterr().out.count("inception-full-1") == 1


@pytest.mark.parametrize("name", ["dancing ballet and more", "a" * 30, "salsa " * 9])
@pytest.mark.parametrize("columns", [200, 80, 72])
def test_a_narrow_terminal_loses_no_value(
    name: str, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    heads = ("class", "requested", "done", "transient", "permanent", "source-short", "available, 95 %")
    console.print_result(
        console.table(heads, [(name, 317, 311, 3, 2, 1, "97-100 %"), ("waltz", 1, 0, 0, 1, 0, "")])
    )
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= columns
    assert "97-100" in printed
    assert printed.count(name[0]) >= name.count(name[0])


@pytest.mark.parametrize(("classes", "told"), [(5, False), (6, True)])
def test_what_cannot_be_wrong_is_no_result(
    classes: int, told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, results = list(map(str, range(classes))), {"val": None, "test": {"n": 9, "top1": 6, "top5": 9}}
    console.print_scores({"name": "run", "views": {"test": "1 view"}, "labels": labels, "results": results})
    assert ("top-5" in capsys.readouterr().out) is told


def test_both_streams_and_their_fusion_are_listed(
    trained: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    train.command(trained.root, stream="both")
    printed = capsys.readouterr()
    lines = [" ".join(line.split()) for line in printed.out.splitlines()]
    assert "rgb two-rgb 50 30/50 (60.0 %) 50/50 (100.0 %)" in lines
    assert "both two 50 40/50 (80.0 %) 50/50 (100.0 %)" in lines
    assert not any(line.startswith("val") for line in lines)
    assert "test views: 64 frames, 1 clip" in lines
    assert "next: dance report --run two" in lines
    assert "dance compare two-rgb two # does the fusion help?" in lines
    assert "run two is already complete" in printed.err


def test_merge_prints_what_is_mapped_and_what_is_not(
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


def test_annotate_prints_missing_files(workspace: Workspace, dance: Dance) -> None:
    fill(workspace, [make_clip(i) for i in range(60)], ["tap dancing"])
    assert dance("split").code == 0
    next((workspace.root / "clips").rglob("*.mp4")).unlink()
    ran = dance("annotate")
    assert ran.code == 3
    assert "1 clip is not in the lists: the file is lost" in ran.err
