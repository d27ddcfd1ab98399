"""The app in a real Chromium: a page of it, in which nothing may go wrong unseen."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from helpers.app_server import TOKEN

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--autoplay-policy=no-user-gesture-required",
]
# What the page of the clips shows first.
CLIPS = ".cell, #count:has-text('0 of')"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium for the tests of a module."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as engine:
        opened = engine.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@contextmanager
def opened(
    browser: Any, address: str, path: str = "/", shows: str = CLIPS, bears: str = "404", **options: Any
) -> Iterator[Any]:
    """A page of the app; a request that leaves the machine, or an error, fails the test.

    Args:
        browser: the fixture.
        address: of the server.
        path: of the page.
        shows: a selector to wait for.
        bears: a part of the messages that are no error of the page.
        options: of the browser's context.
    """
    options = {"viewport": {"width": 1440, "height": 900}, **options}
    context = browser.new_context(**options)
    tab = context.new_page()
    odd: list[str] = []
    tab.on("request", lambda r: None if r.url.startswith((address, "data:", "blob:")) else odd.append(r.url))
    tab.on("pageerror", lambda error: odd.append(str(error)))
    tab.on("console", lambda m: odd.append(m.text) if m.type == "error" and bears not in m.text else None)
    tab.on("dialog", lambda dialog: odd.append(f"dialog {dialog.message}"))
    tab.goto(f"{address}{path}{'&' if '?' in path else '?'}token={TOKEN}")
    tab.wait_for_selector(shows)
    yield tab
    context.close()
    assert odd == []


def assert_accessible(tab: Any) -> None:
    """Fail if axe finds something serious in what the page shows."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(tab).response["violations"]
    serious = [v for v in found if v["impact"] in ("serious", "critical")]
    assert [(v["id"], [n["html"] for n in v["nodes"]]) for v in serious] == []
