"""Poses and flow over a clip that plays, in step with it, in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from helpers import app_browser, clip_workspace
from helpers.app_browser import assert_accessible, needs_chromium, opened
from helpers.app_server import served
from helpers.drawn_poses import drawn_pose, store_poses

from dancecli.core.records import Clip
from dancecli.demo.renderer import VideoSpec
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace

pytestmark = [needs_chromium]
browser = app_browser.browser
clip_files, populated = clip_workspace.clip_files, clip_workspace.populated


@pytest.fixture
def clip(populated: Workspace) -> Clip:
    """A clip with poses."""
    found = tables.read(populated.clips, Clip)[0]
    store_poses(
        populated, {found.clip_id: drawn_pose(VideoSpec("one", "salsa dancing", 1.0, width=128, height=96))}
    )
    return found


@pytest.fixture
def address(populated: Workspace, clip: Clip) -> Iterator[str]:
    with served(populated) as found:
        yield found


def paused_at(tab: Any, frame: int) -> None:
    tab.wait_for_function("() => document.querySelector('#video').readyState >= 2")
    tab.evaluate(
        "at => { const v = document.querySelector('#video'); v.pause(); v.currentTime = at; }",
        (frame + 0.5) / clip_workspace.FPS,
    )
    tab.wait_for_function(f"() => document.querySelector('#overlay').dataset.frame === '{frame}'")


def painted(tab: Any) -> int:
    return int(
        tab.evaluate(
            "() => { const c = document.querySelector('#overlay');"
            "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
            "let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n; }"
        )
    )


@pytest.mark.parametrize("width", [390, 1440])
def test_poses_and_flow_by_keys_in_step_with_the_frame(
    browser: Any, address: str, clip: Clip, width: int
) -> None:
    size = {"viewport": {"width": width, "height": 850}, "bypass_csp": True}
    with opened(browser, address, f"/?clip={clip.clip_id}", **size) as tab:
        tab.wait_for_selector("#viewer[open]")
        tab.keyboard.press("b")
        tab.wait_for_selector("#overlay[data-joints='17']")
        paused_at(tab, 4)
        still = tab.evaluate("document.querySelector('#overlay').toDataURL()")
        tab.keyboard.press(".")
        tab.wait_for_function("() => document.querySelector('#overlay').dataset.frame === '5'")
        assert tab.evaluate("document.querySelector('#overlay').toDataURL()") != still
        assert (
            0
            < painted(tab)
            < 0.5 * tab.evaluate("(c => c.width * c.height)(document.querySelector('#overlay'))")
        )
        box, video = (tab.locator(name).bounding_box() for name in ("#overlay", "#video"))
        assert box == video
        tab.keyboard.press("f")
        tab.wait_for_function("() => document.querySelector('#overlay').dataset.flow === '5'")
        assert tab.locator("#flow-legend").is_visible()
        assert tab.locator("[data-key='f']").get_attribute("aria-pressed") == "true"
        assert_accessible(tab)
        tab.keyboard.press("f")
        tab.keyboard.press("b")
        tab.wait_for_selector("#overlay", state="hidden")


def test_a_clip_without_poses_says_so(browser: Any, address: str, clip: Clip, populated: Workspace) -> None:
    other = tables.read(populated.clips, Clip)[1]
    with opened(browser, address, f"/?clip={other.clip_id}") as tab:
        tab.wait_for_selector("#viewer[open]")
        # A refusal is an answer, which a browser reports as an error of its console.
        answer = "new Response('no poses are stored: run dance pose', {status: 409})"
        tab.evaluate(f"() => {{ window.fetch = async () => {answer}; }}")
        tab.keyboard.press("b")
        tab.wait_for_selector("#toast:has-text('run dance pose')")
        assert tab.locator("[data-key='b']").get_attribute("aria-pressed") == "false"
