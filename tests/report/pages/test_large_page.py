"""The page of 35,000 clips of 700 classes in a real Chromium: found, read and walked through by key."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.suites.report import RUN, make_run
from dancecli.report.report import ReportSettings, report
from dancecli.storage.workspace import Workspace

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Both in one call: the page may still be gliding to the field that was filled.
HEAD_BELOW_TOP = """box => {
  const top = node => node.getBoundingClientRect().y;
  return top(box.querySelector("thead th")) - top(box);
}"""
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")


def test_700_classes_and_35000_clips_are_searched_and_read_by_key(tmp_path: Path) -> None:
    make_run(tmp_path, 35_000, 700)
    path = report(Workspace(tmp_path), ReportSettings(RUN)).page
    assert path.stat().st_size < 8_000_000
    with sync_api.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(60_000)
        page.goto(path.as_uri())
        matrix = page.locator('[data-matrix="test"]')
        assert 2 < matrix.locator("tbody th").count() <= 22
        search_classes(page)
        search_clips(page)
        page.get_by_label("Show the matrix of a class").fill("class 500")
        assert "class 500" in matrix.locator("tbody th").all_inner_texts()
        matrix.locator('td[tabindex="0"]').focus()
        for key in ("ArrowRight", "ArrowDown", "Enter"):
            page.keyboard.press(key)
        assert matrix.locator('td[aria-selected="true"]').evaluate("td => td === document.activeElement")
        page.locator('[data-extent="all"]').click()
        assert matrix.locator("canvas").count() == 1
        browser.close()


def search_classes(page: sync_api.Page) -> None:
    """Find one of the 700 rows; the heads stay in sight when the rest are scrolled."""
    rows = page.locator("#classes tbody tr:visible")
    box = page.locator("#classes .filter")
    box.fill("class 333")
    assert rows.count() == 1
    box.fill("")
    assert rows.count() == 700
    page.locator("#classes .scroll").first.evaluate("box => { box.scrollTop = 9000; }")
    assert page.locator("#classes .scroll").first.evaluate(HEAD_BELOW_TOP) == pytest.approx(0, abs=2)


def search_clips(page: sync_api.Page) -> None:
    """Find one of the 35,000 clips by its id, and all of a class."""
    page.locator('#clips [data-list="all"]').click()
    about = page.locator("#clips [data-about]")
    assert about.inner_text().startswith("35,000 clips")
    page.locator("#clips .filter").fill("test034999")
    assert about.inner_text().startswith("1 clip,")
    page.locator("#clips .filter").fill("class 333")
    assert page.locator("#clips .card").count() == 6
