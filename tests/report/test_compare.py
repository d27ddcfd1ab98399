"""`dance compare`: a verdict where there is one, and a refusal where there can be none."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import pytest
from helpers.builders import Ran
from helpers.fake_run import change_meta, make_run

from dancecli.core.errors import InputError
from dancecli.core.progress import Reporter
from dancecli.core.records import Clip, Prediction, SplitClip
from dancecli.report.compare import CompareSettings, compare
from dancecli.report.pages.compare_page import next_step
from dancecli.report.statistics.significance import Paired
from dancecli.storage import tables
from dancecli.storage.corrections import Correction, append_corrections
from dancecli.storage.lockfile import split_digest
from dancecli.storage.runs import ignores_seed
from dancecli.storage.workspace import Workspace

SIX = ("wave", "spin", "bounce", "<script>alert(1)</script>", "robot", "kick ball change")
GOLD = Path(__file__).parents[1] / "golden" / "report_compare.json"
A, B = "first-1", "second-1"


@pytest.fixture
def two(workspace: Workspace) -> Workspace:
    """A run and a clearly better one."""
    make_run(workspace.root, SIX, test=90, name=A, skill=1.2)
    return make_run(workspace.root, SIX, test=90, name=B, skill=4.0, salt="b")


def test_the_figures_are_those_of_the_gold_file(two: Workspace) -> None:
    result = compare(two, CompareSettings(A, B))
    assert result.page == two.root / "reports" / f"{A}-vs-{B}" / "index.html"
    assert result.page.with_name("compare.json").read_text() == GOLD.read_text()


def test_a_clear_difference_is_said(two: Workspace) -> None:
    result = compare(two, CompareSettings(A, B))
    found = result.comparison
    points = f"{100 * (found.second.k - found.first.k) / 90:.1f}"
    assert result.verdict == f"{B} is better by {points} points"
    assert found.second.k - found.first.k == found.paired.second - found.paired.first
    turned = compare(two, CompareSettings(B, A))
    assert turned.verdict == result.verdict
    assert turned.comparison.paired.p == found.paired.p


def test_after_corrections_both_are_scored_by_the_labels_in_force(two: Workspace) -> None:
    """The second run was made on a split in which one label was corrected; the first knows the old one."""
    said: list[str] = []
    before = compare(two, CompareSettings(A, B))
    path = two.run(B) / "predictions.parquet"
    rows = tables.read(path, Prediction)
    clip, old = rows[0].clip_id, SIX[rows[0].label_index]
    right = before.comparison.first.k
    called = rows_of(two, A)[clip].index(max(rows_of(two, A)[clip]))
    new = SIX[called] if SIX[called] != old else SIX[(called + 1) % len(SIX)]
    relabel(two, B, clip, new)
    append_corrections(two, [Correction(clip, "label", old, new)])
    after = compare(two, CompareSettings(A, B), Reporter(on_message=said.append))
    assert "1 clip had other labels in the two: both are scored by the labels in force" in said
    assert after.document["relabeled"] == 1
    # The first run's figure moves by this one clip: it is right now if it was wrong before, and the reverse.
    assert after.comparison.first.k == right + (1 if SIX[called] == new else -1)
    turned = compare(two, CompareSettings(B, A))
    assert turned.comparison.paired.p == after.comparison.paired.p


def rows_of(workspace: Workspace, run: str) -> dict[str, tuple[float, ...]]:
    return {r.clip_id: r.scores for r in tables.read(workspace.run(run) / "predictions.parquet", Prediction)}


def relabel(workspace: Workspace, run: str, clip: str, label: str) -> None:
    """Make a run's split, record and predictions those of a split with another label of one clip."""
    record = json.loads((workspace.run(run) / "run.json").read_text())
    name, path = record["split"]["name"], workspace.run(run) / "predictions.parquet"
    split = [
        replace(row, label=label) if row.clip_id == clip else row
        for row in tables.read(workspace.split(name), SplitClip)
    ]
    digest = split_digest(split, SIX)
    meta = {**tables.read_meta(workspace.split(name)), "split.name": "corrected", "split.hash": digest}
    tables.write(workspace.split("corrected"), SplitClip, split, bare(meta))
    record["split"] |= {"name": "corrected", "hash": digest}
    (workspace.run(run) / "run.json").write_text(json.dumps(record))
    rows = [
        replace(row, label_index=SIX.index(label)) if row.clip_id == clip else row
        for row in tables.read(path, Prediction)
    ]
    tables.write(path, Prediction, rows, {**bare(tables.read_meta(path)), "split.hash": digest})


def bare(meta: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in meta.items() if not key.startswith("dance.")}


def test_what_neither_run_records_is_no_difference(two: Workspace) -> None:
    path = two.run(B) / "run.json"
    card = json.loads(path.read_text())
    card["split"]["noted"], card["optim"]["nesterov"] = "", "yes"
    path.write_text(json.dumps(card))
    made = compare(two, CompareSettings(A, B)).comparison.made
    assert ("optim nesterov", "", "yes") in made
    assert "split noted" not in {what for what, _, _ in made}


def test_two_runs_that_are_right_on_the_same_clips(workspace: Workspace) -> None:
    make_run(workspace.root, SIX, test=90, name=A)
    make_run(workspace.root, SIX, test=90, name=B)
    page = compare(workspace, CompareSettings(A, B)).page.read_text()
    assert "both runs are right on the same ones." in page
    assert "classified differently:" not in page


def test_two_like_runs_are_not_told_apart(workspace: Workspace) -> None:
    make_run(workspace.root, SIX, test=90, name=A, skill=2.0)
    make_run(workspace.root, SIX, test=90, name=B, skill=2.0, salt="b")
    result = compare(workspace, CompareSettings(A, B, name="both"))
    assert result.verdict == "No significant difference"
    assert "To distinguish the two" in result.page.read_text()


def test_made_again_it_is_the_same_and_holds_no_foreign_markup(two: Workspace) -> None:
    page = compare(two, CompareSettings(A, B)).page
    before = page.read_bytes()
    assert compare(two, CompareSettings(A, B)).page.read_bytes() == before
    text = before.decode()
    assert "<script>alert" not in text
    assert "https:" not in text


def test_what_was_made_differently_is_listed(two: Workspace) -> None:
    path = two.run(B) / "run.json"
    card = json.loads(path.read_text())
    card["optim"]["lr"] = 0.0001
    card["optim"]["ema"] = None  # what an older version did not record, and this one says is not there
    path.write_text(json.dumps(card))
    assert compare(two, CompareSettings(A, B)).comparison.made == (("optim lr", "0.01", "0.0001"),)


def test_another_test_set_is_refused(workspace: Workspace) -> None:
    make_run(workspace.root, SIX, test=90, name=A)
    clips = tables.read(workspace.clips, Clip)
    make_run(workspace.root, SIX, test=80, name=B, split="small")
    tables.write(workspace.clips, Clip, clips)
    with pytest.raises(InputError, match=r"test sets differ \(90 and 80 clips, 80 in both, 0 of those"):
        compare(workspace, CompareSettings(A, B))


def test_clips_made_again_are_refused(two: Workspace) -> None:
    card = json.loads((two.run(B) / "run.json").read_text())
    rows, meta = tables.read(two.split("demo"), SplitClip), tables.read_meta(two.split("demo"))
    last = rows[-1]
    rows[-1] = SplitClip(last.clip_id, last.subset, last.group, last.label, "0" * 64)
    tables.write(two.split("again"), SplitClip, rows, {"split.hash": meta["split.hash"]})
    card["split"]["name"] = "again"
    (two.run(B) / "run.json").write_text(json.dumps(card))
    with pytest.raises(InputError, match="90 in both, 1 of those with another file"):
        compare(two, CompareSettings(A, B))


def test_another_protocol_is_compared_where_that_is_meant(two: Workspace) -> None:
    plain = compare(two, CompareSettings(A, B))
    change_meta(two, B, **{"view.protocol": "1 single frame, 1 clip x 1 center crop 224"})
    result = compare(two, CompareSettings(A, B, across_views=True))
    assert result.verdict == f"{plain.verdict} (of models and what they saw: their views differ)"
    assert result.document["protocol"].endswith("; 1 single frame, 1 clip x 1 center crop 224")
    assert "What they saw differs" in result.page.read_text(encoding="utf-8")


def test_another_protocol_is_refused(two: Workspace) -> None:
    change_meta(two, B, **{"view.protocol": "32x2 frames, 10 clips x 3 crops 256"})
    with pytest.raises(
        InputError, match="one saw '32x2 frames, 1 clip x 1 center crop 224', the other '32x2"
    ):
        compare(two, CompareSettings(A, B))
    assert not (two.root / "reports").exists()


def test_another_input_is_compared_and_the_page_names_both(two: Workspace) -> None:
    change_meta(two, B, **{"view.protocol": "48 poses over the whole clip, 1 clip"})
    result = compare(two, CompareSettings(A, B))
    assert result.document["protocol"] == (
        "32x2 frames, 1 clip x 1 center crop 224; 48 poses over the whole clip, 1 clip"
    )
    page = result.page.read_text()
    assert (
        f"{A} saw 32x2 frames, 1 clip x 1 center crop 224, {B} 48 poses over the whole clip, 1 clip" in page
    )


def test_other_labels_are_refused(workspace: Workspace) -> None:
    make_run(workspace.root, SIX, test=90, name=A)
    make_run(workspace.root, SIX[:5], test=90, name=B, split="five")
    with pytest.raises(InputError, match="their labels differ"):
        compare(workspace, CompareSettings(A, B))


def test_a_part_without_predictions_and_a_run_with_itself_are_refused(two: Workspace) -> None:
    with pytest.raises(InputError, match=f"{A} has no predictions for subset 'val'"):
        compare(two, CompareSettings(A, B, subset="val"))
    with pytest.raises(InputError, match="is given twice"):
        compare(two, CompareSettings(A, A))


def test_the_command(two: Workspace, dance: Callable[..., Ran]) -> None:
    ran = dance("compare", A, B, "--dry-run")
    assert ran.code == 0
    assert f"{B} is better by" in ran.out
    assert not (two.root / "reports").exists()
    told = dance("compare", A, B, "--json").json
    assert told["significant"] is True
    assert Path(told["page"]).is_file()
    gone = dance("compare", A, "gone")
    assert gone.code == 1
    assert gone.err.startswith(f"error: there is no run 'gone' in {two.root}\n  hint: known: ")


def test_the_changes_of_the_confusion_matrix_add_up(two: Workspace) -> None:
    result = compare(two, CompareSettings(A, B))
    found = result.comparison.cells
    # Whatever is correct more often is a mistake less: every row sums to zero.
    for label in {cell.true for cell in found}:
        assert sum(cell.second - cell.first for cell in found if cell.true == label) == pytest.approx(0)
    gained = sum(cell.second - cell.first for cell in found if cell.true == cell.called)
    assert gained == result.comparison.second.k - result.comparison.first.k  # type: ignore[operator]
    assert [abs(c.change) for c in found] == sorted((abs(c.change) for c in found), reverse=True)
    page = result.page.read_text()
    assert page.count('<td class="hit') + page.count('<td class="miss') == len(found)


def test_the_first_screen_has_the_split_the_worst_class_and_the_calibration(two: Workspace) -> None:
    result = compare(two, CompareSettings(A, B))
    found, page = result.comparison, result.page.read_text()
    hero = page[page.index('class="hero"') : page.index('id="together"')]
    assert "split demo, test set" in hero
    lowest = min(found.classes, key=lambda c: (c.first.estimate.rate, -c.first.n, c.index))
    rate = f"{100 * lowest.first.estimate.rate:.1f}\u202f% ({lowest.first.text})"
    assert f"Lowest recall: {escape(SIX[lowest.index])}, {rate}" in hero
    assert hero.count("Calibration error: ") == 2
    assert f"+{found.second.k - found.first.k} of 90 clips" in hero


@pytest.mark.parametrize("seeds", [(1, 1), (3, 3)])
@pytest.mark.parametrize("gain", [0, 30])
def test_seeds_are_advised_only_where_they_make_a_difference(seeds: tuple[int, int], gain: int) -> None:
    paired = Paired(20, 0, gain, 20, 0.5, 1e-9 if gain else 1.0, 0.1 if gain else -0.1, 0.5, 40, seeds)
    assert ("--seeds" in next_step("a", "b", paired)[1]) is (max(seeds) == 1 or not gain)
    why, command = next_step("a", "b", paired, seedless=True)
    assert "seed" not in why + command
    assert command == ("dance report --run b" if gain else "dance split --folds 10")


@pytest.mark.parametrize(
    ("record", "ignored"),
    [
        ({}, False),
        ({"probe": {"protocol": "full", "head": "linear"}}, True),
        ({"probe": {"protocol": "full", "head": "knn"}}, True),
        ({"probe": {"protocol": "full", "head": "attentive"}}, False),
        ({"probe": {"protocol": "mteb", "head": "linear"}}, False),
        ({"probe": {"protocol": "full", "head": "linear"}, "cross_validation": {}}, False),
    ],
)
def test_which_heads_do_not_depend_on_the_seed(record: dict[str, Any], ignored: bool) -> None:
    assert ignores_seed(record) is ignored
