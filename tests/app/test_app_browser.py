"""The app in a real Chromium: look, play, correct and undo, by mouse, by keyboard and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import app_browser, clip_workspace
from helpers.app_browser import assert_accessible, needs_chromium, opened
from helpers.app_server import TOKEN, served
from helpers.clip_workspace import LABELS

from dancecli.core.records import Clip, Suspect
from dancecli.model.training.features.store import entry_name, open_store
from dancecli.storage import tables
from dancecli.storage.corrections import read_corrections
from dancecli.storage.workspace import Workspace

pytestmark = [needs_chromium]
HOSTILE = '<img src=x onerror=alert(1)> "quoted" & <script>alert(2)</script>'

browser = app_browser.browser
clip_files, populated = clip_workspace.clip_files, clip_workspace.populated


@pytest.fixture
def address(populated: Workspace) -> Iterator[str]:
    clips = tables.read(populated.clips, Clip)
    from dataclasses import replace

    clips[0] = replace(clips[0], title=HOSTILE, note=HOSTILE, uploader=HOSTILE)
    tables.write(populated.clips, Clip, clips)
    with served(populated) as found:
        yield found


def test_clips_are_filtered_and_the_view_stands_in_the_address(browser: Any, address: str) -> None:
    with opened(browser, address) as tab:
        assert TOKEN not in tab.url
        assert tab.locator(".cell").count() == 5
        tab.get_by_role("button", name="train 3").click()
        tab.wait_for_function("() => document.querySelectorAll('.cell').length === 3")
        assert "subset=train" in tab.url
        tab.get_by_role("button", name="Remove filter Subset: train").click()
        tab.wait_for_function("() => document.querySelectorAll('.cell').length === 5")
        tab.go_back()
        tab.wait_for_function("() => document.querySelectorAll('.cell').length === 3")
        tab.locator("#text").fill("no such clip")
        tab.wait_for_selector("#count:has-text('0 of 5 clips')")
        sent = tab.url
    with opened(browser, address, sent.removeprefix(address)) as tab:
        assert tab.locator("#text").input_value() == "no such clip"
        assert tab.locator(".cell").count() == 0


def test_a_clip_plays_and_steps_by_frames(browser: Any, address: str) -> None:
    with opened(browser, address) as tab:
        tab.locator(".cell").first.click()
        tab.wait_for_function("() => document.querySelector('#video').readyState >= 2")
        tab.keyboard.press(".")
        tab.wait_for_function("() => document.querySelector('#video').paused")
        before = tab.evaluate("document.querySelector('#video').currentTime")
        tab.keyboard.press(",")
        tab.wait_for_function(f"() => document.querySelector('#video').currentTime < {before}")
        after = tab.evaluate("document.querySelector('#video').currentTime")
        assert before - after == pytest.approx(1 / clip_workspace.FPS, abs=0.002)
        tab.keyboard.press("s")
        assert tab.evaluate("document.querySelector('#video').playbackRate") == 0.25
        first = tab.locator("#facts dd").first.inner_text()
        tab.keyboard.press("n")
        tab.wait_for_function(f"() => document.querySelector('#facts dd').textContent !== {first!r}")
        assert "clip=" in tab.url
        tab.keyboard.press("Escape")
        tab.wait_for_function("() => !location.search.includes('clip=')")
        assert not tab.evaluate("document.querySelector('#viewer').open")


def test_by_keyboard_alone_a_clip_is_relabeled_excluded_and_undone(
    browser: Any, address: str, populated: Workspace
) -> None:
    with opened(browser, address) as tab:
        tab.keyboard.press("ArrowRight")
        tab.keyboard.press("Enter")
        tab.wait_for_selector("#viewer[open]")
        label = tab.locator("#title").inner_text()
        other = next(name for name in LABELS if name != label)
        tab.keyboard.press("r")
        tab.keyboard.type(other)
        tab.keyboard.press("Enter")
        tab.wait_for_selector(f"#title:has-text('{other}')")
        tab.keyboard.press("x")
        tab.wait_for_selector("#exclude[aria-pressed='true']")
        tab.keyboard.press("u")
        tab.wait_for_selector("#exclude[aria-pressed='false']")
        tab.keyboard.press("u")
        tab.wait_for_selector(f"#title:has-text('{label}')")
        tab.keyboard.press("Escape")
    rows = [(row.field, row.new) for row in read_corrections(populated)]
    assert rows == [("label", other), ("exclude", "yes"), ("exclude", ""), ("label", "")]


def test_an_unknown_label_is_refused(browser: Any, address: str, populated: Workspace) -> None:
    with opened(browser, address) as tab:
        tab.locator(".cell").first.click()
        tab.locator("#relabel").fill("walz")
        tab.locator("#save-label").click()
        tab.wait_for_selector("#toast:has-text('not a label')")
    assert read_corrections(populated) == []


def test_markup_in_titles_and_notes_is_text(browser: Any, address: str) -> None:
    with opened(browser, address, "/?text=onerror") as tab:
        tab.locator(".cell").first.click()
        tab.wait_for_selector("#facts")
        assert HOSTILE in tab.locator("#facts").inner_text()
        tab.locator("#note").fill(HOSTILE)
        tab.locator("#save-note").click()
        tab.wait_for_selector("#toast:has-text('note saved')")
        assert tab.locator("img[src='x']").count() == 0


def test_two_people_correct_one_clip_and_each_undoes_their_own(
    browser: Any, address: str, populated: Workspace
) -> None:
    clip = tables.read(populated.clips, Clip)[0]
    other_label = next(name for name in LABELS if name != clip.label)
    place = f"/?clip={clip.clip_id}"
    with opened(browser, address, place) as ana, opened(browser, address, place) as ben:
        for tab, who in ((ana, "ana"), (ben, "ben")):
            tab.wait_for_selector("#viewer[open]")
            tab.evaluate(f"localStorage.setItem('dance-who', '{who}')")
        ana.locator("#relabel").fill(other_label)
        ana.locator("#save-label").click()
        ana.wait_for_selector(f"#title:has-text('{other_label}')")
        ben.locator("#note").fill("two couples")
        ben.locator("#save-note").click()
        # Saving shows Ben what Ana did meanwhile.
        ben.wait_for_selector(f"#title:has-text('{other_label}')")
        ben.locator("#exclude").click()
        ben.wait_for_selector("#exclude[aria-pressed='true']")
        ana.locator("#undo").click()
        ana.wait_for_selector(f"#title:has-text('{clip.label}')")
        ana.wait_for_selector("#exclude[aria-pressed='true']")
        ana.locator("#undo").click()
        ana.wait_for_selector("#toast:has-text('there is nothing to undo')")
        ben.locator("#undo").click()
        ben.wait_for_selector("#exclude[aria-pressed='false']")
        ben.wait_for_selector(f"#title:has-text('{clip.label}')")
        ana.reload()
        ana.wait_for_selector("#exclude[aria-pressed='false']")
        assert ana.locator("#note").input_value() == "two couples"
    rows = [(row.who, row.field, row.new) for row in read_corrections(populated)]
    assert rows == [
        ("ana", "label", other_label), ("ben", "note", "two couples"), ("ben", "exclude", "yes"),
        ("ana", "label", ""), ("ben", "exclude", ""),
    ]  # fmt: skip


def test_both_relabel_one_clip_and_what_each_undoes_is_what_they_saw(
    browser: Any, address: str, populated: Workspace
) -> None:
    clip = tables.read(populated.clips, Clip)[0]
    other_label = next(name for name in LABELS if name != clip.label)
    place = f"/?clip={clip.clip_id}"
    with opened(browser, address, place) as ana, opened(browser, address, place) as ben:
        for tab in (ana, ben):
            tab.wait_for_selector("#viewer[open]")
            # Neither has seen the other's when they save.
            tab.locator("#relabel").fill(other_label)
        for tab in (ana, ben):
            tab.locator("#save-label").click()
            tab.wait_for_selector("#toast:has-text('relabeled')")
            tab.wait_for_selector(f"#title:has-text('{other_label}')")
        ana.locator("#undo").click()
        ana.wait_for_selector(f"#title:has-text('{clip.label}')")
        ben.reload()
        ben.wait_for_selector(f"#title:has-text('{clip.label}')")
    assert [row.new for row in read_corrections(populated)] == [other_label, other_label, ""]


def test_the_file_of_a_clip_is_gone(browser: Any, address: str, populated: Workspace) -> None:
    clip = tables.read(populated.clips, Clip)[0]
    Path(populated.root / clip.path).unlink()
    with opened(browser, address, f"/?clip={clip.clip_id}") as tab:
        tab.wait_for_selector("#gone:not([hidden])")


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: Any, address: str, width: int, scheme: str) -> None:
    size = {"viewport": {"width": width, "height": 850}, "color_scheme": scheme, "bypass_csp": True}
    with opened(browser, address, **size) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        for step in ("grid", "viewer"):
            if step == "viewer":
                tab.locator(".cell").first.click()
                tab.wait_for_selector("#viewer[open]")
            assert_accessible(tab)


def test_the_queue_of_suspects_is_emptied_by_keys(browser: Any, populated: Workspace) -> None:
    clips = [clip for clip in tables.read(populated.clips, Clip) if not clip.parent_id][:3]
    other = {clip.clip_id: next(label for label in LABELS if label != clip.label) for clip in clips}
    rows = [
        Suspect(clip.clip_id, "label", clip.label, other[clip.clip_id], 0.9 - 0.1 * i, i < 2, f"reason {i}")
        for i, clip in enumerate(clips)
    ]
    tables.write(populated.suspects, Suspect, rows)
    with served(populated) as address, opened(browser, address, "/?sort=suspects") as tab:
        tab.get_by_role("button", name="label 2").click()
        tab.wait_for_function("() => document.querySelectorAll('.cell').length === 2")
        assert "suspect=label" in tab.url
        tab.locator("#grid").focus()
        tab.keyboard.press("Enter")
        tab.wait_for_selector("#suspect:has-text('reason 0')")
        assert tab.get_by_role("button", name=f"Relabel as {other[clips[0].clip_id]}").is_visible()
        tab.keyboard.press("a")
        tab.wait_for_selector("#suspect:has-text('reason 1')")
        tab.keyboard.press("c")
        tab.wait_for_selector("#toast:has-text('no suspects are left')")
        tab.wait_for_selector("#count:has-text('0 of')")
    written = [(row.clip_id, row.field, row.new, row.why) for row in read_corrections(populated)]
    assert written == [
        (clips[0].clip_id, "label", other[clips[0].clip_id], "suspect: reason 0"),
        (clips[1].clip_id, "confirmed", "yes", ""),
    ]


def test_more_clips_like_one(browser: Any, address: str, populated: Workspace) -> None:
    clips = tables.read(populated.clips, Clip)
    with opened(browser, address) as tab:
        tab.locator(".cell").first.click()
        tab.wait_for_selector("#viewer[open]")
        store = open_store(populated.root / "cache" / "features", "float32", {"backbone": {"type": "m"}})
        names = [entry_name(clip.clip_id, clip.sha256, 0) for clip in clips[:3]]
        store.append(names, np.array([[[1, 0]], [[0, 1]], [[0.9, 0.1]]], np.float32))
        tab.keyboard.press("k")
        tab.wait_for_selector("#chips button:has-text('Like:')")
        tab.wait_for_selector("#count:has-text('3 of 5')")
        shown = tab.locator(".cell").evaluate_all(
            "cells => cells.sort((a, b) => a.dataset.index - b.dataset.index)"
            ".map(cell => cell.dataset.key.split('|')[0])"
        )
        assert shown == [clips[0].clip_id, clips[2].clip_id, clips[1].clip_id]
        assert f"like={clips[0].clip_id}" in tab.url
        tab.locator("#chips button").click()
        tab.wait_for_selector("#count:has-text('5 of 5')")


def test_a_new_end_at_the_moment_that_is_shown(browser: Any, address: str, populated: Workspace) -> None:
    clip = next(clip for clip in tables.read(populated.clips, Clip))
    with opened(browser, address, f"/?clip={clip.clip_id}") as tab:
        tab.wait_for_function("() => document.querySelector('#video').readyState >= 2")
        tab.evaluate("() => { const v = document.querySelector('#video'); v.pause(); v.currentTime = 0.5; }")
        tab.wait_for_function("() => !document.querySelector('#video').seeking")
        tab.keyboard.press("o")
        tab.wait_for_selector("#facts:has-text('To be cut')")
        tab.keyboard.press("u")
        tab.wait_for_function("() => !document.querySelector('#facts').textContent.includes('To be cut')")
        tab.keyboard.press("o")
        tab.wait_for_selector("#facts:has-text('To be cut')")
    rows = [(row.field, row.new) for row in read_corrections(populated)]
    moment = str(clip.start_ms + 500)
    assert rows == [("end_ms", moment), ("end_ms", ""), ("end_ms", moment)]
