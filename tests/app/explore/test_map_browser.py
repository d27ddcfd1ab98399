"""The map in a real Chromium: by mouse and by keyboard, on a phone, and what is done with a selection."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from helpers import app_browser, clip_workspace
from helpers.app_browser import assert_accessible, needs_chromium, opened
from helpers.app_server import served
from helpers.builders import make_clip
from helpers.clip_workspace import LABELS
from helpers.drawn_poses import drawn_pose, store_poses

from dancecli.core.records import Clip
from dancecli.demo.renderer import VideoSpec
from dancecli.model.training.features.store import entry_name, open_store
from dancecli.storage import tables
from dancecli.storage.corrections import current, read_corrections
from dancecli.storage.workspace import Workspace

pytestmark = [needs_chromium]
browser = app_browser.browser
clip_files, populated = clip_workspace.clip_files, clip_workspace.populated
NUM_CLIPS = 40


@pytest.fixture
def workspace_of_two_kinds(populated: Workspace) -> Workspace:
    """40 clips of two labels that look different; five of them are there."""
    clips = tables.read(populated.clips, Clip)
    clips += [make_clip(100 + i, LABELS[(i + 1) % 2]) for i in range(NUM_CLIPS - len(clips))]
    tables.write(populated.clips, Clip, clips)
    dice = np.random.default_rng(0)
    values = [dice.normal(size=16) + 9 * LABELS.index(clip.label) for clip in clips]
    store = open_store(populated.root / "cache" / "features", "float32", {"backbone": {"type": "m"}})
    store.append([entry_name(c.clip_id, c.sha256, 0) for c in clips], np.array(values, np.float32)[:, None])
    styles = ("salsa dancing", "salsa dancing", "breakdancing")
    store_poses(
        populated,
        {
            c.clip_id: drawn_pose(VideoSpec(f"{i}", s, 4.0))
            for i, (c, s) in enumerate(zip(clips, styles, strict=False))
        },
    )
    return populated


@pytest.fixture
def address(workspace_of_two_kinds: Workspace) -> Iterator[str]:
    with served(workspace_of_two_kinds) as found:
        yield found


def map_of(tab: Any) -> None:
    tab.wait_for_selector(f"#map-canvas[data-points='{NUM_CLIPS}']")


def count(tab: Any) -> int:
    return int(tab.locator("#count").inner_text().split(" of ")[0])


def around_label(tab: Any, label: int) -> list[list[float]]:
    """Four corners, in pixels of the page, around the points of a label."""
    found: list[list[float]] = tab.evaluate(
        """label => {
          const frame = frameOf(), box = $('map-canvas').getBoundingClientRect();
          const of = [...map.label.keys()].filter(i => map.label[i] === label);
          const [xs, ys] = [0, 1].map(part => of.map(i => toScreen(map.x[i], map.y[i], frame)[part]));
          const [l, t] = [xs, ys].map(all => Math.min(...all) - 8);
          const [r, b] = [xs, ys].map(all => Math.max(...all) + 8);
          return [[l, t], [r, t], [r, b], [l, b]].map(([x, y]) => [x + box.left, y + box.top]);
        }""",
        label,
    )
    return found


def draw(tab: Any, corners: list[list[float]]) -> None:
    tab.mouse.move(*corners[-1])
    tab.mouse.down()
    for corner in corners:
        tab.mouse.move(*corner, steps=3)
    tab.mouse.up()
    tab.wait_for_function("() => location.search.includes('within=')")


def test_a_lasso_selects_for_the_grid_and_all_are_corrected_and_undone(
    browser: Any, address: str, workspace_of_two_kinds: Workspace
) -> None:
    with opened(browser, address) as tab:
        tab.get_by_role("button", name="Map", exact=True).click()
        map_of(tab)
        assert tab.locator("#bulk-open").is_hidden()
        draw(tab, around_label(tab, 1))
        tab.wait_for_selector(f"#count:has-text('{NUM_CLIPS // 2} of {NUM_CLIPS}')")
        sent = tab.url
        tab.get_by_role("button", name="Grid", exact=True).click()
        tab.wait_for_selector(".cell")
        assert set(tab.locator(".cell .name").all_inner_texts()) == {LABELS[1]}
        tab.get_by_role("button", name="Correct all 20").click()
        tab.locator("#bulk-label").fill("walz")
        tab.locator("[data-field=label]").click()
        tab.wait_for_selector("#toast:has-text('not a label')")
        tab.locator("#bulk-label").fill(LABELS[0])
        tab.locator("#bulk-why").fill("seen on the map")
        tab.locator("#bulk-label").press("Enter")
        tab.wait_for_selector("#toast:has-text('20 clips relabeled')")
        rows = read_corrections(workspace_of_two_kinds)
        assert len(rows) == 20
        assert {(row.field, row.new, row.why) for row in rows} == {("label", LABELS[0], "seen on the map")}
        tab.get_by_role("button", name="Undo", exact=True).click()
        tab.wait_for_selector("#toast:has-text('undone: 20 clips')")
        assert current(read_corrections(workspace_of_two_kinds)) == {}
    with opened(browser, address, sent.removeprefix(address)) as tab:
        # The selection stands in the address. The points may be there before the clips are counted.
        map_of(tab)
        tab.wait_for_selector(f"#count:has-text('20 of {NUM_CLIPS}')")


def test_by_keyboard_alone_clips_are_selected_excluded_and_undone(
    browser: Any, address: str, workspace_of_two_kinds: Workspace
) -> None:
    with opened(browser, address) as tab:
        tab.keyboard.press("v")
        map_of(tab)
        for key in ("+", "+", "+", "ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown", "PageUp", "PageDown"):
            tab.keyboard.press(key)
        # Where each clip lies is not the same on every processor.
        while int(tab.locator("#map-ring").inner_text().split()[1]) < 4:
            tab.keyboard.press("+")
        said = int(tab.locator("#map-ring").inner_text().split()[1])
        tab.keyboard.press("Enter")
        tab.wait_for_selector("#chips button:has-text('Selected on the map')")
        # The corners of the selection leave out a little of the ring.
        shown = "n => Math.abs(parseInt(document.querySelector('#count').textContent) - n) <= 1"
        tab.wait_for_function(shown, arg=said)
        tab.wait_for_function("() => document.querySelector('#bulk-open').textContent.startsWith('Correct')")
        chosen = count(tab)
        tab.keyboard.press("e")
        tab.wait_for_selector("#bulk[open]")
        for _ in range(4):
            tab.keyboard.press("Tab")
        tab.keyboard.press("Enter")
        tab.wait_for_selector(f"#toast:has-text('{chosen} clip')")
        assert len(current(read_corrections(workspace_of_two_kinds))) == chosen
        tab.keyboard.press("u")
        tab.wait_for_selector("#toast:has-text('undone')")
        assert current(read_corrections(workspace_of_two_kinds)) == {}
        tab.locator("#map-canvas").focus()
        tab.keyboard.press("Backspace")
        tab.wait_for_selector(f"#count:has-text('{NUM_CLIPS} of')")
        tab.keyboard.press("Space")
        tab.wait_for_selector("#viewer[open]")
        tab.keyboard.press("Escape")
        tab.wait_for_function("() => document.activeElement.id === 'map-canvas'")


def test_a_point_shows_its_clip_and_opens_it(browser: Any, address: str) -> None:
    with opened(browser, address, "/?view=map") as tab:
        map_of(tab)
        place = tab.evaluate(
            "() => { const box = $('map-canvas').getBoundingClientRect();"
            "const [x, y] = toScreen(map.x[0], map.y[0], frameOf()); return [x + box.left, y + box.top]; }"
        )
        tab.mouse.move(*place)
        tab.wait_for_selector("#map-tip:not([hidden])")
        label = tab.locator("#map-name").inner_text()
        tab.mouse.click(*place)
        tab.wait_for_selector("#viewer[open]")
        assert tab.locator("#title").inner_text() == label


def test_colors_and_filters_show_on_the_map(browser: Any, address: str) -> None:
    with opened(browser, address, "/?view=map") as tab:
        map_of(tab)
        assert tab.locator("#map-legend button").count() == 2
        tab.locator("#map-legend button").first.click()
        tab.wait_for_selector("#count:has-text('20 of')")
        tab.wait_for_function("() => map.shown.reduce((a, b) => a + b) === 20")
        tab.locator("#map-color").select_option("subset")
        assert "train" in tab.locator("#map-legend").inner_text()


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: Any, address: str, width: int, scheme: str) -> None:
    size = {"viewport": {"width": width, "height": 850}, "color_scheme": scheme, "bypass_csp": True}
    with opened(browser, address, "/?view=map", **size) as tab:
        map_of(tab)
        draw(tab, around_label(tab, 1))
        tab.wait_for_selector("#count:has-text('20 of')")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.locator("#map-canvas").bounding_box()["height"] > 200
        assert_accessible(tab)
        tab.locator("#bulk-open").click()
        tab.wait_for_selector("#bulk[open]")
        assert_accessible(tab)


def test_a_map_that_is_not_ready_says_how_far_it_is(browser: Any, address: str) -> None:
    with opened(browser, address) as tab:
        tab.route(
            "**/api/map",
            lambda route: route.fulfill(status=202, json={"wait": "the map is being computed: 40 %"}),
        )
        tab.keyboard.press("v")
        tab.wait_for_selector("#map-wait:has-text('40 %')")
        tab.unroute("**/api/map")
        map_of(tab)


def test_clips_that_move_alike_and_the_queue_to_label(
    browser: Any, address: str, workspace_of_two_kinds: Workspace
) -> None:
    first = tables.read(workspace_of_two_kinds.clips, Clip)[0]
    with opened(browser, address, f"/?clip={first.clip_id}") as tab:
        tab.wait_for_selector("#viewer[open]")
        tab.keyboard.press("j")
        tab.wait_for_selector("#chips button:has-text('Moves like')")
        tab.wait_for_selector("#count:has-text('3 of')")
        tab.locator("#chips button").click()
        tab.get_by_role("button", name="to label next 20").click()
        tab.wait_for_selector("#count:has-text('20 of')")
        tab.locator("#grid").focus()
        tab.keyboard.press("Enter")
        tab.wait_for_selector("#viewer[open]")
        before = tab.locator("#facts dd").first.inner_text()
        tab.keyboard.press("c")
        tab.wait_for_function(f"() => document.querySelector('#facts dd').textContent !== {before!r}")
        tab.wait_for_selector("#count:has-text('19 of')")
    assert [(row.clip_id, row.field) for row in read_corrections(workspace_of_two_kinds)] == [
        (before, "confirmed")
    ]
