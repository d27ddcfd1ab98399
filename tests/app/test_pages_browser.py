"""The pages of runs and timelines in a real Chromium: by mouse, by keyboard alone, wide and on a phone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import app_browser, clip_workspace
from helpers.app_browser import assert_accessible, needs_chromium, opened
from helpers.app_server import served
from helpers.clip_workspace import LABELS
from helpers.predicted import make_recording, predicted
from helpers.runs_workspace import with_runs

from dancecli.app.timelines import Recordings, Span, edit, read_timeline
from dancecli.model.inference.timeline_files import checksum
from dancecli.storage.workspace import Workspace

pytestmark = [needs_chromium]
browser = app_browser.browser
clip_files, populated = clip_workspace.clip_files, clip_workspace.populated
FIRST, SECOND = LABELS
HOSTILE = '<img src=x onerror=alert(1)> "quoted" & <script>alert(2)</script>'


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_recording(tmp_path_factory.mktemp("films") / "evening.mp4")


@pytest.fixture
def address(populated: Workspace, film: Path) -> Iterator[str]:
    predicted(populated, film)
    with served(populated) as found:
        yield found


@pytest.fixture
def place(populated: Workspace, address: str) -> str:
    (name,) = Recordings(populated).all()
    return f"/timelines?recording={name}"


def spans_of(workspace: Workspace) -> list[tuple[int, int, str, bool]]:
    (recording,) = Recordings(workspace).all().values()
    return [(s.start_ms, s.end_ms, s.label, s.checked) for s in read_timeline(workspace, recording).spans]


def said(tab: Any, text: str) -> None:
    tab.wait_for_selector(f"#toast:has-text({json.dumps(text)})")


FOUND = [(0, 20_000, FIRST, False), (20_000, 40_000, SECOND, False), (40_000, 60_000, FIRST, False)]


def test_a_timeline_is_opened_from_the_list_and_edited_by_keyboard_alone(
    browser: Any, address: str, populated: Workspace
) -> None:
    with opened(browser, address, "/timelines", "#recordings a") as tab:
        for _ in range(12):
            tab.keyboard.press("Tab")
            if tab.evaluate("document.activeElement.closest('#recordings') !== null"):
                break
        tab.keyboard.press("Enter")
        tab.wait_for_function("() => document.querySelector('#video')?.readyState >= 2")
        assert tab.locator(".span").count() == 3
        tab.keyboard.press("n")
        tab.keyboard.press("c")
        said(tab, f"checked: {FIRST}")
        tab.wait_for_selector("#label:enabled >> nth=0")
        tab.wait_for_function(f"() => document.querySelector('#label').value === {SECOND!r}")
        tab.keyboard.press("r")
        tab.keyboard.type("a talk")
        tab.keyboard.press("Enter")
        said(tab, "relabeled: a talk")
        tab.wait_for_function("() => Math.abs(document.querySelector('#video').currentTime - 20) < 0.2")
        for _ in range(5):
            tab.keyboard.press("ArrowRight")
        tab.keyboard.press("s")
        said(tab, "split at 0:25.0")
        tab.keyboard.press("Delete")
        said(tab, "deleted")
        tab.keyboard.press("p")
        tab.keyboard.press("m")
        said(tab, "merged")
        tab.keyboard.press("u")
        said(tab, "undone: merged")
        tab.keyboard.press("u")
        said(tab, "undone: deleted")
        tab.wait_for_function("() => document.querySelectorAll('.span').length === 4")
    assert spans_of(populated) == [
        (0, 20_000, FIRST, True),
        (20_000, 25_000, "a talk", True),
        (25_000, 40_000, "a talk", True),
        FOUND[2],
    ]


def test_an_edge_is_moved_by_keys_and_the_one_that_touches_it_too(
    browser: Any, address: str, place: str, populated: Workspace
) -> None:
    with opened(browser, address, place, ".span") as tab:
        tab.locator(".span").nth(1).click()
        tab.wait_for_selector("[role=slider]")
        tab.get_by_role("slider", name=f"Start of {SECOND}").focus()
        for key in ("ArrowRight", "ArrowRight", "Shift+ArrowRight"):
            tab.keyboard.press(key)
        assert tab.evaluate("document.activeElement.getAttribute('aria-valuetext')") == "0:21.2"
        said(tab, "starts at 0:21.2")
        tab.locator("#end").fill("0:39.5")
        tab.keyboard.press("Enter")
        said(tab, "ends at 0:39.5")
        tab.locator("#end").fill("soon")
        tab.keyboard.press("Tab")
        said(tab, "write a time as 1:02.5")
    assert spans_of(populated) == [
        (0, 21_200, FIRST, False),
        (21_200, 39_500, SECOND, True),
        (39_500, 60_000, FIRST, False),
    ]


def test_an_edge_is_dragged(browser: Any, address: str, place: str, populated: Workspace) -> None:
    with opened(browser, address, place, ".span") as tab:
        handle = tab.locator(".edge[data-at='0'][data-side='1']").bounding_box()
        track = tab.locator("#space").bounding_box()
        to = track["x"] + track["width"] * 12.5 / 60
        tab.mouse.move(handle["x"] + 6, handle["y"] + 30)
        tab.mouse.down()
        tab.mouse.move(to, handle["y"] + 30, steps=5)
        tab.mouse.up()
        said(tab, "ends at 0:12.")
    first, second, _ = spans_of(populated)
    assert first[1] == second[0] == pytest.approx(12_500, abs=400)


def test_what_somebody_else_did_meanwhile_is_shown_and_not_overwritten(
    browser: Any, address: str, place: str, populated: Workspace
) -> None:
    (recording,) = Recordings(populated).all().values()
    with opened(browser, address, place, ".span", bears="412") as tab:
        edit(populated, recording, 0, [Span(0, 5000, "ben's", None, True)], "ben", "cleared")
        tab.keyboard.press("n")
        tab.keyboard.press("c")
        said(tab, "somebody else changed this timeline")
        tab.wait_for_selector('.span:has-text("ben\'s")')
        tab.keyboard.press("u")
        said(tab, "undone: cleared")
        tab.wait_for_function("() => document.querySelectorAll('.span').length === 3")
    assert spans_of(populated) == FOUND


def test_a_timeline_that_was_corrected_on_disk_is_named_until_it_is_imported(
    browser: Any, address: str, place: str, populated: Workspace
) -> None:
    document_file = next((populated.root / "reports").glob("predict-*/prediction.json"))
    document = json.loads(document_file.read_text())
    eaf = document_file.with_name(f"{document['videos'][0]['file']}.eaf")
    with opened(browser, address, place, ".span", bears="404") as tab:
        with tab.expect_download() as going:
            tab.get_by_role("link", name="ELAN").click()
        going.value.save_as(eaf)
        document["timelines"] = {eaf.name: checksum(eaf.read_text())}
        document_file.write_text(json.dumps(document))
        eaf.write_text(eaf.read_text().replace(SECOND, "a talk"))
        tab.goto(f"{address}/timelines")
        tab.wait_for_selector("td:has-text('changed on disk since')")
        assert_accessible(tab)
        tab.get_by_role("link", name="evening.mp4").click()
        tab.wait_for_selector(f"#changed:has-text('{eaf.name} was changed on')")
        assert_accessible(tab)
        tab.locator("#file").set_input_files(eaf)
        tab.wait_for_selector("#changed", state="hidden")
        tab.wait_for_selector(".span:has-text('a talk')")


def test_a_timeline_goes_out_comes_back_and_becomes_clips(
    browser: Any, address: str, place: str, tmp_path: Path
) -> None:
    with opened(browser, address, place, ".span", bears="409") as tab:
        tab.locator("#clips").click()
        said(tab, "no stretch was checked yet")
        with tab.expect_download() as going:
            tab.get_by_role("link", name="ELAN").click()
        path = tmp_path / "back.eaf"
        going.value.save_as(path)
        path.write_text(path.read_text().replace(SECOND, "a talk"))
        tab.locator("#file").set_input_files(path)
        said(tab, "imported back.eaf: 3 stretches, 2 as before, 1 new or changed; 1 of before gone")
        tab.wait_for_selector(".span:has-text('a talk')")
        tab.locator("#clips").click()
        tab.wait_for_selector("#made[open]")
        command = tab.locator("#command").inner_text()
        assert command.startswith("dance fetch --annotations ")
        assert " --source local --folder " in command


def test_markup_in_labels_is_text(browser: Any, address: str, place: str, populated: Workspace) -> None:
    (recording,) = Recordings(populated).all().values()
    edit(populated, recording, 0, [Span(0, 60_000, HOSTILE, None, True)], HOSTILE, HOSTILE)
    with opened(browser, address, place, ".span") as tab:
        assert HOSTILE in tab.locator(".span").inner_text()
        tab.keyboard.press("u")
        said(tab, "undone: <img")
        assert tab.locator("img").count() == 0


def test_a_recording_that_is_gone_can_be_corrected(
    browser: Any, populated: Workspace, film: Path, tmp_path: Path
) -> None:
    moved = Path(shutil.copy(film, tmp_path / "gone.mp4"))
    predicted(populated, moved)
    moved.unlink()
    (name,) = Recordings(populated).all()
    with (
        served(populated) as address,
        opened(browser, address, f"/timelines?recording={name}", ".span") as tab,
    ):
        tab.wait_for_selector("#gone:has-text('The file of this recording is gone')")
        box = tab.locator("#ruler").bounding_box()
        tab.mouse.click(box["x"] + box["width"] / 4, box["y"] + 10)
        tab.wait_for_selector("#clock:has-text('0:15.')")
        tab.keyboard.press("s")
        said(tab, "split at 0:15.")


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(
    browser: Any, populated: Workspace, film: Path, width: int, scheme: str
) -> None:
    predicted(populated, film)
    names = with_runs(populated)
    (recording,) = Recordings(populated).all()
    runs = "/runs?" + "&".join(f"run={name}" for name in names[:2])
    size = {"viewport": {"width": width, "height": 850}, "color_scheme": scheme, "bypass_csp": True}
    pages = {
        "/timelines": "#recordings a",
        f"/timelines?recording={recording}": ".span",
        runs: "#sides a",
        f"/?a={names[0]}&b={names[1]}&between=a": ".cell",
    }
    with served(populated) as address:
        for path, shows in pages.items():
            with opened(browser, address, path, shows, **size) as tab:
                assert tab.evaluate("document.documentElement.scrollWidth") <= width
                if ".span" in shows:
                    tab.keyboard.press("n")
                    tab.wait_for_selector("[role=slider]")
                assert_accessible(tab)


def test_runs_are_overlaid_compared_and_lead_to_their_clips(browser: Any, populated: Workspace) -> None:
    one, other = with_runs(populated)[:2]
    with served(populated) as address, opened(browser, address, f"/runs?run={one}", "#curves svg") as tab:
        assert tab.locator("#curves svg").first.locator("path").count() == 1
        tab.get_by_label(f"Show {other}").check()
        tab.wait_for_function(
            "() => document.querySelector('#curves svg').querySelectorAll('path').length === 2"
        )
        assert tab.url.endswith(f"?run={one}&run={other}")
        tab.wait_for_selector("#sides a")
        tab.locator("#sides a").first.click()
        tab.wait_for_selector("#count:has-text('1 of 5 clips')")
        assert f"a={one}&b={other}&between=a" in tab.url
        assert tab.locator(".cell .more").evaluate_all(
            "all => all.map(one => one.className.split(' ')[1])"
        ) == [
            "right",
            "wrong",
        ]
        tab.get_by_role("button", name="both wrong 0").click()
        tab.wait_for_selector("#count:has-text('0 of 5 clips')")
        tab.locator("#chips button").click()
        tab.wait_for_selector("#count:has-text('5 of 5 clips')")
        tab.goto(f"{address}/runs")
        tab.get_by_role("link", name=one).click()
        tab.wait_for_selector("h1:has-text('of 1 clip')")
        # The page's own script runs.
        tab.locator("#theme").click()
        assert tab.evaluate("document.documentElement.dataset.theme") == "dark"


def test_curves_grow_while_a_run_trains(browser: Any, populated: Workspace) -> None:
    running = with_runs(populated)[2]
    log = populated.run(running) / "metrics.jsonl"
    rows = log.read_text().splitlines(keepends=True)
    log.write_text("".join(rows[: len(rows) // 2]))
    with (
        populated.lock(f"run-{running}"),
        served(populated) as address,
        opened(browser, address, "/runs", "#curves svg") as tab,
    ):
        tab.get_by_role("row", name=running).get_by_text("5 of 30").wait_for()
        log.write_text("".join(rows) + '{"kind": "train", "epo')
        tab.get_by_role("row", name=running).get_by_text("10 of 30").wait_for()
        tab.wait_for_function("() => [...document.querySelectorAll('#curves svg')].length === 3")


def test_to_stop_a_run_is_asked_first(browser: Any, populated: Workspace) -> None:
    from helpers.locked_run import locked_run

    running = with_runs(populated)[2]
    with (
        locked_run(populated, running) as process,
        served(populated) as address,
        opened(browser, address, "/runs", "#curves svg") as tab,
    ):
        tab.get_by_role("button", name=f"Stop {running}").click()
        tab.wait_for_selector("#asking[open]")
        assert "dance finetune" in tab.locator("#command").inner_text()
        tab.get_by_role("button", name="Let it train").click()
        assert process.poll() is None
        tab.get_by_role("button", name=f"Stop {running}").click()
        tab.get_by_role("button", name="Stop the run").click()
        said(tab, f"{running} is stopping")
        assert process.wait(20) == 130
        tab.get_by_role("row", name=running).get_by_text("interrupted").wait_for()
