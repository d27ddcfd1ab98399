from __future__ import annotations

import json
import shlex
from collections.abc import Callable

from helpers.builders import Ran, fill, make_clip

from dancecli.core.labels import LabelSet
from dancecli.core.records import NEAR_DUPLICATE, Clip, Group, Outcome, OutcomeClass, Segment
from dancecli.dataset.clips import read_imports, read_segments, remember_segments
from dancecli.dataset.fetch.settings import FetchSettings, selection_options
from dancecli.dataset.groups import add_groups
from dancecli.status import status
from dancecli.storage import tables
from dancecli.storage.ledger import LedgerWriter
from dancecli.storage.removals import Removal, add_removals
from dancecli.storage.workspace import Workspace

Dance = Callable[..., Ran]
LABELS = ("tap dancing", "zumba")


def advised(ran: Ran) -> list[str]:
    assert ran.code == 0, ran.err
    return [advice["command"] for advice in ran.json["advice"]]


def write_run(workspace: Workspace, name: str, status: str, test_hash: str = "a") -> None:
    workspace.run(name).mkdir(parents=True)
    record = {"schema": 1, "name": name, "status": status, "settings": {}, "split": {"test_hash": test_hash}}
    (workspace.run(name) / "run.json").write_text(json.dumps(record))


def compared(workspace: Workspace, count: int) -> None:
    """Leave what a dedup of the first clips leaves."""
    clips = tables.read(workspace.clips, Clip)[:count]
    add_groups(workspace, [Group(clip.clip_id, clip.video_id, NEAR_DUPLICATE) for clip in clips])


def test_an_empty_folder_gets_advice_and_nothing_is_written(workspace: Workspace, dance: Dance) -> None:
    ran = dance()
    assert ran.code == 0
    assert "contains no dataset yet" in ran.out
    assert "dance demo" in ran.out
    assert "dance import DIR" in ran.out
    assert list(workspace.root.iterdir()) == []
    assert dance("status").out == ran.out


def test_each_stage_leads_to_the_next(workspace: Workspace, dance: Dance) -> None:
    fill(workspace, [make_clip(i, LABELS[i % 2]) for i in range(100)], LABELS)
    assert advised(dance("status", "--json")) == ["dance dedup", "dance split"]
    compared(workspace, 90)
    first = dance("status", "--json").json["advice"][0]
    assert first == {"command": "dance dedup", "why": "10 clips of 100 not compared yet"}
    compared(workspace, 100)
    assert advised(dance("status", "--json")) == ["dance split"]
    assert dance("split").code == 0
    assert advised(dance("status", "--json")) == ["dance finetune"]
    write_run(workspace, "one", "interrupted")
    assert advised(dance("status", "--json")) == ["dance finetune --resume --name one"]
    write_run(workspace, "two", "done")
    assert advised(dance("status", "--json"))[-1] == "dance report --run two"
    workspace.report("two").mkdir(parents=True)
    (workspace.report("two") / "index.html").touch()
    write_run(workspace, "three", "done", test_hash="b")
    assert "dance board" not in advised(dance("status", "--json"))
    write_run(workspace, "four", "done")
    assert "dance board" in advised(dance("status", "--json"))
    out = dance().out
    assert "100 requested, in 2 classes" in out
    assert "full (90/5/5 in train/val/test)" in out
    assert "1 interrupted, 3 done" in out


def test_a_split_of_cross_validation_is_trained_by_its_folds(workspace: Workspace, dance: Dance) -> None:
    fill(workspace, [make_clip(i, LABELS[i % 2]) for i in range(100)], LABELS)
    assert dance("split", "--folds", "5").code == 0
    assert advised(dance("status", "--json"))[-1] == "dance finetune --folds"


def test_clips_that_may_still_be_available_are_counted(workspace: Workspace, dance: Dance) -> None:
    clips = [make_clip(i, LABELS[i % 2]) for i in range(10)]
    fill(workspace, clips, LABELS)
    kinds = [OutcomeClass.DONE] * 6 + [OutcomeClass.TRANSIENT, OutcomeClass.SESSION, OutcomeClass.PERMANENT]
    rows = [
        (Outcome(c.clip_id, c.video_id, kind, "x", "", 1, "2026-01-01T00:00:00", 0, "site"), None)
        for c, kind in zip(clips[:8], kinds[1:], strict=True)
    ]
    with LedgerWriter(workspace.ledger) as writer:
        writer.record(rows)
    ran = dance("status", "--json")
    assert advised(ran)[0] == "dance fetch"
    assert ran.json["advice"][0]["why"] == "2 segments not tried yet"
    with LedgerWriter(workspace.ledger) as writer:
        writer.record([(Outcome(c.clip_id, c.video_id, OutcomeClass.DONE, "ok", "", 1, "2026", 0, "s"), None)
                       for c in clips[8:]])  # fmt: skip
    ran = dance("status", "--json")
    assert advised(ran)[0] == "dance fetch --retry transient"
    assert ran.json["advice"][0]["why"].startswith("2 clips")


def test_missing_clips_of_a_split_are_reported(workspace: Workspace, dance: Dance) -> None:
    clips = [make_clip(i, LABELS[i % 2]) for i in range(40)]
    fill(workspace, clips, LABELS)
    assert dance("split").code == 0
    tables.write(workspace.clips, Clip, clips[:37])
    compared(workspace, 37)
    ran = dance("status", "--json")
    assert ran.json["advice"][0] == {
        "command": "dance annotate --split full",
        "why": "3 clips of it missing",
    }


def test_a_damaged_run_record_is_listed(workspace: Workspace, dance: Dance) -> None:
    fill(workspace, [make_clip(i) for i in range(3)], LABELS)
    workspace.run("one").mkdir(parents=True)
    (workspace.run("one") / "run.json").write_text("{")
    ran = dance()
    assert ran.code == 0
    assert "1 unreadable" in ran.out
    assert "run.json: the run record is not valid JSON" in " ".join(ran.out.split())


def test_copies_that_a_file_manager_made_are_listed_and_not_taken(workspace: Workspace, dance: Dance) -> None:
    fill(workspace, [make_clip(i, LABELS[i % 2]) for i in range(40)], LABELS)
    assert dance("split").code == 0
    table = workspace.split("full")
    table.with_name("full (copy).parquet").write_bytes(table.read_bytes())
    write_run(workspace, "one", "done")
    copy = workspace.root / "runs" / "one (copy)"
    copy.mkdir()
    (copy / "run.json").write_bytes((workspace.run("one") / "run.json").read_bytes())
    assert workspace.splits() == ["full"]
    out = " ".join(dance().out.split())
    assert "full (copy).parquet: no split can have this name" in out
    assert "1 done, 1 unreadable; latest: one" in out
    assert "run name 'one (copy)' cannot be used" in out


def test_outcomes_of_other_clips_do_not_hide_untried_segments(workspace: Workspace, dance: Dance) -> None:
    clips = [make_clip(i, LABELS[i % 2]) for i in range(20)]
    fill(workspace, clips[:10], LABELS)
    rows = [
        (Outcome(c.clip_id, c.video_id, OutcomeClass.CORRUPT, "broken", "", 1, "2026", 0, "folder"), None)
        for c in clips[10:]
    ]
    with LedgerWriter(workspace.ledger) as writer:
        writer.record(rows)
    assert dance("status", "--json").json["advice"][0]["why"] == "10 segments not tried yet"


def test_the_advice_repeats_the_options_of_the_fetch(workspace: Workspace, dance: Dance) -> None:
    clips = [make_clip(i, LABELS[i % 2]) for i in range(10)]
    fill(workspace, clips, LABELS)
    settings = FetchSettings(
        annotations=(workspace.root / "my list.csv",),
        labels=workspace.root / "l.txt",
        limit=3,
        sources=("mirror",),
    )
    segments = read_segments(workspace).values()
    remember_segments(workspace, segments, LabelSet(LABELS), fetch_options=selection_options(settings))
    # Another step that adds segments keeps them.
    remember_segments(workspace, [Segment("other", 0, 1000, LABELS[0])], LabelSet(LABELS))
    outcome = Outcome(clips[0].clip_id, "v", OutcomeClass.DONE, "ok", "", 1, "2026", 0, "site")
    with LedgerWriter(workspace.ledger) as writer:
        writer.record([(outcome, None)])
    (command, *_) = advised(dance("status", "--json"))
    assert shlex.split(command) == [
        *("dance", "fetch", "--annotations", f"{workspace.root}/my list.csv", "--limit", "3"),
        *("--source", "mirror", "--labels", f"{workspace.root}/l.txt"),
    ]


def test_what_a_searched_folder_lacks_is_not_called_untried_alone(workspace: Workspace) -> None:
    clips = [make_clip(i, LABELS[i % 2]) for i in range(4)]
    fill(workspace, clips[:1], LABELS)
    segments = [Segment(c.video_id, c.start_ms, c.end_ms, c.label, "", c.dataset) for c in clips]
    options = selection_options(FetchSettings(sources=("local",), folder=workspace.root))
    remember_segments(workspace, segments, LabelSet(LABELS), fetch_options=options)
    outcome = Outcome(clips[0].clip_id, "v", OutcomeClass.DONE, "ok", "", 1, "2026", 0, "folder")
    with LedgerWriter(workspace.ledger) as writer:
        writer.record([(outcome, None)])
    assert status(workspace).advice[0].why == "3 segments not in the folder, or not tried yet"


def test_what_a_list_of_removals_names_and_is_here_comes_first(workspace: Workspace) -> None:
    clips = [make_clip(i, LABELS[i % 2]) for i in range(6)]
    fill(workspace, clips, LABELS)
    add_removals(workspace, [Removal(clips[3].clip_id, "", "clip", "asked", "2026-01-01T00:00:00")])
    first = status(workspace).advice[0]
    assert first.command == "dance remove removed.csv --reason ..."
    assert first.why == "1 clip of removed.csv still here"


def test_an_import_that_was_killed_is_advised_with_its_folder(workspace: Workspace, dance: Dance) -> None:
    named = [make_clip(i, LABELS[i % 2], dataset="mine") for i in range(4)]
    fetched = [make_clip(i, LABELS[i % 2]) for i in range(4, 9)]
    fill(workspace, [], LABELS)
    segments = [Segment(c.video_id, c.start_ms, c.end_ms, c.label, "", c.dataset) for c in (*named, *fetched)]
    labels = LabelSet(LABELS)
    words = ("/my tapes", "--label-pattern", "(a|b)")
    remember_segments(workspace, segments[4:], labels, fetch_options=["--limit", "3"])
    # Those that a fetch asked for before stay a fetch's.
    remember_segments(workspace, segments, labels, import_options=words)
    assert read_imports(workspace) == {"mine": [list(words)]}
    rows = [
        (Outcome(named[0].clip_id, "v", OutcomeClass.TRANSIENT, "lost", "", 1, "2026", 0, "folder"), None),
        (Outcome(named[1].clip_id, "v", OutcomeClass.DONE, "ok", "", 1, "2026", 0, "folder"), None),
        (Outcome(fetched[0].clip_id, "v", OutcomeClass.DONE, "ok", "", 1, "2026", 0, "site"), None),
    ]
    with LedgerWriter(workspace.ledger) as writer:
        writer.record(rows)
    assert dance("status", "--json").json["advice"][:2] == [
        {
            "command": "dance import '/my tapes' --label-pattern '(a|b)'",
            "why": "3 clips of an import missing; it resumes",
        },
        {"command": "dance fetch --limit 3", "why": "4 segments not tried yet"},
    ]
    remember_segments(workspace, segments[:1], labels, import_options=["/other"])
    assert advised(dance("status", "--json"))[0] == "dance import DIR"


def test_clips_of_a_plain_folder_are_never_advised_to_be_fetched(workspace: Workspace, dance: Dance) -> None:
    clips = [make_clip(i, LABELS[i % 2], dataset="plain") for i in range(4)]
    fill(workspace, clips, LABELS)
    assert advised(dance("status", "--json"))[0] == "dance dedup"
    tables.write(workspace.clips, Clip, clips[:3])
    outcome = Outcome(clips[0].clip_id, "v", OutcomeClass.DONE, "ok", "", 1, "2026", 0, "folder")
    with LedgerWriter(workspace.ledger) as writer:
        writer.record([(outcome, None)])
    first = dance("status", "--json").json["advice"][0]
    assert (first["command"], first["why"][:6]) == ("dance import DIR", "1 clip")


def test_the_host_of_a_leaderboard_has_no_dataset_to_begin(workspace: Workspace, dance: Dance) -> None:
    lock = workspace.split_lock("benchmark")
    lock.parent.mkdir(parents=True)
    lock.write_text("clip_id,subset,group,label,sha256\n")
    workspace.submission("ours").parent.mkdir()
    workspace.submission("ours").write_bytes(b"")
    ran = dance("status", "--json")
    assert advised(ran) == ["dance board --add FILE"]
    assert ran.json["stages"] == [{"what": "board", "found": "1 submission, for the lock of benchmark"}]
