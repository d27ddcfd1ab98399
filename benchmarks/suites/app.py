"""`dance app` over 100,000 clips in a real browser: start, grid, search, scroll, likeness, map, memory.

    python -m benchmarks.suites.app [--clips 100000] [--files 100]

Made-up rows share a hundred real files. Every figure is of what a person waits for: from a key or a click
until the page shows the result. The browser runs on the same machine. Likeness is of made-up vectors, by look
and by movement, and is what the server takes from the question to the rows of the first page. The map is of
made-up features around 19 centers: it is computed once, and then drawn in the browser.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.lib.app_workload import LABELS, fill_workspace
from dancecli.app.catalog import Catalog, Query
from dancecli.app.explore.background import Background
from dancecli.app.explore.clip_map import make_map
from dancecli.app.likeness import Likeness
from dancecli.core.statistics.vectors import WIDTH, normalize
from dancecli.storage import features
from dancecli.storage.workspace import Workspace

_REPEATS = 5
_PAGE = 300
# Numbers of a clip's features, as of most backbones.
_WIDTH = 512
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
# Scrolls through the whole grid in three seconds; gives the time of each frame.
_SCROLL = """() => new Promise((done) => {
  const grid = document.querySelector('#grid');
  const [start, times] = [performance.now(), []];
  let before = start;
  const step = (now) => {
    times.push(now - before);
    before = now;
    grid.scrollTop = (grid.scrollHeight - grid.clientHeight) * Math.min(1, (now - start) / 3000);
    if (now - start < 3000) requestAnimationFrame(step); else done(times.slice(1));
  };
  requestAnimationFrame(step);
})"""


def start_app(root: Path) -> tuple[subprocess.Popen[str], str, float]:
    """Start the command; return it, the address that it prints, and how long that took."""
    begun = time.perf_counter()
    words = [sys.executable, "-m", "dancecli", "app", "--no-browser", "-w", str(root)]
    server = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    if server.stderr is None:
        raise AssertionError
    line = server.stderr.readline()
    took = time.perf_counter() - begun
    if "http" not in line:
        raise RuntimeError(line + server.stderr.read())
    return server, line.split()[-1], took


def timed(act: Callable[[], object]) -> float:
    """Return the seconds that something takes."""
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def measure(root: Path, num_clips: int) -> dict[str, str]:
    """Open the app and use it; return the figures by what they are of."""
    from playwright.sync_api import sync_playwright

    begun = time.perf_counter()
    server, address, started = start_app(root)
    found: dict[str, str] = {"start, until the address is printed": _seconds([started])}
    try:
        with sync_playwright() as engine:
            browser = engine.chromium.launch(executable_path=shutil.which("chromium"), args=_FLAGS)
            tab = browser.new_page(viewport={"width": 1440, "height": 900})
            opened = timed(lambda: (tab.goto(address), tab.wait_for_selector(".cell")))
            found["first grid, from opening the address"] = _seconds([opened])
            found["start and first grid"] = _seconds([started + opened])
            _use(tab, num_clips, found)
            found |= _draw_map(tab, address, num_clips)
            frames = tab.evaluate(_SCROLL)
            slow = sum(frame > 50 for frame in frames)
            found["scroll through all in 3 s"] = (
                f"{len(frames)} frames, {statistics.median(frames):.0f} ms each in the median, "
                f"{slow} of more than 50 ms"
            )
            found["until the clips at the end are there"] = _seconds([_settle(tab)])
            heap = tab.evaluate("performance.memory.usedJSHeapSize") / 2**20
            cells = tab.evaluate("document.querySelectorAll('.cell').length")
            found["memory of the page"] = f"{heap:.0f} MB, {cells} cells"
            browser.close()
        status = Path(f"/proc/{server.pid}/status").read_text(encoding="utf-8")
        peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
        found["memory of the server, at most"] = f"{peak:.0f} MB"
    finally:
        server.kill()
        server.wait()
    found["all of it"] = f"{time.perf_counter() - begun:.0f} s"
    return found


def _use(tab: Any, num_clips: int, found: dict[str, str]) -> None:
    total = f"{num_clips:,} of {num_clips:,}"

    def shows(text: str) -> None:
        tab.wait_for_function(f"() => document.querySelector('#count').textContent.startsWith({text!r})")

    def clear() -> None:
        tab.locator("#text").fill("")
        shows(total)

    filters, searches, sorts = [], [], []
    for i in range(_REPEATS):
        button = tab.get_by_role("button", name=f"{LABELS[i]} ", exact=False).first
        count = button.locator(".n").inner_text()
        filters.append(timed(lambda b=button, c=count: (b.click(), shows(f"{c} of"))))
        tab.get_by_role("button", name="Remove filter").click()
        shows(total)
    for i in range(_REPEATS):
        # The page waits 0.2 s for the next letter.
        searches.append(
            timed(lambda n=i: (tab.locator("#text").fill(f"evening-{777 + n:06d}"), shows("3 of")))
        )
        clear()
    for sort in ("label", "longest", "shortest", "id", "longest"):
        with tab.expect_response(lambda r: "/api/clips" in r.url) as answer:
            begun = time.perf_counter()
            tab.locator("#sort").select_option(sort)
        answer.value.finished()
        sorts.append(time.perf_counter() - begun)
    found["filter by a label"] = _seconds(filters)
    found["search, of which 0.2 s wait for the next letter"] = _seconds(searches)
    found["sort"] = _seconds(sorts)


def _draw_map(tab: Any, address: str, num_clips: int) -> dict[str, str]:
    """Open the stored map, color it anew, move its ring, select what is in that; and go back to the grid."""
    canvas = tab.locator("#map-canvas")
    drawn = f"#map-canvas[data-points='{num_clips}']"
    after_a_frame = "() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))"
    opened, colored = [], []
    for _ in range(_REPEATS):
        tab.goto("about:blank")
        place = address.replace("/?", "/?view=map&")
        opened.append(timed(lambda p=place: (tab.goto(p), tab.wait_for_selector(drawn))))
    for by in ("subset", "label") * _REPEATS:
        chosen = lambda b=by: tab.locator("#map-color").select_option(b)  # noqa: E731
        colored.append(timed(lambda c=chosen: (c(), tab.evaluate(after_a_frame))))
    canvas.focus()
    moved = [
        timed(lambda k=key: (tab.keyboard.press(k), tab.evaluate(after_a_frame)))
        for key in ("+", "ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown") * _REPEATS
    ]
    inside = int(tab.locator("#map-ring").inner_text().split()[1].replace(",", ""))
    chip = "#chips button:has-text('Selected on the map')"
    selected = timed(lambda: (tab.keyboard.press("Enter"), tab.wait_for_selector(chip)))
    tab.goto(address)
    tab.wait_for_selector(".cell")
    return {
        "map, from opening the address": _seconds(opened),
        "map, colored by another column": _seconds(colored),
        "map, a key that moves or widens the ring": _seconds(moved),
        f"map, {inside:,} clips within the ring selected": _seconds([selected]),
    }


def compute_map(root: Path) -> dict[str, str]:
    """Store features of all clips, and compute the map of them."""
    import numpy as np

    workspace = Workspace(root)
    frame = Catalog(workspace).frame
    random = np.random.default_rng(0)
    near = random.standard_normal((19, _WIDTH), np.float32)[random.integers(19, size=len(frame))]
    values = near + 1.5 * random.standard_normal((len(frame), _WIDTH), np.float32)
    folder = root / "cache" / "features" / "made-up"
    folder.mkdir(parents=True)
    key = {"dtype": "float16", "backbone": {"type": "made-up"}}
    (folder / features.KEY).write_text(json.dumps(key), encoding="utf-8")
    (folder / features.SHAPE).write_text(json.dumps({"shape": [1, _WIDTH]}), encoding="utf-8")
    checksums = dict(zip(frame.index, frame["sha256"], strict=True))
    names = "".join(f"{clip_id}.0.{sha256}\n" for clip_id, sha256 in checksums.items())
    (folder / features.NAMES).write_text(names, encoding="utf-8")
    values.astype(np.float16).tofile(folder / features.DATA)
    return {"map, computed once": _seconds([timed(lambda: make_map(workspace, checksums))])}


def liken(root: Path) -> dict[str, str]:
    """Order all clips by likeness to one of them, as the server does; return the figures."""
    import numpy as np

    catalog = Catalog(Workspace(root))
    ids, random = catalog.frame.index, np.random.default_rng(0)
    found = {}
    for what, key in (("look", "like"), ("movement", "moves")):
        known = Likeness(what, ids, normalize(random.standard_normal((len(ids), WIDTH), dtype=np.float32)))
        background: Background[Likeness] = Background(what, lambda _, known=known: known)
        setattr(catalog.explorer, what, background)
        background.get()
        queries = [Query(**{key: clip_id}) for clip_id in random.choice(ids, 2 * _REPEATS, replace=False)]
        times = [timed(lambda q=query: _first_page(catalog, q)) for query in queries]
        median, worst = 1e3 * statistics.median(times), 1e3 * max(times)
        found[f"more like this, by {what}"] = f"{median:.0f} ms (at most {worst:.0f})"
    return found


def _first_page(catalog: Catalog, query: Query) -> object:
    return catalog.rows(catalog.frame.iloc[catalog.places(query)[:_PAGE]], query)


def _settle(tab: Any) -> float:
    """Return how long the last clip is waited for."""
    last = """() => {
      const total = document.querySelector('#count').textContent.split(' ')[0].replaceAll(',', '');
      return document.querySelector(`[data-index="${total - 1}"]`) !== null;
    }"""
    return timed(lambda: tab.wait_for_function(last))


def _seconds(values: list[float]) -> str:
    text = f"{statistics.median(values):.2f} s"
    return text if len(values) == 1 else f"{text} (at most {max(values):.2f})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=100_000)
    parser.add_argument("--files", type=int, default=100)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        fill_workspace(Path(folder), given.clips, given.files)
        figures = liken(Path(folder)) | compute_map(Path(folder)) | measure(Path(folder), given.clips)
        for what, figure in figures.items():
            print(f"{what}: {figure}")


if __name__ == "__main__":
    main()
