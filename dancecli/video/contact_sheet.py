"""Contact sheets: one PNG with pictures of many clips in rows, each with a line below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dancecli.core.errors import MediaError
from dancecli.core.video_files import upright
from dancecli.storage.files import atomic_file
from dancecli.video.source import open_media, picture_stream

if TYPE_CHECKING:
    from PIL.Image import Image

_SIDE, _TEXT, _GAP = 256, 34, 8
_PAPER, _INK, _MISSING = (255, 255, 255), (32, 32, 32), (208, 208, 208)
_LETTERS_PER_LINE = 40


@dataclass(frozen=True, slots=True)
class Cell:
    """A picture, or a clip's file whose middle frame is shown, and the text below."""

    shown: Path | Image
    text: str


def write_sheet(path: Path, rows: Sequence[Sequence[Cell]]) -> None:
    """Draw every picture, its longer side 256 pixels; a clip that does not decode is gray."""
    from PIL import Image, ImageDraw, ImageFont

    pictures = [[_shown(cell.shown) for cell in row] for row in rows]
    heights = [max(picture.height for picture in row) for row in pictures]
    size = (
        max(map(len, rows)) * (_SIDE + _GAP) + _GAP,
        sum(heights) + len(rows) * (_TEXT + _GAP) + _GAP,
    )
    sheet = Image.new("RGB", size, _PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    y = _GAP
    for row, row_pictures, height in zip(rows, pictures, heights, strict=True):
        for j, (cell, picture) in enumerate(zip(row, row_pictures, strict=True)):
            x = _GAP + j * (_SIDE + _GAP)
            sheet.paste(picture, (x, y))
            pen.multiline_text((x, y + height + 3), _wrapped(cell.text), fill=_INK, font=font)
        y += height + _TEXT + _GAP
    with atomic_file(path, "wb") as file:
        sheet.save(file, "PNG")


def middle_frame(path: Path) -> Image:
    """Decode a clip's frames up to the middle one, and give that.

    Raises:
        MediaError: it does not decode.
    """
    from PIL.Image import fromarray

    with open_media(path, "does not decode") as container:
        stream = picture_stream(container, path.name)
        stream.codec_context.thread_count = 1
        last = None
        for i, frame in enumerate(container.decode(stream)):
            last = frame
            if i >= stream.frames // 2:
                break
        if last is None:
            raise MediaError(f"{path.name} holds no frame")
        return fromarray(upright(last.to_ndarray(format="rgb24"), last))


def _shown(shown: Path | Image) -> Image:
    from PIL import Image

    try:
        picture = middle_frame(shown) if isinstance(shown, Path) else shown.copy()
    except MediaError:
        return Image.new("RGB", (_SIDE, _SIDE * 3 // 4), _MISSING)
    picture.thumbnail((_SIDE, _SIDE))
    return picture


def _wrapped(text: str) -> str:
    return "\n".join(text[i : i + _LETTERS_PER_LINE] for i in range(0, len(text), _LETTERS_PER_LINE))
