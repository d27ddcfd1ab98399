from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import pytest

import dancecli
from dancecli.core.video_files import is_video_name, open_video


def test_names() -> None:
    assert [is_video_name(name) for name in ("a.MPG", "a.b.webm", "mp4", "a.txt")] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("version", "more"), [("18.1.0", {"metadata_errors": "ignore"}), ("19.0.2", {}), ("20.0.0rc1", {})]
)
def test_tags_are_read_leniently_by_every_release_of_pyav(
    monkeypatch: pytest.MonkeyPatch, version: str, more: dict[str, str]
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(av, "__version__", version)
    monkeypatch.setattr(av, "open", lambda *args, **given: asked.append((args, given)))
    open_video(Path("a.mp4"), err_detect="explode")
    assert asked == [(("a.mp4",), {"options": {"err_detect": "explode"}, **more})]


def test_files_of_any_origin_are_opened_in_one_place() -> None:
    package = Path(dancecli.__file__).parent
    texts = {path.name: path.read_text(encoding="utf-8") for path in package.rglob("*.py")}
    assert [name for name, text in texts.items() if "metadata_errors" in text] == ["video_files.py"]
