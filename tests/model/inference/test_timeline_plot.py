from __future__ import annotations

import warnings

import pytest
from matplotlib import font_manager

from dancecli.model.inference.fonts import FONT, fonts_for
from dancecli.model.inference.timeline import Scored, Segment
from dancecli.model.inference.timeline_plot import draw_timeline

LABELS = ("舞蹈", "भांगड़ा", "tango")
SLOTS = [Scored(0.0, 2.0, (0.7, 0.2, 0.1)), Scored(2.0, 4.0, (0.1, 0.2, 0.7))]
SEGMENTS = [Segment(0.0, 2.0, 0, 0.7), Segment(2.0, 4.0, 2, 0.7)]


def draw(path, title="舞 evening.mp4", labels=LABELS):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_timeline(path, title, labels, SLOTS, SEGMENTS)
    return path.read_bytes()


@pytest.fixture
def system_fonts(monkeypatch):
    found = []
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda *_, **__: found)
    listed = list(font_manager.fontManager.ttflist)
    yield found
    font_manager.fontManager.ttflist[:] = listed


def write_font(path, letters):
    """Write a font in which each of these letters is a square."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for point in ((0, 700), (700, 700), (700, 0)):
        pen.lineTo(point)
    pen.closePath()
    names = [".notdef", *(f"u{ord(letter):X}" for letter in letters)]
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder(names)
    font.setupCharacterMap({ord(letter): f"u{ord(letter):X}" for letter in letters})
    font.setupGlyf(dict.fromkeys(names, pen.glyph()))
    font.setupHorizontalMetrics(dict.fromkeys(names, (800, 0)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": path.stem, "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(path)
    return str(path)


def test_letters_that_no_font_has_are_no_boxes_and_no_warnings(tmp_path, system_fonts):
    shown = draw(tmp_path / "a.png")
    assert shown == draw(tmp_path / "b.png", "? evening.mp4", ("class 0", "class 1", "tango"))
    assert fonts_for(["tango, Tänzer, танец"]) == ([FONT], frozenset())


def test_a_font_of_the_system_draws_what_the_own_one_lacks(tmp_path, system_fonts):
    (tmp_path / "Damaged.ttf").write_bytes(b"no font")
    system_fonts += [str(tmp_path / "Damaged.ttf"), write_font(tmp_path / "Han.ttf", "舞蹈")]
    assert fonts_for(LABELS) == ([FONT, "Han"], frozenset("भांगड़ा"))
    assert draw(tmp_path / "a.png") != draw(
        tmp_path / "b.png", "? evening.mp4", ("class 0", "class 1", "tango")
    )
