"""The pages in a real Chromium: no request, no error, and every control does what it says."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from helpers.builders import make_clip
from helpers.fake_run import make_run
from helpers.fake_study import make_study

from dancecli.core.records import Clip, Prediction, Segment
from dancecli.dataset.quality.stats import stats
from dancecli.report.board import BoardSettings, board
from dancecli.report.compare import CompareSettings, compare
from dancecli.report.learning import write_learning_curve
from dancecli.report.pages.dataset_page import write_dataset_page
from dancecli.report.pages.reproduction_page import write_reproduction
from dancecli.report.report import ReportSettings, report
from dancecli.report.results.paper import read_experiments
from dancecli.report.results.reproduction import Reproduced, read_ran
from dancecli.report.tuning import tuning
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")

LABELS = (
    "wave",
    "spin",
    "bounce",
    "<b>step</b> touch",
    "robot",
    "kick_ball_change_" * 5,
    "<script>alert(1)</script>",
)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as engine:
        opened = engine.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs with their reports, their comparison and the board; one clip's file is there."""
    workspace = make_run(tmp_path_factory.mktemp("page") / "space", LABELS, test=84, val=21, name="first-1")
    make_run(workspace.root, LABELS, test=84, val=21, name="second-1", skill=1.5, salt="b")
    worst = min((p for p in tables.read(workspace.run("first-1") / "predictions.parquet", Prediction)
                 if p.subset == "test"), key=lambda p: p.scores[p.label_index] - max(p.scores))  # fmt: skip
    source_video(workspace.clip(worst.clip_id))
    look_into(workspace, "first-1", worst)
    report(workspace, ReportSettings("first-1", name="page", bundle=workspace.root / "reports" / "bundle"))
    for seed, run in enumerate(("first-1", "second-1")):
        path = workspace.run(run) / "run.json"
        card = json.loads(path.read_text())
        card["model"] |= {"gflops_view": 27.9 + seed, "gflops_from": "of the zoo"}
        card["seconds"] = {"train": 670 + 60 * seed}
        card |= {"group": "group", "seed": seed, "recipe": seed, "speed": {"clips_per_s": 123.4, "of": "all"}}
        path.write_text(json.dumps(card))
    report(workspace, ReportSettings("group"))
    ran = [read_ran(workspace, run) for run in ("first-1", "second-1")]
    paper = [
        Reproduced(one, *ran) if one.subset == "test" else Reproduced(one, why="<b>")
        for one in read_experiments()
    ]
    write_reproduction(workspace, paper, [("split", "--subset", "525")], quick="small frames")
    compare(workspace, CompareSettings("first-1", "second-1", name="compare"))
    board(workspace, BoardSettings())
    board(workspace, BoardSettings(site=workspace.root / "reports" / "site"))
    make_study(workspace.root, name="tune")
    tuning(workspace, "tune")
    dataset(workspace)
    learning(workspace)
    return workspace.root / "reports"


PAGES = ("page", "compare", "board", "group", "reproduction", "site", "tune", "dataset", "learning")


def dataset(workspace: Workspace) -> None:
    """Draw the page of a dataset that is not split yet."""
    other, clips = Workspace(workspace.root / "other"), [make_clip(i) for i in range(20)]
    tables.write(other.clips, Clip, clips)
    rows = [Segment(c.video_id, c.start_ms, c.end_ms, c.label, "", c.dataset) for c in clips]
    meta = {"labels": json.dumps(sorted({c.label for c in clips}))}
    tables.write(other.segments, Segment, rows, meta)
    page = write_dataset_page(other, asdict(stats(other)))
    shutil.copytree(page.parent, workspace.report("dataset"))


def learning(workspace: Workspace) -> None:
    """Draw the page of a learning curve of two sizes."""
    flags = [[i % 3 > 0 for i in range(84)], [i % 4 > 0 for i in range(84)]]
    sizes = [(3, 21.0, flags), (0, 60.0, [[i % 5 > 0 for i in range(84)], [i % 6 > 0 for i in range(84)]])]
    facts = {"model": {"title": "a"}, "split": {"name": "demo"}, "draws": 2, "views": "8x8 frames"}
    write_learning_curve(workspace, "learning", sizes, [f"v{i // 2}" for i in range(84)], facts)


def look_into(workspace: Workspace, run: str, clip: Prediction) -> None:
    """Leave what Grad-CAM would: a strip of a clip, and the index."""
    from PIL import Image

    folder = workspace.run(run) / "gradcam"
    folder.mkdir()
    Image.new("RGB", (687, 112), "#a65").save(folder / f"{clip.clip_id}.jpg")
    rows = [{"clip_id": clip.clip_id, "class_index": clip.scores.index(max(clip.scores))}]
    (folder / "index.json").write_text(json.dumps({"schema": 1, "clips": rows}))


def source_video(path: Path) -> None:
    """Make a film of two seconds, in the form that clips have."""
    import imageio_ffmpeg

    path.parent.mkdir(parents=True)
    source = ["-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=2"]
    form = ["-pix_fmt", "yuv420p", "-c:v", "libx264", str(path)]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", *source, *form], check=True)


@contextmanager
def opened(browser: Any, path: Path) -> Iterator[Any]:
    """A page, opened; a request that leaves the disk or an error on it fails the test."""
    tab = browser.new_page(viewport={"width": 1440, "height": 1000})
    odd: list[str] = []
    tab.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else odd.append(r.url))
    tab.on("pageerror", lambda error: odd.append(str(error)))
    # Most clips of these runs are not on disk, which the page takes calmly and Chromium reports.
    tab.on("console", lambda m: None if "ERR_FILE_NOT_FOUND" in m.text else odd.append(m.text))
    tab.on("dialog", lambda dialog: odd.append(f"dialog {dialog.message}"))
    tab.goto(path.as_uri())
    yield tab
    tab.close()
    assert not odd


@pytest.fixture
def page(browser: Any, reports: Path) -> Iterator[Any]:
    with opened(browser, reports / "page" / "index.html") as tab:
        yield tab


def shown(page: Any, selector: str) -> Any:
    return page.locator(f'.subset[data-subset="test"] {selector}')


def test_a_cell_shows_its_clips(page: Any) -> None:
    cell = shown(page, "td:not(.hit):not(:empty)").first
    count = int(cell.inner_text())
    cell.click()
    panel = page.locator('[data-panel="test"]')
    assert panel.locator("p.fine").first.inner_text().startswith(f"{count} of 12 clips")
    assert panel.locator(".card").count() == min(count, 6)
    assert cell.get_attribute("aria-selected") == "true"


def test_the_matrix_holds_every_clip_in_any_order(page: Any) -> None:
    def total() -> int:
        return sum(int(text) for text in shown(page, ".cm td").all_inner_texts() if text)

    assert total() == 84
    for order in ("confusion", "recall", "label"):
        shown(page, f'[data-order="{order}"]').click()
        assert total() == 84
    shown(page, '[data-numbers="rates"]').click()
    first = shown(page, ".cm tbody tr").first.locator("td").all_inner_texts()
    assert 98 <= sum(int(text) for text in first if text) <= 102


def test_arrow_keys_and_enter_work_in_the_matrix(page: Any) -> None:
    shown(page, '.cm td[data-cell="0,0"]').click()
    for key in ("ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    assert page.evaluate("document.activeElement.dataset.cell") == "1,1"
    page.keyboard.press("Enter")
    assert page.locator('[data-panel="test"] h3').inner_text() == "spin, correct"
    page.locator('[data-panel="test"]').get_by_text("the file is not beside this page").first.wait_for()


def test_labels_with_markup_are_text(page: Any) -> None:
    shown(page, '.cm td[data-cell="3,3"]').click()
    assert page.locator('[data-panel="test"] h3').inner_text() == "<b>step</b> touch, correct"
    assert page.locator("main b", has_text="step").count() == page.locator(".pair b", has_text="step").count()
    assert "<script>alert(1)</script>" in shown(page, ".cm").inner_text()


def test_the_filter_and_the_lists(page: Any) -> None:
    section = page.locator('#clips .subset[data-subset="test"]')
    section.locator('[data-list="all"]').click()
    assert section.locator("[data-about]").inner_text().startswith("84 clips")
    section.locator(".filter").fill("test00010xx")
    assert section.locator(".card").count() == 1
    section.locator(".filter").fill("no such clip")
    assert section.locator("[data-about]").inner_text().startswith("0 clips")


def test_the_class_table_sorts(page: Any) -> None:
    table = shown(page, ".classes")
    heading = table.locator("thead th").nth(2)
    for direction in ("descending", "ascending"):
        heading.locator("button").click()
        assert heading.get_attribute("aria-sort") == direction
        rates = [float(v) for v in table.locator("td:nth-child(3) .value").all_inner_texts()]
        assert rates == sorted(rates, reverse=direction == "descending")


def test_validation_is_one_click_away(page: Any) -> None:
    page.locator('[data-show="val"]').click()
    assert "of 21 clips correct" in page.locator("h1:visible").inner_text()
    assert page.locator(".hero:visible").count() == 1


def test_light_and_dark(page: Any) -> None:
    def ground() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light = ground()
    page.locator("#theme").click()
    dark = ground()
    assert dark != light
    page.locator("#theme").click()
    assert ground() == light
    page.emulate_media(color_scheme="light")
    page.reload()
    page.emulate_media(color_scheme="dark")
    assert ground() == dark


@pytest.mark.parametrize("width", [1440, 768, 390])
def test_nothing_is_wider_than_the_window(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("name", PAGES[1:])
def test_no_other_page_is_wider_than_a_phone(browser: Any, reports: Path, name: str) -> None:
    with opened(browser, reports / name / "index.html") as page:
        page.set_viewport_size({"width": 390, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("name", ["page", "compare", "board"])
def test_a_printed_table_goes_on_with_its_headings(browser: Any, reports: Path, name: str) -> None:
    with opened(browser, reports / name / "index.html") as page:
        page.emulate_media(media="print")
        # A box of its own in a heading is not painted where the heading is repeated.
        kinds = page.locator(".classes thead button").evaluate_all(
            "buttons => buttons.map(button => getComputedStyle(button).display)"
        )
        assert set(kinds) <= {"contents"}
        assert page.locator(".act:visible, .filter:visible, .copy button:visible").count() == 0


def test_the_bars_of_a_column_are_on_one_scale(page: Any) -> None:
    for width in (1440, 768, 390):
        page.set_viewport_size({"width": width, "height": 900})
        bars = shown(page, ".classes td:nth-child(3) .mini")
        widths = bars.evaluate_all("bars => bars.map(bar => bar.getBoundingClientRect().width)")
        assert len(set(widths)) == 1


def test_the_copy_button_is_not_over_the_commands(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 900})
    text, button = (page.locator(f".copy {tag}").bounding_box() for tag in ("pre", "button"))
    assert text["x"] + text["width"] <= button["x"]


def test_clips_that_flip_between_seeds(browser: Any, reports: Path) -> None:
    with opened(browser, reports / "group" / "index.html") as page:
        section = page.locator('#clips .subset[data-subset="test"]')
        counts = [int(t) for t in page.locator(".hero:visible .rest").nth(1).locator("dd").all_inner_texts()]
        assert sum(counts) == 84
        assert section.locator("[data-about]").inner_text().startswith(f"{counts[1]} clip")
        calls = section.locator(".card").first.locator(".calls li")
        assert sorted(calls.evaluate_all("rows => rows.map(row => row.className)")) == ["truth", "wrong"]
        section.locator('[data-list="never"]').click()
        assert section.locator("[data-about]").inner_text().startswith(f"{counts[2]} clip")


def test_where_it_looked_stands_on_the_page(page: Any) -> None:
    picture = shown(page, "figure img")
    assert picture.count() == 1
    assert picture.evaluate("image => image.naturalWidth") == 687


def test_it_prints(page: Any, tmp_path: Path) -> None:
    path = tmp_path / "page.pdf"
    page.pdf(path=path)
    assert path.read_bytes().startswith(b"%PDF")
    assert path.stat().st_size > 20_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious(browser: Any, reports: Path, name: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    with opened(browser, reports / name / "index.html") as page:
        page.emulate_media(color_scheme=scheme)
        found = axe.Axe().run(page).response["violations"]
    grave = [(v["id"], v["nodes"][0]["html"][:200]) for v in found if v["impact"] in {"serious", "critical"}]
    assert not grave


@pytest.mark.parametrize("name", [name for name in PAGES if name != "site"])
def test_the_first_screen_says_what_to_do_next(browser: Any, reports: Path, name: str) -> None:
    with opened(browser, reports / name / "index.html") as page:
        line = page.locator(".what-next:visible")
        assert line.locator("code").first.inner_text().startswith("dance ")
        assert line.bounding_box()["y"] < 1000


@pytest.mark.parametrize("width", [1440, 768, 390])
def test_a_long_remark_beside_a_figure_squeezes_nothing(browser: Any, reports: Path, width: int) -> None:
    with opened(browser, reports / "page" / "index.html") as page:
        page.set_viewport_size({"width": width, "height": 1000})
        remarks = page.locator(".hero:not([hidden]) .rest dd.remark small")
        assert remarks.count()
        for i in range(remarks.count()):
            remarks.nth(i).evaluate("e => { e.textContent = 'no significant over- or underconfidence' }")
            row = remarks.nth(i).locator("xpath=ancestor::div[1]")
            assert row.evaluate("e => e.offsetHeight") < 90
            assert row.locator("dt").evaluate("e => e.offsetWidth") > 70
        card = page.locator(".hero:not([hidden]) .figure.rest").first
        assert card.evaluate("e => e.scrollWidth <= e.clientWidth")


def test_figures_leave_no_half_row_on_a_tablet(browser: Any, reports: Path) -> None:
    with opened(browser, reports / "compare" / "index.html") as page:
        page.set_viewport_size({"width": 768, "height": 1000})
        row = page.locator(".hero .figures").bounding_box()
        last = page.locator(".hero .figure").last.bounding_box()
        assert last["width"] == pytest.approx(row["width"], abs=1)


def test_a_clip_opens_large_with_frame_steps_and_keys(browser: Any, reports: Path) -> None:
    with opened(browser, reports / "page" / "index.html") as page:
        page.locator("#clips .enlarge").first.click()
        box = page.locator("dialog.viewer")
        assert box.locator("video").get_attribute("controls") is not None
        assert box.locator("video").bounding_box()["width"] > 400
        page.wait_for_function("() => document.querySelector('dialog video').readyState > 1")
        page.keyboard.press(",")
        page.evaluate("document.querySelector('dialog video').currentTime = 0.4")
        page.keyboard.press(".")
        assert page.evaluate("document.querySelector('dialog video').currentTime") == pytest.approx(0.44)
        page.keyboard.press("s")
        assert page.evaluate("document.querySelector('dialog video').playbackRate") == 0.5
        first = box.locator(".tools .fine").inner_text()
        page.keyboard.press("ArrowRight")
        assert box.locator(".tools .fine").inner_text() != first
        page.keyboard.press("ArrowLeft")
        assert box.locator(".tools .fine").inner_text() == first
        page.keyboard.press("Escape")
        assert not box.is_visible()


def test_what_is_chosen_is_in_the_address(browser: Any, reports: Path) -> None:
    with opened(browser, reports / "page" / "index.html") as page:
        page.locator("#theme").click()
        page.locator("[data-show=val]").click()
        page.locator("#clips .subset:not([hidden]) [data-list=all]").click()
        page.locator("#clips .subset:not([hidden]) .filter").fill("spin")
        page.locator("#classes .subset:not([hidden]) thead button").nth(2).click()
        page.locator("#confusion .subset:not([hidden]) td[data-cell='1,1']").click()
        page.locator("nav a", has_text="Classes").click()
        theme, address = page.evaluate("document.documentElement.dataset.theme"), page.url
        page.goto("about:blank")
        page.goto(address)
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        assert page.locator("[data-show=val]").get_attribute("aria-pressed") == "true"
        shown = page.locator("#clips .subset:not([hidden])")
        assert shown.locator("[data-list=all]").get_attribute("aria-pressed") == "true"
        assert shown.locator(".filter").input_value() == "spin"
        head = page.locator("#classes .subset:not([hidden]) thead th").nth(2)
        assert head.get_attribute("aria-sort") == "descending"
        cell = page.locator("#confusion .subset:not([hidden]) td[data-cell='1,1']")
        assert cell.get_attribute("aria-selected") == "true"
        page.wait_for_function("() => scrollY > 100")  # it scrolls smoothly


def test_a_page_that_was_sent_alone_still_shows_the_clips(
    browser: Any, reports: Path, tmp_path: Path
) -> None:
    shutil.copy(reports / "page" / "index.html", tmp_path / "index.html")
    with opened(browser, tmp_path / "index.html") as page:
        page.locator("#clips").scroll_into_view_if_needed()
        source = page.locator("#clips .card video").first.get_attribute("poster")
        assert source.startswith("data:image/jpeg;base64,")


def test_a_phone_has_the_sections_and_nothing_sticks_out(browser: Any, reports: Path) -> None:
    for name in PAGES:
        with opened(browser, reports / name / "index.html") as page:
            page.set_viewport_size({"width": 390, "height": 844})
            assert page.locator("nav a").first.is_visible()
            assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_clip_that_is_there_plays_in_place(page: Any) -> None:
    card = page.locator("#clips .card:visible").first
    card.locator(".play").click()
    # Asked again and again from here: waiting inside the page evaluates text, which its policy forbids.
    for _ in range(100):
        if page.evaluate("document.querySelector('#clips .card video').currentTime") > 0.2:
            break
        page.wait_for_timeout(100)
    else:
        pytest.fail("the clip did not play")
    assert card.locator(".playing").count() == 1
    card.locator(".play").click()
    assert page.evaluate("document.querySelector('#clips .card video').paused")


def test_the_clips_of_a_comparison(browser: Any, reports: Path) -> None:
    with opened(browser, reports / "compare" / "index.html") as page:
        alone = [int(text) for text in page.locator(".square .odd").all_inner_texts()]
        for name, count in zip(("first", "second"), alone, strict=True):
            page.locator(f'[data-list="{name}"]').click()
            assert page.locator("[data-about]").inner_text().startswith(f"{count} clip")
            assert page.locator("#clips .card").count() == min(count, 6)
        page.set_viewport_size({"width": 390, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_board_filters_and_sorts(browser: Any, reports: Path) -> None:
    with opened(browser, reports / "board" / "index.html") as page:
        rows = page.locator(".board tbody tr:visible")
        assert rows.count() == 2
        page.locator(".filter").fill("second")
        assert rows.count() == 1
        page.locator(".filter").fill("")
        heading = page.locator(".board thead th", has_text="top-1")
        for _ in range(2):
            heading.locator("button").click()
        assert rows.first.inner_text().split()[0] == "second-1"
        page.set_viewport_size({"width": 390, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_chart_says_its_values_where_one_points_and_by_key(page: Any) -> None:
    chart = shown(page, "svg[data-hover]").first
    readout = shown(page, ".chart .readout").first
    chart.scroll_into_view_if_needed()
    chart.hover()
    assert "top-k accuracy" in readout.inner_text()
    page.mouse.move(0, 0)
    assert readout.inner_text() == ""
    chart.focus()
    page.keyboard.press("ArrowRight")
    assert readout.inner_text().startswith("k 1: ")
    for _ in range(40):
        page.keyboard.press("ArrowRight")
    assert readout.inner_text().startswith("k 6: ")


def test_a_bundle_plays_its_own_clips(browser: Any, reports: Path, tmp_path: Path) -> None:
    shutil.copytree(reports / "bundle", tmp_path / "sent")
    with opened(browser, tmp_path / "sent" / "index.html") as page:
        video = page.locator('[data-clips="test"] video').first
        assert "/sent/clips/" in video.evaluate("video => video.src")
        video.evaluate("video => { video.preload = 'auto'; }")
        loaded = "video => video.readyState > 0 || new Promise((done) => { video.onloadedmetadata = done; })"
        video.evaluate(loaded)
        assert video.evaluate("video => video.duration") == pytest.approx(2, abs=0.2)


def test_a_class_can_be_picked_and_is_kept_in_the_address(page: Any) -> None:
    select = shown(page, "select[data-pick]").first
    assert shown(page, "path.class.on").count() == 2
    select.select_option("robot")
    names = shown(page, "path.class.on").evaluate_all("nodes => nodes.map((n) => n.dataset.name)")
    assert names == ["robot", "robot"]
    assert "class0=4" in page.url
    page.reload()
    assert shown(page, "select[data-pick]").first.input_value() == "4"


def test_of_many_classes_the_most_confused_are_a_matrix(browser: Any, tmp_path: Path) -> None:
    labels = tuple(f"dance {i}" for i in range(120))
    workspace = make_run(tmp_path / "space", labels, test=360, name="many-1", skill=2.5)
    path = report(workspace, ReportSettings("many-1")).page
    with opened(browser, path) as page:
        matrix = page.locator('[data-matrix="test"]')
        heads = matrix.locator("tbody th")
        assert 2 < heads.count() <= 22
        # By keyboard, as in a small one.
        matrix.locator('td[tabindex="0"]').focus()
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("Enter")
        assert matrix.locator('td[aria-selected="true"]').count() == 1
        page.get_by_label("Show the matrix of a class").fill("dance 77")
        assert "dance 77" in heads.all_inner_texts()
        assert "aroundtest=dance+77" in page.url
        assert matrix.locator('td[tabindex="0"]').count() == 1
        page.reload()
        assert "dance 77" in matrix.locator("tbody th").all_inner_texts()
        page.locator('[data-extent="all"]').click()
        assert matrix.locator("canvas").count() == 1
        assert not page.locator(".numbers").first.is_visible()
        page.locator('[data-extent="few"]').click()
        assert matrix.locator("table").count() == 1


@pytest.mark.parametrize("name", ["page", "compare", "tune"])
def test_a_table_on_a_phone_ends_with_its_last_row(browser: Any, reports: Path, name: str) -> None:
    with opened(browser, reports / name / "index.html") as page:
        page.set_viewport_size({"width": 390, "height": 900})
        boxes = page.locator(".scroll:visible")
        hidden = boxes.evaluate_all("all => all.map(box => box.scrollHeight - box.clientHeight)")
        # A scroll bar may take a few pixels.
        assert max(hidden) < 20


def test_a_board_of_all_columns_fits_a_small_window(browser: Any, reports: Path) -> None:
    with opened(browser, reports / "board" / "index.html") as page:
        page.set_viewport_size({"width": 1240, "height": 900})
        box = page.locator(".scroll:has(.board)").first
        assert box.evaluate("box => box.scrollWidth - box.clientWidth") == 0


def test_the_notes_of_the_recipes_are_read_on_a_phone(browser: Any, reports: Path) -> None:
    with opened(browser, reports / "reproduction" / "index.html") as page:
        page.set_viewport_size({"width": 390, "height": 900})
        note = page.locator(".sources td", has_text="the learning rate is not scaled").first.bounding_box()
        assert note["x"] + note["width"] <= 390


def test_what_is_run_and_what_cannot_be_is_on_the_first_screen(browser: Any, reports: Path) -> None:
    with opened(browser, reports / "reproduction" / "index.html") as page:
        rows = page.locator(".answers dt")
        said = ["Claim 1", "Claim 2", "Cannot be", "Run here", "Differs from it"]
        assert rows.all_inner_texts() == said
        assert rows.last.bounding_box()["y"] < 1000


def test_nothing_is_cut_off_at_the_edge_of_the_paper(browser: Any, reports: Path) -> None:
    with opened(browser, reports / "page" / "index.html") as page:
        page.set_viewport_size({"width": 700, "height": 1000})
        page.emulate_media(media="print")
        ends = page.locator(".chart svg text:visible").evaluate_all(
            "texts => texts.map(text => text.getBoundingClientRect().right)"
        )
        assert max(ends) <= 700
