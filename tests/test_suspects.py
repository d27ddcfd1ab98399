from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.builders import Ran, group_as_near
from helpers.fake_run import make_run

from dancecli.core.errors import UsageError, WorkspaceError
from dancecli.core.records import Clip, ClipPose, Prediction, Segment, Suspect
from dancecli.model.training.features.store import entry_name, open_store
from dancecli.storage import tables
from dancecli.storage.corrections import Correction, append_corrections, current, read_corrections
from dancecli.storage.workspace import Workspace
from dancecli.suspects import SuspectSettings, SuspectsResult, accept_suspects, find_suspects

LABELS = ("wave", "spin", "bounce", "kick")
RUN = "inception-demo-1"


@pytest.fixture
def made(workspace: Workspace) -> Workspace:
    """Of 200 scored clips, ten have a label that the run is sure is another."""
    make_run(workspace.root, LABELS, test=200, train=4, skill=9.0)
    tables.write(workspace.segments, Segment, [], {"labels": json.dumps(LABELS)})
    clips = tables.read(workspace.clips, Clip)
    other = dict(zip(LABELS, LABELS[1:] + LABELS[:1], strict=True))
    tables.write(
        workspace.clips,
        Clip,
        [replace(c, label=other[c.label]) if c.clip_id in planted(clips) else c for c in clips],
    )
    return workspace


def planted(clips: list[Clip]) -> set[str]:
    return {clip.clip_id for clip in clips if clip.video_id.startswith("test")} & {
        clip.clip_id for i, clip in enumerate(clips) if i % 20 == 5
    }


def wrong_labels(result: SuspectsResult) -> dict[str, str]:
    return {one.clip_id: one.suggested for one in result.suspects if one.kind == "label"}


def test_planted_labels_are_found_with_the_true_one(made: Workspace) -> None:
    wanted = planted(tables.read(made.clips, Clip))
    result = find_suspects(made, SuspectSettings())
    # One of the two others that may be listed is a clip that the run itself has wrong.
    assert wanted <= set(wrong_labels(result))
    assert len(result.suspects) <= len(wanted) + 2
    back = dict(zip(LABELS[1:] + LABELS[:1], LABELS, strict=True))
    listed = {clip.clip_id: clip.label for clip in tables.read(made.clips, Clip)}
    assert {i: wrong_labels(result)[i] for i in wanted} == {i: back[listed[i]] for i in wanted}
    assert (result.run, result.num_scored, result.num_clips) == (RUN, 200, 204)
    assert result.noise_rate == pytest.approx(0.05, abs=0.02)
    rows = tables.read(made.suspects, Suspect)
    assert sum(row.kind == "label" for row in rows) == 200
    assert {row.clip_id for row in rows if row.queued} == set(wrong_labels(result))


def test_what_somebody_looked_at_does_not_come_back(made: Workspace) -> None:
    first, second, third, *rest = wrong_labels(find_suspects(made, SuspectSettings()))
    append_corrections(
        made,
        [
            Correction(first, "confirmed", "", "yes"),
            Correction(second, "exclude", "", "yes"),
            Correction(third, "label", "", "wave"),
        ],
    )
    result = find_suspects(made, SuspectSettings())
    assert not {first, second} & set(wrong_labels(result))
    assert set(rest) <= set(wrong_labels(result))
    assert result.num_reviewed == 1
    assert result.num_clips == 203


def test_accepting_writes_corrections_that_can_be_taken_back(made: Workspace) -> None:
    result = find_suspects(made, SuspectSettings())
    assert accept_suspects(made, result, "me") == len(result.suspects) > 5
    rows = read_corrections(made)
    assert current(rows) == {clip: {"label": label} for clip, label in wrong_labels(result).items()}
    assert {row.who for row in rows} == {"me"}
    assert "gives" in rows[0].why
    assert find_suspects(made, SuspectSettings()).suspects == ()


def test_near_duplicates_of_the_other_label_and_empty_pictures(made: Workspace) -> None:
    clips = [clip for clip in tables.read(made.clips, Clip) if clip.video_id.startswith("train")]
    waves = [clip.clip_id for clip in clips]
    clips = [replace(clips[0], black_share=0.99), *(replace(clip, label="wave") for clip in clips[1:])]
    clips[1] = replace(clips[1], label="spin")
    # Two dances of a recording that was cut: the second is in the group by its video alone.
    second = replace(clips[2], clip_id="second", start_ms=99_000, end_ms=100_000, label="kick", sha256="9")
    tables.write(made.clips, Clip, [*clips, second])
    group_as_near(made, {**dict.fromkeys(waves, 1), "second": 2})
    result = find_suspects(made, SuspectSettings())
    found = {(one.clip_id, one.kind): one.suggested for one in result.suspects}
    assert found == {(waves[1], "near-duplicate"): "wave", (waves[0], "black"): ""}
    assert result.num_scored == 0
    assert result.noise_rate is None


def test_clips_without_a_dancer(made: Workspace) -> None:
    clips = [clip for clip in tables.read(made.clips, Clip) if clip.video_id.startswith("train")]
    tables.write(made.clips, Clip, clips)
    reasons = ("nobody was found in it", "", "nobody was found in it")
    sums = (clips[0].sha256, clips[1].sha256, "of another file")
    rows = [
        ClipPose(clip.clip_id, "", "", 0, sha256, "m", "e", 0, 0, 0, 0.0, 0.0, reason)
        for clip, sha256, reason in zip(clips, sums, reasons, strict=False)
    ]
    tables.write(made.poses, ClipPose, rows)
    found = [(one.clip_id, one.kind, one.detail) for one in find_suspects(made, SuspectSettings()).suspects]
    assert found == [(clips[0].clip_id, "no-pose", "no poses: nobody was found in it")]


def test_a_run_that_does_not_exist_and_no_run_at_all(made: Workspace, tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="there is no run 'other'"):
        find_suspects(made, SuspectSettings("other"))
    with pytest.raises(WorkspaceError, match="there are no clips yet"):
        find_suspects(Workspace(tmp_path), SuspectSettings())
    with pytest.raises(UsageError, match="between 0 and 1"):
        SuspectSettings(max_false=1.0)


def test_the_command(made: Workspace, dance: Callable[..., Ran]) -> None:
    ran = dance("suspects")
    assert ran.code == 3
    number = len(find_suspects(made, SuspectSettings()).suspects)
    assert f"{number} suspects among 204 clips: {number} by label" in ran.err
    assert "at most 20 % at 90 % confidence" in ran.err
    assert "4 clips have no score" in ran.err
    assert "suggested" in ran.out
    found = json.loads(dance("suspects", "--json", "--max-false", "0.1").out)
    assert found["run"] == RUN
    assert found["accepted"] == 0
    assert dance("suspects", "--accept").code == 0
    assert len(read_corrections(made)) == number
    ran = dance("suspects")
    assert ran.code == 0
    assert "0 suspects among 204 clips\n" in ran.err
    assert ran.err.endswith("nothing to look at; dance status names the next step\n")


def store_features(workspace: Workspace, far: int, apart: float = 10.0) -> list[Clip]:
    """Features of all clips: of each label around one point, and of the first ones far from every other."""
    dice = np.random.default_rng(0)
    clips = tables.read(workspace.clips, Clip)
    kinds = {label: apart * dice.normal(size=24) for label in LABELS}
    values = [kinds[clip.label] + dice.normal(size=24) for clip in clips]
    for i in range(far):
        values[i] = np.eye(24)[i] * 40 * (-1) ** i
    store = open_store(workspace.root / "cache" / "features", "float32", {"backbone": {"type": "m"}})
    store.append(
        [entry_name(clip.clip_id, clip.sha256, 0) for clip in clips], np.array(values, np.float32)[:, None]
    )
    return clips


def outliers(result: SuspectsResult) -> list[str]:
    return [one.clip_id for one in result.suspects if one.kind == "outlier"]


def test_clips_that_look_like_no_other_are_listed(made: Workspace) -> None:
    clips = store_features(made, far=3)
    result = find_suspects(made, SuspectSettings())
    assert set(outliers(result)) == {clip.clip_id for clip in clips[:3]}
    first = next(one for one in result.suspects if one.kind == "outlier")
    assert "it looks like no other clip: by the features of m " in first.detail
    assert first.probability > 0.98
    append_corrections(made, [Correction(first.clip_id, "confirmed", "", "yes")])
    assert first.clip_id not in outliers(find_suspects(made, SuspectSettings()))


def test_clips_of_one_group_do_not_hide_that_they_are_far_from_the_others(made: Workspace) -> None:
    clips = store_features(made, far=0)
    alike = [clip.clip_id for clip in clips[:8]]
    # Eight clips of one dancer, near each other and far from all others.
    store = open_store(made.root / "cache" / "features", "float32", {"backbone": {"type": "n"}})
    values = np.tile(np.eye(24)[0], (len(clips), 1))
    values[8:] = np.random.default_rng(1).normal(size=(len(clips) - 8, 24)) * 0.1 - np.eye(24)[1] * 9
    store.append(
        [entry_name(clip.clip_id, clip.sha256, 0) for clip in clips], values.astype(np.float32)[:, None]
    )
    shutil.rmtree(
        next(p.parent for p in made.root.glob("cache/features/*/key.json") if '"m"' in p.read_text())
    )
    assert not set(alike) & set(outliers(find_suspects(made, SuspectSettings())))
    append_corrections(made, [Correction(clip_id, "group", "", "ana") for clip_id in alike])
    assert set(alike) <= set(outliers(find_suspects(made, SuspectSettings())))


def test_stored_features_tell_wrong_labels_without_a_cross_validation(made: Workspace) -> None:
    clips = store_features(made, far=0, apart=0.7)
    assert find_suspects(made, SuspectSettings()).scored_by == "a classifier on features of m"
    # Features are drawn around the label that a clip has; other labels for some are wrong ones.
    dice = np.random.default_rng(0)
    drawn = {clips[i].clip_id: int(dice.integers(1, 4)) for i in dice.permutation(len(clips))[:16]}
    wrong = {clip.clip_id: clip.label for clip in clips if clip.clip_id in drawn}
    relabeled = [
        replace(c, label=LABELS[(LABELS.index(c.label) + drawn.get(c.clip_id, 0)) % 4]) for c in clips
    ]
    tables.write(made.clips, Clip, relabeled)
    result = find_suspects(made, SuspectSettings())
    listed = wrong_labels(result)
    assert len(listed.items() & wrong.items()) >= 13
    assert len(listed) <= 16
    assert (result.run, result.num_scored) == (None, 204)
    assert find_suspects(made, SuspectSettings(RUN)).scored_by == RUN


def test_a_label_of_few_groups_is_not_ranked_by_features(made: Workspace) -> None:
    clips = store_features(made, far=0)
    rare = [clip.clip_id for clip in clips[:2]]
    tables.write(made.clips, Clip, [replace(c, label="rare") if c.clip_id in rare else c for c in clips])
    find_suspects(made, SuspectSettings())
    ranked = {row.clip_id for row in tables.read(made.suspects, Suspect) if row.kind == "label"}
    assert not ranked & set(rare)
    assert len(ranked) == len(clips) - len(rare)


def test_a_run_that_scored_more_clips_than_have_features_is_used(made: Workspace) -> None:
    clips = store_features(made, far=0)
    tables.write(
        made.clips, Clip, [replace(c, sha256="of another file") if i % 2 else c for i, c in enumerate(clips)]
    )
    assert find_suspects(made, SuspectSettings()).scored_by == RUN


def evaluate_elsewhere(workspace: Workspace, overlap: dict[str, dict[str, int]] | None) -> None:
    """Add the run that `dance evaluate` makes of a split whose test subset holds all clips."""
    clips = tables.read(workspace.clips, Clip)
    own = {row.clip_id: row for row in tables.read(workspace.run(RUN) / "predictions.parquet", Prediction)}
    # Of what it was trained on, a network thinks what the labels said.
    learned = np.full((4, 4), 0.01) + 0.96 * np.eye(4)
    rows = [
        own.get(clip.clip_id)
        or Prediction(clip.clip_id, "test", 0, tuple(learned[LABELS.index(clip.label)].tolist()))
        for clip in clips
    ]
    folder = workspace.run(f"{RUN}-eval-1")
    folder.mkdir()
    meta = tables.read_meta(workspace.run(RUN) / "predictions.parquet")
    tables.write(folder / "predictions.parquet", Prediction, rows, {"labels": meta["labels"]})
    record = json.loads((workspace.run(RUN) / "run.json").read_text())
    record |= {"name": folder.name, "evaluated": {"run": RUN, "overlap": overlap}}
    (folder / "run.json").write_text(json.dumps(record))


def overlap_of(clips: int, n: int) -> dict[str, dict[str, int]]:
    return {"test": {"clips": clips, "n": n, "videos": clips}}


def test_scores_of_clips_that_the_run_was_trained_on_are_left_out(
    made: Workspace, dance: Callable[..., Ran]
) -> None:
    evaluate_elsewhere(made, overlap_of(4, 204))
    for named in (None, f"{RUN}-eval-1"):
        result = find_suspects(made, SuspectSettings(named))
        assert (result.run, result.num_scored, result.num_trained_on) == (f"{RUN}-eval-1", 200, 4)
    ranked = {row.clip_id for row in tables.read(made.suspects, Suspect) if row.kind == "label"}
    assert not any(clip_id.startswith("train") for clip_id in ranked)
    said = dance("suspects").err
    assert f"left out: the scores of 4 clips of videos that {RUN}-eval-1 was trained on" in said
    assert "4 clips have no score by a model that was not trained on them" in said


def test_clips_joined_since_with_what_was_trained_on_are_left_out(made: Workspace) -> None:
    evaluate_elsewhere(made, overlap_of(4, 204))
    clips = tables.read(made.clips, Clip)
    for clip in (clips[0], clips[100]):
        append_corrections(made, [Correction(clip.clip_id, "group", "", "ana")])
    result = find_suspects(made, SuspectSettings(f"{RUN}-eval-1"))
    assert (result.num_scored, result.num_trained_on) == (199, 5)


def test_a_run_whose_training_clips_are_unknown_is_left_out(
    made: Workspace, dance: Callable[..., Ran]
) -> None:
    evaluate_elsewhere(made, None)
    made.split("demo").unlink()
    result = find_suspects(made, SuspectSettings())
    assert (result.run, result.num_scored, result.unknown) == (RUN, 200, (f"{RUN}-eval-1",))
    assert f"left out: the scores of {RUN}-eval-1; it is unknown" in dance("suspects").err
    with pytest.raises(WorkspaceError, match=r"it is unknown which clips run .* was trained on"):
        find_suspects(made, SuspectSettings(f"{RUN}-eval-1"))
    shutil.rmtree(made.run(RUN))
    said = dance("suspects").err
    assert "no other run has predictions yet" in said
    assert "wrong labels were not looked for: run dance features, then dance suspects again" in said


def test_an_evaluation_without_overlap_counts_though_its_split_is_gone(made: Workspace) -> None:
    evaluate_elsewhere(made, overlap_of(0, 204))
    made.split("demo").unlink()
    assert find_suspects(made, SuspectSettings()).num_scored == 204


def test_an_ensemble_was_trained_on_what_its_members_were(made: Workspace) -> None:
    evaluate_elsewhere(made, overlap_of(4, 204))
    shutil.copytree(made.run(f"{RUN}-eval-1"), made.run("both"))
    record = json.loads((made.run("both") / "run.json").read_text())
    del record["evaluated"]
    record |= {"name": "both", "members": [{"run": f"{RUN}-eval-1"}, {"run": RUN}]}
    (made.run("both") / "run.json").write_text(json.dumps(record))
    assert find_suspects(made, SuspectSettings("both")).num_trained_on == 4
    shutil.rmtree(made.run(f"{RUN}-eval-1"))
    with pytest.raises(WorkspaceError, match="it is unknown"):
        find_suspects(made, SuspectSettings("both"))
