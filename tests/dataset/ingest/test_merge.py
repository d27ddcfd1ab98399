from __future__ import annotations

import csv
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from helpers.builders import fill, make_clip

from dancecli.core.labels import LabelSet
from dancecli.core.records import Clip, Segment
from dancecli.dataset.ingest.merge_rules import TwoLabels, Verdict, decide, widened
from dancecli.dataset.ingest.remove import Removal, remove_clips
from dancecli.sources.letsdance import ListedClip
from dancecli.storage import ledger, tables
from dancecli.storage.workspace import Workspace
from dancecli.video.ffmpeg import find_ffmpeg, run_ffmpeg

LABELS = LabelSet(("salsa dancing", "tango dancing", "tap dancing"))
MAP = {"tango": "tango dancing", "tap": "tap dancing", "waltz": ""}


def listed(label: str, video: str, start_s: int, frames: int = 300) -> ListedClip:
    video_id = video.ljust(11, "x")
    name = f"{video_id}_{start_s // 60}{start_s % 60:02d}"
    return ListedClip(label, name, video_id, start_s * 1000, frames)


def held(label: str, video: str, start_s: int, end_s: int) -> Segment:
    return Segment(video.ljust(11, "x"), start_s * 1000, end_s * 1000, label, "train", "kinetics700")


def verdicts(clips, mine=(), labels=LABELS, rule=TwoLabels.DROP) -> list[Verdict]:
    decisions, _ = decide(clips, mine, MAP, labels, rule)
    assert [decision.clip for decision in decisions] == clips
    return [decision.verdict for decision in decisions]


def test_classes_without_a_counterpart_stay_out_unless_kept() -> None:
    clips = [listed("tango", "a", 5), listed("waltz", "b", 5), listed("hula", "c", 5)]
    assert verdicts(clips) == ["in", "unmapped", "unmapped"]
    wide = widened(LABELS, MAP, {"tango", "waltz", "hula"})
    assert wide.names == (*LABELS.names, "hula", "waltz")
    assert verdicts(clips, labels=wide) == ["in", "in", "in"]


def test_a_stretch_that_the_workspace_holds_is_kept_once() -> None:
    clips = [listed("tango", video, 5) for video in "abcd"]
    mine = [
        held("tango dancing", "a", 10, 20),
        held("tango dancing", "b", 15, 25),  # begins where the other ends
        held("tango dancing", "c", 0, 5),  # ends where the other begins
    ]
    assert verdicts(clips, mine) == ["same-video", "in", "in", "in"]


def test_a_clip_listed_twice_comes_once() -> None:
    assert verdicts([listed("tango", "a", 5), listed("tango", "a", 5)]) == ["in", "repeated"]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (TwoLabels.DROP, ["two-labels", "two-labels", "in"]),
        (TwoLabels.KEEP, ["in", "in", "in"]),
    ],
)
def test_a_video_with_two_labels_goes_by_the_rule(rule: TwoLabels, expected: list[str]) -> None:
    clips = [listed("tango", "a", 5), listed("tap", "a", 60), listed("tap", "b", 5)]
    assert verdicts(clips, rule=rule) == expected
    _, (conflict,) = decide(clips, (), MAP, LABELS, rule)
    assert conflict.labels == ("tango dancing", "tap dancing")
    assert conflict.clips == (clips[0].name, clips[1].name)


def test_one_stretch_under_two_labels_never_comes_in() -> None:
    clips = [listed("tango", "a", 5), listed("tap", "a", 5), listed("tango", "b", 5)]
    mine = [held("salsa dancing", "b", 0, 10)]
    for rule in TwoLabels:
        assert verdicts(clips, mine, rule=rule) == ["two-labels"] * 3


def test_a_clip_under_a_class_that_stays_out_as_well_is_left_alone(
    dance, workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "list.csv").write_text("tango\tabcdefghijk_052\t301\nlatin\tabcdefghijk_052\t301\n")
    for _ in range(2):
        ran = dance("merge", str(tmp_path / "list.csv"), "--json")
        assert ran.json["counts"] == {"latin": {"unmapped": 1}, "tango": {"in": 1}}
        assert [s.video_id for s in tables.read(workspace.segments, Segment)] == ["abcdefghijk"]
        assert not ledger.latest(workspace.root)


def source_video(path: Path, source: str, more: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    run_ffmpeg(["-f", "lavfi", "-i", source, *more.split(), str(path)])
    return path


def life(seed: int) -> str:
    game = f"life=size=96x72:rate=25:seed={seed}:ratio=0.2:mold=10:life_color=white:death_color=#303030"
    return f"{game},trim=duration=2,scale=192:144"


def test_lists_become_segments_and_a_list_for_fetch(dance, workspace: Workspace, tmp_path: Path) -> None:
    known = Segment("abcdefghijk", 50_000, 60_000, "tango dancing", "train", "kinetics700")
    tables.write(workspace.segments, Segment, [known], {"labels": json.dumps(("tango dancing", "zumba"))})
    (tmp_path / "map.csv").write_text("from,to,reason\ntango,tango dancing,same\nsamba,,none\n")
    lines = ["tango\tabcdefghijk_052\t301", "tango\t-bcdefghijk_101\t226", "samba\tcbcdefghijk_12007\t298"]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    args = ("merge", str(tmp_path / "list.csv"), "--map", str(tmp_path / "map.csv"), "--json")
    before = workspace.segments.read_bytes()
    shown = dance(*args, "--keep-unmapped", "--dry-run")
    assert shown.code == 0
    assert workspace.segments.read_bytes() == before
    ran = dance(*args, "--keep-unmapped")
    assert ran.code == 0
    assert ran.json["counts"] == {"samba": {"in": 1}, "tango": {"same-video": 1, "in": 1}}
    assert ran.json["counts"] == shown.json["counts"]
    assert ran.json["labels"] == ["tango dancing", "zumba", "samba"]
    rows = list(csv.DictReader(Path(ran.json["list"]).read_text().splitlines()))
    assert [(r["label"], r["youtube_id"], r["time_start"], r["time_end"]) for r in rows] == [
        ("tango dancing", "-bcdefghijk", "61", "70"),
        ("samba", "cbcdefghijk", "7207", "7216.933"),
    ]
    assert Path(ran.json["label_file"]).read_text().splitlines() == ran.json["labels"]
    assert json.loads(tables.read_meta(workspace.segments)["labels"]) == ran.json["labels"]
    assert len(tables.read(workspace.segments, Segment)) == 3
    # Another decision takes back what the first one brought.
    again = dance(*args)
    assert again.json["counts"]["samba"] == {"unmapped": 1}
    assert {s.video_id for s in tables.read(workspace.segments, Segment)} == {"abcdefghijk", "-bcdefghijk"}


def test_a_clip_that_looks_like_ours_is_kept_once(dance, workspace: Workspace, tmp_path: Path) -> None:
    ours = source_video(tmp_path / "ours" / "tango dancing" / "pUr1cLip000_0_2.mp4", life(1))
    assert dance("import", str(tmp_path / "ours")).code == 0
    theirs = tmp_path / "theirs" / "tango"
    theirs.mkdir(parents=True)
    disguise = ["-vf", "hflip,scale=160:-2,pad=iw:ih+40:0:20", "-crf", "30"]
    copy = str(theirs / "theirclip00_005.mp4")
    subprocess.run([str(find_ffmpeg()), "-v", "error", "-i", str(ours), *disguise, copy], check=True)
    source_video(theirs / "otherclip00_010.mp4", life(2))
    ran = dance("merge", str(tmp_path / "theirs"), "--json")
    assert ran.code == 0
    assert ran.json["counts"] == {"tango": {"same-picture": 1, "in": 1}}
    (dropped,) = (clip for clip in ran.json["clips"] if clip["verdict"] == "same-picture")
    assert dropped["text"] == "pUr1cLip000_0_2000"
    clips = tables.read(workspace.clips, Clip)
    assert [c.clip_id for c in clips] == ["otherclip00_10000_12000", "pUr1cLip000_0_2000"]
    assert not workspace.clip(dropped["clip_id"]).exists()
    assert ledger.latest(workspace.root)[dropped["clip_id"]].reason == "same-picture"
    again = dance("merge", str(tmp_path / "theirs"), "--json")
    assert again.json["counts"] == ran.json["counts"]
    assert again.json["outcomes"]["new_ids"] == []
    assert tables.read(workspace.clips, Clip) == clips


def test_a_wrong_line_is_refused_and_the_totals_add_up(dance, tmp_path: Path) -> None:
    lines = ["tango\tabcdefghijk_052\t301", "tango\tshort_052\t301", "latin\tbbcdefghijk_052\t301"]
    (tmp_path / "list.csv").write_text("\n".join([*lines, lines[0]]))
    ran = dance("merge", str(tmp_path / "list.csv"), "--dry-run", "--json")
    assert ran.code == 3
    (refused,) = ran.json["refused"]
    assert (refused["row"], "clip 'short_052' is not an id of 11 characters" in refused["reason"]) == (
        2,
        True,
    )
    assert ran.json["given"] == 4
    shown = dance("merge", str(tmp_path / "list.csv"), "--dry-run")
    assert "clips given: 4 = 1 added + 1 unmapped + 1 repeated + 1 refused" in shown.out
    assert "list.csv:2: clip 'short_052'" in shown.err


def test_a_video_under_another_name_is_refused_and_the_totals_add_up(dance, tmp_path: Path) -> None:
    films = tmp_path / "films" / "tango"
    clip = source_video(films / "abcdefghijk_052.mp4", life(1))
    for name in ("abcdefghijk_1_13.mp4", "my clip.mp4"):
        shutil.copy(clip, films / name)
    shown = dance("merge", str(films.parent), "--dry-run")
    assert shown.code == 3
    assert "clips given: 3 = 1 added + 2 refused" in shown.out
    assert f"{films.parent}: entry tango/my clip.mp4: is not named by an id of 11 characters" in shown.err
    clip.unlink()
    ran = dance("merge", str(films.parent))
    assert (ran.code, "holds no clip of Let's Dance" in ran.err) == (1, True)


def test_wrong_sources_are_reported(dance, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ran = dance("merge", str(tmp_path / "empty"))
    assert (ran.code, "holds no clip of Let's Dance" in ran.err) == (1, True)
    ran = dance("merge", str(tmp_path / "gone.csv"))
    assert (ran.code, "there is no such list" in ran.err) == (1, True)
    (tmp_path / "list.csv").write_text("tango\tabcdefghijk_052\t301\n")
    (tmp_path / "map.csv").write_text("from,to,reason\ntango,tango dancing,\n")
    ran = dance("merge", str(tmp_path / "list.csv"), "--map", str(tmp_path / "map.csv"))
    assert (ran.code, "map.csv:2" in ran.err and "no reason" in ran.err) == (1, True)
    assert "created workspace" not in ran.err
    assert list(workspace.root.iterdir()) == []


def test_a_removal_that_is_killed_leaves_no_file_without_rows(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(0)
    fill(workspace, [clip], [clip.label])

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ledger.LedgerWriter, "record", killed)
    with pytest.raises(KeyboardInterrupt):
        remove_clips(workspace, {clip.clip_id: Removal("same-picture", "other")})
    assert not workspace.clip(clip.clip_id).exists()
    monkeypatch.undo()
    remove_clips(workspace, {clip.clip_id: Removal("same-picture", "other")})
    assert ledger.latest(workspace.root)[clip.clip_id].reason == "same-picture"
