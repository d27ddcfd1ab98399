from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import yaml
from helpers.builders import Ran, fill, make_clip

from dancecli.core.errors import WorkspaceError
from dancecli.core.records import Clip, Outcome, OutcomeClass, Segment
from dancecli.dataset.quality.card import card_text, terms
from dancecli.dataset.quality.stats import Range, stats
from dancecli.dataset.split.split import SplitSettings, split
from dancecli.storage import tables
from dancecli.storage.ledger import LedgerWriter
from dancecli.storage.workspace import Workspace

LABELS = ("tap dancing", "zumba", "krumping")


@pytest.fixture
def filled(workspace: Workspace) -> Workspace:
    """40 clips, 3 that are unavailable, 1 that was not yet tried, and an augmented clip."""
    clips = [make_clip(i, LABELS[i % 2], has_audio=i < 10, num_bytes=1000) for i in range(40)]
    fill(workspace, clips, LABELS)
    absent = [Segment(f"gone{i}", 0, 10_000, "krumping", "train", "kinetics700") for i in range(4)]
    segments = tables.read(workspace.segments, Segment)
    tables.write(workspace.segments, Segment, [*segments, *absent], tables.read_meta(workspace.segments))
    augmented = replace(clips[0], clip_id="augmented", parent_id=clips[0].clip_id, op="hflip")
    tables.write(workspace.clips, Clip, [*clips, augmented])
    why = [(OutcomeClass.PERMANENT, "private"), (OutcomeClass.PERMANENT, "http-404")]
    why.append((OutcomeClass.SOURCE_SHORT, "short"))
    with LedgerWriter(workspace.ledger) as ledger:
        ledger.record(
            (
                Outcome(s.clip_id, s.video_id, outcome, reason, "", 1, "2026-01-01T00:00:00Z", 0, "youtube"),
                None,
            )
            for s, (outcome, reason) in zip(absent, why, strict=False)
        )
    return workspace


def test_every_clip_of_the_lists_is_accounted_for(filled: Workspace) -> None:
    found = stats(filled)
    assert found.outcomes == {"done": 40, "permanent": 2, "pending": 1, "source-short": 1}
    assert sum(found.outcomes.values()) == found.total.num_segments == 44
    assert found.reasons == {"http-404": 1, "private": 1, "short": 1}
    assert [(row.label, row.num_segments, row.num_clips) for row in found.labels] == [
        ("tap dancing", 20, 20),
        ("zumba", 20, 20),
        ("krumping", 4, 0),
    ]
    assert (found.total.num_clips, found.num_augmented, found.num_with_audio) == (40, 1, 10)
    assert found.total.seconds == pytest.approx(400)
    assert found.duration_s == Range(10, 10, 10)
    assert found.total.availability == pytest.approx(40 / 44)
    assert found.total.subsets == {}


def test_subsets_are_those_of_the_split(filled: Workspace) -> None:
    made = split(filled, SplitSettings(ratios="80/10/10"))
    found = stats(filled)
    assert found.total.subsets == made.counts
    assert (found.split, found.split_hash) == (made.name, made.digest)
    assert sum(row.subsets["test"] for row in found.labels) == made.counts["test"]


def test_the_card_has_the_header_that_the_hub_reads(filled: Workspace) -> None:
    split(filled, SplitSettings(ratios="80/10/10"))
    _, header, body = card_text(stats(filled)).split("---\n", 2)
    assert yaml.safe_load(header)["size_categories"] == ["n<1K"]
    assert "| tap dancing | 20 | 20 | 100.0 |" in body
    assert "| **all** | 44 | 40 | 90.9 |" in body
    assert "| private | 1 |" in body


def test_the_terms_are_those_of_the_lists_and_sources_that_are_there() -> None:
    assert terms(["benchmark"], ["folder"]) == [
        "On what terms videos from files may be published is for their owners to say."
    ]
    kinetics, videos = terms(["kinetics700-2020", "own"], ["folder", "youtube"])
    assert ("CC BY 4.0" in kinetics, "YouTube's terms" in videos) == (True, True)
    lets_dance, videos = terms(["lets-dance"], ["folder"])
    assert ("Let's Dance" in lets_dance, "YouTube's terms" in videos) == (True, True)
    (videos,) = terms(["benchmark"], ["mirror"])
    assert "YouTube's terms" in videos


def test_markup_in_a_label_is_shown_not_read(workspace: Workspace) -> None:
    fill(workspace, [make_clip(0, "a|b<script>`x`")], ["a|b<script>`x`"])
    assert "| a\\|b\\<script\\>\\`x\\` | 1 | 1 |" in card_text(stats(workspace))


def test_the_command_shows_and_writes(filled: Workspace, dance: Callable[..., Ran]) -> None:
    ran = dance("stats", "--json")
    assert ran.code == 0
    assert ran.json["outcomes"]["done"] == 40
    table = dance("stats")
    assert "outcomes: 40 done, 2 permanent, 1 pending, 1 source-short" in table.out
    assert (filled.report("dataset") / "README.md").read_text().startswith("---\n")


def test_without_clips_the_next_step_is_reported(workspace: Workspace) -> None:
    with pytest.raises(WorkspaceError, match="no clips"):
        stats(workspace)


def test_a_clip_that_a_running_fetch_has_recorded_counts_once_as_done(
    filled: Workspace, dance: Callable[..., Ran]
) -> None:
    clips = tables.read(filled.clips, Clip)
    # The manifest is as before the fetch, which has recorded five more clips.
    tables.write(filled.clips, Clip, clips[5:])
    with LedgerWriter(filled.ledger) as ledger:
        ledger.record(
            (
                Outcome(c.clip_id, c.video_id, OutcomeClass.DONE, "ok", "", 1, "2026-01-01T00:00:00Z", 0, ""),
                c,
            )
            for c in clips[:20]
        )
    found = stats(filled)
    assert found.outcomes == {"done": 40, "permanent": 2, "pending": 1, "source-short": 1}
    assert (found.total.num_clips, found.num_not_listed) == (35, 5)
    assert "5 clips were fetched and are not in the manifest yet" in dance("stats").err


def test_notes_licenses_and_uploaders_are_counted(filled: Workspace, dance: Callable[..., Ran]) -> None:
    clips = tables.read(filled.clips, Clip)
    marked = [
        replace(
            c, note="deinterlaced" if i < 3 else "", license="CC BY" if i < 7 else "", uploader=f"u{i % 30}"
        )
        for i, c in enumerate(clips)
    ]
    tables.write(filled.clips, Clip, marked)
    found = stats(filled)
    assert (found.notes, found.licenses) == ({"deinterlaced": 3}, {"": 33, "CC BY": 7})
    assert (found.num_uploaders, len(found.uploaders), found.uploaders["u0"]) == (30, 20, 2)
    assert "licenses: 33 not stated, 7 CC BY" in dance("stats").out
    card = card_text(found)
    assert "| CC BY | 7 |" in card
    assert "| uploader (of 30) | clips |" in card
